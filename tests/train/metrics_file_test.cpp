// The metrics file: what a resumed run does to it.
#include "basin/train/metrics_file.h"

#include "basin/tests/train/problems.h"

namespace basin::test {

TEST_CASE("metrics: a resumed file is cut to the length of the checkpoint") {
  const TempDir dir;
  const fs::path file = dir / "metrics.jsonl";
  uint64_t at_checkpoint = 0;
  {
    MetricsFile metrics(file, 0);
    metrics.append(Record().add("step", 1));
    metrics.sync();
    at_checkpoint = metrics.bytes();
    metrics.append(Record().add("step", 2));
  }
  CHECK(read_text_file(file) == "{\"step\": 1}\n{\"step\": 2}\n");
  {
    MetricsFile metrics(file, at_checkpoint);
    metrics.append(Record().add("step", 3));
  }
  CHECK(read_text_file(file) == "{\"step\": 1}\n{\"step\": 3}\n");
  const auto shorter = error_of([&] { MetricsFile(file, 1000); });
  CHECK(shorter.first == ErrorKind::data);
  CHECK(contains(shorter.second, "counts 1000 bytes of metrics, the file has 24"));
  CHECK(error_of([&] { MetricsFile(dir / "no/metrics.jsonl", 0); }).first == ErrorKind::output);
}

}  // namespace basin::test
