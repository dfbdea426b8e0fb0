// The programs as a whole in a host that writes 1.234,5 (preload/host_locale.cpp): what they print,
// what they say and every file that they leave is what it is without. A writer that nobody thought
// of shows here.
#include <map>
#include <regex>

#include "basin/tests/tools/helpers.h"
#include "basin/tests/tools/host_locale.h"

namespace basin::tools {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCanPreload = false;  // the sanitizer insists on being loaded first
#else
constexpr bool kCanPreload = true;
#endif

// Without what the clock, the machine and the process decide.
std::string timeless(const std::string& text) {
  static const std::regex other(
      "\"((since_)?seconds|examples_per_second|peak_rss_bytes|metrics_bytes|start|end|command)\": "
      "[^\n,}]*|[0-9]+(\\.[0-9]+)? (s|min|h|ms|MB|GB|shapes/s|molecules/s|GF/s)\\b|"
      "<dt>(when|command|time)</dt><dd>[^<]*");
  return std::regex_replace(text, other, "");
}

using Texts = std::map<std::string, std::string>;  // file, or command and stream -> content

void run_all(const TempDir& dir, const std::string& environment, Texts& out) {
  const std::string tiny =
      "--limit 45 --points 64 --batch 8 --set model.widths=8,16,32,16,8 --seed 1234567 ";
  const std::pair<std::string, std::string> commands[] = {
      {"train_modelnet", tiny + "--data embedded --epochs 2 --optimizer muon --schedule "
                                "cosine:floor=0.125 --probe every=1,examples=8,probes=2,steps=3 "
                                "--out a --json a.json"},
      {"train_modelnet", "--resume a --eval-only --equivariance --json e.json"},
      {"train_modelnet", "--print-config --lr 0.0625 " + tiny},
      {"train_modelnet", "compare a"},
      {"train_modelnet", "--help"},
      {"train_modelnet", "--lr 0,5"},
      {"train_modelnet", "--corruptions --resume a --limit 9"},
      {"train_molecules", "--steps 3 --limit 40 --batch 8 --set model.d=8 --out m"},
      {"landscape_probe", "run a --shapes 8 --batch 8 --top 2 --bottom 1 --lanczos-steps 3 "
                          "--probes 2 --density-probes 1 --density-steps 3 --grid 3 "
                          "--slice-shapes 8 --rank-shapes 20 --resamples 20 --sharpness-shapes 8"},
      {"landscape_probe", "selftest"},
      {"basin_doctor", "--help"},
      {"bench", "--help"},
  };
  for (const auto& [program, arguments] : commands) {
    const Finished f = run_built(dir, program, arguments, environment);
    const std::string name = program + " " + arguments;
    out[name + " code"] = str(f.code);
    out[name + " stdout"] = timeless(f.out);
    out[name + " stderr"] = timeless(f.err);
  }
  for (const auto& entry : fs::recursive_directory_iterator(dir.path())) {
    const std::string name = fs::relative(entry.path(), dir.path()).string();
    const bool ours = name.starts_with("a") || name.starts_with("m") || name.starts_with("e.");
    if (!ours || !entry.is_regular_file() || entry.path().filename() == "DONE") continue;
    out[name] = timeless(read_text_file(entry.path()));
  }
}

}  // namespace

TEST_CASE("locale: the programs leave the same bytes in a host with decimal commas") {
  if (!kCanPreload) return;
  const TempDir locales, plain, host;
  const std::string name = test::make_host_locale(locales.path().string());
  std::string environment = str("LD_PRELOAD='", BASIN_HOST_LOCALE_LIBRARY, "'");
  if (name.empty()) MESSAGE("localedef makes no locale here: that of C++ alone");
  if (!name.empty()) {
    environment += str(" LOCPATH='", locales.path().string(), "' HOST_LOCALE=", name);
  }
  Texts classic, found;
  run_all(plain, "", classic);
  run_all(host, environment, found);
  CHECK(classic.at("train_modelnet compare a code") == "0");
  CHECK(classic.size() > 60);
  CHECK(found.size() == classic.size());
  for (const auto& [file, text] : classic) {
    CHECK_MESSAGE((found.contains(file) && found.at(file) == text), file);
  }
}

}  // namespace basin::tools
