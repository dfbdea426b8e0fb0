// The op table: every op of autograd/ops.h has a row, a list of cases (function, arguments), and
// each case runs all derivative checks of autograd/check.h. A row is written as
//   OP_ROW(exp) { return unary(rng, [](const Tensor& x) { return exp(x); }, -1, 1); }
// which makes the doctest case "op exp" (in a CUDA build also "device: op exp") and the entry "exp"
// of op_table(). The completeness test
// holds the entries against ops.h.
#pragma once
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "basin/autograd/check.h"
#include "basin/autograd/ops.h"
#include "basin/core/random.h"

namespace basin::table {

// What runs: all derivative checks on a small case; bits, threads and precision on a large one,
// which must be big enough that the kernels work in several tiles.
enum class Size { small, large };

struct Case {
  std::string label;
  Tensors x;  // f64, away from kinks and ties
  Fn f;
  Fn reference = nullptr;  // the same in other public ops, compared at orders 0 to 2
  int order = 2;           // derivative orders that exist; 0 for opaque ops
  Size size = Size::small;
  double f32 = 1;  // factor on the f32 bound, where cancellation is the nature of the op
  std::vector<double> values;  // expected elements of the first output, empty: not stated
  Positions vanishing = {};    // arguments whose derivative is zero but for rounding: not run alone
  CheckOptions options = {};
};
using Cases = std::vector<Case>;

struct Row {
  std::string name;
  Cases (*cases)(Rng&);
};
std::vector<Row>& op_table();
struct RowRegistration {
  RowRegistration(const char* name, Cases (*cases)(Rng&)) { op_table().push_back({name, cases}); }
};
Cases cases_of(const Row& row);  // from the row's own random stream
void run_row(const std::string& name, Cases (*cases)(Rng&));

// In a CUDA build: every case on Device::cuda against the CPU, in f64 and f32. A kernel that has no
// CUDA form yet is a gap, not a failure; the kernels that may be one are listed in op_device.cpp.
void run_row_on_device(const std::string& name, Cases (*cases)(Rng&));

// A constant of a case, in the precision (unless it is an index) and on the device of x.
Tensor like(const Tensor& constant, const Tensor& x);

// --- generators ---
Tensor uniform(Rng& rng, const Shape& shape, double low = -1, double high = 1);
Tensor off_zero(Rng& rng, const Shape& shape);  // +-[0.2, 1.5]
Tensor distinct(Rng& rng,
                const Shape& shape);  // all values at least 0.02 apart and off zero by 0.01
Tensor indices(Rng& rng, const Shape& shape, int64_t low, int64_t high);  // i32 in [low, high)
Tensor int32s(const std::vector<int32_t>& values);
Tensor int64s(const std::vector<int64_t>& values);

// --- case lists for whole families ---
using Unary = std::function<Tensor(const Tensor&)>;
using Binary = std::function<Tensor(const Tensor&, const Tensor&)>;
using Generator = std::function<Tensor(Rng&, const Shape&)>;
// One argument over several shapes (scalar, size-1 and size-0 axes, large); `value` is the exact
// formula, `reference` the same in other ops.
Cases unary(Rng& rng, const Unary& f, const Generator& generate, double (*value)(double) = nullptr,
            const Unary& reference = nullptr);
Cases unary(Rng& rng, const Unary& f, double low, double high, double (*value)(double) = nullptr,
            const Unary& reference = nullptr);
// Two arguments over broadcasting shapes.
Cases binary(Rng& rng, const Binary& f, const Generator& left, const Generator& right,
             double (*value)(double, double));

Case one(std::string label, Tensor x, const Unary& f, const Unary& reference = nullptr);
Case two(std::string label, Tensor a, Tensor b, const Binary& f, const Binary& reference = nullptr);
Case several(std::string label, Tensors x, Fn f, Fn reference = nullptr);
Case large(Case c);  // marks it

}  // namespace basin::table

#ifdef BASIN_HAS_CUDA
#define DEVICE_ROW(op) \
  TEST_CASE("device: op " #op) { basin::table::run_row_on_device(#op, cases_of_##op); }
#else
#define DEVICE_ROW(op)
#endif

#define OP_ROW(op)                                                                     \
  static basin::table::Cases cases_of_##op(basin::Rng& rng);                           \
  static const basin::table::RowRegistration registration_of_##op(#op, cases_of_##op); \
  TEST_CASE("op " #op) { basin::table::run_row(#op, cases_of_##op); }                  \
  DEVICE_ROW(op)                                                                       \
  static basin::table::Cases cases_of_##op([[maybe_unused]] basin::Rng& rng)
