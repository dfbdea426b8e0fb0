// Targets of QM9: units, atom references against the arrays of the shared data, scales, and the
// published summaries of published tables.
#include "basin/datasets/qm9_target.h"

#include <algorithm>
#include <cmath>

#include "basin/datasets/npz.h"
#include "basin/tests/core/files.h"

using namespace basin;

namespace {

Qm9Set three() { return read_molecules(test::fixtures() / "qm9" / "three.xyz"); }

// MAE in the order of the published tables, in their units: U0 .. in meV, mu and Cv in thousandths.
MaeSummary summary_of(const std::array<double, 12>& row) {
  constexpr std::array<const char*, 12> kOrder{"alpha", "gap", "homo", "lumo", "mu", "cv",
                                               "g",     "h",   "r2",   "u",    "u0", "zpve"};
  std::vector<std::pair<std::string, double>> errors;
  for (size_t i = 0; i < row.size(); ++i) {
    const bool thousandths = i == 4 || i == 5;
    errors.emplace_back(kOrder[i], thousandths ? row[i] / 1000 : row[i]);
  }
  return summarize_mae(errors);
}

}  // namespace

TEST_CASE("qm9 targets: report units") {
  CHECK(qm9_target("homo").unit == "meV");
  CHECK(qm9_target("homo").factor == 27211.386246);
  CHECK(target_values(three(), qm9_target("homo"))[0] ==
        doctest::Approx(-10549.854).epsilon(1e-6));  // -0.3877 Ha
  CHECK(target_values(three(), qm9_target("mu"))[1] == 1.6256);
  CHECK(target_values(three(), qm9_target("zpve"))[2] == doctest::Approx(581.6434).epsilon(1e-6));
  test::check_error(ErrorKind::usage, {"no target of QM9 is called 'hommo'", "'homo'"},
                    [] { qm9_target("hommo"); });
  Qm9Set set = three();
  set.properties[kQm9Properties + 5] = NAN;
  test::check_error(ErrorKind::data, {"molecule gdb_2: expected a value of homo, found none"},
                    [&] { target_values(set, qm9_target("homo")); });
}

// Check values with the sigma of the table: published 1.23 / -5.43, 1.01 / -5.85, 0.84 / -5.90 and
// 0.70 / -5.82.
TEST_CASE("qm9 targets: std. MAE and log MAE of published results") {
  const auto close = [](const MaeSummary& s, double percent, double logarithm) {
    CHECK(std::abs(100 * s.standard - percent) < 0.006);
    CHECK(std::abs(s.logarithmic - logarithm) < 0.006);
  };
  close(summary_of({.071, 48, 29, 25, 29, 31, 12, 12, .106, 12, 11, 1.55}), 1.22, -5.43);
  close(summary_of({.045, 45.7, 27.6, 20.4, 12, 24, 7.35, 5.98, .066, 5.83, 5.85, 1.28}), 1.00,
        -5.86);
  close(summary_of({.059, 36.1, 20.3, 17.5, 11, 26, 7.62, 6.16, .033, 6.38, 6.15, 1.84}), 0.84,
        -5.90);
  close(summary_of({.046, 30, 15.4, 14.7, 12, 23, 7.63, 6.63, .251, 6.74, 6.59, 1.26}), 0.70,
        -5.82);
}

TEST_CASE("qm9 targets: published and fitted references of atoms") {
  const AtomReferences u0 = published_references(qm9_target("u0"));
  CHECK(u0.at(1) == doctest::Approx(-13613.12172).epsilon(1e-7));  // meV
  CHECK(u0.at(9) == doctest::Approx(-2713484.85589).epsilon(1e-7));
  CHECK(published_references(qm9_target("g")).at(6) ==
        doctest::Approx(-1030258.91228).epsilon(1e-7));
  CHECK(published_references(qm9_target("cv")).at(8) == 2.981);
  CHECK(published_references(qm9_target("homo")).empty());
  const std::vector<int64_t> water{8, 1, 1};
  CHECK(reference_sum(u0, water) == doctest::Approx(u0.at(8) + 2 * u0.at(1)).epsilon(1e-15));
  CHECK(reference_sum({}, water) == 0);
  test::check_error(ErrorKind::data, {"atom references: there is none for S"},
                    [&] { reference_sum(u0, std::vector<int64_t>{16}); });

  // Values that are sums over atoms give the summands back; C and 4 H come together only.
  Qm9Set set = three();
  const AtomReferences made{{1, 2.5}, {6, -3}, {7, 11}, {8, 0.125}};
  for (int64_t i = 0; i < set.size(); ++i) {
    const auto begin = static_cast<size_t>(set.offsets[static_cast<size_t>(i)]);
    const std::span z(set.z.data() + begin, static_cast<size_t>(set.atoms(i)));
    set.properties[static_cast<size_t>(i) * kQm9Properties + 14] = reference_sum(made, z);
  }
  const AtomReferences fitted = fitted_references(set, qm9_target("cv"));
  CHECK(fitted.size() == 4);
  for (int64_t i = 0; i < set.size(); ++i) {
    const auto begin = static_cast<size_t>(set.offsets[static_cast<size_t>(i)]);
    const std::span z(set.z.data() + begin, static_cast<size_t>(set.atoms(i)));
    CHECK(reference_sum(fitted, z) == doctest::Approx(reference_sum(made, z)).epsilon(1e-12));
  }
}

TEST_CASE("qm9 targets: scales") {
  const Qm9Set set = three();
  const Qm9Target& target = qm9_target("mu");  // 0, 1.6256, 1.8511
  const double mean = (0 + 1.6256 + 1.8511) / 3;
  const TargetScale mad = fit_scale(set, target, {}, true, Spread::absolute);
  CHECK(mad.mean == doctest::Approx(mean).epsilon(1e-15));
  CHECK(mad.spread == doctest::Approx((mean + 1.6256 - mean + 1.8511 - mean) / 3).epsilon(1e-14));
  const TargetScale std = fit_scale(set, target, {}, true, Spread::standard);
  const double variance =
      (mean * mean + (1.6256 - mean) * (1.6256 - mean) + (1.8511 - mean) * (1.8511 - mean)) / 2;
  CHECK(std.spread == doctest::Approx(std::sqrt(variance)).epsilon(1e-14));
  const TargetScale uncentred = fit_scale(set, target, {}, false, Spread::absolute);
  CHECK(uncentred.mean == 0);
  CHECK(uncentred.spread == mad.spread);
  const AtomReferences u0 = published_references(qm9_target("u0"));
  const TargetScale energy = fit_scale(set, qm9_target("u0"), u0, true, Spread::absolute);
  CHECK(energy.mean < -9000);  // atomisation energies, not totals
  CHECK(energy.mean > -18000);
  // Equal values: a spread to divide by all the same.
  const std::vector<int64_t> one{1};
  CHECK(fit_scale(subset(set, one), target, {}, true, Spread::standard).spread == 1);
}

TEST_CASE("qm9 targets: references are those of the shared arrays") {
  const fs::path folder = test::real_data("qm9/npz");
  if (folder.empty()) return;
  const Qm9Set set = read_molecules(folder / "test.npz");
  const NpzFile file(folder / "test.npz");
  for (const char* name : {"U0", "U", "H", "G", "Cv"}) {
    const Qm9Target& target = qm9_targets()[static_cast<size_t>(
        std::find_if(qm9_targets().begin(), qm9_targets().end(),
                     [&](const Qm9Target& t) { return t.property == qm9_property(name); }) -
        qm9_targets().begin())];
    const AtomReferences references = published_references(target);
    const std::vector<double> sums = file.read(str(name, "_thermo")).to_vector<double>();
    for (int64_t i = 0; i < set.size(); ++i) {
      const auto begin = static_cast<size_t>(set.offsets[static_cast<size_t>(i)]);
      const std::span z(set.z.data() + begin, static_cast<size_t>(set.atoms(i)));
      REQUIRE(reference_sum(references, z) ==
              doctest::Approx(target.factor * sums[static_cast<size_t>(i)]).epsilon(1e-12));
    }
  }
}
