// Running statistics on the device: a launch for dozens of layers (multi_tensor.cuh).
#include "basin/kernels/running_stats.h"

#include "basin/kernels/cuda/multi_tensor.cuh"

namespace basin {
namespace {

template <class T>
void blend(std::span<BlendItem> items, double momentum) {
  const auto slot_of = [](BlendItem& item) {
    cuda::Slot<T> s;
    s.a = cuda::out_ptr<T>(item.to);
    s.g = cuda::in_ptr<T>(item.from);
    s.n = item.to.numel();
    return s;
  };
  cuda::for_slots<T>(Blend::name, items, &BlendItem::to, slot_of,
                     [=] __device__(const cuda::Slot<T>& s, int64_t i) {
                       s.a[i] = static_cast<T>((1 - momentum) * s.a[i] + momentum * s.g[i]);
                     });
}

template <class T>
void scale_each(std::span<ScaleItem> items) {
  const auto slot_of = [](ScaleItem& item) {
    cuda::Slot<T> s;
    s.a = cuda::out_ptr<T>(item.to);
    s.g = cuda::in_ptr<T>(item.from);
    s.n = item.to.numel();
    s.p = static_cast<T>(item.factor);
    return s;
  };
  cuda::for_slots<T>(ScaleEach::name, items, &ScaleItem::to, slot_of,
                     [=] __device__(const cuda::Slot<T>& s, int64_t i) { s.a[i] = s.g[i] * s.p; });
}

struct Counters {
  static constexpr int kMost = 256;  // pointers among a kernel's arguments
  int64_t* at[kMost];
};

void count_up(const Counters& counters, int64_t n) {
  cuda::for_items(CountUp::name, n, [=] __device__(int64_t i) { ++*counters.at[i]; });
}

}  // namespace

void Blend::cuda(std::span<BlendItem> items, double momentum) {
  blend<float>(items, momentum);
  blend<double>(items, momentum);
}

void ScaleEach::cuda(std::span<ScaleItem> items) {
  scale_each<float>(items);
  scale_each<double>(items);
}

void CountUp::cuda(std::span<Tensor> counters) {
  Counters table;
  for (size_t first = 0; first < counters.size(); first += Counters::kMost) {
    const size_t n = std::min<size_t>(Counters::kMost, counters.size() - first);
    for (size_t i = 0; i < n; ++i) table.at[i] = cuda::out_ptr<int64_t>(counters[first + i]);
    count_up(table, static_cast<int64_t>(n));
  }
}

}  // namespace basin
