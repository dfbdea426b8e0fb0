// SOAP: Adam in the slowly turning eigenbases of Shampoo's sides.
#include "basin/optim/detail/soap.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "basin/optim/detail/builtin.h"
#include "basin/optim/detail/matrix_options.h"
#include "basin/optim/detail/spectral.h"

namespace basin {
namespace {

const SoapConfig& valid(const SoapConfig& c) {
  for (const double beta : {c.beta1, c.beta2, c.shampoo_beta}) {
    check(beta >= 0 && beta < 1,
          "soap: expects beta1, beta2 and shampoo_beta from 0 to below 1, got ", beta);
  }
  check(c.eps >= 0, "soap: expects eps of at least 0, got ", c.eps);
  return c;
}

// Q_L^T x Q_R, or back; an undefined basis is the identity.
Tensor turned(const Tensor& x, const Tensor& left, const Tensor& right, bool back) {
  Tensor out = x;
  if (left.defined()) out = product(left, !back, out, false);
  if (right.defined()) out = product(out, false, right, back);
  return out;
}

Tensor eigenbasis(const Tensor& a) {  // largest eigenvalue first
  const Tensor q = Eigh::cpu(a).vectors;
  const int64_t n = a.size(0);
  Tensor out = Tensor::empty({n, n}, DType::f64);
  for (int64_t i = 0; i < n; ++i) {
    std::reverse_copy(q.data<double>() + i * n, q.data<double>() + (i + 1) * n,
                      out.mutable_data<double>() + i * n);
  }
  return out;
}

void lerp(Tensor& a, const Tensor& b, double beta) {  // a = beta a + (1 - beta) b
  double* x = a.mutable_data<double>();
  for (int64_t i = 0; i < a.numel(); ++i) {
    x[i] = beta * x[i] + (1 - beta) * b.data<double>()[i];
  }
}

// a[.., order] for columns, a[order, ..] for rows.
Tensor reordered(const Tensor& a, const std::vector<int64_t>& order, bool rows) {
  const int64_t m = a.size(0), n = a.size(1);
  Tensor out = Tensor::empty({m, n}, DType::f64);
  double* to = out.mutable_data<double>();
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      *to++ = rows ? a.data<double>()[order[i] * n + j] : a.data<double>()[i * n + order[j]];
    }
  }
  return out;
}

// One step of power iteration of the basis q of a, columns by falling Rayleigh quotient.
Tensor advanced(const Tensor& a, const Tensor& q, Tensor& v, bool left) {
  const Tensor aq = product(a, false, q, false);
  const int64_t n = a.size(0);
  std::vector<double> value(static_cast<size_t>(n), 0.0);
  for (int64_t i = 0; i < n * n; ++i) value[i % n] += q.data<double>()[i] * aq.data<double>()[i];
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t x, int64_t y) { return value[x] > value[y]; });
  v = reordered(v, order, left);
  return QrBasis::cpu(reordered(aq, order, false));
}

}  // namespace

Soap::Soap(const SoapConfig& config, const ParamList& params, const std::vector<GroupRule>& groups)
    : MatrixOptimizer("soap", valid(config), params, groups),
      config_(config),
      blocks_(matrices().size()) {
  for (size_t i = 0; i < matrices().size(); ++i) {
    const Matrix& matrix = matrices()[i];
    blocks_[i].resize(matrix.blocks.size());
    for (size_t k = 0; k < matrix.blocks.size(); ++k) {
      Block& b = blocks_[i][k];
      const auto make = [&](Tensor& t, const char* which, int64_t rows, int64_t cols, bool wanted) {
        if (!wanted) return;
        t = Tensor::zeros({rows, cols}, DType::f64);
        keep(str("soap.", which, ".", block_name(i, k)), t);
      };
      const int64_t m = matrix.blocks[k].rows, n = matrix.blocks[k].cols;
      make(b.left, "l", m, m, m <= config_.max_side);
      make(b.left_basis, "ql", m, m, m <= config_.max_side);
      make(b.right, "r", n, n, n <= config_.max_side);
      make(b.right_basis, "qr", n, n, n <= config_.max_side);
      make(b.m, "m", m, n, true);
      make(b.v, "v", m, n, true);
    }
  }
}

Tensors Soap::directions(const ParamList&, const Tensors& grads) {
  Tensors out = matrix_gradients(grads);
  for (size_t i = 0; i < out.size(); ++i) {
    if (!out[i].defined()) out[i] = zeros_like_matrix(i);
  }
  return out;
}

void Soap::accumulate(Block& b, const Tensor& g) const {
  if (b.left.defined()) lerp(b.left, product(g, false, g, true), config_.shampoo_beta);
  if (b.right.defined()) lerp(b.right, product(g, true, g, false), config_.shampoo_beta);
}

void Soap::begin(Block& b, const Tensor& g) const {
  accumulate(b, g);
  if (b.left.defined()) b.left_basis.copy_from(eigenbasis(b.left));
  if (b.right.defined()) b.right_basis.copy_from(eigenbasis(b.right));
}

void Soap::turn(Block& b) const {
  Tensor v = b.v;
  if (b.left.defined()) b.left_basis.copy_from(advanced(b.left, b.left_basis, v, true));
  if (b.right.defined()) b.right_basis.copy_from(advanced(b.right, b.right_basis, v, false));
  b.v.copy_from(v);
}

Tensor Soap::adam_step(Block& b, const Tensor& g) const {
  const double t = static_cast<double>(steps());  // the first step made no update
  const double correction =
      std::sqrt(1 - std::pow(config_.beta2, t)) / (1 - std::pow(config_.beta1, t));
  Tensor square = turned(g, b.left_basis, b.right_basis, false).clone();
  double* x = square.mutable_data<double>();
  for (int64_t i = 0; i < square.numel(); ++i) x[i] *= x[i];
  lerp(b.m, g, config_.beta1);
  lerp(b.v, square, config_.beta2);
  Tensor direction = turned(b.m, b.left_basis, b.right_basis, false).clone();
  x = direction.mutable_data<double>();
  for (int64_t i = 0; i < direction.numel(); ++i) {
    x[i] *= correction / (std::sqrt(b.v.data<double>()[i]) + config_.eps);
  }
  return turned(direction, b.left_basis, b.right_basis, true);
}

Tensors Soap::updates(const Tensors& directions) {
  return map_blocks(directions, [&](size_t i, size_t k, const Tensor& g) {
    Block& block = blocks_[i][k];
    if (steps() == 0) {
      begin(block, g);
      return Tensor::zeros(g.shape(), DType::f64);
    }
    const Tensor out = adam_step(block, g);
    accumulate(block, g);
    if (steps() % config_.every == 0) turn(block);
    return out;
  });
}

OptimizerInfo soap_info() {
  OptimizerInfo info;
  info.name = "soap";
  info.summary = "Adam in the eigenbases of Shampoo's preconditioner";
  info.default_lr = 3e-3;
  info.default_weight_decay = 0.01;
  info.options = joined({{{"beta1", "0.95", "decay of the first moment"},
                          {"beta2", "0.95", "decay of the second moment"},
                          {"shampoo_beta", "0.95", "decay of G G^T and G^T G"},
                          {"eps", "1e-8", "added to the root before bias correction"},
                          {"every", "10", "steps between turns of the bases"},
                          {"max_side", "2048", "a longer side keeps its own basis"}},
                         routing_options(true),
                         auxiliary_options("3e-3")});
  info.make = [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
    SoapConfig config;
    static_cast<MatrixRules&>(config) = read_rules(c, o);
    config.beta1 = o.number("beta1");
    config.beta2 = o.number("beta2");
    config.shampoo_beta = o.number("shampoo_beta");
    config.eps = o.number("eps");
    config.every = o.integer_in("every", 1, int64_t{1} << 40);
    config.max_side = o.integer_in("max_side", 0, int64_t{1} << 20);
    return std::make_unique<Soap>(config, params, c.groups);
  };
  return info;
}

}  // namespace basin
