// What an op of this thread does beside giving its value.
#pragma once
#include "basin/autograd/op.h"

namespace basin {

// While one of these lives, ops that depend on a variable leave nodes.
class Recording {
 public:
  Recording();
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
};

// While one of these lives, tensors made by with_tangent() and all that depends on them carry their
// tangents along: forward mode in the same sweep as the values. One at a time.
class ForwardMode {
 public:
  ForwardMode();
  ~ForwardMode();
  ForwardMode(const ForwardMode&) = delete;
  ForwardMode& operator=(const ForwardMode&) = delete;
};
Tensor with_tangent(const Tensor& x, const Tensor& tangent);
Tensor tangent_of(const Tensor& x);  // undefined: zero

// Neither, for as long as one of these lives: ops give values only.
class ValuesOnly {
 public:
  ValuesOnly();
  ~ValuesOnly();
  ValuesOnly(const ValuesOnly&) = delete;
  ValuesOnly& operator=(const ValuesOnly&) = delete;

 private:
  int depth_;
  bool forward_;
};

// While one lives, it is shown every op of this thread right after it ran.
class EmitWatch {
 public:
  EmitWatch();
  virtual ~EmitWatch();
  EmitWatch(const EmitWatch&) = delete;
  EmitWatch& operator=(const EmitWatch&) = delete;
  // `in` with their places on the tape, `out` still without.
  virtual void emitted(const Op& op, const Tensors& in, const Tensors& out) = 0;

 private:
  EmitWatch* before_;
};

}  // namespace basin
