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
  Tensors jvp_lanes(const Node& node, const Tensors& t, int64_t lanes) const override {
    return rule.apply_lanes ? Tensors{rule.apply_lanes(t[0], lanes)}
                            : Op::jvp_lanes(node, t, lanes);
  }
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
  Tensors operator()(const Fn& f, const SplitInputs& split, const Tensors& tangents,
                     int64_t lanes) const {
    Tensors chosen;
    for (size_t i : split.at) chosen.push_back(tangents[i]);
    const Fn joined = [&](const Tensors& v) { return f(split.join(v)); };
    if (tracking()) return sweep(record(joined, split.variables), chosen, lanes);
    if (!tape_) tape_ = std::make_unique<const Tape>(record(joined, split.variables));
    return sweep(*tape_, chosen, lanes);
  }

 private:
  static Tensors sweep(const Tape& tape, const Tensors& tangents, int64_t lanes) {
    return lanes > 0 ? push_lanes(tape, tangents, lanes) : push(tape, tangents);
  }
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

using RulePtr = std::shared_ptr<const FusedRule>;

// Second-order kernels give values only: a sweep that is itself followed needs the composite.
bool second_order_kernels(const FusedRule& rule) {
  return (rule.together.jvp || (rule.jvp && rule.vjp_jvp)) && !tracking();
}

Tensor jvp_by_kernel(const FusedRule& rule, const Tensors& in, const Tensors& out,
                     const Tensors& t) {
  return rule.together.jvp ? rule.together.jvp(in, out, {t}, false).tangents[0]
                           : rule.jvp(in, out, t);
}

Tensors vjp_jvp_by_kernel(const FusedRule& rule, const Tensors& in, const Tensors& out,
                          const Tensor& ct, const Tensors& t, const Tensor& ct_t) {
  return rule.together.vjp_jvp ? rule.together.vjp_jvp(in, out, ct, {t}, {ct_t}, false).tangents[0]
                               : rule.vjp_jvp(in, out, ct, t, ct_t);
}

// Gradients of <ct, reference(in)> with respect to the differentiable inputs; undefined elsewhere.
Tensors reference_vjp(const FusedRule& rule, const Tensors& in, const Tensors& out,
                      const Tensor& ct) {
  const SplitInputs split(in, rule.differentiable);
  const Fn f = [&](const Tensors& v) { return Tensors{rule.reference(split.join(v), out)}; };
  return split.spread(basin::vjp(f, split.variables, {ct}).second, in.size());
}

// Inputs: the fused op's inputs, its outputs (constants), the cotangent of its output 0.
struct FusedVjp final : Op {
  FusedVjp(RulePtr r, size_t inputs) : rule(std::move(r)), count(inputs) {}
  std::string_view name() const override { return rule->name; }

  struct Parts {
    Parts(const Tensors& all, size_t count)
        : in(all.begin(), all.begin() + count),
          out(all.begin() + count, all.end() - 1),
          ct(all.back()) {}
    Tensors in, out;
    Tensor ct;
  };

  Tensors forward(const Tensors& all) const override {
    const Parts p(all, count);
    return rule->vjp(p.in, p.out, p.ct);
  }
  // The reference as a function of (inputs..., ct), with the undefined gradients left out.
  Fn reference() const {
    return [this](const Tensors& all) {
      const Parts p(all, count);
      return reference_vjp(*rule, p.in, p.out, p.ct);
    };
  }
  Positions variables(const Tensors& all) const {
    Positions p;
    for (size_t i = 0; i < count; ++i) {
      if (rule->differentiable.contains(i)) p.insert(i);
    }
    p.insert(all.size() - 1);
    return p;
  }
  Tensors vjp(const Node& node, const Tensors& ct, Positions) const override {
    const Tensors all = node_inputs(node);
    if (second_order_kernels(*rule)) {
      const Parts p(all, count);
      Tensors grads = vjp_jvp_by_kernel(*rule, p.in, p.out, p.ct, ct, Tensor{});
      grads.resize(all.size());
      grads.back() = jvp_by_kernel(*rule, p.in, p.out, ct);
      return grads;
    }
    const SplitInputs split(all, variables(all));
    const Fn f = [&](const Tensors& v) { return reference()(split.join(v)); };
    return split.spread(basin::vjp(f, split.variables, ct).second, all.size());
  }
  Tensors jvp(const Node& node, const Tensors& t) const override {
    const Tensors all = node_inputs(node);
    if (!second_order_kernels(*rule)) return push_composite(all, t, 0);
    const Parts p(all, count), tangents(t, count);
    return vjp_jvp_by_kernel(*rule, p.in, p.out, p.ct, tangents.in, tangents.ct);
  }
  std::pair<Tensors, Tensors> forward_jvp(const Tensors& all, const Tensors& t) const override {
    if (!rule->together.vjp_jvp) return {};
    const Parts p(all, count), tangents(t, count);
    auto both = rule->together.vjp_jvp(p.in, p.out, p.ct, {tangents.in}, {tangents.ct}, true);
    return {std::move(both.value), std::move(both.tangents[0])};
  }
  Tensors jvp_lanes(const Node& node, const Tensors& t, int64_t lanes) const override {
    if (second_order_kernels(*rule)) {
      if (!rule->together.vjp_jvp) return Op::jvp_lanes(node, t, lanes);
      const Parts p(node_inputs(node), count);
      std::vector<Tensors> in_t;
      Tensors ct_t;
      for (const Tensors& one : split_lanes(t, lanes)) {
        const Parts tangents(one, count);
        in_t.push_back(tangents.in);
        ct_t.push_back(tangents.ct);
      }
      return stack_lanes(node,
                         rule->together.vjp_jvp(p.in, p.out, p.ct, in_t, ct_t, false).tangents);
    }
    return push_composite(node_inputs(node), t, lanes);
  }
  bool lanes_share_work() const override { return rule->together.vjp_jvp != nullptr; }
  Tensors push_composite(const Tensors& all, const Tensors& t, int64_t lanes) const {
    return push_reference(reference(), SplitInputs(all, variables(all)), t, lanes);
  }
  RulePtr rule;
  size_t count;
  CompositePush push_reference;
};

struct FusedOp final : Op {
  explicit FusedOp(FusedRule r) : rule(std::make_shared<const FusedRule>(std::move(r))) {}
  std::string_view name() const override { return rule->name; }
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
    if (!second_order_kernels(*rule)) return push_composite(node, t, 0);
    Tensors out(node.outputs.size());
    out[0] = jvp_by_kernel(*rule, node_inputs(node), node_outputs(node), t);
    return out;
  }
  std::pair<Tensors, Tensors> forward_jvp(const Tensors& in, const Tensors& t) const override {
    if (!rule->together.jvp) return {};
    auto both = rule->together.jvp(in, {}, {t}, true);
    return {{std::move(both.value)}, {std::move(both.tangents[0])}};
  }
  Tensors jvp_lanes(const Node& node, const Tensors& t, int64_t lanes) const override {
    if (!second_order_kernels(*rule)) return push_composite(node, t, lanes);
    if (!rule->together.jvp) return Op::jvp_lanes(node, t, lanes);
    std::vector<Tensors> results;
    for (Tensor& one :
         rule->together.jvp(node_inputs(node), node_outputs(node), split_lanes(t, lanes), false)
             .tangents) {
      results.push_back({std::move(one)});
    }
    return stack_lanes(node, std::move(results));
  }
  bool lanes_share_work() const override { return rule->together.jvp != nullptr; }
  Tensors push_composite(const Node& node, const Tensors& t, int64_t lanes) const {
    const Tensors all = node_inputs(node);
    const Tensors saved = node_outputs(node);
    const Fn f = [&](const Tensors& in) { return Tensors{rule->reference(in, saved)}; };
    Tensors out = push_reference(f, SplitInputs(all, rule->differentiable), t, lanes);
    out.resize(node.outputs.size());
    return out;
  }
  RulePtr rule;
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

Tensors fused_op(FusedRule rule, const Tensors& in) {
  Tensors out = emit(std::make_shared<FusedOp>(std::move(rule)), in);
  for (size_t k = 1; k < out.size(); ++k) out[k] = out[k].detach();
  return out;
}

Tensor or_zeros(const Tensor& tangent, const Tensor& meta) {
  return tangent.defined() ? tangent.detach()
                           : Tensor::zeros(meta.shape(), meta.dtype(), meta.device());
}

Tensors opaque_op(std::string_view name, const std::function<Tensors(const Tensors&)>& kernel,
                  const Tensors& in) {
  Tensors bare;
  for (const Tensor& t : in) bare.push_back(t.detach());
  return emit(std::make_shared<OpaqueOp>(name, kernel), bare);
}

}  // namespace basin
