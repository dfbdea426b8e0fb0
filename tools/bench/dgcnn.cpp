// Case dgcnn: DGCNN, preset official (k = 20), 40 classes. With E = B N k edges and R = B N rows:
//   edge convolution in -> out: 2 E (2 in) out naive; split before the gathering 2 R in (2 out)
//   its neighbours: 2 B N^2 in in both counts, and nothing backward
//   embedding 512 -> 1024 on R rows and the classifier on B: the same in both (its mean over the
//   points needs every element)
#include <string>

#include "basin/tools/bench/network.h"

namespace basin::tools {
namespace {

Counts count_dgcnn(const Model& model, const Batch& batch) {
  const Shape& cloud = batch.tensors.front().shape();  // [B, N, 3]
  const auto b = static_cast<double>(cloud[0]), n = static_cast<double>(cloud[1]);
  const double rows = b * n, edges = rows * static_cast<double>(integer_option(model, "k"));
  Counts out;
  for (const ParamSpec& p : model.layout.params()) {
    if (p.shape.rank() != 2) continue;
    const auto outputs = static_cast<double>(p.shape[0]);
    const auto inputs = static_cast<double>(p.shape[1]);
    const bool per_edge = p.reference_shape.rank() == 4;  // a 2-D convolution in the reference code
    const bool per_point = p.reference_shape.rank() == 3;
    if (!per_edge) {
      out.map(per_point ? rows : b, inputs, outputs);
      continue;
    }
    out.add(2 * edges * inputs * outputs, 2 * rows * inputs * outputs);
    const double distances = 2 * rows * n * inputs / 2;
    out.add_parts(distances, 0, distances, 0);
  }
  return out;
}

}  // namespace

void run_dgcnn(const BenchOptions& options, BenchReport& report) {
  run_network({"DGCNN", "dgcnn", "official", 4, count_dgcnn}, options, report);
}

}  // namespace basin::tools
