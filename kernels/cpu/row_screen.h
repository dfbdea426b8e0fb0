// Finds the rows of a cloud that can hold a channel's largest product, max_n x[n, :] . w[c, :],
// without the f32 products: both factors are rounded to integers of 16 bits, whose products integer
// multiply-adds sum without error at up to twice the rate of f32, and only the rows that the error
// of rounding leaves in question are multiplied in f32. The maxima and their places are then those
// of all f32 products, bit for bit.
//
// With t = x / scale = q + d and integer q, x . w differs from scale_x scale_w q_x . q_w by at most
//   scale_x scale_w m,   m = |t_w| |d_x| + |d_w| |q_x|   (Cauchy and Schwarz),
// and an f32 sum of K products, in any order, is off by at most K u / (1 - K u) |x| |w|, u = 2^-24
// (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). With m that much larger, a
// row whose integer product lies more than 2 m below the largest one is not the maximum in f32.
#pragma once
#include <cstdint>
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

// Weights laid out once per layer: w [channels, depth] f32, of which a panel has kScreenWidth rows.
inline constexpr int64_t kScreenWidth = 64;
struct ScreenWeights {
  int64_t channels = 0, depth = 0;
  Tensor tiles;  // i32, per panel; two 16-bit integers of successive k each
  Tensor rows;   // i32 [channels, pairs]: the same by channel
  Tensor norms;  // f64 [channels, 3]: bounds of |t| and |d|, scale: 0 where all weights are zero,
                 // a NaN where they are too small for one
  bool usable() const { return tiles.defined(); }
};

// Not usable (undefined tensors) where plain products are as fast, on this machine or for these
// sizes, and where a weight is not finite.
ScreenWeights screen_weights(const float* w, int64_t channels, int64_t depth, int64_t rows);

struct Candidate {
  int32_t channel, row;  // channel: of the panel
};

// A cloud x [rows, depth], rounded once for any number of panels.
class RowScreen {
 public:
  RowScreen(const ScreenWeights& w, const float* x, int64_t rows);
  // The candidates of a panel's channels, in ascending order of rows for each; a channel of zeros
  // has row 0. False where they are so many that all products cost less, or x is not finite.
  bool candidates(int64_t panel, std::vector<Candidate>& found);

 private:
  const ScreenWeights& w_;
  int64_t rows_, pairs_, blocks_;
  bool usable_ = false;
  double length_ = 0, error_ = 0, scale_ = 0;  // the largest |t| and |d| of a row
  Tensor x_;                                   // i32 [blocks * kBlockRows, pairs]
  Tensor maxima_;                              // i32 [blocks, kScreenWidth]
};

}  // namespace basin
