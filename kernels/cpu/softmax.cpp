// Softmax and cross-entropy on the CPU: rows in fixed tiles, each by the functions of row_maps.h.
#include "basin/kernels/softmax.h"

#include <algorithm>
#include <vector>

#include "basin/core/parallel.h"
#include "basin/kernels/row_maps.h"

namespace basin {
namespace {

constexpr int64_t kTileElements = 4096;

// f(row, its first element) for all rows of x [.., n]
template <class F>
void for_rows(const Tensor& x, const F& f) {
  const int64_t n = x.size(-1), rows = x.numel() / n;
  parallel_for(rows, std::max<int64_t>(1, kTileElements / n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f(r, r * n);
  });
}

template <class T>
const T* row(const Tensor& t, int64_t at) {  // null where undefined
  return t.defined() ? t.data<T>() + at : nullptr;
}

struct Targets {
  Targets(const Tensor& labels, int64_t classes, double smoothing)
      : label(labels.data<int64_t>()),
        hit(1 - smoothing),
        other(classes > 1 ? smoothing / static_cast<double>(classes - 1) : 0) {}
  row_map::Target operator()(int64_t r) const { return {label[r], hit, other}; }
  const int64_t* label;
  double hit, other;
};

// The mean over the rows of value(row, its first element), added in row order.
template <class T, class F>
void mean_of_rows(const Tensor& x, const F& value, Tensor& mean) {
  const int64_t rows = x.size(0);
  Tensor parts = Tensor::empty({rows}, DType::f64);
  double* part = parts.mutable_data<double>();
  for_rows(x, [&](int64_t r, int64_t at) { part[r] = value(r, at); });
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) sum += part[r];
  *mean.mutable_data<T>() = static_cast<T>(sum / static_cast<double>(rows));
}

template <class T>
T per_row(const Tensor& ct, int64_t rows) {
  return ct.defined() ? ct.data<T>()[0] / static_cast<T>(rows) : T(0);
}

constexpr row_map::OneThread kLanes{};

}  // namespace

void Softmax::cpu(bool log, const Tensor& x, Tensor& out) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    T* to = out.mutable_data<T>();
    for_rows(x, [&](int64_t, int64_t at) {
      if (log) {
        row_map::log_softmax(kLanes, x.size(-1), row<T>(x, at), to + at);
      } else {
        row_map::softmax(kLanes, x.size(-1), row<T>(x, at), to + at);
      }
    });
  });
}

void SoftmaxVjp::cpu(bool log, const Tensor& out, const Tensor& ct, Tensor& dx) {
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const int64_t n = out.size(-1);
    T* to = dx.mutable_data<T>();
    for_rows(out, [&](int64_t, int64_t at) {
      if (log) {
        row_map::log_softmax_vjp(kLanes, n, row<T>(out, at), row<T>(ct, at), to + at);
      } else {
        row_map::softmax_slope(kLanes, n, row<T>(out, at), row<T>(ct, at), to + at);
      }
    });
  });
}

void SoftmaxJvp::cpu(bool log, const Tensor& out, const Tensor& t, Tensor& out_t) {
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const int64_t n = out.size(-1);
    T* to = out_t.mutable_data<T>();
    for_rows(out, [&](int64_t, int64_t at) {
      if (log) {
        row_map::log_softmax_jvp(kLanes, n, row<T>(out, at), row<T>(t, at), to + at);
      } else {
        row_map::softmax_slope(kLanes, n, row<T>(out, at), row<T>(t, at), to + at);
      }
    });
  });
}

void SoftmaxVjpJvp::cpu(bool log, const Tensor& out, const Tensor& ct, const Tensor& t,
                        const Tensor& ct_t, Tensor& dx_t) {
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const int64_t n = out.size(-1);
    T* to = dx_t.mutable_data<T>();
    for_rows(out, [&](int64_t, int64_t at) {
      if (log) {
        row_map::log_softmax_vjp_jvp(kLanes, n, row<T>(out, at), row<T>(ct, at), row<T>(t, at),
                                     row<T>(ct_t, at), to + at);
      } else {
        row_map::softmax_vjp_jvp(kLanes, n, row<T>(out, at), row<T>(ct, at), row<T>(t, at),
                                 row<T>(ct_t, at), to + at);
      }
    });
  });
}

void CrossEntropy::cpu(const Tensor& x, const Tensor& labels, double smoothing, Tensor& y,
                       Tensor& loss) {
  const Targets target(labels, x.size(1), smoothing);
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    T* to = y.mutable_data<T>();
    const auto value = [&](int64_t r, int64_t at) {
      return row_map::cross_entropy(kLanes, x.size(1), row<T>(x, at), target(r), to + at);
    };
    mean_of_rows<T>(x, value, loss);
  });
}

void CrossEntropyVjp::cpu(const Tensor& y, const Tensor& labels, double smoothing, const Tensor& ct,
                          Tensor& dx) {
  const Targets target(labels, y.size(1), smoothing);
  dispatch_float(y.dtype(), name, [&](auto z) {
    using T = decltype(z);
    T* to = dx.mutable_data<T>();
    const T c = per_row<T>(ct, y.size(0));
    for_rows(y, [&](int64_t r, int64_t at) {
      row_map::cross_entropy_vjp(kLanes, y.size(1), row<T>(y, at), target(r), c, to + at);
    });
  });
}

void CrossEntropyJvp::cpu(const Tensor& y, const Tensor& labels, double smoothing, const Tensor& t,
                          Tensor& loss_t) {
  const Targets target(labels, y.size(1), smoothing);
  dispatch_float(y.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const auto value = [&](int64_t r, int64_t at) {
      return row_map::cross_entropy_jvp(kLanes, y.size(1), row<T>(y, at), target(r), row<T>(t, at));
    };
    mean_of_rows<T>(y, value, loss_t);
  });
}

void CrossEntropyVjpJvp::cpu(const Tensor& y, const Tensor& labels, double smoothing,
                             const Tensor& ct, const Tensor& t, const Tensor& ct_t, Tensor& dx_t) {
  const Targets target(labels, y.size(1), smoothing);
  dispatch_float(y.dtype(), name, [&](auto z) {
    using T = decltype(z);
    T* to = dx_t.mutable_data<T>();
    const T c = per_row<T>(ct, y.size(0)), c_t = per_row<T>(ct_t, y.size(0));
    for_rows(y, [&](int64_t r, int64_t at) {
      row_map::cross_entropy_vjp_jvp(kLanes, y.size(1), row<T>(y, at), target(r), c, row<T>(t, at),
                                     c_t, to + at);
    });
  });
}

}  // namespace basin
