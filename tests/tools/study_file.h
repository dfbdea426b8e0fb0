// A study of two networks and two optimizers, and what a stub of its programs reports, for tests.
#pragma once
#include <cmath>

#include "basin/core/random.h"
#include "basin/figures/figure.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/study/ledger.h"
#include "basin/tools/study/schedule.h"

namespace basin::tools {

inline const char* const kFile = R"(title = "Two and two"
program = "stub"
baseline = "adam"

[settings]
data = "none"
epochs = 8

[models.small]
"model.name" = "small"
[models.wide]
"model.name" = "wide"

[optimizers.adam]
"optimizer.name" = "adam"
[optimizers.muon]
"optimizer.name" = "muon"

[grid.adam]
lr = [1e-3, 1e-2]
wd = [0, 0.1]
[grid.muon]
lr = [1e-2, 1e-1]
wd = [0, 0.1]

[search]
seed = 9
[search.settings]
epochs = 2

[final]
seeds = [0, 1, 2, 3]

[measure.probe]
program = "stub_probe"
arguments = "run {run}"

[metrics.accuracy]
value = "best_val_accuracy"
unit = "%"
scale = 100
leads = true
[metrics.lambda]
from = "probe"
value = "lambda_max"
logarithmic = true
larger = false

[published.small.adam]
accuracy = 76.9
[published.small.muon]
accuracy = 82.1
)";

inline std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const size_t at = text.find(what);
  REQUIRE(at != text.npos);
  return text.replace(at, what.size(), by);
}

// What the stub would report: a function of the settings, like a training.
inline Record stub_result(const Job& job) {
  Record out;
  const std::string text = settings_text(job.settings) + joined(job.parents, " ");
  Rng rng(1, stream_id(text));
  if (!job.parents.empty())
    return out.add("lambda_max", std::exp(rng.normal())).add("job_seconds", 1);
  const double lr = job.settings.at("lr") == "0.01" ? 0.1 : 0;
  const double value = 0.5 + lr + 0.01 * rng.normal();
  return out.add("completed", true)
      .add("best_val_value", value)
      .add("best_val_accuracy", value)
      .add("steps", 10)
      .add("job_seconds", 2);
}

// Does every job in the order of the schedule.
inline void do_all(Schedule& schedule, Ledger& ledger) {
  while (const auto job = schedule.next()) {
    ledger.write(*job, stub_result(*job));
    schedule.done(*job);
  }
}

}  // namespace basin::tools
