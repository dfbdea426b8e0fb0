// Fixed batches, and the loss, running statistics and representations on them.
#include "basin/train/probe_data.h"

#include <algorithm>

#include "basin/analysis/representation.h"
#include "basin/autograd/ops.h"
#include "basin/nn/layers.h"

namespace basin {
namespace {

ForwardOptions forward_options(NormStatistics statistics) {
  ForwardOptions options = ForwardOptions::evaluation();
  options.batch_statistics = statistics == NormStatistics::batch;
  return options;
}

Tensors model_inputs(const Task& task, const Batch& batch) {
  const size_t count = task.model.inputs.size();
  check(batch.tensors.size() >= count, task.name, ": the model takes ", count,
        " tensors, the batch has ", batch.tensors.size());
  return {batch.tensors.begin(), batch.tensors.begin() + static_cast<std::ptrdiff_t>(count)};
}

// The mean over the nodes of each example.   x [V, ..], owner [V] i32 or i64 -> [examples, C]
Tensor node_mean(const Tensor& x, const Tensor& owner, int64_t examples) {
  const Tensor of = owner.to(DType::i64);
  const int64_t channels = x.numel() / std::max<int64_t>(x.size(0), 1);
  std::vector<double> sums(static_cast<size_t>(examples * channels), 0.0);
  std::vector<double> counts(static_cast<size_t>(examples), 0.0);
  const std::vector<double> values = x.to_vector<double>();
  for (int64_t v = 0; v < x.size(0); ++v) {
    const int64_t example = of.data<int64_t>()[v];
    counts[static_cast<size_t>(example)] += 1;
    for (int64_t c = 0; c < channels; ++c) {
      sums[static_cast<size_t>(example * channels + c)] +=
          values[static_cast<size_t>(v * channels + c)];
    }
  }
  for (size_t i = 0; i < sums.size(); ++i) sums[i] /= counts[i / static_cast<size_t>(channels)];
  return Tensor::from(sums, {examples, channels});
}

const Tensor& owner_of_nodes(const ProbeData& data, const Batch& batch) {
  for (size_t i = 0; i < data.slots.size(); ++i) {
    if (data.slots[i].kind == SlotKind::owner) return batch.tensors[i];
  }
  fail(ErrorKind::usage,
       "representations: a layer has rows per node and no slot of the batch says "
       "whose they are (SlotKind::owner)");
}

// A row per example, in f64.
Tensor rows_of(const Activation& a, const ProbeData& data, const Batch& batch) {
  if (a.rows == Rows::point) return mean_pooled(a.value);
  if (a.rows == Rows::node) return node_mean(a.value, owner_of_nodes(data, batch), batch.examples);
  return a.value.to(DType::f64).view({batch.examples, a.value.numel() / batch.examples});
}

std::vector<Activation> layers_of(const Task& task, const ModelState& state, const Batch& batch) {
  ForwardOptions options = ForwardOptions::evaluation();
  options.keep_activations = true;
  const Batch there = batch.to(state.params[0].value.dtype());
  ForwardResult result = task.model.forward(state.params.values(), state.buffers.values(),
                                            model_inputs(task, there), options);
  std::vector<Activation> out;
  for (Activation& a : result.activations) {
    if (a.rows != Rows::edge) out.push_back(std::move(a));
  }
  for (size_t i = 0; i < result.outputs.size(); ++i) {
    const std::string& name = task.model.output_name;
    out.push_back({i == 0 ? name : str(name, i + 1), result.outputs[i]});
  }
  return out;
}

}  // namespace

NormStatistics norm_statistics_from_name(std::string_view name) {
  if (name == "frozen") return NormStatistics::frozen;
  check(name == "batch", "batch norm: expected frozen or batch, given '", name, "'");
  return NormStatistics::batch;
}

std::string_view name_of(NormStatistics statistics) {
  return statistics == NormStatistics::frozen ? "frozen" : "batch";
}

ProbeData probe_data(const Task& task, Split split, int64_t limit, int64_t batch, uint64_t seed) {
  const auto source = task.source({.split = split, .batch = batch, .limit = limit, .seed = seed});
  ProbeData out;
  out.slots = source->slots();
  for (int64_t i = 0; i < source->batches(); ++i) out.batches.push_back(source->batch(0, i));
  out.examples = source->examples();
  out.description = source->description();
  out.content_hash = source->content_hash();
  return out;
}

std::vector<LossBatch> loss_batches(const Task& task, const ParamList& buffers,
                                    const ProbeData& data, NormStatistics statistics, DType dtype) {
  const Tensors fixed = buffers.to(dtype).values();
  std::vector<LossBatch> out;
  for (const Batch& batch : data.batches) {
    const Objective objective = task.objective(fixed, batch.to(dtype), forward_options(statistics));
    LossBatch b;
    b.examples = batch.examples;
    b.outputs = outputs_only(objective);
    b.loss_of_outputs = loss_of_outputs(objective);
    b.loss = data_loss(objective);
    out.push_back(std::move(b));
  }
  return out;
}

MeanLoss mean_loss(const Task& task, const Tensors& params, const Tensors& buffers,
                   const ProbeData& data, NormStatistics statistics) {
  const std::unique_ptr<Meter> meter = task.meter();
  MeanLoss out;
  for (const Batch& batch : data.batches) {
    const Batch there = batch.to(params.front().dtype());
    const Objective objective = task.objective(buffers, there, forward_options(statistics));
    const Tensors outputs = outputs_only(objective)(params);
    out.loss +=
        loss_of_outputs(objective)(outputs).front().item() * static_cast<double>(batch.examples);
    meter->add(batch, task.predict(outputs, there));
  }
  out.loss /= static_cast<double>(data.examples);
  out.metric = meter->result().front();
  return out;
}

ParamList reestimated_buffers(const Task& task, const Tensors& params, const ParamList& buffers,
                              const ProbeData& data) {
  ParamList out = buffers.clone();
  const Tensors start = out.values();
  double seen = 0;
  for (const Batch& batch : data.batches) {
    const Objective objective = task.objective(start, batch.to(params.front().dtype()),
                                               forward_options(NormStatistics::batch));
    const Tensors all = objective.outputs(params);
    const size_t skipped = objective.n_outputs + (objective.penalty ? 1 : 0);
    update_running_stats(out, {all.begin() + static_cast<std::ptrdiff_t>(skipped), all.end()},
                         1 / ++seen);
  }
  return out;
}

std::vector<Representation> representations(const Task& task, const ModelState& state,
                                            const ProbeData& data) {
  std::vector<Representation> out;
  std::vector<std::vector<double>> rows;
  std::vector<int64_t> columns;
  for (const Batch& batch : data.batches) {
    const std::vector<Activation> layers = layers_of(task, state, batch);
    rows.resize(layers.size());
    for (size_t i = 0; i < layers.size(); ++i) {
      const Tensor value = rows_of(layers[i], data, batch);
      if (out.size() <= i) {
        out.push_back({layers[i].name, {}, layers[i].rows != Rows::example});
        columns.push_back(value.size(1));
      }
      check(value.size(1) == columns[i], "representations: layer ", layers[i].name, " has ",
            value.size(1), " values per example in one batch and ", columns[i], " in another");
      const std::vector<double> v = value.to_vector<double>();
      rows[i].insert(rows[i].end(), v.begin(), v.end());
    }
  }
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].rows = Tensor::from(rows[i], {data.examples, columns[i]});
  }
  return out;
}

}  // namespace basin
