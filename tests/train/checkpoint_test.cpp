// The checkpoint protocol: round trip, damage, what a kill leaves behind, pruning.
#include "basin/train/checkpoint.h"

#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

SafetensorsFile model(float value) {
  return {{{"a.weight", Tensor::from<float>({value, 2, 3, 4}, {2, 2})},
           {"a.running_mean", Tensor::from<float>({5}, {1})}},
          {}};
}

OptimizerState optimizer() {
  OptimizerState state;
  state.tensors = {{"a.weight.m", Tensor::from<double>({0.1, 0.2}, {2})}};
  state.scalars = {{"optimizer", "adamw"}, {"steps", "12"}};
  return state;
}

fs::path write(const fs::path& folder, int64_t step) {
  return write_checkpoint(folder, step, model(static_cast<float>(step)), optimizer(),
                          Record().add("step", step).add("loss_sum", 0.1));
}

void flip_a_byte(const fs::path& file) {
  std::vector<uint8_t> bytes = read_file(file);
  bytes[bytes.size() - 1] ^= 1;
  write_file_atomic(file, bytes);
}

}  // namespace

TEST_CASE("checkpoint: round trip") {
  const TempDir dir;
  const fs::path path = write(dir / "ckpt", 12);
  CHECK(path == dir / "ckpt/step-12");
  const Checkpoint back = read_checkpoint(path);
  CHECK(back.step == 12);
  CHECK(back.state.number("loss_sum") == 0.1);
  REQUIRE(back.model.tensors.size() == 2);
  CHECK(back.model.find("a.weight")->to_vector<float>() == std::vector<float>{12, 2, 3, 4});
  CHECK(back.optimizer.scalars == optimizer().scalars);
  CHECK(back.optimizer.tensors.at(0).first == "a.weight.m");
  CHECK(back.optimizer.tensors.at(0).second.to_vector<double>() == std::vector<double>{0.1, 0.2});
  const std::string done = read_text_file(path / "DONE");
  CHECK(contains(done, sha256_hex_of_file(path / "model.safetensors") + "  model.safetensors\n"));
  CHECK(contains(done, sha256_hex_of_file(path / "optim.safetensors") + "  optim.safetensors\n"));
  CHECK(contains(done, sha256_hex_of_file(path / "state.json") + "  state.json\n"));
}

TEST_CASE("checkpoint: a damaged newest one is skipped with a warning") {
  for (const char* file : {"model.safetensors", "optim.safetensors", "state.json", "DONE"}) {
    const TempDir dir;
    const fs::path folder = dir / "ckpt";
    write(folder, 5);
    write(folder, 10);
    flip_a_byte(folder / "step-10" / file);
    const auto direct = error_of([&] { read_checkpoint(folder / "step-10"); });
    CHECK(direct.first == ErrorKind::data);
    const CaughtWarnings caught;
    const auto newest = read_newest_checkpoint(folder);
    REQUIRE(newest.has_value());
    CHECK(newest->step == 5);
    REQUIRE(caught.texts.size() == 1);
    CHECK(contains(caught.texts[0], "step-10"));
    // The run goes on and reaches the step again: the damaged one is replaced.
    write(folder, 10);
    CHECK(read_newest_checkpoint(folder)->step == 10);
  }
}

TEST_CASE("checkpoint: what an interrupted write leaves is ignored and removed") {
  const TempDir dir;
  const fs::path folder = dir / "ckpt";
  CHECK(!read_newest_checkpoint(folder).has_value());
  write(folder, 5);
  fs::copy(folder / "step-5", folder / ".tmp-step-10", fs::copy_options::recursive);
  fs::copy(folder / "step-5", folder / "step-11", fs::copy_options::recursive);
  fs::remove(folder / "step-11/DONE");
  fs::create_directories(folder / "step-x");
  CHECK(checkpoint_steps(folder) == std::vector<int64_t>{5});
  CHECK(read_newest_checkpoint(folder)->step == 5);
  write(folder, 10);
  CHECK(!fs::exists(folder / ".tmp-step-10"));
  CHECK(checkpoint_steps(folder) == std::vector<int64_t>{5, 10});
}

TEST_CASE("checkpoint: pruning keeps the last ones and the best") {
  const TempDir dir;
  const fs::path folder = dir / "ckpt";
  for (int64_t step = 1; step <= 6; ++step) write(folder, step);
  prune_checkpoints(folder, 0, {});
  CHECK(checkpoint_steps(folder).size() == 6);
  prune_checkpoints(folder, 2, {2, 100});
  CHECK(checkpoint_steps(folder) == std::vector<int64_t>{2, 5, 6});
  prune_checkpoints(folder, 5, {});
  CHECK(checkpoint_steps(folder) == std::vector<int64_t>{2, 5, 6});
}

TEST_CASE("checkpoint: a damaged later one does not displace the one that is in use") {
  const TempDir dir;
  const fs::path folder = dir / "ckpt";
  for (const int64_t step : {5, 10, 15}) write(folder, step);
  flip_a_byte(folder / "step-15/model.safetensors");
  prune_checkpoints(folder, 1, {10});  // a run that went on from 10
  CHECK(checkpoint_steps(folder) == std::vector<int64_t>{10, 15});
  const CaughtWarnings caught;
  CHECK(read_newest_checkpoint(folder)->step == 10);
  // What is no folder of checkpoints must not pass for an empty one.
  write_file_atomic(dir / "file", std::string_view("x"));
  CHECK(error_of([&] { checkpoint_steps(dir / "file"); }).first == ErrorKind::output);
  CHECK(checkpoint_steps(dir / "nothing").empty());
}

TEST_CASE("checkpoint: a folder of the current one") {
  const TempDir dir;
  const fs::path before = fs::current_path();
  fs::current_path(dir.path());
  write("ckpt", 3);
  fs::current_path(before);
  CHECK(read_newest_checkpoint(dir / "ckpt")->step == 3);
}

TEST_CASE("checkpoint: a folder that cannot be written is an output error") {
  const TempDir dir;
  write_file_atomic(dir / "ckpt", std::string_view("a file in the way"));
  CHECK(error_of([&] { write(dir / "ckpt", 1); }).first == ErrorKind::output);
}

}  // namespace basin::test
