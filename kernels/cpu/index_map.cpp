// CPU kernels that make index tensors.
#include "basin/kernels/index_map.h"

#include <algorithm>

#include "basin/core/parallel.h"

namespace basin {
namespace {

constexpr int64_t kGrain = 32768;

}  // namespace

void CloudRows::cpu(const Tensor& index, int64_t per_cloud, int64_t points, Tensor& rows) {
  const int32_t* from = index.data<int32_t>();
  int32_t* to = rows.mutable_data<int32_t>();
  parallel_for(rows.numel(), kGrain, [&](int64_t e, int64_t end) {
    for (; e < end; ++e) to[e] = static_cast<int32_t>(e / per_cloud * points) + from[e];
  });
}

void PickNeighbours::cpu(const Tensor& q, const Tensor& index, Tensor& out) {
  const int64_t channels = out.size(2), neighbours = index.size(2);
  const auto* at = reinterpret_cast<const uint8_t*>(q.data<int32_t>());
  const int32_t* from = index.data<int32_t>();
  int32_t* to = out.mutable_data<int32_t>();
  parallel_for(out.numel(), kGrain, [&](int64_t i, int64_t end) {
    for (; i < end; ++i) to[i] = from[i / channels * neighbours + at[i]];
  });
}

void SegmentInverse::cpu(const Tensor& offsets, Tensor& out) {
  const int32_t* start = offsets.data<int32_t>();
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    T* o = out.mutable_data<T>();
    for (int64_t s = 0; s < out.numel(); ++s) {
      const int32_t count = start[s + 1] - start[s];
      o[s] = count > 0 ? T(1) / static_cast<T>(count) : T(0);
    }
  });
}

void OneHot::cpu(const Tensor& labels, Tensor& out) {
  const int64_t classes = out.size(1);
  const int64_t* label = labels.data<int64_t>();
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    T* o = out.mutable_data<T>();
    std::fill_n(o, out.numel(), T(0));
    for (int64_t b = 0; b < labels.numel(); ++b) o[b * classes + label[b]] = T(1);
  });
}

}  // namespace basin
