// No locale has a say: every writer of the library, every reader and what messages are made of,
// under a global locale of C++ that groups digits and, where localedef can make one, under a locale
// of C with a decimal comma. tests/lint/locale.sh keeps what asks a locale out of the sources; the
// programs as a whole run under both in locale_slow_test.cpp.
#include <array>
#include <cerrno>
#include <clocale>
#include <cstdlib>
#include <functional>
#include <sstream>

#include "basin/analysis/csv_table.h"
#include "basin/analysis/slice_file.h"
#include "basin/core/lines.h"
#include "basin/core/random.h"
#include "basin/core/safetensors.h"
#include "basin/datasets/augment.h"
#include "basin/datasets/mesh.h"
#include "basin/datasets/npy.h"
#include "basin/datasets/ply.h"
#include "basin/figures/detail/svg_picture.h"
#include "basin/figures/png.h"
#include "basin/figures/report.h"
#include "basin/figures/svg.h"
#include "basin/nn/state.h"
#include "basin/optim/registry.h"
#include "basin/optim/routing.h"
#include "basin/optim/schedule.h"
#include "basin/tests/figures/figure_samples.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tests/tools/host_locale.h"
#include "basin/tools/landscape_probe/record.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/equivariance_report.h"
#include "basin/tools/shell/recipes.h"
#include "basin/tools/shell/report.h"
#include "basin/train/trainer.h"

namespace basin::tools {
namespace {

constexpr double kNumber = 1234567.0625;
constexpr int64_t kCount = 1234567;

std::string text_of(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

std::string values_of(const Tensor& t) {
  const Tensor wide = t.to(DType::f64);
  std::string out = t.shape().to_string();
  for (int64_t i = 0; i < wide.numel(); ++i) out += " " + number_text(wide.at(i));
  return out;
}

SafetensorsFile some_tensors() {
  SafetensorsFile file;
  file.metadata["count"] = str(kCount);
  file.tensors.emplace_back("w", Tensor::full({1500, 2}, DType::f32, 0.5));
  return file;
}

Slice some_slice() {
  Slice slice({{"a", -1.5, 1.5, 1234}, {{}, 0, 0, 1}}, {});
  slice.asked = grid_fields(slice.grid);
  slice.state[7] = PointState::done;
  slice.loss[7] = kNumber;
  return slice;
}

std::string slice_there_and_back() {
  const TempDir dir;
  write_slice(dir / "s.jsonl", some_slice());
  return read_text_file(dir / "s.jsonl") + number_text(read_slice(dir / "s.jsonl").loss[7]);
}

struct Measured {
  double mean = kNumber;
  int64_t count = kCount;
};
void fields(FieldWalk& walk, Measured& m) { walk("mean", m.mean), walk("count", m.count); }

std::string part_there_and_back() {
  const TempDir dir;
  const PartFiles files(dir.path());
  files.write("p", Record().add("x", kNumber), Measured());
  const auto back = files.read<Measured>("p");
  return read_text_file(files.file("p")) + number_text(back.mean) + str(back.count);
}

std::string config_there_and_back() {
  Config config = tiny_settings("muon");
  config.set("lr", "0.0625", Layer::flag, "--lr");
  run_settings_from(config);
  Config again = modelnet_settings();
  again.load_toml_text(config.to_toml(), "c.toml");
  return config.to_toml() + config.describe() + config.hash() + again.to_toml() +
         train_help("modelnet") + recipe_help("modelnet");
}

// A record without what the clock and the machine decide.
std::string timeless(std::string_view text) {
  std::string out;
  const RecordFields fields = parse_record(text, "record");
  for (const auto& [key, value] : fields.values()) {
    const bool clock = contains(key, "seconds") || contains(key, "per_second");
    if (!clock && key != "metrics_bytes") out += key + "=" + value + " ";
  }
  return out;
}

std::string timeless_lines(const std::string& text) {
  std::string out;
  LineReader lines(text);
  for (std::string_view line; lines.next(line);) out += timeless(line);
  return out;
}

// Three steps with everything that a run writes, its optimizer state as bytes.
std::string training() {
  const TempDir dir;
  Config config = tiny_settings("muon");
  config.set("steps", "3", Layer::flag, "--steps");
  config.set("schedule", "plateau:factor=0.5", Layer::flag, "--schedule");
  const RunSettings settings = run_settings_from(config);
  Trainer trainer(task_from(settings, config), settings.train);
  std::string log;
  TrainHooks hooks;
  hooks.log = [&](const std::string& line) { log += line.substr(0, line.rfind(';')); };
  trainer.run(dir / "run", hooks);
  const fs::path last = dir / "run/ckpt/step-3";
  return log + timeless_lines(read_text_file(dir / "run/metrics.jsonl")) +
         timeless(read_text_file(last / "state.json")) +
         sha256_hex_of_file(last / "model.safetensors") +
         sha256_hex_of_file(last / "optim.safetensors") +
         format_routing_table(trainer.optimizer().routing());
}

std::string equivariance() {
  EquivarianceReport report{"pointnet", "w", "1", kCount, 0, {}};
  for (const DType type : {DType::f32, DType::f64}) {
    for (const SymmetryKind kind : kSymmetryKinds) {
      report.measured.layers.push_back({kind, type, "fc", true, true, {1e-7, kNumber}});
    }
  }
  return equivariance_table(report) + equivariance_csv(report) + equivariance_figure(report);
}

std::string report_and_pictures() {
  const Report report = testing::sample_report();
  std::string out = report_html(report);
  for (const ReportSection& section : report.sections) {
    for (const ReportBlock& block : section.blocks) {
      if (const auto* figure = std::get_if<Figure>(&block)) {
        out += figure->svg + figure->csv + text_of(encode_png(svg_picture(figure->svg)));
      }
    }
  }
  return out;
}

std::string messages() {
  std::string out = error_of([] { check(false, "x ", kNumber, " ", kCount, " ", true); }).second;
  out += error_of([] { read_file("/no/such/file"); }).second;
  out += error_of([] { Shape({1500, 2}).normalise(7); }).second;
  out += error_of([] { parse_schedule("cosine:floor=0,5", kCount); }).second;
  out += error_of([] { parse_off("OFF\n3 1 0\n0 0 0\n1,5 0 0\n", "f.off"); }).second;
  return out + error_text(ENOSPC) + duration_text(kNumber) + bytes_text(kNumber) +
         duration_text(1.5) + metric_text({"mae", "meV", false}, kNumber);
}

std::string readers() {
  const std::string off = "OFF\n3 1 0\n0.5 0 0\n1.25 0 0\n0 1e-3 0\n3 0 1 2\n";
  const std::string ply =
      "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty "
      "float z\nend_header\n0.5 1.25 3\n4 5 6.5\n";
  double number = 0;
  const bool taken = parse_double("1.5", number), refused = parse_double("1,5", number);
  return number_text(parse_off(off, "f.off").vertices[1][0]) +
         values_of(parse_ply(test::bytes_of(ply), "f.ply").points) +
         values_of(parse_npy(serialize_npy(Tensor::full({1500}, DType::f32, 0.5)), "f.npy")) +
         values_of(
             parse_safetensors(serialize_safetensors(some_tensors()), "f").tensors[0].second) +
         parse_augment("scale=0.66:1.5,jitter=0.01:0.05").to_string() + str(taken, refused, number);
}

struct Writer {
  const char* name;
  std::function<std::string()> text;
};

const std::vector<Writer>& writers() {
  static const std::vector<Writer> all{
      {"str",
       [] {
         return str(kNumber, " ", kCount, " ", 1e-9, " ", true, Shape({1500, 2}));
       }},
      {"numbers",
       [] {
         return fixed_text(kNumber, 2) + short_text(kNumber, 9) + scientific_text(kNumber, 3) +
                number_text(kNumber) + shortest_text(kNumber) + svg_number(kNumber) +
                readable(kNumber);
       }},
      {"record", [] { return Record().add("x", kNumber).add("n", kCount).pretty(); }},
      {"record, read",
       [] { return number_text(parse_record("{\"x\": 1234.5}", "r").number("x")); }},
      {"safetensors", [] { return text_of(serialize_safetensors(some_tensors())); }},
      {"npy", [] { return text_of(serialize_npy(Tensor::full({1500}, DType::i64, 1))); }},
      {"csv",
       [] {
         CsvTable table{"x", "n"};
         table.row({kNumber, kCount});
         return table.text() + csv_number(kNumber);
       }},
      {"slice file", slice_there_and_back},
      {"part of a probe", part_there_and_back},
      {"configuration", config_there_and_back},
      {"schedule",
       [] {
         std::string out;
         Schedule plateau(parse_schedule("plateau:factor=0.5,patience=1", kCount));
         for (const double metric : {1.0, 2.0, 3.0}) plateau.observe(metric);
         for (const auto& [key, value] : plateau.save()) out += key + "=" + value;
         return out;
       }},
      {"training", training},
      {"symmetry errors", equivariance},
      {"report", report_and_pictures},
      {"tables",
       [] {
         return format_table({{"a", "b"}, {"x", fixed_text(kNumber, 1)}});
       }},
      {"messages", messages},
      {"readers", readers},
  };
  return all;
}

std::vector<std::string> written() {
  std::vector<std::string> out;
  for (const Writer& w : writers()) out.push_back(w.text());
  return out;
}

void same_as(const std::vector<std::string>& classic, const std::vector<std::string>& found,
             const std::string& where) {
  for (size_t i = 0; i < classic.size(); ++i) {
    CHECK_MESSAGE(found[i] == classic[i], where, ": ", writers()[i].name);
  }
}

}  // namespace

TEST_CASE("locale: every writer and reader under a C++ locale that groups digits") {
  register_builtin_tasks();
  const std::vector<std::string> classic = written();
  for (const std::string& text : classic) REQUIRE(!text.empty());
  const std::locale before = std::locale::global(test::grouping_locale());
  std::ostringstream control;
  control << kCount;
  const std::vector<std::string> found = written();
  std::locale::global(before);
  CHECK(control.str() == "1.234.567");  // the locale is one that would be seen
  same_as(classic, found, "grouping");
}

TEST_CASE("locale: every writer and reader under a C locale with a decimal comma") {
  register_builtin_tasks();
  const TempDir dir;
  const std::string name = test::make_host_locale(dir.path());
  if (name.empty()) {
    MESSAGE("localedef makes no locale here");
    return;
  }
  const std::vector<std::string> classic = written();
  ::setenv("LOCPATH", dir.path().c_str(), 1);
  REQUIRE(std::setlocale(LC_ALL, name.c_str()) != nullptr);
  std::array<char, 32> control{};
  std::snprintf(control.data(), control.size(), "%.1f", 1.5);
  const std::vector<std::string> found = written();
  std::setlocale(LC_ALL, "C");
  CHECK(std::string(control.data()) == "1,5");
  same_as(classic, found, "C");
}

}  // namespace basin::tools
