// Radius graphs on the device: a thread per point walks the points of its example.
#include "basin/kernels/radius_graph.h"

#include "basin/kernels/cuda/by_target.cuh"
#include "basin/kernels/cuda/grid.cuh"
#include "basin/kernels/detail/radius_maps.h"

namespace basin {
namespace {

// The example of point i: the last b with offsets[b] <= i.
__device__ inline int64_t example_of(const int32_t* offsets, int64_t examples, int64_t i) {
  int64_t low = 0, high = examples;
  while (low + 1 < high) {
    const int64_t middle = (low + high) / 2;
    if (offsets[middle] <= i) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

template <class T>
void degrees(const T* x, int64_t points, const int32_t* offsets, int64_t examples, double square,
             bool loops, int32_t* start) {
  cuda::for_items(RadiusDegrees::name, points, [=] __device__(int64_t i) {
    const int64_t b = example_of(offsets, examples, i);
    int32_t degree = 0;
    radius::each_neighbour(x, i, offsets[b], offsets[b + 1], square, loops,
                           [&](int64_t) { ++degree; });
    start[i + 1] = degree;
    if (i == 0) start[0] = 0;
  });
}

template <class T>
void edges(const T* x, int64_t points, const int32_t* offsets, int64_t examples, double square,
           bool loops, const int32_t* start, int32_t* sender, int32_t* receiver) {
  cuda::for_items(RadiusEdges::name, points, [=] __device__(int64_t i) {
    const int64_t b = example_of(offsets, examples, i);
    int64_t e = start[i];
    radius::each_neighbour(x, i, offsets[b], offsets[b + 1], square, loops, [&](int64_t j) {
      sender[e] = static_cast<int32_t>(j);
      receiver[e++] = static_cast<int32_t>(i);
    });
  });
}

}  // namespace

void RadiusDegrees::cuda(const Tensor& x, const Tensor& offsets, double cutoff, bool loops,
                         Tensor& start) {
  int32_t* sums = cuda::out_ptr<int32_t>(start);
  dispatch_float(x.dtype(), name, [&](auto z) {
    degrees(cuda::in_ptr<decltype(z)>(x), x.size(0), cuda::in_ptr<int32_t>(offsets),
            offsets.numel() - 1, cutoff * cutoff, loops, sums);
  });
  cuda::add_up(name, sums, x.size(0));
}

void RadiusEdges::cuda(const Tensor& x, const Tensor& offsets, double cutoff, bool loops,
                       const Tensor& start, Tensor& sender, Tensor& receiver) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    edges(cuda::in_ptr<decltype(z)>(x), x.size(0), cuda::in_ptr<int32_t>(offsets),
          offsets.numel() - 1, cutoff * cutoff, loops, cuda::in_ptr<int32_t>(start),
          cuda::out_ptr<int32_t>(sender), cuda::out_ptr<int32_t>(receiver));
  });
}

}  // namespace basin
