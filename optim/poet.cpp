// POET: rotations of groups of rows and columns around the matrices that a run began with.
#include "basin/optim/detail/poet.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "basin/core/random.h"
#include "basin/optim/detail/builtin.h"
#include "basin/optim/detail/matrix_blocks.h"
#include "basin/optim/detail/matrix_options.h"
#include "basin/optim/detail/spectral.h"

namespace basin {
namespace {

// A weight of f32 is off by its rounding; what is further off was set by somebody else.
constexpr double kOwnWeight = 1e-5;

int64_t entries_of(int64_t n) { return n * (n - 1) / 2; }

const PoetConfig& valid_poet(const PoetConfig& c) {
  check(c.beta1 >= 0 && c.beta1 < 1 && c.beta2 >= 0 && c.beta2 < 1,
        "poet: expects beta1 and beta2 from 0 to below 1, got ", c.beta1, " and ", c.beta2);
  check(c.eps >= 0, "poet: expects eps of at least 0, got ", c.eps);
  check(c.block != 1 && c.block >= 0, "poet: expects block of at least 2, or 0 for whole sides, ",
        "got ", c.block);
  check(c.merge >= 1, "poet: expects merge of at least 1 step, got ", c.merge);
  check(c.weight_decay == 0, "poet: weight decay would change the singular values of matrices; ",
        "take it away (aux_wd is that of the other parameters)");
  return c;
}

// The inverse of I - K by Gauss-Jordan elimination. Its symmetric part is I, so the pivots are at
// least 1 and no rows change places.
Tensor inverse_of(const Tensor& matrix) {
  const int64_t n = matrix.size(0);
  std::vector<double> a = matrix.to_vector<double>();
  Tensor out = Tensor::zeros({n, n}, DType::f64);
  double* x = out.mutable_data<double>();
  for (int64_t i = 0; i < n; ++i) x[i * n + i] = 1;
  for (int64_t p = 0; p < n; ++p) {
    const double pivot = 1 / a[p * n + p];
    for (int64_t j = 0; j < n; ++j) {
      a[p * n + j] *= pivot;
      x[p * n + j] *= pivot;
    }
    for (int64_t i = 0; i < n; ++i) {
      const double factor = a[i * n + p];
      if (i == p || factor == 0) continue;
      for (int64_t j = 0; j < n; ++j) {
        a[i * n + j] -= factor * a[p * n + j];
        x[i * n + j] -= factor * x[p * n + j];
      }
    }
  }
  return out;
}

// Rows (or columns, as rows) of a matrix.
Tensor taken(const Tensor& x, const std::vector<int64_t>& lines, bool rows) {
  const int64_t m = x.size(0), n = x.size(1), length = rows ? n : m;
  Tensor out = Tensor::empty({static_cast<int64_t>(lines.size()), length}, DType::f64);
  double* to = out.mutable_data<double>();
  for (const int64_t line : lines) {
    for (int64_t j = 0; j < length; ++j) {
      *to++ = rows ? x.data<double>()[line * n + j] : x.data<double>()[j * n + line];
    }
  }
  return out;
}

void put_lines(Tensor& x, const Tensor& values, const std::vector<int64_t>& lines, bool rows) {
  const int64_t m = x.size(0), n = x.size(1), length = rows ? n : m;
  double* to = x.mutable_data<double>();
  const double* from = values.data<double>();
  for (const int64_t line : lines) {
    for (int64_t j = 0; j < length; ++j) (rows ? to[line * n + j] : to[j * n + line]) = *from++;
  }
}

}  // namespace

CayleyRotation::CayleyRotation(std::span<const double> entries, int64_t n) {
  Tensor plus = Tensor::zeros({n, n}, DType::f64), minus = Tensor::zeros({n, n}, DType::f64);
  double *a = plus.mutable_data<double>(), *b = minus.mutable_data<double>();
  size_t next = 0;
  for (int64_t i = 0; i < n; ++i) {
    a[i * n + i] = b[i * n + i] = 1;
    for (int64_t j = i + 1; j < n; ++j, ++next) {
      a[i * n + j] = b[j * n + i] = entries[next];
      a[j * n + i] = b[i * n + j] = -entries[next];
    }
  }
  inverse_ = inverse_of(minus);
  g_ = product(plus, false, inverse_, false);
}

std::vector<double> CayleyRotation::pulled_back(const Tensor& slope) const {
  const int64_t n = g_.size(0);
  Tensor sum = g_.clone();
  for (int64_t i = 0; i < n; ++i) sum.mutable_data<double>()[i * n + i] += 1;
  const Tensor s = product(product(sum, true, slope, false), false, inverse_, true);
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i + 1; j < n; ++j) out.push_back(s.at(i * n + j) - s.at(j * n + i));
  }
  return out;
}

int64_t Poet::group_size(int64_t length) const {
  return config_.block == 0 ? length : std::min(length, config_.block);
}

Poet::Poet(const PoetConfig& config, const ParamList& params, const std::vector<GroupRule>& groups)
    : MatrixOptimizer("poet", valid_poet(config), params, groups),
      config_(config),
      blocks_(matrices().size()) {
  uint64_t stream = 0;
  for (size_t i = 0; i < matrices().size(); ++i) {
    const Matrix& matrix = matrices()[i];
    check(matrix.settings.weight_decay == 0, "poet: weight decay would change the singular values ",
          "of '", matrix.name, "'; take wd out of the group ", matrix.settings.group);
    blocks_[i].resize(matrix.blocks.size());
    for (size_t k = 0; k < matrix.blocks.size(); ++k) {
      Block& b = blocks_[i][k];
      const std::string name = block_name(i, k);
      b.start = Tensor::zeros({matrix.blocks[k].rows, matrix.blocks[k].cols}, DType::f64);
      keep(str("poet.start.", name), b.start);
      const auto declare = [&](Side& side, int64_t length, const char* which) {
        side.length = length;
        side.stream = stream++;
        const int64_t size = group_size(length);
        const int64_t entries = length / size * entries_of(size) + entries_of(length % size);
        for (const auto& [tensor, what] :
             {std::pair(&side.k, "k"), {&side.m, "m"}, {&side.v, "v"}}) {
          *tensor = Tensor::zeros({entries}, DType::f64);
          keep(str("poet.", which, ".", what, ".", name), *tensor);
        }
      };
      declare(b.left, matrix.blocks[k].rows, "rows");
      declare(b.right, matrix.blocks[k].cols, "columns");
    }
  }
}

std::vector<Poet::Turn> Poet::turns_of(const Side& side) const {
  std::vector<int64_t> order(static_cast<size_t>(side.length));
  std::iota(order.begin(), order.end(), 0);
  const auto period = static_cast<uint64_t>(steps() / config_.merge);
  Rng rng(config_.seed, stream_id("poet groups", period, side.stream));
  rng.shuffle(std::span(order));
  std::vector<Turn> out;
  const int64_t size = group_size(side.length);
  int64_t offset = 0;
  for (int64_t at = 0; at < side.length; at += size) {
    const int64_t n = std::min(size, side.length - at), entries = entries_of(n);
    out.push_back(
        {{order.begin() + at, order.begin() + at + n},
         offset,
         CayleyRotation({side.k.data<double>() + offset, static_cast<size_t>(entries)}, n)});
    offset += entries;
  }
  return out;
}

// At the rate of a step within the period.
void Poet::adam_step(Side& side, const std::vector<double>& slopes, double lr) const {
  const auto t = static_cast<double>(steps() % config_.merge + 1);
  const double bc1 = 1 - std::pow(config_.beta1, t), bc2 = 1 - std::pow(config_.beta2, t);
  double *k = side.k.mutable_data<double>(), *m = side.m.mutable_data<double>(),
         *v = side.v.mutable_data<double>();
  for (size_t i = 0; i < slopes.size(); ++i) {
    m[i] = config_.beta1 * m[i] + (1 - config_.beta1) * slopes[i];
    v[i] = config_.beta2 * v[i] + (1 - config_.beta2) * slopes[i] * slopes[i];
    k[i] -= lr * (m[i] / bc1) / (std::sqrt(v[i] / bc2) + config_.eps);
  }
}

Tensors Poet::directions(const ParamList& params, const Tensors& grads) {
  weights_.clear();
  Tensors out = matrix_gradients(grads);
  for (size_t i = 0; i < out.size(); ++i) {
    if (!out[i].defined()) out[i] = zeros_like_matrix(i);
    weights_.push_back(params[matrices()[i].settings.index].value.to(Device::cpu).to(DType::f64));
    const double lr = rate(i);
    for (double& scale : matrices()[i].scales) scale = lr > 0 ? 1 / lr : 0;  // updates() have it
  }
  return out;
}

// What the weight has too much of.
Tensor Poet::advanced(Block& b, const Tensor& gradient, const Tensor& weight, size_t matrix) const {
  if (steps() == 0) b.start.copy_from(weight);
  const auto turned = [](const Tensor& x, const std::vector<Turn>& turns, bool rows) {
    Tensor out = x.clone();
    for (const Turn& turn : turns) {  // of columns x_J P_J, that is P_J^T x_J^T
      const Tensor lines = taken(x, turn.lines, rows);
      put_lines(out, product(turn.rotation.matrix(), !rows, lines, false), turn.lines, rows);
    }
    return out;
  };
  const auto slopes = [&](const Tensor& other, const std::vector<Turn>& turns, bool rows) {
    std::vector<double> out;
    for (const Turn& turn : turns) {
      const Tensor g = taken(gradient, turn.lines, rows), x = taken(other, turn.lines, rows);
      const Tensor slope = rows ? product(g, false, x, true) : product(x, false, g, true);
      const std::vector<double> part = turn.rotation.pulled_back(slope);
      out.insert(out.end(), part.begin(), part.end());
    }
    return out;
  };
  const std::vector<Turn> left = turns_of(b.left), right = turns_of(b.right);
  const Tensor w0_p = turned(b.start, right, false), r_w0 = turned(b.start, left, true);
  const Tensor own = turned(w0_p, left, true);
  double largest = 0, off = 0;
  for (int64_t i = 0; i < own.numel(); ++i) {
    largest = std::max(largest, std::abs(own.at(i)));
    off = std::max(off, std::abs(own.at(i) - weight.at(i)));
  }
  check(off <= kOwnWeight * largest, "poet: the weights of '", matrices()[matrix].name,
        "' are not those that its last step left; it keeps their singular values and goes with ",
        "nothing that sets weights");
  adam_step(b.left, slopes(w0_p, left, true), rate(matrix));
  adam_step(b.right, slopes(r_w0, right, false), rate(matrix));
  const Tensor next = turned(turned(b.start, turns_of(b.right), false), turns_of(b.left), true);
  if ((steps() + 1) % config_.merge == 0) {
    b.start.copy_from(next);
    for (Side* side : {&b.left, &b.right}) {
      for (Tensor* t : {&side->k, &side->m, &side->v}) {
        std::fill_n(t->mutable_data<double>(), t->numel(), 0.0);
      }
    }
  }
  Tensor out = weight.clone();
  for (int64_t i = 0; i < out.numel(); ++i) out.mutable_data<double>()[i] -= next.at(i);
  return out;
}

Tensors Poet::updates(const Tensors& directions) {
  const Tensors out = map_blocks(directions, [&](size_t i, size_t k, const Tensor& g) {
    return advanced(blocks_[i][k], g, matrix_of(weights_[i], matrices()[i].blocks[k]), i);
  });
  weights_.clear();
  return out;
}

void Poet::describe(size_t, UpdateRecord& record) const { record.orthogonalised = {}; }

OptimizerInfo poet_info() {
  OptimizerInfo info;
  info.name = "poet";
  info.summary = "Adam on rotations of rows and columns: the singular values of matrices stay";
  info.default_lr = 1e-3;
  info.options =
      joined({{{"block", "64", "rows (columns) that turn as one group; 0: all"},
               {"merge", "200", "steps after which rotations are merged and groups drawn again"},
               {"beta1", "0.9", "decay of the first moment"},
               {"beta2", "0.999", "decay of the second moment"},
               {"eps", "1e-8", "added to the root after bias correction"},
               {"group_seed", "0", "of the groups"}},
              routing_options(false),
              auxiliary_options("1e-3")});
  info.make = [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
    PoetConfig config;
    static_cast<MatrixRules&>(config) = read_rules(c, o);
    config.block = o.integer_in("block", 0, int64_t{1} << 20);
    config.merge = o.integer_in("merge", 1, int64_t{1} << 40);
    config.beta1 = o.number("beta1");
    config.beta2 = o.number("beta2");
    config.eps = o.number("eps");
    config.seed = static_cast<uint64_t>(o.integer_in("group_seed", 0, int64_t{1} << 60));
    return std::make_unique<Poet>(config, params, c.groups);
  };
  return info;
}

}  // namespace basin
