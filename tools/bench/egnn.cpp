// Case egnn: EGNN, preset cloud (d = 64, 4 layers, k = 20), 40 classes. With E = B N k edges and
// R = B N rows, per layer:
//   phi_e: 2 E ((2 d + 1) d + d^2) naive; its first map split before the gathering leaves
//          2 R (2 d) d + 2 E (d + d^2)
//   phi_x: 2 E (d^2 + d), not in the last layer; phi_h: 2 R (2 d d + d^2); the same in both
// and once 2 B N^2 3 for the neighbours, with nothing backward. The reduced count leaves out that
// the backward pass may compute the messages again instead of keeping them.
#include <string>

#include "basin/tools/bench/network.h"

namespace basin::tools {
namespace {

bool has(const std::string& name, const char* part) { return name.find(part) != std::string::npos; }

Counts count_egnn(const Model& model, const Batch& batch) {
  const Shape& cloud = batch.tensors.front().shape();  // [B, N, 3]
  const auto b = static_cast<double>(cloud[0]), n = static_cast<double>(cloud[1]);
  const double rows = b * n, edges = rows * static_cast<double>(integer_option(model, "k"));
  // The last layer moves coordinates that no logit reads; nobody computes them.
  const std::string unused = str("gcl_", integer_option(model, "layers") - 1, ".coord_mlp");
  Counts out;
  const double distances = 2 * rows * n * 3;
  out.add_parts(distances, 0, distances, 0);
  for (const ParamSpec& p : model.layout.params()) {
    if (has(p.name, "bias") || has(p.name, unused.c_str())) continue;
    const auto outputs = static_cast<double>(p.shape.rank() == 2 ? p.shape[0] : 1);
    const double inputs = static_cast<double>(p.shape.numel()) / outputs;
    if (has(p.name, "edge_mlp.0")) {
      const double d = (inputs - 1) / 2;
      out.add(2 * edges * inputs * outputs, 2 * rows * 2 * d * outputs + 2 * edges * outputs);
    } else if (has(p.name, "edge_mlp") || has(p.name, "coord_mlp") || has(p.name, "att_mlp")) {
      out.map(edges, inputs, outputs);
    } else {
      out.map(has(p.name, "node_mlp") || has(p.name, "embedding_in") ? rows : b, inputs, outputs);
    }
  }
  return out;
}

}  // namespace

void run_egnn(const BenchOptions& options, BenchReport& report) {
  run_network({"EGNN", "egnn", "cloud", 4, count_egnn}, options, report);
}

}  // namespace basin::tools
