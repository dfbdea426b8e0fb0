// The programs as a whole in a host that writes 1.234,5 (preload/host_locale.cpp): what they print,
// what they say and every file that they leave is what it is without. A writer that nobody thought
// of shows here.
#include "basin/tests/tools/helpers.h"
#include "basin/tests/tools/host_locale.h"
#include "basin/tests/tools/outcome.h"

namespace basin::tools {
namespace {

constexpr const char* kTiny =
    "--data embedded --limit 45 --points 64 --batch 8 --set model.widths=8,16,32,16,8 --seed "
    "1234567 ";

Texts outcome(const TempDir& dir, const std::string& environment) {
  const std::pair<std::string, std::string> commands[] = {
      {"train_modelnet", str(kTiny,
                             "--epochs 2 --optimizer muon --schedule cosine:floor=0.125 "
                             "--probe every=1e,examples=8,probes=2,steps=3 --out a --json "
                             "a.json")},
      {"train_modelnet", "--resume a --eval-only --equivariance --json e.json"},
      {"train_modelnet", str("--print-config --lr 0.0625 ", kTiny)},
      {"train_modelnet", "compare a"},
      {"train_modelnet", "--help"},
      {"train_modelnet", "--lr 0,5"},
      {"train_modelnet", "--epochs 2 --out a"},
      {"train_modelnet", "--corruptions --resume a --limit 9"},
      {"train_molecules", "--steps 3 --batch 8 --set model.hidden=8 --set model.layers=1 --out m"},
      {"landscape_probe",
       "run a --shapes 8 --batch 8 --top 2 --bottom 1 --lanczos-steps 3 "
       "--probes 2 --density-probes 1 --density-steps 3 --grid 3 "
       "--slice-shapes 8 --rank-shapes 20 --resamples 20 --sharpness-shapes 8"},
      {"landscape_probe", "selftest"},
      {"basin_doctor", "--json d.json"},
      {"bench", "--help"},
  };
  Texts out;
  for (const auto& [program, arguments] : commands) {
    const Finished f = run_built(dir, program, arguments, environment);
    const std::string name = program + " " + arguments;
    out[name + ": code"] = str(f.code);
    out[name + ": stdout"] = timeless(f.out);
    out[name + ": stderr"] = timeless(f.err);
  }
  const Texts files = texts_below(dir.path(), {"a", "m", "a.json", "e.json", "d.json"});
  out.insert(files.begin(), files.end());
  return out;
}

}  // namespace

TEST_CASE("locale: the programs leave the same bytes in a host with decimal commas") {
  const TempDir locales, plain, host;
  const std::string name = test::make_host_locale(locales.path().string());
  std::string environment =
      str("ASAN_OPTIONS=verify_asan_link_order=0 LD_PRELOAD='", BASIN_HOST_LOCALE_LIBRARY, "'");
  if (name.empty()) MESSAGE("localedef makes no locale here: that of C++ alone");
  if (!name.empty()) {
    environment += str(" LOCPATH='", locales.path().string(), "' HOST_LOCALE=", name);
  }
  const Texts classic = outcome(plain, ""), found = outcome(host, environment);
  for (const char* done : {"train_modelnet compare a: code", "basin_doctor --json d.json: code"}) {
    CHECK_MESSAGE(classic.at(done) == "0", done);
  }
  CHECK(classic.contains("a/probe/report.html"));
  CHECK(classic.contains("m/result.json"));
  CHECK(difference(classic, found).empty());
}

}  // namespace basin::tools
