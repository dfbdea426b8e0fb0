// A user's program: a network of the library trained with an optimizer of the user's own, known by
// name; its weights go to the safetensors file that is the argument.
#include <basin/basin.h>

#include <cmath>
#include <cstdio>

using namespace basin;

namespace {

// w -= lr g / |g|_rms, per tensor.
class Normalised : public Optimizer {
 public:
  explicit Normalised(double lr) : lr_(lr) {}
  std::string_view name() const override { return "normalised"; }
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override {
    for (size_t i = 0; i < params.size(); ++i) {
      if (!grads[i]) continue;
      const Tensor rms = safe_norm(reshape(grads[i], {1, grads[i].numel()}), 1);
      const double size = rms.at(0) / std::sqrt(static_cast<double>(grads[i].numel())) + 1e-12;
      params[i].value = params[i].value - scale(grads[i], lr_ * info.lr_scale / size);
    }
  }
  OptimizerState save() const override { return begin_state(name()); }
  void load(const OptimizerState& state) override { StateReader(state, name()).finish(); }

 private:
  double lr_;
};

const bool kRegistered =
    register_optimizer({"normalised",
                        "a step of the same size whatever the gradient",
                        3e-3,
                        0,
                        {},
                        [](const OptimizerConfig& c, const OptionReader&, const ParamList&) {
                          return std::make_unique<Normalised>(*c.lr);
                        }});

}  // namespace

int main(int argc, char** argv) try {
  const Model net =
      make_model({.name = "pointnet", .outputs = 15, .options = {{"widths", "8,16,32,16,8"}}});
  ModelState state = init_model(net, 0, DType::f64);
  const PointBatch batch =
      PointCloudLoader(embedded_shapes(2, 1, 64, 0).train, {.batch = 30}).batch(0, 0);
  const Fn loss = classification_loss(net, state.buffers.values(), batch.points.to(DType::f64),
                                      batch.labels, {.batch_statistics = true});
  const auto optimizer = make_optimizer({.name = "normalised"}, state.params);
  double first = 0, last = 0;
  for (int64_t step = 0; step <= 25; ++step) {
    const ValueGrad result = value_and_grad(loss)(state.params.values());
    last = result.value.item();
    if (step == 0) first = last;
    optimizer->step(state.params, result.grads, {.step = step, .loss = last});
  }
  std::printf("loss %.4f -> %.4f\n", first, last);
  if (argc > 1) save_state(argv[1], state);
  return kRegistered && last < 0.8 * first ? 0 : 1;
} catch (const Error& error) {
  std::fprintf(stderr, "own_optimizer: %s\n", error.what());
  return error.exit_code();
}
