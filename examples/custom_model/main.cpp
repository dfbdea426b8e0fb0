// A researcher's own network: what is needed besides the formula. A point cloud becomes the radii
// of its points about the centroid, a perceptron per point, the mean, a linear head:
//   logits = W mean_i silu(A r_i + a) + b,   r_i = |x_i - mean x|^2
// so the logits do not change under rotations, reflections, shifts and permutations. Layers are
// declared once; the forward pass is a plain function; symmetry, gradient and Hessian come free.
// Once registered, the network is known by name with its options, as Basin's own are: in --help
// too.
#include <basin/basin.h>

#include <algorithm>
#include <cstdio>

using namespace basin;

namespace {

Model radial_network(const ModelConfig& config, const OptionReader& options) {
  Model model;
  const int64_t hidden = options.integer_in("hidden", 1, 4096);
  const Linear point = model.layout.linear("point", 1, hidden, Role::first, torch_linear_init(1));
  const Linear head =
      model.layout.linear("head", hidden, config.outputs, Role::head, torch_linear_init(hidden));
  model.inputs = {{"points", Rows::point, SlotKind::coordinates}};
  model.symmetries.assign(std::begin(kSymmetryKinds), std::end(kSymmetryKinds));
  model.forward = [layout = model.layout, point, head](
                      const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                      const ForwardOptions& options) {
    Pass pass(layout, params, buffers, options.batch_statistics);
    const Tensor& points = inputs.front();
    const Tensor centred = points - mean(points, 1, true);
    const Tensor radius = sum(square(centred), 2, true);            // [B, N, 1]
    const Tensor cloud = mean(silu(pass.apply(point, radius)), 1);  // [B, hidden]
    ForwardResult result;
    if (options.keep_activations) result.activations = {{"global_feature", cloud}};
    result.outputs = {pass.apply(head, cloud)};
    return result;
  };
  return model;
}

const bool kRegistered =
    register_model({.name = "radial",
                    .summary = "squared radii of the points, invariant under everything",
                    .presets = {{"small", "16 channels"}, {"wide", "64", {{"hidden", "64"}}}},
                    .options = {{"hidden", "16", "channels per point", OptionKind::integer}},
                    .make = radial_network});

}  // namespace

int main() {
  const Model model = make_model({.name = "radial", .outputs = 15});
  ModelState state = init_model(model, /*seed=*/1, DType::f64);
  const PointCloudSet shapes = embedded_shapes(16, 1, 64, 0).train;
  const PointBatch batch = PointCloudLoader(shapes, {.batch = 64}).batch(0, 0);

  // What it promises is measured, by layer, in f32 and f64.
  const SymmetryReport symmetry = measure_symmetry(model, state, {batch.points});
  double worst = 0;
  for (SymmetryKind kind : model.symmetries) {
    worst = std::max(worst, symmetry.at(kind, DType::f64, "logits").largest());
  }
  std::printf("largest symmetry error of the logits (f64): %s\n",
              worst < 1e-9 ? "below 1e-9" : "TOO LARGE");

  // Any optimizer trains it; Muon routes by role, so head and first layer go to its auxiliary Adam.
  const auto optimizer = make_optimizer({.name = "adamw", .lr = 0.02}, state.params);
  double first = 0, last = 0;
  for (int64_t step = 0; step < 60; ++step) {
    const Fn loss = classification_loss(model, {}, batch.points.to(DType::f64), batch.labels, {});
    const ValueGrad result = value_and_grad(loss)(state.params.values());
    optimizer->step(state.params, result.grads, {step, result.value.item(), 1.0});
    last = result.value.item();
    if (step == 0) first = last;
  }
  std::printf("loss %.3f -> %.3f\n", first, last);

  // What the landscape tools need comes with it: the largest eigenvalue of the Hessian.
  const Fn loss = classification_loss(model, {}, batch.points.to(DType::f64), batch.labels, {});
  const CurvatureOperator hessian(
      {{.loss = loss, .outputs = {}, .loss_of_outputs = {}, .examples = batch.labels.numel()}},
      state.params);
  const LanczosResult top = lanczos(hessian, {.top = 1});
  std::printf("lambda max %.4f +- %.1e\n", top.top[0].value, top.top[0].residual);
  return kRegistered && worst < 1e-9 && last < 0.9 * first && top.converged ? 0 : 1;
}
