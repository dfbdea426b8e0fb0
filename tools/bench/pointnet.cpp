// Case pointnet: PointNet, preset port, 40 classes, both T-Nets. The layers under a maximum, 128 ->
// 1024, are counted reduced: their forward product stays, the Gram matrix of their input is added,
// 2 rows in^2, and both backward products become one of 2 rows in^2 and a sparse part of 4 B in out
// (the maximum moves before the activation, the batch norm's statistics before the product).
#include <algorithm>

#include "basin/tools/bench/network.h"

namespace basin::tools {
namespace {

Counts count_pointnet(const Model& model, const Batch& batch) {
  int64_t widest = 0;
  for (const ParamSpec& p : model.layout.params()) {
    if (p.reference_shape.rank() == 3) widest = std::max(widest, p.shape[0]);
  }
  const Shape& cloud = batch.tensors.front().shape();  // [B, N, 3]
  const auto b = static_cast<double>(cloud[0]);
  const double rows = b * static_cast<double>(cloud[1]);
  Counts out;
  for (const ParamSpec& p : model.layout.params()) {
    if (p.shape.rank() != 2) continue;
    const auto outputs = static_cast<double>(p.shape[0]);
    const auto inputs = static_cast<double>(p.shape[1]);
    const bool per_point = p.reference_shape.rank() == 3;  // a convolution in the reference code
    if (!per_point || p.shape[0] != widest) {
      out.map(per_point ? rows : b, inputs, outputs);
      continue;
    }
    const double product = 2 * rows * inputs * outputs, gram = 2 * rows * inputs * inputs;
    out.add_parts(product, 2 * product, product + gram, gram + 4 * b * outputs * inputs);
  }
  out.map(rows, 3, 3);  // the two learned transforms
  out.map(rows, 64, 64);
  return out;
}

}  // namespace

void run_pointnet(const BenchOptions& options, BenchReport& report) {
  run_network({"PointNet", "pointnet", "port", 8, count_pointnet}, options, report);
}

}  // namespace basin::tools
