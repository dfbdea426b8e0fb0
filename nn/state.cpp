// Model states in safetensors files, under the names and shapes of the reference PyTorch code.
#include "basin/nn/state.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <unordered_map>

#include "basin/core/log.h"
#include "basin/core/printable.h"

namespace basin {
namespace {

// Parts that wrappers put into names: of modules that are data-parallel or averaged, compiled,
// sharded and checkpointed.
constexpr std::string_view kWrappers[] = {"module", "_orig_mod", "_fsdp_wrapped_module",
                                          "_checkpoint_wrapped_module"};

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
  for (size_t i = 0; i < names.size() && i < kShown; ++i)
    text += (i ? ", " : "") + printable(names[i]);
  if (names.size() > kShown) text += str(" and ", names.size() - kShown, " more");
  return text;
}

// What counts steps and the like, and is no weight: num_batches_tracked, an averaged model's
// n_averaged. Weights are floating point.
bool is_bookkeeping(std::string_view name, const Tensor& tensor) {
  return is_buffer_name(name) || !is_float(tensor.dtype());
}

bool is_counter(const Param& buffer) {
  return !is_float(buffer.value.dtype()) && buffer.value.numel() == 1;
}

// `name` without the parts among `wrappers`, which are noted in `removed`.
std::string without_parts(std::string_view name, const std::vector<std::string_view>& wrappers,
                          std::set<std::string>& removed) {
  std::string out;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (std::find(wrappers.begin(), wrappers.end(), part) != wrappers.end()) {
      removed.insert(str(part, "."));
    } else {
      out += out.empty() ? str(part) : str(".", part);
    }
    begin = end + 1;
  }
  return out;
}

// The wrappers' parts that no name of the model has itself.
std::vector<std::string_view> foreign_wrappers(const std::vector<std::string>& known) {
  std::vector<std::string_view> out;
  for (const std::string_view part : kWrappers) {
    const std::string inner = str(".", part, ".");
    const bool own = std::any_of(known.begin(), known.end(), [&](const std::string& name) {
      return str(".", name).find(inner) != std::string::npos;
    });
    if (!own) out.push_back(part);
  }
  return out;
}

// The prefix under which the file has most of the known names; of several the shortest.
std::string best_prefix(const SafetensorsFile& file, const std::vector<std::string>& known) {
  std::map<std::string, size_t> found;
  std::set<std::string_view> names;
  for (const auto& [name, tensor] : file.tensors) names.insert(name);
  for (const std::string& wanted : known) {
    if (names.contains(wanted)) ++found[""];
    for (const std::string_view name : names) {
      if (name.size() > wanted.size() && name.ends_with(wanted) &&
          name[name.size() - wanted.size() - 1] == '.') {
        ++found[std::string(name.substr(0, name.size() - wanted.size()))];
      }
    }
  }
  std::string best;
  size_t most = found[""];
  for (const auto& [prefix, count] : found) {
    if (count < most || (count == most && prefix.size() >= best.size())) continue;
    best = prefix;
    most = count;
  }
  return best;
}

std::string_view last_part(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == name.npos ? name : name.substr(dot + 1);
}

// PyTorch writes a module once for every attribute that holds it: the common DGCNN code has each
// batch norm as bn1 and as conv1.1. Such a tensor carries the bytes of one that the model knows.
bool is_second_name(const std::string& name, const Tensor& tensor, const SafetensorsFile& file,
                    const ModelState& state) {
  for (const auto& [known, other] : file.tensors) {
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
  bool matched = false;  // any name of the file is one of the model
};

// What to look into.
std::string_view advice(const Faults& faults) {
  if (!faults.matched) return "no name is one of the model's: weights of another network?";
  const bool only_extra =
      faults.missing.empty() && faults.other_shape.empty() && faults.other_type.empty();
  return only_extra ? "every weight of the model is there; leave the rest out of the file"
                    : "same model, preset, options and number of classes?";
}

// The tensor for one parameter or buffer in its own shape and type; undefined after a fault.
Tensor fitted(const Param& param, bool buffer, const Tensor* tensor, Faults& faults) {
  if (!tensor) {
    if (buffer && is_counter(param)) return Tensor::zeros(param.value.shape(), param.value.dtype());
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
  fail(ErrorKind::data, source, ": the tensors are not those of the model; ", sentence, "; ",
       advice(faults));
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

SafetensorsFile under_known_names(SafetensorsFile file, const std::string& source,
                                  const std::vector<std::string>& known) {
  std::set<std::string> removed;
  const std::vector<std::string_view> wrappers = foreign_wrappers(known);
  for (auto& [name, tensor] : file.tensors) name = without_parts(name, wrappers, removed);
  const std::string prefix = best_prefix(file, known);
  if (!prefix.empty()) removed.insert(prefix);
  std::set<std::string> seen;
  for (auto& [name, tensor] : file.tensors) {
    if (name.starts_with(prefix)) name.erase(0, prefix.size());
    if (!seen.insert(name).second) {
      fail(ErrorKind::data, source, ": two tensors are called ", printable(name),
           " when what wrappers add to the names (", join({removed.begin(), removed.end()}),
           ") is left out");
    }
  }
  if (!removed.empty()) {
    log_message(LogLevel::info, str(source, ": left out of the names of the tensors: ",
                                    join({removed.begin(), removed.end()})));
  }
  return file;
}

void load_state(const SafetensorsFile& stored, const std::string& source, ModelState& state,
                const LoadStateOptions& options) {
  std::vector<std::string> known;
  for (const ParamList* list : {&state.params, &state.buffers}) {
    for (const Param& p : *list) known.push_back(p.name);
  }
  const SafetensorsFile file = under_known_names(stored, source, known);
  Faults faults;
  std::unordered_map<std::string, const Tensor*> given;
  for (const auto& [name, tensor] : file.tensors) {
    given.emplace(name, &tensor);
    const bool has = state.params.find(name) >= 0 || state.buffers.find(name) >= 0;
    faults.matched = faults.matched || has;
    if (has || is_constant_name(name) || is_second_name(name, tensor, file, state)) continue;
    (is_bookkeeping(name, tensor) ? faults.extra_buffers : faults.extra).push_back(name);
  }
  std::set<std::string, std::less<>> kept;
  if (options.skip_head) kept = other_heads(state, given);
  std::vector<std::pair<Param*, Tensor>> updates;
  for (ParamList* list : {&state.params, &state.buffers}) {
    for (Param& param : *list) {
      if (kept.contains(layer_of(param.name))) continue;
      const auto found = given.find(param.name);
      const Tensor* tensor = found == given.end() ? nullptr : found->second;
      updates.emplace_back(&param, fitted(param, list == &state.buffers, tensor, faults));
    }
  }
  report(faults, source);
  for (auto& [param, value] : updates) param->value.copy_from(value);
}

}  // namespace basin
