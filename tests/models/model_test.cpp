// The registry of models, option parsing, and the classification loss.
#include "basin/models/model.h"

#include <doctest/doctest.h>

#include <algorithm>
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
  refuses({.name = "zzzzzzzzz"}, "known: pointnet dgcnn egnn");
  refuses({.name = "pointnet", .preset = "prot"}, "did you mean 'port'?");
  refuses({.options = {{"input_transfrom", "true"}}}, "did you mean 'input_transform'?");
  refuses({.outputs = 0}, "number of outputs must be positive, got 0");
}

TEST_CASE("models: bad option values name option, expectation and value") {
  refuses({.options = {{"fused", "maybe"}}},
          "model pointnet: option 'fused' must be true or false, got 'maybe'");
  refuses({.options = {{"dropout", "1.5"}}}, "'dropout' must be from 0 to 0.99, got 1.5");
  refuses({.options = {{"dropout", "nan"}}}, "'dropout' must be a number, got 'nan'");
  for (const char* bad : {"64,128", "64,128,1024,512,256,1", "64,128,1024,512,x", "1,2,3,4,0",
                          "64,128,1024,512,", ""}) {
    refuses({.options = {{"widths", bad}}}, "'widths' must be 5 positive integers");
  }
  refuses({.options = {{"tnet_output", "tail"}}},
          "'tnet_output' has no choice 'tail'; known: matrix head");
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

// A linear map of the mean point.
Model mean_point(const ModelConfig& config, const OptionReader& options) {
  Model model;
  const double gain = options.number_in("gain", 0, 10);
  const Linear head =
      model.layout.linear("head", 3, config.outputs, Role::head, torch_linear_init(3));
  model.inputs = {{"points", Rows::point, SlotKind::coordinates}};
  model.symmetries = {SymmetryKind::permutation};
  model.forward = [layout = model.layout, head, gain](const Tensors& params, const Tensors& buffers,
                                                      const Tensors& inputs,
                                                      const ForwardOptions& options) {
    Pass pass(layout, params, buffers, options.batch_statistics);
    ForwardResult result;
    result.outputs = {scale(pass.apply(head, mean(inputs.front(), 1)), gain)};
    return result;
  };
  return model;
}

ModelInfo mean_point_info(const std::string& name) {
  ModelInfo info;
  info.name = name;
  info.summary = "a linear map of the mean point";
  info.presets = {{"plain", "as it is"}, {"loud", "ten times", {{"gain", "10"}}}};
  info.options = {{"gain", "1", "factor of the outputs", OptionKind::number}};
  info.make = mean_point;
  return info;
}

const bool kRegistered = register_model(mean_point_info("mean_point"));

TEST_CASE("models: a registered model is one like the others") {
  CHECK(kRegistered);
  const std::vector<std::string> names = model_names();
  CHECK(std::vector<std::string>(names.begin(), names.begin() + 3) ==
        std::vector<std::string>{"pointnet", "dgcnn", "egnn"});
  CHECK(std::count(names.begin(), names.end(), "mean_point") == 1);
  CHECK(model_help().find("mean_point: a linear map of the mean point\n  preset plain: as it is\n"
                          "  preset loud: ten times\n  gain=1  factor of the outputs\n") !=
        std::string::npos);
  const ModelInfo* before = &model_info("mean_point");
  CHECK(register_model(mean_point_info("mean_point_2")));
  CHECK(&model_info("mean_point") == before);
  const Model model = make_model(
      {.name = "mean_point", .preset = "loud", .outputs = 2, .output_name = "prediction"});
  CHECK(model.name == "mean_point");
  CHECK(model.preset == "loud");
  CHECK(model.outputs == 2);
  CHECK(model.output_name == "prediction");
  CHECK(model.options == OptionValues{{"gain", "10"}});
  const ModelState state = init_model(model, 1, DType::f64);
  const Tensor points = testing::random_clouds(3, 7, 1);
  const Tensor y =
      model.forward(state.params.values(), {}, {points}, ForwardOptions::evaluation()).outputs[0];
  const Tensor& w = state.params.at("head.weight").value;
  double expected = state.params.at("head.bias").value.at(1);
  for (int64_t i = 0; i < 21; ++i) expected += w.at(3 + i % 3) * points.at(i) / 7;
  CHECK(y.at(1) == doctest::Approx(10 * expected).epsilon(1e-13));
  refuses({.name = "mean_point", .options = {{"gain", "11"}}},
          "model mean_point: option 'gain' must be from 0 to 10, got 11");
  refuses({.name = "mean_point", .options = {{"gian", "1"}}}, "did you mean 'gain'?");
}

TEST_CASE("models: what cannot be registered") {
  const auto refused = [](const ModelInfo& info) {
    try {
      register_model(info);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  CHECK(refused(mean_point_info("egnn")) == "registry: the model 'egnn' exists already");
  ModelInfo info = mean_point_info("unfinished");
  info.presets.clear();
  CHECK(refused(info) == "registry: a model needs a name, a preset and a factory");
  info = mean_point_info("unfinished");
  info.make = nullptr;
  CHECK(refused(info) == "registry: a model needs a name, a preset and a factory");
  CHECK(refused(mean_point_info("")) == "registry: a model needs a name, a preset and a factory");
}

TEST_CASE("models: the networks say what they are") {
  for (const char* name : {"pointnet", "dgcnn", "egnn"}) {
    CAPTURE(name);
    const Model model = make_model({.name = name});
    REQUIRE(model.inputs.size() == 1);
    CHECK(model.inputs[0].name == "points");
    CHECK(model.inputs[0].rows == Rows::point);
    CHECK(model.inputs[0].kind == SlotKind::coordinates);
    CHECK(model.neighbours == (model.name == "pointnet" ? 0 : 20));
    CHECK(model.penalty == (model.name == "pointnet"));
    CHECK(model.output_name == "logits");
    for (const SymmetryKind kind : kSymmetryKinds) {
      CHECK(model.declares(kind) == (model.name == "egnn" || kind == SymmetryKind::permutation));
    }
  }
  CHECK_FALSE(make_model({.options = {{"penalty", "0"}}}).penalty);
  CHECK_FALSE(make_model({.options = {{"feature_transform", "off"}}}).penalty);
  CHECK(make_model({.name = "egnn", .options = {{"k", "7"}}}).neighbours == 7);
}

TEST_CASE("models: activations say their rows and how they move") {
  const Tensor points = testing::random_clouds(2, 9, 1);
  ForwardOptions options;
  options.keep_activations = true;
  const std::map<std::string, OptionValues> small = {
      {"pointnet", {{"widths", "9,4,4,4,4"}}},  // as many channels as points: no rank tells
      {"dgcnn", {{"k", "3"}, {"widths", "4,4,4,4,4,4,4"}}},
      {"egnn", {{"k", "3"}, {"hidden", "4"}, {"layers", "2"}, {"scale", "2"}}}};
  for (const auto& [name, values] : small) {
    const Model model = make_model({.name = name, .options = values});
    const ModelState state = init_model(model, 1, DType::f64);
    const ForwardResult result =
        model.forward(state.params.values(), state.buffers.values(), {points}, options);
    std::string said;
    for (const Activation& a : result.activations) {
      said +=
          str(a.name,
              a.rows == Rows::point     ? " point"
              : a.rows == Rows::example ? ""
                                        : " ?",
              a.degree == 1 ? str(" vector*", a.unit) : "", a.translates ? " shifts" : "", "; ");
    }
    CHECK(said == (name == "pointnet" ? "input_transform; feature_transform; point_features point; "
                                        "global_feature; fc1; fc2; "
                   : name == "dgcnn"  ? "edge1 point; edge2 point; edge3 point; edge4 point; "
                                        "point_features point; global_feature; fc1; fc2; "
                                      : "features1 point; coordinates1 point vector*2 shifts; "
                                        "features2 point; coordinates2 point vector*2 shifts; "
                                        "global_feature; "));
  }
}

TEST_CASE("models: the loss is the smoothed cross entropy plus the penalty") {
  const Model model = make_pointnet(testing::tiny_config());
  const ModelState state = testing::generic_state(model, 5);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  const Tensor points = testing::random_tensor({4, 6, 3}, 1);
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1, 1, 0}, {4});
  const ForwardResult result = model.forward(params, buffers, {points}, testing::batch_mode());
  REQUIRE(result.penalty.defined());
  double expected = result.penalty.item();
  for (int64_t b = 0; b < 4; ++b) {
    const double z0 = result.outputs[0].at(2 * b), z1 = result.outputs[0].at(2 * b + 1);
    const double log_total = std::log(std::exp(z0) + std::exp(z1));
    const double right = labels.at(b) == 0 ? z0 : z1, wrong = labels.at(b) == 0 ? z1 : z0;
    expected += (0.8 * (log_total - right) + 0.2 * (log_total - wrong)) / 4;
  }
  const Fn loss = classification_loss(model, buffers, points, labels, testing::batch_mode(), 0.2);
  const ValueGrad vg = value_and_grad(loss)(params);
  CHECK(vg.value.item() == doctest::Approx(expected).epsilon(1e-13));
  REQUIRE(vg.aux.size() == 1 + result.batch_stats.size());
  CHECK(testing::difference(vg.aux[0], result.outputs[0]) == 0);
  CHECK(testing::difference(batch_stats_of(vg.aux), result.batch_stats) == 0);
  REQUIRE(vg.grads.size() == params.size());
  for (size_t i = 0; i < params.size(); ++i) CHECK(vg.grads[i].shape() == params[i].shape());
}

TEST_CASE("models: the objective of a network, whole and in parts") {
  const Model model = make_pointnet(testing::tiny_config());
  const ModelState state = testing::generic_state(model, 5);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  const Tensor points = testing::random_tensor({4, 6, 3}, 1);
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1, 1, 0}, {4});
  const ForwardResult result = model.forward(params, buffers, {points}, testing::batch_mode());
  const Objective objective = supervised(model, buffers, {points}, testing::batch_mode(),
                                         cross_entropy_loss(labels, 0.2), 4);
  CHECK(objective.n_outputs == 1);
  CHECK(objective.penalty);
  CHECK(objective.examples == 4);
  CHECK(objective.term_names == std::vector<std::string>{"cross_entropy"});
  const double data = data_loss(objective)(params)[0].item();
  CHECK(data == cross_entropy(result.outputs[0], labels, 0.2).item());
  CHECK(loss_of_outputs(objective)(result.outputs)[0].item() == data);
  CHECK(testing::difference(outputs_only(objective)(params), result.outputs) == 0);
  const Tensors all = training_loss(objective)(params);
  CHECK(all[0].item() == data + result.penalty.item());
  const LossParts parts = parts_of(objective, {all.begin() + 1, all.end()});
  CHECK(parts.terms.empty());
  CHECK(testing::difference(parts.outputs, result.outputs) == 0);
  CHECK(testing::difference(parts.batch_statistics, result.batch_stats) == 0);

  Model silent = model;
  silent.penalty = false;
  const Objective wrong =
      supervised(silent, buffers, {points}, testing::batch_mode(), cross_entropy_loss(labels), 4);
  CHECK_THROWS_WITH(wrong.outputs(params),
                    "supervised: pointnet gave a penalty, its Model::penalty says otherwise");
}

}  // namespace
}  // namespace basin
