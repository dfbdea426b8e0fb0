// The switch of optimizers: each half is that of the optimizer alone with fresh state, at the rates
// that are asked for; resumed on both sides to the same bits; what is refused.
#include "basin/optim/detail/switched.h"

#include "basin/optim/registry.h"
#include "basin/optim/state.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

namespace {

constexpr RunLength kRun{.steps = 12, .steps_per_epoch = 4};

double run_scale(int64_t step) { return 1 - 0.05 * static_cast<double>(step); }

OptimizerConfig switching(const std::string& rule, const std::string& name = "adamw") {
  return {.name = name, .lr = 0.02, .options = {{"switch", rule}}, .run = kRun};
}

void walk(Optimizer& optimizer, ParamList& params, int64_t from, int64_t to,
          const std::function<double(int64_t)>& scale = run_scale) {
  for (int64_t t = from; t < to; ++t) {
    optimizer.look_ahead(params);
    optimizer.step(params, random_gradients(params, 40 + static_cast<uint64_t>(t)),
                   {.step = t, .loss = 1, .lr_scale = scale(t)});
  }
}

void check_same(const ParamList& a, const ParamList& b) {
  for (size_t i = 0; i < a.size(); ++i) CHECK(same_bits(a[i].value, b[i].value));
}

}  // namespace

TEST_CASE("switch: both halves are those of the optimizers alone") {
  for (const char* at : {"5", "1.25e", "41.7%"}) {
    CAPTURE(at);
    ParamList p = small_model(DType::f32), q = small_model(DType::f32);
    const auto both = make_optimizer(
        switching(str("muon at=", at, " lr=0.03 wd=0.1 momentum=0.8 aux_lr=0.002")), p);
    walk(*both, p, 0, 12);
    const auto first = make_optimizer({.name = "adamw", .lr = 0.02}, q);
    walk(*first, q, 0, 5);
    const auto second = make_optimizer({.name = "muon",
                                        .lr = 0.03,
                                        .weight_decay = 0.1,
                                        .options = {{"momentum", "0.8"}, {"aux_lr", "0.002"}}},
                                       q);
    walk(*second, q, 5, 12);
    check_same(p, q);
  }
}

TEST_CASE("switch: a schedule of its own begins at the switch and ends with the run") {
  ParamList p = small_model(DType::f64), q = small_model(DType::f64);
  const auto both =
      make_optimizer(switching("sgd at=1e lr=0.5 schedule=cosine:floor=0.1,warmup=2"), p);
  const Schedule own(parse_schedule("cosine:floor=0.1,warmup=2", 8, 4));
  walk(*both, p, 0, 12);
  walk(*make_optimizer({.name = "adamw", .lr = 0.02}, q), q, 0, 4);
  walk(*make_optimizer({.name = "sgd", .lr = 0.5}, q), q, 4, 12,
       [&](int64_t t) { return own.scale(t - 4); });
  check_same(p, q);
  for (int64_t t = 0; t < 12; ++t) {
    const auto made = both->in_charge({.step = t, .lr_scale = run_scale(t)});
    REQUIRE(made.has_value());
    CHECK(made->rule == (t < 4 ? "adamw" : "sgd"));
    CHECK(made->lr == (t < 4 ? 0.02 * run_scale(t) : 0.5 * own.scale(t - 4)));
  }
  CHECK_FALSE(make_optimizer({.name = "adamw"}, p)->in_charge({}).has_value());
}

TEST_CASE("switch: averaged weights are handed over, those that look again are asked") {
  ParamList p = small_model(DType::f64), q = small_model(DType::f64);
  const auto both = make_optimizer(switching("muon at=6", "schedule_free"), p);
  walk(*both, p, 0, 12);
  walk(*make_optimizer({.name = "schedule_free", .lr = 0.02}, q), q, 0, 6);
  walk(*make_optimizer({.name = "muon"}, q), q, 6, 12);
  check_same(p, q);
  CHECK(make_optimizer(switching("lbfgs at=6"), p)->loss_use() == LossUse::line_search);
  CHECK(make_optimizer(switching("muon at=6", "lbfgs"), p)->loss_use() == LossUse::line_search);
  CHECK(both->loss_use() == LossUse::given);
}

TEST_CASE("switch: saved and loaded on both sides, at every step to the same bits") {
  for (const char* first : {"adamw", "muon", "schedule_free"}) {
    for (int64_t stop = 1; stop < 9; ++stop) {
      OptimizerConfig config = switching("muon at=5 lr=0.1 schedule=cosine", first);
      config.options["spectrum"] = "stable_rank=3,every=2";
      ParamList p = small_model(DType::f32);
      const auto whole = make_optimizer(config, p);
      walk(*whole, p, 0, stop);
      const OptimizerState state = whole->save();
      CHECK(state.scalars.at("optimizer") == (stop < 5 ? first : "muon"));
      CHECK(state.scalars.contains(kSwitchedKey) == (stop >= 5));
      ParamList q = p.clone();
      const auto resumed = make_optimizer(config, q);
      resumed->load(state);
      walk(*whole, p, stop, 12);
      walk(*resumed, q, stop, 12);
      check_same(p, q);
    }
  }
}

TEST_CASE("switch: what the second one left goes on under it alone, elsewhere it is refused") {
  ParamList p = small_model(DType::f32);
  const auto both = make_optimizer(switching("muon at=5"), p);
  walk(*both, p, 0, 8);
  const OptimizerState state = both->save();
  ParamList q = p.clone();
  const auto alone = make_optimizer({.name = "muon"}, q);
  alone->load(state);
  walk(*both, p, 8, 12);
  walk(*alone, q, 8, 12);
  check_same(p, q);
  CHECK(
      error_of([&] { make_optimizer(switching("muon at=6"), p)->load(state); }, ErrorKind::data) ==
      "adamw then muon: the state to load was left by a switch at step 5, expected one at step 6");
  CHECK(error_of([&] { make_optimizer({.name = "adamw"}, p)->load(state); }, ErrorKind::data) ==
        "adamw: the state to load belongs to 'muon', not to 'adamw'");
}

TEST_CASE("switch: a run that begins later counts from its own beginning") {
  OptimizerConfig config = switching("sgd at=50%");
  config.run.first_step = 100;
  const ParamList p = small_model(DType::f32);
  const auto optimizer = make_optimizer(config, p);
  CHECK(optimizer->in_charge({.step = 105})->rule == "adamw");
  CHECK(optimizer->in_charge({.step = 106})->rule == "sgd");
  CHECK(optimizer->routing()[2].why.ends_with("; from step 107 on sgd, lr 0.01, wd 0"));
}

TEST_CASE("switch: bad rules are refused in a sentence") {
  ParamList p = small_model(DType::f32);
  const auto refused = [&](const std::string& rule) {
    return error_of([&] { make_optimizer(switching(rule), p); }, ErrorKind::usage);
  };
  CHECK(refused("muon").ends_with(
      "switch: expected at=STEP, at=10e (epochs) or at=50% (of the run) behind 'muon'"));
  CHECK(refused("muon at=12") == "switch: at=12 is step 12, expected 1 to 11 of the run");
  CHECK(refused("muon at=0") == "switch: at=0 is step 0, expected 1 to 11 of the run");
  CHECK(refused("muon at=x").starts_with("switch: at must be a number of steps, epochs (20e)"));
  CHECK(
      refused("muon at=5 lr=-1").ends_with("switch: lr must be a number of at least 0, got '-1'"));
  CHECK(refused("muon at=5 fast")
            .ends_with("switch: expected KEY=VALUE behind the name, got 'fast'"));
  CHECK(refused("muom at=5") == "optimizer: no optimizer 'muom'; did you mean 'muon'?");
  CHECK(refused("muon at=5 momentun=0.5").find("did you mean 'momentum'?") != std::string::npos);
  CHECK(refused("muon at=5 sam=0.1") ==
        "switch: 'sam' holds for the whole run; say it beside the first optimizer");
  CHECK(refused("muon at=5 schedule=plateau").starts_with("switch: plateau looks at evaluations"));
  OptimizerConfig unknown = switching("muon at=50%");
  unknown.run = {};
  const auto optimizer = make_optimizer(unknown, p);  // whose routing can be shown
  CHECK(optimizer->routing()[2].why.find("from 50% on muon") != std::string::npos);
  CHECK(error_of([&] { walk(*optimizer, p, 0, 1); }, ErrorKind::usage)
            .starts_with("switch: at=50% needs the length of the run"));
}
