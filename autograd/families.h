// Op families: state one rule, receive both modes.
//   linear_op: its transpose; the tangent map is the op itself.
//   fused_op: kernels for the value and the VJP of an existing composite, and optionally for the
//     tangents of both. The composite (`reference`) takes over for every derivative order that has
//     no kernel, so a fused op is never a new mathematical object. Its recording is made at the
//     first tangent and kept with the node: later probes only sweep it.
//   opaque_op: no derivative (indices, masks), and says so.
// A custom op derives from Op and writes vjp; forward mode then comes from Op::jvp.
#pragma once
#include <functional>
#include <optional>

#include "basin/autograd/tape.h"

namespace basin {

struct LinearRule {
  std::string_view name;
  std::function<Tensor(const Tensor& x)> apply;                              // kernel
  std::function<Tensor(const Tensor& ct, const Tensor& in_meta)> transpose;  // public ops
};
Tensor linear_op(LinearRule rule, const Tensor& x);

// Where the tangents of a fused op are asked for: those of forward at `in`, or with a defined `ct`
// those of vjp at `in` and `ct`. `out` is what forward gave.
struct FusedPoint {
  Tensors in, out;
  Tensor ct;
};
// One direction: the tangents of the inputs, and for vjp that of `ct`. An undefined one is zero; at
// least one is defined.
struct FusedLane {
  Tensors in;
  Tensor ct;
};
struct FusedTangents {
  Tensors value;               // what forward or vjp returns; empty where it was not asked for
  std::vector<Tensors> lanes;  // of forward: {tangent of output 0}; of vjp: one per input
};

// What a fused op consists of.
class FusedRule {
 public:
  virtual ~FusedRule() = default;
  virtual std::string_view name() const = 0;
  // Kernel: the reference's outputs, then saved tensors (constants).
  virtual Tensors forward(const Tensors& in) const = 0;
  // Kernel: one gradient per input; an undefined one is zero. `out` is what forward gave, ct the
  // cotangent of output 0; the other outputs are constants.
  virtual Tensors vjp(const Tensors& in, const Tensors& out, const Tensor& ct) const = 0;
  // Output 0 in public ops. `out` is there for the constants among the outputs (an arg-max).
  virtual Tensor reference(const Tensors& in, const Tensors& out) const = 0;
  virtual Positions differentiable() const { return Positions::all(); }  // inputs with a derivative
  // Kernels of the second order, used where the sweep itself is not recorded; nothing: there are
  // none. With want_value also the value itself; the tangents of forward then have no point.out.
  // Lane l gets the bits that it has alone. The tangents of vjp with the lane's ct undefined are
  // symmetric in in and its tangent, the Hessian of <ct, output 0>, and so serve backwards too.
  virtual std::optional<FusedTangents> tangents(const FusedPoint& point,
                                                const std::vector<FusedLane>& lanes,
                                                bool want_value) const;
  virtual bool lanes_share_work() const { return false; }  // whether tangents() does
};

// The base of rules whose tangent kernels take one lane each.
class LaneByLaneRule : public FusedRule {
 public:
  // The tangent of output 0.
  virtual Tensor forward_tangent(const Tensors& in, const Tensors& out, const Tensors& t) const = 0;
  // The tangents of what vjp returns.
  virtual Tensors vjp_tangent(const Tensors& in, const Tensors& out, const Tensor& ct,
                              const Tensors& t, const Tensor& ct_t) const = 0;
  std::optional<FusedTangents> tangents(const FusedPoint& point,
                                        const std::vector<FusedLane>& lanes,
                                        bool want_value) const final;
};

using FusedRulePtr = std::shared_ptr<const FusedRule>;
Tensors fused_op(FusedRulePtr rule, const Tensors& in);

// An undefined tensor as zeros like `meta`: in a rule, where it keeps its node, and for kernels
// that want every tangent.
Tensor or_zeros_on_tape(const Tensor& t, const Tensor& meta);
Tensor or_zeros(const Tensor& tangent, const Tensor& meta);

// A place for a result of this shape, type and device; undefined for an undefined tensor.
Tensor empty_like(const Tensor& meta);

// A value without derivative: runs the kernel on detached inputs.
Tensors opaque_op(std::string_view name, const std::function<Tensors(const Tensors&)>& kernel,
                  const Tensors& in);

}  // namespace basin
