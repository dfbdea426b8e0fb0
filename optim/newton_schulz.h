// Orthogonalisation M = U S V^T -> approximately U V^T (the polar factor), by the odd polynomial
// iteration X <- a X + (b A + c A^2) X, A = X X^T, from X = M / (normaliser), or exactly by SVD.
// Sources: K. Jordan, "Muon" (2024), quintic; Higham, Functions of Matrices, ch. 8; CANS and Polar
// Express (arXiv 2505.16932) per-step coefficients. The iteration acts on singular values alone:
// t -> a t + b t^3 + c t^5; singular vectors stay. Tall input is transposed first, so A is p x p
// with p = min(rows, cols). Where rows and cols are far apart the CPU iterates on A for several
// steps before X is multiplied, if f32 allows it (kernels/cpu/gram_stages.h). The bits do not
// depend on the number of threads.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "basin/core/tensor.h"
#include "basin/kernels/newton_schulz.h"

namespace basin {

// Names: jordan, higham, classic, tuned5, cans, polar_express, minimax4, relaxed, jordan8+2.
// minimax4 takes singular values from 0.0027 of the norm on to [0.682, 1.134] in four steps, which
// five steps of jordan do from 0.0015 on; below, it amplifies 276-fold and jordan 485-fold.
std::vector<std::string> coefficient_set_names();
int default_steps(std::string_view set);  // 5; 4 for minimax4, 10 for jordan8+2
// Coefficients of `steps` steps (0..99; -1: the default number). Per-step lists go on with the
// classic quintic (15/8, -10/8, 3/8), which converges to 1; jordan8+2 always ends in its two (2,
// -1.5, .5) steps. `safety` divides a, b, c by safety, safety^3, safety^5 over the listed steps of
// polar_express and minimax4.
std::vector<OddQuintic> coefficient_set(std::string_view set, int steps = -1, double safety = 1.01);

// same: the dtype of the matrix. bf16: stored in 8 bits of mantissa, summed in f32; made for the
// tensor cores of a GPU, singular values then wander by a few per cent.
enum class NsPrecision : uint8_t { same, f32, f64, bf16 };

struct OrthogonaliseConfig {
  std::string set = "jordan";
  int steps = -1;        // -1: the set's own number; 0: only normalise
  double safety = 1.01;  // of polar_express and minimax4; also multiplies the norm
  double eps = 1e-7;
  NormMode norm = NormMode::add;
  NsPrecision precision = NsPrecision::same;
  bool exact = false;  // U V^T by SVD; singular values below max(m, n) ulp of the largest give 0
};
void validate(const OrthogonaliseConfig& config);         // usage errors
double safety_factor(const OrthogonaliseConfig& config);  // 1 for the sets that take none

// A zero matrix gives a zero matrix. Non-finite input gives NaN (exact: a numerical error).
void orthogonalise(std::span<const MatrixTask> tasks, DType dtype,
                   const OrthogonaliseConfig& config, Device device = Device::cpu);
Tensor orthogonalise(const Tensor& m,
                     const OrthogonaliseConfig& config = {});  // [r, c] or [k, r, c]

}  // namespace basin
