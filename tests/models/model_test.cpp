// The registry of models, option parsing, and the classification loss.
#include "basin/models/model.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/tests/models/pointnet_fixture.h"

namespace basin {
namespace {

void refuses(const ModelConfig& config, const char* words) {
  try {
    make_model(config);
    FAIL("accepted: ", words);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    CHECK_MESSAGE(std::string(error.what()).find(words) != std::string::npos, error.what());
  }
}

TEST_CASE("models: unknown names are usage errors with the nearest suggestion") {
  refuses({.name = "pointent"}, "did you mean 'pointnet'?");
  refuses({.name = "pointnet", .preset = "prot"}, "did you mean 'port'?");
  refuses({.options = {{"input_transfrom", "true"}}}, "did you mean 'input_transform'?");
  refuses({.classes = 0}, "number of classes must be positive, got 0");
}

TEST_CASE("models: bad option values name option, expectation and value") {
  refuses({.options = {{"fused", "maybe"}}},
          "pointnet: option 'fused' expects true or false, got 'maybe'");
  refuses({.options = {{"dropout", "1.5"}}}, "'dropout' expects a number from 0 to 0.99");
  refuses({.options = {{"dropout", "nan"}}}, "'dropout' expects a number");
  for (const char* bad : {"64,128", "64,128,1024,512,256,1", "64,128,1024,512,x", "1,2,3,4,0",
                          "64,128,1024,512,", ""}) {
    refuses({.options = {{"widths", bad}}}, "'widths' expects 5 positive integers");
  }
  refuses({.options = {{"tnet_output", "tail"}}}, "expects matrix or head, got 'tail'");
}

TEST_CASE("models: the help names every preset and option; the options are resolved") {
  const std::string help = model_help();
  for (const std::string& name : model_names()) {
    const ModelInfo& info = model_info(name);
    CHECK(help.find(name) != std::string::npos);
    for (const auto& preset : info.presets) CHECK(help.find(preset.name) != std::string::npos);
    for (const auto& option : info.options) {
      CHECK(help.find(option.name + "=" + option.default_value) != std::string::npos);
    }
    const Model model = make_model({.name = name});
    CHECK(model.preset == info.presets.front().name);
    CHECK(model.options.size() == info.options.size());
  }
  CHECK(make_model({.preset = "original"}).options.at("bn_eps") == "1e-3");
  CHECK(make_model({.preset = "port"}).options.at("bn_eps") == "1e-5");
  CHECK(make_model({.preset = "original", .options = {{"bn_eps", "1e-4"}}}).options.at("bn_eps") ==
        "1e-4");
}

TEST_CASE("models: the loss is the smoothed cross entropy plus the penalty") {
  const Model model = make_pointnet(testing::tiny_config());
  const ModelState state = testing::generic_state(model, 5);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  const Tensor points = testing::random_tensor({4, 6, 3}, 1);
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1, 1, 0}, {4});
  const ForwardResult result = model.forward(params, buffers, points, testing::batch_mode());
  REQUIRE(result.penalty.defined());
  double expected = result.penalty.item();
  for (int64_t b = 0; b < 4; ++b) {
    const double z0 = result.logits.at(2 * b), z1 = result.logits.at(2 * b + 1);
    const double log_total = std::log(std::exp(z0) + std::exp(z1));
    const double right = labels.at(b) == 0 ? z0 : z1, wrong = labels.at(b) == 0 ? z1 : z0;
    expected += (0.8 * (log_total - right) + 0.2 * (log_total - wrong)) / 4;
  }
  const Fn loss = classification_loss(model, buffers, points, labels, testing::batch_mode(), 0.2);
  const ValueGrad vg = value_and_grad(loss)(params);
  CHECK(vg.value.item() == doctest::Approx(expected).epsilon(1e-13));
  REQUIRE(vg.aux.size() == 1 + result.batch_stats.size());
  CHECK(testing::difference(vg.aux[0], result.logits) == 0);
  CHECK(testing::difference(batch_stats_of(vg.aux), result.batch_stats) == 0);
  REQUIRE(vg.grads.size() == params.size());
  for (size_t i = 0; i < params.size(); ++i) CHECK(vg.grads[i].shape() == params[i].shape());
}

}  // namespace
}  // namespace basin
