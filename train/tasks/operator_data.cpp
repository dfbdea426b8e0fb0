// Pairs of functions, or an equation for every function, as a task.
#include "basin/train/tasks/detail/operator_data.h"

#include <algorithm>

#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/train/meters.h"
#include "basin/train/microbatch.h"
#include "basin/train/pde.h"

namespace basin {
namespace {

using DataPtr = std::shared_ptr<const OperatorData>;

// No rows stay no rows.
Tensor rows_of(const Tensor& t, const std::vector<int64_t>& rows) {
  if (!t.defined() || t.size(0) == 0) return t;
  const std::vector<int32_t> index(rows.begin(), rows.end());
  return gather(t, Tensor::from(index, {std::ssize(rows)}));
}

bool has_extra(const OperatorData& data) { return data.train.extra.defined(); }

// Where the points of a term stand in a batch.
size_t points_slot(const OperatorData& data, size_t term) {
  return term == 0 ? 1 : 1 + (has_extra(data) ? 1 : 0) + term;
}

Tensor points_of(const OperatorData& data, size_t term, uint64_t seed, int64_t draw) {
  const auto& drawn = data.terms[term].points;
  return drawn ? drawn(seed, draw) : data.points;
}

class OperatorSource : public Source {
 public:
  OperatorSource(DataPtr data, std::string hash, const SourceRequest& request, uint64_t seed)
      : data_(std::move(data)), hash_(std::move(hash)), request_(request), seed_(seed) {
    check(request.split != Split::validation, "operators: there is no validation split");
    slots_ = {{"functions", Rows::example, SlotKind::feature},
              {"points", Rows::example, SlotKind::feature}};
    if (has_extra(*data_)) slots_.push_back({"extra", Rows::example, SlotKind::target});
    for (size_t t = 1; t < data_->terms.size(); ++t) {
      slots_.push_back({data_->terms[t].name + "_points", Rows::example, SlotKind::target});
    }
    slots_.push_back({"truth", Rows::example, SlotKind::target});
    rows_ = drawn_rows(examples_of().functions.size(0), request.limit, request.seed);
    batch_ = std::min<int64_t>(request.batch, std::ssize(rows_));
  }
  const std::vector<Slot>& slots() const override { return slots_; }
  int64_t examples() const override { return std::ssize(rows_); }
  int64_t batches() const override {
    return request_.training ? examples() / batch_ : (examples() + batch_ - 1) / batch_;
  }
  Batch batch(int64_t epoch, int64_t index) const override;
  std::string description() const override {
    return str(rows_.size(), " ", name_of(request_.split), " functions");
  }
  std::string content_hash() const override { return hash_; }

 private:
  const OperatorExamples& examples_of() const {
    return request_.split == Split::test ? data_->test : data_->train;
  }

  DataPtr data_;
  std::string hash_;
  SourceRequest request_;
  uint64_t seed_;  // of the points
  std::vector<Slot> slots_;
  std::vector<int64_t> rows_;
  int64_t batch_ = 1;
};

Batch OperatorSource::batch(int64_t epoch, int64_t index) const {
  check(epoch >= 0 && index >= 0 && index < batches(), "operators: expected a batch from 0 to ",
        batches() - 1, ", got ", index, " of epoch ", epoch);
  std::vector<int64_t> order = rows_;
  if (request_.training) {
    Rng(request_.seed, stream_id("operator order", static_cast<uint64_t>(epoch)))
        .shuffle(std::span<int64_t>(order));
  }
  const auto first = order.begin() + index * batch_;
  const auto count = std::min(batch_, examples() - index * batch_);
  std::vector<int64_t> rows(first, first + count);
  const OperatorExamples& all = examples_of();
  const bool known = all.truth.size(0) > 0;
  const int64_t step = request_.training ? epoch * batches() + index : 0,
                draw = data_->resample > 0 ? step / data_->resample : 0;
  Batch out{
      {rows_of(all.functions, rows), known ? data_->points : points_of(*data_, 0, seed_, draw)},
      count,
      {}};
  if (all.extra.defined()) out.tensors.push_back(rows_of(all.extra, rows));
  for (size_t t = 1; t < data_->terms.size(); ++t) {
    out.tensors.push_back(known ? Tensor::zeros({0, data_->points.size(1)}, DType::f64)
                                : points_of(*data_, t, seed_, draw));
  }
  out.tensors.push_back(rows_of(all.truth, rows));
  out.rows = std::move(rows);
  return out;
}

// Functions, what goes with them and the truth are cut; the points are everybody's.
Batch microbatch_of_functions(const OperatorData& data, const Batch& batch, int64_t index,
                              int64_t parts) {
  const PartRange range = part_range(batch.examples, index, parts);
  Batch out = batch;
  out.examples = range.count();
  out.rows.assign(batch.rows.begin() + range.begin, batch.rows.begin() + range.end);
  const auto cut = [&](Tensor& t) {
    if (t.size(0) > 0) t = slice(t, 0, range.begin, range.end);
  };
  cut(out.tensors.front());
  if (has_extra(data)) cut(out.tensors[2]);
  cut(out.tensors.back());
  return out;
}

Objective collocation(const DataPtr& data, const Model& model, const Tensors& buffers,
                      const Batch& batch, const ForwardOptions& mode) {
  Objective out;
  out.examples = batch.examples;
  out.n_outputs = data->terms.size();
  for (const OperatorTerm& t : data->terms) out.term_names.push_back(t.name);
  out.outputs = [=, in = batch.tensors](const Tensors& params) {
    const Tensor extra = has_extra(*data) ? in[2] : Tensor{};
    Tensors residuals;
    for (size_t t = 0; t < data->terms.size(); ++t) {
      const OperatorTerm& term = data->terms[t];
      const Jet n =
          jet_of(model, params, buffers, {in[0], in[points_slot(*data, t)]}, term.orders, mode);
      residuals.push_back(term.residual(n, in[0], extra));
    }
    return residuals;
  };
  std::vector<double> weights;
  for (const OperatorTerm& t : data->terms) weights.push_back(t.weight);
  out.terms = mean_squares(std::move(weights));
  return out;
}

Objective objective_of(const DataPtr& data, const Model& model, const Tensors& buffers,
                       const Batch& batch, const ForwardOptions& mode) {
  const Tensor truth = batch.tensors.back();
  if (truth.size(0) == 0) return collocation(data, model, buffers, batch, mode);
  Objective out;
  out.examples = batch.examples;
  const Tensors inputs{batch.tensors[0], batch.tensors[1]};
  const Tensor extra = has_extra(*data) ? batch.tensors[2] : Tensor{};
  out.term_names = {"mse"};
  out.outputs = [=](const Tensors& params) {
    const Tensor n = model.forward(params, buffers, inputs, mode).outputs.front();
    return Tensors{data->solution ? data->solution(n, extra) : n};
  };
  out.terms = [truth](const Tensors& outputs) {
    return Tensors{mean(square(outputs.front() - truth))};
  };
  return out;
}

}  // namespace

Task operator_task(const TaskConfig& config, OperatorData made) {
  const auto data = std::make_shared<const OperatorData>(std::move(made));
  check(data->train.truth.size(0) > 0 || !data->terms.empty(),
        "operators: the training functions need a truth, or terms in its place");
  Tensors all{data->points};
  for (const OperatorExamples* e : {&data->train, &data->test}) {
    for (const Tensor& t : {e->functions, e->extra, e->truth}) {
      if (t.defined()) all.push_back(t);
    }
  }
  for (size_t t = 0; t < data->terms.size(); ++t) {
    if (data->terms[t].points) all.push_back(points_of(*data, t, config.seed, 0));
  }
  const std::string hash = content_hash_of(all);
  Task task;
  ModelConfig network = config.model;
  network.outputs = 1;
  network.output_name = "u";
  network.options.try_emplace("sensors", str(data->train.functions.size(1)));
  network.options.try_emplace("coordinates", str(data->points.size(1)));
  // Second derivatives of ReLU networks are zero.
  if (!data->terms.empty()) network.options.try_emplace("activation", "tanh");
  task.model = make_model(network);
  task.source = [data, hash, seed = config.seed](const SourceRequest& r) {
    return std::make_shared<OperatorSource>(data, hash, r, seed);
  };
  task.data = [data, hash] {
    return DataFacts{"generated", data->description,           hash, data->train.functions.size(0),
                     0,           data->test.functions.size(0)};
  };
  task.objective = [data, model = task.model](const Tensors& buffers, const Batch& batch,
                                              const ForwardOptions& mode) {
    return objective_of(data, model, buffers, batch, mode);
  };
  task.microbatch = [data](const Batch& batch, int64_t index, int64_t parts) {
    return microbatch_of_functions(*data, batch, index, parts);
  };
  task.metrics = relative_error_metrics();
  task.meter = relative_error_by_example_meter;
  task.likelihood = Likelihood::gaussian;
  task.example = "function";
  return task;
}

std::vector<OptionInfo> operator_options(int64_t train, int64_t test) {
  return {{"train", str(train), "training functions", OptionKind::integer},
          {"test", str(test), "test functions", OptionKind::integer},
          {"data_seed", "0", "seed of the functions", OptionKind::integer}};
}

OperatorSpans operator_spans(const OptionReader& options) {
  const int64_t train = options.integer_in("train", 1, 1 << 24);
  const auto seed = static_cast<uint64_t>(options.integer_in("data_seed", 0, 1 << 30));
  return {{seed, 0, train}, {seed, train, options.integer_in("test", 1, 1 << 24)}};
}

Tensor places(const Tensor& x, const Tensor& t) {
  std::vector<double> out;
  for (int64_t j = 0; j < t.numel(); ++j) {
    for (int64_t i = 0; i < x.numel(); ++i) out.insert(out.end(), {x.at(i), t.at(j)});
  }
  return Tensor::from(out, {std::ssize(out) / 2, 2});
}

}  // namespace basin
