// The program landscape_probe as a user meets it: exit codes and sentences, nothing measured twice,
// slices that are killed or cut into shards, the same numbers for any number of threads.
#include <cmath>
#include <map>
#include <sstream>

#include "basin/analysis/slice_file.h"
#include "basin/core/lines.h"
#include "basin/core/record.h"
#include "basin/tests/tools/helpers.h"

namespace basin::tools {
namespace {

constexpr uint64_t kMost = 1 << 26;
// Settings with which every part takes a second or two.
constexpr const char* kTiny =
    " --shapes 16 --batch 8 --top 2 --bottom 1 --lanczos-steps 4 --probes 4 --density-probes 1 "
    "--density-steps 4 --slice-shapes 12 --grid1d 7 --sharpness-shapes 8 --rank-shapes 20 "
    "--resamples 20 ";

Finished probe(const TempDir& dir, const std::string& arguments, int grid = 5) {
  return run_built(dir, "landscape_probe", str(arguments, kTiny, "--grid ", grid));
}

// A network of some thousand weights in the run directory `name`.
void train(const TempDir& dir, const std::string& name) {
  const Finished f = run_built(dir, "train_modelnet",
                               str("--data embedded --limit 45 --points 64 --batch 8 --eval-batch "
                                   "16 --set model.widths=8,16,32,16,8 --epochs 1 --optimizer muon "
                                   "--quiet --out ",
                                   name));
  REQUIRE_MESSAGE(f.code == 0, f.err);
}

std::string text_of(const fs::path& file) { return read_text_file(file, kMost); }

// Without what a clock decides.
std::string numbers_of(const fs::path& file) {
  std::istringstream in(text_of(file));
  std::string out;
  for (std::string line; std::getline(in, line);) {
    if (line.find("\"seconds\"") == line.npos) out += line + "\n";
  }
  return out;
}

// Every file below a folder by its path and contents, but those that carry the time of the call.
std::map<std::string, std::string> files_below(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || name == "run.json" || name == "report.html") continue;
    out[fs::relative(entry.path(), folder).string()] = sha256_hex_of_file(entry.path());
  }
  return out;
}

// Starts the program on a grid of 45 x 45 and kills it once `file` holds more than `bytes`; its
// exit code.
int killed_when(const TempDir& dir, const std::string& arguments, const std::string& signal,
                const std::string& file, int64_t bytes) {
  write_file_atomic(
      dir / "kill.sh",
      str("cd '", dir.path().string(), "'\n'", BASIN_BIN_DIR, "/landscape_probe' ", arguments,
          kTiny, "--grid 45 >kill.out 2>kill.err &\npid=$!\n",
          "while kill -0 $pid 2>/dev/null; do\n  size=$(wc -c 2>/dev/null <'", file,
          "' || echo 0)\n  [ \"${size:-0}\" -gt ", bytes,
          " ] && break\n  sleep 0.005\ndone\nkill -", signal, " $pid 2>/dev/null\nwait $pid\n"));
  const int status = std::system(str("bash '", (dir / "kill.sh").string(), "'").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("landscape_probe: help, version and usage errors, each one sentence") {
  const TempDir dir;
  train(dir, "a");
  fs::create_directories(dir / "empty");
  fs::copy(dir / "a", dir / "bare", fs::copy_options::recursive);
  fs::remove_all(dir / "bare/ckpt");
  const Finished help = probe(dir, "--help");
  CHECK(help.code == 0);
  for (const char* word : {"compare", "path", "demo", "selftest", "--grid", "--shard", "--examples",
                           "--shapes", "representations", "modelnet", "Exit codes"}) {
    CHECK_MESSAGE(contains(help.out, word), word);
  }
  CHECK(probe(dir, "--version").out.rfind("landscape_probe (Basin) ", 0) == 0);
  const std::pair<const char*, const char*> wrong[] = {
      {"", "expects an action: run, compare, path, barriers, gauge, demo or selftest"},
      {"compar a a", "did you mean 'compare'?"},
      {"run a --gird 5", "did you mean --grid?"},
      {"run", "expects run directories"},
      {"run a --points 64", "points is for weights that stand alone"},
      {"run a --task shapes", "no task"},
      {"path a", "expects two or three networks"},
      {"run nowhere", "nowhere"},
      {"run empty", "empty"},
      {"run bare", "no complete checkpoint"},
      {"run a/ckpt/step-999", "step-999"},
      {"run a bare --out x", "one folder cannot hold the probes of 2 runs"},
      {"compare a", "two by two"},
      {"demo a", "expects no run directories"},
      {"run a --parts slicez", "did you mean 'slices'?"},
      {"run a --normalisation filters", "known are filter, layer, weight and none"},
      {"run a --shard 2/2", "0 <= i < n, given 2/2"},
      {"run a --range 0", "range is expected to be positive, given 0"},
      {"run a --parts slices --slices random,eigen", "measure the part curvature first"},
      {"run a --slices foo", "slices is expected to be of random, random1d, eigen"},
      {"run a --estimator xtrace --probes 4", "probes is expected to be at least 6, given 4"},
      {"run a --set parts=", "expected at least one part"},
      {"compare a a --published nofile", "--published: nofile: cannot be opened"},
      {"run a --parts curvature --subset layer:none", "no parameter of pointnet muon is in"},
  };
  for (const auto& line : wrong) {
    const auto& arguments = line.first;
    const auto& sentence = line.second;
    const Finished f = probe(dir, arguments);
    CHECK_MESSAGE(f.code == 2, arguments, ": ", f.err);
    CHECK_MESSAGE(contains(f.err, sentence), arguments, ": ", f.err);
    CHECK_MESSAGE(contains(f.err, "landscape_probe: "), f.err);
    CHECK(f.out.empty());
  }
  const Finished one = run_built(dir, "landscape_probe", "run a --top 1");
  CHECK(one.code == 2);
  CHECK(contains(one.err, "the slice eigen needs two eigenvectors, given 1"));
  const Finished few = run_built(dir, "landscape_probe", "run a --rank-examples 1");
  CHECK(few.code == 2);
  CHECK(contains(few.err, "rank_examples is expected to be at least 3, given 1"));
  CHECK(!fs::exists(dir / "a/probe/ranks.json"));
  CHECK(!fs::exists(dir / "a/probe/slice-random.jsonl"));
  const Finished target = probe(dir, "run a --json nowhere/n.json");
  CHECK(target.code == 6);
  CHECK(contains(target.err, "--json: the folder nowhere does not exist"));
  CHECK(probe(dir, "compare a a --out a/run.json").code == 6);
  CHECK(!fs::exists(dir / "a/probe/ranks.json"));
  CHECK(!fs::exists(dir / "x"));
  CHECK(!fs::exists(dir / "bare/probe"));
}

TEST_CASE("landscape_probe: demo completes, and measures nothing twice") {
  const TempDir dir;
  const Finished first = probe(dir, "demo --out d");
  REQUIRE_MESSAGE(first.code == 0, first.err);
  CHECK(contains(first.out, "report: d/compare/report.html"));
  const std::string page = text_of(dir / "d/compare/report.html");
  for (const char* word : {"Loss slices", "muon", "adamw", "<svg", "slice-random"}) {
    CHECK_MESSAGE(contains(page, word), word);
  }
  const auto before = files_below(dir / "d");
  int figures = 0, tables = 0;
  for (const auto& file : before) {
    const std::string& name = file.first;
    if (name.starts_with("compare/tables/")) ++tables;
    if (!name.starts_with("compare/figures/") || !name.ends_with(".svg")) continue;
    ++figures;
    CHECK_MESSAGE(before.count(name.substr(0, name.size() - 3) + "csv") == 1, name);
  }
  CHECK(figures >= 8);
  CHECK(tables >= 7);
  for (const char* part : {"curvature", "ranks", "representations", "sharpness", "slices"}) {
    CHECK(before.count(str("pointnet-muon/probe/", part, ".json")) == 1);
  }
  const Finished second = probe(dir, "demo --out d");
  REQUIRE_MESSAGE(second.code == 0, second.err);
  CHECK(contains(second.err, "curvature: there already"));
  CHECK(!contains(second.err, "done in"));
  const auto after = files_below(dir / "d");
  CHECK(after.size() == before.size());
  for (const auto& file : before) {
    const auto same = after.find(file.first);
    CHECK_MESSAGE((same != after.end() && same->second == file.second), file.first);
  }
}

TEST_CASE("landscape_probe: a slice that is killed goes on to the same file") {
  const TempDir dir;
  train(dir, "a");
  const std::string slices = "run a --parts slices --slices random --threads 1 --out ";
  const Finished whole = probe(dir, slices + "whole", 45);
  REQUIRE_MESSAGE(whole.code == 0, whole.err);
  for (const auto& [signal, code] : {std::pair{"KILL", 137}, {"TERM", 75}}) {
    const std::string out = str("by-", signal), file = out + "/slice-random.jsonl";
    const int ended = killed_when(dir, slices + out, signal, file, 6000);
    REQUIRE_MESSAGE(ended == code, text_of(dir / "kill.err"));
    const Slice left = read_slice(dir / file);
    CHECK(left.count(PointState::missing) > 0);
    CHECK(left.count(PointState::done) > 20);
    CHECK(!fs::exists(dir / (out + "/slices.json")));
    const Finished resumed = probe(dir, slices + out, 45);
    REQUIRE_MESSAGE(resumed.code == 0, resumed.err);
    CHECK(text_of(dir / file) == text_of(dir / "whole/slice-random.jsonl"));
    CHECK(text_of(dir / (out + "/slices.json")) == text_of(dir / "whole/slices.json"));
  }
}

TEST_CASE("landscape_probe: shards join to the slice of one run") {
  const TempDir dir;
  train(dir, "a");
  const std::string slices = "run a --parts slices --slices random,random1d ";
  REQUIRE(probe(dir, slices + "--out whole").code == 0);
  for (const char* shard : {"1/2", "0/2"}) {
    const Finished f = probe(dir, str(slices, "--out cut --shard ", shard));
    REQUIRE_MESSAGE(f.code == 0, f.err);
    CHECK(!fs::exists(dir / "cut/slices.json"));
  }
  CHECK(read_slice(dir / "cut-shards/slice-random.1-of-2.jsonl").count(PointState::done) == 12);
  const Finished joined = probe(dir, slices + "--out cut");
  REQUIRE_MESSAGE(joined.code == 0, joined.err);
  for (const char* name : {"slice-random.jsonl", "slice-random1d.jsonl", "slices.json"}) {
    CHECK_MESSAGE(text_of(dir / "cut" / name) == text_of(dir / "whole" / name), name);
  }
}

TEST_CASE("landscape_probe: several pairs of directions, and the roughness along them") {
  const TempDir dir;
  train(dir, "a");
  const std::string slices = " --parts slices --slices random --set slice_pairs=";
  REQUIRE(probe(dir, "run a --out one" + slices + "1").code == 0);
  const Finished f = probe(dir, "run a --out two" + slices + "2");
  REQUIRE_MESSAGE(f.code == 0, f.err);
  // The first pair is the one that there is without others.
  CHECK(text_of(dir / "two/slice-random.jsonl") == text_of(dir / "one/slice-random.jsonl"));
  const Slice second = read_slice(dir / "two/slice-random-2.jsonl");
  CHECK(second.loss != read_slice(dir / "two/slice-random.jsonl").loss);
  // "network,optimizer,slice,..,loss,lowest,g1,g2,h11,h12,h22,holds_within,roughness"
  std::istringstream csv(text_of(dir / "two/tables/slices.csv"));
  int rows = 0;
  for (std::string line; std::getline(csv, line);) {
    const std::vector<std::string> cells = comma_list(line);
    if (cells[2] != "random" && cells[2] != "random-2") continue;
    ++rows;
    REQUIRE(cells.size() == 15);
    std::vector<double> n;
    for (const std::string& cell : cells) parse_double(cell, n.emplace_back());
    const LocalQuadratic q{n[6], n[8], n[9], n[10], n[11], n[12]};
    const Slice slice = read_slice(dir / "two" / ("slice-" + cells[2] + ".jsonl"));
    double square = 0;
    for (int64_t i = 0; i < slice.grid.size(); ++i) {
      const double x = slice.grid.x.at(slice.grid.ix(i)), y = slice.grid.y.at(slice.grid.iy(i));
      square += std::pow(slice.loss[static_cast<size_t>(i)] - q.at(x, y), 2);
    }
    CHECK(n[14] > 0);
    CHECK(n[14] == doctest::Approx(std::sqrt(square / static_cast<double>(slice.grid.size()))));
  }
  CHECK(rows == 2);
  // Against itself: the ratio over two pairs is 1, and more than one direction gives an interval.
  const Finished both = probe(dir, "compare two two --out same" + slices + "2");
  REQUIRE_MESSAGE(both.code == 0, both.err);
  const std::string page = text_of(dir / "same/report.html");
  CHECK(contains(page, "slice roughness (2 pairs of directions)"));
  CHECK(contains(page, "slice curvature (2 pairs of directions)"));
  const Finished other = probe(dir, "run a --out two" + slices + "1");
  CHECK(other.code == 6);
  CHECK(contains(other.err, "slice_pairs = 2"));
}

TEST_CASE("landscape_probe: any number of threads, other settings refused") {
  const TempDir dir;
  train(dir, "a");
  for (const char* threads : {"1", "2"}) {
    const Finished f =
        probe(dir, str("run a --parts curvature,slices --threads ", threads, " --out t", threads));
    REQUIRE_MESSAGE(f.code == 0, f.err);
    CHECK(contains(f.out, "report: "));
  }
  CHECK(numbers_of(dir / "t1/curvature.json") == numbers_of(dir / "t2/curvature.json"));
  for (const char* name :
       {"slices.json", "slice-random.jsonl", "slice-eigen.jsonl", "eigenvectors.safetensors"}) {
    CHECK_MESSAGE(sha256_hex_of_file(dir / "t1" / name) == sha256_hex_of_file(dir / "t2" / name),
                  name);
  }
  const auto before = files_below(dir / "t1");
  const std::pair<const char*, const char*> changed[] = {
      {"--tolerance 0.5", "tolerance = 1e-04, asked for is 0.5"},
      {"--set range=0.5", "range = 1, asked for is 0.5"},
      {"--seed 1", "seed = 0, asked for is 1"},
      {"--dtype f64", "dtype = f32, asked for is f64"},
  };
  for (const auto& line : changed) {
    const auto& setting = line.first;
    const auto& sentence = line.second;
    const Finished f = probe(dir, str("run a --out t1 --parts curvature,slices ", setting));
    CHECK_MESSAGE(f.code == 6, setting, ": ", f.err);
    CHECK_MESSAGE(contains(f.err, sentence), setting, ": ", f.err);
  }
  CHECK(files_below(dir / "t1") == before);
}

}  // namespace basin::tools
