// CPU elementwise loops. Inner loops are plain and marked BASIN_HOT, so the compiler vectorises
// them once per instruction set; tiles are fixed (32k elements).
#include "basin/kernels/elementwise.h"

#include <algorithm>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/hot.h"

namespace basin {
namespace {

constexpr int64_t kGrain = 32768;

template <class F, class T>
BASIN_HOT void map_loop(const T* x, T p, T* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = F::f(x[i], p);
}

template <class F, class T>
BASIN_HOT void chain_loop(const T* t, const T* x, const T* y, T p, T* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = t[i] * F::d(x[i], y[i], p);
}

template <class F, class T>
BASIN_HOT void both_loop(const T* a, const T* b, T* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = F::f(a[i], b[i]);
}
template <class F, class T>
BASIN_HOT void left_loop(const T* a, T b, T* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = F::f(a[i], b);
}
template <class F, class T>
BASIN_HOT void right_loop(T a, const T* b, T* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = F::f(a, b[i]);
}

// One run along the last merged axis; strides there are 0 or 1.
template <class F, class T>
void inner_run(const T* a, int64_t a_stride, const T* b, int64_t b_stride, T* out, int64_t n) {
  if (a_stride == 1 && b_stride == 1) {
    hot([&] { both_loop<F, T>(a, b, out, n); });
  } else if (a_stride == 1) {
    hot([&] { left_loop<F, T>(a, *b, out, n); });
  } else if (b_stride == 1) {
    hot([&] { right_loop<F, T>(*a, b, out, n); });
  } else {
    std::fill_n(out, n, F::f(*a, *b));
  }
}

// Runs of short rows (a [R, 3] cloud plus a [3] shift): the row loop itself is inside the hot
// function.
template <class F, class T>
BASIN_HOT void short_rows_loop(const T* a, int64_t a_row, int64_t a_col, const T* b, int64_t b_row,
                               int64_t b_col, T* out, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      out[r * cols + c] = F::f(a[r * a_row + c * a_col], b[r * b_row + c * b_col]);
    }
  }
}

template <class F, class T>
void binary_loops(const BroadcastPlan& plan, const T* a, const T* b, T* out) {
  const int last = plan.rank - 1;
  const int64_t inner = plan.sizes[last];
  const int64_t as = plan.a_strides[last], bs = plan.b_strides[last];
  if (plan.rank == 1) {
    parallel_for(inner, kGrain, [&](int64_t i, int64_t end) {
      inner_run<F, T>(a + i * as, as, b + i * bs, bs, out + i, end - i);
    });
    return;
  }
  int64_t rows = 1;
  for (int k = 0; k < last; ++k) rows *= plan.sizes[k];
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(inner, 1));
  if (plan.rank == 2 && inner < 16) {
    parallel_for(rows, grain, [&](int64_t r, int64_t end) {
      hot([&] {
        short_rows_loop<F, T>(a + r * plan.a_strides[0], plan.a_strides[0], as,
                              b + r * plan.b_strides[0], plan.b_strides[0], bs, out + r * inner,
                              end - r, inner);
      });
    });
    return;
  }
  parallel_for(rows, grain, [&](int64_t r, int64_t end) {
    for (; r < end; ++r) {
      int64_t rest = r, ai = 0, bi = 0;
      for (int k = last - 1; k >= 0; --k) {
        const int64_t i = rest % plan.sizes[k];
        rest /= plan.sizes[k];
        ai += i * plan.a_strides[k];
        bi += i * plan.b_strides[k];
      }
      inner_run<F, T>(a + ai, as, b + bi, bs, out + r * inner, inner);
    }
  });
}

}  // namespace

BroadcastPlan plan_broadcast(const Shape& a, const Shape& b, const Shape& out) {
  const int rank = out.rank();
  int64_t as[kMaxRank] = {}, bs[kMaxRank] = {};
  int64_t a_stride = 1, b_stride = 1;
  for (int back = 1; back <= rank; ++back) {  // element strides, 0 along broadcast axes
    const int64_t an = back <= a.rank() ? a[-back] : 1;
    const int64_t bn = back <= b.rank() ? b[-back] : 1;
    as[rank - back] = an == 1 ? 0 : a_stride;
    bs[rank - back] = bn == 1 ? 0 : b_stride;
    a_stride *= an;
    b_stride *= bn;
  }
  BroadcastPlan plan;
  for (int k = 0; k < rank; ++k) {
    if (out[k] == 1) continue;
    const int top = plan.rank - 1;
    const bool merge = plan.rank > 0 && plan.a_strides[top] == as[k] * out[k] &&
                       plan.b_strides[top] == bs[k] * out[k];
    if (!merge) ++plan.rank;
    const int at = plan.rank - 1;
    plan.sizes[at] = merge ? plan.sizes[at] * out[k] : out[k];
    plan.a_strides[at] = as[k];
    plan.b_strides[at] = bs[k];
  }
  if (plan.rank == 0) {
    plan.rank = 1;
    plan.sizes[0] = 1;
  }
  return plan;
}

void UnaryMap::cpu(Unary op, const Tensor& x, double p, Tensor& out) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T* in = x.data<T>();
    T* o = out.mutable_data<T>();
    visit_unary(op, [&](auto f) {
      parallel_for(x.numel(), kGrain, [&](int64_t i, int64_t end) {
        hot([&] { map_loop<decltype(f), T>(in + i, static_cast<T>(p), o + i, end - i); });
      });
    });
  });
}

void UnaryChain::cpu(Unary op, const Tensor& t, const Tensor& x, const Tensor& y, double p,
                     Tensor& out) {
  dispatch_float(t.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T* tp = t.data<T>();
    // An argument the formula does not read may point anywhere valid.
    const T* xp = x.defined() ? x.data<T>() : tp;
    const T* yp = y.defined() ? y.data<T>() : tp;
    T* o = out.mutable_data<T>();
    visit_unary(op, [&](auto f) {
      parallel_for(t.numel(), kGrain, [&](int64_t i, int64_t end) {
        hot([&] {
          chain_loop<decltype(f), T>(tp + i, xp + i, yp + i, static_cast<T>(p), o + i, end - i);
        });
      });
    });
  });
}

void BinaryMap::cpu(Binary op, const Tensor& a, const Tensor& b, Tensor& out) {
  if (out.numel() == 0) return;
  const BroadcastPlan plan = plan_broadcast(a.shape(), b.shape(), out.shape());
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T* ap = a.data<T>();
    const T* bp = b.data<T>();
    T* o = out.mutable_data<T>();
    visit_binary(op, [&](auto f) { binary_loops<decltype(f), T>(plan, ap, bp, o); });
  });
}

}  // namespace basin
