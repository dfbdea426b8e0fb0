// The loop over the batches of a split. Predictions go to the host before they are counted.
#include "basin/train/evaluate.h"

namespace basin {

Tensors predict(const Task& task, const ModelState& state, const Batch& batch) {
  const Tensor& first = state.params[0].value;
  const Batch there = batch.to(first.device()).to(first.dtype());
  const Objective objective =
      task.objective(state.buffers.values(), there, ForwardOptions::evaluation());
  Tensors out = task.predict(outputs_only(objective)(state.params.values()), there);
  for (Tensor& t : out) t = t.to(Device::cpu);
  return out;
}

std::optional<Evaluation> evaluate(const Task& task, const ModelState& state, const Source& source,
                                   const std::function<bool()>& stop) {
  const std::unique_ptr<Meter> meter = task.meter();
  Evaluation out;
  for (int64_t i = 0; i < source.batches(); ++i) {
    if (stop && stop()) return std::nullopt;
    const Batch batch = source.batch(0, i);
    meter->add(batch, predict(task, state, batch));
    out.examples += batch.examples;
  }
  out.values = meter->result();
  return out;
}

}  // namespace basin
