// Transforms of functions Tensors -> Tensors. They nest freely: grad(grad(f)), jvp of grad, ...
//   H = linearize(grad(loss), params) records once; each H(v) is then one forward sweep (a
//   Hessian-vector product, forward over reverse: Pearlmutter 1994).
#pragma once
#include "basin/autograd/tape.h"

namespace basin {

// The gradient of a function whose first output is a scalar (usage error otherwise).
Fn grad(Fn f);

struct ValueGrad {
  Tensor value;   // the scalar
  Tensors grads;  // one per input
  Tensors aux;    // the further outputs of f, detached
};
using ValueAndGrad = std::function<ValueGrad(const Tensors&)>;
ValueAndGrad value_and_grad(Fn f);

std::pair<Tensors, Tensors> vjp(const Fn& f, const Tensors& x, const Tensors& cotangents);
// {f(x), J t}. jvp(grad(f), x, v) is the cheapest single Hessian-vector product, with the gradient;
// for several at one x linearize.
std::pair<Tensors, Tensors> jvp(const Fn& f, const Tensors& x, const Tensors& tangents);

// The derivative of f at x as a linear operator, from one recording.
class LinearMap {
 public:
  LinearMap(Tape tape);
  Tensors operator()(const Tensors& tangents) const;  // J v
  // J v for several v, each with the bits that it has alone: in one sweep where an op of the
  // recording shares work between them, else one by one, which holds less memory.
  std::vector<Tensors> lanes(const std::vector<Tensors>& tangents) const;
  bool lanes_share_work() const;
  Tensors transpose(const Tensors& cotangents) const;  // J^T u
  const Tensors& value() const { return value_; }      // f(x)

 private:
  std::shared_ptr<const Tape> tape_;
  Tensors value_;
};
LinearMap linearize(const Fn& f, const Tensors& x);

}  // namespace basin
