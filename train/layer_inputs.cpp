// Gram matrices of the inputs of every layer, from the products on a tape.
#include "basin/train/layer_inputs.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "basin/autograd/tape.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

constexpr int64_t kRows = 4096;  // in f64 at a time

// The same function without fused ops, which hide their products.
Model plain_model(const Model& model) {
  const auto fused = model.options.find("fused");
  if (fused == model.options.end()) return model;
  ModelConfig config{model.name, model.preset, model.outputs, model.options, model.output_name};
  config.options["fused"] = "false";
  return make_model(config);
}

void add_gram(const Tensor& x, Tensor& gram) {  // x [.., in]
  const int64_t in = x.size(-1), rows = in == 0 ? 0 : x.numel() / in;
  const Tensor flat = x.detach().view({rows, in});
  for (int64_t begin = 0; begin < rows; begin += kRows) {
    const Tensor part = slice(flat, 0, begin, std::min(begin + kRows, rows)).to(DType::f64);
    const Tensor product = matmul(part, part, true, false);
    gram = gram.defined() ? gram + product : product;
  }
}

double stable_rank(const Tensor& gram) {
  const int64_t n = gram.size(0);
  double trace = 0;
  for (int64_t i = 0; i < n; ++i) trace += gram.at(i * n + i);
  if (!std::isfinite(trace) || trace <= 0) return NAN;
  return trace / SingularValues::cpu(gram).at(0);
}

}  // namespace

std::vector<double> input_stable_ranks(const Model& model, const ModelState& state,
                                       const std::vector<Tensors>& batches) {
  const Model plain = plain_model(model);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  std::map<int, Tensor> grams;  // by parameter
  for (const Tensors& inputs : batches) {
    const Tape tape = record(
        [&](const Tensors& p) {
          return plain.forward(p, buffers, inputs, ForwardOptions::evaluation()).outputs;
        },
        params);
    for (size_t n = 0; n < tape.path.size(); ++n) {
      const Node& node = *tape.path[n];
      if (node.op->name() != "matmul") continue;
      const int weight = tape.edges[static_cast<size_t>(tape.first_edge[n]) + 1];
      if (weight < 0 || weight >= static_cast<int>(params.size())) continue;
      // x w^T: the last axes agree. Of a table its rows are picked.
      const Tensor &x = node.input_meta(0), &w = node.input_meta(1);
      if (state.params[static_cast<size_t>(weight)].role == Role::embedding) continue;
      if (w.rank() != 2 || x.size(-1) != w.size(1)) continue;
      add_gram(node.input(0), grams[weight]);
    }
  }
  std::vector<double> out(params.size(), NAN);
  for (const auto& [weight, gram] : grams) out[static_cast<size_t>(weight)] = stable_rank(gram);
  return out;
}

}  // namespace basin
