// en_message_pass: the messages and coordinate shifts of an E(n)-equivariant layer. The kernels
// keep the edges in cache; the composite below stores them, [R, k, d] several times over.
#include "basin/autograd/ops/edge_message.h"

#include <limits>

#include "basin/autograd/families.h"
#include "basin/kernels/edge_message.h"
#include "basin/kernels/index_map.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

// The order of the op's inputs. The edges have no derivative.
enum Input { kP, kR, kX, kIndex, kWs, kW2, kB2, kWa, kBa, kWc, kBc, kWx };
enum Lists { kSender = kWx + 1, kStart, kOrder, kInputs };
bool is_edges(size_t i) { return i == kIndex || i >= kSender; }

EdgeMessageTensors named(const Tensors& t) {
  return {t[kP], t[kR], t[kX], t[kWs], t[kW2], t[kB2], t[kWa], t[kBa], t[kWc], t[kBc], t[kWx]};
}

MessageEdges edges_of(const Tensors& t) { return {t[kIndex], t[kSender], t[kStart], t[kOrder]}; }

Tensor result_for(const Tensors& in) {
  const int64_t rows = in[kP].size(0), d = in[kP].size(1);
  return Tensor::empty({rows, in[kWc].defined() ? d + 3 : d}, in[kP].dtype(), in[kP].device());
}

// One gradient per defined input.
struct Gradients {
  explicit Gradients(const Tensors& in) : all(kInputs) {
    for (size_t i = 0; i < in.size(); ++i) {
      if (!is_edges(i) && in[i].defined()) {
        all[i] = Tensor::empty(in[i].shape(), in[i].dtype(), in[i].device());
      }
    }
    by_name = named(all);
  }
  Tensors all;
  EdgeMessageTensors by_name;  // the same memory
};

// [B, N, k] within the cloud -> [B N k] rows of the batch
Tensor rows_of(const Tensor& index) {
  const int64_t nodes = index.size(1), edges = nodes * index.size(2);
  Tensor rows = Tensor::empty({index.numel()}, DType::i32, index.device());
  launch<CloudRows>(index.device(), index, edges, nodes, rows);
  return rows;
}

std::vector<EdgeMessageTensors> named_inputs(const std::vector<FusedLane>& lanes) {
  std::vector<EdgeMessageTensors> out;
  for (const FusedLane& lane : lanes) out.push_back(named(lane.in));
  return out;
}

FusedTangents forward_tangents(const Tensors& in, const std::vector<FusedLane>& lanes,
                               bool want_value) {
  Tensor value;
  if (want_value) value = result_for(in);
  Tensors results;
  for (size_t lane = 0; lane < lanes.size(); ++lane) results.push_back(result_for(in));
  const std::vector<EdgeMessageTensors> tangents = named_inputs(lanes);
  launch<EdgeMessageJvp>(in[kP].device(), named(in), edges_of(in),
                         std::span<const EdgeMessageTensors>(tangents),
                         want_value ? &value : nullptr, std::span<Tensor>(results));
  FusedTangents out;
  if (want_value) out.value = {value};
  for (const Tensor& t : results) out.lanes.push_back({t});
  return out;
}

FusedTangents vjp_tangents(const Tensors& in, const Tensor& ct, const std::vector<FusedLane>& lanes,
                           bool want_value) {
  FusedTangents out;
  std::vector<EdgeMessageTensors> grads;
  Tensors ct_tangents;
  for (const FusedLane& lane : lanes) {
    Gradients g(in);
    out.lanes.push_back(g.all);
    grads.push_back(g.by_name);
    ct_tangents.push_back(lane.ct);
  }
  EdgeMessageTensors value;
  if (want_value) {
    Gradients g(in);
    out.value = g.all;
    value = g.by_name;
  }
  const std::vector<EdgeMessageTensors> tangents = named_inputs(lanes);
  launch<EdgeMessageVjpJvp>(ct.device(), named(in), edges_of(in), ct,
                            std::span<const EdgeMessageTensors>(tangents),
                            std::span<const Tensor>(ct_tangents), want_value ? &value : nullptr,
                            std::span<EdgeMessageTensors>(grads));
  return out;
}

// The kernels make a tile's values once for all lanes.
struct MessageRule final : FusedRule {
  std::string_view name() const override { return "en_message_pass"; }
  Positions differentiable() const override {
    return Positions::of({kP, kR, kX, kWs, kW2, kB2, kWa, kBa, kWc, kBc, kWx});
  }
  Tensors forward(const Tensors& in) const override {
    Tensor out = result_for(in);
    launch<EdgeMessage>(out.device(), named(in), edges_of(in), out);
    return {out};
  }
  Tensors vjp(const Tensors& in, const Tensors&, const Tensor& ct) const override {
    Gradients g(in);
    launch<EdgeMessageVjp>(ct.device(), named(in), edges_of(in), ct, g.by_name);
    return g.all;
  }
  Tensor reference(const Tensors& in, const Tensors&) const override {
    const EnMessages m = en_message_composite(
        in[kP], in[kR], in[kX], in[kIndex],
        {in[kWs], in[kW2], in[kB2], in[kWa], in[kBa], in[kWc], in[kBc], in[kWx]});
    return m.shift.defined() ? concat({m.sum, m.shift}, 1) : m.sum;
  }
  std::optional<FusedTangents> tangents(const FusedPoint& point,
                                        const std::vector<FusedLane>& lanes,
                                        bool want_value) const override {
    return point.ct.defined() ? vjp_tangents(point.in, point.ct, lanes, want_value)
                              : forward_tangents(point.in, lanes, want_value);
  }
  bool lanes_share_work() const override { return true; }
};

void check_arguments(const Tensors& in) {
  const char* op = "en_message_pass";
  const Tensor &p = in[kP], &index = in[kIndex];
  check(p.rank() == 2 && in[kR].shape() == p.shape() && in[kX].shape() == Shape{p.size(0), 3}, op,
        ": expects p and r [R, d] and x [R, 3], got ", p.shape(), ", ", in[kR].shape(), " and ",
        in[kX].shape());
  check(index.rank() == 3 && index.dtype() == DType::i32 && index.size(2) >= 1 &&
            index.size(0) * index.size(1) == p.size(0),
        op, ": expects the index [B, N, k] i32 with B N = ", p.size(0), ", got ", index);
  check(p.numel() > 0 && p.size(0) <= std::numeric_limits<int32_t>::max(), op,
        ": expects at least one row and channel and at most 2^31 - 1 rows, got ", p.shape());
  const int64_t d = p.size(1);
  const auto expect = [&](const char* name, Input i, const Shape& shape) {
    check(in[i].defined() && in[i].shape() == shape, op, ": expects ", name, " ", shape, ", got ",
          in[i].shape());
  };
  expect("w_s", kWs, {d});
  expect("w2", kW2, {d, d});
  expect("b2", kB2, {d});
  if (in[kWa].defined() || in[kBa].defined()) {
    expect("w_a", kWa, {d});
    expect("b_a", kBa, {1});
  }
  if (in[kWc].defined() || in[kBc].defined() || in[kWx].defined()) {
    expect("w_c", kWc, {d, d});
    expect("b_c", kBc, {d});
    expect("w_x", kWx, {d});
  }
  for (size_t i = 0; i < in.size(); ++i) {
    check(is_edges(i) || !in[i].defined() || in[i].dtype() == p.dtype(), op,
          ": all float arguments need one dtype, got ", name_of(p.dtype()), " and ",
          name_of(in[i].dtype()));
  }
}

}  // namespace

EnMessages en_message_composite(const Tensor& p, const Tensor& r, const Tensor& x,
                                const Tensor& index, const EnMessageWeights& w) {
  const int64_t rows = p.size(0), d = p.size(1), k = index.size(2);
  const Tensor neighbours = rows_of(index);
  const auto of_centre = [&](const Tensor& t) { return reshape(t, {rows, 1, t.size(1)}); };
  const auto of_neighbours = [&](const Tensor& t) {
    return reshape(gather(t, neighbours), {rows, k, t.size(1)});
  };
  const Tensor delta = of_centre(x) - of_neighbours(x);
  const Tensor s = sum(square(delta), 2, true);
  Tensor m = silu(of_centre(p) + of_neighbours(r) + s * w.w_s);
  m = silu(linear(m, w.w2, w.b2));
  if (w.w_a.defined()) m = m * sigmoid(linear(m, reshape(w.w_a, {1, d}), w.b_a));
  EnMessages out{sum(m, 1), Tensor()};
  if (w.w_c.defined()) {
    const Tensor phi = linear(silu(linear(m, w.w_c, w.b_c)), reshape(w.w_x, {1, d}), {});
    out.shift = mean(delta * phi, 1);
  }
  return out;
}

EnMessages en_message_pass(const Tensor& p, const Tensor& r, const Tensor& x,
                           const NeighbourLists& near, const EnMessageWeights& w) {
  Tensors in{p, r, x, near.index.detach(), w.w_s, w.w2, w.b2, w.w_a, w.b_a, w.w_c, w.b_c, w.w_x};
  in.insert(in.end(), {near.sender, near.by_sender.offsets, near.by_sender.order});
  check_arguments(in);
  const Tensor out = fused_op(std::make_shared<MessageRule>(), in)[0];
  const int64_t d = p.size(1);
  if (!w.w_c.defined()) return {out, Tensor()};
  Tensors parts = split(out, 1, {d, 3});
  return {parts[0], parts[1]};
}

}  // namespace basin
