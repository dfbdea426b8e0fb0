// Checkpoints and metrics when a single system call fails: the sentence, and what is left on the
// disk.
#include <cerrno>
#include <set>

#include "basin/tests/core/faults.h"
#include "basin/tests/train/problems.h"
#include "basin/train/checkpoint.h"
#include "basin/train/metrics_file.h"

namespace basin::test {
namespace {

fs::path write(const fs::path& folder, int64_t step) {
  const Tensor weight = Tensor::from<float>({1, 2, static_cast<float>(step)}, {3});
  return write_checkpoint(folder, step, {{{"w", weight}}, {}}, {}, Record().add("step", step));
}

void check_output_error(const std::pair<ErrorKind, std::string>& error, const std::string& word) {
  CHECK(error.first == ErrorKind::output);
  CHECK_MESSAGE(contains(error.second, word), error.second);
}

}  // namespace

TEST_CASE("checkpoint faults: a write that fails anywhere leaves the one before and nothing else") {
  const TempDir dir;
  const fs::path folder = dir / "ckpt";
  write(folder, 5);
  const auto names = [&] {
    std::set<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder)) out.insert(entry.path().filename());
    return out;
  };
  // Four files are written, synchronised and renamed, then the folder is renamed.
  for (int skip = 0; skip < 4; ++skip) {
    INFO(skip);
    {
      const Fault fault(Call::write, ENOSPC, skip);
      check_output_error(error_of([&] { write(folder, 10); }), "cannot be written: No space left");
    }
    CHECK(names() == std::set<std::string>{"step-5"});
    {
      const Fault fault(Call::rename, EIO, skip);
      check_output_error(error_of([&] { write(folder, 10); }), "cannot be replaced");
    }
    CHECK(names() == std::set<std::string>{"step-5"});
  }
  {
    const Fault fault(Call::rename, EIO, 4);
    check_output_error(error_of([&] { write(folder, 10); }), "step-10: cannot be put in place");
  }
  CHECK(names() == std::set<std::string>{"step-5"});
  {
    const Fault fault(Call::mkdir, EROFS);
    check_output_error(error_of([&] { write(folder, 10); }),
                       "step-10: cannot be created: Read-only");
  }
  CHECK(read_newest_checkpoint(folder)->step == 5);
  // What an interrupted write left and what cannot be removed.
  fs::copy(folder / "step-5", folder / ".tmp-step-10", fs::copy_options::recursive);
  {
    const Fault fault(Call::remove, EIO);
    check_output_error(error_of([&] { write(folder, 10); }), ".tmp-step-10: cannot be removed");
  }
  write(folder, 10);
  CHECK(names() == std::set<std::string>{"step-5", "step-10"});
  CHECK(read_newest_checkpoint(folder)->step == 10);
}

TEST_CASE("checkpoint faults: pruning that fails keeps what it was to keep") {
  const TempDir dir;
  const fs::path folder = dir / "ckpt";
  for (const int64_t step : {1, 2, 3}) write(folder, step);
  {
    const Fault fault(Call::rename, EIO);
    check_output_error(error_of([&] { prune_checkpoints(folder, 1, {}); }),
                       "cannot be put in place");
  }
  CHECK(checkpoint_steps(folder) == std::vector<int64_t>{1, 2, 3});
  {
    const Fault fault(Call::remove, EIO);
    check_output_error(error_of([&] { prune_checkpoints(folder, 1, {}); }), "cannot be removed");
  }
  CHECK(checkpoint_steps(folder) == std::vector<int64_t>{2, 3});
  prune_checkpoints(folder, 1, {});  // with what the failed removal left
  CHECK(std::distance(fs::directory_iterator(folder), fs::directory_iterator()) == 1);
  CHECK(read_newest_checkpoint(folder)->step == 3);
}

TEST_CASE("checkpoint faults: a state that is none of ours") {
  const TempDir dir;
  const fs::path step = write(dir / "ckpt", 5);
  const auto with_state = [&](std::string_view text) {
    std::string done = read_text_file(step / "DONE");
    const std::string old = sha256_hex_of_file(step / "state.json");
    write_file_atomic(step / "state.json", text);
    done.replace(done.find(old), old.size(), sha256_hex_of_file(step / "state.json"));
    write_file_atomic(step / "DONE", done);
    return error_of([&] { read_checkpoint(step); });
  };
  const auto missing = with_state("{\"epoch\": 3}");
  CHECK(missing.first == ErrorKind::data);
  CHECK(contains(missing.second, "state.json: the key 'step' is missing"));
  CHECK(contains(with_state("{\"step\": \"x\"}").second, "'step' is expected to be an integer"));
  CHECK(contains(with_state("").second, "not valid JSON"));
  fs::remove(step / "DONE");
  CHECK(error_of([&] { read_checkpoint(step); }).first == ErrorKind::data);
}

TEST_CASE("metrics faults: half a line does not stay") {
  const TempDir dir;
  const fs::path file = dir / "metrics.jsonl";
  const Record line = Record().add("step", 1);
  {
    MetricsFile metrics(file, 0);
    metrics.append(line);
    {
      const Fault fault(Call::write, EINTR);
      metrics.append(line);
      CHECK(fault.struck());
    }
    {
      const Fault fault(Call::write, 0, 0, 3);
      metrics.append(line);
    }
    {
      const Fault fault(Call::write, ENOSPC, 2, 3);  // after two pieces of three bytes
      check_output_error(error_of([&] { metrics.append(line); }),
                         "metrics.jsonl: cannot be written: No space left");
    }
    CHECK(metrics.bytes() == 36);
    {
      const Fault fault(Call::fsync, EIO);
      check_output_error(error_of([&] { metrics.sync(); }), "cannot be synchronised");
    }
  }
  CHECK(read_text_file(file) == "{\"step\": 1}\n{\"step\": 1}\n{\"step\": 1}\n");
  const std::pair<Call, const char*> opening[] = {{Call::fstat, "cannot be examined"},
                                                  {Call::ftruncate, "cannot be cut"},
                                                  {Call::fsync, "cannot be synchronised"}};
  for (const auto& [call, sentence] : opening) {
    const Fault fault(call, EIO);
    check_output_error(error_of([&] { MetricsFile(file, 24); }), sentence);
  }
  const fs::path before = fs::current_path();
  fs::current_path(dir.path());
  MetricsFile("metrics.jsonl", 24);  // in the current folder
  fs::current_path(before);
  CHECK(fs::file_size(file) == 24);
}

}  // namespace basin::test
