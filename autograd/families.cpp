// The families' ops. FusedVjp is the derivative of a fused op as an op of its own: kernel forward,
// and the VJP of the reference as its reference.
#include "basin/autograd/families.h"

#include "basin/autograd/ops.h"
#include "basin/autograd/transform.h"

namespace basin {
namespace {

struct LinearOp final : Op {
  explicit LinearOp(LinearRule r) : rule(std::move(r)) {}
  std::string_view name() const override { return rule.name; }
  Tensors forward(const Tensors& in) const override { return {rule.apply(in[0])}; }
  Tensors vjp(const Node& node, const Tensors& ct, Positions) const override {
    return {rule.transpose(ct[0], node.input_meta(0))};
  }
  Tensors jvp(const Node& node, const Tensors& t) const override { return emit(node.op, {t[0]}); }
  Keep keep(Positions) const override { return {}; }
  LinearRule rule;
};

// The differentiable inputs of a fused op as the variables of a function, the others held fixed.
struct SplitInputs {
  SplitInputs(const Tensors& in, Positions differentiable) : all(in) {
    for (size_t i = 0; i < in.size(); ++i) {
      if (!differentiable.contains(i) || !in[i].defined()) continue;
      at.push_back(i);
      variables.push_back(in[i]);
    }
  }
  Tensors join(const Tensors& values) const {
    Tensors in = all;
    for (size_t k = 0; k < at.size(); ++k) in[at[k]] = values[k];
    return in;
  }
  Tensors spread(const Tensors& values, size_t size) const {
    Tensors out(size);
    for (size_t k = 0; k < at.size(); ++k) out[at[k]] = values[k];
    return out;
  }
  Tensors all, variables;
  std::vector<size_t> at;
};

// Forward mode of a composite f at fixed inputs. Outside a recording the tape of f is made once and
// swept for every further tangent; inside one it must be recorded anew, to hang on the caller's
// graph.
class CompositePush {
 public:
  Tensors operator()(const Fn& f, const SplitInputs& split, const Tensors& tangents) const {
    Tensors chosen;
    for (size_t i : split.at) chosen.push_back(tangents[i]);
    const Fn joined = [&](const Tensors& v) { return f(split.join(v)); };
    if (tracking()) return push(record(joined, split.variables), chosen);
    if (!tape_) tape_ = std::make_unique<const Tape>(record(joined, split.variables));
    return push(*tape_, chosen);
  }

 private:
  mutable std::unique_ptr<const Tape> tape_;
};

Tensors node_inputs(const Node& node) {
  Tensors in;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    in.push_back(node.input_meta(i).defined() ? node.input(i) : Tensor{});
  }
  return in;
}

// The kernel's outputs as constants; one may be undefined.
Tensors node_outputs(const Node& node) {
  Tensors out;
  for (size_t k = 0; k < node.outputs.size(); ++k) {
    out.push_back(node.output_meta(k).defined() ? node.output(k).detach() : Tensor{});
  }
  return out;
}

// Tangent kernels give values only: a sweep that is itself followed needs the composite. Each list
// of tangents is padded with undefined ones up to `count`.
std::optional<FusedTangents> tangents_by_kernel(const FusedRule& rule, const FusedPoint& point,
                                                const std::vector<FusedLane>& lanes, size_t count,
                                                bool want_value = false) {
  if (tracking()) return {};
  std::optional<FusedTangents> result = rule.tangents(point, lanes, want_value);
  if (result) {
    if (want_value) count = result->value.size();
    for (Tensors& lane : result->lanes) lane.resize(count);
  }
  return result;
}

// Gradients of <ct, reference(in)> with respect to the differentiable inputs; undefined elsewhere.
Tensors reference_vjp(const FusedRule& rule, const Tensors& in, const Tensors& out,
                      const Tensor& ct) {
  const SplitInputs split(in, rule.differentiable());
  const Fn f = [&](const Tensors& v) { return Tensors{rule.reference(split.join(v), out)}; };
  return split.spread(basin::vjp(f, split.variables, {ct}).second, in.size());
}

// Inputs: the fused op's inputs, its outputs (constants), the cotangent of its output 0.
struct FusedVjp final : Op {
  FusedVjp(FusedRulePtr r, size_t inputs) : rule(std::move(r)), count(inputs) {}
  std::string_view name() const override { return rule->name(); }

  FusedPoint point(const Tensors& all) const {
    return {{all.begin(), all.begin() + count}, {all.begin() + count, all.end() - 1}, all.back()};
  }
  FusedLane lane(const Tensors& t) const { return {{t.begin(), t.begin() + count}, t.back()}; }

  Tensors forward(const Tensors& all) const override {
    const FusedPoint p = point(all);
    return rule->vjp(p.in, p.out, p.ct);
  }
  // The reference as a function of (inputs..., ct), with the undefined gradients left out.
  Fn reference() const {
    return [this](const Tensors& all) {
      const FusedPoint p = point(all);
      return reference_vjp(*rule, p.in, p.out, p.ct);
    };
  }
  Positions variables(const Tensors& all) const {
    Positions p;
    for (size_t i = 0; i < count; ++i) {
      if (rule->differentiable().contains(i)) p.insert(i);
    }
    p.insert(all.size() - 1);
    return p;
  }
  Tensors vjp(const Node& node, const Tensors& ct, Positions) const override {
    const Tensors all = node_inputs(node);
    FusedPoint p = point(all);
    if (auto hessian = tangents_by_kernel(*rule, p, {{ct, {}}}, all.size())) {
      p.ct = {};
      Tensors grads = std::move(hessian->lanes[0]);
      grads.back() = tangents_by_kernel(*rule, p, {{ct, {}}}, 1)->lanes[0][0];
      return grads;
    }
    const SplitInputs split(all, variables(all));
    const Fn f = [&](const Tensors& v) { return reference()(split.join(v)); };
    return split.spread(basin::vjp(f, split.variables, ct).second, all.size());
  }
  Tensors jvp(const Node& node, const Tensors& t) const override {
    return std::move(jvp_lanes(node, {t})[0]);
  }
  std::pair<Tensors, Tensors> forward_jvp(const Tensors& all, const Tensors& t) const override {
    auto both = tangents_by_kernel(*rule, point(all), {lane(t)}, count, true);
    if (!both) return {};
    return {std::move(both->value), std::move(both->lanes[0])};
  }
  std::vector<Tensors> jvp_lanes(const Node& node, const std::vector<Tensors>& t) const override {
    const Tensors all = node_inputs(node);
    std::vector<FusedLane> lanes;
    for (const Tensors& one : t) lanes.push_back(lane(one));
    if (auto made = tangents_by_kernel(*rule, point(all), lanes, count)) {
      return std::move(made->lanes);
    }
    const SplitInputs split(all, variables(all));
    std::vector<Tensors> results;
    for (const Tensors& one : t) results.push_back(push_reference(reference(), split, one));
    return results;
  }
  bool lanes_share_work() const override { return rule->lanes_share_work(); }
  FusedRulePtr rule;
  size_t count;
  CompositePush push_reference;
};

struct FusedOp final : Op {
  explicit FusedOp(FusedRulePtr r) : rule(std::move(r)) {}
  std::string_view name() const override { return rule->name(); }
  Tensors forward(const Tensors& in) const override { return rule->forward(in); }

  Tensors vjp(const Node& node, const Tensors& ct, Positions) const override {
    Tensors all = node_inputs(node);
    const size_t count = all.size();
    if (!ct[0].defined()) return Tensors(count);
    for (Tensor& t : node_outputs(node)) all.push_back(std::move(t));
    all.push_back(ct[0]);
    return emit(std::make_shared<FusedVjp>(rule, count), all);
  }
  Tensors jvp(const Node& node, const Tensors& t) const override {
    return std::move(jvp_lanes(node, {t})[0]);
  }
  std::pair<Tensors, Tensors> forward_jvp(const Tensors& in, const Tensors& t) const override {
    auto both = tangents_by_kernel(*rule, {in, {}, {}}, {{t, {}}}, 1, true);
    if (!both) return {};
    return {std::move(both->value), std::move(both->lanes[0])};
  }
  std::vector<Tensors> jvp_lanes(const Node& node, const std::vector<Tensors>& t) const override {
    const Tensors all = node_inputs(node), saved = node_outputs(node);
    std::vector<FusedLane> lanes;
    for (const Tensors& one : t) lanes.push_back({one, {}});
    if (auto made = tangents_by_kernel(*rule, {all, saved, {}}, lanes, saved.size())) {
      return std::move(made->lanes);
    }
    const Fn f = [&](const Tensors& in) { return Tensors{rule->reference(in, saved)}; };
    const SplitInputs split(all, rule->differentiable());
    std::vector<Tensors> results;
    for (const Tensors& one : t) {
      results.push_back(push_reference(f, split, one));
      results.back().resize(saved.size());
    }
    return results;
  }
  bool lanes_share_work() const override { return rule->lanes_share_work(); }
  FusedRulePtr rule;
  CompositePush push_reference;
};

struct OpaqueOp final : Op {
  OpaqueOp(std::string_view n, const std::function<Tensors(const Tensors&)>& k)
      : id(n), kernel(k) {}
  std::string_view name() const override { return id; }
  Tensors forward(const Tensors& in) const override { return kernel(in); }
  Tensors vjp(const Node&, const Tensors&, Positions) const override {
    fail(ErrorKind::internal, id, ": has no derivative");
  }
  std::string_view id;
  const std::function<Tensors(const Tensors&)>& kernel;
};

}  // namespace

Tensor linear_op(LinearRule rule, const Tensor& x) {
  return emit1(std::make_shared<LinearOp>(std::move(rule)), {x});
}

std::optional<FusedTangents> FusedRule::tangents(const FusedPoint&, const std::vector<FusedLane>&,
                                                 bool) const {
  return {};
}

std::optional<FusedTangents> LaneByLaneRule::tangents(const FusedPoint& point,
                                                      const std::vector<FusedLane>& lanes,
                                                      bool want_value) const {
  const auto& [in, out, ct] = point;
  FusedTangents result;
  if (ct.defined()) {
    if (want_value) result.value = vjp(in, out, ct);
    for (const FusedLane& lane : lanes) {
      result.lanes.push_back(vjp_tangent(in, out, ct, lane.in, lane.ct));
    }
    return result;
  }
  if (want_value) result.value = forward(in);
  for (const FusedLane& lane : lanes) {
    result.lanes.push_back({forward_tangent(in, want_value ? result.value : out, lane.in)});
  }
  return result;
}

Tensors fused_op(FusedRulePtr rule, const Tensors& in) {
  Tensors out = emit(std::make_shared<FusedOp>(std::move(rule)), in);
  for (size_t k = 1; k < out.size(); ++k) out[k] = out[k].detach();
  return out;
}

Tensor empty_like(const Tensor& meta) {
  return meta.defined() ? Tensor::empty(meta.shape(), meta.dtype(), meta.device()) : Tensor();
}

Tensor or_zeros_on_tape(const Tensor& t, const Tensor& meta) {
  return t.defined() ? t : Tensor::zeros(meta.shape(), meta.dtype(), meta.device());
}

Tensor or_zeros(const Tensor& tangent, const Tensor& meta) {
  return or_zeros_on_tape(tangent, meta).detach();
}

Tensors opaque_op(std::string_view name, const std::function<Tensors(const Tensors&)>& kernel,
                  const Tensors& in) {
  Tensors bare;
  for (const Tensor& t : in) bare.push_back(t.detach());
  return emit(std::make_shared<OpaqueOp>(name, kernel), bare);
}

}  // namespace basin
