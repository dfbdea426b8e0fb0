// The table, CSV files and figure of symmetry errors say what was measured.
#include "basin/tools/shell/equivariance_report.h"

#include <algorithm>
#include <cmath>

#include "basin/tests/analysis/xml.h"
#include "basin/tests/tools/helpers.h"

namespace basin::tools {
namespace {

// Two layers; error of transformation t is 10^-(n + t), n counting the rows.
EquivarianceReport made_report() {
  EquivarianceReport report;
  report.model = "egnn (cloud)";
  report.weights = "ckpt/step-3";
  report.examples = "two clouds";
  report.transformations = 2;
  int n = 0;
  for (const SymmetryKind kind : kSymmetryKinds) {
    for (const DType type : {DType::f32, DType::f64}) {
      for (const char* layer : {"coordinates1", "logits"}) {
        SymmetryError e;
        e.kind = kind;
        e.dtype = type;
        e.layer = layer;
        e.equivariant = std::string(layer) == "coordinates1" && kind != SymmetryKind::permutation;
        e.declared = kind != SymmetryKind::reflection;
        e.errors = {std::pow(10.0, -n), std::pow(10.0, -n - 1)};
        report.measured.layers.push_back(e);
        ++n;
      }
    }
  }
  report.measured.graph = {{SymmetryKind::rotation, DType::f32, 0.0125},
                           {SymmetryKind::rotation, DType::f64, 0}};
  return report;
}

}  // namespace

TEST_CASE("equivariance report: files and table") {
  const TempDir dir;
  const EquivarianceReport report = made_report();
  write_equivariance(report, dir.path());
  const std::string table = read_text_file(dir / "tables/equivariance.csv");
  CHECK(contains(table, "kind,dtype,layer,compared,declared,transformations,largest,mean\n"));
  CHECK(contains(table, "rotation,f32,coordinates1,equivariant,yes,2,1,"));
  CHECK(contains(table, "reflection,f32,logits,invariant,no,2,"));
  CHECK(std::count(table.begin(), table.end(), '\n') == 1 + 16);
  const std::string dots = read_text_file(dir / "figures/equivariance.csv");
  CHECK(std::count(dots.begin(), dots.end(), '\n') == 1 + 32);
  CHECK(contains(dots, "rotation,f32,logits,0,0.1"));

  const auto xml = testing::parse_xml(read_text_file(dir / "figures/equivariance.svg"));
  CHECK(testing::hints_of(xml, "circle").size() == 32);
  int declared = 0, undeclared = 0;
  for (const auto& e : xml) {
    declared += e.text == "declared" ? 1 : 0;
    undeclared += e.text == "not declared" ? 1 : 0;
  }
  CHECK(declared == 3);
  CHECK(undeclared == 1);

  const std::string shown = equivariance_table(report);
  CHECK(contains(shown, "points with other input neighbours: rotation f32 1.2 %"));
  CHECK(contains(shown, "1.00e+00"));
  EquivarianceReport plain = report;
  plain.measured.graph.clear();
  CHECK(contains(equivariance_table(plain), "the network has no neighbour graph"));
}

}  // namespace basin::tools
