// CUDA elementwise kernels: the formulas of kernels/scalar.h, one thread per element.
#include "basin/kernels/elementwise.h"

#include "basin/kernels/cuda/grid.cuh"

namespace basin {
namespace {

// Offsets of one output element in both inputs.
struct Offsets {
  int64_t a, b;
};
__device__ inline Offsets locate(const BroadcastPlan& plan, int64_t i) {
  Offsets at{0, 0};
  for (int k = plan.rank - 1; k >= 0; --k) {
    const int64_t position = i % plan.sizes[k];
    i /= plan.sizes[k];
    at.a += position * plan.a_strides[k];
    at.b += position * plan.b_strides[k];
  }
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
void binary_items(const BroadcastPlan& plan, const T* a, const T* b, T* out, int64_t n) {
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
    visit_binary(op, [&](auto f) {
      binary_items<decltype(f)>(plan, cuda::in_ptr<T>(a), cuda::in_ptr<T>(b), cuda::out_ptr<T>(out),
                                out.numel());
    });
  });
}

}  // namespace basin
