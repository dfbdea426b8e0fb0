// train_modelnet with interventions: AdamW under the stable ranks that Muon had, what is recorded,
// and a branch from an older checkpoint that repeats the run.
#include <map>

#include "basin/core/lines.h"
#include "basin/core/record.h"
#include "basin/tests/tools/helpers.h"

namespace basin::tools {
namespace {

constexpr const char* kShort =
    " --data embedded --limit 45 --points 64 --batch 8 --eval-batch 16 --epochs 3 --keep 0 "
    "--set model.widths=8,16,32,16,8 --probe every=1,examples=8,probes=2,steps=2 ";

// The lines "probe_matrix", by step and matrix.
std::map<std::string, RecordFields> matrices_of(const fs::path& run) {
  std::map<std::string, RecordFields> out;
  const std::string text = read_text_file(run / "metrics.jsonl");
  LineReader lines(text);
  for (std::string_view line; lines.next(line);) {
    RecordFields f = parse_record(line, run.string());
    if (f.text("event") == "probe_matrix") out[f.text("step") + " " + f.text("name")] = f;
  }
  return out;
}

}  // namespace

TEST_CASE("program: AdamW forced to the stable ranks of Muon, recorded and resumed") {
  const TempDir dir;
  const auto trained = [&](const std::string& arguments) {
    const Finished f = run_built(dir, "train_modelnet", arguments);
    CHECK_MESSAGE(f.code == 0, f.err);
  };
  trained(str("--optimizer muon --out muon", kShort));
  trained(str("--optimizer adamw --out free", kShort));
  trained(str("--optimizer adamw --set optimizer.spectrum=stable_rank=muon/metrics.jsonl ",
              "--set optimizer.penalty=nuclear=1e-5 --out forced", kShort));
  const auto muon = matrices_of(dir / "muon"), loose = matrices_of(dir / "free"),
             forced = matrices_of(dir / "forced");
  REQUIRE(forced.size() == muon.size());
  int64_t set = 0;
  double apart = 0;
  for (const auto& [place, fields] : forced) {
    CHECK_FALSE(loose.at(place).has("spectrum_asked"));
    if (!fields.has("spectrum_asked")) continue;
    ++set;
    const double asked = muon.at(place).number("stable_rank");
    CHECK(fields.number("spectrum_asked") == asked);
    CHECK(fields.number("spectrum_reached") == doctest::Approx(asked).epsilon(1e-12));
    CHECK(fields.number("stable_rank") == doctest::Approx(asked).epsilon(1e-5));  // in f32
    CHECK(fields.number("spectrum_change") > 0);
    apart = std::max(apart, std::abs(loose.at(place).number("stable_rank") - asked));
  }
  CHECK(set >= 6);
  CHECK(apart > 0.01);

  // The targets travel with the checkpoint, the file is asked for as at the beginning.
  trained("--resume forced/ckpt/step-5 --out branch");
  const auto last = [&](const char* run, const char* file) {
    return sha256_hex_of_file(dir / str(run, "/ckpt/step-15/", file));
  };
  CHECK(last("branch", "model.safetensors") == last("forced", "model.safetensors"));
  CHECK(last("branch", "optim.safetensors") == last("forced", "optim.safetensors"));
  const auto again = matrices_of(dir / "branch");
  REQUIRE(again.size() == forced.size());
  for (const auto& [place, fields] : again) CHECK(fields.values() == forced.at(place).values());

  const Finished none =
      run_built(dir, "train_modelnet",
                str("--optimizer adamw --set optimizer.spectrum=cap=none.jsonl --out x", kShort));
  CHECK(none.code != 0);
  CHECK(contains(none.err, "none.jsonl"));
  CHECK_FALSE(fs::exists(dir / "x/ckpt"));
}

}  // namespace basin::tools
