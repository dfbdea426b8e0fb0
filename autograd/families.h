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
#include <string>

#include "basin/autograd/tape.h"

namespace basin {

struct LinearRule {
  std::string_view name;
  std::function<Tensor(const Tensor& x)> apply;                              // kernel
  std::function<Tensor(const Tensor& ct, const Tensor& in_meta)> transpose;  // public ops
  // On [lanes, ...shape]; empty: lane by lane.
  std::function<Tensor(const Tensor& x, int64_t lanes)> apply_lanes = nullptr;
};
Tensor linear_op(LinearRule rule, const Tensor& x);

// Of one value several tangents.
template <class Value>
struct TangentsOf {
  Value value;  // left empty where it was not asked for
  std::vector<Value> tangents;
};

// Kernels of the second order for several tangents at once, and with them the value where it is
// asked for: they share what depends on the values alone. For rules without extra outputs.
struct FusedTogether {
  // in, out (empty when the value is asked for), per lane the tangents of in -> output 0.
  std::function<TangentsOf<Tensor>(const Tensors& in, const Tensors& out,
                                   const std::vector<Tensors>& t, bool value)>
      jvp = nullptr;
  // in, out, ct, per lane the tangents of in and of ct -> what vjp returns.
  std::function<TangentsOf<Tensors>(const Tensors& in, const Tensors& out, const Tensor& ct,
                                    const std::vector<Tensors>& t, const Tensors& ct_t, bool value)>
      vjp_jvp = nullptr;
};

struct FusedRule {
  std::string_view name;
  // Kernels. forward: in -> the reference's outputs, then `extra` saved tensors (constants).
  std::function<Tensors(const Tensors& in)> forward;
  // in, out (with the extras), ct of the reference's outputs -> one gradient per input. An
  // undefined gradient is zero. Only cotangents of output 0 may be defined: the others are
  // constants.
  std::function<Tensors(const Tensors& in, const Tensors& out, const Tensor& ct)> vjp;
  // Output 0 in public ops. `out` are the kernel's outputs, for the constants among them (arg-max).
  std::function<Tensor(const Tensors& in, const Tensors& out)> reference;
  Positions differentiable = Positions::all();  // inputs with a derivative
  // Kernels of the second order, both or neither; used where the sweep itself is not recorded. An
  // undefined tangent is zero; at least one is defined.
  // in, out, tangents of in -> the tangent of output 0.
  std::function<Tensor(const Tensors& in, const Tensors& out, const Tensors& t)> jvp = nullptr;
  // in, out, ct, tangents of in and of ct -> the tangents of what vjp returns. With ct_t undefined
  // it is symmetric in in and t, the Hessian of <ct, output 0>, and so serves backwards too.
  std::function<Tensors(const Tensors& in, const Tensors& out, const Tensor& ct, const Tensors& t,
                        const Tensor& ct_t)>
      vjp_jvp = nullptr;
  FusedTogether together = {};  // in place of these two
};
Tensors fused_op(FusedRule rule, const Tensors& in);

// For the kernels above that want every tangent: an undefined one as zeros like `meta`.
Tensor or_zeros(const Tensor& tangent, const Tensor& meta);

// A value without derivative: runs the kernel on detached inputs.
Tensors opaque_op(std::string_view name, const std::function<Tensors(const Tensors&)>& kernel,
                  const Tensors& in);

}  // namespace basin
