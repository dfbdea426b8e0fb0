// Task "modelnet": classification of labelled point clouds, from any layout that
// datasets/point_cloud.h reads or the embedded shapes.
//   batch      points [B, N, 3] f32[, normals [B, N, 3] f32], labels [B] i64
//   loss       mean cross-entropy with label smoothing; training adds the network's penalty
//   fitted     the class names, so that trained weights need no training data
#include <algorithm>
#include <cmath>
#include <mutex>

#include "basin/core/io.h"
#include "basin/core/listing.h"
#include "basin/train/meters.h"
#include "basin/train/tasks/point_clouds.h"
#include "basin/train/tasks/tasks.h"

namespace basin {
namespace {

constexpr const char* kClass = "class.";

// The splits, read at the first request.
class Clouds {
 public:
  explicit Clouds(CloudSettings settings) : settings_(std::move(settings)) {}

  const CloudSettings& settings() const { return settings_; }
  const PointCloudSet& of(Split split) const {
    read();
    return split == Split::train ? train_ : split == Split::test ? test_ : validation_;
  }
  const DataFacts& facts() const {
    read();
    return facts_;
  }
  PointSelection selection() const {  // what a loader has left to choose
    read();
    return selection_;
  }

 private:
  void read() const {
    std::call_once(once_, [this] {
      PointCloudSplits splits = load_dataset(settings_.data, settings_.load);
      const std::string hashes = splits.train.content_hash + splits.test.content_hash;
      facts_.source = splits.train.source;
      facts_.description = splits.description;
      selection_ = splits.selection;
      facts_.hash =
          sha256_hex(std::span(reinterpret_cast<const uint8_t*>(hashes.data()), hashes.size()));
      take_test(std::move(splits.test), splits.train);
      if (settings_.val_fraction > 0) {
        Holdout parts = split_holdout(splits.train, settings_.val_fraction, settings_.seed);
        train_ = std::move(parts.train);
        validation_ = std::move(parts.held_out);
      } else {
        train_ = std::move(splits.train);
      }
      facts_.train = train_.size();
      facts_.validation = validation_.size();
      facts_.test = test_.size();
    });
  }

  // Says how many of its clouds the training split holds too, and leaves them out where asked to.
  void take_test(PointCloudSet test, const PointCloudSet& train) const {
    const Repeats repeats = repeats_of(test, train);
    if (!repeats.rows.empty()) {
      facts_.description +=
          str("; ", repeats.rows.size(), " of ", test.size(),
              " test shapes are bit for bit training shapes, ", repeats.relabelled,
              " of them under other labels only", settings_.keep_repeats ? "" : "; left out");
    }
    if (settings_.keep_repeats || repeats.rows.empty()) {
      test_ = std::move(test);
      return;
    }
    std::vector<int64_t> rows;
    for (int64_t row = 0; row < test.size(); ++row) {
      if (!std::binary_search(repeats.rows.begin(), repeats.rows.end(), row)) rows.push_back(row);
    }
    test_ = subset(test, rows);
  }

  CloudSettings settings_;
  mutable std::once_flag once_;
  mutable PointCloudSet train_, validation_, test_;
  mutable PointSelection selection_ = PointSelection::first;
  mutable DataFacts facts_;
};

const std::vector<Slot>& cloud_slots(bool normals) {
  static const Slot points{"points", Rows::point, SlotKind::coordinates},
      along{"normals", Rows::point, SlotKind::direction},
      labels{"labels", Rows::example, SlotKind::target};
  static const std::vector<Slot> plain{points, labels}, both{points, along, labels};
  return normals ? both : plain;
}

LoaderOptions loader_options(const CloudSettings& s, PointSelection selection,
                             const SourceRequest& request) {
  LoaderOptions o;
  if (request.training) {
    o.batch = request.batch;
    o.points = s.points;
    o.drop_last = true;
    o.augment = s.augment;
    o.pose = s.pose.train;
    o.up = s.up;
    o.seed = s.seed;
    o.selection = selection;
  } else {
    o = evaluation_options(request.batch, s.points, s.pose.test, s.up, s.seed, selection);
  }
  o.prefetch = request.prefetch;
  return o;
}

class CloudSource : public Source {
 public:
  CloudSource(const PointCloudSet& part, const PointCloudSet& whole, const CloudSettings& settings,
              PointSelection selection, const SourceRequest& request)
      : loader_(part, loader_options(settings, selection, request)),
        normals_(part.normals.defined()),
        examples_(part.size()),
        hash_(whole.content_hash) {
    description_ = str(part.size(), " of ", whole.size(), " ", name_of(request.split), " shapes",
                       part.size() < whole.size() ? str(" (seed ", request.seed, ")") : "", ", ",
                       loader_.points(), " points");
  }
  const std::vector<Slot>& slots() const override { return cloud_slots(normals_); }
  int64_t examples() const override { return examples_; }
  int64_t batches() const override { return loader_.batches_per_epoch(); }
  Batch batch(int64_t epoch, int64_t index) const override {
    PointBatch b = loader_.batch(epoch, index);
    Batch out{{std::move(b.points)}, b.labels.size(0), std::move(b.rows)};
    if (normals_) out.tensors.push_back(std::move(b.normals));
    out.tensors.push_back(std::move(b.labels));
    return out;
  }
  std::string description() const override { return description_; }
  std::string content_hash() const override { return hash_; }

 private:
  PointCloudLoader loader_;
  bool normals_;
  int64_t examples_;
  std::string description_, hash_;
};

std::shared_ptr<const Source> make_source(const Clouds& clouds, const Model& model,
                                          const SourceRequest& request) {
  const PointCloudSet& whole = clouds.of(request.split);
  check(whole.size() > 0, "modelnet: there are no ", name_of(request.split),
        " shapes; --val-fraction holds some of the training split out for validation");
  if (whole.classes() != model.outputs) {
    fail(ErrorKind::data, whole.source, ": holds ", whole.classes(), " classes, the network tells ",
         model.outputs, " apart");
  }
  const std::vector<int64_t> rows = drawn_rows(whole.size(), request.limit, request.seed);
  const bool all = static_cast<int64_t>(rows.size()) == whole.size();
  return std::make_shared<CloudSource>(all ? whole : subset(whole, rows), whole, clouds.settings(),
                                       clouds.selection(), request);
}

// --- clouds of which no class is known

class FileSource : public Source {
 public:
  FileSource(std::vector<fs::path> files, const LoadOptions& load, int64_t batch)
      : files_(std::move(files)), load_(load), batch_(batch), slots_(cloud_slots(load.normals)) {
    slots_.pop_back();  // no labels
  }
  const std::vector<Slot>& slots() const override { return slots_; }
  int64_t examples() const override { return static_cast<int64_t>(files_.size()); }
  int64_t batches() const override { return (examples() + batch_ - 1) / batch_; }
  Batch batch(int64_t, int64_t index) const override {
    Batch out;
    const int64_t begin = index * batch_, end = std::min(begin + batch_, examples());
    const int64_t each = 3 * load_.points;
    out.examples = end - begin;
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      out.tensors.push_back(Tensor::empty({out.examples, load_.points, 3}, DType::f32));
    }
    for (int64_t i = begin; i < end; ++i) {
      const LoadedCloud cloud = load_cloud(files_[static_cast<size_t>(i)], load_);
      const Tensor* parts[] = {&cloud.points, &cloud.normals};
      for (size_t slot = 0; slot < slots_.size(); ++slot) {
        std::copy_n(parts[slot]->data<float>(), each,
                    out.tensors[slot].mutable_data<float>() + (i - begin) * each);
      }
      out.rows.push_back(i);
    }
    return out;
  }
  std::string description() const override { return str(files_.size(), " files"); }
  std::string content_hash() const override { return {}; }

 private:
  std::vector<fs::path> files_;
  LoadOptions load_;
  int64_t batch_;
  std::vector<Slot> slots_;
};

Unlabelled unlabelled_clouds(const std::vector<std::string>& paths, const CloudSettings& settings,
                             int64_t batch) {
  std::vector<fs::path> files;
  for (const fs::path path : paths) {
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::error_code error;
    std::vector<fs::path> inside = list_folder(path, error);
    if (error) fail(ErrorKind::data, path.string(), ": cannot be listed: ", error_text(error));
    std::sort(inside.begin(), inside.end());
    for (const fs::path& file : inside) {
      if (!is_litter(file) && fs::is_regular_file(file)) files.push_back(file);
    }
  }
  if (files.empty()) fail(ErrorKind::data, paths.front(), ": expected files of clouds, found none");
  Unlabelled out;
  for (const fs::path& file : files) out.names.push_back(file.string());
  out.source = std::make_shared<FileSource>(std::move(files), settings.load, batch);
  return out;
}

// The likeliest class, its softmax probability, and how far it is ahead of the second.
std::vector<std::vector<std::string>> prediction_rows(const Tensor& logits, const Fitted& fitted) {
  const int64_t classes = logits.size(1);
  std::vector<std::vector<std::string>> out;
  for (int64_t i = 0; i < logits.size(0); ++i) {
    std::vector<double> p;
    for (int64_t c = 0; c < classes; ++c) p.push_back(logits.at(i * classes + c));
    const auto top = std::max_element(p.begin(), p.end());
    const int64_t best = top - p.begin();
    const double largest = *top;
    double sum = 0;
    for (double& v : p) sum += v = std::exp(v - largest);
    double second = 0;
    for (int64_t c = 0; c < classes; ++c) {
      if (c != best) second = std::max(second, p[static_cast<size_t>(c)] / sum);
    }
    const auto name = fitted.find(str(kClass, best));
    out.push_back({name == fitted.end() ? str("class_", best) : name->second, number_text(1 / sum),
                   number_text(1 / sum - second)});
  }
  return out;
}

Fitted fitted_of(const std::vector<std::string>& class_names) {
  Fitted out;
  for (size_t c = 0; c < class_names.size(); ++c) out[str(kClass, c)] = class_names[c];
  return out;
}

// usage error for a network that has no such option.
void take_normals(ModelConfig& network) {
  const std::vector<OptionInfo>& options = model_info(network.name).options;
  const bool known = std::any_of(options.begin(), options.end(),
                                 [](const OptionInfo& o) { return o.name == "features"; });
  check(known, "modelnet: the network ", network.name,
        " takes no normals, PointNet and DGCNN do; leave --features normal out");
  network.options["features"] = "normal";
}

Task make_point_clouds(const TaskConfig& config, const OptionReader& options) {
  const auto clouds = std::make_shared<const Clouds>(cloud_settings(options, config.seed));
  const CloudSettings& s = clouds->settings();
  ModelConfig network = config.model;
  if (s.load.normals) take_normals(network);
  Task task;
  task.fitted =
      config.fitted.empty() ? fitted_of(clouds->of(Split::train).class_names) : config.fitted;
  network.outputs = static_cast<int64_t>(task.fitted.size());
  task.model = make_model(network);
  require_inputs(task.model, cloud_slots(s.load.normals), "modelnet");
  task.source = [clouds, model = task.model](const SourceRequest& request) {
    return make_source(*clouds, model, request);
  };
  task.data = [clouds] { return clouds->facts(); };
  const auto inputs = static_cast<std::ptrdiff_t>(task.model.inputs.size());
  task.objective = [model = task.model, inputs, smoothing = s.label_smoothing](
                       const Tensors& buffers, const Batch& batch, const ForwardOptions& mode) {
    return supervised(model, buffers, {batch.tensors.begin(), batch.tensors.begin() + inputs}, mode,
                      cross_entropy_loss(batch.tensors.back(), smoothing), batch.examples);
  };
  task.metrics = classification_metrics();
  task.meter = [classes = network.outputs] { return classification_meter(classes); };
  task.train_metrics = accuracy_metrics();
  task.train_meter = [classes = network.outputs] { return accuracy_meter(classes); };
  task.unlabelled = [s](const std::vector<std::string>& paths, int64_t batch) {
    return unlabelled_clouds(paths, s, batch);
  };
  task.prediction_columns = {"class", "probability", "margin"};
  task.prediction_rows = [fitted = task.fitted](const Tensors& predictions) {
    return prediction_rows(predictions.front(), fitted);
  };
  task.likelihood = Likelihood::softmax;
  task.example = "shape";
  task.facts.add("points", s.points)
      .add("augment", std::string_view(s.augment.to_string()))
      .add("label_smoothing", s.label_smoothing);
  return task;
}

constexpr const char* kPreset = kModelPresetKey;

// Sources: DGCNN, the authors' PyTorch code (Wang et al., ACM TOG 2019); PointNet, the authors'
// TensorFlow code (Qi et al., CVPR 2017), whose rate falls by 0.7 every 200,000 samples = 6,250
// steps of 32; its floor of 1e-5 is not reached in 250 epochs.
std::vector<RecipeRow> recipe_rows() {
  return {
      {"paper300", "", "", "points", "300"},
      {"paper300", "", "", "k", "20"},
      {"paper300", "", "", "batch", "32"},
      {"paper300", "", "", "epochs", "250"},
      {"paper300", "", "", "schedule", "cosine"},
      {"paper300", "", "", "augment", "dgcnn"},
      {"paper300", "dgcnn", "", "label_smoothing", "0.2"},
      {"paper300", "egnn", "", "label_smoothing", "0.2"},
      {"paper300", "pointnet", "", "label_smoothing", "0"},
      {"paper300", "pointnet", "", kPreset, "port"},

      {"official", "", "", "points", "1024"},
      {"official", "", "", "batch", "32"},
      {"official", "", "", "epochs", "250"},
      {"official", "dgcnn", "", "optimizer.name", "sgd"},
      {"official", "dgcnn", "sgd", "lr", "0.1"},
      {"official", "dgcnn", "sgd", "wd", "0.0001"},
      {"official", "dgcnn", "sgd", "optimizer.momentum", "0.9"},
      {"official", "dgcnn", "", "schedule", "cosine:floor=0.01"},
      {"official", "dgcnn", "", "label_smoothing", "0.2"},
      {"official", "dgcnn", "", "augment", "dgcnn"},
      {"official", "pointnet", "", kPreset, "original"},
      {"official", "pointnet", "", "optimizer.name", "adam"},
      {"official", "pointnet", "adam", "lr", "0.001"},
      {"official", "pointnet", "adam", "wd", "0"},
      {"official", "pointnet", "", "schedule", "step:gamma=0.7,period=6250"},
      {"official", "pointnet", "", "label_smoothing", "0"},
      {"official", "egnn", "", "optimizer.name", "adam"},
      {"official", "egnn", "adam", "lr", "0.001"},
      {"official", "egnn", "adam", "wd", "0"},
      {"official", "egnn", "", "schedule", "cosine"},
      {"official", "egnn", "", "label_smoothing", "0.2"},
      {"official", "egnn", "", "augment", "dgcnn"},

      // Whoever picks the variant `original` of PointNet gets its augmentation.
      {"original", "pointnet", "", "augment", "pointnet_original"},
      // Isotropic scales: stretching a shape along the axes of the data is no similarity, and moves
      // every invariant that this variant of EGNN sees.
      {"trainable", "egnn", "", "augment", "iso_scale,shift,shuffle"},
      {"trainable", "egnn", "", "label_smoothing", "0.2"},
  };
}

}  // namespace

void register_point_clouds() {
  TaskInfo info;
  info.name = "modelnet";
  info.summary =
      "classification of point clouds: ModelNet40 in any of its layouts, or embedded shapes";
  info.options = cloud_options();
  info.models = {"pointnet", "dgcnn", "egnn"};
  info.recipes = {
      {"paper300",
       "300 points, 20 neighbours, 250 epochs, cosine: comparisons of optimizers on one footing"},
      {"official",
       "each architecture's own training at 1,024 points. EGNN has no published recipe for point\n"
       "    clouds: Adam, cosine and the smoothing of DGCNN stand in"},
  };
  info.recipe_rows = recipe_rows();
  info.make = make_point_clouds;
  register_task(std::move(info));
}

}  // namespace basin
