// The optimizers on the emulated device: steps of Adam, SGD and Muon against the CPU, state that
// travels between devices, and the Newton-Schulz kernels over all coefficient sets and shapes.
#include <doctest/doctest.h>

#include "basin/optim/clip.h"
#include "basin/optim/diagnostics.h"
#include "basin/optim/newton_schulz.h"
#include "basin/optim/registry.h"
#include "basin/tests/emulation/compare.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;
using testing::compare;
using testing::largest_difference;
using testing::Place;

namespace {

ParamList on_device(const ParamList& params) {
  ParamList copy = params.clone();
  for (Param& p : copy) p.value = p.value.to(Device::cuda);
  return copy;
}
Tensors on_device(Tensors tensors) {
  for (Tensor& t : tensors) {
    if (t.defined()) t = t.to(Device::cuda);
  }
  return tensors;
}

// The small model, and one parameter of more elements than a block takes.
ParamList model(DType dtype) {
  ParamList params = small_model(dtype);
  params.add_matrix("wide.weight", random_tensor({30, 90}, dtype, 77), Role::matrix);
  return params;
}

Tensors gradients(const ParamList& params, int step) {
  Tensors g = random_gradients(params, static_cast<uint64_t>(step + 1));
  if (step % 3 == 2) g[1] = g[2] = Tensor();  // missing ones count as zero
  return g;
}

// The largest difference of the weights after `steps` steps; saves and loads midway, across
// devices.
void compare_steps(const OptimizerConfig& config, int steps) {
  for (DType dtype : {DType::f64, DType::f32}) {
    ParamList here = model(dtype), there = on_device(here);
    auto reference = make_optimizer(config, here), optimizer = make_optimizer(config, there);
    for (int step = 0; step < steps; ++step) {
      const Tensors g = gradients(here, step);
      const StepInfo info{.step = step, .loss = 1.0 / (1 + step), .lr_scale = 1 - 0.01 * step};
      reference->look_ahead(here);
      optimizer->look_ahead(there);
      reference->step(here, g, info);
      optimizer->step(there, on_device(g), info);
      if (step != steps / 2) continue;
      const OptimizerState state = optimizer->save();
      for (const auto& [name, tensor] : state.tensors) CHECK(tensor.device() == Device::cpu);
      optimizer = make_optimizer(config, there);
      optimizer->load(state);
    }
    const double worst = largest_difference(there.values(), here.values());
    std::printf("%-22s %d steps, %s: %.1e\n", config.name.c_str(), steps, name_of(dtype).data(),
                worst);
    CHECK(worst <= (dtype == DType::f64 ? 1e-12 : 1e-5));
    for (const Param& p : there) CHECK(p.value.device() == Device::cuda);
    // The state of one device continues on the other.
    auto resumed = make_optimizer(config, here);
    resumed->load(optimizer->save());
    const auto a = resumed->save(), b = reference->save();
    REQUIRE(a.tensors.size() == b.tensors.size());
    for (size_t i = 0; i < a.tensors.size(); ++i) {
      CHECK(largest_difference({a.tensors[i].second}, {b.tensors[i].second}) <=
            (dtype == DType::f64 ? 1e-12 : 1e-5));
    }
  }
}

}  // namespace

TEST_CASE("emulation: twenty steps of Adam, its forms, and SGD") {
  compare_steps({.name = "adam", .lr = 0.01, .weight_decay = 0.1}, 20);
  compare_steps({.name = "adamw",
                 .lr = 0.01,
                 .groups = {{"role:head", 0.1, 0.0}},
                 .options = {{"amsgrad", "true"}}},
                20);
  compare_steps({.name = "sgd", .lr = 0.01, .options = {{"momentum", "0.9"}, {"nesterov", "on"}}},
                20);
  compare_steps({.name = "sgd", .lr = 0.01, .weight_decay = 0.1}, 20);
}

TEST_CASE("emulation: ten steps of Muon") {
  compare_steps({.name = "muon", .weight_decay = 0.1}, 10);
  compare_steps(
      {.name = "muon",
       .options = {{"form", "sum"}, {"nesterov", "off"}, {"min_side", "1"}, {"exact", "on"}}},
      10);
}

TEST_CASE("emulation: eight steps of every other optimizer that takes the gradient as given") {
  for (const char* name :
       {"lion", "schedule_free", "normuon", "polar_adamw", "soap", "shampoo", "specmuon"}) {
    compare_steps({.name = name, .lr = 1e-3, .weight_decay = 0.1}, 8);
  }
  compare_steps({.name = "muon", .options = {{"power", "0.5"}}}, 8);
  compare_steps({.name = "specmuon", .options = {{"preset", "paper"}, {"momentum_at", "pre"}}}, 8);
  compare_steps({.name = "poet", .lr = 1e-3, .weight_decay = 0, .options = {{"block", "8"}}}, 8);
  compare_steps({.name = "adamw",
                 .lr = 1e-3,
                 .options = {{"switch", "muon at=3 lr=0.02"}},
                 .run = {.steps = 8, .steps_per_epoch = 8}},
                8);
}

TEST_CASE("emulation: optimizers that look again do so on the device") {
  for (const OptimizerConfig& config :
       {OptimizerConfig{.name = "lbfgs", .options = {{"iterations", "3"}}},
        OptimizerConfig{.name = "adamw", .options = {{"sam", "0.1"}, {"sam_adaptive", "on"}}},
        OptimizerConfig{.name = "specmuon", .options = {{"relax", "extra_forward"}}}}) {
    ParamList here = model(DType::f64), there = on_device(here);
    // |w|^2 / 2, one element of which weighs ten times as much.
    const EvaluateAt evaluate = [&](const Tensors& at, bool) {
      LossAndGrads out;
      for (const Tensor& w : at) {
        std::vector<double> v = w.to_vector<double>();
        v[0] *= 10;
        for (size_t i = 0; i < v.size(); ++i) out.loss += v[i] * w.at(static_cast<int64_t>(i)) / 2;
        out.grads.push_back(Tensor::from(v, w.shape()).to(w.device()));
      }
      return out;
    };
    auto a = make_optimizer(config, here), b = make_optimizer(config, there);
    for (int step = 0; step < 4; ++step) {
      const LossAndGrads x = evaluate(here.values(), true), y = evaluate(there.values(), true);
      a->step(here, x.grads, {.step = step, .loss = x.loss, .evaluate = evaluate});
      b->step(there, y.grads, {.step = step, .loss = y.loss, .evaluate = evaluate});
    }
    CHECK(largest_difference(there.values(), here.values()) <= 1e-11);
  }
}

TEST_CASE(
    "emulation: one launch takes all tensors, two where there are more than its table holds") {
  ParamList params;
  for (int i = 0; i < 60; ++i) {
    params.add_vector("p" + std::to_string(i), random_tensor({1 + i % 4}, DType::f32, i),
                      Role::bias);
  }
  ParamList there = on_device(params);
  auto optimizer = make_optimizer({.name = "adamw"}, there);
  const int64_t before = emu::launches_of("adam");
  optimizer->step(there, on_device(random_gradients(params, 1)), {});
  CHECK(emu::launches_of("adam") - before == 2);
}

TEST_CASE("emulation: an observer sees the steps on the device as on the CPU") {
  ParamList here = model(DType::f64), there = on_device(here);
  UpdateMeter meter_here, meter_there;
  auto a = make_optimizer({.name = "muon"}, here), b = make_optimizer({.name = "muon"}, there);
  a->set_observer(meter_here.observer());
  b->set_observer(meter_there.observer());
  a->step(here, gradients(here, 0), {});
  b->step(there, on_device(gradients(here, 0)), {});
  const auto x = meter_here.parameters(), y = meter_there.parameters();
  REQUIRE(x.size() == y.size());
  for (size_t i = 0; i < x.size(); ++i) {
    CHECK(y[i].rms == doctest::Approx(x[i].rms).epsilon(1e-11));
    CHECK(y[i].spectral == doctest::Approx(x[i].spectral).epsilon(1e-11));
  }
}

TEST_CASE("emulation: parameters moved after the optimizer was made are refused") {
  ParamList params = model(DType::f32);
  auto optimizer = make_optimizer({.name = "adam"}, params);
  ParamList there = on_device(params);
  const std::string said =
      error_of([&] { optimizer->step(there, gradients(params, 0), {}); }, ErrorKind::usage);
  CHECK(said.find("make the optimizer after moving the parameters") != std::string::npos);
  optimizer = make_optimizer({.name = "adam"}, there);
  error_of([&] { optimizer->step(there, gradients(params, 0), {}); }, ErrorKind::usage);
}

TEST_CASE("emulation: gradient clipping") {
  const Tensors g = random_gradients(model(DType::f32), 3), far = on_device(g);
  CHECK(global_norm(far) == doctest::Approx(global_norm(g)).epsilon(1e-14));
  const ClipResult by_norm = clip_global_norm(far, 2.5);
  CHECK(by_norm.clipped);
  CHECK(largest_difference(by_norm.grads, clip_global_norm(g, 2.5).grads) <= 1e-6);
  const ClipResult by_value = clip_value(far, 0.7);
  CHECK(by_value.clipped);
  CHECK(by_value.grads[0].device() == Device::cuda);
  CHECK(largest_difference(by_value.grads, clip_value(g, 0.7).grads) == 0);
}

TEST_CASE("emulation: Newton-Schulz, every coefficient set and shape") {
  std::vector<Shape> shapes = {{5, 12}, {40, 7}, {70, 66}};
  for (const std::string& set : coefficient_set_names()) {
    const Shape shape = shapes.front();
    std::rotate(shapes.begin(), shapes.begin() + 1, shapes.end());
    const Tensor m = random_tensor(shape, DType::f64, 5);
    compare("newton_schulz", str(set, ", ", shape),
            [&](const Place& on) { return Tensors{orthogonalise(on(m), {.set = set})}; });
  }
  // Depths that are cut among blocks, in whole vectors and not.
  for (const Shape& shape : {Shape{20, 84}, Shape{67, 35}, Shape{2, 70, 75}}) {
    const Tensor m = random_tensor(shape, DType::f64, 10);
    compare("newton_schulz", str("depth in parts, ", shape),
            [&](const Place& on) { return Tensors{orthogonalise(on(m))}; });
  }
  for (NormMode norm : {NormMode::add, NormMode::max, NormMode::relative}) {
    const Tensor m = random_tensor({1, 9}, DType::f64, 6),
                 batch = random_tensor({3, 6, 4}, DType::f64, 7);
    compare("newton_schulz", str("norm ", static_cast<int>(norm), ", [1, 9], [3, 6, 4]"),
            [&](const Place& on) {
              return Tensors{orthogonalise(on(m), {.norm = norm}),
                             orthogonalise(on(batch), {.norm = norm}),
                             orthogonalise(on(m), {.steps = 0, .norm = norm})};
            });
  }
}

TEST_CASE("emulation: Newton-Schulz of zero, tiny, huge and non-finite matrices") {
  const Tensor g = random_tensor({6, 9}, DType::f64, 8);
  for (const double scale : {0.0, 1e-300, 1e-170, 1e200}) {
    const Tensor m = times(g, scale);
    const Tensor expected = orthogonalise(m, {.norm = NormMode::relative});
    const Tensor got = orthogonalise(m.to(Device::cuda), {.norm = NormMode::relative});
    CAPTURE(scale);
    CHECK(largest_difference({got}, {expected}) <= 1e-11);
  }
  for (const double bad : {NAN, INFINITY}) {
    Tensor m = g.clone();
    m.mutable_data<double>()[5] = bad;
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Tensor got = orthogonalise(m.to(dtype).to(Device::cuda));
      for (double v : got.to_vector<double>()) CHECK(std::isnan(v));
    }
  }
}

TEST_CASE("emulation: Newton-Schulz in bf16") {
  for (const Shape& shape : {Shape{3, 12, 20}, Shape{1, 90, 70}, Shape{1, 60, 200}}) {
    const Tensor m = random_tensor(shape, DType::f32, 9);
    const OrthogonaliseConfig config{.precision = NsPrecision::bf16};
    const Tensor here = orthogonalise(m, config);
    for (emu::Order order : {emu::Order::forward, emu::Order::reverse, emu::Order::random}) {
      emu::set_order(order);
      const Tensor there = orthogonalise(m.to(Device::cuda), config).to(Device::cpu);
      // Sums in another order may round an element to the neighbour, 2^-8 away, and steps amplify.
      CHECK(max_difference(there, here) <= 0.03 * max_abs(here));
    }
    emu::set_order(emu::Order::forward);
    const Tensor exact = orthogonalise(m);
    CHECK(max_difference(here, exact) > 1e-4);
    CHECK(max_difference(here, exact) <= 0.1 * max_abs(exact));
  }
  CHECK(bf16_value(1.00390625f) == 1.0f);  // 1 + 2^-8: a tie goes to the even neighbour
  CHECK(bf16_value(1.01171875f) == 1.015625f);
  CHECK(bf16_value(-3.0f) == -3.0f);
  CHECK(std::isnan(bf16_value(NAN)));
}

TEST_CASE("emulation: matrices of one shape share the launches of Newton-Schulz") {
  std::vector<Tensor> in, out;
  std::vector<MatrixTask> one, many;
  for (int i = 0; i < 5; ++i) {
    in.push_back(random_tensor({4, 6}, DType::f32, i).to(Device::cuda));
    out.push_back(in.back().clone());
    many.push_back({in.back().raw(), out.back().mutable_raw(), 4, 6});
  }
  one = {many[0]};
  const auto launches = [](const std::vector<MatrixTask>& tasks) {
    const int64_t before = emu::launches_of("newton_schulz");
    orthogonalise(tasks, DType::f32, {}, Device::cuda);
    return emu::launches_of("newton_schulz") - before;
  };
  CHECK(launches(many) == launches(one));
  for (int i = 0; i < 5; ++i) {
    CHECK(largest_difference({out[i]}, {orthogonalise(in[i].to(Device::cpu))}) <= 1e-5);
  }
}
