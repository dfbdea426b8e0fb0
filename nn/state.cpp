// Model states in safetensors files, under the names and shapes of the reference PyTorch code.
#include "basin/nn/state.h"

#include <cstring>
#include <set>
#include <unordered_map>

#include "basin/core/log.h"

namespace basin {
namespace {

constexpr std::string_view kPrefix = "module.";  // of models saved inside a data-parallel wrapper

bool is_buffer_name(std::string_view name) {
  return name.ends_with(".running_mean") || name.ends_with(".running_var") ||
         name.ends_with(".num_batches_tracked");
}

// Constants that Basin computes: centres and widths of GotenNet's radial functions.
bool is_constant_name(std::string_view name) { return name.starts_with("radial_basis."); }

// "a, b, c and 7 more"
std::string join(const std::vector<std::string>& names) {
  constexpr size_t kShown = 6;
  std::string text;
  for (size_t i = 0; i < names.size() && i < kShown; ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > kShown) text += str(" and ", names.size() - kShown, " more");
  return text;
}

bool has_prefix(const SafetensorsFile& file) {
  for (const auto& [name, tensor] : file.tensors) {
    if (!name.starts_with(kPrefix)) return false;
  }
  return !file.tensors.empty();
}

std::string_view last_part(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == name.npos ? name : name.substr(dot + 1);
}

// PyTorch writes a module once for every attribute that holds it: the common DGCNN code has each
// batch norm as bn1 and as conv1.1. Such a tensor carries the bytes of one that the model knows.
bool is_second_name(const std::string& name, const Tensor& tensor, const SafetensorsFile& file,
                    size_t prefix, const ModelState& state) {
  for (const auto& [full_name, other] : file.tensors) {
    const std::string known = full_name.substr(prefix);
    if (state.params.find(known) < 0 && state.buffers.find(known) < 0) continue;
    if (last_part(known) != last_part(name) || other.dtype() != tensor.dtype() ||
        !(other.shape() == tensor.shape())) {
      continue;
    }
    if (std::memcmp(other.raw(), tensor.raw(), tensor.bytes()) == 0) return true;
  }
  return false;
}

struct Faults {
  std::vector<std::string> missing, extra, other_shape, other_type, extra_buffers;
};

// The tensor for one parameter or buffer in its own shape and type; undefined after a fault.
Tensor fitted(const Param& param, const Tensor* tensor, Faults& faults) {
  if (!tensor) {
    faults.missing.push_back(param.name);
    return {};
  }
  const Shape& shape = tensor->shape();
  if (!(shape == param.value.shape()) && !(shape == param.reference_shape)) {
    faults.other_shape.push_back(
        str(param.name, " ", shape, " instead of ", param.reference_shape));
    return {};
  }
  if (is_float(tensor->dtype()) != is_float(param.value.dtype())) {
    faults.other_type.push_back(str(param.name, " ", name_of(tensor->dtype()), " instead of ",
                                    name_of(param.value.dtype())));
    return {};
  }
  return tensor->to(param.value.dtype()).view(param.value.shape());
}

void report(const Faults& faults, const std::string& source) {
  if (!faults.extra_buffers.empty()) {
    log_message(
        LogLevel::warning,
        str(source, ": buffers the model does not have are ignored: ", join(faults.extra_buffers)));
  }
  std::string sentence;
  const auto add = [&](std::string_view what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    sentence += str(sentence.empty() ? "" : "; ", what, ": ", join(names));
  };
  add("missing", faults.missing);
  add("not in the model", faults.extra);
  add("of another shape", faults.other_shape);
  add("of another type", faults.other_type);
  if (sentence.empty()) return;
  fail(ErrorKind::data, source, ": the tensors are not those of the model; ", sentence,
       "; same model, preset, options and number of classes?");
}

}  // namespace

SafetensorsFile state_file(const ModelState& state) {
  SafetensorsFile file;
  for (const ParamList* list : {&state.params, &state.buffers}) {
    for (const Param& p : *list) file.tensors.emplace_back(p.name, p.value.view(p.reference_shape));
  }
  return file;
}

void save_state(const fs::path& path, const ModelState& state) {
  write_safetensors(path, state_file(state));
}

namespace {

std::string_view layer_of(std::string_view name) { return name.substr(0, name.rfind('.')); }

// The layers that give the outputs and have another shape in the file.
std::set<std::string, std::less<>> other_heads(
    const ModelState& state, const std::unordered_map<std::string, const Tensor*>& given) {
  std::set<std::string, std::less<>> layers;
  for (const Param& param : state.params) {
    const auto found = given.find(param.name);
    if (param.role != Role::head || found == given.end()) continue;
    const Shape& shape = found->second->shape();
    if (shape == param.value.shape() || shape == param.reference_shape) continue;
    layers.emplace(layer_of(param.name));
  }
  return layers;
}

}  // namespace

void load_state(const fs::path& path, ModelState& state, const LoadStateOptions& options) {
  load_state(read_safetensors(path), path.string(), state, options);
}

void load_state(const SafetensorsFile& file, const std::string& source, ModelState& state,
                const LoadStateOptions& options) {
  const size_t prefix = has_prefix(file) ? kPrefix.size() : 0;
  Faults faults;
  std::unordered_map<std::string, const Tensor*> given;
  for (const auto& [full_name, tensor] : file.tensors) {
    const std::string name = full_name.substr(prefix);
    given.emplace(name, &tensor);
    if (state.params.find(name) >= 0 || state.buffers.find(name) >= 0) continue;
    if (is_constant_name(name) || is_second_name(name, tensor, file, prefix, state)) continue;
    (is_buffer_name(name) ? faults.extra_buffers : faults.extra).push_back(name);
  }
  std::set<std::string, std::less<>> kept;
  if (options.skip_head) kept = other_heads(state, given);
  std::vector<std::pair<Param*, Tensor>> updates;
  for (ParamList* list : {&state.params, &state.buffers}) {
    for (Param& param : *list) {
      if (kept.contains(layer_of(param.name))) continue;
      const auto found = given.find(param.name);
      const Tensor* tensor = found == given.end() ? nullptr : found->second;
      updates.emplace_back(&param, fitted(param, tensor, faults));
    }
  }
  report(faults, source);
  for (auto& [param, value] : updates) param->value.copy_from(value);
}

}  // namespace basin
