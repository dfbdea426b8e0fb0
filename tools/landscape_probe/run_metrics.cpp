// Reads the files of a run that a probe stands in.
#include "basin/tools/landscape_probe/detail/run_metrics.h"

namespace basin::tools {

std::vector<RecordFields> metrics_of(const LoadedProbe& p, const std::string& event) {
  std::vector<RecordFields> out;
  const fs::path file = p.run / "metrics.jsonl";
  if (p.run.empty() || !fs::exists(file)) return out;
  TextReader in(read_text_file(file));
  for (std::string line; std::getline(in, line);) {
    RecordFields fields = parse_record(line, file.string());
    std::string kind = fields.text("event");
    if (kind == "evaluation") kind = "epoch";
    if (kind == event) out.push_back(std::move(fields));
  }
  return out;
}

// The file is the program's own: a table's name or one value a line.
std::map<std::string, std::string> recorded_settings(const LoadedProbe& p) {
  std::map<std::string, std::string> out;
  const fs::path file = p.run / "config.toml";
  if (p.run.empty() || !fs::exists(file)) return out;
  TextReader in(read_text_file(file));
  std::string table;
  for (std::string line; std::getline(in, line);) {
    if (line.size() > 2 && line.front() == '[' && line.back() == ']') {
      table = line.substr(1, line.size() - 2) + ".";
      continue;
    }
    const size_t equals = line.find(" = ");
    if (equals == line.npos) continue;
    std::string value = line.substr(equals + 3);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    out[table + line.substr(0, equals)] = value;
  }
  return out;
}

}  // namespace basin::tools
