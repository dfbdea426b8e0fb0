// The networks on the device against the CPU: logits in evaluation, loss, gradients and H v in
// training, f64 and f32, and the same bits every time.
#include <doctest/doctest.h>

#include <cstdio>

#include "basin/autograd/transform.h"
#include "basin/models/model.h"
#include "basin/tests/emulation/compare.h"

using namespace basin;
using testing::uniform;

namespace {

struct Case {
  const char* name;
  std::map<std::string, std::string> options;
};

// Three clouds of 16 points, or three molecules, one of them an atom.
Tensors inputs_of(const Model& model, DType dtype, Device device) {
  Rng rng(5, stream_id("networks"));
  if (model.inputs.size() == 1) return {uniform(rng, {3, 16, 3}).to(dtype).to(device)};
  const auto i64 = [&](const std::vector<int64_t>& values) {
    return Tensor::from(values, {static_cast<int64_t>(values.size())}, device);
  };
  const Tensor positions = (uniform(rng, {10, 3}) * 3).to(dtype).to(device);
  return {positions, i64({6, 1, 1, 8, 1, 7, 6, 6, 1, 1}), i64({0, 0, 0, 0, 0, 1, 2, 2, 2, 2}),
          i64({5, 1, 4})};
}

// Logits, loss, gradients and H v on one device; the dropout masks are those of step 3.
Tensors measured(const Case& c, Device device, DType dtype) {
  const Model model = make_model({.name = c.name, .outputs = 4, .options = c.options});
  const ModelState state = init_model(model, 1, dtype).to(device);
  const Tensors inputs = inputs_of(model, dtype, device);
  Rng rng(6, stream_id("networks"));
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 3, 1}, {3}, device);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  Tensors out{model.forward(params, buffers, inputs, ForwardOptions::evaluation()).outputs[0]};
  const Fn loss = training_loss(supervised(model, buffers, inputs, ForwardOptions::training(0, 3),
                                           cross_entropy_loss(labels, 0.1), 3));
  const ValueGrad result = value_and_grad(loss)(params);
  out.push_back(result.value);
  out.insert(out.end(), result.grads.begin(), result.grads.end());
  const Fn scalar = [&](const Tensors& x) { return Tensors{loss(x).front()}; };
  Tensors direction;
  for (const Tensor& p : params) {
    direction.push_back(uniform(rng, p.shape()).to(dtype).to(device));
  }
  for (const Tensor& t : linearize(grad(scalar), params)(direction)) out.push_back(t);
  return out;
}

// All of a list as one vector: |a - b| / |b|. A gradient that is zero but for rounding would make
// no sense alone.
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

void compare_network(const Case& c) {
  double differences[2];
  for (DType dtype : {DType::f64, DType::f32}) {
    const Tensors expected = measured(c, Device::cpu, dtype);
    const Tensors got = measured(c, Device::cuda, dtype);
    REQUIRE(got.size() == expected.size());
    const double worst = distance(got, expected);
    CHECK_MESSAGE(worst <= (dtype == DType::f64 ? 1e-11 : 1e-4), name_of(dtype), ": ", worst);
    testing::each_further_run([&] {
      CHECK_MESSAGE(testing::same_values(measured(c, Device::cuda, dtype), got),
                    "the bits differ from run to run");
    });
    differences[dtype == DType::f32] = worst;
  }
  std::printf("network: %s, logits, gradient and H v, largest difference f64 %.1e, f32 %.1e\n",
              c.name, differences[0], differences[1]);
}

}  // namespace

TEST_CASE("emulation network: pointnet gives what the CPU gives") {
  compare_network({"pointnet", {{"widths", "8,16,32,16,8"}}});
}
TEST_CASE("emulation network: dgcnn gives what the CPU gives") {
  compare_network({"dgcnn", {{"widths", "8,8,16,16,32,16,8"}, {"k", "5"}}});
}
TEST_CASE("emulation network: egnn gives what the CPU gives") {
  compare_network({"egnn", {{"hidden", "8"}, {"layers", "2"}, {"k", "5"}}});
}
TEST_CASE("emulation network: gotennet gives what the CPU gives") {
  compare_network({"gotennet",
                   {{"hidden", "8"},
                    {"heads", "2"},
                    {"blocks", "2"},
                    {"radial", "4"},
                    {"head_hidden", "4"},
                    {"cutoff", "3"}}});
}
TEST_CASE("emulation network: egnn of molecules gives what the CPU gives") {
  compare_network({"egnn-qm9", {{"hidden", "8"}, {"layers", "2"}}});
}
