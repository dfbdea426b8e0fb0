// Training inside a host program: the host picks task, network and optimizer, and keeps control.
// Every step calls it back with loss and learning rate; it may stop, go on from a checkpoint and
// take the weights where it likes.
#include <basin/basin.h>
#include <basin/train/tasks/tasks.h>

#include <cstdio>

using namespace basin;

int main() {
  hold_standard_streams();  // a host may be started without a terminal
  register_builtin_tasks();
  const Task task =
      make_task({.name = "modelnet",
                 .options = {{"points", "128"}, {"limit", "120"}, {"augment", "none"}},
                 .model = {.name = "pointnet", .options = {{"widths", "16,32,64,32,16"}}}});
  const TrainOptions options{
      .optimizer = {.name = "muon"}, .epochs = 1000, .batch = 24, .eval_every = {50, false}};
  const fs::path folder = fs::temp_directory_path() / str("basin_embedded_", ::getpid());

  double first = 0, last = 0;
  TrainHooks hooks;
  hooks.progress = [&](const Trainer& trainer, const StepResult* step) {
    if (step == nullptr) return;  // an evaluation begins
    if (trainer.steps_done() == 1) first = step->loss;
    last = step->loss;
    if (trainer.steps_done() % 30 == 1) {
      std::printf("step %3lld  loss %.3f  lr %.2e\n", static_cast<long long>(trainer.steps_done()),
                  step->loss, step->lr);
    }
  };
  Trainer trainer(task, options);
  // The host's own rule. What run() returns where it was told to stop has a checkpoint behind it.
  hooks.stop = [&] { return last < 0.05 || trainer.steps_done() >= 150 ? 1 : 0; };
  const TrainOutcome outcome = trainer.run(folder, hooks);
  std::printf("%lld steps, loss %.3f -> %.3f, %s\n", static_cast<long long>(trainer.steps_done()),
              first, last, outcome.completed ? "completed" : "stopped by the host");

  // Weights travel as safetensors, under the names of the common PyTorch code.
  const fs::path file = folder / "weights.safetensors";
  save_state(file, trainer.state());
  ModelState again = init_model(task.model, /*seed=*/1, DType::f32);
  load_state(file, again);
  bool same = true;
  for (size_t i = 0; i < again.params.size(); ++i) {
    same = same && trainer.state().params[i].value.to_vector<float>() ==
                       again.params[i].value.to_vector<float>();
  }

  // A checkpoint goes on where it was left.
  Trainer resumed(task, options);
  resumed.restore(*read_newest_checkpoint(folder / "ckpt"));
  std::printf("weights as saved: %s; resumed at step %lld\n", same ? "yes" : "NO",
              static_cast<long long>(resumed.steps_done()));
  const bool there = resumed.steps_done() == trainer.steps_done();
  fs::remove_all(folder);
  return last < 0.9 * first && same && there ? 0 : 1;
}
