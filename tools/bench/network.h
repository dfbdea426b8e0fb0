// What the cases of networks share: forward, evaluation (with running statistics, without dropout,
// nothing recorded), forward + backward, Adam and Muon (the update alone and the whole step), a
// checkpoint written and read, a step recorded and not where it is asked for (replay.h),
// Hessian-vector products, on random data. A network adds its data, its loss and its operation
// counts, of B clouds of N points with k neighbours or of B graphs:
//   naive:    the textbook's algorithm; a map in -> out on `rows` rows is 2 rows in out forward and
//             twice that backward; an HVP is three gradients in one shot, two per further probe.
//   reduced:  what the algorithm in use has to do, without additions, comparisons and gathers.
// With BenchOptions::export_to a case measures nothing and writes what a peer needs to be the same
// network on the same batch, EXPORT_TO/MODEL.safetensors: the weights under their names, input.SLOT
// and target, and, without dropout, loss [] and gradient.NAME.
#pragma once
#include <string>

#include "basin/models/model.h"
#include "basin/tools/bench/bench.h"
#include "basin/train/task.h"

namespace basin::tools {

class Counts {
 public:
  // A linear map on so many rows, the same in both counts.
  void map(double rows, double inputs, double outputs) { add(2 * rows * inputs * outputs); }
  // Operations of a forward pass, twice as many in the backward pass.
  void add(double flops) { add(flops, flops); }
  void add(double naive, double reduced) { add_parts(naive, 2 * naive, reduced, 2 * reduced); }
  void add_parts(double forward, double backward, double forward_reduced, double backward_reduced);

  Work forward() const { return {forward_, forward_reduced_, 0}; }
  Work gradient() const { return {forward_ + backward_, forward_reduced_ + backward_reduced_, 0}; }

 private:
  double forward_ = 0, backward_ = 0, forward_reduced_ = 0, backward_reduced_ = 0;
};

struct NetworkCase {
  std::string title;  // "PointNet"
  std::string model;  // name in the registry, and of the case
  std::string preset;
  int64_t hvp_batch = 8;
  Counts (*count)(const Model& model, const Batch& batch) = nullptr;

  // Clouds with labels, unless a case says otherwise.
  int64_t outputs = 40;
  // The model's inputs and behind them the target, floats in f32.
  Batch (*data)(int64_t examples, int64_t size) = nullptr;
  Loss (*loss)(const Tensor& target) = nullptr;
  std::vector<std::string> optimizers = {"adam", "muon", "muon_bf16"};
  bool products = false;  // show rates beside that of a large product, too
};

void run_network(const NetworkCase& network, const BenchOptions& options, BenchReport& report);
int64_t integer_option(const Model& model, const std::string& name);  // e.g. its "k"
// The parts of a network that --parts chooses from.
const std::vector<std::string>& network_parts();

}  // namespace basin::tools
