// grad, value_and_grad, vjp, jvp and linearize in terms of record, pull and push.
#include "basin/autograd/transform.h"

namespace basin {
namespace {

Tensors finished(Tensors tensors) {
  if (!tracking()) {
    for (Tensor& t : tensors) t = t.detach();
  }
  return tensors;
}

// One for the first output, nothing for the others.
Tensors unit_cotangents(const Tape& tape) {
  check(
      !tape.outputs.empty() && tape.outputs[0].defined() && tape.outputs[0].numel() == 1,
      "grad: the function must return a scalar first, got ",
      [&] { return tape.outputs.empty() ? Tensor() : tape.outputs[0]; }, "; sum or mean it");
  Tensors ct(tape.outputs.size());
  const Tensor& value = tape.outputs[0];
  ct[0] = Tensor::full(value.shape(), value.dtype(), 1, value.device());
  return ct;
}

}  // namespace

Fn grad(Fn f) {
  return [f = std::move(f)](const Tensors& x) {
    Tape tape = record(f, x);
    const Tensors ct = unit_cotangents(tape);
    return recording() ? pull(tape, ct) : pull_and_release(std::move(tape), ct);
  };
}

ValueAndGrad value_and_grad(Fn f) {
  return [f = std::move(f)](const Tensors& x) {
    Tape tape = record(f, x);
    const Tensors ct = unit_cotangents(tape);
    ValueGrad result;
    Tensors outputs = finished(tape.outputs);
    result.value = outputs[0];
    result.aux.assign(outputs.begin() + 1, outputs.end());
    result.grads = recording() ? pull(tape, ct) : pull_and_release(std::move(tape), ct);
    return result;
  };
}

std::pair<Tensors, Tensors> vjp(const Fn& f, const Tensors& x, const Tensors& cotangents) {
  Tape tape = record(f, x);
  Tensors value = finished(tape.outputs);
  Tensors grads =
      recording() ? pull(tape, cotangents) : pull_and_release(std::move(tape), cotangents);
  return {std::move(value), std::move(grads)};
}

std::pair<Tensors, Tensors> jvp(const Fn& f, const Tensors& x, const Tensors& tangents) {
  if (!tracking()) return push_along(f, x, tangents);
  const Tape tape = record(f, x);
  Tensors derivative = push(tape, tangents);
  return {finished(tape.outputs), std::move(derivative)};
}

LinearMap::LinearMap(Tape tape) : tape_(std::make_shared<const Tape>(std::move(tape))) {
  value_ = finished(tape_->outputs);
}

Tensors LinearMap::operator()(const Tensors& tangents) const { return push(*tape_, tangents); }

std::vector<Tensors> LinearMap::lanes(const std::vector<Tensors>& tangents) const {
  if (lanes_share_work()) return push_lanes(*tape_, tangents);
  std::vector<Tensors> results;
  for (const Tensors& lane : tangents) results.push_back(push(*tape_, lane));
  return results;
}

bool LinearMap::lanes_share_work() const { return basin::lanes_share_work(*tape_); }

Tensors LinearMap::transpose(const Tensors& cotangents) const { return pull(*tape_, cotangents); }

LinearMap linearize(const Fn& f, const Tensors& x) { return LinearMap(record(f, x)); }

}  // namespace basin
