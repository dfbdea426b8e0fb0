// The linear map of an edge convolution, taken apart and put together: two linear ops, each the
// transpose of the other.
#include "basin/kernels/edge_map.h"

#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

struct SplitEdgeMapOp final : Op {
  std::string_view name() const override { return SplitEdgeMap::name; }
  Tensors forward(const Tensors& in) const override {
    const Tensor& w = in[0];
    const Shape half{w.size(0), w.size(1) / 2};
    Tensor neighbour = Tensor::empty(half, w.dtype(), w.device());
    Tensor centre = Tensor::empty(half, w.dtype(), w.device());
    launch<SplitEdgeMap>(w.device(), w, neighbour, centre);
    return {neighbour, centre};
  }
  Tensors vjp(const Node& node, const Tensors& ct, Positions) const override {
    return {join_edge_map(or_zeros_on_tape(ct[0], node.output_meta(0)),
                          or_zeros_on_tape(ct[1], node.output_meta(1)))};
  }
  Tensors jvp(const Node&, const Tensors& t) const override {
    const EdgeMap halves = split_edge_map(t[0]);
    return {halves.neighbour, halves.centre};
  }
  Keep keep(Positions) const override { return {}; }
};

struct JoinEdgeMapOp final : Op {
  std::string_view name() const override { return JoinEdgeMap::name; }
  Tensors forward(const Tensors& in) const override {
    const Tensor& half = in[0];
    Tensor w = Tensor::empty({half.size(0), 2 * half.size(1)}, half.dtype(), half.device());
    launch<JoinEdgeMap>(w.device(), half, in[1], w);
    return {w};
  }
  Tensors vjp(const Node&, const Tensors& ct, Positions) const override {
    const EdgeMap halves = split_edge_map(ct[0]);
    return {halves.neighbour, halves.centre};
  }
  Tensors jvp(const Node& node, const Tensors& t) const override {
    return {join_edge_map(or_zeros_on_tape(t[0], node.input_meta(0)),
                          or_zeros_on_tape(t[1], node.input_meta(1)))};
  }
  Keep keep(Positions) const override { return {}; }
};

}  // namespace

EdgeMap split_edge_map(const Tensor& w) {
  check(w.defined() && is_float(w.dtype()) && w.rank() == 2 && w.size(1) % 2 == 0,
        "split_edge_map: expects w [out, 2 in] of floats, got ", w);
  static const OpRef op = std::make_shared<SplitEdgeMapOp>();
  Tensors halves = emit(op, {w});
  return {std::move(halves[0]), std::move(halves[1])};
}

Tensor join_edge_map(const Tensor& neighbour, const Tensor& centre) {
  check(neighbour.defined() && centre.defined() && is_float(neighbour.dtype()) &&
            neighbour.rank() == 2 && neighbour.shape() == centre.shape() &&
            neighbour.dtype() == centre.dtype(),
        "join_edge_map: expects two halves [out, in] of one type of floats, got ", neighbour,
        " and ", centre);
  static const OpRef op = std::make_shared<JoinEdgeMapOp>();
  return emit(op, {neighbour, centre})[0];
}

}  // namespace basin
