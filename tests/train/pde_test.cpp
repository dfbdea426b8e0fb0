// Physics-informed tasks: batches, resampling, ansatz, terms, errors and maps, on Burgers' equation
// and on a problem whose answer the network can hold exactly.
#include <cmath>
#include <thread>

#include "basin/analysis/pde/burgers.h"
#include "basin/analysis/pde/sampling.h"
#include "basin/autograd/ops.h"
#include "basin/tests/train/problems.h"
#include "basin/train/pde.h"
#include "basin/train/probe_data.h"

namespace basin::test {
namespace {

TaskConfig burgers(OptionValues options = {}) {
  register_builtin_tasks();
  TaskConfig config{.name = "burgers", .options = std::move(options), .model = {.name = "mlp"}};
  config.options.try_emplace("domain", "200");
  config.options.try_emplace("boundary", "20");
  config.options.try_emplace("initial", "30");
  config.model.options = {{"width", "8"}, {"depth", "2"}};
  return config;
}

TrainOptions few_steps(const std::string& optimizer, double lr, OptionValues options = {}) {
  TrainOptions out;
  out.optimizer = {.name = optimizer, .lr = lr, .options = std::move(options)};
  out.schedule = "constant";
  out.steps = 12;
  out.eval_every = {6, false};
  out.checkpoint_every = {6, false};
  out.keep = 0;
  out.dtype = DType::f64;
  return out;
}

double train_loss(const Trainer& trainer) {
  const Task& task = trainer.task();
  const auto source = task.source({.split = Split::train});
  const Tensors buffers = trainer.state().buffers.values();
  const Objective objective =
      task.objective(buffers, source->batch(0, 0).to(DType::f64), ForwardOptions::evaluation());
  return data_loss(objective)(trainer.state().params.values()).front().item();
}

// u = sin(2 x) + y, by an ansatz that adds it to what a network of zeros gives.
PdeProblem known() {
  PdeProblem p;
  p.coordinates = {"x", "y"};
  p.terms = {
      {.name = "laplace",
       .weight = 3,
       .orders = {2, 2},
       .points =
           [](uint64_t seed, int64_t draw) {
             return uniform_points(7, {0, 0}, {1, 1}, seed + 100 * static_cast<uint64_t>(draw));
           },
       .residual =
           [](const Jet& u, const Tensor& x) {
             return u.dd(0) + u.dd(1) + scale(sin(scale(slice(x, 1, 0, 1), 2)), 4);
           }},
      {.name = "data",
       .orders = {0, 0},
       // A third column: the value that was measured there.
       .points =
           [](uint64_t, int64_t) {
             return Tensor::from(std::vector<double>{0.5, 0.25, std::sin(1.0) + 0.25 + 2}, {1, 3});
           },
       .residual = [](const Jet& u, const Tensor& x) { return u.value - slice(x, 1, 2, 3); }}};
  p.ansatz = [](const Jet& x, const Jet& n) {
    return sin(scale(columns(x, 0, 1), 2)) + columns(x, 1, 2) + n;
  };
  p.test_points = grid_points({3, 2}, {0, 0}, {1, 1});
  p.truth = Tensor::zeros({6, 1}, DType::f64);
  return p;
}

}  // namespace

TEST_CASE("pde: terms are weighted means of squares, data columns are the residual's alone") {
  const Task task = pde_task(known(), {.name = "known", .model = {.name = "mlp"}});
  ModelState state = init_model(task.model, 0, DType::f64);
  for (Param& p : state.params) p.value = Tensor::zeros(p.value.shape(), DType::f64);
  const Batch batch = task.source({.split = Split::train})->batch(0, 0);
  CHECK(batch.examples == 8);
  const Objective objective = task.objective({}, batch, ForwardOptions::evaluation());
  CHECK(objective.term_names == std::vector<std::string>{"laplace", "data"});
  const Tensors terms = objective.terms(objective.outputs(state.params.values()));
  CHECK(terms[0].item() < 1e-28);
  CHECK(terms[1].item() == doctest::Approx(4).epsilon(1e-14));
  // A network that is not zero: the first term has the weight 3.
  ModelState other = init_model(task.model, 1, DType::f64);
  const Tensors outputs = objective.outputs(other.params.values());
  const Tensor& r = outputs[0];
  CHECK(objective.terms(outputs)[0].item() ==
        doctest::Approx(3 * mean(square(r)).item()).epsilon(1e-14));
  CHECK(mean(square(r)).item() > 1e-6);
}

TEST_CASE("pde: points are drawn anew when asked, never for a probe") {
  PdeProblem p = known();
  p.resample = 5;
  const Task task = pde_task(p, {.name = "known", .model = {.name = "mlp"}, .seed = 9});
  const auto training = task.source({.split = Split::train, .training = true});
  const auto probe = task.source({.split = Split::train});
  const auto points = [](const Batch& b) { return b.tensors[0].to_vector<double>(); };
  CHECK(points(training->batch(4, 0)) == points(training->batch(0, 0)));
  CHECK(points(training->batch(5, 0)) != points(training->batch(0, 0)));
  CHECK(points(probe->batch(5, 0)) == points(training->batch(0, 0)));
  CHECK(task.source({.split = Split::train, .limit = 3})->examples() == 4);

  // A draw is made once, however many steps and threads ask for it.
  int64_t made = 0;
  p.terms[0].points = [&made, points = p.terms[0].points](uint64_t seed, int64_t draw) {
    ++made;
    return points(seed, draw);
  };
  const Task counted = pde_task(p, {.name = "known", .model = {.name = "mlp"}, .seed = 9});
  const auto source = counted.source({.split = Split::train, .training = true});
  made = 0;
  std::vector<std::vector<double>> seen(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < seen.size(); ++i) {
    threads.emplace_back(
        [&, i] { seen[i] = points(source->batch(5 + static_cast<int64_t>(i), 0)); });
  }
  for (std::thread& t : threads) t.join();
  for (const auto& s : seen) CHECK(s == points(training->batch(5, 0)));
  CHECK(made == 1);
  CHECK(error_of([&] { task.source({.split = Split::validation}); }).first == ErrorKind::usage);
}

TEST_CASE("task burgers: the residual of a trained jet is that of differences") {
  const Task task = make_task(burgers());
  const ModelState state = init_model(task.model, 3, DType::f64);
  const Batch batch = task.source({.split = Split::train})->batch(0, 0);
  REQUIRE(batch.tensors.size() == 4);
  CHECK(batch.tensors[0].shape() == Shape{200, 2});
  CHECK(batch.tensors[1].shape() == Shape{20, 2});
  CHECK(batch.tensors[2].shape() == Shape{30, 2});
  const Tensors params = state.params.values();
  const Tensors residuals = task.objective({}, batch, ForwardOptions::evaluation()).outputs(params);
  const auto u = [&](double x, double t) {
    const Tensor at = Tensor::from(std::vector<double>{x, t}, {1, 2});
    return task.model.forward(params, {}, {at}, ForwardOptions::evaluation()).outputs[0].item();
  };
  const double h = 1e-4;
  for (int64_t i = 0; i < 5; ++i) {
    const double x = batch.tensors[0].at(2 * i), t = batch.tensors[0].at(2 * i + 1);
    const double u_x = (u(x + h, t) - u(x - h, t)) / (2 * h),
                 u_t = (u(x, t + h) - u(x, t - h)) / (2 * h),
                 u_xx = (u(x + h, t) - 2 * u(x, t) + u(x - h, t)) / (h * h);
    CHECK(residuals[0].at(i) ==
          doctest::Approx(u_t + u(x, t) * u_x - kBurgersViscosity * u_xx).epsilon(1e-5));
  }
  for (int64_t i = 0; i < 20; ++i) {
    CHECK(std::abs(batch.tensors[1].at(2 * i)) == 1);
    CHECK(residuals[1].at(i) ==
          doctest::Approx(u(batch.tensors[1].at(2 * i), batch.tensors[1].at(2 * i + 1))));
  }
  const double x = batch.tensors[2].at(0);
  CHECK(batch.tensors[2].at(1) == 0);
  CHECK(residuals[2].at(0) == doctest::Approx(u(x, 0) + std::sin(M_PI * x)).epsilon(1e-12));
}

TEST_CASE("task burgers: relative error and maps are those of the truth on the grid") {
  const Task task = make_task(burgers());
  const ModelState state = init_model(task.model, 3, DType::f64);
  const auto source = task.source({.split = Split::test});
  CHECK(source->examples() == 25600);
  const Evaluation tested = *evaluate(task, state, *source);
  const Tensors params = state.params.values();
  const std::vector<Field> maps = task.fields(params, {});
  REQUIRE(maps.size() == 4);
  CHECK(maps[0].name == "truth");
  CHECK(maps[3].name == "residual");
  CHECK(maps[0].values.shape() == Shape{100, 256});
  CHECK(maps[0].values.at(50 * 256 + 140) ==
        burgers_solution(maps[0].x[140], maps[0].y[50], kBurgersViscosity));
  const double error = std::sqrt(sum(square(maps[2].values)).item()),
               truth = std::sqrt(sum(square(maps[0].values)).item());
  CHECK(tested.values[0] == doctest::Approx(error / truth).epsilon(1e-12));
  CHECK(tested.values[1] == max(abs(maps[2].values.view({25600})), 0).item());
}

TEST_CASE("task burgers: points of the residual have a loss and no error") {
  const Task task = make_task(burgers());
  const ModelState state = init_model(task.model, 3, DType::f64);
  const ProbeData data = probe_data(task, Split::train, 0, 64, 0);
  const MeanLoss at = mean_loss(task, state.params.values(), {}, data, NormStatistics::frozen);
  CHECK(at.loss > 0);
  CHECK(std::isnan(at.metric));
}

TEST_CASE("task burgers: every optimizer lowers the loss and resumes to the same bits") {
  const struct {
    const char* name;
    double lr;
    OptionValues options;
  } rows[] = {{"adamw", 3e-3, {}},
              {"muon", 1e-2, {{"aux_lr", "0.003"}}},
              {"polar_adamw", 3e-3, {}},
              {"specmuon", 3e-3, {{"preset", "paper"}}},
              {"specmuon", 3e-3, {{"preset", "robust"}}},
              {"soap", 3e-3, {}},
              {"lbfgs", 1, {}},
              {"adamw", 3e-3, {{"sam", "0.01"}}}};
  const Task task = make_task(burgers());
  for (const auto& row : rows) {
    CAPTURE(row.name);
    const TempDir dir;
    const TrainOptions options = few_steps(row.name, row.lr, row.options);
    Trainer whole(task, options), cut(task, options), resumed(task, options);
    const double before = train_loss(whole);
    whole.run(dir / "whole");
    CHECK(train_loss(whole) < before);
    cut.run(dir / "cut", {.stop = [&] { return cut.steps_done() == 6 ? SIGTERM : 0; }});
    resumed.restore(*read_newest_checkpoint(dir / "cut/ckpt"));
    resumed.run(dir / "cut");
    const auto weights = [&](const char* run) {
      return sha256_hex_of_file(checkpoint_path(dir / run / "ckpt", 12) / "model.safetensors");
    };
    CHECK(weights("whole") == weights("cut"));
  }
}

TEST_CASE("task burgers: truth from a MATLAB file, and one that does not fit") {
  CHECK(error_of([] { make_task(burgers({{"data", "/nowhere.mat"}})); }).first == ErrorKind::data);
  CHECK(error_of([] { make_task(burgers({{"sampling", "sobol"}})); }).first == ErrorKind::usage);
  const fs::path real = real_data("burgers/burgers_shock.mat");
  if (real.empty()) return;
  const Task task = make_task(burgers({{"data", real.string()}}));
  const Tensor file = task.source({.split = Split::test})->batch(0, 0).tensors.back();
  const Tensor own =
      make_task(burgers()).source({.split = Split::test})->batch(0, 0).tensors.back();
  REQUIRE(file.shape() == own.shape());
  CHECK(max(abs((file - own).view({file.numel()})), 0).item() < 1e-9);
}

TEST_CASE("pde: problems that do not fit together are refused") {
  const TaskConfig config{.name = "known", .model = {.name = "mlp"}};
  PdeProblem p = known();
  p.terms[0].orders = {2};
  CHECK(error_of([&] { pde_task(p, config); }).first == ErrorKind::usage);
  p = known();
  p.truth = Tensor::zeros({5, 1}, DType::f64);
  CHECK(error_of([&] { pde_task(p, config); }).second ==
        "pde: expects the truth [6, 1] f64, got [5, 1] f64");
  p = known();
  p.terms.clear();
  CHECK(error_of([&] { pde_task(p, config); }).first == ErrorKind::usage);
}

}  // namespace basin::test
