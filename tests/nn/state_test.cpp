// Model states in safetensors files: the round trip, foreign layouts, and every refusal.
#include "basin/nn/state.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <functional>

#include "basin/core/log.h"
#include "basin/nn/layers.h"

namespace basin {
namespace {

ModelState make_state(uint64_t seed, DType dtype) {
  Layout layout;
  layout.conv1d("feat.conv1", 3, 4, Role::first, torch_linear_init(3));
  layout.batch_norm("feat.bn1", 4);
  layout.linear("fc", 4, 2, Role::head, torch_linear_init(4));
  return layout.init(seed, dtype);
}

bool equal(const ModelState& a, const ModelState& b) {
  for (size_t i = 0; i < a.params.size(); ++i) {
    if (a.params[i].value.to_vector<double>() != b.params[i].value.to_vector<double>()) {
      return false;
    }
  }
  for (size_t i = 0; i < a.buffers.size(); ++i) {
    if (a.buffers[i].value.to_vector<double>() != b.buffers[i].value.to_vector<double>()) {
      return false;
    }
  }
  return true;
}

ModelState trained_state(DType dtype) {
  ModelState state = make_state(1, dtype);
  Tensor mean = Tensor::full({4}, dtype, 0.5), var = Tensor::full({4}, dtype, 2);
  for (int i = 0; i < 3; ++i) update_running_stats(state.buffers, {mean, var});
  return state;
}

struct TemporaryFile {
  fs::path path = fs::temp_directory_path() / str("basin_state_test_", getpid(), ".safetensors");
  ~TemporaryFile() { fs::remove(path); }
};

TEST_CASE("state: round trip through a file, shapes as in the reference code") {
  const TemporaryFile file;
  const ModelState saved = trained_state(DType::f64);
  save_state(file.path, saved);
  const SafetensorsFile raw = read_safetensors(file.path);
  REQUIRE(raw.find("feat.conv1.weight"));
  CHECK(raw.find("feat.conv1.weight")->shape() == Shape{4, 3, 1});
  CHECK(raw.find("feat.bn1.num_batches_tracked")->dtype() == DType::i64);
  CHECK(raw.find("feat.bn1.num_batches_tracked")->item() == 3);
  CHECK(raw.tensors.size() == 9);
  ModelState loaded = make_state(2, DType::f64);
  CHECK_FALSE(equal(saved, loaded));
  load_state(file.path, loaded);
  CHECK(equal(saved, loaded));
  CHECK(loaded.params.at("feat.conv1.weight").value.shape() == Shape{4, 3});
}

TEST_CASE("state: f32 and f64 convert, Basin's own shape and a module. prefix are accepted") {
  const ModelState saved = trained_state(DType::f32);
  SafetensorsFile file = state_file(saved);
  for (auto& [name, tensor] : file.tensors) {
    if (name == "feat.conv1.weight") tensor = tensor.view({4, 3});
    name = "module." + name;
  }
  ModelState loaded = make_state(2, DType::f64);
  load_state(file, "file", loaded);
  CHECK(equal(saved, loaded));
  CHECK(loaded.params[0].value.dtype() == DType::f64);
}

TEST_CASE("state: missing, extra and mis-shaped tensors are named, and nothing is written") {
  const SafetensorsFile good = state_file(trained_state(DType::f32));
  ModelState target = make_state(2, DType::f32);
  const ModelState before = target.clone();
  const auto refuses = [&](const SafetensorsFile& file, const char* words) {
    try {
      load_state(file, "weights.safetensors", target);
      FAIL("accepted a file: ", words);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::data);
      const std::string sentence = error.what();
      CHECK_MESSAGE(sentence.find(words) != std::string::npos, sentence);
      CHECK(sentence.starts_with("weights.safetensors: "));
    }
    CHECK(equal(before, target));
  };
  SafetensorsFile file = good;
  file.tensors.erase(file.tensors.begin());
  refuses(file, "missing: feat.conv1.weight;");
  file = good;
  file.tensors.emplace_back("fc9.weight", Tensor::zeros({2}, DType::f32));
  refuses(file, "not in the model: fc9.weight;");
  file = good;
  file.tensors[0].second = Tensor::zeros({3, 4}, DType::f32);
  refuses(file, "of another shape: feat.conv1.weight [3, 4] instead of [4, 3, 1];");
  file = good;
  file.tensors[0].second = Tensor::zeros({4, 3}, DType::i64);
  refuses(file, "of another type: feat.conv1.weight i64 instead of f32;");
  file = good;
  file.tensors[0].first = "old." + file.tensors[0].first;  // not on every name
  refuses(file, "missing: feat.conv1.weight; not in the model: old.feat.conv1.weight");
  refuses(SafetensorsFile{}, "missing: feat.conv1.weight, ");
  refuses(SafetensorsFile{}, "and 2 more; no name is one of the model's");
  file = good;
  file.tensors.emplace_back("module.fc.weight", file.tensors.back().second);
  refuses(file, "two tensors are called fc.weight");
  file = good;
  for (auto& [name, tensor] : file.tensors) name = "net." + name;
  file.tensors.emplace_back("loss.weight", Tensor::zeros({2}, DType::f32));
  refuses(file, "not in the model: loss.weight; every weight of the model is there");
}

TEST_CASE("state: what wrappers add to the names is left out, and the log says what") {
  const ModelState saved = trained_state(DType::f32);
  const auto loads = [&](const std::function<std::string(const std::string&)>& renamed) {
    SafetensorsFile file = state_file(saved);
    for (auto& [name, tensor] : file.tensors) name = renamed(name);
    ModelState target = make_state(2, DType::f32);
    std::string said;
    const LogSink previous =
        set_log_sink([&](LogLevel, const std::string& message) { said += message; });
    try {
      load_state(file, "file", target);
    } catch (...) {
      set_log_sink(previous);
      throw;
    }
    set_log_sink(previous);
    CHECK_MESSAGE(equal(saved, target), renamed("x"));
    return said;
  };
  for (const char* prefix :
       {"module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "model.",
        "model._orig_mod.", "net.encoder.", "state_dict.model.", "_fsdp_wrapped_module.", "ema."}) {
    const std::string said = loads([&](const std::string& name) { return prefix + name; });
    CHECK_MESSAGE(said.find("left out of the names") != std::string::npos, prefix);
  }
  // One layer was compiled, or is data-parallel, and the rest is not.
  for (const char* part : {"_orig_mod", "module", "_checkpoint_wrapped_module"}) {
    CHECK(loads([&](const std::string& name) {
            return name.starts_with("feat.conv1.") ? str("feat.conv1.", part, name.substr(10))
                                                   : name;
          }) == str("file: left out of the names of the tensors: ", part, "."));
  }
  CHECK(loads([](const std::string& name) { return name; }).empty());

  // A network that has such names itself.
  Layout own;
  own.linear("module.fc", 3, 2, Role::head, torch_linear_init(3));
  const ModelState wrapped = own.init(1, DType::f32);
  ModelState target = own.init(2, DType::f32);
  load_state(state_file(wrapped), "file", target);
  CHECK(equal(wrapped, target));
}

TEST_CASE("state: what only keeps count may be missing, or be there beside the model") {
  const ModelState saved = trained_state(DType::f32);
  SafetensorsFile file = state_file(saved);
  std::erase_if(file.tensors, [](const auto& t) { return t.first.ends_with("batches_tracked"); });
  ModelState target = trained_state(DType::f64);
  load_state(file, "file", target);
  CHECK(target.buffers.at("feat.bn1.num_batches_tracked").value.item() == 0);
  CHECK(target.buffers.at("feat.bn1.running_var").value.at(0) ==
        saved.buffers.at("feat.bn1.running_var").value.at(0));

  // An averaged model counts what it has averaged; others keep positions.
  file = state_file(saved);
  for (auto& [name, tensor] : file.tensors) name = "module." + name;
  file.tensors.emplace_back("n_averaged", Tensor::zeros({}, DType::i64));
  file.tensors.emplace_back("positions", Tensor::zeros({1, 7}, DType::i64));
  target = make_state(2, DType::f32);
  std::string warning;
  const LogSink previous = set_log_sink([&](LogLevel level, const std::string& message) {
    if (level == LogLevel::warning) warning = message;
  });
  load_state(file, "file", target);
  set_log_sink(previous);
  CHECK(warning.find("n_averaged, positions") != std::string::npos);
  CHECK(equal(saved, target));

  // A statistic is no counter.
  file = state_file(saved);
  std::erase_if(file.tensors, [](const auto& t) { return t.first.ends_with("running_mean"); });
  CHECK_THROWS_AS(load_state(file, "file", target), Error);
}

TEST_CASE("state: an extra buffer only draws a warning") {
  SafetensorsFile file = state_file(trained_state(DType::f32));
  file.tensors.emplace_back("old.bn.running_mean", Tensor::zeros({2}, DType::f32));
  ModelState target = make_state(2, DType::f32);
  std::string warning;
  const LogSink previous =
      set_log_sink([&](LogLevel, const std::string& message) { warning = message; });
  load_state(file, "file", target);
  set_log_sink(previous);
  CHECK(warning.find("old.bn.running_mean") != std::string::npos);
  CHECK(equal(trained_state(DType::f32), target));
}

TEST_CASE("state: clone is deep") {
  const ModelState state = trained_state(DType::f32);
  ModelState copy = state.clone();
  copy.params[0].value.fill(0);
  CHECK_FALSE(equal(state, copy));
}

}  // namespace
}  // namespace basin
