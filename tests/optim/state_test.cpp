// Saved state: a bitwise equal continuation, and refusal of what is missing, foreign or mis-shaped.
#include "basin/optim/state.h"

#include "basin/optim/registry.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

namespace {

const std::vector<OptimizerConfig>& configs() {
  static const std::vector<OptimizerConfig> all = {
      {.name = "adam", .weight_decay = 0.1, .options = {{"amsgrad", "true"}}},
      {.name = "adamw"},
      {.name = "sgd", .options = {{"momentum", "0.9"}, {"dampening", "0.5"}}},
      {.name = "sgd"},
      {.name = "muon", .weight_decay = 0.1},
  };
  return all;
}

void run(Optimizer& optimizer, ParamList& params, int from, int to) {
  for (int step = from; step < to; ++step) {
    optimizer.step(params, random_gradients(params, 50 + step), {.step = step, .lr_scale = 0.9});
  }
}

std::string load_error(const OptimizerConfig& config, const OptimizerState& state) {
  const ParamList p = small_model(DType::f32);
  const auto optimizer = make_optimizer(config, p);
  return error_of([&] { optimizer->load(state); }, ErrorKind::data);
}

}  // namespace

TEST_CASE("state: save and load continue bitwise") {
  for (const OptimizerConfig& config : configs()) {
    for (DType dtype : {DType::f32, DType::f64}) {
      CAPTURE(config.name);
      ParamList whole = small_model(dtype), part = whole.clone();
      const auto a = make_optimizer(config, whole), b = make_optimizer(config, part);
      run(*a, whole, 0, 8);
      run(*b, part, 0, 3);
      const OptimizerState state = b->save();
      run(*b, part, 3, 5);  // the saved state must not follow
      ParamList resumed = small_model(dtype);
      const auto again = make_optimizer(config, resumed);
      run(*again, resumed, 0, 3);  // the weights of step 3, as from a checkpoint
      const auto fresh = make_optimizer(config, resumed);
      fresh->load(state);
      run(*fresh, resumed, 3, 8);
      for (size_t i = 0; i < whole.size(); ++i) CHECK(same_bits(whole[i].value, resumed[i].value));
    }
  }
}

TEST_CASE("state: missing, foreign and mis-shaped state is refused in one sentence") {
  const ParamList p = small_model(DType::f32);
  const OptimizerConfig muon{.name = "muon"}, adam{.name = "adam"};
  const OptimizerState good = make_optimizer(muon, p)->save();
  CHECK(load_error(adam, good) == "adam: the state to load belongs to 'muon', not to 'adam'");
  CHECK(load_error(adam, {}) == "adam: the state to load belongs to 'nobody', not to 'adam'");
  OptimizerState bad = good;
  CHECK(bad.tensors[0].first == "muon.b.conv.weight");
  bad.tensors.erase(bad.tensors.begin());
  CHECK(
      load_error(muon, bad) ==
      "muon: the state to load has no tensor 'muon.b.conv.weight'; was it saved with other options "
      "or another model?");
  bad = good;
  bad.tensors[0].second = Tensor::zeros({3}, DType::f32);
  CHECK(load_error(muon, bad) ==
        "muon: state tensor 'muon.b.conv.weight' must be [24, 16] f32, got [3] f32");
  bad = good;
  bad.tensors.emplace_back("extra", Tensor::zeros({1}, DType::f32));
  CHECK(load_error(muon, bad).find("foreign tensor 'extra'") != std::string::npos);
  bad = good;
  bad.tensors.push_back(bad.tensors[0]);
  CHECK(load_error(muon, bad).find("twice") != std::string::npos);
  bad = good;
  bad.scalars["adam.steps"] = "-4";
  CHECK(load_error(muon, bad) == "muon: state scalar 'adam.steps' must be a count, got '-4'");
  bad = good;
  bad.scalars["speed"] = "1";
  CHECK(load_error(muon, bad) == "muon: the state holds the foreign scalar 'speed'");
  // Another routing: the embedding's buffer is Muon's, not Adam's.
  const OptimizerConfig other{.name = "muon", .options = {{"muon_embedding", "true"}}};
  CHECK(load_error(other, good).find("no tensor 'muon.b.table'") != std::string::npos);
}

TEST_CASE("state: a refused load leaves the optimizer as it was") {
  for (const OptimizerConfig& config : configs()) {
    ParamList a = small_model(DType::f32), b = a.clone();
    const auto left = make_optimizer(config, a), right = make_optimizer(config, b);
    run(*left, a, 0, 3);
    run(*right, b, 0, 3);
    OptimizerState bad = make_optimizer(config, a)->save();
    bad.scalars["speed"] = "1";
    CHECK_THROWS_AS(right->load(bad), Error);
    run(*left, a, 3, 5);
    run(*right, b, 3, 5);
    for (size_t i = 0; i < a.size(); ++i) CHECK(same_bits(a[i].value, b[i].value));
  }
}
