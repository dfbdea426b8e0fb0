// Part "slices": the loss on random planes and lines through the weights, and on the plane of the
// two top eigenvectors, each with the local quadratic that curvature predicts. Directions depend on
// the seed and on the weights alone, so a run that is resumed or cut into shards asks the same
// question.
#include "basin/tools/landscape_probe/detail/slices.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/slice_file.h"
#include "basin/core/folder.h"
#include "basin/core/listing.h"
#include "basin/core/printable.h"
#include "basin/core/safetensors.h"
#include "basin/tools/landscape_probe/detail/builtin_parts.h"
#include "basin/tools/landscape_probe/settings.h"
#include "basin/tools/landscape_probe/watched.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/signals.h"

namespace basin::tools {
namespace {

std::vector<Setting> slice_settings() {
  using enum Purpose;
  return {
      {"slices", Kind::text, "random,eigen",
       "Comma list: random (2-D), random1d, eigen (2-D along the two top eigenvectors)"},
      {.name = "slice_pairs",
       .kind = Kind::integer,
       .initial = "1",
       .help = "Random slices: so many pairs of directions, the same ones for every network of one "
               "shape",
       .added = true},
      {"normalisation", Kind::text, "filter",
       "Of random directions: filter (Li et al.), layer, weight or none"},
      {"slice_examples", Kind::integer, "256", "Training examples of a slice; 0: all", result,
       "slice_shapes"},
      {"grid", Kind::integer, "21", "Points per axis of a 2-D slice"},
      {"grid1d", Kind::integer, "41", "Points of a 1-D slice"},
      {"range", Kind::number, "1", "Slices reach from -range to range"},
      {"reestimate", Kind::flag, "false", "Batch norm statistics made anew at every point"},
  };
}

std::vector<std::string> slices_of(const Config& config) {
  return setting_words(config, "slices", {"random", "random1d", "eigen"});
}

void check_slice_settings(const Config& config, const std::vector<std::string>& parts) {
  const auto in = [](const std::vector<std::string>& list, const char* word) {
    return std::find(list.begin(), list.end(), word) != list.end();
  };
  const int64_t top = config.integer("top");
  const bool eigen = in(slices_of(config), "eigen");
  check(top >= 2 || !eigen || !in(parts, kSlices) || !in(parts, "curvature"),
        "top: the slice eigen needs two eigenvectors, given ", top,
        "; --top 2, or leave eigen out of --slices");
  direction_norm(config.text("normalisation"));
  at_least(config, "slice_examples", 0);
  at_least(config, "slice_pairs", 1);
  at_least(config, "grid", 2);
  at_least(config, "grid1d", 2);
  positive(config, "range");
}

struct Plan {
  std::string name;
  SliceRequest request;
};

struct SliceName {
  std::string kind;  // random, random1d, eigen
  int pair = 0;      // of random directions

  // The first pair has the name that it had when there was one.
  std::string text() const { return pair == 0 ? kind : str(kind, "-", pair + 1); }
};

std::vector<SliceName> names_of(const Config& config) {
  std::vector<SliceName> out;
  for (const std::string& kind : slices_of(config)) {
    const int64_t pairs = kind == "eigen" ? 1 : config.integer("slice_pairs");
    for (int pair = 0; pair < pairs; ++pair) out.push_back({kind, pair});
  }
  return out;
}

Tensor eigenvector(const ProbeContext& context, const char* name) {
  const fs::path file = eigenvector_file(context.dir);
  check(fs::exists(file), "--slices eigen: ", file.string(),
        " is missing; measure the part curvature first, or leave eigen out");
  const SafetensorsFile in = read_safetensors(file);
  if (const Tensor* found = in.find(name)) return *found;
  fail(ErrorKind::data, file.string(), ": expected the tensor ", name, ", found none");
}

// What a slice needs is asked for before the first one is measured.
std::vector<SliceName> names_in_reach(const ProbeContext& context) {
  const std::vector<SliceName> names = names_of(context.config);
  for (const SliceName& name : names) {
    if (name.kind == "eigen") eigenvector(context, "top.1");
  }
  return names;
}

Plan plan_of(const ProbeContext& context, const SliceName& name, const ProbeData& data) {
  const Config& config = context.config;
  const double range = config.number("range");
  const auto axis = [&](const std::string& label, const char* count) {
    return SliceAxis{label, -range, range, static_cast<int>(config.integer(count))};
  };
  const ParamList& params = context.state.params;
  Plan plan{name.text(), {}};
  SliceRequest& r = plan.request;
  if (name.kind == "eigen") {
    r.first = along_vector(params, eigenvector(context, "top.0"), "first eigenvector");
    r.second = along_vector(params, eigenvector(context, "top.1"), "second eigenvector");
    r.grid = {axis("first eigenvector", "grid"), axis("second eigenvector", "grid")};
  } else {
    const DirectionNorm norm = direction_norm(config.text("normalisation"));
    const int first = 2 * name.pair, second = first + 1;
    r.first = random_direction(params, context.seed, first, norm);
    r.grid.x =
        axis(str("random direction ", first + 1), name.kind == "random1d" ? "grid1d" : "grid");
    if (name.kind == "random") {
      r.second = random_direction(params, context.seed, second, norm);
      r.grid.y = axis(str("random direction ", second + 1), "grid");
    }
  }
  r.batch_norm = config.flag("reestimate") ? BatchStatistics::reestimated : BatchStatistics::frozen;
  r.fields = {{"data", data.description},
              {"data_hash", data.content_hash},
              {"batch", str(context.batch)},
              {"forward_statistics", std::string(name_of(context.batch_norm))}};
  for (const auto& field : metric_field(context.trained.task)) r.fields.push_back(field);
  return plan;
}

SliceFunctionAt loss_function(const ProbeContext& context, const ProbeData& data) {
  return [&context, &data](const Tensors& params, double, double) -> SlicePoint {
    const Task& task = context.trained.task;
    const ParamList& buffers = context.state.buffers;
    const Tensors fixed = context.config.flag("reestimate")
                              ? reestimated_buffers(task, params, buffers, data).values()
                              : buffers.values();
    const MeanLoss at = mean_loss(task, params, fixed, data, context.batch_norm);
    return {at.loss, at.metric};
  };
}

// Beside the folder of the probe, which no shard has to create: shards start in any order.
fs::path shard_folder(const ProbeContext& context) {
  const fs::path& dir = context.dir;
  return (dir.has_filename() ? dir : dir.parent_path()).string() + "-shards";
}

fs::path slice_path(const ProbeContext& context, const std::string& name) {
  return context.dir / str("slice-", name, ".jsonl");
}

// Points that shards left, put into the file of the whole once.
void join_shards(const ProbeContext& context, const std::string& name) {
  const fs::path folder = shard_folder(context);
  if (!fs::exists(folder)) return;
  std::vector<fs::path> files;
  std::error_code error;
  for (const fs::path& entry : list_folder(folder, error)) {
    const std::string file = entry.filename().string();
    if (file.starts_with(str("slice-", name, ".")) && file.ends_with(".jsonl")) {
      files.push_back(entry);
    }
  }
  if (error) fail(ErrorKind::output, folder.string(), ": cannot be listed: ", error_text(error));
  if (files.empty()) return;
  std::sort(files.begin(), files.end());
  const fs::path whole = slice_path(context, name);
  if (fs::exists(whole)) files.push_back(whole);
  write_slice(whole, merge_slices(files));
}

SliceRecord record_of(const ProbeContext& context, const Plan& plan, const Slice& slice,
                      const ProbeData& data) {
  const SliceRequest& r = plan.request;
  const ParamList& params = context.state.params;
  LocalQuadratic q{NAN, NAN, NAN, NAN, NAN, NAN};
  double holds_within = NAN;
  if (r.batch_norm == BatchStatistics::reestimated) {
    // Gradient and Hessian would be those of other losses than the points of the slice.
    q.loss = loss_function(context, data)(params.values(), 0, 0).loss;
  } else {
    const CurvatureOperator h(context.loss_batches(data), params, {});
    const bool plane = !r.second.parts.empty();
    q = local_quadratic(h.loss(), h.gradient(), h, params, {}, r.first,
                        plane ? &r.second : nullptr);
    // The losses of f32 networks carry rounding of about 1e-6 of their size.
    const double rounding = context.dtype == DType::f32 ? 1e-5 * std::abs(q.loss) : 1e-12;
    holds_within = departure(slice, q, 0.1, rounding).holds_within;
  }
  return {plan.name,
          slice_path(context, plan.name).filename().string(),
          data.description,
          slice.count(PointState::done),
          slice.count(PointState::failed),
          slice.count(PointState::missing),
          q.loss,
          q.g1,
          q.g2,
          q.h11,
          q.h12,
          q.h22,
          holds_within};
}

void measure_slice_shard(const ProbeContext& context) {
  const ProbeData data = context.data(Split::train, "slice_examples");
  make_folder(shard_folder(context));
  for (const SliceName& name : names_in_reach(context)) {
    const Plan plan = plan_of(context, name, data);
    SliceRun run;
    run.shard = static_cast<int>(context.shard);
    run.shards = static_cast<int>(context.shards);
    run.file = shard_folder(context) /
               str("slice-", plan.name, ".", run.shard, "-of-", run.shards, ".jsonl");
    run_watched_slice("slice " + plan.name, context.state.params, plan.request,
                      loss_function(context, data), run);
    log_line("written: " + run.file.string());
  }
}

SlicesRecord measure_slices(const ProbeContext& context) {
  const ProbeData data = context.data(Split::train, "slice_examples");
  SlicesRecord out;
  for (const SliceName& name : names_in_reach(context)) {
    const Plan plan = plan_of(context, name, data);
    join_shards(context, plan.name);
    SliceRun run;
    run.file = slice_path(context, plan.name);
    const Slice slice = run_watched_slice("slice " + plan.name, context.state.params, plan.request,
                                          loss_function(context, data), run);
    out.slices.push_back(record_of(context, plan, slice, data));
  }
  return out;
}

}  // namespace

SliceFields metric_field(const Task& task) {
  const std::string name = metric_key(task.metrics.front().name);
  return name == "accuracy" ? SliceFields{} : SliceFields{{"metric", name}};
}

Slice run_watched_slice(const std::string& label, const ParamList& base,
                        const SliceRequest& request, const SliceFunctionAt& f, SliceRun run) {
  Progress progress(label, request.grid.size() / run.shards);
  run.progress = [&](int64_t computed, int64_t) {
    progress.update(computed, "");
    return stop_signal() == 0;
  };
  Slice out = run_slice_at(base, request, f, run);
  heed_signals();
  return out;
}

void fields(FieldWalk& walk, SliceRecord& r) {
  walk("name", r.name), walk("file", r.file), walk("data", r.data), walk("done", r.done);
  walk("failed", r.failed), walk("missing", r.missing), walk("loss", r.loss);
  walk("g1", r.g1), walk("g2", r.g2), walk("h11", r.h11), walk("h12", r.h12), walk("h22", r.h22);
  walk("holds_within", r.holds_within);
}
void fields(FieldWalk& walk, SlicesRecord& r) { walk("slices", r.slices); }

void check_record(const SlicesRecord& record, const std::string& file) {
  for (const SliceRecord& s : record.slices) {
    if (s.file.empty() || fs::path(s.file).filename() != s.file) {
      fail(ErrorKind::data, file,
           ": 'file' of a slice is expected to be a name in this folder, it is '",
           printable(s.file), "'");
    }
  }
}

PartInfo slices_part() {
  PartInfo info{.name = kSlices, .summary = "the loss on planes and lines through the weights"};
  info.settings = slice_settings();
  info.depends_on = {"slices", "slice_pairs", "normalisation", "slice_examples", "grid", "grid1d",
                     "range",  "reestimate",  "batch_norm",    "dtype",          "seed"};
  info.after = {"curvature"};
  info.check = check_slice_settings;
  info.measure_shard = measure_slice_shard;
  info.report = slices_report;
  info.verdicts = add_slice_verdicts;
  return part_of<SlicesRecord>(std::move(info), measure_slices);
}

}  // namespace basin::tools
