// What the tests of training share: tiny problems on embedded data, a task whose training data are
// changed on the way, and a way to run a training in pieces and to read what it wrote.
#pragma once
#include <csignal>
#include <sstream>
#include <string>
#include <vector>

#include "basin/tests/core/errors.h"
#include "basin/tests/core/files.h"
#include "basin/train/tasks/tasks.h"
#include "basin/train/trainer.h"

namespace basin::test {

struct Settings {
  TaskConfig task;
  TrainOptions train;
};

// The rates and options with which the training programs use an optimizer.
inline OptimizerConfig usual_optimizer(const std::string& name) {
  OptimizerConfig out{.name = name};
  if (name == "muon") out.options = {{"aux_lr", "0.001"}};
  if (name == "sgd") {
    out.lr = 0.1;
    out.options = {{"momentum", "0.9"}};
  }
  return out;
}

// A PointNet of some thousand weights on 45 embedded shapes of 64 points: 5 steps an epoch.
inline Settings tiny_shapes(const std::string& optimizer) {
  register_builtin_tasks();
  Settings s;
  s.task.name = "modelnet";
  s.task.options = {{"data", "embedded"}, {"limit", "45"}, {"points", "64"}};
  s.task.model = {.name = "pointnet", .options = {{"widths", "8,16,32,16,8"}}};
  s.train.optimizer = usual_optimizer(optimizer);
  s.train.epochs = 3;
  s.train.batch = 8;
  s.train.eval_batch = 16;
  s.train.log_every = 2;
  return s;
}

// An EGNN of some hundred weights on the embedded molecules, whose batches differ in shape.
inline Settings tiny_molecules(const std::string& optimizer) {
  register_builtin_tasks();
  Settings s;
  s.task.name = "molecules";
  s.task.model = {.name = "egnn", .options = {{"hidden", "8"}, {"layers", "1"}}};
  s.train.optimizer = usual_optimizer(optimizer);
  s.train.epochs = 2;
  s.train.batch = 128;
  s.train.eval_batch = 128;
  s.train.log_every = 3;
  return s;
}

struct Problem {
  explicit Problem(const Settings& s) : task(make_task(s.task)), options(s.train) {}
  Task task;
  TrainOptions options;
};

// A source whose batches are changed by a function after they were made.
class ChangedSource : public Source {
 public:
  using Change = std::function<void(Batch&)>;
  ChangedSource(std::shared_ptr<const Source> inner, Change change)
      : inner_(std::move(inner)), change_(std::move(change)) {}
  const std::vector<Slot>& slots() const override { return inner_->slots(); }
  int64_t examples() const override { return inner_->examples(); }
  int64_t batches() const override { return inner_->batches(); }
  Batch batch(int64_t epoch, int64_t index) const override {
    Batch out = inner_->batch(epoch, index);
    change_(out);
    return out;
  }
  std::string description() const override { return inner_->description(); }
  std::string content_hash() const override { return inner_->content_hash(); }

 private:
  std::shared_ptr<const Source> inner_;
  Change change_;
};

inline void change_training_data(Task& task, const ChangedSource::Change& change) {
  task.source = [inner = task.source, change](const SourceRequest& request) {
    std::shared_ptr<const Source> source = inner(request);
    if (request.split == Split::train) source = std::make_shared<ChangedSource>(source, change);
    return source;
  };
}

// The first coordinate of these examples of the training split is infinite; of all, where none is
// named.
inline void spoil(Task& task, const std::vector<int64_t>& rows = {}) {
  change_training_data(task, [rows](Batch& batch) {
    Tensor& points = batch.tensors[0];
    const int64_t each = points.numel() / batch.examples;
    for (size_t i = 0; i < batch.rows.size(); ++i) {
      const bool named = std::find(rows.begin(), rows.end(), batch.rows[i]) != rows.end();
      if (!rows.empty() && !named) continue;
      points.mutable_data<float>()[static_cast<int64_t>(i) * each] =
          std::numeric_limits<float>::infinity();
    }
  });
}

// Runs from the newest checkpoint of the folder, or from the start, until it was asked
// `stop_after` times whether to stop (0: to the end).
inline TrainOutcome train(const Problem& problem, const fs::path& run, int stop_after = 0) {
  Trainer trainer(problem.task, problem.options);
  if (const auto checkpoint = read_newest_checkpoint(run / "ckpt")) trainer.restore(*checkpoint);
  int left = stop_after;
  TrainHooks hooks;
  hooks.stop = [&] { return stop_after > 0 && --left <= 0 ? SIGTERM : 0; };
  hooks.replay_command = "program --replay";
  return trainer.run(run, hooks);
}

inline std::vector<RecordFields> lines_of(const fs::path& run) {
  std::vector<RecordFields> out;
  std::istringstream in(read_text_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(in, line);) {
    out.push_back(parse_record(line, "metrics.jsonl"));
  }
  return out;
}

inline std::vector<RecordFields> events(const fs::path& run, const std::string& kind) {
  std::vector<RecordFields> out;
  for (RecordFields& fields : lines_of(run)) {
    if (fields.text("event") == kind) out.push_back(std::move(fields));
  }
  return out;
}

// The lines without the two fields that the clock decides.
inline std::vector<std::string> timeless_lines(const fs::path& run) {
  std::vector<std::string> out;
  for (const RecordFields& fields : lines_of(run)) {
    std::string kept;
    for (const auto& [key, value] : fields.values()) {
      if (key != "seconds" && key != "examples_per_second") kept += key + "=" + value + " ";
    }
    out.push_back(kept);
  }
  return out;
}

// Of weights and optimizer.
inline std::vector<std::string> hashes(const fs::path& run, int64_t step) {
  const fs::path folder = checkpoint_path(run / "ckpt", step);
  return {sha256_hex_of_file(folder / "model.safetensors"),
          sha256_hex_of_file(folder / "optim.safetensors")};
}

// The checkpoints of the run after this step are taken away, as if it had been killed there.
inline void forget_after(const fs::path& run, int64_t step) {
  for (const int64_t other : checkpoint_steps(run / "ckpt")) {
    if (other > step) fs::remove_all(checkpoint_path(run / "ckpt", other));
  }
}

inline std::vector<std::vector<uint8_t>> bits_of(const Trainer& trainer) {
  const OptimizerState optimizer = trainer.optimizer().save();
  return {serialize_safetensors(state_file(trainer.state())),
          serialize_safetensors({optimizer.tensors, optimizer.scalars})};
}

}  // namespace basin::test
