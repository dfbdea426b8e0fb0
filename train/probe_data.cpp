// The fixed data of a probe: see probe_data.h.
#include "basin/train/probe_data.h"

#include <algorithm>
#include <numeric>

#include "basin/analysis/representation.h"
#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/train/evaluate.h"

namespace basin {
namespace {

ForwardOptions forward_options(NormStatistics statistics) {
  ForwardOptions options = ForwardOptions::evaluation();
  options.batch_statistics = statistics == NormStatistics::batch;
  return options;
}

std::vector<int64_t> chosen_rows(int64_t available, int64_t wanted, uint64_t seed) {
  std::vector<int64_t> rows(static_cast<size_t>(available));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  if (wanted <= 0 || wanted >= available) return rows;
  Rng rng(seed, stream_id("probe shapes"));
  rng.shuffle(std::span<int64_t>(rows));
  rows.resize(static_cast<size_t>(wanted));
  std::sort(rows.begin(), rows.end());
  return rows;
}

// Which activations grow with the cloud; a T-Net's [B, 64, 64] does not, whatever the shape says.
bool per_point(const Tensor& activation, int64_t points) {
  return activation.rank() == 3 && activation.size(1) == points;
}

void add_rows(std::vector<double>& out, const Tensor& activation, bool pooled) {
  const std::vector<double> v = (pooled ? mean_pooled(activation) : activation).to_vector<double>();
  out.insert(out.end(), v.begin(), v.end());
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

ProbeData probe_data(const PointCloudSet& set, const std::string& split, const TrainConfig& train,
                     int64_t shapes, int64_t batch, uint64_t seed) {
  const std::vector<int64_t> rows = chosen_rows(set.size(), shapes, seed);
  const PointCloudSet part = subset(set, rows);
  const PointCloudLoader loader(
      part, evaluation_options(batch, train.points, train.pose.test, train.up, train.seed));
  ProbeData out;
  for (int64_t i = 0; i < loader.batches_per_epoch(); ++i)
    out.batches.push_back(loader.batch(0, i));
  out.examples = part.size();
  out.description = str(part.size(), " of ", set.size(), " ", split, " shapes",
                        part.size() < set.size() ? str(" (seed ", seed, ")") : std::string(), ", ",
                        loader.points(), " points");
  return out;
}

std::vector<LossBatch> loss_batches(const Model& model, const ParamList& buffers,
                                    const ProbeData& data, NormStatistics statistics,
                                    double smoothing, DType dtype) {
  const Tensors fixed = buffers.to(dtype).values();
  const ForwardOptions options = forward_options(statistics);
  std::vector<LossBatch> out;
  for (const PointBatch& batch : data.batches) {
    const Tensor points = batch.points.to(dtype);
    LossBatch b;
    b.examples = points.size(0);
    b.outputs = [forward = model.forward, fixed, points, options](const Tensors& params) {
      return Tensors{forward(params, fixed, points, options).logits};
    };
    b.loss_of_outputs = [labels = batch.labels, smoothing](const Tensors& outputs) {
      return Tensors{cross_entropy(outputs.front(), labels, smoothing)};
    };
    b.loss = [outputs = b.outputs, loss = b.loss_of_outputs](const Tensors& params) {
      return loss(outputs(params));
    };
    out.push_back(std::move(b));
  }
  return out;
}

MeanLoss mean_loss(const Model& model, const Tensors& params, const Tensors& buffers,
                   const ProbeData& data, NormStatistics statistics, double smoothing) {
  const ForwardOptions options = forward_options(statistics);
  MeanLoss out;
  int64_t correct = 0;
  for (const PointBatch& batch : data.batches) {
    const Tensor points = batch.points.to(params.front().dtype());
    const Tensor logits = model.forward(params, buffers, points, options).logits;
    out.loss +=
        cross_entropy(logits, batch.labels, smoothing).item() * static_cast<double>(points.size(0));
    Tally tally(model.classes);
    tally.add(logits, batch.labels);
    correct += tally.correct();
  }
  out.loss /= static_cast<double>(data.examples);
  out.accuracy = static_cast<double>(correct) / static_cast<double>(data.examples);
  return out;
}

ParamList reestimated_buffers(const Model& model, const Tensors& params, const ParamList& buffers,
                              const ProbeData& data) {
  ParamList out = buffers.clone();
  const Tensors start = out.values();
  double seen = 0;
  for (const PointBatch& batch : data.batches) {
    const Tensor points = batch.points.to(params.front().dtype());
    const ForwardResult result =
        model.forward(params, start, points, forward_options(NormStatistics::batch));
    update_running_stats(out, result.batch_stats, 1 / ++seen);
  }
  return out;
}

std::vector<Representation> representations(const Model& model, const ModelState& state,
                                            const ProbeData& data) {
  ForwardOptions options = ForwardOptions::evaluation();
  options.keep_activations = true;
  std::vector<Representation> out;
  std::vector<std::vector<double>> rows;
  std::vector<int64_t> columns;
  for (const PointBatch& batch : data.batches) {
    const Tensor points = batch.points.to(state.params[0].value.dtype());
    const ForwardResult result =
        model.forward(state.params.values(), state.buffers.values(), points, options);
    auto layers = result.activations;
    layers.emplace_back("logits", result.logits);
    rows.resize(layers.size());
    for (size_t i = 0; i < layers.size(); ++i) {
      const auto& [name, value] = layers[i];
      const bool transform = name.ends_with("_transform");
      const bool pooled = !transform && per_point(value, points.size(1));
      if (out.size() <= i) {
        out.push_back({name, {}, pooled});
        columns.push_back(pooled ? value.size(2) : value.numel() / value.size(0));
      }
      add_rows(rows[i], value, pooled);
    }
  }
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].rows = Tensor::from(rows[i], {data.examples, columns[i]});
  }
  return out;
}

}  // namespace basin
