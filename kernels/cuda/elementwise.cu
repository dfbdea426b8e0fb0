// CUDA elementwise kernels: the formulas of kernels/scalar.h, one thread per element.
#include "basin/kernels/elementwise.h"

#include "basin/kernels/cuda/elements.cuh"

namespace basin {
namespace {

// A BroadcastPlan whose element numbers are taken apart without a division.
struct Plan {
  Plan(const BroadcastPlan& plan, int64_t count) : rank(plan.rank) {
    for (int k = 0; k < rank; ++k) {
      sizes[k] = cuda::FastDivide(plan.sizes[k], count);
      a[k] = plan.a_strides[k];
      b[k] = plan.b_strides[k];
    }
  }
  int rank;
  cuda::FastDivide sizes[kMaxRank];
  int64_t a[kMaxRank] = {}, b[kMaxRank] = {};
};

// Offsets of one output element in both inputs.
struct Offsets {
  int64_t a, b;
};
__device__ inline Offsets locate(const Plan& plan, int64_t i) {
  Offsets at{0, 0};
  for (int k = plan.rank - 1; k > 0; --k) {
    const int64_t outer = plan.sizes[k].quotient(i);
    const int64_t position = plan.sizes[k].remainder(i, outer);
    i = outer;
    at.a += position * plan.a[k];
    at.b += position * plan.b[k];
  }
  at.a += i * plan.a[0];
  at.b += i * plan.b[0];
  return at;
}

// The device lambdas live in named templates: nvcc takes none inside a generic lambda.
template <class F, class T>
void map_items(const T* x, T p, T* out, int64_t n) {
  cuda::for_items(UnaryMap::name, n, [=] __device__(int64_t i) { out[i] = F::f(x[i], p); });
}

template <class F, class T>
void chain_items(const T* t, const T* x, const T* y, T p, T* out, int64_t n) {
  cuda::for_items(UnaryChain::name, n,
                  [=] __device__(int64_t i) { out[i] = t[i] * F::d(x[i], y[i], p); });
}

template <class F, class T>
void equal_items(const T* a, const T* b, T* out, int64_t n) {
  cuda::for_items(BinaryMap::name, n, [=] __device__(int64_t i) { out[i] = F::f(a[i], b[i]); });
}

template <class F, class T>
void binary_items(const Plan& plan, const T* a, const T* b, T* out, int64_t n) {
  cuda::for_items(BinaryMap::name, n, [=] __device__(int64_t i) {
    const Offsets at = locate(plan, i);
    out[i] = F::f(a[at.a], b[at.b]);
  });
}

}  // namespace

void UnaryMap::cuda(Unary op, const Tensor& x, double p, Tensor& out) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    visit_unary(op, [&](auto f) {
      map_items<decltype(f)>(cuda::in_ptr<T>(x), static_cast<T>(p), cuda::out_ptr<T>(out),
                             out.numel());
    });
  });
}

void UnaryChain::cuda(Unary op, const Tensor& t, const Tensor& x, const Tensor& y, double p,
                      Tensor& out) {
  dispatch_float(t.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T* tp = cuda::in_ptr<T>(t);
    const T* xp = x.defined() ? cuda::in_ptr<T>(x) : tp;
    const T* yp = y.defined() ? cuda::in_ptr<T>(y) : tp;
    visit_unary(op, [&](auto f) {
      chain_items<decltype(f)>(tp, xp, yp, static_cast<T>(p), cuda::out_ptr<T>(out), out.numel());
    });
  });
}

void BinaryMap::cuda(Binary op, const Tensor& a, const Tensor& b, Tensor& out) {
  if (out.numel() == 0) return;
  const BroadcastPlan plan = plan_broadcast(a.shape(), b.shape(), out.shape());
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T *pa = cuda::in_ptr<T>(a), *pb = cuda::in_ptr<T>(b);
    T* to = cuda::out_ptr<T>(out);
    const int64_t n = out.numel();
    visit_binary(op, [&](auto f) {
      if (a.shape() == b.shape()) return equal_items<decltype(f)>(pa, pb, to, n);
      binary_items<decltype(f)>(Plan(plan, n), pa, pb, to, n);
    });
  });
}

}  // namespace basin
