// Radius graphs on the CPU: example by example.
#include "basin/kernels/radius_graph.h"

#include "basin/core/parallel.h"
#include "basin/kernels/detail/radius_maps.h"

namespace basin {
namespace {

// body(x, i, begin, end) for every point i of an example [begin, end).
template <class Body>
void each_point(const char* name, const Tensor& x, const Tensor& offsets, const Body& body) {
  const int32_t* start = offsets.data<int32_t>();
  dispatch_float(x.dtype(), name, [&](auto z) {
    const auto* p = x.data<decltype(z)>();
    parallel_for(offsets.numel() - 1, 1, [&](int64_t b, int64_t last) {
      for (; b < last; ++b) {
        for (int64_t i = start[b]; i < start[b + 1]; ++i) body(p, i, start[b], start[b + 1]);
      }
    });
  });
}

}  // namespace

void RadiusDegrees::cpu(const Tensor& x, const Tensor& offsets, double cutoff, bool loops,
                        Tensor& start) {
  int32_t* sums = start.mutable_data<int32_t>();
  each_point(name, x, offsets, [&](const auto* p, int64_t i, int64_t begin, int64_t end) {
    int32_t degree = 0;
    radius::each_neighbour(p, i, begin, end, cutoff * cutoff, loops, [&](int64_t) { ++degree; });
    sums[i + 1] = degree;
  });
  sums[0] = 0;
  for (int64_t i = 0; i < x.size(0); ++i) sums[i + 1] += sums[i];
}

void RadiusEdges::cpu(const Tensor& x, const Tensor& offsets, double cutoff, bool loops,
                      const Tensor& start, Tensor& sender, Tensor& receiver) {
  const int32_t* first = start.data<int32_t>();
  int32_t *from = sender.mutable_data<int32_t>(), *to = receiver.mutable_data<int32_t>();
  each_point(name, x, offsets, [&](const auto* p, int64_t i, int64_t begin, int64_t end) {
    int64_t e = first[i];
    radius::each_neighbour(p, i, begin, end, cutoff * cutoff, loops, [&](int64_t j) {
      from[e] = static_cast<int32_t>(j);
      to[e++] = static_cast<int32_t>(i);
    });
  });
}

}  // namespace basin
