// Any number of threads, the same bits: the three networks at their full widths, trained and then
// probed by the programs with 1, 2, 3, 4 and 8 threads, and every weight, optimizer state, metric
// and measured number compared. As a build's test it takes a few steps and a small probe, once:
//   REPEATS=10 ctest --preset release -R threads -L slow
// trains 50 steps, probes each network, and does all of it ten times.
#include <cstdlib>
#include <map>
#include <regex>

#include "basin/core/record.h"
#include "basin/tests/tools/crash.h"

namespace basin::tools {
namespace {

using Hashes = std::map<std::string, std::string>;  // file below the run -> SHA-256

std::string hash_of(const std::string& text) { return sha256_hex(test::bytes_of(text)); }

// Every file with numbers, without what the clock, the machine or the request decides.
Hashes hashes_below(const fs::path& run) {
  static const std::regex other(
      "\"(threads|(since_)?seconds|examples_per_second|peak_rss_bytes|metrics_bytes)\": [^,}\n]*");
  Hashes out;
  for (const auto& entry : fs::recursive_directory_iterator(run)) {
    const fs::path& file = entry.path();
    const std::string kind = file.extension().string();
    const std::string name = fs::relative(file, run).string();
    if (kind == ".safetensors") {
      out[name] = sha256_hex_of_file(file);
    } else if ((kind == ".json" || kind == ".jsonl") && file.filename() != "run.json") {
      out[name] = hash_of(std::regex_replace(read_text_file(file, 1 << 26), other, ""));
    }
  }
  return out;
}

std::string digest(const Hashes& hashes, const std::string& below) {
  std::string all;
  for (const auto& [name, hash] : hashes) {
    if (name.rfind(below, 0) == 0) all += name + " " + hash + "\n";
  }
  REQUIRE(!all.empty());
  return hash_of(all).substr(0, 16);
}

std::string different(const Hashes& a, const Hashes& b) {
  std::string out;
  for (const auto& [name, hash] : a) {
    if (b.count(name) == 0 || b.at(name) != hash) out += " " + name;
  }
  return out;
}

struct Case {
  std::string model, optimizer;
  std::string parts;  // of the probe; "": none in the small version
};

Hashes train_and_probe(const TempDir& dir, const Case& c, int threads, bool whole) {
  fs::remove_all(dir / "run");
  const std::string scale = whole ? "--limit 96 --points 64 --batch 8 --steps 50 "
                                  : "--limit 45 --points 64 --batch 8 --steps 6 ";
  const std::string neighbours = c.model == "pointnet" ? "" : " --k 10";
  const std::string common = str(" --threads ", threads, " --quiet ");
  const Finished train =
      run_built(dir, "train_modelnet",
                str(scale, "--data embedded --eval-batch 16 --log-every 1 --keep 1 --model ",
                    c.model, neighbours, " --optimizer ", c.optimizer, common, "--out run"));
  REQUIRE_MESSAGE(train.code == 0, train.err);
  const RecordFields record = parse_record(read_text_file(dir / "run/run.json"), "run.json");
  REQUIRE(record.integer("threads") == threads);
  if (whole || !c.parts.empty()) {
    const Finished probe =
        run_built(dir, "landscape_probe",
                  str("run run --parts ", whole ? "curvature,ranks,slices" : c.parts,
                      " --slices random --shapes 8 --batch 8 --top 2 --bottom 1 --lanczos-steps 3 "
                      "--probes 2 --density-probes 1 --density-steps 3 --grid 3 --slice-shapes 8 "
                      "--rank-shapes 20 --resamples 20",
                      common));
    REQUIRE_MESSAGE(probe.code == 0, probe.err);
  }
  return hashes_below(dir / "run");
}

void same_for_any_threads(const Case& c) {
  const int64_t repeats = count_from_environment("REPEATS", 0);
  const TempDir dir;
  Hashes first;
  int64_t runs = 0;
  for (int64_t repeat = 0; repeat < std::max<int64_t>(repeats, 1); ++repeat) {
    for (int threads : {1, 2, 3, 4, 8}) {
      const Hashes hashes = train_and_probe(dir, c, threads, repeats > 0);
      if (runs++ == 0) first = hashes;
      REQUIRE(hashes.size() == first.size());
      CHECK_MESSAGE(hashes == first, c.model, ", ", threads, " threads, repeat ", repeat,
                    ": other bits in", different(first, hashes));
    }
    MESSAGE(c.model, " ", c.optimizer, ", ", runs, " runs so far, ", first.size(),
            " files each: training ", digest(first, "ckpt"), " metrics ", digest(first, "metrics"),
            first.count("probe/curvature.json") > 0 ? " probe " + digest(first, "probe") : "");
  }
}

}  // namespace

TEST_CASE("threads: PointNet, the same bits for 1, 2, 3, 4 and 8") {
  same_for_any_threads({"pointnet", "adamw", ""});
}

TEST_CASE("threads: DGCNN, the same bits for 1, 2, 3, 4 and 8") {
  same_for_any_threads({"dgcnn", "adamw", ""});
}

TEST_CASE("threads: EGNN and its probe, the same bits for 1, 2, 3, 4 and 8") {
  same_for_any_threads({"egnn", "muon", "curvature,slices"});
}

}  // namespace basin::tools
