// SpecMuon: the worked step of both forms, the energy law of the relaxed variables, the limits k =
// 0 and k = p, and the finding that the printed form treats all modes alike.
#include "basin/optim/detail/specmuon.h"

#include "basin/core/parallel.h"
#include "basin/kernels/linalg.h"
#include "basin/optim/detail/sav.h"
#include "basin/optim/newton_schulz.h"
#include "basin/optim/registry.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

namespace {

Tensor diagonal(const std::vector<double>& values) {
  const int64_t n = static_cast<int64_t>(values.size());
  Tensor out = Tensor::zeros({n, n}, DType::f64);
  for (int64_t i = 0; i < n; ++i) out.mutable_data<double>()[i * (n + 1)] = values[i];
  return out;
}

ParamList one(const Tensor& value) {
  ParamList p;
  p.add_matrix("w", value, Role::matrix);
  return p;
}

SpecMuonConfig paper() {
  SpecMuonConfig c;
  c.form = SavForm::norm;
  c.relaxation = Relaxation::printed;
  c.smoothing = 0.2;
  return c;
}

// Weights, and what the observer was told of the last step.
struct Watched {
  explicit Watched(const SpecMuonConfig& config, const Tensor& start)
      : params(one(start)), optimizer(config, params) {
    optimizer.set_observer([this](const UpdateRecord& r) {
      if (r.stage != UpdateStage::applied) return;
      update = r.orthogonalised;
      numbers.clear();
      for (const auto& [name, t] : r.numbers) numbers[std::string(name)] = t.to_vector<double>();
    });
  }
  void step(const Tensor& gradient, double loss) {
    optimizer.step(params, {gradient}, {.step = count++, .loss = loss});
  }
  ParamList params;
  SpecMuon optimizer;
  Tensor update;
  std::map<std::string, std::vector<double>> numbers;
  int64_t count = 0;
};

// loss = |A W - B|^2 / 2 + shift with its gradient, A with condition 10.
struct LeastSquares {
  Tensor a, b;
  explicit LeastSquares(int64_t rows, int64_t cols)
      : a(random_tensor({rows, rows}, DType::f64, 3)),
        b(random_tensor({rows, cols}, DType::f64, 4)) {
    const SvdFactors f = Svd::cpu(a);
    Tensor vt = f.vt.clone();
    for (int64_t i = 0; i < vt.numel(); ++i) {
      vt.mutable_data<double>()[i] *= std::pow(10.0, -static_cast<double>(i / rows) / (rows - 1));
    }
    a = product(f.u, vt);
  }
  double operator()(const Tensor& w, Tensor& gradient) const {
    Tensor r = product(a, w);
    double loss = 0;
    for (int64_t i = 0; i < r.numel(); ++i) {
      r.mutable_data<double>()[i] -= b.at(i);
      loss += r.at(i) * r.at(i) / 2;
    }
    gradient = product(transposed(a), r);
    return loss;
  }
};

}  // namespace

TEST_CASE("specmuon: the worked step of both forms") {
  const Tensor g = diagonal({3, 1});
  SpecMuonConfig c = paper();
  c.lr = 0.1;
  c.momentum = 0;
  c.modes = 1;
  Watched printed(c, Tensor::zeros({2, 2}, DType::f64));
  printed.step(g, 4);
  CHECK(printed.update.at(0) == doctest::Approx(0.975609756).epsilon(1e-8));
  CHECK(printed.update.at(3) == doctest::Approx(0.316227766).epsilon(1e-8));
  CHECK(printed.numbers["rn"][0] == doctest::Approx(1.961557977).epsilon(1e-8));
  CHECK(printed.numbers["s"][0] == doctest::Approx(0.948683298).epsilon(1e-8));
  CHECK(printed.params[0].value.at(0) == doctest::Approx(-0.0975609756).epsilon(1e-8));

  c.form = SavForm::squared;
  c.relaxation = Relaxation::lazy;
  for (const auto& [next_energy, r] : {std::pair{1.9, 1.9}, {1.99, 1.981381795}}) {
    Watched squared(c, Tensor::zeros({2, 2}, DType::f64));
    squared.step(g, 4);
    CHECK(squared.numbers["rn"][0] == doctest::Approx(1.976560871).epsilon(1e-8));
    CHECK(squared.numbers["scale"][0] == doctest::Approx(0.988280436).epsilon(1e-8));
    CHECK(squared.numbers["dissipation"][0] == doctest::Approx(0.0926577288).epsilon(1e-8));
    squared.step(g, next_energy * next_energy);
    CHECK(squared.numbers["r"][0] == doctest::Approx(r).epsilon(1e-8));
  }
}

TEST_CASE("specmuon: relaxation is the smallest root of the published quadratic") {
  Rng rng(1, stream_id("relaxation"));
  for (int i = 0; i < 2000; ++i) {
    const double r = rng.uniform(0.1, 3), e = rng.uniform(0.01, 4), xi = rng.uniform(0, 1);
    const SavStep s = sav_step(r, rng.uniform(1e-3, 20));
    const double a = (s.next - e) * (s.next - e), b = 2 * e * (s.next - e);
    const double c = e * e - s.next * s.next - xi * s.dissipation - (s.next - r) * (s.next - r);
    const double root = (-b - std::sqrt(std::max(0.0, b * b - 4 * a * c))) / (2 * a);
    const double mix = std::max(0.0, root);
    // Without the branch of E <= rn the root may lie above 1; the mixing is 0 there.
    const double chi = e <= s.next ? 0.0 : mix;
    CHECK(sav_relaxed(r, s.next, xi, e) ==
          doctest::Approx(chi * s.next + (1 - chi) * e).epsilon(1e-9));
  }
}

TEST_CASE("specmuon: identity and energy law over 1e5 steps for any step size") {
  for (const double eta : {1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3}) {
    Rng rng(2, stream_id("energy law"));
    for (const double xi : {0.2, 0.95}) {
      double r = 1.5, spent = 0, worst_identity = 0, worst_law = -1;
      const double first = r * r;
      bool falls = true;
      for (int t = 0; t < 100000 && r > 1e-150; ++t) {
        const double e = rng.uniform(0.2, 1.6), s = rng.uniform(0.01, 1);
        const double h = eta / s, g = s / e;
        const SavStep step = sav_step(r, h * g * g / 2);
        const double d = h * (step.next * g) * (step.next * g);
        const double moved = step.next - r, square = r * r;
        worst_identity = std::max(
            worst_identity, std::abs(step.next * step.next - square + moved * moved + d) / square);
        const double relaxed = sav_relaxed(r, step.next, xi, e);
        worst_law = std::max(worst_law, (relaxed * relaxed - square + (1 - xi) * d) / square);
        falls = falls && relaxed <= r && relaxed > 0;
        spent += (1 - xi) * d;
        r = relaxed;
      }
      CAPTURE(eta);
      CAPTURE(xi);
      CHECK(worst_identity <= 1e-12);
      CHECK(worst_law <= 1e-12);
      CHECK(falls);
      CHECK(spent <= first * (1 + 1e-12));
    }
  }
}

TEST_CASE("specmuon: the optimizer obeys the energy law on a least squares problem") {
  for (const double eta : {1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3}) {
    SpecMuonConfig c;
    c.lr = eta;
    c.momentum = 0;
    c.kappa = 1e-8;
    Watched w(c, random_tensor({4, 3}, DType::f64, 9));
    const LeastSquares problem(4, 3);
    std::vector<double> before;
    double worst = -1;
    bool falls = true;
    for (int t = 0; t < (eta == 1.0 ? 100000 : 5000); ++t) {
      Tensor g;
      const double loss = problem(w.params[0].value, g);
      w.step(g, loss);
      const std::vector<double>& r = w.numbers["r"];
      REQUIRE(r.size() == 3);
      for (size_t j = 0; j < 3; ++j) {
        falls = falls && r[j] > 0 && (before.empty() || r[j] <= before[j] * (1 + 1e-15));
        if (!before.empty() && before[j] > 1e-150) {
          worst = std::max(worst, w.numbers["slack"][j] / (before[j] * before[j]));
        }
      }
      before = r;
    }
    CAPTURE(eta);
    CHECK(falls);
    CHECK(worst <= 1e-12);
  }
}

TEST_CASE("specmuon: scalar variable without normalisation converges at the linear rate") {
  std::vector<double> d(10), x(10, 1.0);
  for (int i = 0; i < 10; ++i) d[i] = std::pow(10.0, -2.0 * i / 9);
  const auto f = [&] {
    double sum = 0;
    for (int i = 0; i < 10; ++i) sum += d[i] * x[i] * x[i] / 2;
    return sum;
  };
  double r = std::sqrt(f()), next = r;
  const auto run = [&](int steps) {
    for (int t = 0; t < steps; ++t) {
      const double e = std::sqrt(f());
      r = t == 0 && next == r ? e : sav_relaxed(r, next, 0.95, e);
      double square = 0;
      for (int i = 0; i < 10; ++i) square += d[i] * d[i] * x[i] * x[i] / (e * e);
      next = sav_step(r, square / 2).next;
      for (int i = 0; i < 10; ++i) x[i] -= next * d[i] * x[i] / e;
    }
    return f();
  };
  const double at_1000 = run(1000), at_2000 = run(1000);
  CHECK(at_1000 == doctest::Approx(1.20e-11).epsilon(5e-3));
  CHECK(at_2000 == doctest::Approx(2.79e-20).epsilon(5e-3));
  CHECK(std::pow(at_2000 / at_1000, 1e-3) == doctest::Approx(0.9803).epsilon(1e-4));
  CHECK(r / std::sqrt(at_2000) == doctest::Approx(1).epsilon(0.02));
}

TEST_CASE("specmuon: without modes it is a heavy ball on the normalised gradient") {
  SpecMuonConfig c;
  c.modes = 0;
  c.lr = 0.3;
  c.momentum = 0.8;
  Watched w(c, Tensor::zeros({5, 3}, DType::f64));
  std::vector<double> b(15, 0.0), x(15, 0.0);
  for (uint64_t t = 0; t < 4; ++t) {
    const Tensor g = random_tensor({5, 3}, DType::f64, t);
    w.step(g, 1.0);
    double norm = 0;
    for (int i = 0; i < 15; ++i) norm += g.at(i) * g.at(i);
    for (int i = 0; i < 15; ++i) {
      b[i] = 0.8 * b[i] + g.at(i) / (std::sqrt(norm) + 1e-8);
      x[i] -= 0.3 * b[i];
    }
  }
  CHECK(max_difference(w.params[0].value, Tensor::from(x, {5, 3})) < 1e-14);
}

TEST_CASE("specmuon: with all modes and a vanishing rate the update is the polar factor") {
  for (const SavForm form : {SavForm::norm, SavForm::squared}) {
    SpecMuonConfig c = paper();
    c.form = form;
    c.modes = 100;
    c.lr = 1e-12;
    c.eps = 0;
    c.momentum = 0;
    Watched w(c, Tensor::zeros({6, 4}, DType::f64));
    const Tensor g = random_tensor({6, 4}, DType::f64, 5);
    w.step(g, 2.5);
    CHECK(max_difference(w.update, orthogonalise(g, {.exact = true})) < 1e-11);
  }
}

TEST_CASE("specmuon: in the printed form every mode has the same variable") {
  const LeastSquares problem(12, 8);
  const auto spread = [&](const SpecMuonConfig& c) {  // largest relative gap between the r_j
    Watched w(c, random_tensor({12, 8}, DType::f64, 9));
    double worst = 0, smallest_s = 1;
    for (int t = 0; t < 50; ++t) {
      Tensor g;
      const double loss = problem(w.params[0].value, g);
      w.step(g, loss);
      const std::vector<double>& r = w.numbers["r"];
      const auto [low, high] = std::minmax_element(r.begin(), r.end());
      worst = std::max(worst, (*high - *low) / *high);
      smallest_s = std::min(smallest_s, w.numbers["s"].back());
    }
    CHECK(smallest_s < 0.2);  // the modes themselves differ
    return worst;
  };
  SpecMuonConfig c = paper();
  c.lr = 0.05;
  const double printed = spread(c);
  c.form = SavForm::squared;
  const double squared = spread(c);
  std::printf(
      "specmuon: largest gap between the r_j after 50 steps: norm form %.1e, squared %.1e\n",
      printed, squared);
  CHECK(printed < 1e-6);  // eps alone, with eps = 1e-8 beside s_j of a tenth
  CHECK(squared > 1e-2);
}

TEST_CASE("specmuon: relaxation after the step takes the loss of the same batch") {
  const LeastSquares problem(5, 4);
  SpecMuonConfig c;
  c.relaxation = Relaxation::extra_forward;
  c.momentum = 0;
  SpecMuonConfig lazy = c;
  lazy.relaxation = Relaxation::lazy;
  ParamList a = one(random_tensor({5, 4}, DType::f64, 9)), b = a.clone();
  SpecMuon after(c, a), before(lazy, b);
  CHECK(after.loss_use() == LossUse::again);
  const EvaluateAt evaluate = [&](const Tensors& values, bool with_grads) {
    CHECK_FALSE(with_grads);
    Tensor g;
    return LossAndGrads{problem(values[0], g), {}};
  };
  Tensor g;
  for (int64_t t = 0; t < 40; ++t) {  // with one batch for ever both are the same rule
    double loss = problem(a[0].value, g);
    after.step(a, {g}, {.step = t, .loss = loss, .evaluate = evaluate});
    loss = problem(b[0].value, g);
    before.step(b, {g}, {.step = t, .loss = loss});
  }
  CHECK(max_difference(a[0].value, b[0].value) < 1e-12);
  CHECK(error_of([&] { after.step(a, {g}, {.loss = 1}); }, ErrorKind::usage).find("evaluate") !=
        std::string::npos);
}

TEST_CASE("specmuon: every switch trains, and a saved state goes on with the same bits") {
  const std::vector<OptionValues> cases = {
      {},
      {{"preset", "paper"}},
      {{"form", "norm"}, {"relax", "none"}, {"nesterov", "true"}},
      {{"momentum_at", "pre"}, {"tail", "muon"}, {"modes", "2"}},
      {{"tail", "zero"}, {"energy_share", "0.9"}, {"sigma_power", "0.5"}},
      {{"reset", "0.5"}, {"xi", "0.2"}, {"svd", "top"}, {"modes", "3"}},
      {{"svd", "full"}, {"kappa", "0.1"}, {"muon_first", "true"}},
  };
  for (const OptionValues& options : cases) {
    const OptimizerConfig config{.name = "specmuon", .options = options};
    ParamList a = small_model(DType::f32);
    auto optimizer = make_optimizer(config, a);
    const auto run = [](Optimizer& o, ParamList& p, uint64_t from, uint64_t to) {
      for (uint64_t t = from; t < to; ++t) {
        o.step(p, random_gradients(p, t),
               {.step = static_cast<int64_t>(t), .loss = 1.0 / (1.0 + t)});
      }
    };
    run(*optimizer, a, 0, 3);
    ParamList b = a.clone();
    auto resumed = make_optimizer(config, b);
    resumed->load(optimizer->save());
    run(*optimizer, a, 3, 6);
    run(*resumed, b, 3, 6);
    for (size_t i = 0; i < a.size(); ++i) {
      CHECK(same_bits(a[i].value, b[i].value));
      CHECK(std::isfinite(max_abs(a[i].value)));
    }
  }
}

TEST_CASE("specmuon: a loss that has no root, and wrong numbers, are one sentence") {
  ParamList p = small_model(DType::f64);
  auto optimizer = make_optimizer({.name = "specmuon"}, p);
  const Tensors g = random_gradients(p, 1);
  CHECK(
      error_of([&] { optimizer->step(p, g, {.loss = 0}); }, ErrorKind::numerical) ==
      "specmuon: takes the root of the loss, which must be finite and above 0; it is 0; set kappa "
      "above it, or take another optimizer");
  const auto refused = [&](const OptionValues& options) {
    return error_of([&] { make_optimizer({.name = "specmuon", .options = options}, p); },
                    ErrorKind::usage);
  };
  CHECK(refused({{"xi", "1.5"}}) == "specmuon: expects xi from 0 to 1, got 1.5");
  CHECK(refused({{"svd", "top"}, {"tail", "muon"}}) ==
        "specmuon: svd=top knows no other modes, which tail=muon needs");
  CHECK(refused({{"preset", "papr"}}).find("did you mean 'paper'") != std::string::npos);
}

TEST_CASE("specmuon: same bits for one and two threads, zero gradients move nothing") {
  const int threads = num_threads();
  ParamList results[2];
  for (int n : {1, 2}) {
    set_num_threads(n);
    ParamList p = small_model(DType::f32);
    p.add_matrix("large", random_tensor({200, 160}, DType::f32, 5), Role::matrix);
    auto optimizer = make_optimizer({.name = "specmuon"}, p);
    for (uint64_t t = 0; t < 3; ++t) optimizer->step(p, random_gradients(p, t), {.loss = 1});
    results[n - 1] = p;
  }
  set_num_threads(threads);
  for (size_t i = 0; i < results[0].size(); ++i) {
    CHECK(same_bits(results[0][i].value, results[1][i].value));
  }
  ParamList p = one(random_tensor({4, 4}, DType::f64, 1));
  const Tensor start = p[0].value.clone();
  auto optimizer = make_optimizer({.name = "specmuon"}, p);
  optimizer->step(p, {Tensor()}, {.loss = 1});
  CHECK(same_bits(p[0].value, start));
}
