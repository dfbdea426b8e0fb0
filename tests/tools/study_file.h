// A study of two networks and two optimizers, for tests.
#pragma once
#include "basin/tests/tools/helpers.h"

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

}  // namespace basin::tools
