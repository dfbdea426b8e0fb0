// What optimizers do to weights: element by element over a list of tensors, all of one device and
// each of f32 or f64. On a GPU one launch takes dozens of tensors, because a network's many small
// parameters would otherwise cost a launch each. Numbers are given in f64 and rounded to the dtype.
#pragma once
#include <cstdint>
#include <span>

#include "basin/core/tensor.h"

namespace basin {

// Adam (Kingma, Ba 2015), one tensor:  g += l2 w;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;
//   w = shrink w - step_size m / (sqrt(v) inverse_root + eps); vmax = max(vmax, v) in place of v
//   (AMSGrad) where it is defined.
struct AdamItem {
  Tensor w, g, m, v, vmax;  // equal shapes and dtypes; g undefined: zero
  double step_size = 0;     // lr / (1 - b1^t)
  double l2 = 0, shrink = 1;
};
struct AdamNumbers {
  double beta1, beta2;
  double inverse_root;  // 1 / sqrt(1 - b2^t)
  double eps;
};
struct AdamUpdate {
  static constexpr const char* name = "adam";
  // live: undefined, or [items, 4] f64 on the device, what live_numbers() gives: then step_size,
  // l2, shrink and inverse_root are read there when the kernel runs (a recorded step).
  static void cpu(std::span<AdamItem> items, const AdamNumbers& numbers, const Tensor& live = {});
  static void cuda(std::span<AdamItem> items, const AdamNumbers& numbers, const Tensor& live = {});
  static Tensor live_numbers(std::span<const AdamItem> items, const AdamNumbers& numbers);
};

// SGD, one tensor:  g += l2 w;  b = momentum b + intake g;  w -= lr (g + momentum b) with Nesterov,
//   lr b without; w -= lr g where b is undefined.
struct SgdItem {
  Tensor w, g, b;  // g undefined: zero
  double lr = 0, l2 = 0;
};
struct SgdNumbers {
  double momentum, intake;
  bool nesterov;
};
struct SgdUpdate {
  static constexpr const char* name = "sgd";
  using Run = void(std::span<SgdItem> items, const SgdNumbers& numbers);
  static Run cpu, cuda;
};

// Muon's momentum:  b = keep b + intake g;  m = direct g + heavy b.
struct MomentumItem {
  Tensor b, g, m;  // g undefined: zero
};
struct MomentumNumbers {
  double keep, intake, direct, heavy;
};
struct MomentumUpdate {
  static constexpr const char* name = "momentum";
  using Run = void(std::span<MomentumItem> items, const MomentumNumbers& numbers);
  static Run cpu, cuda;
};

// A step along o:  w = shrink w - rate o on elements [offset, offset + count).
struct StepItem {
  Tensor w, o;
  int64_t offset = 0, count = 0;
  double shrink = 1, rate = 0;
};
struct StepUpdate {
  static constexpr const char* name = "step";
  // live: as of AdamUpdate; shrink and rate are read there.
  static void cpu(std::span<StepItem> items, const Tensor& live = {});
  static void cuda(std::span<StepItem> items, const Tensor& live = {});
  static Tensor live_numbers(std::span<const StepItem> items);
};

}  // namespace basin
