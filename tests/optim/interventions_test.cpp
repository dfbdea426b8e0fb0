// Interventions on spectra: singular values as asked for, turns that leave them, penalties against
// central differences; around optimizers: what the observer is told, targets of a file, resuming.
#include "basin/optim/interventions.h"

#include "basin/core/io.h"
#include "basin/core/parallel.h"
#include "basin/kernels/linalg.h"
#include "basin/optim/diagnostics.h"
#include "basin/optim/newton_schulz.h"
#include "basin/optim/registry.h"
#include "basin/tests/core/files.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

namespace {

double change_of(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) sum += (a.at(i) - b.at(i)) * (a.at(i) - b.at(i));
  return std::sqrt(sum);
}

OptimizerConfig with_rule(const std::string& rule, const std::string& name = "adamw") {
  return {.name = name, .lr = 0.02, .options = {{"spectrum", rule}}};
}

// `steps` steps from the state of the run before.
void walk(Optimizer& optimizer, ParamList& params, int64_t from, int64_t to) {
  for (int64_t t = from; t < to; ++t) {
    optimizer.look_ahead(params);
    optimizer.step(params, random_gradients(params, 40 + static_cast<uint64_t>(t)),
                   {.step = t, .loss = 1});
  }
}

}  // namespace

TEST_CASE("interventions: a stable rank is reached, lowered or raised, under the same norm") {
  for (const Shape& shape : {Shape{12, 7}, Shape{7, 12}, Shape{9, 9}}) {
    const std::vector<double> s = spectrum_of(random_tensor(shape, DType::f64, 3));
    const auto p = static_cast<double>(s.size());
    for (const double rank : {1.0, 1.5, stable_rank(s), 5.0, p - 0.25, p}) {
      const std::vector<double> t = with_stable_rank(s, rank);
      CHECK(stable_rank(t) == doctest::Approx(rank).epsilon(1e-13));
      CHECK(t[0] == s[0]);
      CHECK(std::is_sorted(t.rbegin(), t.rend()));
    }
    CHECK(largest_gap(with_stable_rank(s, stable_rank(s)), s) < 1e-13);
    CHECK(stable_rank(with_stable_rank(s, 100)) == doctest::Approx(p).epsilon(1e-13));
  }
  CHECK(with_stable_rank(std::vector{2.0, 1.0, 1.0}, 2.5) ==  // one factor, sqrt(3), none above 2
        std::vector{2.0, std::sqrt(3.0), std::sqrt(3.0)});
  CHECK(with_stable_rank(std::vector{2.0, 1.5, 0.5}, 2.25) == std::vector{2.0, 2.0, 1.0});
}

TEST_CASE("interventions: a turn has the size asked for and keeps every singular value") {
  for (const Shape& shape : {Shape{8, 13}, Shape{13, 8}, Shape{6, 6}, Shape{2, 5}}) {
    const Tensor w = random_tensor(shape, DType::f64, 5);
    const double size = frobenius_norm(w);
    for (const double relative : {1e-6, 0.1, 1.0, 1.9}) {
      Rng rng(1, 2);
      const Tensor moved = isospectral_turn(w, relative * size, rng);
      CHECK(change_of(moved, w) == doctest::Approx(relative * size).epsilon(1e-9));
      CHECK(largest_gap(spectrum_of(moved), spectrum_of(w)) < 1e-13 * size);
    }
    Rng rng(1, 2);
    CHECK(change_of(isospectral_turn(w, 9 * size, rng), w) ==
          doctest::Approx(2 * size).epsilon(1e-12));
  }
  // Of three rows one direction stays; the size is exact all the same.
  const Tensor odd = random_tensor({3, 7}, DType::f64, 6);
  Rng rng(1, 2), other(1, 3);
  CHECK(change_of(isospectral_turn(odd, 0.3, rng), odd) == doctest::Approx(0.3).epsilon(1e-12));
  CHECK(change_of(isospectral_turn(odd, 0.3, other), isospectral_turn(odd, 0.3, rng)) > 1e-2);
  CHECK(same_bits(isospectral_turn(Tensor::zeros({3, 4}, DType::f64), 1, rng),
                  Tensor::zeros({3, 4}, DType::f64)));
}

TEST_CASE("interventions: gradients of the penalties against central differences") {
  const PenaltyRule rules[] = {parse_penalty_rule("stable_rank=0.7"),
                               parse_penalty_rule("effective_rank=0.4"),
                               parse_penalty_rule("nuclear=1.3"),
                               parse_penalty_rule("spectral=-0.6"),
                               parse_penalty_rule("orthogonality=0.02"),
                               parse_penalty_rule("stable_rank=0.1,effective_rank=-0.2,nuclear=0.3,"
                                                  "spectral=0.4,orthogonality=0.01")};
  for (const PenaltyRule& rule : rules) {
    for (const Shape& shape : {Shape{5, 8}, Shape{8, 5}}) {
      const Tensor w = random_tensor(shape, DType::f64, 8), g = penalty_gradient(rule, w);
      for (int64_t i = 0; i < w.numel(); i += 3) {
        const double h = 1e-5;
        const auto value_at = [&](double move) {
          Tensor there = w.clone();
          there.mutable_data<double>()[i] += move;
          return penalty_value(rule, spectrum_of(there));
        };
        const double slope = (value_at(h) - value_at(-h)) / (2 * h);
        CHECK(std::abs(g.at(i) - slope) < 1e-8 * std::max(1.0, std::abs(slope)));
      }
    }
  }
}

TEST_CASE("interventions: the penalties in closed form") {
  const Tensor w = random_tensor({4, 9}, DType::f64, 12);
  const SvdFactors f = Svd::cpu(w);
  // 4 (W W^T - 1) W, which knows of no singular vectors
  Tensor inner = product(w, transposed(w));
  for (int64_t i = 0; i < 4; ++i) inner.mutable_data<double>()[5 * i] -= 1;
  CHECK(max_difference(penalty_gradient({.orthogonality = 1}, w), times(product(inner, w), 4)) <
        1e-11);
  CHECK(max_difference(penalty_gradient({.nuclear = 1}, w), product(f.u, f.vt)) < 1e-13);
  // 2 W / s1^2 - 2 |W|^2 u v^T / s1^3
  const double s1 = f.s.at(0), square = std::pow(frobenius_norm(w), 2);
  const Tensor g = penalty_gradient({.stable_rank = 1}, w);
  for (int64_t i = 0; i < w.numel(); ++i) {
    const double uv = f.u.at(i / 9 * 4) * f.vt.at(i % 9);
    CHECK(g.at(i) == doctest::Approx(2 * w.at(i) / (s1 * s1) - 2 * square * uv / std::pow(s1, 3))
                         .epsilon(1e-10));
  }
  // Directions of no singular value have no slope: rank one stays rank one.
  const Tensor flat =
      product(random_tensor({4, 1}, DType::f64, 1), random_tensor({1, 5}, DType::f64, 2));
  const std::vector<double> slopes = spectrum_of(penalty_gradient({.nuclear = 1}, flat));
  CHECK(slopes[0] == doctest::Approx(1));
  CHECK(slopes[1] < 1e-13);
  CHECK(max_abs(penalty_gradient({.effective_rank = 1}, Tensor::zeros({3, 3}, DType::f64))) == 0);
}

TEST_CASE("interventions: transplanted spectra") {
  ParamList to = small_model(DType::f64, 1);
  const ParamList before = to.clone(), from = small_model(DType::f64, 50);
  transplant_spectra(to, from);
  for (const char* name : {"conv.weight", "hidden.weight", "head.weight", "table"}) {
    CHECK(largest_gap(spectrum_of(to.at(name).value), spectrum_of(from.at(name).value)) < 1e-12);
    const Tensor a = before.at(name).value, b = to.at(name).value;
    // The singular vectors are those of before: A^T B is symmetric and positive.
    const Tensor both = product(transposed(a), b);
    CHECK(max_difference(both, transposed(both)) < 1e-11);
  }
  CHECK(same_bits(to.at("row.weight").value, before.at("row.weight").value));
  ParamList other;
  other.add_matrix("conv.weight", random_tensor({5, 5}, DType::f64, 1), Role::matrix);
  CHECK(error_of([&] { transplant_spectra(other, from); }, ErrorKind::usage) ==
        "transplant_spectra: 'conv.weight' has shape [24, 16], expected [5, 5]");
}

TEST_CASE("interventions: spectra after a step, around any optimizer") {
  for (const std::string& name : optimizer_names()) {
    if (name == "lbfgs" || name == "poet") continue;  // refused
    CAPTURE(name);
    ParamList capped = small_model(DType::f64), ranked = small_model(DType::f64),
              frozen = small_model(DType::f64);
    const ParamList start = small_model(DType::f64);
    walk(*make_optimizer(with_rule("cap=2", name), capped), capped, 0, 3);
    walk(*make_optimizer(with_rule("stable_rank=3", name), ranked), ranked, 0, 3);
    walk(*make_optimizer(with_rule("frozen", name), frozen), frozen, 0, 3);
    for (const char* matrix : {"conv.weight", "hidden.weight"}) {
      CHECK(spectrum_of(capped.at(matrix).value)[0] == doctest::Approx(2).epsilon(1e-12));
      CHECK(std::abs(stable_rank(spectrum_of(ranked.at(matrix).value)) - 3) < 1e-10);
      CHECK(largest_gap(spectrum_of(frozen.at(matrix).value), spectrum_of(start.at(matrix).value)) <
            1e-12);
      CHECK(change_of(frozen.at(matrix).value, start.at(matrix).value) > 1e-3);
    }
    CHECK(spectrum_of(capped.at("head.weight").value)[0] > 2.5);  // not a hidden layer
  }
  ParamList p = small_model(DType::f64);
  const std::string refused =
      error_of([&] { make_optimizer(with_rule("cap=2", "lbfgs"), p); }, ErrorKind::usage);
  CHECK(refused == "lbfgs: its line search knows of no spectrum and no penalty; take them away");
}

TEST_CASE("interventions: a rule that does not bind changes no bit; `every` counts steps") {
  ParamList plain = small_model(DType::f32), loose = small_model(DType::f32),
            rare = small_model(DType::f32);
  walk(*make_optimizer({.name = "adamw", .lr = 0.02}, plain), plain, 0, 5);
  walk(*make_optimizer(with_rule("cap=1e6"), loose), loose, 0, 5);
  const auto optimizer = make_optimizer(with_rule("cap=1,every=6,matrices=*"), rare);
  walk(*optimizer, rare, 0, 5);
  for (size_t i = 0; i < plain.size(); ++i) {
    CHECK(same_bits(loose[i].value, plain[i].value));
    CHECK(same_bits(rare[i].value, plain[i].value));
  }
  walk(*optimizer, rare, 5, 6);
  for (const char* name : {"first.weight", "head.weight", "table"}) {
    CHECK(spectrum_of(rare.at(name).value)[0] == doctest::Approx(1).epsilon(1e-6));
  }
}

TEST_CASE("interventions: what the observer is told, of the rule and of its shams") {
  struct Told {
    Tensor change, spectrum, gradient;
    int befores = 0;
  };
  const auto watched = [](const std::string& rule, ParamList& params, Tensor& before) {
    Told told;
    const auto optimizer = make_optimizer(with_rule(rule, "muon"), params);
    optimizer->set_observer([&](const UpdateRecord& r) {
      if (r.param->name != "hidden.weight") return;
      told.befores += r.stage == UpdateStage::before;
      if (r.stage == UpdateStage::before) return;
      told = {r.change, r.spectrum, r.gradient, told.befores};
    });
    before = params.at("hidden.weight").value.clone();
    walk(*optimizer, params, 0, 1);
    return told;
  };
  ParamList plain = small_model(DType::f64), ranked = plain.clone(), own = plain.clone(),
            turn = plain.clone(), given = plain.clone();
  Tensor before;
  const auto value = [](const ParamList& p) { return p.at("hidden.weight").value; };
  const Told none = watched("", plain, before);
  CHECK_FALSE(none.spectrum.defined());
  const Told told = watched("stable_rank=2", ranked, before);
  CHECK(told.befores == 1);
  CHECK(told.spectrum.shape() == Shape{1, 4});
  const double rank = stable_rank(spectrum_of(value(plain)));
  const double moved = change_of(value(ranked), value(plain)), size = frobenius_norm(value(plain));
  CHECK(told.spectrum.at(0) == 2);
  CHECK(told.spectrum.at(1) == doctest::Approx(rank).epsilon(1e-12));
  CHECK(told.spectrum.at(2) == doctest::Approx(2).epsilon(1e-12));
  CHECK(told.spectrum.at(3) == doctest::Approx(moved / size).epsilon(1e-10));
  CHECK(std::abs(frobenius_norm(told.change) - change_of(value(ranked), before)) < 1e-12);
  CHECK(same_bits(told.gradient, none.gradient));

  const Told same = watched("stable_rank=2,sham=own", own, before);
  CHECK(change_of(value(own), value(plain)) < 1e-13);
  CHECK(same.spectrum.at(2) == doctest::Approx(rank).epsilon(1e-12));
  CHECK(same.spectrum.at(3) == 0);
  const Told around = watched("stable_rank=2,sham=turn", turn, before);
  CHECK(change_of(value(turn), value(plain)) == doctest::Approx(moved).epsilon(1e-10));
  CHECK(stable_rank(spectrum_of(value(turn))) == doctest::Approx(rank).epsilon(1e-12));
  CHECK(around.spectrum.at(3) == doctest::Approx(told.spectrum.at(3)).epsilon(1e-10));
  const Told sized = watched("turn=0.05,seed=4", given, before);
  CHECK(sized.spectrum.at(0) == 0.05);
  CHECK(sized.spectrum.at(3) == doctest::Approx(0.05).epsilon(1e-10));
  CHECK(largest_gap(spectrum_of(value(given)), spectrum_of(value(plain))) < 1e-12);

  UpdateMeter meter;
  const auto metered = make_optimizer(with_rule("cap=1.5"), plain);
  metered->set_observer(meter.observer());
  walk(*metered, plain, 0, 1);
  CHECK(meter.parameters().size() == plain.size());
  CHECK(meter.parameters()[4].spectrum.at(2) == 1.5);
  CHECK_FALSE(meter.parameters()[0].spectrum.defined());
}

TEST_CASE("interventions: the penalty joins the gradient") {
  ParamList p = small_model(DType::f64), q = p.clone();
  OptimizerConfig config{.name = "sgd", .lr = 0.1, .options = {{"penalty", "nuclear=0.01"}}};
  walk(*make_optimizer(config, p), p, 0, 1);
  config.options.clear();
  Tensors grads = random_gradients(q, 40);
  for (const size_t i : {size_t{2}, size_t{4}}) {
    const Tensor more = penalty_gradient({.nuclear = 0.01}, q[i].value);
    for (int64_t j = 0; j < more.numel(); ++j) grads[i].mutable_data<double>()[j] += more.at(j);
  }
  make_optimizer(config, q)->step(q, grads, {});
  for (size_t i = 0; i < p.size(); ++i) CHECK(same_bits(p[i].value, q[i].value));
  // Where the loss gives no gradient the penalty's is all.
  ParamList alone = small_model(DType::f64);
  const Tensor before = alone[4].value.clone();
  make_optimizer({.name = "sgd", .lr = 0.1, .options = {{"penalty", "spectral=1"}}}, alone)
      ->step(alone, Tensors(alone.size()), {});
  CHECK(spectrum_of(alone[4].value)[0] == doctest::Approx(spectrum_of(before)[0] - 0.1));
}

namespace {

std::string line_of(int64_t step, const std::string& name, double rank) {
  return str("{\"event\": \"probe_matrix\", \"step\": ", step, ", \"name\": \"", name,
             "\", \"stable_rank\": ", rank, ", \"spectral_norm\": 3.0}\n");
}

}  // namespace

TEST_CASE("interventions: targets of another run, between its lines and before them") {
  const test::TempDir dir;
  const fs::path file = dir / "metrics.jsonl";
  write_file_atomic(file, str("{\"event\": \"probe\", \"step\": 4}\n", line_of(4, "conv.weight", 5),
                              line_of(4, "hidden.weight", 4), line_of(8, "conv.weight", 3),
                              line_of(8, "hidden.weight", 2)));
  ParamList p = small_model(DType::f64);
  const double began = stable_rank(spectrum_of(p.at("hidden.weight").value));
  const auto optimizer = make_optimizer(with_rule("stable_rank=" + file.string()), p);
  const double expected[] = {began + (4 - began) / 4,
                             began + (4 - began) / 2,
                             began + (4 - began) * 3 / 4,
                             4,
                             3.5,
                             3,
                             2.5,
                             2,
                             2,
                             2};
  for (int64_t t = 0; t < 10; ++t) {
    walk(*optimizer, p, t, t + 1);
    CHECK(std::abs(stable_rank(spectrum_of(p.at("hidden.weight").value)) - expected[t]) < 1e-10);
  }
  ParamList capped = small_model(DType::f64);
  walk(*make_optimizer(with_rule("cap=" + file.string()), capped), capped, 0, 5);
  CHECK(spectrum_of(capped.at("conv.weight").value)[0] == doctest::Approx(3).epsilon(1e-12));

  const auto refused = [&](const std::string& text, const std::string& rule) {
    write_file_atomic(file, text);
    const std::string sentence =
        error_of([&] { make_optimizer(with_rule(rule + file.string()), p); }, ErrorKind::data);
    return sentence.substr(sentence.find(": ") == sentence.npos ? 0 : file.string().size());
  };
  CHECK(refused(line_of(4, "conv.weight", 5), "stable_rank=") ==
        ": expected lines probe_matrix with stable_rank of 'hidden.weight', found none");
  CHECK(refused(line_of(4, "conv.weight", 5) + line_of(4, "conv.weight", 5), "stable_rank=") ==
        ":2: expected steps that rise and a stable_rank of at least 0, got 5 at step 4");
  CHECK(refused(line_of(4, "conv.weight", 5), "turn=") ==
        ": expected lines probe_matrix with spectrum_change of 'conv.weight', found none");
}

TEST_CASE("interventions: a saved state goes on with the same bits, for any thread count") {
  const test::TempDir dir;
  const fs::path file = dir / "metrics.jsonl";
  const int threads = num_threads();
  const std::string lines = line_of(5, "conv.weight", 5) + line_of(5, "hidden.weight", 4);
  write_file_atomic(file, lines);
  for (const std::string& rule :
       {std::string("cap=2,every=2"), std::string("frozen"), std::string("turn=0.1,every=3,seed=7"),
        std::string("cap=2,sham=turn"), "stable_rank=" + file.string()}) {
    for (const char* name : {"adamw", "muon", "schedule_free"}) {
      CAPTURE(rule);
      OptimizerConfig config = with_rule(rule, name);
      config.options["penalty"] = "stable_rank=0.01";
      ParamList a = small_model(DType::f32);
      const auto whole = make_optimizer(config, a);
      set_num_threads(2);
      walk(*whole, a, 0, 3);
      const OptimizerState state = whole->save();
      ParamList b = a.clone();
      walk(*whole, a, 3, 6);
      set_num_threads(1);
      // What the run began with counts, not what the file says by now.
      write_file_atomic(file,
                        lines + line_of(6, "conv.weight", 1) + line_of(6, "hidden.weight", 1));
      const auto resumed = make_optimizer(config, b);
      resumed->load(state);
      walk(*resumed, b, 3, 6);
      set_num_threads(threads);
      write_file_atomic(file, lines);
      for (size_t i = 0; i < a.size(); ++i) CHECK(same_bits(a[i].value, b[i].value));
      const OptimizerState last = whole->save(), other = resumed->save();
      REQUIRE(last.tensors.size() == other.tensors.size());
      for (size_t i = 0; i < last.tensors.size(); ++i) {
        CHECK(last.tensors[i].first == other.tensors[i].first);
        CHECK(same_bits(last.tensors[i].second, other.tensors[i].second));
      }
    }
  }
}

TEST_CASE("interventions: a state of other settings is refused and changes nothing") {
  ParamList p = small_model(DType::f64), q = p.clone();
  const auto frozen = make_optimizer(with_rule("frozen"), p);
  const auto plain = make_optimizer({.name = "adamw"}, q);
  walk(*frozen, p, 0, 2);
  walk(*plain, q, 0, 2);
  CHECK(error_of([&] { frozen->load(plain->save()); }, ErrorKind::data) ==
        "adamw: the state to load has no tensor 'spectrum.last.conv.weight'; was it saved with "
        "other options or another model?");
  CHECK(error_of([&] { plain->load(frozen->save()); }, ErrorKind::data).find("foreign") !=
        std::string::npos);
  const auto capped = make_optimizer(with_rule("cap=1"), p);
  CHECK(error_of([&] { capped->load(frozen->save()); }, ErrorKind::data).find("spectrum.start") !=
        std::string::npos);
}

TEST_CASE("interventions: routing tells which weights; rules that cannot be") {
  ParamList p = small_model(DType::f32);
  OptimizerConfig config = with_rule("cap=1,matrices=role:head");
  config.options["penalty"] = "nuclear=1";
  const std::vector<RoutingRow> rows = make_optimizer(config, p)->routing();
  CHECK(rows[7].why == "all parameters, spectrum set");
  CHECK(rows[4].why == "all parameters, penalty");
  CHECK(rows[1].why == "all parameters");
  const auto said = [&](const char* option, const char* text) {
    OptimizerConfig bad{.name = "sgd", .options = {{option, text}}};
    return error_of([&] { make_optimizer(bad, p); }, ErrorKind::usage);
  };
  const std::string place = "sgd: option 'spectrum': ";
  CHECK(said("spectrum", "cap=1,frozen") ==
        place + "spectrum: one of cap, stable_rank, frozen and turn at a time");
  CHECK(said("spectrum", "stable_rank=0.5") ==
        place + "spectrum: stable_rank must be at least 1, got '0.5'");
  CHECK(said("spectrum", "every=3") ==
        place + "spectrum: 'every=3' names none of cap, stable_rank, frozen and turn");
  CHECK(said("spectrum", "cap=1,every=0").find("at least 1") != std::string::npos);
  CHECK(said("spectrum", "cap=1,sham=none").find("sham=own or sham=turn") != std::string::npos);
  CHECK(said("spectrum", "turn=1,sham=own").find("it has no sham") != std::string::npos);
  CHECK(said("spectrum", "cap").find("expected cap=NUMBER") != std::string::npos);
  CHECK(said("spectrum", "cup=1").find("got 'cup'") != std::string::npos);
  CHECK(said("penalty", "nuclear").find("got 'nuclear'") != std::string::npos);
  CHECK(said("spectrum", "cap=1,matrices=none.*") ==
        "spectrum: no weight is a matrix of at least 2x2 and matches 'none.*'");
  Tensors grads = random_gradients(p, 1);
  p[2].value.fill(NAN);
  const auto optimizer = make_optimizer(with_rule("cap=1"), p);
  CHECK(error_of([&] { optimizer->step(p, grads, {}); }, ErrorKind::numerical) ==
        "spectrum: the weights of 'conv.weight' are not finite");
}
