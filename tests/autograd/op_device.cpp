// A row of the op table on Device::cuda: values, J t, J^T u and H b of every case against the CPU,
// in f64 to 1e-12 and in f32 (both sides in f32) to 1e-5, relative to the norms. Prints what it
// found, e.g. "device: exp, 12 cases, largest difference f64 1.1e-16, f32 6.0e-08".
#include <algorithm>
#include <cstdio>

#include "basin/tests/autograd/op_table.h"

namespace basin::table {
namespace {

constexpr double kBound64 = 1e-12, kBound32 = 1e-5;

struct Summary {
  double f64 = 0, f32 = 0;
  int made = 0;  // comparisons
};

void compare(const std::string& op, const Case& c, DType dtype, Summary& sum) {
  const bool twice = dtype == DType::f64;
  Tensors x;
  for (const Tensor& t : c.x) x.push_back(t.to(dtype));
  CheckOptions options = c.options;
  options.order = std::min(c.order, 2);
  const auto there = [](const Tensor& t) { return t.to(Device::cuda); };
  const auto back = [](const Tensor& t) { return t.to(Device::cpu); };
  const double bound = twice ? kBound64 : kBound32 * c.f32;
  const CheckReport report =
      check_parity(c.f, x, there, back, twice ? "CUDA, f64" : "CUDA, f32", bound, options);
  for (const Finding& f : report.findings) {
    ++sum.made;
    double& worst = twice ? sum.f64 : sum.f32;
    worst = std::max(worst, f.error);
    CHECK_MESSAGE(f.passed(), "op ", op, ", case ", c.label, ", ", f.check, ": ", f.error,
                  " above ", f.bound, " ", f.note);
  }
}

}  // namespace

void run_row_on_device(const std::string& name, Cases (*cases)(Rng&)) {
  try {
    require_device(Device::cuda);
  } catch (const Error& e) {
    std::printf("SKIPPED: %s\n", e.what());
    return;
  }
  Summary sum;
  const Cases all = cases_of({name, cases});
  for (const Case& c : all) {
    try {
      compare(name, c, DType::f64, sum);
      compare(name, c, DType::f32, sum);
    } catch (const std::exception& e) {
      FAIL_CHECK("op ", name, ", case ", c.label, ": ", e.what());
    }
  }
  CHECK(sum.made > 0);
  std::printf("device: %s, %zu cases, %d comparisons, largest difference f64 %.1e, f32 %.1e\n",
              name.c_str(), all.size(), sum.made, sum.f64, sum.f32);
}

}  // namespace basin::table
