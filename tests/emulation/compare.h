// Kernels on a device against the CPU: the same launch on both, in f64 and f32, and on the device
// several times (the emulated one: in three thread orders), which must give the same bits. Each
// comparison prints a line
//   gather          x [50, 7], index [120]      f64 0.0e+00  f32 0.0e+00
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "basin/core/random.h"
#include "basin/core/tensor.h"
#include "basin/kernels/launch.h"
#if defined(BASIN_EMULATED_DEVICE)
#include "basin/tests/emulation/emulator.h"
#endif

namespace basin::testing {

// Where and in which precision a comparison runs.
struct Place {
  Device device = Device::cpu;
  DType dtype = DType::f64;
  // A tensor here: floats in this precision, indices as they are; undefined stays undefined.
  Tensor operator()(const Tensor& t) const {
    if (!t.defined()) return t;
    return (is_float(t.dtype()) ? t.to(dtype) : t).to(device);
  }
  Tensor empty(const Shape& shape) const { return Tensor::full(shape, dtype, 77, device); }
  Tensor empty(const Shape& shape, DType t) const { return Tensor::full(shape, t, 77, device); }
};
using Launch = std::function<Tensors(const Place&)>;

// max |a - b| / max(least, max |b|) over each pair; infinite where one is not finite.
inline double largest_difference(const Tensors& a, const Tensors& b, double least = 1e-30) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].defined()) continue;
    const std::vector<double> p = a[i].to_vector<double>(), q = b[i].to_vector<double>();
    double gap = 0, scale = least;
    for (size_t k = 0; k < p.size(); ++k) {
      if (!std::isfinite(p[k]) || !std::isfinite(q[k])) return INFINITY;
      gap = std::max(gap, std::abs(p[k] - q[k]));
      scale = std::max(scale, std::abs(q[k]));
    }
    worst = std::max(worst, gap / scale);
  }
  return worst;
}

inline bool same_values(const Tensors& a, const Tensors& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].defined() && a[i].to_vector<double>() != b[i].to_vector<double>()) return false;
  }
  return true;
}

// Calls f once for every further run that must give the same bits: in other thread orders on the
// emulated device, nine times more on a real one.
template <class F>
void each_further_run(const F& f) {
#if defined(BASIN_EMULATED_DEVICE)
  for (emu::Order order : {emu::Order::reverse, emu::Order::random}) {
    emu::set_order(order);
    f();
  }
  emu::set_order(emu::Order::forward);
#else
  // A sanitizer of the device takes its time: it needs one run.
  static const char* const given = std::getenv("BASIN_TEST_RERUNS");
  static const int runs = given ? std::atoi(given) : 9;
  for (int i = 0; i < runs; ++i) f();
#endif
}

// `least`: the size of the terms, for a result whose terms cancel to zero; what rounding leaves of
// them (a fused multiply-add rounds once less) is no scale to measure by.
inline void compare(const std::string& kernel, const std::string& shapes, const Launch& launch,
                    double least = 1e-30) {
  double difference[2];
  for (DType dtype : {DType::f64, DType::f32}) {
    const Tensors expected = launch({Device::cpu, dtype});
    const Tensors got = launch({Device::cuda, dtype});
    const double worst = largest_difference(got, expected, least);
    CHECK_MESSAGE(worst <= (dtype == DType::f64 ? 1e-12 : 1e-5), kernel, ", ", shapes, ", ",
                  name_of(dtype), ": ", worst);
    each_further_run([&] {
      CHECK_MESSAGE(same_values(launch({Device::cuda, dtype}), got), kernel, ", ", shapes, ", ",
                    name_of(dtype), ": the bits differ from run to run");
    });
    difference[dtype == DType::f32] = worst;
  }
  std::printf("%-22s %-44s f64 %.1e  f32 %.1e\n", kernel.c_str(), shapes.c_str(), difference[0],
              difference[1]);
}

// --- random data ---
// The stream of a case of a test.
inline Rng stream(const char* purpose, int round) {
  return Rng(11, stream_id(purpose, static_cast<uint64_t>(round)));
}
// On a coarse grid with few different values: ties and repeated points everywhere.
inline Tensor gridded(Rng& rng, const Shape& shape, int64_t values) {
  std::vector<double> v(static_cast<size_t>(shape.numel()));
  for (double& x : v) x = 0.1 * static_cast<double>(rng.below(values));
  return Tensor::from(v, shape);
}
// A gain of either sign, now and then zero (every edge or point ties).
inline Tensor gains(Rng& rng, int64_t channels) {
  std::vector<double> v(static_cast<size_t>(channels));
  for (double& g : v) g = rng.below(7) == 0 ? 0 : (rng.below(2) ? 1 : -1) * rng.uniform(0.5, 1.5);
  return Tensor::from(v, {channels});
}
inline Tensor uniform(Rng& rng, const Shape& shape, double low = -1, double high = 1) {
  std::vector<double> v(static_cast<size_t>(shape.numel()));
  for (double& x : v) x = rng.uniform(low, high);
  return Tensor::from(v, shape);
}
inline Tensor indices(Rng& rng, const Shape& shape, int64_t low, int64_t high) {
  std::vector<int32_t> v(static_cast<size_t>(shape.numel()));
  for (int32_t& x : v) x = static_cast<int32_t>(low + rng.below(high - low));
  return Tensor::from(v, shape);
}
// Offsets of `segments` segments over `rows` rows, some of them empty.
inline Tensor offsets(Rng& rng, int64_t segments, int64_t rows) {
  std::vector<int32_t> v(static_cast<size_t>(segments + 1));
  for (int32_t& x : v) x = static_cast<int32_t>(rng.below(rows + 1));
  v.front() = 0;
  v.back() = static_cast<int32_t>(rows);
  std::sort(v.begin(), v.end());
  return Tensor::from(v, {segments + 1});
}
inline int64_t between(Rng& rng, int64_t low, int64_t high) {
  return low + rng.below(high - low + 1);
}

}  // namespace basin::testing
