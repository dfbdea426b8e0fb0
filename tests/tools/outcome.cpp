// Walking, filtering and checking the files of runs.
#include "basin/tests/tools/outcome.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>

#include "basin/core/utf8.h"
#include "basin/datasets/npy.h"
#include "basin/datasets/shapes.h"
#include "basin/tests/analysis/xml.h"
#include "basin/tools/shell/config.h"

namespace basin::tools {
namespace {

std::string fault_in_json(const std::string& text) {
  return nlohmann::json::accept(text) ? "" : "not valid JSON";
}

std::string fault_in_lines(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    if (end == text.npos) return "the last line has no end";
    if (!nlohmann::json::accept(text.substr(at, end - at))) return "a line is not valid JSON";
    at = end + 1;
  }
  return "";
}

}  // namespace

std::string timeless(const std::string& text) {
  static const std::regex other(
      "\"((since_)?seconds|examples_per_second|peak_rss_bytes|metrics_bytes|start|end|command|"
      "step_seconds|estimated_seconds)\": [^\n,}]*|"
      "[0-9]+(\\.[0-9]+)? (s|min|h|ms|MB|GB|GFLOP/s|shapes/s|molecules/s)\\b|"
      "<dt>[^<]*</dt><dd>[^<]*</dd>");
  return std::regex_replace(text, other, "");
}

Texts texts_below(const fs::path& folder, const std::vector<std::string>& tops) {
  Texts out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const fs::path below = entry.path().lexically_relative(folder);
    const bool asked = std::find(tops.begin(), tops.end(), below.begin()->string()) != tops.end();
    // The sums in DONE are of files with times in them.
    if (!asked || !entry.is_regular_file() || below.filename() == "DONE") continue;
    out[below.string()] = timeless(read_text_file(entry.path()));
  }
  return out;
}

std::string difference(const Texts& a, const Texts& b) {
  std::string out;
  for (const auto* one : {&a, &b}) {
    const Texts& other = one == &a ? b : a;
    for (const auto& [name, text] : *one) {
      const auto found = other.find(name);
      if (found == other.end() || (one == &a && found->second != text)) out += " " + name;
    }
  }
  return out;
}

std::string fault_in_record(const fs::path& file) {
  const std::string text = read_text_file(file), kind = file.extension().string();
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(std::string_view(text).substr(at));
    if (length == 0) return str("offset ", at, ": not UTF-8");
    at += length;
  }
  try {
    if (kind == ".json") return fault_in_json(text);
    if (kind == ".jsonl") return fault_in_lines(text);
    if (kind == ".toml") {
      Config({}, {""}).load_toml_text(text, "x");
    } else if (kind == ".svg") {
      testing::parse_xml(text);
    } else if (kind == ".html") {
      testing::parse_xml(text.substr(text.find('\n') + 1));
    }
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

void write_small_data(const fs::path& folder) {
  const PointCloudSplits splits = embedded_shapes(2, 1, 64, 5);
  fs::create_directories(folder);
  write_npy(folder / "train_points.npy", splits.train.points);
  write_npy(folder / "train_labels.npy", splits.train.labels);
  write_npy(folder / "test_points.npy", splits.test.points);
  write_npy(folder / "test_labels.npy", splits.test.labels);
}

std::string quoted_word(const std::string& word) {
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace basin::tools
