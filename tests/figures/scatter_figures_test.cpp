// Scatter plots of runs: a marker per run at its place, holes counted, every number in the CSV.
#include <doctest/doctest.h>

#include <cmath>

#include "basin/figures/scatter_figures.h"
#include "basin/tests/analysis/xml.h"

namespace basin {

TEST_CASE("scatter: a marker per run, what is missing is counted, the note is said in words") {
  Scatter data{.name = "ends", .title = "At the end"};
  data.panels.push_back({"rank", "accuracy, %", false, false, {}, "rank correlation 0.5"});
  data.panels[0].series = {{"adamw", {0.1, 0.2, NAN}, {50, 60, 70}, {"seed 0", "seed 1", "seed 2"}},
                           {"muon", {0.4}, {40}}};
  const Figure f = scatter_figure(data);
  CHECK(f.name == "ends");
  CHECK(f.holes == 1);
  CHECK(f.alt ==
        "One marker per run. accuracy, % against rank; adamw about 0.15 and 55; muon about 0.4 and "
        "40; rank correlation 0.5.");
  std::vector<std::string> marks;
  for (const auto& e : testing::parse_xml(f.svg)) {
    if (e.name == "title" && e.text.find(": ") != e.text.npos) marks.push_back(e.text);
  }
  CHECK(marks == std::vector<std::string>{"adamw: 0.1, 50", "adamw: 0.2, 60", "muon: 0.4, 40"});
  CHECK(f.csv.find("rank,\"accuracy, %\",adamw,seed 1,0.2") != f.csv.npos);
  CHECK(f.csv.find("muon,run 1,0.4") != f.csv.npos);
  data.panels[0].series[0].y.pop_back();
  CHECK_THROWS_WITH(scatter_figure(data),
                    "scatter: accuracy, %, adamw has 3 x, 2 y and 3 names of runs");
  CHECK_THROWS_WITH(scatter_figure({}), "scatter: expects at least one panel, given none");
}

}  // namespace basin
