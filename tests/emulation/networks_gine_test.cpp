// GINE on the device against the CPU: outputs in evaluation, loss, gradients and H v with batch
// statistics, f64 and f32, and the same bits every time.
#include <doctest/doctest.h>

#include <cstdio>

#include "basin/tests/emulation/compare.h"
#include "basin/tests/models/gine_graphs.h"

using namespace basin;

namespace {

Tensors measured(const GineConfig& config, Device device, DType dtype) {
  const Model model = make_gine(config);
  const ModelState state = init_model(model, 1, dtype).to(device);
  Tensors inputs;
  for (const Tensor& x : testing::random_graphs(5, config, 3)) {
    inputs.push_back((is_float(x.dtype()) ? x.to(dtype) : x).to(device));
  }
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  Tensors out{model.forward(params, buffers, inputs, ForwardOptions::evaluation()).outputs[0]};
  const Fn loss = [&](const Tensors& p) {
    const Tensor y = model.forward(p, buffers, inputs, ForwardOptions::training(0, 3)).outputs[0];
    return Tensors{mean(square(y - 0.3))};
  };
  const ValueGrad result = value_and_grad(loss)(params);
  out.push_back(result.value);
  out.insert(out.end(), result.grads.begin(), result.grads.end());
  Rng rng(5, stream_id("networks"));
  Tensors direction;
  for (const Tensor& p : params) {
    direction.push_back(testing::uniform(rng, p.shape()).to(dtype).to(device));
  }
  for (const Tensor& t : linearize(grad(loss), params)(direction)) out.push_back(t);
  return out;
}

// All of a list as one vector: |a - b| / |b|.
double distance(const Tensors& a, const Tensors& b) {
  double gap = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const std::vector<double> p = a[i].to_vector<double>(), q = b[i].to_vector<double>();
    for (size_t k = 0; k < p.size(); ++k) {
      gap += (p[k] - q[k]) * (p[k] - q[k]);
      norm += q[k] * q[k];
    }
  }
  return std::sqrt(gap / norm);
}

void compare_gine_network(const char* name, const GineConfig& config) {
  double differences[2];
  for (const DType dtype : {DType::f64, DType::f32}) {
    const Tensors expected = measured(config, Device::cpu, dtype);
    const Tensors got = measured(config, Device::cuda, dtype);
    const double worst = distance(got, expected);
    CHECK_MESSAGE(worst <= (dtype == DType::f64 ? 1e-11 : 1e-4), name_of(dtype), ": ", worst);
    testing::each_further_run([&] {
      CHECK_MESSAGE(testing::same_values(measured(config, Device::cuda, dtype), got),
                    "the bits differ from run to run");
    });
    differences[dtype == DType::f32] = worst;
  }
  std::printf("network: %s, outputs, gradient and H v, largest difference f64 %.1e, f32 %.1e\n",
              name, differences[0], differences[1]);
}

GineConfig small_gine() {
  GineConfig config;
  config.outputs = 3;
  config.atoms = {4, 3};
  config.bonds = {3, 2};
  config.hidden = 7;
  config.layers = 2;
  return config;
}

}  // namespace

TEST_CASE("emulation network: gine with random walks and dropout gives what the CPU gives") {
  GineConfig config = small_gine();
  config.layer = GineLayer::gelu;
  config.walk_steps = 3;
  config.walk_channels = 2;
  config.head_layers = 1;
  config.dropout = 0.2;
  compare_gine_network("gine, walks", config);
}
TEST_CASE("emulation network: gine with batch norm and all levels gives what the CPU gives") {
  GineConfig config = small_gine();
  config.layer = GineLayer::batch_norm;
  config.readout = GineReadout::levels;
  compare_gine_network("gine, levels", config);
}
