// Malformed configurations (a usage error): see tests/core/malformed.h. And what was accepted as a
// configuration, written and read back.
#include "basin/tests/core/malformed.h"

#include "basin/tools/shell/config.h"

using namespace basin;
using namespace basin::tools;

namespace {

Config settings() {
  return Config({{"data", Kind::text, "embedded", "Folder"},
                 {"points", Kind::integer, "1024", "Points"},
                 {"lr", Kind::number, "", "Rate"},
                 {"augment", Kind::text, "", "Augmentation"},
                 {"dry_run", Kind::flag, "false", "Plan only"}},
                {"model.", "optimizer."});
}

void read_back(const fs::path& path) {
  Config config = settings();
  config.load_toml(path);
  const std::string written = config.to_toml();
  const fs::path copy = path.parent_path() / "copy.toml";
  write_file_atomic(copy, written);
  Config again = settings();
  try {
    again.load_toml(copy);
  } catch (const Error& error) {
    fail(ErrorKind::internal, error.what());
  }
  if (again.to_toml() != written) fail(ErrorKind::internal, "reads back as another");
}

}  // namespace

TEST_CASE("malformed: configurations") {
  const test::Reader reader{"toml", "a.toml", read_back, ErrorKind::usage, {"a.toml:", "a.toml: "}};
  const test::Refusals r = run_malformed(reader, test::fuzz_seeds("toml"), 130, 60);
  CHECK(r.files >= 500);
  CHECK(r.refused >= 0.4 * r.files);
}

// Each was found by the fuzz target of this reader, or by reading for it.
TEST_CASE("config: names and numbers of every kind read back as themselves") {
  const test::TempDir dir;
  const auto round_trip = [&](const std::string& text) {
    INFO(text);
    write_file_atomic(dir / "a.toml", text);
    CHECK_NOTHROW(read_back(dir / "a.toml"));
  };
  round_trip("lr = -0.0\n");
  round_trip("lr = 12345678901234567000.0\n");
  round_trip("[model]\na = \"-0\"\nb = \"12345678901234567000\"\n");
  round_trip("[model]\n\"a b\" = 1\n\"c\\\"d\" = \"x\\u007fy\"\n");
  round_trip("[model]\na = 1\n\"a.b\" = 2\n\"a.\" = 3\n");
}

TEST_CASE("config: a deep dotted key is refused, whatever it would cost to walk") {
  const test::TempDir dir;
  std::string text = "model";
  for (int i = 0; i < 200'000; ++i) text += ".a";
  write_file_atomic(dir / "deep.toml", text + " = 1\n");
  test::check_error(ErrorKind::usage, {"deep.toml", "2000 dots", "200000"},
                    [&] { settings().load_toml(dir / "deep.toml"); });
}

TEST_CASE("config: what breaks an assumption of the parser is refused") {
  const test::TempDir dir;
  for (const std::string text : {"[=", "[[ =", "[\n]", "[.a]\nb = 1\n"}) {
    write_file_atomic(dir / "a.toml", text);
    test::check_error(ErrorKind::usage, {"a.toml:", "not valid TOML"},
                      [&] { settings().load_toml(dir / "a.toml"); });
  }
}

TEST_CASE("config: a quoted name stays on the line of its message") {
  const test::TempDir dir;
  write_file_atomic(dir / "a.toml", "\"a\\nb\" = 1\n");
  test::check_error(ErrorKind::usage, {"a.toml:1", "unknown key 'a?b'"},
                    [&] { settings().load_toml(dir / "a.toml"); });
  write_file_atomic(dir / "a.toml", "[" + std::string(5000, 'k') + "]\na = 1\n");
  test::check_error(ErrorKind::usage, {"a.toml:2", "kkk...'"},
                    [&] { settings().load_toml(dir / "a.toml"); });
}
