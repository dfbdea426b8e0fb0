// Term: a tensor, or a number that takes no memory, in the place of the numbers that a formula of
// kernels/scalar.h is written for. Evaluating the formula emits the ops that it consists of, so a
// derivative is stated once for the kernels and for recordings.
#pragma once
#include <utility>

#include "basin/autograd/ops.h"

namespace basin {

struct Term {
  explicit Term(double number) : c(number) {}
  explicit Term(Tensor tensor) : t(std::move(tensor)) {}
  bool constant() const { return !t.defined(); }
  Tensor t;
  double c = 0;  // without a tensor
};

inline bool operator==(const Term& a, const Term& b) {
  return a.constant() && b.constant() && a.c == b.c;
}
// Of two constants only those that a formula needs.
inline Term operator+(const Term& a, const Term& b) {
  return a.constant() ? Term(shift(b.t, a.c)) : Term(add(a.t, b.t));
}
inline Term operator-(const Term& a) { return Term(neg(a.t)); }
inline Term operator-(const Term& a, const Term& b) {
  return b.constant() ? Term(a.c - b.c) : a + -b;
}
inline Term operator*(const Term& a, const Term& b) {
  if (a.constant()) return Term(scale(b.t, a.c));
  if (b.constant()) return Term(scale(a.t, b.c));
  return Term(mul(a.t, b.t));
}
inline Term operator/(const Term& a, const Term& b) {
  const Term inverse(reciprocal(b.t));
  return a.c == 1 ? inverse : a * inverse;
}
inline Term exp_(const Term& x) { return Term(exp(x.t)); }
inline Term erf_(const Term& x) { return Term(erf(x.t)); }
inline Term sigmoid_(const Term& x) { return Term(sigmoid(x.t)); }
inline Term square_(const Term& x) { return Term(square(x.t)); }
inline Term sin_(const Term& x) { return Term(sin(x.t)); }
inline Term cos_(const Term& x) { return Term(cos(x.t)); }
inline Term pow_(const Term& x, const Term& p) { return Term(pow(x.t, p.c)); }
inline Term step_(const Term& x, const Term& below) { return Term(step(x.t, below.c)); }
inline Term sign_(const Term& x) { return Term(sign(x.t)); }

}  // namespace basin
