// A training step in parts: the microbatches of this process one after the other, then the sums
// over all processes. Whatever is summed is weighted by its share of the examples first and then
// added in the order of the microbatches, so that the bits do not depend on who computed which.
#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/kernels/clip.h"
#include "basin/kernels/launch.h"
#include "basin/optim/clip.h"
#include "basin/train/microbatch.h"
#include "basin/train/step.h"

namespace basin {
namespace {

double sum_of_squares(const Tensors& grads, Tensor& squares) {
  squares = Tensor::empty({static_cast<int64_t>(grads.size())}, DType::f64, grads.front().device());
  launch<SquareSums>(grads.front().device(), grads, squares);
  double total = 0;
  for (const double s : squares.to_vector<double>()) total += s;
  return total;
}

}  // namespace

TrainStep::InParts TrainStep::over_parts(const Tensors& values, int64_t step, bool with_grads) {
  Communicator& processes = *options_.processes;
  const int64_t parts = options_.microbatches, each = parts / processes.size();
  OrderedSum sum(processes);
  std::vector<double> numbers;  // per microbatch: its size, whether it is finite, loss, terms
  std::vector<Tensors> outputs;
  size_t terms = 0;
  for (int64_t part = processes.rank() * each; part < (processes.rank() + 1) * each; ++part) {
    const Batch own = microbatch_of(task_, batch_, options_.slots, part, parts).to(device_);
    const double share = static_cast<double>(own.examples) / static_cast<double>(batch_.examples);
    const Objective asked = task_.objective(
        state_.buffers.values(), own,
        ForwardOptions::training(options_.seed, static_cast<uint64_t>(step * parts + part)));
    if (!with_grads) {
      const double loss = training_loss(asked)(values).front().item();
      numbers.insert(numbers.end(), {share, 1.0, loss});
      continue;
    }
    ValueGrad result = value_and_grad(training_loss(asked))(values);
    const double loss = result.value.item();
    const LossParts all = parts_of(asked, result.aux);
    for (size_t i = 0; i < result.grads.size(); ++i) {
      Tensor& g = result.grads[i];
      g = g.defined() ? scale(g, share) : Tensor::zeros(values[i].shape(), dtype_, device_);
    }
    Tensor squares;
    const bool finite = std::isfinite(loss) && std::isfinite(sum_of_squares(result.grads, squares));
    numbers.insert(numbers.end(), {share, finite ? 1.0 : 0.0, loss});
    for (const Tensor& t : all.terms) numbers.push_back(t.item());
    terms = all.terms.size();
    term_names_ = asked.term_names.size() > 1 ? asked.term_names : std::vector<std::string>{};
    if (task_.train_meter) outputs.push_back(all.outputs);
    Tensors weighted = std::move(result.grads);
    for (const Tensor& t : all.batch_statistics) weighted.push_back(scale(t, share));
    sum.add(std::move(weighted));
  }
  InParts out;
  const std::vector<double> told = gathered(processes, numbers);
  out.terms.resize(terms);
  out.first_bad = -1;
  const size_t columns = 3 + terms;
  for (size_t part = 0; part < static_cast<size_t>(parts); ++part) {
    const double* row = told.data() + part * columns;
    out.loss += row[0] * row[2];
    for (size_t t = 0; t < terms; ++t) out.terms[t] += row[0] * row[3 + t];
    if (row[1] == 0 && out.first_bad < 0) out.first_bad = static_cast<int64_t>(part);
  }
  out.first_bad = std::max<int64_t>(out.first_bad, 0);
  if (!with_grads) return out;
  out.grads = sum.result();
  const auto behind = out.grads.begin() + static_cast<std::ptrdiff_t>(values.size());
  out.batch_statistics.assign(behind, out.grads.end());
  out.grads.erase(behind, out.grads.end());
  if (task_.train_meter) out.outputs = joined_outputs(outputs);
  return out;
}

// Of all microbatches, on rank 0; of the others none.
Tensors TrainStep::joined_outputs(const std::vector<Tensors>& own) const {
  Communicator& processes = *options_.processes;
  std::vector<Tensors> all;
  for (const Tensors& part : own) {
    Tensors& here = all.emplace_back();
    for (const Tensor& t : part) here.push_back(t.to(Device::cpu));
    if (processes.rank() > 0) send_tensors(processes, here, 0);
  }
  if (processes.rank() > 0) return {};
  for (int rank = 1; rank < processes.size(); ++rank) {
    for (size_t i = 0; i < own.size(); ++i) all.push_back(receive_tensors(processes, rank));
  }
  Tensors out;
  for (size_t i = 0; i < all.front().size(); ++i) {
    Tensors column;
    for (const Tensors& part : all) column.push_back(part[i]);
    out.push_back(concat(column, 0));
  }
  return out;
}

void TrainStep::start_in_parts(int64_t step, double lr_scale) {
  optimizer_.look_ahead(state_.params);
  evaluations_ = 1;
  InParts sums = over_parts(state_.params.values(), step, true);
  Tensor squares;
  done_ = {};
  done_.loss = sums.loss;
  done_.norm = std::sqrt(sum_of_squares(sums.grads, squares));
  done_.terms = sums.terms;
  done_.term_names = term_names_;
  done_.outputs = std::move(sums.outputs);
  done_.microbatch = sums.first_bad;
  if (!done_.finite()) {
    done_.squares = squares.to_vector<double>();
    return;
  }
  const auto clipped = [this](Tensors grads, const Tensor& sums_of_squares) {
    return options_.clip > 0 ? clip_by_sums(grads, sums_of_squares, options_.clip)
                             : std::move(grads);
  };
  StepInfo info{step, done_.loss, lr_scale};
  if (optimizer_.loss_use() != LossUse::given) {
    info.evaluate = [this, step, clipped](const Tensors& values, bool with_grads) -> LossAndGrads {
      ++evaluations_;
      InParts there = over_parts(values, step, with_grads);
      if (!with_grads) return {there.loss, {}};
      Tensor there_squares;
      sum_of_squares(there.grads, there_squares);
      return {there.loss, clipped(std::move(there.grads), there_squares)};
    };
  }
  optimizer_.step(state_.params, clipped(std::move(sums.grads), squares), info);
  done_.evaluations = evaluations_;
  if (sums.batch_statistics.empty()) return;
  update_running_stats(state_.buffers, sums.batch_statistics,
                       task_.model.bn_momentum(step * options_.batch));
}

}  // namespace basin
