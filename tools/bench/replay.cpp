// Case replay: where calling kernels one by one shows and where it does not: a Burgers PINN
// 2-20x3-1 with 320 and 2,780 points in f64, PointNet and DGCNN on 4 clouds of 64 points, GotenNet
// on 32 molecules of 18 atoms. Keys start with "replay.". --batch and --points do not matter.
#include "basin/tools/bench/replay.h"

#include <algorithm>

#include "basin/core/clock.h"
#include "basin/core/text.h"
#include "basin/optim/registry.h"
#include "basin/tools/shell/environment.h"
#include "basin/train/step.h"
#include "basin/train/tasks/tasks.h"

namespace basin::tools {
namespace {

// A rate of zero keeps the weights, hence the work of every step, the same.
class Steps {
 public:
  Steps(const ReplayProblem& problem, GraphMode graph)
      : rule_(make_optimizer({.name = "adamw", .lr = 0.0, .weight_decay = 0.0},
                             problem.state.params)),
        step_(problem.task, problem.state, *rule_,
              {.batch = problem.batch.examples, .graph = graph}) {
    step_.set_batch(problem.batch);
  }
  void run(int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      step_.start(done_++, 1);
      step_.finish();
    }
  }
  const TrainStep& step() const { return step_; }

 private:
  std::unique_ptr<Optimizer> rule_;
  TrainStep step_;
  int64_t done_ = 0;
};

Timing per_step(Timing t, int64_t steps) {
  for (double* x : {&t.median, &t.min, &t.max, &t.cpu, &t.page_faults, &t.mappings}) {
    *x /= static_cast<double>(steps);
  }
  return t;
}

void burgers(const BenchOptions& options, const Place& place, const char* domain,
             const char* boundary, const char* initial, BenchReport& report) {
  const Task task =
      make_task({.name = "burgers",
                 .options = {{"domain", domain}, {"boundary", boundary}, {"initial", initial}},
                 .model = {.name = "mlp", .options = {{"width", "20"}, {"depth", "3"}}}});
  ModelState state = init_model(task.model, 0, DType::f64);
  const Batch batch = task.source({.split = Split::train, .training = true})->batch(0, 0);
  int64_t points = 0;
  for (const Tensor& t : batch.tensors) points += t.size(0);
  const std::string prefix = str("replay.pinn.n", points, ".", place.key(), ".");
  begin_section(str("Burgers PINN 2-20x3-1, ", points, " points, f64"), prefix, place, report);
  measure_replay(options, {task, state, batch}, prefix + "replay", report);
}

}  // namespace

void measure_replay(const BenchOptions& options, const ReplayProblem& problem,
                    const std::string& key, BenchReport& report) {
  Steps plain(problem, GraphMode::off), recorded(problem, GraphMode::on);
  plain.run(1);
  // Short steps are timed several at once.
  const double start = seconds_now();
  plain.run(1);
  const double one = std::max(seconds_now() - start, 1e-6);
  const auto steps = static_cast<int64_t>(std::clamp(0.02 / one, 1.0, 100.0));
  try {
    recorded.run(1);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::usage) throw;
    report.add(key + ".plain", "adamw step, plain",
               per_step(measure(options, [&] { plain.run(steps); }), steps), {}, 0);
    report.note(e.what());
    return;
  }
  const std::vector<Timing> both =
      measure_in_turn(options, {[&] { plain.run(steps); }, [&] { recorded.run(steps); }});
  const RepeatedWork& kept = *recorded.step().recording();
  const auto calls = static_cast<double>(kept.calls());
  double rates[2];
  for (const size_t i : {0, 1}) {
    const Timing t = per_step(both[i], steps);
    rates[i] = calls / t.median;
    const std::string name = i == 0 ? "plain" : "recorded";
    report.add(key + "." + name, "adamw step, " + name, t, {}, 0);
    report.value(key + "." + name + ".calls_per_second", rates[i]);
  }
  report.value(key + ".calls", calls);
  report.value(key + ".reserved_bytes", static_cast<double>(kept.reserved_bytes()));
  report.note(str(kept.calls(), " kernels, fills and copies: ", fixed_text(rates[0], 0),
                  " a second plain, ", fixed_text(rates[1], 0), " recorded, ",
                  fixed_text(rates[1] / rates[0], 2), " times as many; memory of the recording ",
                  bytes_text(static_cast<double>(kept.reserved_bytes()))));
}

void run_replay(const BenchOptions& options, BenchReport& report) {
  if (options.device != Device::cpu) return report.note("replay: a case of the CPU");
  register_builtin_tasks();
  for (const Place& place : places(options)) {
    burgers(options, place, "240", "30", "50", report);
    burgers(options, place, "2540", "80", "160", report);
  }
  BenchOptions mine = options;
  mine.parts = {"replay"};
  mine.prefix = "replay.";
  mine.batch = 4;
  mine.points = 64;
  for (const auto run : {run_pointnet, run_dgcnn}) run(mine, report);
  mine.batch = 32;
  mine.points = 18;
  run_gotennet(mine, report);
}

}  // namespace basin::tools
