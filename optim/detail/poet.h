// POET (Qiu et al., arXiv 2506.08001): training that leaves the singular values of every matrix.
//   W = R W0 P,  R [m, m] and P [n, n] orthogonal, W0 [m, n] as it was at the beginning,
// so that what is learned are the singular vectors alone. R turns the rows of W0 in groups of
// `block` that are drawn at random (the shorter rest is a group too), each by G = (I + K)(I - K)^-1
// (Cayley), K skew; P turns the columns in the same way. The entries of K above the diagonal begin
// at 0 and are trained by Adam,
//   dL/dG = (dL/dW)_I ((W0 P)_I)^T for the rows I of a group,
//   S = (I + G)^T (dL/dG) (I - K)^-T,  dL/dK_ij = S_ij - S_ji.
// After `merge` steps W0 <- R W0 P; groups are drawn again, K and the moments of Adam are 0. All of
// it is f64 on the CPU: there singular values stay to rounding, in weights of f32 to theirs.
//   Differences to the paper: the inverse is exact, not its Neumann series, since the spectrum is
// what is to be kept; W0 is what the network begins with, not a normalised Gaussian matrix. No
// decay of matrices, which would change singular values; other parameters have an AdamW.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "basin/optim/detail/matrix_optimizer.h"

namespace basin {

// G for the entries of K above the diagonal, row by row, and the derivatives by them.
class CayleyRotation {
 public:
  CayleyRotation(std::span<const double> entries, int64_t n);
  const Tensor& matrix() const { return g_; }  // [n, n] f64
  // dL/d(entries) for dL/dG   [n, n]
  std::vector<double> pulled_back(const Tensor& slope) const;

 private:
  Tensor g_, inverse_;  // G and (I - K)^-1
};

struct PoetConfig : MatrixRules {
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  int64_t block = 64;   // 0: the whole side is one group
  int64_t merge = 200;  // steps
  uint64_t seed = 0;    // of the groups
};

class Poet : public MatrixOptimizer {
 public:
  Poet(const PoetConfig& config, const ParamList& params,
       const std::vector<GroupRule>& groups = {});

 protected:
  Tensors directions(const ParamList& params, const Tensors& grads) override;
  // What is to be taken off, with the rate in it. usage error where the weights are not those that
  // the last step left.
  Tensors updates(const Tensors& directions) override;
  void describe(size_t i, UpdateRecord& record) const override;

 private:
  struct Side {
    int64_t length = 0;
    uint64_t stream = 0;
    Tensor k, m, v;  // [entries of all groups]: K and the moments of Adam
  };
  struct Block {
    Tensor start;  // W0
    Side left, right;
  };
  struct Turn {  // of one group
    std::vector<int64_t> lines;
    int64_t offset = 0;  // of its entries
    CayleyRotation rotation;
  };
  int64_t group_size(int64_t length) const;
  std::vector<Turn> turns_of(const Side& side) const;
  void adam_step(Side& side, const std::vector<double>& slopes, double lr) const;
  Tensor advanced(Block& block, const Tensor& gradient, const Tensor& weight, size_t matrix) const;

  PoetConfig config_;
  std::vector<std::vector<Block>> blocks_;  // by matrix parameter and block
  Tensors weights_;                         // of the step under way, f64 on the CPU
};

}  // namespace basin
