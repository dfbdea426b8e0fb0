// Optimizer updates on the device: one launch for dozens of tensors (multi_tensor.cuh), one read
// and one write of every array.
#include "basin/kernels/update.h"

#include "basin/kernels/cuda/dual.cuh"
#include "basin/kernels/cuda/multi_tensor.cuh"

namespace basin {
namespace {

template <class T>
T* pointer(Tensor& t) {  // null where undefined
  return t.defined() ? cuda::out_ptr<T>(t) : nullptr;
}

template <class T>
void adam(std::span<AdamItem> items, const AdamNumbers& n) {
  const T beta1 = static_cast<T>(n.beta1), beta2 = static_cast<T>(n.beta2);
  const T intake1 = static_cast<T>(1 - n.beta1), intake2 = static_cast<T>(1 - n.beta2);
  const T inverse_root = static_cast<T>(n.inverse_root), eps = static_cast<T>(n.eps);
  const auto slot_of = [](AdamItem& item) {
    return cuda::Slot<T>{
        cuda::out_ptr<T>(item.w),       cuda::out_ptr<T>(item.m), cuda::out_ptr<T>(item.v),
        pointer<T>(item.vmax),          cuda::in_ptr<T>(item.g),  item.w.numel(),
        static_cast<T>(item.step_size), static_cast<T>(item.l2),  static_cast<T>(item.shrink)};
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
                       s.a[i] = w * s.r - s.p * m / (sqrt(second) * inverse_root + eps);
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
void step(std::span<StepItem> items) {
  const auto slot_of = [](StepItem& item) {
    cuda::Slot<T> s;
    s.a = cuda::out_ptr<T>(item.w) + item.offset;
    s.g = cuda::in_ptr<T>(item.o) + item.offset;
    s.n = item.count;
    s.p = static_cast<T>(item.shrink);
    s.q = static_cast<T>(item.rate);
    return s;
  };
  cuda::for_slots<T>(
      StepUpdate::name, items, &StepItem::w, slot_of,
      [=] __device__(const cuda::Slot<T>& s, int64_t i) { s.a[i] = s.p * s.a[i] - s.q * s.g[i]; });
}

// The sum over a block in a fixed order, for thread 0.
__device__ double block_sum(double x) {
  __shared__ double part[cuda::kSlotThreads / 32];
  x = cuda::warp_sum(x);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
  __syncthreads();
  double sum = 0;
  if (threadIdx.x == 0) {
    for (double p : part) sum += p;
  }
  return sum;
}

template <class T>
__global__ void square_sums_kernel(cuda::SlotTable<T> table, double* partial) {
  const int at = table.find(static_cast<int>(blockIdx.x));
  const cuda::Slot<T>& s = table.slot[at];
  const int64_t begin =
      (static_cast<int64_t>(blockIdx.x) - table.first_block[at]) * cuda::kSlotTile;
  const int64_t end = begin + cuda::kSlotTile < s.n ? begin + cuda::kSlotTile : s.n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += cuda::kSlotThreads) {
    const double v = static_cast<double>(s.g[i]);
    sum += v * v;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void add_up_kernel(const double* partial, int64_t n, double* sum) {
  double part = 0;
  for (int64_t i = threadIdx.x; i < n; i += cuda::kSlotThreads) part += partial[i];
  part = block_sum(part);
  if (threadIdx.x == 0) *sum += part;
}

// *sum += the squares of the tensors of dtype T
template <class T>
void square_sum(std::span<const Tensor> tensors, double* sum) {
  const char* name = SquareSum::name;
  cuda::SlotTable<T> table;
  const auto flush = [&] {
    const int blocks = table.first_block[table.count];
    if (blocks == 0) return;
    Tensor partial = Tensor::empty({blocks}, DType::f64, Device::cuda);
    double* to = cuda::out_ptr<double>(partial);
    cuda::run(name, {dim3(static_cast<unsigned>(blocks)), dim3(cuda::kSlotThreads)},
              square_sums_kernel<T>, table, to);
    cuda::run(name, {dim3(1), dim3(cuda::kSlotThreads)}, add_up_kernel, to, blocks, sum);
    table = {};
  };
  for (const Tensor& t : tensors) {
    if (!t.defined() || t.dtype() != kDTypeOf<T>) continue;
    cuda::Slot<T> s;
    s.g = cuda::in_ptr<T>(t);
    s.n = t.numel();
    table.add(s, cuda::kSlotTile);
    if (table.full()) flush();
  }
  flush();
}

}  // namespace

void AdamUpdate::cuda(std::span<AdamItem> items, const AdamNumbers& numbers) {
  adam<float>(items, numbers);
  adam<double>(items, numbers);
}
void SgdUpdate::cuda(std::span<SgdItem> items, const SgdNumbers& numbers) {
  sgd<float>(items, numbers);
  sgd<double>(items, numbers);
}
void MomentumUpdate::cuda(std::span<MomentumItem> items, const MomentumNumbers& numbers) {
  momentum<float>(items, numbers);
  momentum<double>(items, numbers);
}
void StepUpdate::cuda(std::span<StepItem> items) {
  step<float>(items);
  step<double>(items);
}
void SquareSum::cuda(std::span<const Tensor> tensors, double& sum) {
  Tensor total = Tensor::zeros({1}, DType::f64, Device::cuda);
  square_sum<float>(tensors, cuda::out_ptr<double>(total));
  square_sum<double>(tensors, cuda::out_ptr<double>(total));
  sum = total.item();
}

}  // namespace basin
