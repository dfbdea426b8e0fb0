// L-BFGS: its line search, Rosenbrock's function and an ill-conditioned quadratic beside the
// evaluations that SciPy's L-BFGS-B needs (tests/fixtures/optim), resume, refusals.
#include "basin/optim/detail/lbfgs.h"

#include "basin/core/safetensors.h"
#include "basin/optim/detail/line_search.h"
#include "basin/optim/registry.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

namespace {

using Vector = std::vector<double>;
using Function = std::function<double(const Vector& x, Vector& g)>;

double rosenbrock(const Vector& x, Vector& g) {
  double f = 0;
  std::fill(g.begin(), g.end(), 0.0);
  for (size_t i = 0; i + 1 < x.size(); ++i) {
    const double a = x[i + 1] - x[i] * x[i], b = 1 - x[i];
    f += 100 * a * a + b * b;
    g[i] += -400 * a * x[i] - 2 * b;
    g[i + 1] += 200 * a;
  }
  return f;
}

double quadratic(const Vector& x, Vector& g) {
  double f = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double d = std::pow(10.0, 4 * static_cast<double>(i) / (x.size() - 1));
    f += d * x[i] * x[i] / 2;
    g[i] = d * x[i];
  }
  return f;
}

// A function of one parameter vector, its evaluations counted.
struct Problem {
  Function f;
  ParamList params;
  int64_t evaluations = 0;

  Problem(Function function, const Vector& x0) : f(std::move(function)) {
    params.add_vector("x", Tensor::from(x0, {static_cast<int64_t>(x0.size())}), Role::bias);
  }
  LossAndGrads operator()(const Tensors& at, bool) {
    ++evaluations;
    const Vector x = at[0].to_vector<double>();
    Vector g(x.size());
    const double loss = f(x, g);
    return {loss, {Tensor::from(g, at[0].shape()).to(at[0].dtype())}};
  }
  // One step; the largest element of the gradient before it.
  double step(Optimizer& o, int64_t number) {
    const LossAndGrads here = (*this)(params.values(), true);
    const double size = max_abs(here.grads[0]);
    o.step(params, here.grads, {.step = number, .loss = here.loss, .evaluate = std::ref(*this)});
    return size;
  }
};

Vector alternating(int64_t n) {
  Vector x(static_cast<size_t>(n), 1.0);
  for (size_t i = 0; i < x.size(); i += 2) x[i] = -1.2;
  return x;
}

int64_t scipy_evaluations(const std::string& name) {
  static const SafetensorsFile file =
      read_safetensors(fs::path(BASIN_SOURCE_DIR) / "tests/fixtures/optim/zoo.safetensors");
  const Tensor* t = file.find("scipy." + name);
  REQUIRE(t != nullptr);
  return static_cast<int64_t>(t->at(0));
}

}  // namespace

TEST_CASE("lbfgs: as few evaluations as SciPy on Rosenbrock and on condition 1e4") {
  struct Case {
    std::string name;
    Function f;
    Vector start;
    double minimiser;
  };
  const std::vector<Case> cases = {{"rosenbrock2", rosenbrock, alternating(2), 1},
                                   {"rosenbrock10", rosenbrock, alternating(10), 1},
                                   {"rosenbrock100", rosenbrock, alternating(100), 1},
                                   {"quadratic", quadratic, Vector(100, 1.0), 0}};
  for (const Case& c : cases) {
    Problem problem(c.f, c.start);
    LbfgsConfig config;
    config.history = 10;
    config.tolerance = 1e-6;
    Lbfgs optimizer(config, problem.params);
    int64_t step = 0;
    while (step < 200 && problem.step(optimizer, step) > config.tolerance) ++step;
    const int64_t theirs = scipy_evaluations(c.name);
    double distance = 0;
    for (const double x : problem.params[0].value.to_vector<double>()) {
      distance = std::max(distance, std::abs(x - c.minimiser));
    }
    std::printf("lbfgs: %-14s %4ld evaluations, SciPy %4ld, distance %.1e\n", c.name.c_str(),
                static_cast<long>(problem.evaluations), static_cast<long>(theirs), distance);
    CHECK(distance < 1e-5);
    CHECK(static_cast<double>(problem.evaluations) <= 1.25 * static_cast<double>(theirs));
  }
}

TEST_CASE("lbfgs: the line search ends at a strong Wolfe point from any first step") {
  struct Curve {
    std::function<double(double)> f, slope;
  };
  const std::vector<Curve> curves = {
      {[](double t) { return (t - 3) * (t - 3); }, [](double t) { return 2 * (t - 3); }},
      {[](double t) { return -t / (t * t + 2); },
       [](double t) { return (t * t - 2) / ((t * t + 2) * (t * t + 2)); }},
      {[](double t) { return std::exp(t) - 5 * t; }, [](double t) { return std::exp(t) - 5; }},
      {[](double t) { return std::pow(t + 0.004, 5) - 2 * std::pow(t + 0.004, 4); },
       [](double t) { return 5 * std::pow(t + 0.004, 4) - 8 * std::pow(t + 0.004, 3); }}};
  for (const double c2 : {0.9, 0.1}) {
    for (const Curve& curve : curves) {
      for (const double first : {1e-3, 0.1, 1.0, 10.0, 1e3}) {
        CAPTURE(first);
        int count = 0;
        const auto line = [&](double t) {
          ++count;
          return LinePoint{t, curve.f(t), curve.slope(t)};
        };
        const LinePoint start{0, curve.f(0), curve.slope(0)};
        const WolfeResult r = strong_wolfe(line, start, first, {.c2 = c2, .width = 1e-12});
        CHECK(r.holds);
        CHECK(r.at.value <= start.value + 1e-3 * r.at.t * start.slope);
        CHECK(std::abs(r.at.slope) <= c2 * std::abs(start.slope));
        CHECK(count <= 20);
      }
    }
  }
  // Beyond t = 2 there is nothing: the step is taken back.
  const auto cliff = [](double t) {
    return t > 2 ? LinePoint{t, NAN, NAN} : LinePoint{t, (t - 1.5) * (t - 1.5), 2 * (t - 1.5)};
  };
  const WolfeResult r = strong_wolfe(cliff, {0, 2.25, -3}, 100, {});
  CHECK(r.holds);
  CHECK(r.at.t <= 2);
}

TEST_CASE("lbfgs: a saved state goes on with the same bits; f32 parameters too") {
  for (const DType dtype : {DType::f64, DType::f32}) {
    Problem a(rosenbrock, alternating(10));
    a.params = a.params.to(dtype);
    const OptimizerConfig config{.name = "lbfgs",
                                 .options = {{"iterations", "3"}, {"history", "4"}}};
    const auto optimizer = make_optimizer(config, a.params);
    for (int64_t t = 0; t < 4; ++t) a.step(*optimizer, t);
    Problem b(rosenbrock, alternating(10));
    b.params = a.params.clone();
    const auto resumed = make_optimizer(config, b.params);
    resumed->load(optimizer->save());
    for (int64_t t = 4; t < 8; ++t) {
      a.step(*optimizer, t);
      b.step(*resumed, t);
    }
    CHECK(same_bits(a.params[0].value, b.params[0].value));
    OptimizerState state = optimizer->save();
    state.scalars["lbfgs.pairs"] = "9";
    CHECK(error_of([&] { resumed->load(state); }, ErrorKind::data) ==
          "lbfgs: the state holds 9 pairs, history is 4");
  }
}

TEST_CASE("lbfgs: weight decay belongs to the function") {
  Problem p(quadratic, Vector(5, 1.0));
  p.f = [](const Vector& x, Vector& g) {  // |x - 1|^2 / 2, with decay 1: the minimiser is 1/2
    double f = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      g[i] = x[i] - 1;
      f += g[i] * g[i] / 2;
    }
    return f;
  };
  const auto optimizer = make_optimizer({.name = "lbfgs", .weight_decay = 1}, p.params);
  for (int64_t t = 0; t < 3; ++t) p.step(*optimizer, t);
  for (const double x : p.params[0].value.to_vector<double>()) {
    CHECK(x == doctest::Approx(0.5).epsilon(1e-9));
  }
}

TEST_CASE("lbfgs: a loss that is no number beyond a border does not cost the points before it") {
  // Falls towards a border behind which it is undefined, as a logarithm's argument does.
  const auto slope = [](const Vector& x, Vector& g) {
    g[0] = -1;
    return x[0] > 1.5 ? std::nan("") : 10 - x[0];
  };
  for (const char* evaluations : {"2", "4", "6", "9"}) {
    CAPTURE(evaluations);
    Problem p(slope, {0});
    const auto optimizer =
        make_optimizer({.name = "lbfgs", .options = {{"evaluations", evaluations}}}, p.params);
    p.step(*optimizer, 0);
    const double x = p.params[0].value.at(0);
    CHECK(x >= 1);
    CHECK(x <= 1.5);
  }
}

TEST_CASE("lbfgs: what it cannot do is one sentence") {
  Problem p(rosenbrock, alternating(4));
  const auto optimizer = make_optimizer({.name = "lbfgs"}, p.params);
  CHECK(error_of([&] { optimizer->step(p.params, {Tensor()}, {}); }, ErrorKind::usage) ==
        "lbfgs: needs loss and gradient at other parameters (StepInfo::evaluate)");
  CHECK(error_of(
            [&] {
              make_optimizer({.name = "lbfgs", .groups = {{"x", 0.1, {}}}}, p.params);
            },
            ErrorKind::usage)
            .find("one step together") != std::string::npos);
  CHECK(error_of(
            [&] {
              make_optimizer({.name = "lbfgs", .options = {{"sam", "0.1"}}}, p.params);
            },
            ErrorKind::usage)
            .find("take sam away") != std::string::npos);
}
