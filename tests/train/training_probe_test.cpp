// Measurements along a training: they change nothing, they repeat bit for bit after a stop
// anywhere, and their numbers are those of the estimators on the same weights.
#include "basin/train/training_probe.h"

#include <cmath>

#include "basin/analysis/ranks.h"
#include "basin/autograd/transform.h"
#include "basin/tests/train/problems.h"
#include "basin/train/term_gradients.h"

namespace basin::test {
namespace {

Settings probed(const std::string& optimizer, const std::string& plan) {
  Settings settings = tiny_shapes(optimizer);
  settings.train.probe = parse_probe_plan(plan);
  settings.train.keep = 0;
  return settings;
}

// "probe" and "probe_matrix".
std::vector<RecordFields> probe_lines(const fs::path& run) {
  std::vector<RecordFields> out;
  for (RecordFields& fields : lines_of(run)) {
    if (fields.text("event").starts_with("probe")) out.push_back(std::move(fields));
  }
  return out;
}

std::string weights_at_end(const fs::path& run) {
  const int64_t step = checkpoint_steps(run / "ckpt").back();
  return sha256_hex_of_file(checkpoint_path(run / "ckpt", step) / "model.safetensors");
}

TEST_CASE("training probe: the plan is read, and a bad one is a usage error") {
  CHECK(parse_probe_plan("").every.count == 0);
  const ProbePlan plan = parse_probe_plan("every=5,shapes=64,probes=8,steps=30");
  CHECK(plan.every.text() == "5e");  // a bare number counts epochs
  CHECK(plan.examples == 64);
  CHECK(plan.probes == 8);
  CHECK(plan.steps == 30);
  CHECK(parse_probe_plan("every=500,examples=7").examples == 7);
  CHECK(parse_probe_plan("every=5e").every.text() == "5e");
  CHECK(parse_probe_plan("every=5e").density == 0);
  CHECK(parse_probe_plan("every=5e,density=12").density == 12);
  for (const char* bad : {"every=0", "5", "every=2,shape=3", "shapes=3", "every=2,probes=1",
                          "every=2,density=-1", "every=2x", "every="}) {
    CHECK_MESSAGE(error_of([&] { parse_probe_plan(bad); }).first == ErrorKind::usage, bad);
  }
}

TEST_CASE("training probe: lines are written, the training is unchanged, a resume repeats them") {
  for (const char* optimizer : {"muon", "adamw", "specmuon"}) {
    CAPTURE(optimizer);
    const TempDir dir;
    const Problem plain(probed(optimizer, "")), watched(probed(optimizer, "every=2,shapes=20"));
    train(plain, dir / "plain");
    train(watched, dir / "whole");
    CHECK(weights_at_end(dir / "plain") == weights_at_end(dir / "whole"));

    const auto lines = probe_lines(dir / "whole");
    REQUIRE(!lines.empty());
    CHECK(lines.front().text("event") == "probe");
    CHECK(lines.front().integer("epoch") == 2);
    CHECK(lines.front().integer("probe_shapes") == 20);
    const auto told = std::count_if(lines.begin(), lines.end(), [](const RecordFields& line) {
      return line.has("specmuon_r_over_e_1") && line.number("specmuon_r_over_e_1") > 0;
    });
    CHECK((told > 0) == (std::string(optimizer) == "specmuon"));
    // One line for the network, one per matrix.
    CHECK(lines.size() ==
          1 + weight_spectra(Trainer(plain.task, plain.options).state().params).matrices.size());
    // Stopped within every epoch and within an evaluation; each run goes on where the last one was.
    for (int stop_after : {3, 7, 13}) {
      CAPTURE(stop_after);
      const fs::path cut = dir / str("cut-", stop_after);
      for (int i = 0; i < 12; ++i) train(watched, cut, stop_after);
      train(watched, cut);
      CHECK(weights_at_end(cut) == weights_at_end(dir / "whole"));
      const auto again = probe_lines(cut);
      REQUIRE(again.size() == lines.size());
      for (size_t i = 0; i < lines.size(); ++i) CHECK(again[i].values() == lines[i].values());
    }
  }
}

TEST_CASE("training probe: the rules of the spectral density, one line each") {
  const TempDir dir;
  const Problem problem(probed("muon", "every=2,shapes=20,probes=3,density=6"));
  train(problem, dir / "run");
  double trace = 0;
  std::vector<RecordFields> rules;
  for (RecordFields& line : probe_lines(dir / "run")) {
    if (line.text("event") == "probe") trace = line.number("trace");
    if (line.text("event") == "probe_density") rules.push_back(std::move(line));
  }
  REQUIRE(rules.size() == 3);
  double sum = 0;
  for (const RecordFields& rule : rules) {
    const auto numbers = [&](const char* key) {
      std::vector<double> out;
      TextReader in(rule.text(key));
      for (std::string part; std::getline(in, part, ' ');) {
        REQUIRE(parse_double(part, out.emplace_back()));
      }
      return out;
    };
    const std::vector<double> nodes = numbers("nodes"), weights = numbers("weights");
    REQUIRE(nodes.size() == 6);
    REQUIRE(weights.size() == 6);
    CHECK(std::is_sorted(nodes.begin(), nodes.end()));
    double mass = 0;
    for (size_t i = 0; i < 6; ++i) {
      mass += weights[i];
      sum += weights[i] * nodes[i] * rule.number("size") / 3;
    }
    CHECK(mass == doctest::Approx(1).epsilon(1e-10));
  }
  // The first moment of each rule is the quadratic form of its probe, and Hutchinson's estimate
  // takes the same probes, times products in f32.
  CHECK(sum == doctest::Approx(trace).epsilon(1e-4));
}

TEST_CASE("training probe: its numbers are those of the weights") {
  const TempDir dir;
  const Problem problem(probed("muon", "every=3,shapes=20,probes=6,steps=40"));
  train(problem, dir / "run");
  Trainer trainer(problem.task, problem.options);
  trainer.restore(*read_newest_checkpoint(dir / "run/ckpt"));
  const RecordFields line = probe_lines(dir / "run").front();

  const ProbeData data = probe_data(problem.task, Split::train, 20, 32, 0);
  const MeanLoss loss = mean_loss(problem.task, trainer.state().params.values(),
                                  trainer.state().buffers.values(), data, NormStatistics::frozen);
  CHECK(line.number("probe_loss") == doctest::Approx(loss.loss).epsilon(1e-6));
  const WeightSpectra spectra = weight_spectra(trainer.state().params);
  double stable = 0;
  for (const MatrixSpectrum& m : spectra.matrices) stable += m.ranks.relative(m.ranks.stable);
  CHECK(line.number("stable_rank_share") ==
        doctest::Approx(stable / static_cast<double>(spectra.matrices.size())));
  CHECK_FALSE(line.has("gradient_alignment"));  // a loss of one term
  CHECK(line.number("lambda_max") > 0);
  CHECK(line.number("lambda_max_residual") < 0.05 * line.number("lambda_max"));
  CHECK(line.number("trace_low") < line.number("trace"));
  CHECK(line.number("update_rms") > 0);
  CHECK(line.number("equivariance_error_permutation") < 1e-4);
}

TEST_CASE(
    "training probe: shares of ranks leave out what has its rank by shape or gets no gradient") {
  const TempDir dir;
  Settings settings = probed("muon", "every=3,shapes=20,probes=4,steps=10");
  settings.task.model = {.name = "egnn", .options = {{"k", "4"}, {"hidden", "8"}, {"layers", "2"}}};
  const Problem problem(settings);
  train(problem, dir / "run");
  Trainer trainer(problem.task, problem.options);
  trainer.restore(*read_newest_checkpoint(dir / "run/ckpt"));
  double stable = 0;
  int64_t ranked = 0, all = 0;
  for (const MatrixSpectrum& m : weight_spectra(trainer.state().params).matrices) {
    ++all;
    // The coordinate map of the last layer moves what no output depends on.
    if (m.ranks.limit < 2 || m.name.starts_with("gcl_1.coord_mlp")) continue;
    stable += m.ranks.stable / static_cast<double>(m.ranks.limit);
    ++ranked;
  }
  const RecordFields line = probe_lines(dir / "run").front();
  CHECK(line.integer("ranked_matrices") == ranked);
  CHECK(ranked < all - 2);
  CHECK(line.number("stable_rank_share") == doctest::Approx(stable / static_cast<double>(ranked)));
}

// Of one term alone, by its own recording, all parameters joined.
std::vector<double> gradient_of(const Objective& objective, const Tensors& params, size_t term) {
  const Fn alone = [&](const Tensors& p) {
    return Tensors{objective.terms(outputs_only(objective)(p))[term]};
  };
  std::vector<double> out;
  for (const Tensor& g : grad(alone)(params)) {
    const std::vector<double> values = g.to_vector<double>();
    out.insert(out.end(), values.begin(), values.end());
  }
  return out;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

TEST_CASE("training probe: the gradients of the terms of a loss, alone and against each other") {
  register_builtin_tasks();
  Settings settings;
  settings.task = {.name = "burgers",
                   .options = {{"domain", "60"}, {"boundary", "10"}, {"initial", "15"}},
                   .model = {.name = "mlp", .options = {{"width", "6"}, {"depth", "2"}}}};
  settings.train.optimizer = {.name = "adam", .lr = 5e-3};
  settings.train.steps = 12;
  settings.train.eval_every = settings.train.checkpoint_every = {12, false};
  settings.train.dtype = DType::f64;
  settings.train.probe = parse_probe_plan("every=12,examples=40");
  const TempDir dir;
  const Problem problem(settings);
  train(problem, dir / "run");
  const RecordFields line = probe_lines(dir / "run").front();
  REQUIRE(line.integer("step") == 12);

  Trainer trainer(problem.task, problem.options);
  trainer.restore(*read_newest_checkpoint(dir / "run/ckpt"));
  const Tensors params = trainer.state().params.values();
  const Batch batch = problem.task.source({.split = Split::train, .limit = 40})->batch(0, 0);
  const Objective objective = problem.task.objective({}, batch, ForwardOptions::evaluation());
  const std::vector<std::string> names{"residual", "boundary", "initial"};
  REQUIRE(objective.term_names == names);
  std::vector<std::vector<double>> gradients;
  std::vector<double> sum(static_cast<size_t>(trainer.state().params.total_elements()));
  for (size_t t = 0; t < 3; ++t) {
    gradients.push_back(gradient_of(objective, params, t));
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += gradients[t][i];
    const double norm = std::sqrt(dot(gradients[t], gradients[t]));
    CHECK(line.number("gradient_norm_" + names[t]) == doctest::Approx(norm).epsilon(1e-12));
  }
  CHECK(line.number("gradient_norm") == doctest::Approx(std::sqrt(dot(sum, sum))).epsilon(1e-10));
  double cosines = 0;
  for (size_t a = 0; a < 3; ++a) {
    for (size_t b = a + 1; b < 3; ++b) {
      const double cosine =
          dot(gradients[a], gradients[b]) /
          std::sqrt(dot(gradients[a], gradients[a]) * dot(gradients[b], gradients[b]));
      CHECK(line.number(str("gradient_cosine_", names[a], "_", names[b])) ==
            doctest::Approx(cosine).epsilon(1e-10));
      cosines += cosine;
    }
  }
  CHECK(line.number("gradient_alignment") ==
        doctest::Approx(2 * (3 + 2 * cosines) / 9 - 1).epsilon(1e-10));

  // The sum of the terms' gradients is the gradient of the loss, element by element.
  const TermGradients all =
      term_gradients(problem.task, trainer.state(),
                     probe_data(problem.task, Split::train, 40, 32, problem.options.seed));
  const Tensors whole = grad(data_loss(objective))(params);
  int64_t at = 0;
  for (const Tensor& g : whole) {
    for (int64_t i = 0; i < g.numel(); ++i, ++at) {
      double parts = 0;
      for (int64_t t = 0; t < 3; ++t) {
        parts += all.gradients.at(t * all.gradients.size(1) + at);
      }
      CHECK(parts == doctest::Approx(g.at(i)).epsilon(1e-10).scale(1));
    }
  }
  CHECK(at == all.gradients.size(1));
}

}  // namespace
}  // namespace basin::test
