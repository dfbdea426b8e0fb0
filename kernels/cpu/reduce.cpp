// CPU reductions. Three shapes matter: rows (inner = 1), columns (outer = 1) and the general middle
// axis.
#include "basin/kernels/reduce.h"

#include <algorithm>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/hot.h"

namespace basin {
namespace {

constexpr int64_t kGrain = 32768;
constexpr int kLanes = 16;  // independent partial sums, so that the loop vectorises

template <class T>
BASIN_HOT double sum_run(const T* x, int64_t n) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int k = 0; k < kLanes; ++k) lanes[k] += static_cast<double>(x[i + k]);
  }
  for (int k = 0; i + k < n; ++k) lanes[k] += static_cast<double>(x[i + k]);
  double total = 0;
  for (const double lane : lanes) total += lane;
  return total;
}

template <class T>
BASIN_HOT void add_columns(const T* x, int64_t rows, int64_t cols, double* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) sums[c] += static_cast<double>(x[r * cols + c]);
  }
}

// [n, inner] -> [inner] with row tiles of fixed size.
template <class T>
void sum_columns(const T* x, int64_t n, int64_t inner, T* out) {
  const int64_t grain = std::max<int64_t>(64, kGrain * 4 / std::max<int64_t>(inner, 1));
  const int64_t tiles = tile_count(n, grain);
  Tensor partial = Tensor::zeros({tiles, inner}, DType::f64);
  double* sums = partial.mutable_data<double>();
  parallel_for(n, grain, [&](int64_t r, int64_t end) {
    hot([&] { add_columns(x + r * inner, end - r, inner, sums + r / grain * inner); });
  });
  for (int64_t t = 1; t < tiles; ++t) {
    for (int64_t c = 0; c < inner; ++c) sums[c] += sums[t * inner + c];
  }
  for (int64_t c = 0; c < inner; ++c) out[c] = static_cast<T>(tiles > 0 ? sums[c] : 0);
}

// One long row in fixed tiles.
template <class T>
double sum_long(const T* x, int64_t n) {
  const int64_t tiles = tile_count(n, kGrain);
  Tensor partial = Tensor::zeros({std::max<int64_t>(tiles, 1)}, DType::f64);
  double* sums = partial.mutable_data<double>();
  parallel_for(n, kGrain, [&](int64_t i, int64_t end) {
    sums[i / kGrain] = hot([&] { return sum_run(x + i, end - i); });
  });
  double total = 0;
  for (int64_t t = 0; t < tiles; ++t) total += sums[t];
  return total;
}

template <class T>
void sum_axis(const T* x, AxisView v, T* out) {
  if (v.inner == 1 && v.outer == 1) {
    *out = static_cast<T>(sum_long(x, v.n));
  } else if (v.inner == 1) {
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(v.n, 1));
    parallel_for(v.outer, grain, [&](int64_t o, int64_t end) {
      for (; o < end; ++o) out[o] = static_cast<T>(hot([&] { return sum_run(x + o * v.n, v.n); }));
    });
  } else if (v.outer == 1) {
    sum_columns(x, v.n, v.inner, out);
  } else {
    Tensor scratch = Tensor::zeros({v.outer, v.inner}, DType::f64);
    double* sums = scratch.mutable_data<double>();
    parallel_for(v.outer, 1, [&](int64_t o, int64_t) {
      hot([&] { add_columns(x + o * v.n * v.inner, v.n, v.inner, sums + o * v.inner); });
      for (int64_t i = 0; i < v.inner; ++i) {
        out[o * v.inner + i] = static_cast<T>(sums[o * v.inner + i]);
      }
    });
  }
}

template <class T>
bool better(Extreme which, T candidate, T best) {
  if (best != best) return false;
  if (candidate != candidate) return true;
  return which == Extreme::max ? candidate > best : candidate < best;
}

}  // namespace

AxisView axis_view(const Shape& shape, int axis) {
  AxisView v;
  const int at = shape.normalise(axis);
  for (int k = 0; k < at; ++k) v.outer *= shape[k];
  v.n = shape[at];
  for (int k = at + 1; k < shape.rank(); ++k) v.inner *= shape[k];
  return v;
}

void ReduceSum::cpu(const Tensor& x, AxisView view, Tensor& out) {
  if (out.numel() == 0) return;
  dispatch_float(x.dtype(), name, [&](auto z) {
    sum_axis(x.data<decltype(z)>(), view, out.mutable_data<decltype(z)>());
  });
}

void ArgExtreme::cpu(Extreme which, const Tensor& x, AxisView v, Tensor& index) {
  int32_t* out = index.mutable_data<int32_t>();
  dispatch_float(x.dtype(), name, [&](auto z) {
    const auto* p = x.data<decltype(z)>();
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(v.n * v.inner, 1));
    parallel_for(v.outer, grain, [&](int64_t o, int64_t end) {
      for (; o < end; ++o) {
        const auto* block = p + o * v.n * v.inner;
        int32_t* best = out + o * v.inner;
        std::fill_n(best, v.inner, 0);
        for (int64_t k = 1; k < v.n; ++k) {
          for (int64_t i = 0; i < v.inner; ++i) {
            if (better(which, block[k * v.inner + i], block[best[i] * v.inner + i])) {
              best[i] = static_cast<int32_t>(k);
            }
          }
        }
      }
    });
  });
}

}  // namespace basin
