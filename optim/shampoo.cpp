// Shampoo: accumulated sides and their inverse roots.
#include <cmath>

#include "basin/kernels/launch.h"
#include "basin/kernels/newton_schulz.h"
#include "basin/optim/detail/builtin.h"
#include "basin/optim/detail/matrix_options.h"
#include "basin/optim/detail/soap.h"
#include "basin/optim/detail/spectral.h"

namespace basin {
namespace {

const ShampooConfig& valid(const ShampooConfig& c) {
  check(c.beta1 >= 0 && c.beta1 < 1 && c.beta2 >= 0 && c.beta2 <= 1,
        "shampoo: expects beta1 from 0 to below 1 and beta2 from 0 to 1, got ", c.beta1, " and ",
        c.beta2);
  check(c.eps >= 0 && c.root > 0, "shampoo: expects eps of at least 0 and root above 0, got ",
        c.eps, " and ", c.root);
  return c;
}

}  // namespace

Shampoo::Shampoo(const ShampooConfig& config, const ParamList& params,
                 const std::vector<GroupRule>& groups)
    : MatrixOptimizer("shampoo", valid(config), params, groups),
      config_(config),
      blocks_(matrices().size()),
      m_(matrices().size()) {
  for (size_t i = 0; i < matrices().size(); ++i) {
    const Matrix& matrix = matrices()[i];
    m_[i] = zeros_like_matrix(i);
    keep("shampoo.m." + matrix.name, m_[i]);
    blocks_[i].resize(matrix.blocks.size());
    for (size_t k = 0; k < matrix.blocks.size(); ++k) {
      const auto make = [&](Side& side, const char* which, int64_t n) {
        if (n > config_.max_side) return;
        side.sum = Tensor::zeros({n, n}, DType::f64);
        side.root = side.sum.clone();
        for (int64_t j = 0; j < n; ++j) side.sum.mutable_data<double>()[j * (n + 1)] = config_.eps;
        keep(str("shampoo.", which, ".", block_name(i, k)), side.sum);
        keep(str("shampoo.root_", which, ".", block_name(i, k)), side.root);
      };
      make(blocks_[i][k].left, "l", matrix.blocks[k].rows);
      make(blocks_[i][k].right, "r", matrix.blocks[k].cols);
    }
  }
}

Tensors Shampoo::directions(const ParamList&, const Tensors& grads) {
  gradients_ = matrix_gradients(grads);
  return momentum_step(gradients_, m_, {config_.beta1, 1 - config_.beta1, 0, 1});
}

void Shampoo::refresh(Side& side, const Tensor& gradient, bool transposed) const {
  if (!side.sum.defined()) return;
  const Tensor outer = product(gradient, transposed, gradient, !transposed);
  const double intake = config_.beta2 < 1 ? 1 - config_.beta2 : 1;
  double* sum = side.sum.mutable_data<double>();
  for (int64_t j = 0; j < outer.numel(); ++j) {
    sum[j] = config_.beta2 * sum[j] + intake * outer.data<double>()[j];
  }
  // In the beginning every gradient brings directions that the last root did not know, and eps
  // alone would scale them.
  if (steps() >= config_.every && steps() % config_.every != 0) return;
  side.root.copy_from(inverse_root(side.sum, config_.root));
}

Tensors Shampoo::updates(const Tensors& directions) {
  map_blocks(gradients_, [&](size_t i, size_t k, const Tensor& g) {
    refresh(blocks_[i][k].left, g, false);
    refresh(blocks_[i][k].right, g, true);
    return g;
  });
  gradients_.clear();
  return map_blocks(directions, [&](size_t i, size_t k, const Tensor& m) {
    const Block& block = blocks_[i][k];
    Tensor out = m;
    if (block.left.root.defined()) out = product(block.left.root, false, out, false);
    if (block.right.root.defined()) out = product(out, false, block.right.root, false);
    const double size = frobenius_norm(out);
    if (!config_.graft || size == 0) return out;
    const double factor = frobenius_norm(m) / size;
    for (int64_t j = 0; j < out.numel(); ++j) out.mutable_data<double>()[j] *= factor;
    return out;
  });
}

OptimizerInfo shampoo_info() {
  OptimizerInfo info;
  info.name = "shampoo";
  info.summary = "inverse roots of the accumulated G G^T and G^T G on both sides of a matrix";
  info.default_lr = 0.03;
  info.options = joined({{{"beta1", "0.9", "decay of the momentum"},
                          {"beta2", "1", "decay of G G^T and G^T G; 1: their sum"},
                          {"eps", "1e-6", "times I: where they begin"},
                          {"root", "0.25", "power of their inverses"},
                          {"every", "10", "steps between inverse roots"},
                          {"max_side", "2048", "a longer side of a matrix is not preconditioned"},
                          {"graft", "false", "scale the update to the norm of the momentum"}},
                         routing_options(true),
                         auxiliary_options("1e-3")});
  info.make = [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
    ShampooConfig config;
    static_cast<MatrixRules&>(config) = read_rules(c, o);
    config.beta1 = o.number("beta1");
    config.beta2 = o.number("beta2");
    config.eps = o.number("eps");
    config.root = o.number("root");
    config.every = o.integer_in("every", 1, int64_t{1} << 40);
    config.max_side = o.integer_in("max_side", 0, int64_t{1} << 20);
    config.graft = o.flag("graft");
    return std::make_unique<Shampoo>(config, params, c.groups);
  };
  return info;
}

}  // namespace basin
