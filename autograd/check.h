// Checks of derivative rules: for the op table of the tests and for the ops that researchers add.
//   CheckReport r = check_derivatives(f, x);   if (!r.passed()) show(r.failures());
// Most checks are identities between transforms, exact up to rounding: duality <u, J t> = <J^T u,
// t>, the symmetry of the Hessian of s(x) = <u, f(x)>, forward over reverse = reverse over reverse
// = reverse over forward. Central differences, the only approximate ones, guard what these share.
// Choose x away from kinks and ties, where a derivative is a convention and the identities need not
// hold.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "basin/autograd/transform.h"

namespace basin {

// One comparison. An exception inside a check is a failure with its sentence as the note.
struct Finding {
  std::string check;
  double error = 0;  // relative; infinite for NaN, a wrong shape or an exception
  double bound = 0;
  std::string note;
  bool passed() const { return error <= bound; }
};

struct CheckReport {
  std::vector<Finding> findings;
  bool passed() const;
  std::string failures() const;  // one line per failed check; empty when all passed
  void append(const CheckReport& other);
};

// Bounds are relative to the norms of what is compared.
struct CheckOptions {
  int order = 2;              // highest derivative checked, 0 to 3
  uint64_t seed = 1;          // of the random directions
  double step_scale = 1;      // central differences step h = 6e-6 * step_scale
  double exact = 1e-12;       // first order: duality, derived against overridden rules
  double exact2 = 1e-11;      // second and third order
  double difference = 1e-7;   // J t against a central difference of f
  double difference2 = 1e-6;  // H b against a central difference of the gradient
  double equal = 1e-11;       // check_equal
};

// All rules on the way from x to f(x). x: f64, one tensor per argument of f; constants belong into
// f.
CheckReport check_derivatives(const Fn& f, const Tensors& x, const CheckOptions& options = {});

// f = reference: values, J t, J^T u and, on <u, f(x)>, H b. For fused ops against their composites.
CheckReport check_equal(const Fn& f, const Fn& reference, const Tensors& x,
                        const CheckOptions& options = {});

// f at x against f at there(x), compared after back(): another precision, another device.
// `value_bound` holds for values and first derivatives, ten times it for H b.
using TensorMap = std::function<Tensor(const Tensor&)>;
CheckReport check_parity(const Fn& f, const Tensors& x, const TensorMap& there,
                         const TensorMap& back, const std::string& what, double value_bound,
                         const CheckOptions& options = {});

// push_lanes: each of several tangents in one sweep has the bits that it has alone, along f and
// along the gradient of <u, f(x)>.
CheckReport check_lanes(const Fn& f, const Tensors& x, const CheckOptions& options = {});

// The same bits from a second run and with 1, 2 and 3 threads: values, J t, J^T u, H b both ways.
CheckReport check_repeatable(const Fn& f, const Tensors& x, const CheckOptions& options = {});

}  // namespace basin
