// Looking into a failed step, and its bundle on disk.
#include "basin/train/step_failure.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "basin/core/folder.h"
#include "basin/core/version.h"
#include "basin/kernels/clip.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

constexpr int kBundleFormat = 2;  // 1 held points and labels only
constexpr const char* kRecord = "failure.json";
constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kBatchFile = "batch.safetensors";
constexpr std::string_view kModelOption = "model.";
constexpr std::string_view kTaskOption = "task.";
constexpr std::string_view kFittedPrefix = "fitted.";
constexpr size_t kRowsShown = 8;

std::string layer_of(const std::string& parameter) {
  const size_t dot = parameter.rfind('.');
  return dot == parameter.npos ? parameter : parameter.substr(0, dot);
}

// Each name once, in order.
std::string comma_list(const std::vector<std::string>& names) {
  std::string out;
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (seen.insert(name).second) out += (out.empty() ? "" : ", ") + name;
  }
  return out;
}

std::vector<std::string> names_of(const std::vector<int>& positions, const ParamList& params) {
  std::vector<std::string> out;
  for (const int i : positions) out.push_back(params[static_cast<size_t>(i)].name);
  return out;
}

std::string rows_text(const std::vector<int64_t>& rows, size_t most) {
  std::string out;
  for (size_t i = 0; i < std::min(rows.size(), most); ++i) out += str(i > 0 ? " " : "", rows[i]);
  return out + (rows.size() > most ? " ..." : "");
}

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

}  // namespace

Fn StepInputs::loss() const {
  return training_loss(task->objective(
      state.buffers.values(), batch.to(state.params[0].value.dtype()),
      ForwardOptions::training(seed, static_cast<uint64_t>(step * microbatches + microbatch))));
}

void examine(StepFailure& failure) {
  const ParamList& params = failure.inputs.state.params;
  failure.examined = true;
  failure.found = find_non_finite(failure.inputs.loss(), params.values());
  if (!failure.found) return;
  const auto names = names_of(failure.found->parameters, params);
  std::vector<std::string> layers;
  for (const std::string& name : names) layers.push_back(layer_of(name));
  failure.layer = comma_list(layers);
  failure.parameters = comma_list(names);
  failure.spoilt = comma_list(names_of(failure.found->bad, params));
}

bool repeats(StepFailure& failure) {
  const ParamList& params = failure.inputs.state.params;
  const ValueGrad result = value_and_grad(failure.inputs.loss())(params.values());
  Tensor squares = Tensor::empty({static_cast<int64_t>(params.size())}, DType::f64);
  launch<SquareSums>(Device::cpu, result.grads, squares);
  double total = 0;
  failure.gradient.clear();
  for (size_t i = 0; i < params.size(); ++i) {
    const double square = squares.at(static_cast<int64_t>(i));
    if (!std::isfinite(square) && failure.gradient.empty()) failure.gradient = params[i].name;
    total += square;
  }
  failure.loss = result.value.item();
  failure.grad_norm = std::sqrt(total);
  return !std::isfinite(failure.loss) || !std::isfinite(failure.grad_norm);
}

std::string StepFailure::op_sentence() const {
  if (!examined) return "";
  if (!found) return "on the CPU every value of this step is finite";
  const NonFinite& f = *found;
  const std::string holds =
      str(number_text(f.first.value), " at element ", f.first.element, " of ", f.shape, " (",
          f.first.count, " of ", f.shape.numel(), " not finite)");
  const std::string where = layer.empty() ? ", which no parameter leads to"
                                          : str(", layer ", layer, " (", parameters, ")");
  const std::string bad = spoilt.empty() ? "" : str("; ", spoilt, " held such values before");
  if (f.sweep == Sweep::none) return str(parameters, " holds ", holds);
  if (f.sweep == Sweep::backward) {
    return str("backward: op '", f.op, "' makes the cotangent of its input ", f.position, " ",
               holds, where, bad);
  }
  return str("forward: op '", f.op, "' gives ", holds, where,
             f.from_inputs && spoilt.empty() ? ", from an input that was not finite" : "", bad);
}

std::string StepFailure::sentence() const {
  const std::string ops = op_sentence();
  return str("epoch ", epoch, ", step ", step, ", batch ", batch, " (",
             inputs.task ? inputs.task->example : "example", "s ", rows_text(rows, kRowsShown),
             "): the loss is ", number_text(loss), " and ",
             gradient.empty() ? "every gradient is finite, their norm is " + number_text(grad_norm)
                              : "the gradient of " + gradient + " is not finite",
             ops.empty() ? "" : "; " + ops);
}

Record StepFailure::record() const {
  Record out;
  out.add("epoch", epoch)
      .add("step", step)
      .add("batch", batch)
      .add("rows", std::string_view(rows_text(rows, rows.size())))
      .add("loss", loss)
      .add("grad_norm", grad_norm)
      .add("gradient", std::string_view(gradient));
  if (!examined) return out;
  out.add("sweep", name_of(found ? found->sweep : Sweep::none))
      .add("op", std::string_view(found ? found->op : ""))
      .add("layer", std::string_view(layer))
      .add("parameters", std::string_view(parameters))
      .add("not_finite_before", std::string_view(spoilt));
  if (!found) return out;
  return out.add("position", found->position)
      .add("shape", std::string_view(found->shape.to_string()))
      .add("element", found->first.element)
      .add("value", found->first.value)
      .add("non_finite_elements", found->first.count)
      .add("from_inputs", found->from_inputs);
}

fs::path write_bundle(const fs::path& run, const StepFailure& failure) {
  const StepInputs& in = failure.inputs;
  Record json;
  json.add("format", kBundleFormat);
  json.append(failure.record());
  json.append(failure.facts);
  const TaskConfig& task = in.task->config;
  json.add("task", std::string_view(in.task->name))
      .add("task_seed", static_cast<int64_t>(task.seed))
      .add("model", std::string_view(in.task->model.name))
      .add("model_preset", std::string_view(in.task->model.preset));
  const auto add_all = [&](std::string_view prefix, const OptionValues& values) {
    for (const auto& [key, value] : values) {
      json.add(std::string(prefix) + key, std::string_view(value));
    }
  };
  add_all(kTaskOption, task.options);
  add_all(kModelOption, in.task->model.options);
  add_all(kFittedPrefix, in.task->fitted);
  json.add("microbatches", in.microbatches).add("microbatch", in.microbatch);
  json.add("dtype", name_of(in.state.params[0].value.dtype()))
      .add("examples", in.batch.examples)
      .add("seed", static_cast<int64_t>(in.seed))
      .add("version", std::string_view(version_info().version));
  SafetensorsFile batch;
  for (size_t i = 0; i < in.slots.size(); ++i) {
    batch.tensors.emplace_back(in.slots[i], in.batch.tensors[i]);
  }
  FolderFiles files;
  files.emplace_back(kModelFile, serialize_safetensors(state_file(in.state)));
  files.emplace_back(kBatchFile, serialize_safetensors(batch));
  files.emplace_back(kRecord, bytes_of(json.pretty()));
  fs::path target = run / str("failure-step-", failure.step);
  write_folder(target, files);
  return target;
}

namespace {

OptionValues values_under(const RecordFields& in, std::string_view prefix) {
  OptionValues out;
  for (const auto& [key, value] : in.values()) {
    if (key.starts_with(prefix)) out[key.substr(prefix.size())] = value;
  }
  return out;
}

std::shared_ptr<const Task> recorded_task(const RecordFields& in) {
  TaskConfig config;
  config.name = in.text("task");
  config.options = values_under(in, kTaskOption);
  config.model.name = in.text("model");
  config.model.preset = in.text("model_preset");
  config.model.options = values_under(in, kModelOption);
  config.seed = static_cast<uint64_t>(in.integer("task_seed"));
  config.fitted = values_under(in, kFittedPrefix);
  return std::make_shared<const Task>(make_task(config));
}

std::vector<int64_t> rows_from(const std::string& text) {
  std::vector<int64_t> out;
  TextReader in(text);
  for (int64_t row = 0; in >> row;) out.push_back(row);
  return out;
}

RecordFields read_failure_record(const fs::path& folder, const std::string& done) {
  const auto bytes = read_verified(folder / kRecord, done);
  const std::string source = (folder / kRecord).string();
  RecordFields out =
      parse_record({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, source);
  if (out.integer("format") != kBundleFormat) {
    fail(ErrorKind::data, source, ": has format ", out.text("format"), ", expected ",
         kBundleFormat);
  }
  return out;
}

std::string done_of_bundle(const fs::path& folder) {
  if (!fs::is_regular_file(folder / kRecord)) {
    fail(ErrorKind::data, folder.string(), ": is no bundle of a failed step, it has no ", kRecord);
  }
  return read_done(folder);
}

}  // namespace

Bundle read_bundle(const fs::path& folder) {
  return read_bundle(folder, recorded_task(read_failure_record(folder, done_of_bundle(folder))));
}

Bundle read_bundle(const fs::path& folder, std::shared_ptr<const Task> task) {
  const std::string done = done_of_bundle(folder);
  Bundle out;
  out.recorded = read_failure_record(folder, done);
  const RecordFields& r = out.recorded;
  StepFailure& f = out.failure;
  f.epoch = r.integer("epoch");
  f.step = r.integer("step");
  f.batch = r.integer("batch");
  f.rows = rows_from(r.text("rows"));
  f.inputs.task = std::move(task);
  f.inputs.seed = static_cast<uint64_t>(r.integer("seed"));
  f.inputs.step = f.step - 1;
  if (r.has("microbatches")) {  // later than the first bundles of this format
    f.inputs.microbatches = r.integer("microbatches");
    f.inputs.microbatch = r.integer("microbatch");
  }
  f.inputs.state = init_model(f.inputs.task->model, 0, dtype_from_name(r.text("dtype")));
  const fs::path model = folder / kModelFile, batch = folder / kBatchFile;
  load_state(parse_safetensors(read_verified(model, done), model.string()), model.string(),
             f.inputs.state);
  const SafetensorsFile file = parse_safetensors(read_verified(batch, done), batch.string());
  f.inputs.batch.examples = r.integer("examples");
  f.inputs.batch.rows = f.rows;
  for (const auto& [name, tensor] : file.tensors) {
    f.inputs.slots.push_back(name);
    f.inputs.batch.tensors.push_back(tensor);
  }
  if (file.tensors.size() < f.inputs.task->model.inputs.size()) {
    fail(ErrorKind::data, batch.string(), ": expected at least ",
         f.inputs.task->model.inputs.size(), " tensors, found ", file.tensors.size());
  }
  return out;
}

}  // namespace basin
