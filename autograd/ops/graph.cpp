// Graphs as ops: indices, so without derivative.
#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/kernels/csr.h"
#include "basin/kernels/index.h"
#include "basin/kernels/launch.h"
#include "basin/kernels/radius_graph.h"

namespace basin {

Csr csr(const Tensor& index, int64_t rows) {
  check(index.defined() && index.dtype() == DType::i32 && index.rank() == 1, "csr: the index must ",
        "be i32 [E], got ", index);
  check(rows >= 0, "csr: rows must not be negative, got ", rows);
  const Tensors out = opaque_op("csr",
                                [rows](const Tensors& in) {
                                  const Device device = in[0].device();
                                  Csr made{Tensor::empty({rows + 1}, DType::i32, device),
                                           Tensor::empty(in[0].shape(), DType::i32, device)};
                                  launch<SortByRow>(device, in[0], made.offsets, made.order);
                                  return Tensors{made.offsets, made.order};
                                },
                                {index});
  return {out[0], out[1]};
}

NeighbourLists neighbour_lists(const Tensor& index) {
  check(index.defined() && index.dtype() == DType::i32 && index.rank() == 3 && index.numel() > 0,
        "neighbour_lists: expects the index [B, N, k] i32, got ", index);
  if (index.device() == Device::cpu) return {index, Tensor(), {}};
  const Tensors out =
      opaque_op("neighbour_lists",
                [](const Tensors& in) {
                  Tensors made(3);
                  launch<SortClouds>(in[0].device(), in[0], made[0], made[1], made[2]);
                  return made;
                },
                {index});
  return {index, out[0], {out[1], out[2]}};
}

EdgeList radius_graph(const Tensor& x, const Tensor& offsets, double cutoff, bool loops) {
  check(x.rank() == 2 && x.size(1) == 3 && x.numel() > 0 && is_float(x.dtype()),
        "radius_graph: expects points [N, 3], got ", x);
  check(cutoff > 0, "radius_graph: the cutoff must be positive, got ", cutoff);
  check_offsets(offsets, x.size(0), "radius_graph");
  const Tensors out =
      opaque_op("radius_graph",
                [=](const Tensors& in) {
                  const Device device = in[0].device();
                  const int64_t points = in[0].size(0);
                  Tensor start = Tensor::empty({points + 1}, DType::i32, device);
                  launch<RadiusDegrees>(device, in[0], in[1], cutoff, loops, start);
                  const auto edges = static_cast<int64_t>(start.at(points));
                  check(edges >= 0, "radius_graph: more edges than an i32 counts");
                  Tensor sender = Tensor::empty({edges}, DType::i32, device);
                  Tensor receiver = Tensor::empty({edges}, DType::i32, device);
                  launch<RadiusEdges>(device, in[0], in[1], cutoff, loops, start, sender, receiver);
                  return Tensors{sender, receiver, start};
                },
                {x, offsets});
  return {out[0], out[1], out[2], csr(out[0], x.size(0))};
}

}  // namespace basin
