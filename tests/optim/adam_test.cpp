// Adam, AdamW, AMSGrad and SGD: known trajectories, a plain-formula loop, missing gradients.
#include "basin/optim/detail/adam.h"

#include "basin/core/parallel.h"
#include "basin/optim/detail/sgd.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

namespace {

// theta after steps with gradients .5, -.2, .1 from theta = 1.
std::vector<double> trajectory(Optimizer& optimizer, ParamList& params) {
  std::vector<double> out;
  int64_t step = 0;
  for (double g : {0.5, -0.2, 0.1}) {
    const Tensors grads{scalar_vector(g)};
    optimizer.step(params, grads, {.step = step++});
    CHECK(grads[0].at(0) == g);
    out.push_back(params[0].value.at(0));
  }
  return out;
}

ParamList one_parameter() {
  ParamList p;
  p.add_vector("theta", scalar_vector(1), Role::bias);
  return p;
}

void check_trajectory(const std::vector<double>& got, const std::vector<double>& expected,
                      double tolerance) {
  for (size_t i = 0; i < expected.size(); ++i) CHECK(std::abs(got[i] - expected[i]) < tolerance);
}

std::vector<double> run_adam(AdamConfig config) {
  ParamList p = one_parameter();
  Adam optimizer(config, p);
  return trajectory(optimizer, p);
}

std::vector<double> run_sgd(SgdConfig config) {
  ParamList p = one_parameter();
  Sgd optimizer(config, p);
  return trajectory(optimizer, p);
}

}  // namespace

TEST_CASE("adam: known trajectories") {
  check_trajectory(run_adam({.lr = 0.1}), {.900000002, .8654394181, .8275002408}, 1e-10);
  check_trajectory(run_adam({.lr = 0.1, .weight_decay = 0.1, .decoupled = true}),
                   {.890000002, .8465394181, .8001348466}, 1e-10);
  check_trajectory(run_adam({.lr = 0.1, .weight_decay = 0.1}),
                   {.9000000017, .847519063, .7901621834}, 1e-10);
}

TEST_CASE("sgd: known trajectories") {
  check_trajectory(run_sgd({.lr = 0.1, .momentum = 0.9}), {.95, .925, .8925}, 1e-15);
  check_trajectory(run_sgd({.lr = 0.1, .momentum = 0.9, .nesterov = true}), {.905, .9025, .86325},
                   1e-15);
  check_trajectory(run_sgd({.lr = 0.1}), {.95, .97, .96}, 1e-15);
  // b: .5; .9*.5 - .5*.2 = .35; .9*.35 + .05 = .365
  check_trajectory(run_sgd({.lr = 0.1, .momentum = 0.9, .dampening = 0.5}), {.95, .915, .8785},
                   1e-15);
  // g + .1 w: .6, -.106, .19506
  check_trajectory(run_sgd({.lr = 0.1, .weight_decay = 0.1}), {.94, .9506, .931094}, 1e-15);
}

TEST_CASE("adam: amsgrad keeps the largest uncorrected second moment") {
  double w = 1, m = 0, v = 0, vmax = 0;
  std::vector<double> expected;
  int t = 0;
  for (double g : {0.5, -0.2, 0.1}) {
    ++t;
    m = 0.9 * m + 0.1 * g;
    v = 0.5 * v + 0.5 * g * g;
    vmax = std::max(vmax, v);
    w -= 0.1 * m / (1 - std::pow(0.9, t)) / (std::sqrt(vmax / (1 - std::pow(0.5, t))) + 1e-8);
    expected.push_back(w);
  }
  CHECK(v < vmax);
  check_trajectory(run_adam({.lr = 0.1, .beta2 = 0.5, .amsgrad = true}), expected, 1e-15);
  const std::vector<double> plain = run_adam({.lr = 0.1, .beta2 = 0.5});
  CHECK(std::abs(plain[2] - expected[2]) > 1e-3);
}

TEST_CASE("adam: 1000 steps agree with the plain formula") {
  for (bool decoupled : {false, true}) {
    const AdamConfig c{.lr = 1e-2, .weight_decay = 0.03, .decoupled = decoupled};
    ParamList p;
    p.add_matrix("w", random_tensor({7, 5}, DType::f64, 1), Role::matrix);
    std::vector<double> w = p[0].value.to_vector<double>(), m(35, 0.0), v(35, 0.0);
    Adam optimizer(c, p);
    double worst = 0;
    for (int t = 1; t <= 1000; ++t) {
      std::vector<double> g(35);
      for (int i = 0; i < 35; ++i) g[i] = std::sin(0.1 * t + i) + 0.2 * w[i];
      optimizer.step(p, {Tensor::from(g, {7, 5})}, {.step = t - 1});
      for (int i = 0; i < 35; ++i) {
        double grad = g[i];
        if (decoupled)
          w[i] *= 1 - c.lr * c.weight_decay;
        else
          grad += c.weight_decay * w[i];
        m[i] = c.beta1 * m[i] + (1 - c.beta1) * grad;
        v[i] = c.beta2 * v[i] + (1 - c.beta2) * grad * grad;
        const double mh = m[i] / (1 - std::pow(c.beta1, t)), vh = v[i] / (1 - std::pow(c.beta2, t));
        w[i] -= c.lr * mh / (std::sqrt(vh) + c.eps);
        worst = std::max(worst, std::abs(w[i] - p[0].value.at(i)));
      }
    }
    CHECK(worst <= 1e-14);
  }
}

TEST_CASE("adam, sgd: a missing gradient counts as zero") {
  const auto compare = [](auto make) {
    for (DType dtype : {DType::f32, DType::f64}) {
      ParamList a = small_model(dtype), b = small_model(dtype);
      auto left = make(a), right = make(b);
      for (uint64_t step = 0; step < 3; ++step) {
        Tensors with = random_gradients(a, step), without = with;
        with[2].fill(0);
        without[2] = Tensor();
        left->step(a, with, {});
        right->step(b, without, {});
      }
      for (size_t i = 0; i < a.size(); ++i) CHECK(same_bits(a[i].value, b[i].value));
    }
  };
  for (bool amsgrad : {false, true}) {
    compare([&](const ParamList& p) {
      const AdamConfig config{.weight_decay = 0.1, .decoupled = true, .amsgrad = amsgrad};
      return std::make_unique<Adam>(config, p);
    });
  }
  for (double momentum : {0.0, 0.9}) {
    compare([&](const ParamList& p) {
      return std::make_unique<Sgd>(SgdConfig{.momentum = momentum, .weight_decay = 0.1}, p);
    });
  }
}

TEST_CASE("adam: f32 follows f64, groups and lr_scale act, vectors can be exempt from decay") {
  ParamList wide = small_model(DType::f64), narrow = wide.to(DType::f32);
  Adam a({}, wide), b({}, narrow);
  for (uint64_t step = 0; step < 20; ++step) {
    const Tensors g = random_gradients(wide, step);
    Tensors g32;
    for (const Tensor& t : g) g32.push_back(t.to(DType::f32));
    a.step(wide, g, {});
    b.step(narrow, g32, {});
  }
  for (size_t i = 0; i < wide.size(); ++i) {
    CHECK(max_difference(wide[i].value, narrow[i].value.to(DType::f64)) < 2e-5);
  }
  // With zero gradients only decay moves the weights.
  ParamList p = small_model(DType::f64);
  const ParamList start = p.clone();
  const AdamConfig config{
      .lr = 0.1, .weight_decay = 0.5, .decoupled = true, .decay_vectors = false};
  Adam grouped(config, p, parse_group_rules("role:head lr=0.2 wd=1; norm.* wd=0.25"));
  grouped.step(p, Tensors(p.size()), {.lr_scale = 0.5});
  const auto factor = [&](const char* name) {
    return p.at(name).value.at(0) / start.at(name).value.at(0);
  };
  CHECK(factor("hidden.weight") == doctest::Approx(1 - 0.05 * 0.5).epsilon(1e-14));
  CHECK(factor("head.weight") == doctest::Approx(1 - 0.1 * 1).epsilon(1e-14));
  CHECK(factor("first.bias") == 1);
  CHECK(factor("norm.gain") == doctest::Approx(1 - 0.05 * 0.25).epsilon(1e-14));
}

TEST_CASE("adam, sgd: same bits for one and two threads") {
  const int threads = num_threads();
  Tensor results[2][2];
  for (int n : {1, 2}) {
    set_num_threads(n);
    ParamList p, q;
    p.add_matrix("w", random_tensor({700, 300}, DType::f32, 1), Role::matrix);
    q.add_matrix("w", random_tensor({700, 300}, DType::f32, 1), Role::matrix);
    Adam adam({.weight_decay = 0.1}, p);
    Sgd sgd({.momentum = 0.9}, q);
    for (uint64_t step = 0; step < 3; ++step) {
      adam.step(p, random_gradients(p, step), {});
      sgd.step(q, random_gradients(q, step), {});
    }
    results[n - 1][0] = p[0].value;
    results[n - 1][1] = q[0].value;
  }
  set_num_threads(threads);
  CHECK(same_bits(results[0][0], results[1][0]));
  CHECK(same_bits(results[0][1], results[1][1]));
}

TEST_CASE("adam: wrong parameters and gradients are refused") {
  ParamList p = one_parameter();
  Adam optimizer({}, p);
  CHECK(error_of([&] { optimizer.step(p, {}, {}); }, ErrorKind::usage) ==
        "adam: expects one gradient per parameter, got 0 for 1");
  CHECK(error_of([&] { optimizer.step(p, {Tensor::zeros({2}, DType::f64)}, {}); },
                 ErrorKind::usage) == "adam: the gradient of 'theta' must be [1] f64, got [2] f64");
  ParamList narrow = p.to(DType::f32);
  CHECK(error_of([&] { optimizer.step(narrow, {Tensor()}, {}); }, ErrorKind::usage) ==
        "adam: parameter 0 was 'theta' [1] f64, now it is 'theta' [1] f32");
  CHECK_THROWS_AS(Adam({.beta1 = 1}, p), Error);
  CHECK_THROWS_AS(Sgd({.nesterov = true}, p), Error);
}

TEST_CASE("sgd: the observer sees gradient, momentum and change") {
  const SgdConfig config{.lr = 0.1, .momentum = 0.9, .weight_decay = 0.3};
  ParamList p = small_model(DType::f64), plain = p.clone();
  const ParamList start = p.clone();
  Sgd optimizer(config, p), silent(config, plain);
  const Tensors grads = random_gradients(p, 9);
  size_t seen = 0;
  optimizer.set_observer([&](const UpdateRecord& r) {
    ++seen;
    CHECK(r.rule == "sgd");
    CHECK(r.loss == 1.5);
    CHECK(r.lr == 0.1);
    CHECK(r.gradient.raw() == grads[r.index].raw());
    const Tensor& w = start[r.index].value;
    for (int64_t i = 0; i < w.numel(); ++i) {
      const double slope = grads[r.index].at(i) + 0.3 * w.at(i);  // the first momentum is the slope
      CHECK(std::abs(r.momentum.at(i) - slope) < 1e-14);
      CHECK(std::abs(r.change.at(i) + 0.1 * slope) < 1e-14);
    }
  });
  optimizer.step(p, grads, {.loss = 1.5});
  silent.step(plain, grads, {.loss = 1.5});
  CHECK(seen == p.size());
  for (size_t i = 0; i < p.size(); ++i) CHECK(same_bits(p[i].value, plain[i].value));
  // The two halves of a recorded step are for rules that have them.
  CHECK_FALSE(optimizer.recordable());
  CHECK_THROWS_WITH_AS(optimizer.prepare(p, {}), doctest::Contains("no two halves"), Error);
  CHECK_THROWS_WITH_AS(optimizer.apply(p, grads), doctest::Contains("no two halves"), Error);
}
