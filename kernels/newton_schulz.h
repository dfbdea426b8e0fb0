// The Newton-Schulz iteration towards the polar factor U V^T of M = U S V^T, over many matrices:
//   X = M / normaliser(||M||_F);   X <- a X + (b A + c A^2) X,   A = X X^T,
// which maps every singular value t -> a t + b t^3 + c t^5 and leaves the vectors (Higham,
// Functions of Matrices, ch. 8; K. Jordan, "Muon", 2024). Tall input is transposed first, so that A
// is p x p with p = min(rows, cols). A and A^2 are symmetric: half of each is computed, the rest
// mirrored. Norms are accumulated in f64 in a fixed order and are safe against under- and overflow.
// On the CPU subnormal entries count as zero (core/parallel.h).
#pragma once
#include <bit>
#include <cstdint>
#include <span>

#include "basin/core/tensor.h"

namespace basin {

struct OddQuintic {
  double a = 0, b = 0, c = 0;  // t -> a t + b t^3 + c t^5
};
double scalar_map(std::span<const OddQuintic> steps, double t);

// The normaliser of ||M||_F:  add: norm + eps (reference code);  max: max(norm, eps) (torch);
// relative: norm (1 + eps), exactly scale invariant down to the smallest normal numbers.
enum class NormMode : uint8_t { add, max, relative };

// bf16: X, A and b A + c A^2 are stored in bf16 (8 bits of mantissa), sums are f32.
enum class NsArithmetic : uint8_t { f32, f64, bf16 };

struct NewtonSchulzPlan {
  std::span<const OddQuintic> steps;
  NormMode norm = NormMode::add;
  double eps = 1e-7;
  double safety = 1;  // multiplies the norm
  NsArithmetic arithmetic = NsArithmetic::f32;
};

// One matrix, contiguous and row-major, in and out of the same dtype; out may not overlap in.
struct MatrixTask {
  const void* in = nullptr;
  void* out = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
};

// A zero matrix gives a zero matrix, a non-finite one NaN. On a GPU the matrices of one shape share
// their launches.
struct NewtonSchulz {
  static constexpr const char* name = "newton_schulz";
  using Run = void(std::span<const MatrixTask> tasks, DType dtype, const NewtonSchulzPlan& plan);
  static Run cpu, cuda;
};

// Frobenius norm of a tensor on the CPU, as above.
double frobenius_norm(const Tensor& m);

// x rounded to the nearest bf16, ties to even.
inline float bf16_value(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  return (bits & 0x7fffffffu) > 0x7f800000u ? x : std::bit_cast<float>(rounded);  // or NaN
}

}  // namespace basin
