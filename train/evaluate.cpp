// The loop over the batches of a split. Predictions go to the host before they are counted.
#include "basin/train/evaluate.h"

#include <algorithm>

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
                                   const std::function<bool()>& stop,
                                   const std::shared_ptr<Communicator>& shared) {
  Communicator& processes = *shared;
  const std::unique_ptr<Meter> meter = task.meter();
  const int64_t rank = processes.rank(), size = processes.size();
  Evaluation out;
  for (int64_t begin = 0; begin < source.batches(); begin += size) {
    if (stop && stop()) return std::nullopt;
    const int64_t end = std::min(begin + size, source.batches());
    if (rank > 0) {
      if (begin + rank >= end) continue;
      const Batch own = source.batch(0, begin + rank);
      send_tensors(processes, predict(task, state, own), 0);
      continue;
    }
    for (int64_t i = begin; i < end; ++i) {
      const Batch batch = source.batch(0, i);
      meter->add(batch, i == begin ? predict(task, state, batch)
                                   : receive_tensors(processes, static_cast<int>(i - begin)));
      out.examples += batch.examples;
    }
  }
  std::vector<double> found =
      rank == 0 ? meter->result() : std::vector<double>(task.metrics.size());
  found.push_back(static_cast<double>(out.examples));
  processes.broadcast({reinterpret_cast<uint8_t*>(found.data()), found.size() * sizeof(double)}, 0);
  out.examples = static_cast<int64_t>(found.back());
  found.pop_back();
  out.values = std::move(found);
  return out;
}

}  // namespace basin
