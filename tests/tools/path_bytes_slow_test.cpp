// Folders under every name that a file system takes: data and run lie there, and training, resume,
// measurements, probe and report work, while every record is UTF-8 and valid in its format.
#include "basin/core/utf8.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tests/tools/outcome.h"

namespace basin::tools {
namespace {

constexpr const char* kTiny =
    " --points 64 --batch 8 --set model.widths=8,16,32,16,8 --epochs 1 --threads 1 ";

const std::string& every_byte() {
  static const std::string name = [] {
    std::string out;
    for (int c = 1; c < 256; ++c) {
      if (c != '/') out += static_cast<char>(c);
    }
    return out;
  }();
  return name;
}

void check_records(const fs::path& folder) {
  int checked = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string kind = entry.path().extension().string();
    if (!entry.is_regular_file() || kind == ".npy" || kind == ".safetensors" || kind == ".png" ||
        kind == ".txt") {
      continue;
    }
    const std::string fault = fault_in_record(entry.path());
    CHECK_MESSAGE(fault.empty(), entry.path().filename().string(), ": ", fault);
    ++checked;
  }
  CHECK(checked > 20);
}

// Everything from data to report below dir/name, from within and from elsewhere.
void round_trip(const std::string& name) {
  const TempDir dir;
  const fs::path home = dir / name;
  write_small_data(home / "data");
  const std::string data = quoted_word(name + "/data"), r = quoted_word(name + "/r");
  const auto succeeds = [&](const std::string& program, const std::string& arguments) {
    const Finished f = run_built(dir, program, arguments);
    CHECK_MESSAGE(f.code == 0, to_utf8(name), ": ", program, " ", to_utf8(arguments), ": ",
                  to_utf8(f.err));
    return f;
  };
  succeeds("train_modelnet",
           str("--data ", data, kTiny, "--out ", r, " --json ", quoted_word(name + "/j.json")));
  succeeds("train_modelnet", "--resume " + r);
  succeeds("train_modelnet", "--eval-only --resume " + r);
  succeeds("train_modelnet", str("--resume ", r, " --extend 1 --out ", quoted_word(name + "/x")));
  succeeds("train_modelnet", str("compare ", r, " ", quoted_word(name + "/x")));
  succeeds("train_modelnet", str("--config ", quoted_word(name + "/r/config.toml"), " --out ",
                                 quoted_word(name + "/c")));
  succeeds("landscape_probe",
           str("compare ", r, " ", quoted_word(name + "/x"),
               " --parts ranks,slices --rank-shapes 8 --resamples 5 --slices random --grid 3 "
               "--slice-shapes 8 --batch 8 --out ",
               quoted_word(name + "/report")));
  // A relative path, seen from elsewhere, after both have moved.
  fs::create_directories(dir / "other");
  fs::rename(home, dir / "other" / name);
  const Finished moved = run_built(dir, "train_modelnet",
                                   "--eval-only --resume " + quoted_word("other/" + name + "/r"));
  CHECK_MESSAGE(moved.code == 0, to_utf8(moved.err));
  check_records(dir / "other" / name);
}

}  // namespace

TEST_CASE("path bytes: a folder under every kind of name") {
  for (const char* name :
       {"caf\xE9", "plain", "\xFF\xFE", "d\xC3\xA9j\xC3\xA0 \xE6\x97\xA5", "a\\xE9b", "a\\b\\\xE9",
        "\xED\xA0\x80", "new\nline", "tab\tand \x01\x1F\x7F", "quote\"s and 'these'", "<b>&amp;<b>",
        " ", "#%{}[]=;,", "\xEF\xBF\xBE"}) {
    CAPTURE(to_utf8(name));
    round_trip(name);
  }
}

TEST_CASE("path bytes: one name with every byte that a name can have") {
  round_trip(every_byte().substr(0, 127));
  round_trip(every_byte().substr(127));
}

TEST_CASE("path bytes: predictions name their files") {
  const TempDir dir;
  const std::string name = "caf\xE9.off";
  write_file_atomic(dir / name, std::string_view("OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n"
                                                 "3 0 1 3\n3 0 2 3\n3 1 2 3\n"));
  write_small_data(dir / "data");
  REQUIRE(run_built(dir, "train_modelnet", str("--data data --out r", kTiny)).code == 0);
  const Finished f = run_built(dir, "train_modelnet", "predict --resume r " + quoted_word(name));
  CHECK_MESSAGE(f.code == 0, to_utf8(f.err));
  CHECK(contains(f.out, "\ncaf\\xE9.off,"));
}

}  // namespace basin::tools
