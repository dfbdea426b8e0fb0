// Two optimizers that precondition both sides of a gradient G [m, n] by what they saw of G G^T and
// G^T G. All of it is f64 on the CPU.
//   Shampoo (Gupta, Koren, Singer, arXiv 1802.09568):
//     L = b2 L + c G G^T,  R = b2 R + c G^T G,  c = 1 - b2, or 1 for b2 = 1 (the sum); both begin
//     as eps I.  M = b1 M + (1-b1) G;  O = L^-q M R^-q,  q = 1/4; the roots are taken at each of
//     the first `every` steps, then every `every` steps. Grafting on the gradient scales O to
//     |M|_F.
//
//   SOAP (Vyas et al., arXiv 2409.11321): Adam in the eigenbases Q_L, Q_R of L and R (b2 =
//     bs): Gt = Q_L^T G Q_R;  m = b1 m + (1-b1) G;  v = b2 v + (1-b2) Gt^2
//     O = Q_L ((Q_L^T m Q_R) sqrt(bc2) / bc1 / (sqrt(v) + eps)) Q_R^T
//     Bases: eigenvectors at the first step, which makes no other update; every `every` steps one
//     step of power iteration and a QR decomposition, v permuted with the order of the eigenvalues.
// A side longer than max_side keeps its own basis and is not preconditioned.
#pragma once
#include <vector>

#include "basin/optim/detail/matrix_optimizer.h"

namespace basin {

struct ShampooConfig : MatrixRules {
  double beta1 = 0.9, beta2 = 1;
  double eps = 1e-6;
  double root = 0.25;  // q
  int64_t every = 10;
  int64_t max_side = 2048;
  bool graft = false;
};

class Shampoo : public MatrixOptimizer {
 public:
  Shampoo(const ShampooConfig& config, const ParamList& params,
          const std::vector<GroupRule>& groups = {});

 protected:
  Tensors directions(const ParamList& params, const Tensors& grads) override;
  Tensors updates(const Tensors& directions) override;

 private:
  struct Side {
    Tensor sum, root;  // L and L^-q; undefined for a side that is too long
  };
  struct Block {
    Side left, right;
  };
  void refresh(Side& side, const Tensor& gradient, bool transposed) const;

  ShampooConfig config_;
  std::vector<std::vector<Block>> blocks_;  // by matrix parameter and block
  std::vector<Tensor> m_;                   // M of every matrix parameter
  Tensors gradients_;                       // of the step under way
};

struct SoapConfig : MatrixRules {
  double beta1 = 0.95, beta2 = 0.95, shampoo_beta = 0.95;
  double eps = 1e-8;
  int64_t every = 10;
  int64_t max_side = 2048;
};

class Soap : public MatrixOptimizer {
 public:
  Soap(const SoapConfig& config, const ParamList& params,
       const std::vector<GroupRule>& groups = {});

 protected:
  Tensors directions(const ParamList& params, const Tensors& grads) override;
  Tensors updates(const Tensors& directions) override;

 private:
  struct Block {
    Tensor left, right;              // L, R; undefined for a side that is too long
    Tensor left_basis, right_basis;  // Q_L, Q_R
    Tensor m, v;                     // m in the basis of the weights, v in that of Q_L, Q_R
  };
  void accumulate(Block& block, const Tensor& gradient) const;
  void begin(Block& block, const Tensor& gradient) const;
  void turn(Block& block) const;
  Tensor adam_step(Block& block, const Tensor& gradient) const;

  SoapConfig config_;
  std::vector<std::vector<Block>> blocks_;  // by matrix parameter and block
};

}  // namespace basin
