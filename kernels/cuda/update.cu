// Optimizer updates on the device: one launch for dozens of tensors (multi_tensor.cuh), one read
// and one write of every array.
#include "basin/kernels/update.h"

#include "basin/kernels/cuda/multi_tensor.cuh"

namespace basin {
namespace {

template <class T>
T* pointer(Tensor& t) {  // null where undefined
  return t.defined() ? cuda::out_ptr<T>(t) : nullptr;
}

// The row of live numbers of an item; null where there are none.
template <class Item>
const double* live_row(const Tensor& live, std::span<Item> items, const Item& item) {
  const double* rows = cuda::in_ptr<double>(live);
  return rows == nullptr ? nullptr : rows + 4 * (&item - items.data());
}

template <class T>
void adam(std::span<AdamItem> items, const AdamNumbers& n, const Tensor& live) {
  const T beta1 = static_cast<T>(n.beta1), beta2 = static_cast<T>(n.beta2);
  const T intake1 = static_cast<T>(1 - n.beta1), intake2 = static_cast<T>(1 - n.beta2);
  const T eps = static_cast<T>(n.eps);
  const auto slot_of = [&](AdamItem& item) {
    return cuda::Slot<T>{
        cuda::out_ptr<T>(item.w),       cuda::out_ptr<T>(item.m),   cuda::out_ptr<T>(item.v),
        pointer<T>(item.vmax),          cuda::in_ptr<T>(item.g),    item.w.numel(),
        static_cast<T>(item.step_size), static_cast<T>(item.l2),    static_cast<T>(item.shrink),
        static_cast<T>(n.inverse_root), live_row(live, items, item)};
  };
  cuda::for_slots<T>(AdamUpdate::name, items, &AdamItem::w, slot_of,
                     [=] __device__(const cuda::Slot<T>& s, int64_t i) {
                       const T w = s.a[i], grad = (s.g ? s.g[i] : T(0)) + s.q * w;
                       const T m = beta1 * s.b[i] + intake1 * grad;
                       const T v = beta2 * s.c[i] + intake2 * grad * grad;
                       s.b[i] = m;
                       s.c[i] = v;
                       T second = v;
                       if (s.d) {
                         second = s.d[i] > v ? s.d[i] : v;
                         s.d[i] = second;
                       }
                       s.a[i] = w * s.r - s.p * m / (sqrt(second) * s.x + eps);
                     });
}

template <class T>
void sgd(std::span<SgdItem> items, const SgdNumbers& n) {
  const T momentum = static_cast<T>(n.momentum), intake = static_cast<T>(n.intake);
  const T fresh = n.nesterov ? T(1) : T(0), heavy = n.nesterov ? momentum : T(1);
  const auto slot_of = [](SgdItem& item) {
    cuda::Slot<T> s;
    s.a = cuda::out_ptr<T>(item.w);
    s.b = pointer<T>(item.b);
    s.g = cuda::in_ptr<T>(item.g);
    s.n = item.w.numel();
    s.p = static_cast<T>(item.lr);
    s.q = static_cast<T>(item.l2);
    return s;
  };
  cuda::for_slots<T>(SgdUpdate::name, items, &SgdItem::w, slot_of,
                     [=] __device__(const cuda::Slot<T>& s, int64_t i) {
                       const T w = s.a[i], grad = (s.g ? s.g[i] : T(0)) + s.q * w;
                       T step = grad;
                       if (s.b) {
                         s.b[i] = momentum * s.b[i] + intake * grad;
                         step = fresh * grad + heavy * s.b[i];
                       }
                       s.a[i] = w - s.p * step;
                     });
}

template <class T>
void momentum(std::span<MomentumItem> items, const MomentumNumbers& n) {
  const T keep = static_cast<T>(n.keep), intake = static_cast<T>(n.intake);
  const T direct = static_cast<T>(n.direct), heavy = static_cast<T>(n.heavy);
  const auto slot_of = [](MomentumItem& item) {
    cuda::Slot<T> s;
    s.a = cuda::out_ptr<T>(item.b);
    s.b = cuda::out_ptr<T>(item.m);
    s.g = cuda::in_ptr<T>(item.g);
    s.n = item.b.numel();
    return s;
  };
  cuda::for_slots<T>(MomentumUpdate::name, items, &MomentumItem::b, slot_of,
                     [=] __device__(const cuda::Slot<T>& s, int64_t i) {
                       const T grad = s.g ? s.g[i] : T(0);
                       const T b = keep * s.a[i] + intake * grad;
                       s.a[i] = b;
                       s.b[i] = direct * grad + heavy * b;
                     });
}

template <class T>
void step(std::span<StepItem> items, const Tensor& live) {
  const auto slot_of = [&](StepItem& item) {
    cuda::Slot<T> s;
    s.a = cuda::out_ptr<T>(item.w) + item.offset;
    s.g = cuda::in_ptr<T>(item.o) + item.offset;
    s.n = item.count;
    s.p = static_cast<T>(item.shrink);
    s.q = static_cast<T>(item.rate);
    s.live = live_row(live, items, item);
    return s;
  };
  cuda::for_slots<T>(
      StepUpdate::name, items, &StepItem::w, slot_of,
      [=] __device__(const cuda::Slot<T>& s, int64_t i) { s.a[i] = s.p * s.a[i] - s.q * s.g[i]; });
}

}  // namespace

void AdamUpdate::cuda(std::span<AdamItem> items, const AdamNumbers& numbers, const Tensor& live) {
  adam<float>(items, numbers, live);
  adam<double>(items, numbers, live);
}
void SgdUpdate::cuda(std::span<SgdItem> items, const SgdNumbers& numbers) {
  sgd<float>(items, numbers);
  sgd<double>(items, numbers);
}
void MomentumUpdate::cuda(std::span<MomentumItem> items, const MomentumNumbers& numbers) {
  momentum<float>(items, numbers);
  momentum<double>(items, numbers);
}
void StepUpdate::cuda(std::span<StepItem> items, const Tensor& live) {
  step<float>(items, live);
  step<double>(items, live);
}
}  // namespace basin
