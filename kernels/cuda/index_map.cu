// CUDA kernels that make index tensors: one thread per element.
#include "basin/kernels/index_map.h"

#include "basin/kernels/cuda/elements.cuh"

namespace basin {
namespace {

template <class T>
void segment_inverse(const int32_t* start, T* out, int64_t n) {
  cuda::for_items(SegmentInverse::name, n, [=] __device__(int64_t s) {
    const int32_t count = start[s + 1] - start[s];
    out[s] = count > 0 ? T(1) / static_cast<T>(count) : T(0);
  });
}

// A label outside the classes gives a row of zeros, never a write outside the row.
template <class T>
void one_hot(const int64_t* label, int64_t classes, T* out, int64_t rows) {
  cuda::map_elements(OneHot::name, rows, classes, [=] __device__(int64_t r, int64_t c) {
    out[r * classes + c] = label[r] == c ? T(1) : T(0);
  });
}

}  // namespace

void CloudRows::cuda(const Tensor& index, int64_t per_cloud, int64_t points, Tensor& rows) {
  const int32_t* from = cuda::in_ptr<int32_t>(index);
  int32_t* to = cuda::out_ptr<int32_t>(rows);
  const cuda::FastDivide clouds(per_cloud, rows.numel());
  cuda::for_items(name, rows.numel(), [=] __device__(int64_t e) {
    to[e] = static_cast<int32_t>(clouds.quotient(e) * points) + from[e];
  });
}

void PickNeighbours::cuda(const Tensor& q, const Tensor& index, Tensor& out) {
  const int64_t channels = out.size(2), neighbours = index.size(2);
  const uint8_t* at = cuda::in_ptr<uint8_t>(q);
  const int32_t* from = cuda::in_ptr<int32_t>(index);
  int32_t* to = cuda::out_ptr<int32_t>(out);
  const cuda::FastDivide rows(channels, out.numel());
  cuda::for_items(name, out.numel(), [=] __device__(int64_t i) {
    to[i] = from[rows.quotient(i) * neighbours + at[i]];
  });
}

void SegmentInverse::cuda(const Tensor& offsets, Tensor& out) {
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    segment_inverse(cuda::in_ptr<int32_t>(offsets), cuda::out_ptr<T>(out), out.numel());
  });
}

void OneHot::cuda(const Tensor& labels, Tensor& out) {
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    one_hot(cuda::in_ptr<int64_t>(labels), out.size(1), cuda::out_ptr<T>(out), out.size(0));
  });
}

}  // namespace basin
