// Task "molecules": the energy of small procedural molecules (datasets/molecules.h), a regression
// whose batches differ in shape: molecules of one size share a batch.
//   batch   points [B, N, 3] f64 (Å, about the mean), types [B, N] i64, target [B, 1] f64, energy
//           [B, 1] f64 (eV); target = (energy - mean) / spread, both fitted to the training split,
//           taken in f64 before anything is rounded to f32
//   loss    mean squared error of the target
//   report  eV
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "basin/autograd/ops.h"
#include "basin/core/io.h"
#include "basin/core/random.h"
#include "basin/datasets/molecules.h"
#include "basin/train/meters.h"
#include "basin/train/tasks/tasks.h"

namespace basin {
namespace {

const std::vector<Slot>& molecule_slots() {
  static const std::vector<Slot> all{{"points", Rows::point, SlotKind::coordinates},
                                     {"types", Rows::point, SlotKind::feature},
                                     {"target", Rows::example, SlotKind::target},
                                     {"energy", Rows::example, SlotKind::target}};
  return all;
}

struct Data {
  MoleculeSplits splits = embedded_molecules();
  const std::vector<Molecule>& of(Split split) const {
    return split == Split::train  ? splits.train
           : split == Split::test ? splits.test
                                  : splits.validation;
  }
};

class MoleculeSource : public Source {
 public:
  MoleculeSource(std::shared_ptr<const Data> data, double mean, double spread,
                 const SourceRequest& request)
      : data_(std::move(data)), mean_(mean), spread_(spread), request_(request) {
    const std::vector<Molecule>& all = data_->of(request.split);
    rows_ = drawn_rows(static_cast<int64_t>(all.size()), request.limit, request.seed);
    for (const int64_t row : rows_) {
      by_size_[all[static_cast<size_t>(row)].elements.size()].push_back(row);
    }
    for (const auto& [size, rows] : by_size_) {
      batches_ += (static_cast<int64_t>(rows.size()) + request.batch - 1) / request.batch;
    }
  }
  const std::vector<Slot>& slots() const override { return molecule_slots(); }
  int64_t examples() const override { return static_cast<int64_t>(rows_.size()); }
  int64_t batches() const override { return batches_; }
  Batch batch(int64_t epoch, int64_t index) const override;
  std::string description() const override {
    const size_t all = data_->of(request_.split).size();
    return str(rows_.size(), " of ", all, " ", name_of(request_.split), " molecules",
               rows_.size() < all ? str(" (seed ", request_.seed, ")") : "");
  }
  std::string content_hash() const override { return data_->splits.content_hash; }

 private:
  // The batches of an epoch as lists of rows: size by size in order; for training the molecules of
  // a size and then the batches are shuffled.
  std::vector<std::vector<int64_t>> plan(int64_t epoch) const;

  std::shared_ptr<const Data> data_;
  double mean_, spread_;
  SourceRequest request_;
  std::vector<int64_t> rows_;
  std::map<size_t, std::vector<int64_t>> by_size_;
  int64_t batches_ = 0;
};

std::vector<std::vector<int64_t>> MoleculeSource::plan(int64_t epoch) const {
  std::vector<std::vector<int64_t>> out;
  Rng rng(request_.seed, stream_id("molecule order", static_cast<uint64_t>(epoch)));
  for (const auto& [size, rows] : by_size_) {
    std::vector<int64_t> order = rows;
    if (request_.training) rng.shuffle(std::span<int64_t>(order));
    for (size_t begin = 0; begin < order.size(); begin += static_cast<size_t>(request_.batch)) {
      const size_t end = std::min(begin + static_cast<size_t>(request_.batch), order.size());
      out.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(begin),
                       order.begin() + static_cast<std::ptrdiff_t>(end));
    }
  }
  if (!request_.training) return out;
  std::vector<int64_t> order(out.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  rng.shuffle(std::span<int64_t>(order));
  std::vector<std::vector<int64_t>> shuffled;
  for (const int64_t i : order) shuffled.push_back(std::move(out[static_cast<size_t>(i)]));
  return shuffled;
}

Batch MoleculeSource::batch(int64_t epoch, int64_t index) const {
  check(epoch >= 0 && index >= 0 && index < batches_, "molecules: expected a batch from 0 to ",
        batches_ - 1, ", got ", index, " of epoch ", epoch);
  const std::vector<int64_t> rows = plan(request_.training ? epoch : 0)[static_cast<size_t>(index)];
  std::vector<double> xyz, target, energy;
  std::vector<int64_t> types;
  for (const int64_t row : rows) {
    const Molecule& m = data_->of(request_.split)[static_cast<size_t>(row)];
    std::array<double, 3> mean{0, 0, 0};
    for (const auto& p : m.positions) {
      for (size_t c = 0; c < 3; ++c) mean[c] += p[c] / static_cast<double>(m.positions.size());
    }
    for (const auto& p : m.positions) {
      for (size_t c = 0; c < 3; ++c) xyz.push_back(p[c] - mean[c]);
    }
    types.insert(types.end(), m.elements.begin(), m.elements.end());
    target.push_back((m.energy - mean_) / spread_);
    energy.push_back(m.energy);
  }
  const auto b = static_cast<int64_t>(rows.size());
  const int64_t n = static_cast<int64_t>(types.size()) / b;
  return {{Tensor::from(xyz, {b, n, 3}), Tensor::from(types, {b, n}), Tensor::from(target, {b, 1}),
           Tensor::from(energy, {b, 1})},
          b,
          rows};
}

Fitted fit(const std::vector<Molecule>& train) {
  double sum = 0, square = 0;
  for (const Molecule& m : train) sum += m.energy;
  const double mean = sum / static_cast<double>(train.size());
  for (const Molecule& m : train) square += (m.energy - mean) * (m.energy - mean);
  const double spread = std::sqrt(square / static_cast<double>(train.size() - 1));
  return {{"mean", number_text(mean)}, {"spread", number_text(spread)}};
}

Task make_molecules(const TaskConfig& config, const OptionReader&) {
  const auto data = std::make_shared<const Data>();
  Task task;
  task.fitted = config.fitted.empty() ? fit(data->splits.train) : config.fitted;
  const double mean = fitted_number(task.fitted, "mean", "molecules", "energies");
  const double spread = fitted_number(task.fitted, "spread", "molecules", "energies");
  ModelConfig network = config.model;
  network.outputs = 1;
  network.output_name = "energy";
  for (const OptionInfo& option : model_info(network.name).options) {
    // The smallest molecules have five atoms.
    if (option.name == "k") network.options.try_emplace("k", "4");
    if (option.name == "types") network.options.try_emplace("types", str(kMoleculeElements));
  }
  task.model = make_model(network);
  require_inputs(task.model, molecule_slots(), "molecules");
  task.source = [data, mean, spread](const SourceRequest& request) {
    return std::make_shared<MoleculeSource>(data, mean, spread, request);
  };
  task.data = [data] {
    const MoleculeSplits& s = data->splits;
    const auto count = [](const std::vector<Molecule>& v) {
      return static_cast<int64_t>(v.size());
    };
    return DataFacts{
        "embedded",          "embedded molecules: H, C, N, O, 5 to 9 atoms, Morse energies",
        s.content_hash,      count(s.train),
        count(s.validation), count(s.test)};
  };
  task.objective = [model = task.model](const Tensors& buffers, const Batch& batch,
                                        const ForwardOptions& mode) {
    Loss loss{{"mse"}, [target = batch.tensors[2]](const Tensors& outputs) {
                return Tensors{basin::mean(square(outputs.front() - target))};
              }};
    const auto inputs = batch.tensors.begin();
    return supervised(model, buffers,
                      Tensors(inputs, inputs + static_cast<std::ptrdiff_t>(model.inputs.size())),
                      mode, std::move(loss), batch.examples);
  };
  task.predictions = [mean, spread](const Tensors& outputs, const Batch&) {
    return Tensors{scale(outputs.front().to(DType::f64), spread) + mean};
  };
  task.metrics = regression_metrics("eV");
  task.meter = regression_meter;
  task.train_metrics = regression_metrics("eV");
  task.train_meter = regression_meter;
  task.likelihood = Likelihood::gaussian;
  task.example = "molecule";
  return task;
}

}  // namespace

void register_molecules() {
  TaskInfo info;
  info.name = "molecules";
  info.summary = "energies of small procedural molecules, a regression without download";
  info.models = {"egnn"};
  info.make = make_molecules;
  register_task(std::move(info));
}

}  // namespace basin
