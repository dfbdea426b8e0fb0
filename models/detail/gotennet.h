// The layers of GotenNet as handles, shared by the sources that declare and apply them.
#pragma once
#include <memory>
#include <vector>

#include "basin/models/detail/molecules.h"
#include "basin/models/gotennet.h"

namespace basin::goten {

// Inside roots: |Z| of EQFF and |V| of the heads have a derivative at 0.
inline constexpr double kNormEps = 1e-8;

struct Perceptron {  // two linear maps
  Linear first, second;
};

struct Gata {
  Linear q, k;
  Perceptron s, v;
  Linear attention, filter;  // W_re, W_rs
};

struct Refinement {
  std::vector<Linear> gamma;  // one or two maps
  Linear query;
  std::vector<Linear> keys;  // one per degree
  Linear products;           // W_edp; absent without linw
};

struct Block {
  Gata gata;
  Refinement htr;  // not in the last block
  Linear mix;      // W_vu
  Perceptron feed;
};

struct GatedBlock {  // of the dipole head: scalars n_s and vectors n_v in, s_out and v_out out
  Linear mix;
  Perceptron net;
  int64_t scalars = 1, vectors = 1;
};

struct Net {
  GotenNetConfig config;
  Layout layout;
  Embedding atoms, neighbours;  // A_na, A_nbr
  Linear node_radial;           // W_ndp
  Perceptron node;              // W_nrd_nru, a layer norm between
  LayerNorm node_norm;
  Linear edge_radial;  // W_erp
  std::vector<Block> blocks;
  Perceptron head;                // scalar, r2
  std::vector<GatedBlock> gated;  // dipole
};

std::shared_ptr<const Net> declare(const GotenNetConfig& config);

// h [A, d], x [A, K, d] -> [B, outputs]; the dipole vectors [B, 3] are among the activations.
Tensor apply_head(const Net& net, const Pass& pass, const Molecules& molecules, const Tensor& h,
                  const Tensor& x, std::vector<Activation>* activations);

}  // namespace basin::goten
