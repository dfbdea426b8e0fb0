// Problems whose answer is known: a matrix with a planted spectrum is to be found, by a linear map
// or by a product of two. What optimizers do to singular directions can be read off exactly.
//   linear_regression      min_W |X W^T - Y|^2 / n, X [n, p] = U diag(s) V^T, Y = X W*^T + noise;
//                          the condition number of X is that of the loss squared
//   matrix_factorisation   min_(A, B) |A B - M|^2 / entries, M [q, p] of the given rank and
//                          spectrum: the same loss with X = I and W = A B, not convex
//   network  linear_map (below), its matrices are parameters of role matrix
//   report   rel_l2 of the predictions for isotropic inputs (regression: 512 new ones, whose error
//            estimates |W - W*|_F / |W*|_F), or of M itself; and max_error
// All data are a function of (options, data_seed).
#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/models/model.h"
#include "basin/train/meters.h"
#include "basin/train/pde.h"
#include "basin/train/tasks/tasks.h"

namespace basin {
namespace {

// --- the network: y = W x, or A B x

Model make_linear_map(const ModelConfig& config, const OptionReader& options) {
  const int64_t in = options.sizes("inputs", 1)[0], out = config.outputs;
  const int64_t rank = options.integer_in("rank", 0, 1 << 16);
  Model model;
  model.inputs = {{"x", Rows::example, SlotKind::feature}};
  std::vector<Linear> maps;
  const auto declare = [&](const char* name, int64_t from, int64_t to) {
    maps.push_back(
        model.layout.weight_only(name, from, to, Role::matrix, xavier_uniform(from, to)));
  };
  if (rank > 0) {
    declare("right", in, rank);
    declare("left", rank, out);
  } else {
    declare("map", in, out);
  }
  model.forward = [layout = model.layout, maps](const Tensors& params, const Tensors& buffers,
                                                const Tensors& inputs, const ForwardOptions& o) {
    const Pass pass(layout, params, buffers, o.batch_statistics);
    Tensor y = inputs.front();
    for (const Linear& map : maps) y = pass.apply(map, y);
    ForwardResult result;
    result.outputs = {y};
    return result;
  };
  return model;
}

// --- the data

Tensor normal(const Shape& shape, uint64_t seed, const char* what) {
  return draw(normal_init(), shape, DType::f64, seed, what);
}

// [n, k] with orthonormal columns: modified Gram-Schmidt, twice, of a normal matrix.
Tensor orthonormal(int64_t n, int64_t k, uint64_t seed, const char* what) {
  Tensor out = normal({n, k}, seed, what);
  double* q = out.mutable_data<double>();
  const auto column_dot = [&](int64_t a, int64_t b) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += q[i * k + a] * q[i * k + b];
    return sum;
  };
  for (int64_t j = 0; j < k; ++j) {
    for (int pass = 0; pass < 2; ++pass) {
      for (int64_t b = 0; b < j; ++b) {
        const double c = column_dot(j, b);
        for (int64_t i = 0; i < n; ++i) q[i * k + j] -= c * q[i * k + b];
      }
    }
    const double norm = std::sqrt(column_dot(j, j));
    for (int64_t i = 0; i < n; ++i) q[i * k + j] /= norm;
  }
  return out;
}

// From 1 down to 1 / condition: in equal ratios (log), equal steps (linear), or all 1 but the last.
std::vector<double> spectrum(int64_t k, double condition, size_t shape) {
  std::vector<double> s(static_cast<size_t>(k), 1.0);
  for (int64_t i = 0; i < k && k > 1; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(k - 1);
    double& value = s[static_cast<size_t>(i)];
    if (shape == 0) value = std::pow(condition, -share);
    if (shape == 1) value = 1 - share * (1 - 1 / condition);
    if (shape == 2 && i == k - 1) value = 1 / condition;
  }
  return s;
}

// U diag(s) V^T scaled so that the mean square of an entry is `mean_square`: [n, p].
Tensor planted(int64_t n, int64_t p, const std::vector<double>& s, double mean_square,
               uint64_t seed, const char* left, const char* right) {
  const auto k = std::ssize(s);
  double squares = 0;
  for (const double x : s) squares += x * x;
  const double unit = std::sqrt(mean_square * static_cast<double>(n * p) / squares);
  Tensor u = orthonormal(n, k, seed, left);
  double* q = u.mutable_data<double>();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < k; ++j) q[i * k + j] *= unit * s[static_cast<size_t>(j)];
  }
  return matmul(u, orthonormal(p, k, seed, right), false, true);
}

struct Pairs {
  Tensor x, y;  // [n, p], [n, q]
};
struct PlantedData {
  Pairs train, test;
  std::string description, hash;
  const Pairs& of(Split split) const { return split == Split::test ? test : train; }
};

class PairSource : public Source {
 public:
  PairSource(std::shared_ptr<const PlantedData> data, const SourceRequest& request)
      : data_(std::move(data)), request_(request) {
    check(request.split != Split::validation, "planted: there is no validation split");
    rows_ = drawn_rows(data_->of(request.split).x.size(0), request.limit, request.seed);
  }
  const std::vector<Slot>& slots() const override {
    static const std::vector<Slot> all{{"x", Rows::example, SlotKind::feature},
                                       {"y", Rows::example, SlotKind::target}};
    return all;
  }
  int64_t examples() const override { return std::ssize(rows_); }
  int64_t batches() const override { return 1; }  // all of it: the paper's setting
  Batch batch(int64_t, int64_t index) const override {
    check(index == 0, "planted: an epoch has one batch, got ", index);
    const Pairs& pairs = data_->of(request_.split);
    if (examples() == pairs.x.size(0)) return {{pairs.x, pairs.y}, examples(), rows_};
    std::vector<int32_t> picked(rows_.begin(), rows_.end());
    const Tensor index_of = Tensor::from(picked, {examples()});
    return {{gather(pairs.x, index_of), gather(pairs.y, index_of)}, examples(), rows_};
  }
  std::string description() const override {
    return str(rows_.size(), " ", name_of(request_.split), " rows");
  }
  std::string content_hash() const override { return data_->hash; }

 private:
  std::shared_ptr<const PlantedData> data_;
  SourceRequest request_;
  std::vector<int64_t> rows_;
};

Tensor identity(int64_t n) {
  Tensor out = Tensor::zeros({n, n}, DType::f64);
  for (int64_t i = 0; i < n; ++i) out.mutable_data<double>()[i * n + i] = 1;
  return out;
}

Task planted_task(const TaskConfig& config, std::shared_ptr<PlantedData> data, int64_t rank) {
  data->hash = content_hash_of({data->train.x, data->train.y, data->test.x, data->test.y});
  Task task;
  ModelConfig network = config.model;
  network.outputs = data->train.y.size(1);
  network.output_name = "y";
  network.options.try_emplace("inputs", str(data->train.x.size(1)));
  if (rank > 0) network.options.try_emplace("rank", str(rank));
  task.model = make_model(network);
  const std::shared_ptr<const PlantedData> all = data;
  task.source = [all](const SourceRequest& r) { return std::make_shared<PairSource>(all, r); };
  task.data = [all] {
    return DataFacts{"generated", all->description,   all->hash, all->train.x.size(0),
                     0,           all->test.x.size(0)};
  };
  task.objective = [model = task.model](const Tensors& buffers, const Batch& batch,
                                        const ForwardOptions& mode) {
    Loss loss{{"mse"}, [y = batch.tensors.back()](const Tensors& outputs) {
                return Tensors{mean(square(outputs.front() - y))};
              }};
    return supervised(model, buffers, {batch.tensors.front()}, mode, std::move(loss),
                      batch.examples);
  };
  task.metrics = relative_error_metrics();
  task.meter = relative_error_meter;
  task.likelihood = Likelihood::gaussian;
  task.example = "row";
  return task;
}

const std::vector<std::string> kShapes{"log", "linear", "last"};

Task make_regression(const TaskConfig& config, const OptionReader& options) {
  const int64_t n = options.sizes("rows", 1)[0], p = options.sizes("inputs", 1)[0],
                q = options.sizes("outputs", 1)[0];
  check(n >= p, "linear_regression: expects at least as many rows as inputs, given ", n, " and ",
        p);
  const auto seed = static_cast<uint64_t>(options.integer_in("data_seed", 0, 1 << 30));
  const double condition = options.number_in("condition", 1, 1e8);
  const auto data = std::make_shared<PlantedData>();
  const std::vector<double> s = spectrum(p, condition, options.choice("spectrum", kShapes));
  const Tensor w = scale(normal({q, p}, seed, "solution"), 1 / std::sqrt(static_cast<double>(p)));
  data->train.x = planted(n, p, s, 1, seed, "left", "right");
  data->train.y = matmul(data->train.x, w, false, true) +
                  scale(normal({n, q}, seed, "noise"), options.number_in("noise", 0, 1e6));
  data->test.x = normal({512, p}, seed, "test");
  data->test.y = matmul(data->test.x, w, false, true);
  data->description = str("linear regression, ", n, " rows, ", p, " to ", q, ", condition ",
                          short_text(condition, 4));
  return planted_task(config, data, 0);
}

Task make_factorisation(const TaskConfig& config, const OptionReader& options) {
  const int64_t q = options.sizes("rows", 1)[0], p = options.sizes("columns", 1)[0],
                rank = options.sizes("true_rank", 1)[0];
  check(rank <= std::min(p, q), "matrix_factorisation: a matrix ", q, " x ", p, " has no rank ",
        rank);
  const auto seed = static_cast<uint64_t>(options.integer_in("data_seed", 0, 1 << 30));
  const double condition = options.number_in("condition", 1, 1e8);
  const auto data = std::make_shared<PlantedData>();
  const Tensor m = planted(p, q, spectrum(rank, condition, options.choice("spectrum", kShapes)), 1,
                           seed, "left", "right");
  data->train = {identity(p), m};
  data->test = data->train;
  data->description = str("factorisation of ", q, " x ", p, ", rank ", rank, ", condition ",
                          short_text(condition, 4));
  return planted_task(config, data, rank);
}

}  // namespace

void register_planted() {
  using enum OptionKind;
  register_model({"linear_map",
                  "a linear map, or a product of two",
                  {{"plain", "without bias"}},
                  {{"inputs", "64", "length of x; a task sets it", integer},
                   {"rank", "0", "inner size of the product; 0: one matrix", integer}},
                  make_linear_map});
  TaskInfo regression;
  regression.name = "linear_regression";
  regression.summary = "linear regression with a planted spectrum, all rows in a step";
  regression.options = {
      {"rows", "512", "examples", integer},
      {"inputs", "64", "columns of X", integer},
      {"outputs", "32", "rows of the matrix that is sought", integer},
      {"condition", "100", "condition number of X", number},
      {"spectrum", "log", "of X: log, linear, or last: all alike but the last"},
      {"noise", "0", "standard deviation added to Y", number},
      {"data_seed", "0", "seed of the data", integer},
  };
  regression.models = {"linear_map"};
  regression.recipe_rows = pde_defaults();
  regression.make = make_regression;
  register_task(std::move(regression));

  TaskInfo factorisation;
  factorisation.name = "matrix_factorisation";
  factorisation.summary = "a matrix with a planted spectrum as a product of two";
  factorisation.options = {
      {"rows", "64", "of the matrix", integer},
      {"columns", "64", "of the matrix", integer},
      {"true_rank", "32", "of the matrix, and inner size of the product", integer},
      {"condition", "100", "largest over least singular value but zero", number},
      {"spectrum", "log", "log, linear, or last: all alike but the last"},
      {"data_seed", "0", "seed of the data", integer},
  };
  factorisation.models = {"linear_map"};
  factorisation.recipe_rows = pde_defaults();
  factorisation.make = make_factorisation;
  register_task(std::move(factorisation));
}

}  // namespace basin
