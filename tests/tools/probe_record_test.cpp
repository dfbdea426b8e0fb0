// The files of a probe: what is written reads back to the same bits; what is no record is refused.
#include "basin/tools/landscape_probe/record.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "basin/tests/core/malformed.h"
#include "basin/tests/tools/helpers.h"

namespace basin::tools {
namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();

Estimate estimate(double value) {
  Estimate e;
  e.value = value;
  e.standard_error = value / 3;
  e.interval = {value / 7, kNan, 0.95};
  e.samples = 16;
  e.method = "hutch++";
  return e;
}

std::vector<CurvatureRecord> curvature() {
  CurvatureRecord c;
  c.kind = "hessian";
  c.subset = "all";
  c.size = int64_t{1} << 40;
  c.loss = 1.0 / 3;
  c.gradient_norm = kNan;
  c.top = {{552.6, 1e-6, true}, {1e300, kNan, false}};
  c.bottom = {{-3e-310, 0, false}};
  c.converged = true;
  c.note = "a \"note\",\nof two lines";
  c.trace = estimate(426);
  c.trace_samples = {1, -0.0, 0.1};
  c.blocks = {{"layer", "head.weight", 40, estimate(1)}};
  c.density = {{{0.5, 1.5}, {0.25, 0.75}}, {{-2}, {1}}};
  c.negative_share = estimate(0.125);
  c.paper = {true, 4.75, 1e-3, 12, true, 3.66, 100};
  return {c, CurvatureRecord{}};
}
RanksRecord ranks() {
  return {{{"head.weight", 40, 256, {3, 2, 1}, {1}, 1.5, 2.5, 1, 1}}, {{"head.bias", "a vector"}}};
}
RepresentationsRecord representations() {
  return {"64 test shapes", {{"global", 64, 256, true, false, estimate(3), estimate(17)}}};
}
SharpnessRecords sharpness() { return {{{"adaptive", "max over a ball", estimate(0.7), ""}}}; }
SlicesRecord slices() { return {{{"random", "slice-random.jsonl", "64", 9, 1, 2, 0.5}}}; }

Record identity() {
  Record out;
  out.add("weights", "1f").add("probes", int64_t{16});
  return out;
}

void write_all(const fs::path& dir) {
  const PartFiles files(dir);
  files.write("curvature", identity(), curvature());
  files.write("ranks", identity(), ranks());
  files.write("representations", identity(), representations());
  files.write("sharpness", identity(), sharpness());
  files.write("slices", identity(), slices());
}

// Reads a file as whatever it holds: one of the five.
void read_any(const fs::path& file, const std::string& part) {
  read_identity(file);
  if (part == "curvature") read_record<std::vector<CurvatureRecord>>(file);
  if (part == "ranks") read_record<RanksRecord>(file);
  if (part == "representations") read_record<RepresentationsRecord>(file);
  if (part == "sharpness") read_record<SharpnessRecords>(file);
  if (part == "slices") read_record<SlicesRecord>(file);
}

constexpr const char* kParts[] = {"curvature", "ranks", "representations", "sharpness", "slices"};

// The refusal of a record of `part` whose text has `from` replaced by `to`.
std::string refusal(const char* part, const std::string& from, const std::string& to) {
  const TempDir dir;
  write_all(dir.path());
  const fs::path file = PartFiles(dir.path()).file(part);
  std::string text = read_text_file(file);
  const size_t at = text.find(from);
  REQUIRE(at != text.npos);
  write_file_atomic(file, text.replace(at, from.size(), to));
  const auto [kind, sentence] = error_of([&] { read_any(file, part); });
  CHECK(kind == ErrorKind::data);
  CHECK(sentence.rfind(file.string() + ": ", 0) == 0);
  return sentence.substr(file.string().size() + 2);
}

}  // namespace

TEST_CASE("probe record: every part reads back to what was written, and writes the same file") {
  const TempDir dir, again;
  write_all(dir.path());
  const PartFiles files(dir.path()), copies(again.path());
  copies.write("curvature", identity(), files.read<std::vector<CurvatureRecord>>("curvature"));
  copies.write("ranks", identity(), files.read<RanksRecord>("ranks"));
  copies.write("representations", identity(), files.read<RepresentationsRecord>("representations"));
  copies.write("sharpness", identity(), files.read<SharpnessRecords>("sharpness"));
  copies.write("slices", identity(), files.read<SlicesRecord>("slices"));
  for (const char* part : kParts) {
    CHECK(read_text_file(files.file(part)) == read_text_file(copies.file(part)));
    CHECK(files.identity(part).integer("probes") == 16);
  }
  const CurvatureRecord c = files.read<std::vector<CurvatureRecord>>("curvature").at(0);
  CHECK(c.size == int64_t{1} << 40);
  CHECK(c.loss == 1.0 / 3);
  CHECK(std::isnan(c.gradient_norm));
  CHECK(c.bottom.at(0).value == -3e-310);
  CHECK(std::signbit(c.trace_samples.at(1)));
  CHECK(std::isnan(c.trace.interval.high));
  CHECK(c.trace.samples == 16);
  CHECK(c.density.at(1).nodes.at(0) == -2);
  CHECK(c.paper.stopped_by_tolerance);
  CHECK(files.read<RanksRecord>("ranks").weights.at(0).singular == std::vector<double>{3, 2, 1});
}

TEST_CASE("probe record: what is wrong is named by its place") {
  CHECK(refusal("ranks", "\"rows\": 40", "\"rows\": -40") ==
        "'record.weights[0].rows' is expected to be a count below 2^63, it is -40");
  CHECK(refusal("ranks", "\"rows\": 40", "\"rows\": 1e300").find("a count") != std::string::npos);
  CHECK(refusal("ranks", "\"rows\": 40", "\"rows\": 18446744073709551615").find("a count") !=
        std::string::npos);
  CHECK(refusal("ranks", "\"rows\": 40", "\"cows\": 40") == "'record.weights[0].rows' is missing");
  CHECK(refusal("ranks", "\"a vector\"", "[1]") ==
        "'record.skipped[0].reason' is expected to be a text, it is an array");
  CHECK(refusal("curvature", "true", "1") ==
        "'record[0].converged' is expected to be true or false, it is 1");
  CHECK(refusal("curvature", "\"record\"", "\"recorded\"") == "'record' is missing");
  CHECK(refusal("curvature", "\"identity\"", "\"id\"") == "'identity' is missing");
  CHECK(refusal("curvature", "0.75", "0.75, 3") ==
        "'density' of hessian all is expected to hold finite nodes and as many finite weights, it "
        "holds 2 and 3");
  CHECK(refusal("curvature", "0.75", "null").find("finite weights") != std::string::npos);
  CHECK(refusal("slices", "slice-random.jsonl", "../slice-random.jsonl") ==
        "'file' of a slice is expected to be a name in this folder, it is "
        "'../slice-random.jsonl'");
  CHECK(refusal("sharpness", "\"level\"", "]") == "offset 206: not valid JSON");
  CHECK(refusal("sharpness", "0.95", "1e999").find("not valid JSON: ") == 0);
}

TEST_CASE("probe record: neither depth nor number of values asks for memory without end") {
  const TempDir dir;
  const fs::path file = dir / "ranks.json";
  const auto refused = [&](const std::string& text) {
    write_file_atomic(file, text);
    return error_of([&] { read_record<RanksRecord>(file); });
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
  write_all(dir.path());
  const PartFiles files(dir.path());
  CHECK_NOTHROW(files.refuse_other("ranks", identity()));
  Record other;
  other.add("weights", "2e");
  const auto [kind, sentence] = error_of([&] { files.refuse_other("ranks", other); });
  CHECK(kind == ErrorKind::output);
  CHECK(sentence == files.file("ranks").string() +
                        ": was measured with weights = 1f, asked for is 2e; choose another --out, "
                        "or remove the file");
}

TEST_CASE("malformed: records of a probe") {
  const TempDir dir;
  write_all(dir.path());
  for (const std::string part : kParts) {
    const test::Reader reader{part, "a.json", [&](const fs::path& p) { read_any(p, part); },
                              ErrorKind::data};
    const test::Refusals r =
        run_malformed(reader, {read_file(PartFiles(dir.path()).file(part))}, 100, 150);
    CHECK(r.files == 250);
    CHECK(r.refused >= 0.7 * r.files);
  }
}

}  // namespace basin::tools
