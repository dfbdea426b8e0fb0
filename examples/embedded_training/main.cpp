// Training inside a host program: no run directory, no command line, the host keeps control. Each
// step calls back with loss, learning rate and the size of the update; the host may stop, and saves
// weights and optimizer state where it likes.
#include <basin/basin.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>

using namespace basin;

namespace {

struct StepReport {
  int64_t step = 0;
  double loss = 0, lr_scale = 0;
  double update_rms = 0;  // of all parameters
};
using Callback = std::function<bool(const StepReport&)>;  // false: stop

int64_t train(const Model& model, ModelState& state, const PointCloudLoader& loader,
              Optimizer& optimizer, int64_t steps, const Callback& callback) {
  UpdateMeter meter;
  optimizer.set_observer(meter.observer());
  const Schedule schedule(parse_schedule("cosine", steps, loader.batches_per_epoch()));
  int64_t step = 0;
  for (bool more = true; more && step < steps; ++step) {
    const PointBatch batch =
        loader.batch(step / loader.batches_per_epoch(), step % loader.batches_per_epoch());
    const Fn loss =
        classification_loss(model, state.buffers.values(), batch.points, batch.labels,
                            ForwardOptions::training(/*seed=*/0, static_cast<uint64_t>(step)));
    const ValueGrad result = value_and_grad(loss)(state.params.values());
    optimizer.step(state.params, result.grads, {step, result.value.item(), schedule.scale(step)});
    update_running_stats(state.buffers, batch_stats_of(result.aux));
    double square = 0, elements = 0;
    for (const UpdateSize& u : meter.parameters()) {
      square += u.rms * u.rms * static_cast<double>(u.elements);
      elements += static_cast<double>(u.elements);
    }
    more = callback({step, result.value.item(), schedule.scale(step),
                     elements > 0 ? std::sqrt(square / elements) : 0});
  }
  optimizer.set_observer({});
  return step;
}

}  // namespace

int main() {
  const Model model =
      make_model({.name = "pointnet", .outputs = 15, .options = {{"widths", "16,32,64,32,16"}}});
  ModelState state = init_model(model, /*seed=*/0, DType::f32);
  const PointCloudLoader loader(embedded_shapes(8, 1, 128, 0).train,
                                {.batch = 24, .drop_last = true});
  const auto optimizer = make_optimizer({.name = "muon"}, state.params);

  double first = 0, last = 0;
  const int64_t done = train(model, state, loader, *optimizer, 150, [&](const StepReport& report) {
    if (report.step == 0) first = report.loss;
    last = report.loss;
    if (report.step % 30 == 0) {
      std::printf("step %3lld  loss %.3f  update rms %.2e\n", static_cast<long long>(report.step),
                  report.loss, report.update_rms);
    }
    return report.loss > 0.05;  // the host's own rule
  });
  std::printf("%lld steps, loss %.3f -> %.3f\n", static_cast<long long>(done), first, last);

  // Weights travel as safetensors, under the names of the common PyTorch code.
  const fs::path file = fs::temp_directory_path() / "basin_embedded_training.safetensors";
  save_state(file, state);
  ModelState again = init_model(model, /*seed=*/1, DType::f32);
  load_state(file, again);
  fs::remove(file);
  bool same = true;
  for (size_t i = 0; i < state.params.size(); ++i) {
    same = same &&
           state.params[i].value.to_vector<float>() == again.params[i].value.to_vector<float>();
  }

  // A callback that says stop is obeyed at once.
  const int64_t stopped = train(model, again, loader, *optimizer, 40,
                                [](const StepReport& report) { return report.step < 2; });
  std::printf("weights as saved: %s; the host stopped the second training after %lld steps\n",
              same ? "yes" : "NO", static_cast<long long>(stopped));
  return last < 0.9 * first && same && stopped == 3 ? 0 : 1;
}
