// The registry of tasks, and what a batch and a task can do for themselves.
#include "basin/train/task.h"

#include <algorithm>
#include <numeric>

#include "basin/core/io.h"
#include "basin/core/params.h"
#include "basin/core/random.h"

namespace basin {
namespace {

std::vector<TaskInfo>& registry() {
  static std::vector<TaskInfo> tasks;
  return tasks;
}

const TaskInfo* find_task(const std::string& name) {
  for (const TaskInfo& info : registry()) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

}  // namespace

std::string_view name_of(Split split) {
  constexpr std::string_view names[] = {"training", "validation", "test"};
  return names[static_cast<size_t>(split)];
}

std::string content_hash_of(const Tensors& tensors) {
  std::vector<uint8_t> bytes;
  for (const Tensor& t : tensors) {
    const auto* first = reinterpret_cast<const uint8_t*>(t.data<double>());
    bytes.insert(bytes.end(), first, first + static_cast<size_t>(t.numel()) * sizeof(double));
  }
  return sha256_hex(bytes);
}

std::vector<int64_t> drawn_rows(int64_t available, int64_t wanted, uint64_t seed) {
  std::vector<int64_t> rows(static_cast<size_t>(available));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  if (wanted <= 0 || wanted >= available) return rows;
  Rng rng(seed, stream_id("probe shapes"));
  rng.shuffle(std::span<int64_t>(rows));
  rows.resize(static_cast<size_t>(wanted));
  std::sort(rows.begin(), rows.end());
  return rows;
}

Batch Batch::to(DType dtype) const {
  Batch out = *this;
  for (Tensor& t : out.tensors) {
    if (is_float(t.dtype())) t = t.to(dtype);
  }
  return out;
}

Batch Batch::to(Device device) const {
  Batch out = *this;
  for (Tensor& t : out.tensors) t = t.to(device);
  return out;
}

double fitted_number(const Fitted& fitted, const std::string& key, const char* task,
                     const char* what) {
  double value = 0;
  const auto found = fitted.find(key);
  check(found != fitted.end() && parse_double(found->second, value), task,
        ": the weights do not say the ", key, " of the ", what, " they were trained on");
  return value;
}

std::string_view name_of(Rows rows) {
  switch (rows) {
    case Rows::example: return "example";
    case Rows::point: return "point";
    case Rows::node: return "node";
    case Rows::edge: break;
  }
  return "edge";
}

void require_inputs(const Model& model, const std::vector<Slot>& slots, const std::string& task) {
  const auto text = [](const std::vector<Slot>& all, bool with_rows) {
    std::string out;
    for (const Slot& s : all) {
      if (s.kind == SlotKind::target) continue;
      out += (out.empty() ? "" : ", ") + s.name;
      if (with_rows) out += str(" (a row per ", name_of(s.rows), ")");
    }
    return out;
  };
  bool fits = model.inputs.size() <= slots.size();
  for (size_t i = 0; fits && i < model.inputs.size(); ++i) {
    fits = model.inputs[i].name == slots[i].name && model.inputs[i].rows == slots[i].rows;
  }
  const bool same_names = text(slots, false) == text(model.inputs, false);
  check(fits, "task ", task, ": gives ", text(slots, same_names), ", the network ", model.name,
        " takes ", text(model.inputs, same_names));
}

bool Task::has(Split split) const {
  const DataFacts facts = data();
  const int64_t counts[] = {facts.train, facts.validation, facts.test};
  return counts[static_cast<size_t>(split)] > 0;
}

Tensors Task::predict(const Tensors& outputs, const Batch& batch) const {
  return predictions ? predictions(outputs, batch) : outputs;
}

bool register_task(TaskInfo info) {
  check(find_task(info.name) == nullptr, "register_task: the name '", info.name, "' is taken");
  check(!info.models.empty(), "register_task: '", info.name,
        "' names no model that takes its batches");
  registry().push_back(std::move(info));
  return true;
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const TaskInfo& info : registry()) names.push_back(info.name);
  return names;
}

const TaskInfo& task_info(const std::string& name) {
  if (const TaskInfo* found = find_task(name)) return *found;
  const std::vector<std::string> names = task_names();
  std::string known;
  for (const std::string& n : names) known += (known.empty() ? "" : ", ") + n;
  const std::string near = nearest_name(name, names);
  fail(ErrorKind::usage, "no task is called '", name, "'; there is ",
       known.empty() ? "none" : known, near.empty() ? "" : "; did you mean '" + near + "'?");
}

std::string task_help() {
  std::string text;
  for (const TaskInfo& info : registry()) {
    text += info.name + ": " + info.summary + "\n" + option_help(info.options);
  }
  return text;
}

Task make_task(const TaskConfig& config) {
  const TaskInfo& info = task_info(config.name);
  OptionReader options("task " + info.name, info.options, config.options);
  if (config.place) options.set_place(config.place);
  Task task = info.make(config, options);
  task.name = info.name;
  task.config = config;
  task.config.options = options.values();
  task.config.model.preset = task.model.preset;
  task.config.model.options = task.model.options;
  task.config.model.outputs = task.model.outputs;
  task.config.fitted = task.fitted;
  task.config.place = {};
  check(task.source && task.data && task.objective && task.meter && !task.metrics.empty(), "task ",
        info.name, ": make gave a task without source, data, objective, metrics or meter");
  return task;
}

}  // namespace basin
