// Measurements of trained weights: see measure.h.
#include "basin/tools/shell/measure.h"

#include <iostream>

#include "basin/analysis/png.h"
#include "basin/tools/train_modelnet/contact_sheet.h"
#include "basin/tools/train_modelnet/corruption_report.h"
#include "basin/tools/shell/equivariance_report.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/report.h"

namespace basin::tools {
namespace {

constexpr int64_t kSymmetryClouds = 4;
constexpr int kSheetSeverity = kSeverities;

// A network with its weights and its data.
class Subject {
 public:
  Subject(const Config& config, const TrainConfig& train, const Place& place)
      : config_(config), train_(train), data_(load_train_data(train)), trainer_(train, data_) {
    weights_ = config.text("weights");
    fs::path file = weights_;
    if (place.checkpoint) {
      weights_ = place.checkpoint->path.string();
      file = place.checkpoint->path / "model.safetensors";
      load_state(place.checkpoint->model, weights_, trainer_.state());
    } else {
      load_state(file, trainer_.state());
    }
    hash_ = sha256_hex_of_file(file);
  }

  Record accuracy() const {
    const Evaluation e = trainer_.test();
    std::cout << evaluation_table(e, weights_);
    Record out;
    // The summary of the corruptions names these two itself.
    if (!config_.flag("corruptions")) out.add("weights", weights_).add("test_shapes", e.examples);
    return out.add("test_loss", e.loss)
        .add("overall_accuracy", e.overall_accuracy)
        .add("mean_class_accuracy", e.mean_class_accuracy);
  }

  Record corruption(const fs::path& dir) const {
    CorruptionOptions options;
    options.seed = static_cast<uint64_t>(config_.integer("corruption_seed"));
    options.published = config_.text("corruptions_dir");
    options.points = config_.given("corruption_points") ? config_.integer("corruption_points")
                                                        : default_corruption_points(train_.points);
    const CorruptionSource source(train_, data_.train.class_names, options);
    CorruptionReport report;
    report.model = model_text();
    report.weights = name_in(dir);
    report.weights_hash = hash_;
    report.source = source.description();
    report.seed = options.seed;
    report.corruption_points = options.points;
    report.trained_points = train_.points;
    report.clean = trainer_.test();
    report.rows =
        evaluate_corruptions(trainer_.model(), trainer_.state(), train_, source, options,
                             [](const std::string& name) { log_line("corruption " + name); });
    std::cout << corruption_table(report);
    log_line("written: " + write_corruptions(report, dir));
    return corruption_summary(report);
  }

  Record equivariance(const fs::path& dir) const {
    const LoaderOptions options = evaluation_options(kSymmetryClouds, train_.points);
    const PointBatch batch = PointCloudLoader(data_.test, options).batch(0, 0);
    EquivarianceReport report;
    report.model = model_text();
    report.weights = name_in(dir);
    report.clouds =
        str("the first ", batch.points.size(0), " test clouds of ", train_.points, " points");
    report.transformations = config_.integer("transformations");
    report.seed = train_.seed;
    report.measured =  // in f32 and f64, point by point: on the CPU
        measure_symmetry(trainer_.model(), trainer_.state().to(Device::cpu), batch.points,
                         {report.transformations, report.seed});
    std::cout << equivariance_table(report);
    log_line("written: " + write_equivariance(report, dir));
    Record out;
    for (const SymmetryError& e : report.measured.layers) {
      if (e.layer != "logits") continue;
      out.add(str("logits_", name_of(e.kind), "_", name_of(e.dtype)), e.largest());
    }
    return out;
  }

 private:
  std::string model_text() const {
    return str(trainer_.model().name, " (", trainer_.model().preset, ")");
  }

  // Within its own run a checkpoint is named by the relative path, so that the run can be moved.
  std::string name_in(const fs::path& dir) const {
    const fs::path path = fs::weakly_canonical(weights_), run = fs::weakly_canonical(dir);
    const fs::path relative = path.lexically_relative(run);
    return relative.empty() || *relative.begin() == ".." ? weights_ : relative.string();
  }

  const Config& config_;
  const TrainConfig& train_;
  TrainData data_;
  Trainer trainer_;
  std::string weights_, hash_;
};

// Where tables and figures go.
fs::path result_folder(const Config& config, const Place& place) {
  if (!config.text("out").empty()) return place.out;
  check(!place.source.empty(),
        "--corruptions, --equivariance, --contact-sheet: expect a folder for tables and figures; "
        "add --resume RUN or --out DIR");
  return place.source;
}

void draw_contact_sheet(const Config& config, const TrainConfig& train, const fs::path& dir) {
  const SheetShape shape = sheet_shape(train, config.text("contact_sheet"));
  const Picture picture = contact_sheet(shape, kSheetSeverity,
                                        static_cast<uint64_t>(config.integer("corruption_seed")));
  const fs::path file = made_folder(dir, "figures") / "corruptions_shape.png";
  write_file_atomic(file, encode_png(picture));
  std::cout << "contact sheet of " << shape.name << ": " << file.string() << '\n';
}

void check_measurement(const Config& config, const Place& place, bool weights_needed) {
  check(!weights_needed || place.checkpoint || !config.text("weights").empty(),
        config.flag("eval_only")     ? "--eval-only"
        : config.flag("corruptions") ? "--corruptions"
                                     : "--equivariance",
        ": expects weights, none given; add --resume RUN or --weights FILE");
  const auto at_least = [&](const char* key, int64_t low) {
    check(config.integer(key) >= low, config.origin(key), ": ", key, " is expected to be at least ",
          low, ", given ", config.text(key));
  };
  at_least("corruption_seed", 0);
  at_least("transformations", 1);
  if (config.given("corruption_points")) at_least("corruption_points", 0);
}

}  // namespace

bool is_measurement(const Config& config) {
  return config.flag("eval_only") || config.flag("corruptions") || config.flag("equivariance") ||
         !config.text("contact_sheet").empty();
}

void write_json(const Config& config, const Record& result) {
  const std::string& file = config.text("json");
  if (!file.empty()) write_file_atomic(file, result.pretty());
}

int measure(const Config& config, const TrainConfig& train, const Place& place) {
  const bool accuracy = config.flag("eval_only"), corrupted = config.flag("corruptions"),
             symmetry = config.flag("equivariance"), sheet = !config.text("contact_sheet").empty();
  check_measurement(config, place, accuracy || corrupted || symmetry);
  const fs::path dir = corrupted || symmetry || sheet ? result_folder(config, place) : fs::path();
  if (sheet) draw_contact_sheet(config, train, dir);
  if (!accuracy && !corrupted && !symmetry) return 0;
  log_line("reading " + train.data);
  const Subject subject(config, train, place);
  Record result;
  if (accuracy) result.append(subject.accuracy());
  if (corrupted) result.append(subject.corruption(dir));
  if (symmetry) result.append(subject.equivariance(dir));
  write_json(config, result);
  return 0;
}

}  // namespace basin::tools
