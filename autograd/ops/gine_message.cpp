// gine_message: the sum over the edges into a node of relu(h_j + t_kind), and what makes its
// arguments: edges grouped by both ends, rows of categories as numbers and as zeros and ones.
#include "basin/kernels/gine_message.h"

#include <limits>

#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/kernels/categories.h"
#include "basin/kernels/index.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

// The order of the op's inputs; only the first two have a derivative.
enum GineInput { kH, kT, kInStart, kInNode, kInKind, kOutStart, kOutNode, kOutKind, kGineInputs };

EdgeGroups groups_into(const Tensors& in) { return {in[kInStart], in[kInNode], in[kInKind]}; }
EdgeGroups groups_from(const Tensors& in) { return {in[kOutStart], in[kOutNode], in[kOutKind]}; }

struct GineRule final : LaneByLaneRule {
  explicit GineRule(bool with_own) : own(with_own) {}
  std::string_view name() const override { return "gine_message"; }
  Positions differentiable() const override { return Positions::of({kH, kT}); }
  Tensors forward(const Tensors& in) const override {
    Tensor out = Tensor::empty(in[kH].shape(), in[kH].dtype(), in[kH].device());
    launch<GineMessage>(out.device(), in[kH], in[kT], groups_into(in), own, out);
    return {out};
  }
  Tensors vjp(const Tensors& in, const Tensors&, const Tensor& ct) const override {
    Tensors grads(kGineInputs);
    for (const GineInput i : {kH, kT}) {
      grads[i] = Tensor::empty(in[i].shape(), in[i].dtype(), in[i].device());
    }
    launch<GineMessageVjp>(ct.device(), in[kH], in[kT], groups_from(in), own, ct, grads[kH],
                           grads[kT]);
    return grads;
  }
  Tensor reference(const Tensors& in, const Tensors&) const override {
    const Tensor along = gather(in[kH], in[kInNode]) + gather(in[kT], in[kInKind]);
    const Tensor sum = segment_sum(relu(along), in[kInStart]);
    return own ? in[kH] + sum : sum;
  }
  Tensor forward_tangent(const Tensors& in, const Tensors&, const Tensors& t) const override {
    Tensor out = Tensor::empty(in[kH].shape(), in[kH].dtype(), in[kH].device());
    launch<GineMessageJvp>(out.device(), in[kH], in[kT], groups_into(in), own, t[kH], t[kT], out);
    return out;
  }
  // The second derivative of relu is zero: what is left is linear in the cotangent.
  Tensors vjp_tangent(const Tensors& in, const Tensors& out, const Tensor&, const Tensors&,
                      const Tensor& ct_t) const override {
    return ct_t.defined() ? vjp(in, out, ct_t) : Tensors(kGineInputs);
  }
  bool own;
};

}  // namespace

Tensor multi_hot(const Tensor& index, const std::vector<int64_t>& sizes, DType dtype) {
  const ColumnSizes columns(sizes, index, "multi_hot");
  check(is_float(dtype), "multi_hot: expects f32 or f64, got ", name_of(dtype));
  Tensor out = Tensor::empty({index.size(0), columns.sum()}, dtype, index.device());
  launch<MultiHot>(out.device(), index, columns, out);
  return out;
}

Tensor mixed_radix(const Tensor& index, const std::vector<int64_t>& sizes) {
  const ColumnSizes columns(sizes, index, "mixed_radix");
  columns.product();  // fits
  Tensor out = Tensor::empty({index.size(0)}, DType::i32, index.device());
  launch<MixedRadix>(out.device(), index, columns, out);
  return out;
}

EdgeLists edge_lists(const Tensor& sender, const Tensor& receiver, const Tensor& kind,
                     int64_t nodes) {
  for (const Tensor& t : {sender, receiver, kind}) {
    check(t.defined() && t.dtype() == DType::i32 && t.rank() == 1 && t.numel() == sender.numel(),
          "edge_lists: expects sender, receiver and kind as i32 [E], got ", t);
  }
  check(nodes > 0 && nodes <= std::numeric_limits<int32_t>::max(),
        "edge_lists: expects 1 to 2^31 - 1 nodes, got ", nodes);
  EdgeGroups into, from;
  launch<GroupEdges>(sender.device(), receiver, sender, kind, nodes, into);
  launch<GroupEdges>(sender.device(), sender, receiver, kind, nodes, from);
  return {into.start, into.node, into.kind, from.start, from.node, from.kind};
}

Tensor gine_message(const Tensor& h, const Tensor& table, const EdgeLists& edges, bool own) {
  const char* op = "gine_message";
  check(h.rank() == 2 && table.rank() == 2 && h.size(1) == table.size(1) && h.numel() > 0 &&
            table.size(0) > 0,
        op, ": expects h [V, d] and a table [K, d], got ", h.shape(), " and ", table.shape());
  check(h.dtype() == table.dtype(), op, ": h and the table need one dtype, got ",
        name_of(h.dtype()), " and ", name_of(table.dtype()));
  check(edges.in_start.defined() && edges.in_start.numel() == h.size(0) + 1, op,
        ": expects the edges of ", h.size(0), " nodes, got offsets ", edges.in_start.shape());
  check_index(edges.in_kind, table.size(0), 0, op);
  return fused_op(std::make_shared<GineRule>(own),
                  {h, table, edges.in_start, edges.in_node, edges.in_kind, edges.out_start,
                   edges.out_node, edges.out_kind})[0];
}

}  // namespace basin
