// The command line of each training is that of the program with its own target and folder.
#include "basin/tools/train_qm9/all_targets.h"

#include <iostream>

#include "basin/analysis/csv.h"
#include "basin/core/record.h"
#include "basin/datasets/qm9_target.h"
#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/report.h"
#include "basin/tools/shell/settings.h"
#include "basin/tools/shell/train_main.h"
#include "basin/train/tasks/qm9.h"
#include "basin/train/tasks/tasks.h"

namespace basin::tools {
namespace {

constexpr const char* kDefaultOut = "runs/qm9";

// The words of the command line without these flags and their values.
std::vector<std::string> words_without(const std::vector<std::string>& flags, int argc,
                                       const char* const* argv) {
  std::vector<std::string> out;
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    bool left_out = false;
    for (const std::string& flag : flags) {
      left_out = left_out || word == flag || word.starts_with(flag + "=");
      if (word == flag) ++i;
    }
    if (!left_out) out.push_back(word);
  }
  return out;
}

// Which data decides which targets there are; other settings are checked by each training.
std::string data_asked_for(int argc, const char* const* argv) {
  const std::string flag = flag_value("--data", argc, argv);
  if (!flag.empty()) return flag;
  Config config = train_settings("qm9");
  const std::string file = flag_value("--config", argc, argv);
  if (!file.empty()) config.load_toml(file);
  config.load_environment();
  return config.text("data");
}

// The test error where the validation error was least, or, without validation, of the last epoch.
double reported_mae(const RecordFields& result) {
  return result.number(result.has("best_val_mae") ? "best_val_mae" : "last_mae");
}

}  // namespace

std::string all_targets_table(const fs::path& out, const std::vector<std::string>& targets) {
  std::vector<std::vector<std::string>> rows{{"target", "MAE", "unit", "MAE/sigma", "chosen on"}};
  std::vector<std::pair<std::string, double>> errors;
  std::string csv = "target,mae,unit,std_mae,chosen_on\n";
  bool published = true;  // all from QM9, whose spread sigma is
  for (const std::string& name : targets) {
    const fs::path file = out / name / "result.json";
    const RecordFields result = parse_record(read_text_file(file), file.string());
    const Qm9Target& target = qm9_target(name);
    const double mae = reported_mae(result), share = mae / target.sigma;
    const bool qm9 = result.has("best_std_mae");
    const char* chosen = result.has("best_val_mae") ? "validation" : "last epoch";
    published = published && qm9;
    errors.emplace_back(name, mae);
    rows.push_back({name, short_text(mae, 4), std::string(target.unit),
                    qm9 ? fixed_text(100 * share, 2) + " %" : "", chosen});
    csv += str(name, ",", number_text(mae), ",", csv_text(std::string(target.unit)), ",",
               qm9 ? number_text(share) : "", ",", chosen, "\n");
  }
  write_file_atomic(out / "targets.csv", csv);
  std::string text = format_table(rows);
  if (published) {
    const MaeSummary all = summarize_mae(errors);
    text += str("std. MAE ", fixed_text(100 * all.standard, 3), " %, log MAE ",
                fixed_text(all.logarithmic, 3), " over ", errors.size(), " targets\n");
  }
  return text;
}

int train_all_targets(int argc, const char* const* argv) {
  check(flag_value("--resume", argc, argv).empty(),
        "--target all: the same command again goes on where it stopped; leave --resume out");
  check(flag_value("--json", argc, argv).empty(),
        "--target all: each run has a result.json of its own; leave --json out");
  register_builtin_tasks();
  const std::vector<std::string> targets = qm9_targets_of(data_asked_for(argc, argv));
  const std::string given = flag_value("--out", argc, argv);
  const fs::path out = given.empty() ? kDefaultOut : given;
  const std::vector<std::string> words = words_without({"--target", "--out"}, argc, argv);
  for (const std::string& target : targets) {
    std::vector<std::string> line = words;
    const std::string place = (out / target).string();
    line.insert(line.end(), {"--target", target, "--out", place, "--resume", "auto"});
    std::vector<const char*> arguments;
    for (const std::string& word : line) arguments.push_back(word.c_str());
    const int code = train_main({"qm9"}, static_cast<int>(arguments.size()), arguments.data());
    if (code != 0) return code;
  }
  if (!fs::exists(out / targets.front() / "result.json")) return 0;  // --dry-run, --help
  std::cout << all_targets_table(out, targets);
  return 0;
}

}  // namespace basin::tools
