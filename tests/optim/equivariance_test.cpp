// Which optimizers step the same way in every basis of a matrix.
#include "basin/optim/equivariance.h"

#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

TEST_CASE("equivariance: spectral optimizers hold, element-wise ones do not") {
  for (const char* name : {"muon", "specmuon", "shampoo", "soap", "sgd", "lbfgs"}) {
    CAPTURE(name);
    const StepEquivariance e = step_equivariance({.name = name});
    CHECK(e.left < 1e-7);
    CHECK(e.right < 1e-7);
    CHECK(e.permutation < 1e-7);
  }
  for (const char* name : {"adam", "adamw", "lion", "schedule_free", "polar_adamw"}) {
    CAPTURE(name);
    const StepEquivariance e = step_equivariance({.name = name});
    CHECK(e.left > 1e-2);
    CHECK(e.right > 1e-2);
    CHECK(e.permutation < 1e-9);  // every element is treated alike, wherever it is
  }
  // NorMuon scales rows: any basis of the inputs, but not of the outputs.
  const StepEquivariance rows = step_equivariance({.name = "normuon"});
  CHECK(rows.left > 1e-3);
  CHECK(rows.right < 1e-9);
  // The loss itself is what Muon's step does not depend on, SGD's does.
  CHECK(step_equivariance({.name = "muon"}).scale < 1e-5);
  CHECK(step_equivariance({.name = "sgd"}).scale > 1);
  // SAM moves along the gradient, ASAM element by element.
  OptimizerConfig sam{.name = "muon", .options = {{"sam", "0.1"}}};
  CHECK(step_equivariance(sam).left < 1e-9);
  sam.options["sam_adaptive"] = "true";
  CHECK(step_equivariance(sam).left > 1e-3);
}

TEST_CASE("equivariance: the table has a row per optimizer") {
  const std::string table = format_equivariance_table(step_equivariance_of_all());
  std::printf("%s", table.c_str());
  for (const std::string& name : optimizer_names()) {
    CHECK(table.find("\n" + name + " ") != std::string::npos);
  }
  CHECK(std::count(table.begin(), table.end(), '\n') ==
        static_cast<int64_t>(optimizer_names().size()) + 1);
}
