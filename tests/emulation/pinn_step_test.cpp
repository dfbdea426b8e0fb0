// The step of a physics-informed network on the emulated device: Burgers' residual by the jets of
// mlp_jet and by those of the rules, recorded against not recorded (bit for bit) and against the
// CPU; points that are drawn anew reach a recorded step.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>

#include "basin/autograd/ops.h"
#include "basin/models/model.h"
#include "basin/optim/registry.h"
#include "basin/tests/emulation/compare.h"
#include "basin/train/step.h"

using namespace basin;
using testing::uniform;

namespace {

// u_t + u u_x = nu u_xx at the first points (x, t) of a batch, u = 0 at the second ones and
// -sin(pi x) at the third ones.
Task burgers_task(const Model& model) {
  Task task;
  task.name = "burgers";
  task.model = model;
  task.objective = [model](const Tensors& buffers, const Batch& batch, const ForwardOptions& mode) {
    Objective out;
    out.n_outputs = 3;
    out.term_names = {"residual", "boundary", "initial"};
    out.examples = batch.examples;
    out.outputs = [=, at = batch.tensors](const Tensors& params) {
      const auto jet = [&](size_t i, const JetOrders& orders) {
        return jet_of(model, params, buffers, {at[i]}, orders, mode);
      };
      const Jet u = jet(0, {2, 1});
      const Tensor start = sin(scale(slice(at[2], 1, 0, 1), M_PI));
      return Tensors{u.d(1) + u.value * u.d(0) - scale(u.dd(0), 0.01 / M_PI), jet(1, {0, 0}).value,
                     jet(2, {0, 0}).value + start};
    };
    out.terms = [](const Tensors& residuals) {
      Tensors terms;
      for (const Tensor& r : residuals) terms.push_back(mean(square(r)));
      return terms;
    };
    return out;
  };
  return task;
}

// The points of every second step are those of the one before.
Batch points_of(int step) {
  Rng rng(11, stream_id("pinn", static_cast<uint64_t>(step / 2)));
  return {{uniform(rng, {70, 2}), uniform(rng, {8, 2}), uniform(rng, {12, 2})}, 90, {}};
}

struct Run {
  std::vector<double> losses;
  std::vector<std::vector<double>> terms, weights;
  bool operator==(const Run&) const = default;
};

Run train(const std::string& optimizer, const char* fused, Device device, GraphMode graph,
          DType dtype) {
  const Model model = make_model({.name = "mlp",
                                  .outputs = 1,
                                  .options = {{"width", "12"}, {"depth", "3"}, {"fused", fused}}});
  ModelState state = init_model(model, 0, dtype).to(device);
  const std::unique_ptr<Optimizer> rule =
      make_optimizer({.name = optimizer, .lr = 3e-3}, state.params);
  const Task task = burgers_task(model);
  TrainStep step(task, state, *rule, {.batch = 90, .graph = graph});
  CHECK(step.with_graph() == (graph != GraphMode::off && device != Device::cpu));
  Run run;
  for (int i = 0; i < 6; ++i) {
    step.set_batch(points_of(i));
    step.start(i, 1.0 / (1 + i));
    const StepOutput out = step.finish();
    REQUIRE(out.terms.size() == 3);
    run.losses.push_back(out.loss);
    run.terms.push_back(out.terms);
  }
  for (const Param& p : state.params) run.weights.push_back(p.value.to_vector<double>());
  return run;
}

double distance(const Run& a, const Run& b) {
  double worst = 0;
  for (size_t i = 0; i < a.losses.size(); ++i) {
    worst = std::max(worst, std::abs(a.losses[i] - b.losses[i]) / std::abs(b.losses[i]));
  }
  return worst;
}

}  // namespace

TEST_CASE("emulation step: a recorded step of a Burgers PINN has the bits of a launched one") {
  for (const char* optimizer : {"adamw", "muon", "soap", "specmuon", "lbfgs"}) {
    for (const char* fused : {"true", "false"}) {
      CAPTURE(optimizer);
      CAPTURE(fused);
      const auto on_device = [&](GraphMode graph, DType dtype) {
        return train(optimizer, fused, Device::cuda, graph, dtype);
      };
      const Run plain = on_device(GraphMode::off, DType::f64);
      CHECK(on_device(GraphMode::on, DType::f64) == plain);
      CHECK(on_device(GraphMode::on, DType::f32) == on_device(GraphMode::off, DType::f32));
      CHECK(plain.losses.front() != plain.losses.back());
      // The others look at signs, eigenvectors or the loss again, which rounding may turn
      // (step_test.cpp).
      const std::string_view rule = optimizer;
      if (rule != "adamw" && rule != "muon") continue;
      const Run here = train(optimizer, fused, Device::cpu, GraphMode::off, DType::f64);
      std::printf("step: Burgers PINN, %s, fused %s, 6 steps, loss against the CPU: f64 %.1e\n",
                  optimizer, fused, distance(plain, here));
      CHECK(distance(plain, here) < 1e-8);
    }
  }
}
