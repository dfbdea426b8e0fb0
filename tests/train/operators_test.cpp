// Operators learned from pairs, and fractional equations: data against closed forms, residuals that
// the exact solution leaves, trainings that resume to the same bits.
#include <cmath>

#include "basin/analysis/pde/sampling.h"
#include "basin/autograd/ops.h"
#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

Task small(const std::string& name, OptionValues options = {}) {
  register_builtin_tasks();
  if (name != "fractional") {
    options.try_emplace("train", "6");
    options.try_emplace("test", "3");
  }
  return make_task(
      {.name = name, .options = std::move(options), .model = {.name = task_info(name).models[0]}});
}

Task small_ball(const std::string& dimension) {
  register_builtin_tasks();
  return make_task({.name = "fractional_ball",
                    .options = {{"dimension", dimension},
                                {"places", "30"},
                                {"step", "0.1"},
                                {"angles", dimension == "3" ? "2" : "4"}},
                    .model = {.name = "mlp", .options = {{"width", "16"}, {"depth", "2"}}}});
}

// A network that is w = 1 times a given u(x, t), whatever the function.
Task exact_task(const std::string& name, const Fn& solution, OptionValues options) {
  const std::string model = "exact_" + name;
  register_model({model,
                  "w u(x, t)",
                  {{"plain", ""}},
                  {{"sensors", "1", "of a function", OptionKind::integer},
                   {"coordinates", "2", "of a place", OptionKind::integer},
                   {"activation", "tanh", "of none"}},
                  [solution](const ModelConfig&, const OptionReader&) {
                    Model made;
                    made.inputs = {{"functions", Rows::example, SlotKind::feature},
                                   {"points", Rows::example, SlotKind::feature}};
                    const Own w = made.layout.own("w", 1, Role::gain, constant_init(1));
                    made.forward = [layout = made.layout, w, solution](
                                       const Tensors& params, const Tensors& buffers,
                                       const Tensors& in, const ForwardOptions& o) {
                      const Tensor u = Pass(layout, params, buffers, o.batch_statistics).value(w) *
                                       solution({in[1]}).front();
                      ForwardResult result;
                      result.outputs = {broadcast_to(reshape(u, {1, in[1].size(0)}),
                                                     {in[0].size(0), in[1].size(0)})};
                      return result;
                    };
                    return made;
                  }});
  register_builtin_tasks();
  options.insert({{"training", "residual"}, {"train", "2"}, {"test", "1"}});
  return make_task({.name = name, .options = std::move(options), .model = {.name = model}});
}

// What every term of such a task leaves over where its functions are v at the sensors.
Tensors left_over(const Task& task, const Tensor& v, double w) {
  Batch batch = task.source({.split = Split::train})->batch(0, 0);
  batch.tensors[0] = broadcast_to(reshape(v, {1, v.numel()}), batch.tensors[0].shape());
  ModelState state = init_model(task.model, 0, DType::f64);
  state.params[0].value = Tensor::full({1}, DType::f64, w);
  return task.objective({}, batch, ForwardOptions::evaluation()).outputs(state.params.values());
}

Task small_burgers(const std::string& periodic, const std::string& resample = "1") {
  register_builtin_tasks();
  return make_task({.name = "burgers_operator",
                    .options = {{"training", "residual"},
                                {"train", "6"},
                                {"test", "3"},
                                {"domain", "40"},
                                {"resample", resample}},
                    .model = {.name = "deeponet",
                              .options = {{"periodic", periodic},
                                          {"width", "12"},
                                          {"products", "10"},
                                          {"activation", "tanh"}}},
                    .seed = 5});
}

double largest(const Tensor& t) { return max(abs(t.view({t.numel()})), 0).item(); }

// 60 steps of Muon make the metric smaller; stopped after 30 and resumed they give the same bits.
// The runs are `dir`/whole and `dir`/cut.
void check_descends_and_resumes(const Task& task, int64_t batch, const TempDir& dir) {
  TrainOptions options;
  options.optimizer = {.name = "muon", .lr = 5e-3, .options = {{"aux_lr", "0.003"}}};
  options.batch = options.eval_batch = batch;
  options.steps = 60;
  options.eval_every = options.checkpoint_every = {30, false};
  options.keep = 0;
  options.dtype = DType::f64;
  Trainer whole(task, options), cut(task, options), resumed(task, options);
  const double before = whole.test().values[0];
  whole.run(dir / "whole");
  CHECK(whole.test().values[0] < before);
  cut.run(dir / "cut", {.stop = [&] { return cut.steps_done() == 30 ? SIGTERM : 0; }});
  resumed.restore(*read_newest_checkpoint(dir / "cut/ckpt"));
  resumed.run(dir / "cut");
  CHECK(hashes(dir / "whole", 60) == hashes(dir / "cut", 60));
}

}  // namespace

TEST_CASE("operators: every task has data of its own, a function of options and seed") {
  for (const char* name : {"antiderivative", "advection", "burgers_operator", "heat_operator"}) {
    CAPTURE(name);
    const Task task = small(name), again = small(name), other = small(name, {{"data_seed", "1"}});
    const auto hash = [](const Task& t) { return t.data().hash; };
    CHECK(hash(task) == hash(again));
    CHECK(hash(task) != hash(other));
    const Batch train = task.source({.split = Split::train, .batch = 4})->batch(0, 0),
                test = task.source({.split = Split::test, .batch = 4})->batch(0, 0);
    CHECK(train.examples == 4);
    CHECK(test.examples == 3);
    CHECK(train.tensors[2].shape() == Shape{4, train.tensors[1].size(0)});
    CHECK(largest(train.tensors[2]) > 1e-3);
    CHECK(task.source({.split = Split::train, .training = true, .batch = 4})->batches() == 1);
  }
}

TEST_CASE("operators: the truth is what the operator says") {
  // u' = v: the trapezoid rule over 100 sensors is right to some 1e-3 of a smooth function.
  const Batch a = small("antiderivative").source({.split = Split::train})->batch(0, 0);
  const Tensor v = a.tensors[0], u = a.tensors[2];
  double sum = 0;
  for (int64_t i = 1; i < 100; ++i) {
    sum += (v.at(i) + v.at(i - 1)) / 2 / 99;
    CHECK(u.at(i) == doctest::Approx(sum).epsilon(1e-3).scale(1));
  }
  CHECK(u.at(0) == 0);
  // u(x, t) = v(x - t): at t = 0 and after one period the start itself.
  const Batch b = small("advection").source({.split = Split::train})->batch(0, 0);
  for (int64_t i = 0; i < 50; ++i) {
    CHECK(b.tensors[2].at(i) == doctest::Approx(b.tensors[0].at(i)).epsilon(1e-9).scale(1));
    CHECK(b.tensors[2].at(20 * 50 + i) ==
          doctest::Approx(b.tensors[0].at(i)).epsilon(1e-9).scale(1));
  }
  // Diffusion takes energy away, and keeps a mean of zero.
  const Batch c = small("heat_operator").source({.split = Split::train})->batch(0, 0);
  CHECK(mean(square(c.tensors[2])).item() < mean(square(c.tensors[0])).item());
  CHECK(std::abs(mean(c.tensors[2]).item()) < 1e-12);
}

TEST_CASE("operators by residual: exact solutions leave nothing over, others do") {
  // Cole and Hopf, phi = 2 + e cos 2 pi x, e = exp(-4 pi^2 nu t): u = -2 nu phi_x / phi.
  const double nu = 0.01;
  const auto burgers = [=](const Tensors& in) {
    const Tensor x = scale(slice(in[0], 1, 0, 1), 2 * M_PI), t = slice(in[0], 1, 1, 2);
    const Tensor e = exp(scale(t, -4 * M_PI * M_PI * nu));
    return Tensors{scale(e * sin(x), 4 * M_PI * nu) / shift(e * cos(x), 2)};
  };
  const auto wave = [](const Tensors& in) {
    return Tensors{sin(scale(slice(in[0], 1, 0, 1) - slice(in[0], 1, 1, 2), 2 * M_PI))};
  };
  const auto parabola = [](const Tensors& in) { return Tensors{square(in[0])}; };
  const auto start = [](const Fn& u, int64_t n) {
    std::vector<double> at;
    for (int64_t i = 0; i < n; ++i) {
      at.insert(at.end(), {static_cast<double>(i) / static_cast<double>(n), 0.0});
    }
    return u({Tensor::from(at, {n, 2})}).front();
  };
  struct Case {
    const char* name;
    Fn solution;
    Tensor v;
    size_t terms;
  };
  const Tensor twice = scale(linspace(0, 1, 100), 2);
  for (const Case& c :
       {Case{"burgers_operator", burgers, start(burgers, 101), 4},
        Case{"advection", wave, start(wave, 50), 3}, Case{"antiderivative", parabola, twice, 2}}) {
    CAPTURE(c.name);
    const Task task = exact_task(c.name, c.solution, {});
    const Tensors exact = left_over(task, c.v, 1), other = left_over(task, c.v, 1.5);
    REQUIRE(exact.size() == c.terms);
    for (const Tensor& r : exact) CHECK(largest(r) < 1e-12);
    // The start, and where the equation is not linear in u also the equation.
    CHECK(largest(other[std::string(c.name) == "antiderivative" ? 0 : 1]) > 0.02);
    if (std::string(c.name) == "burgers_operator") CHECK(largest(other[0]) > 1e-3);
  }
}

TEST_CASE("operators by residual: terms are those of differences of the network") {
  const Task task = small_burgers("false");
  const Batch batch = task.source({.split = Split::train, .batch = 4})->batch(0, 0);
  REQUIRE(batch.tensors.size() == 6);
  CHECK(batch.tensors.back().shape() == Shape{0, 64 * 21});  // no solution
  const Tensors params = init_model(task.model, 3, DType::f64).params.values();
  const Objective objective = task.objective({}, batch, ForwardOptions::evaluation());
  CHECK(objective.term_names ==
        std::vector<std::string>{"residual", "initial", "boundary", "boundary_slope"});
  const Tensors left = objective.outputs(params);
  const auto u = [&](int64_t i, double x, double t) {
    const Tensor at = Tensor::from(std::vector<double>{x, t}, {1, 2});
    return task.model
        .forward(params, {}, {slice(batch.tensors[0], 0, i, i + 1), at},
                 ForwardOptions::evaluation())
        .outputs[0]
        .item();
  };
  const double h = 1e-4;
  const auto slope = [&](int64_t i, double x, double t) {
    return (u(i, x + h, t) - u(i, x - h, t)) / (2 * h);
  };
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t p = 0; p < 3; ++p) {
      const double x = batch.tensors[1].at(2 * p), t = batch.tensors[1].at(2 * p + 1);
      const double u_t = (u(i, x, t + h) - u(i, x, t - h)) / (2 * h),
                   u_xx = (u(i, x + h, t) - 2 * u(i, x, t) + u(i, x - h, t)) / (h * h);
      CHECK(left[0].at(40 * i + p) ==
            doctest::Approx(u_t + u(i, x, t) * slope(i, x, t) - 0.01 * u_xx).epsilon(1e-5));
      const double sensor = static_cast<double>(p) / 101, time = static_cast<double>(p) / 100;
      CHECK(left[1].at(101 * i + p) ==
            doctest::Approx(u(i, sensor, 0) - batch.tensors[0].at(101 * i + p)).epsilon(1e-9));
      CHECK(left[2].at(101 * i + p) ==
            doctest::Approx(u(i, 0, time) - u(i, 1, time)).epsilon(1e-9));
      CHECK(left[3].at(101 * i + p) ==
            doctest::Approx(slope(i, 0, time) - slope(i, 1, time)).epsilon(1e-5));
    }
  }
  const Tensors terms = objective.terms(left);
  CHECK(terms[0].item() == doctest::Approx(mean(square(left[0])).item()));
  CHECK(terms[1].item() == doctest::Approx(20 * mean(square(left[1])).item()));

  // The gradient of the loss along itself, by central differences.
  const Fn loss = data_loss(objective);
  const Tensors g = grad(loss)(params);
  double squared = 0;
  for (const Tensor& part : g) squared += sum(square(part)).item();
  const auto along = [&](double step) {
    Tensors at;
    for (size_t i = 0; i < g.size(); ++i) at.push_back(params[i] + scale(g[i], step));
    return loss(at).front().item();
  };
  const double e = 1e-5 / std::sqrt(squared);
  CHECK((along(e) - along(-e)) / (2 * e) == doctest::Approx(squared).epsilon(1e-7));
}

TEST_CASE("operators by residual: periodic features need no boundary, points are drawn anew") {
  const Task task = small_burgers("true", "2");
  const auto training = task.source({.split = Split::train, .training = true, .batch = 3}),
             probe = task.source({.split = Split::train, .batch = 3});
  const Batch first = training->batch(0, 0);
  CHECK(task.objective({}, first, ForwardOptions::evaluation()).term_names ==
        std::vector<std::string>{"residual", "initial"});
  const auto points = [](const Batch& b) { return b.tensors[1].to_vector<double>(); };
  CHECK(points(training->batch(0, 1)) == points(first));  // two steps an epoch
  CHECK(points(training->batch(1, 0)) != points(first));
  CHECK(points(probe->batch(1, 0)) == points(first));
  CHECK(task.source({.split = Split::test})->batch(0, 0).tensors[1].shape() == Shape{64 * 21, 2});
}

TEST_CASE("operators by residual: descends without solutions, resumes to the same bits") {
  const Task task = small_burgers("false");
  const TempDir dir;
  check_descends_and_resumes(task, 3, dir);
  const RecordFields last = events(dir / "whole", "epoch").back();
  CHECK(last.number("train_loss_initial") < last.number("train_loss"));
}

TEST_CASE("fractional: what the exact solution leaves over is the error of the matrix") {
  // N with x (1 - x) N = x^3 (1 - x)^3, so that u is exact.
  register_model({"exact_bump",
                  "N = w (x (1 - x))^2",
                  {{"plain", ""}},
                  {{"inputs", "1", "of x", OptionKind::integer}},
                  [](const ModelConfig&, const OptionReader&) {
                    Model model;
                    model.inputs = {{"points", Rows::example, SlotKind::feature}};
                    const Own w = model.layout.own("w", 1, Role::gain, constant_init(1));
                    model.forward = [layout = model.layout, w](
                                        const Tensors& params, const Tensors& buffers,
                                        const Tensors& in, const ForwardOptions& o) {
                      const Tensor b = in[0] * shift(neg(in[0]), 1);
                      ForwardResult result;
                      result.outputs = {Pass(layout, params, buffers, o.batch_statistics).value(w) *
                                        square(b)};
                      return result;
                    };
                    return model;
                  }});
  std::vector<double> left;
  for (const char* nodes : {"51", "101"}) {
    register_builtin_tasks();
    const Task task = make_task({.name = "fractional",
                                 .options = {{"problem", "1"}, {"nodes", nodes}},
                                 .model = {.name = "exact_bump"}});
    const Tensors params = init_model(task.model, 0, DType::f64).params.values();
    const Batch batch = task.source({.split = Split::train})->batch(0, 0);
    left.push_back(
        largest(task.objective({}, batch, ForwardOptions::evaluation()).outputs(params).front()));
    const ModelState state = init_model(task.model, 0, DType::f64);
    CHECK(evaluate(task, state, *task.source({.split = Split::test}))->values[0] < 1e-12);
  }
  // The printed errors of the scheme at a = 1.5: 6.5e-3 and 3.3e-3.
  CHECK(left[0] == doctest::Approx(6.5e-3).epsilon(0.02));
  CHECK(left[1] == doctest::Approx(3.3e-3).epsilon(0.02));
}

TEST_CASE("fractional: every problem trains; probes take whole grids") {
  for (const char* problem : {"1", "2", "3", "4", "5"}) {
    CAPTURE(problem);
    const Task task = small("fractional", {{"problem", problem}, {"nodes", "21"}, {"times", "9"}});
    const auto part = task.source({.split = Split::train, .limit = 4});
    CHECK(part->examples() == task.source({.split = Split::train})->examples());
    TrainOptions options;
    options.optimizer = {.name = "adam", .lr = 1e-2};
    options.steps = 150;
    options.eval_every = {150, false};
    options.dtype = DType::f64;
    Trainer trainer(task, options);
    const double before = trainer.test().values[0];
    const TempDir dir;
    trainer.run(dir / "run");
    CHECK(trainer.test().values[0] < before);
  }
  CHECK(error_of([] { small("fractional", {{"problem", "6"}}); }).first == ErrorKind::usage);
  CHECK(error_of([] {
          small("fractional", {{"problem", "4"}, {"alpha", "1.5"}});
        }).first == ErrorKind::usage);
}

TEST_CASE("fractional_ball: trains in the disk and in the ball, maps the disk") {
  for (const char* dimension : {"2", "3"}) {
    CAPTURE(dimension);
    const Task task = small_ball(dimension);
    const auto part = task.source({.split = Split::train, .limit = 4});
    CHECK(part->examples() == task.source({.split = Split::train})->examples());
    TrainOptions options;
    options.optimizer = {.name = "adam", .lr = 1e-2};
    options.steps = 200;
    options.eval_every = {200, false};
    options.dtype = DType::f64;
    Trainer trainer(task, options);
    const double before = trainer.test().values[0];
    const TempDir dir;
    trainer.run(dir / "run");
    const double after = trainer.test().values[0];
    std::printf("fractional_ball in %s dimensions: rel_l2 %.3f, then %.3f\n", dimension, before,
                after);
    CHECK(after < 0.3);
    CHECK(after < before / 3);
    REQUIRE(static_cast<bool>(task.fields) == (std::string(dimension) == "2"));
    if (!task.fields) continue;
    // Outside the disk network and truth are zero; of points that belong together there is no map
    // of the residual.
    const std::vector<Field> maps =
        task.fields(trainer.state().params.values(), trainer.state().buffers.values());
    REQUIRE(maps.size() == 3);
    CHECK(maps[0].values.at(0) == 0);
    CHECK(maps[1].values.at(0) == 0);
    CHECK(maps[0].values.at(101 * 50 + 50) == 1);
  }
  CHECK(error_of([] { small_ball("1"); }).first == ErrorKind::usage);
}

TEST_CASE("fractional_operator: descends a residual without solutions, resumes to the same bits") {
  const Task task = small("fractional_operator", {{"times", "9"}, {"train", "8"}});
  const Batch train = task.source({.split = Split::train, .batch = 4})->batch(0, 0);
  CHECK(train.tensors.back().size(0) == 0);
  const TempDir dir;
  check_descends_and_resumes(task, 4, dir);
}

}  // namespace basin::test
