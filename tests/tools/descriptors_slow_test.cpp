// Descriptors 0, 1 and 2 closed, in all eight combinations, of every program: the exit code and
// every file are what they are with all three open, so nothing that was meant for a terminal is in
// a file.
#include "basin/tests/tools/helpers.h"
#include "basin/tests/tools/outcome.h"

namespace basin::tools {
namespace {

struct Command {
  std::string program, arguments;
  std::vector<std::string> files = {};  // tops of what it leaves
  bool timings = false;                 // its file holds nothing else: the names are compared
};

std::vector<Command> commands() {
  const std::string hdf5 = quoted_word((test::fixtures() / "hdf5_layout").string());
  const std::string tiny = " --threads 1 --set model.widths=4,4,8,4,4 --points 16 --batch 2 ";
  return {
      {"train_modelnet",
       str("--data ", hdf5, tiny, "--steps 2 --out a --json a.json"),
       {"a", "a.json"}},
      {"train_modelnet", str("--data embedded --limit 30", tiny, "--steps 2 --out e"), {"e"}},
      {"train_modelnet",
       "--resume e --eval-only --equivariance --out s --json s.json",
       {"s", "s.json"}},
      {"train_modelnet", "--lr nonsense --out none", {"none"}},
      {"train_molecules",
       "--steps 2 --batch 8 --set model.hidden=8 --set model.layers=1 --out m",
       {"m"}},
      {"landscape_probe",
       "run e --parts ranks,slices --slices random --shapes 8 --batch 8 --grid 3 "
       "--slice-shapes 8 --rank-shapes 20 --resamples 20 --out p",
       {"p"}},
      {"basin_doctor", "--json d.json", {"d.json"}},
      {"bench", "peak --repeats 1 --threads 1 --json b.json", {"b.json"}, true},
  };
}

// The outcome of one command in a shell that closes descriptors, "0<&- 2>&-".
Texts outcome(const TempDir& dir, const Command& command, const std::string& closed) {
  const int status =
      std::system(str("cd '", dir.path().string(), "' && '", BASIN_BIN_DIR, "/", command.program,
                      "' ", command.arguments, " >/dev/null 2>/dev/null ", closed)
                      .c_str());
  Texts out = texts_below(dir.path(), command.files);
  if (command.timings) {
    for (auto& [file, text] : out) {
      const std::string whole = read_text_file(dir / file);
      text.clear();
      const RecordFields fields = parse_record(whole, file);
      for (const auto& [key, value] : fields.values()) text += key + " ";
    }
  }
  out["exit code"] = str(WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  return out;
}

}  // namespace

TEST_CASE("descriptors: every program with any of 0, 1 and 2 closed") {
  std::vector<Texts> open;
  for (int closed = 0; closed < 8; ++closed) {
    const TempDir dir;
    std::string words;
    for (int fd = 0; fd < 3; ++fd) {
      if (closed >> fd & 1) words += str(" ", fd, fd == 0 ? "<&-" : ">&-");
    }
    for (size_t i = 0; i < commands().size(); ++i) {
      const Command command = commands()[i];
      const Texts found = outcome(dir, command, words);
      if (closed == 0) {
        open.push_back(found);
        CHECK_MESSAGE(found.at("exit code") == (command.files[0] == "none" ? "2" : "0"),
                      command.program, " ", command.arguments);
        continue;
      }
      CHECK_MESSAGE(difference(open[i], found).empty(), command.program, " ", command.arguments,
                    words, ":", difference(open[i], found));
    }
    CHECK_FALSE(fs::exists(dir / "none"));
  }
}

}  // namespace basin::tools
