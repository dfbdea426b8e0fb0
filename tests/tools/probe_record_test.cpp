// The files of a probe: what is written reads back to the same bits; what is no record is refused;
// every part of the program reads and writes records as it always has (tests/fuzz/seeds holds one
// of each, written by an earlier version).
#include "basin/tools/landscape_probe/record.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/tests/core/malformed.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {
namespace {

struct Item {
  std::string name;
  int64_t count = 0;
  bool flag = false;
  std::vector<double> values;
  std::string remark;  // may be missing
};
struct Sample {
  std::vector<Item> items;
  Estimate estimate;
};
void fields(FieldWalk& walk, Item& r) {
  walk("name", r.name), walk("count", r.count), walk("flag", r.flag), walk("values", r.values);
  walk.optional("remark", r.remark);
}
void fields(FieldWalk& walk, Sample& r) { walk("items", r.items), walk("estimate", r.estimate); }

Sample sample() {
  Sample out;
  out.items = {{"a \"name\",\nof two lines", int64_t{1} << 40, true, {1.0 / 3, -0.0, -3e-310}, ""},
               {"", 0, false, {}, "a remark"}};
  out.estimate.value = 426;
  out.estimate.standard_error = std::numeric_limits<double>::infinity();
  out.estimate.interval = {0.1, std::numeric_limits<double>::quiet_NaN(), 0.95};
  out.estimate.samples = 16;
  out.estimate.method = "hutch++";
  return out;
}

Record identity() {
  Record out;
  out.add("weights", "1f").add("probes", int64_t{16});
  return out;
}

fs::path seed_of(const std::string& part) {
  return fs::path(BASIN_SOURCE_DIR) / "tests/fuzz/seeds/probe_record" / part;
}

const PartInfo& part_named(const std::string& name) {
  for (const PartInfo& p : parts()) {
    if (p.name == name) return p;
  }
  FAIL("no part ", name);
  return parts().front();
}

// What follows the identity in the file of a part.
std::string record_text(const fs::path& file) {
  const std::string text = read_text_file(file);
  return text.substr(text.find("\n \"record\":"));
}

// Reads `text` as the file of the part.
void read_as(const PartInfo& part, const std::string& text) {
  const TempDir from, to;
  write_file_atomic(PartFiles(from.path()).file(part.name), text);
  part.copy(PartFiles(from.path()), PartFiles(to.path()), identity());
}

// The refusal of a sample whose text has `from` replaced by `to`.
std::string refusal(const std::string& from, const std::string& to) {
  const TempDir dir;
  const PartFiles files(dir.path());
  files.write("sample", identity(), sample());
  const fs::path file = files.file("sample");
  std::string text = read_text_file(file);
  const size_t at = text.find(from);
  REQUIRE(at != text.npos);
  write_file_atomic(file, text.replace(at, from.size(), to));
  const auto [kind, sentence] = error_of([&] {
    read_identity(file);
    read_record<Sample>(file);
  });
  CHECK(kind == ErrorKind::data);
  CHECK(sentence.rfind(file.string() + ": ", 0) == 0);
  return sentence.substr(file.string().size() + 2);
}

// The same of a part's file from an earlier version.
std::string part_refusal(const std::string& part, const std::string& from, const std::string& to) {
  std::string text = read_text_file(seed_of(part));
  const size_t at = text.find(from);
  REQUIRE(at != text.npos);
  text.replace(at, from.size(), to);
  const auto [kind, sentence] = error_of([&] { read_as(part_named(part), text); });
  CHECK(kind == ErrorKind::data);
  return sentence.substr(sentence.find(": ") + 2);
}

constexpr const char* kSeeded[] = {"curvature", "ranks", "representations", "sharpness", "slices"};

}  // namespace

TEST_CASE("probe record: what is written reads back to the same bits, and writes the same file") {
  const TempDir dir;
  const PartFiles files(dir.path());
  files.write("sample", identity(), sample());
  const auto back = files.read<Sample>("sample");
  files.write("again", identity(), back);
  CHECK(read_text_file(files.file("sample")) == read_text_file(files.file("again")));
  CHECK(files.identity("sample").integer("probes") == 16);
  CHECK(back.items.at(0).count == int64_t{1} << 40);
  CHECK(back.items.at(0).name == "a \"name\",\nof two lines");
  CHECK(back.items.at(0).values.at(0) == 1.0 / 3);
  CHECK(std::signbit(back.items.at(0).values.at(1)));
  CHECK(back.items.at(0).values.at(2) == -3e-310);
  CHECK(back.items.at(0).remark.empty());
  CHECK(back.items.at(1).remark == "a remark");
  CHECK(std::isnan(back.estimate.interval.high));
  CHECK(std::isnan(back.estimate.standard_error));  // JSON has no infinity
  CHECK(back.estimate.samples == 16);
}

TEST_CASE("probe record: every part reads what an earlier version wrote, and writes the same") {
  const std::vector<std::string> names = measured_part_names();
  for (const std::string part : kSeeded) {
    CHECK(std::find(names.begin(), names.end(), part) != names.end());
    const TempDir from, to;
    const PartFiles old(from.path()), copies(to.path());
    fs::copy_file(seed_of(part), old.file(part));
    part_named(part).copy(old, copies, identity());
    const std::string text = record_text(old.file(part));
    CHECK_MESSAGE(text == record_text(copies.file(part)), part);
    write_file_atomic(old.file(part), "\xEF\xBB\xBF" + read_text_file(old.file(part)));
    part_named(part).copy(old, copies, identity());
    CHECK_MESSAGE(text == record_text(copies.file(part)), part);
  }
}

TEST_CASE("probe record: what is wrong is named by its place") {
  CHECK(refusal("\"count\": 1099511627776", "\"count\": -40") ==
        "'record.items[0].count' is expected to be a count below 2^63, it is -40");
  CHECK(refusal("1099511627776", "1e300").find("a count") != std::string::npos);
  CHECK(refusal("1099511627776", "18446744073709551615").find("a count") != std::string::npos);
  CHECK(refusal("\"count\"", "\"court\"") == "'record.items[0].count' is missing");
  CHECK(refusal("\"hutch++\"", "[1]") ==
        "'record.estimate.method' is expected to be a text, it is an array");
  CHECK(refusal("true", "1") == "'record.items[0].flag' is expected to be true or false, it is 1");
  CHECK(refusal("426.0", "\"426\"") ==
        "'record.estimate.value' is expected to be a number, it is \"426\"");
  CHECK(refusal("\"record\"", "\"recorded\"") == "'record' is missing");
  CHECK(refusal("\"identity\"", "\"id\"") == "'identity' is missing");
  CHECK(refusal("\"level\"", "]").find("not valid JSON") != std::string::npos);
  CHECK(refusal("0.95", "1e999").find("not valid JSON: ") == 0);
}

TEST_CASE("probe record: parts refuse what their figures could not draw") {
  CHECK(part_refusal("curvature", "\"nodes\": [", "\"nodes\": [\n 1.0,")
            .find("is expected to hold finite nodes and as many finite weights") !=
        std::string::npos);
  CHECK(part_refusal("slices", "\"file\": \"slice-", "\"file\": \"../slice-")
            .find("'file' of a slice is expected to be a name in this folder") !=
        std::string::npos);
}

TEST_CASE("probe record: neither depth nor number of values asks for memory without end") {
  const TempDir dir;
  const fs::path file = dir / "sample.json";
  const auto refused = [&](const std::string& text) {
    write_file_atomic(file, text);
    return error_of([&] { read_record<Sample>(file); });
  };
  const std::string deep(1'000'000, '[');
  CHECK(refused("{\"record\": " + deep) ==
        std::pair(ErrorKind::data, file.string() + ": lists within more than 16 others"));
  std::string many = "{\"record\": [";
  for (int i = 0; i < 1'000'001; ++i) many += "[],";
  CHECK(refused(many + "1]}") ==
        std::pair(ErrorKind::data, file.string() + ": more than 1000000 values"));
}

TEST_CASE("probe record: a file of another probe is not taken for this one") {
  const TempDir dir;
  const PartFiles files(dir.path());
  files.write("sample", identity(), sample());
  CHECK_NOTHROW(files.refuse_other("sample", identity()));
  Record other;
  other.add("weights", "2e");
  const auto [kind, sentence] = error_of([&] { files.refuse_other("sample", other); });
  CHECK(kind == ErrorKind::output);
  CHECK(sentence == files.file("sample").string() +
                        ": was measured with weights = 1f, asked for is 2e; choose another --out, "
                        "or remove the file");
  // A file from before tasks had names lacks what is said of them now, but not a setting.
  Record today = identity();
  today.add("task", "modelnet").add("augment", "none");
  CHECK_NOTHROW(files.refuse_other("sample", today));
  today.add("probe_top", int64_t{3});
  CHECK(error_of([&] { files.refuse_other("sample", today); }).first == ErrorKind::output);
  // A setting that came later is left out at its default: a file that has it has another value.
  Record later = identity();
  files.write("later", later.add("probe_slice_pairs", "5"), sample());
  CHECK_NOTHROW(files.refuse_other("later", later));
  const std::string said = error_of([&] { files.refuse_other("later", identity()); }).second;
  CHECK(said.find("was measured with probe_slice_pairs = 5, asked for is its default") !=
        said.npos);
}

TEST_CASE("malformed: records of a probe") {
  for (const std::string part : kSeeded) {
    const TempDir folder;
    const test::Reader reader{part, part + ".json",
                              [&](const fs::path& p) {
                                const TempDir to;
                                part_named(part).copy(PartFiles(p.parent_path()),
                                                      PartFiles(to.path()), identity());
                              },
                              ErrorKind::data};
    const test::Refusals r = run_malformed(reader, {read_file(seed_of(part))}, 100, 150);
    CHECK(r.files == 250);
    CHECK(r.refused >= 0.7 * r.files);
  }
}

}  // namespace basin::tools
