// CPU copies. StridedCopy walks the outer axes by index arithmetic and the last axis as a run;
// transposing the last two axes goes through square blocks that stay in L1.
#include "basin/kernels/copy.h"

#include <algorithm>
#include <cstring>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/reduce.h"

namespace basin {
namespace {

constexpr int64_t kGrain = 32768;

template <class T>
BASIN_HOT void strided_run(const T* x, int64_t stride, T* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i * stride];
}

template <class T>
void strided_copy(const T* x, const Shape& shape, const std::array<int64_t, kMaxRank>& strides,
                  T* out) {
  const int last = shape.rank() - 1;
  const int64_t inner = last >= 0 ? shape[last] : 1;
  const int64_t stride = last >= 0 ? strides[last] : 0;
  const int64_t rows = shape.numel() / std::max<int64_t>(inner, 1);
  // Strided columns of a matrix: rows of one block share cache lines, so a tile is at least 16
  // rows.
  const int64_t grain = std::max<int64_t>(16, kGrain / std::max<int64_t>(inner, 1));
  parallel_for(rows, grain, [&](int64_t r0, int64_t end) {
    for (int64_t c0 = 0; c0 < inner; c0 += 64) {
      const int64_t count = std::min<int64_t>(64, inner - c0);
      for (int64_t r = r0; r < end; ++r) {
        int64_t rest = r, at = 0;
        for (int k = last - 1; k >= 0; --k) {
          at += rest % shape[k] * strides[k];
          rest /= shape[k];
        }
        T* o = out + r * inner + c0;
        if (stride == 0) {
          std::fill_n(o, count, x[at]);
        } else if (stride == 1) {
          std::copy_n(x + at + c0, count, o);
        } else {
          hot([&] { strided_run(x + at + c0 * stride, stride, o, count); });
        }
      }
    }
  });
}

}  // namespace

void StridedCopy::cpu(const Tensor& x, const std::array<int64_t, kMaxRank>& strides, Tensor& out) {
  if (out.numel() == 0) return;
  if (size_of(x.dtype()) == 4) {
    strided_copy(static_cast<const uint32_t*>(x.raw()), out.shape(), strides,
                 static_cast<uint32_t*>(out.mutable_raw()));
  } else {
    strided_copy(static_cast<const uint64_t*>(x.raw()), out.shape(), strides,
                 static_cast<uint64_t*>(out.mutable_raw()));
  }
}

void CopyAxis::cpu(const Tensor& x, int axis, int64_t from, int64_t count, Tensor& out,
                   int64_t to) {
  const AxisView in = axis_view(x.shape(), axis), dst = axis_view(out.shape(), axis);
  const size_t item = size_of(x.dtype());
  const auto* src = static_cast<const char*>(x.raw());
  auto* target = static_cast<char*>(out.mutable_raw());
  const size_t run = static_cast<size_t>(count * in.inner) * item;
  if (run == 0) return;
  const int64_t grain = std::max<int64_t>(1, static_cast<int64_t>(131072 / run));
  parallel_for(in.outer, grain, [&](int64_t o, int64_t end) {
    for (; o < end; ++o) {
      std::memcpy(target + static_cast<size_t>((o * dst.n + to) * in.inner) * item,
                  src + static_cast<size_t>((o * in.n + from) * in.inner) * item, run);
    }
  });
}

void Fill::cpu(double value, Tensor& out) { out.fill(value); }

void Identity::cpu(Tensor& out) {
  out.fill(0);
  dispatch_float(out.dtype(), name, [&](auto z) {
    auto* o = out.mutable_data<decltype(z)>();
    for (int64_t i = 0, n = out.size(0); i < n; ++i) o[i * (n + 1)] = 1;
  });
}

}  // namespace basin
