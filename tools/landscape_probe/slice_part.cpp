// Loss slices of one checkpoint: random planes and lines, and the plane of the two top
// eigenvectors, each with the local quadratic that curvature predicts. Directions depend on the
// seed and on the weights alone, so a run that is resumed or cut into shards asks the same
// question.
#include <algorithm>

#include "basin/analysis/slice_file.h"
#include "basin/analysis/slices.h"
#include "basin/core/listing.h"
#include "basin/core/safetensors.h"
#include "basin/tools/landscape_probe/probe.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/signals.h"

namespace basin::tools {
namespace {

struct Plan {
  std::string name;
  SliceRequest request;
};

Tensor eigenvector(const ProbeContext& context, const char* name) {
  const fs::path file = eigenvector_file(context.dir);
  check(fs::exists(file), "--slices eigen: ", file.string(),
        " is missing; measure the part curvature first, or leave eigen out");
  const SafetensorsFile in = read_safetensors(file);
  if (const Tensor* found = in.find(name)) return *found;
  fail(ErrorKind::data, file.string(), ": expected the tensor ", name, ", found none");
}

SliceAxis axis_of(const std::string& label, const ProbeSettings& s, int64_t count) {
  return {label, -s.range, s.range, static_cast<int>(count)};
}

Plan plan_of(const ProbeContext& context, const std::string& name, const ProbeData& data) {
  const ProbeSettings& s = context.settings;
  const ParamList& params = context.state.params;
  Plan plan{name, {}};
  SliceRequest& r = plan.request;
  if (name == "eigen") {
    r.first = along_vector(params, eigenvector(context, "top.0"), "first eigenvector");
    r.second = along_vector(params, eigenvector(context, "top.1"), "second eigenvector");
    r.grid = {axis_of("first eigenvector", s, s.grid), axis_of("second eigenvector", s, s.grid)};
  } else {
    const DirectionNorm norm = direction_norm(s.normalisation);
    r.first = random_direction(params, s.seed, 0, norm);
    r.grid.x = axis_of("random direction 1", s, name == "random1d" ? s.grid1d : s.grid);
    if (name == "random") {
      r.second = random_direction(params, s.seed, 1, norm);
      r.grid.y = axis_of("random direction 2", s, s.grid);
    }
  }
  r.batch_norm = s.reestimate ? BatchStatistics::reestimated : BatchStatistics::frozen;
  r.fields = {{"data", data.description},
              {"data_hash", context.subject.train_set().content_hash},
              {"batch", std::to_string(s.batch)},
              {"forward_statistics", std::string(name_of(s.batch_norm))}};
  return plan;
}

SliceFunction loss_function(const ProbeContext& context, const ProbeData& data) {
  return [&context, &data](const Tensors& params) -> SlicePoint {
    const Model& model = context.subject.model();
    const ParamList& buffers = context.state.buffers;
    const Tensors fixed = context.settings.reestimate
                              ? reestimated_buffers(model, params, buffers, data).values()
                              : buffers.values();
    const MeanLoss at = mean_loss(model, params, fixed, data, context.settings.batch_norm,
                                  context.subject.train().label_smoothing);
    return {at.loss, at.accuracy};
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
  std::vector<fs::path> parts;
  std::error_code error;
  for (const fs::path& entry : list_folder(folder, error)) {
    const std::string file = entry.filename().string();
    if (file.starts_with(str("slice-", name, ".")) && file.ends_with(".jsonl")) {
      parts.push_back(entry);
    }
  }
  if (error) fail(ErrorKind::output, folder.string(), ": cannot be listed: ", error.message());
  if (parts.empty()) return;
  std::sort(parts.begin(), parts.end());
  const fs::path whole = slice_path(context, name);
  if (fs::exists(whole)) parts.push_back(whole);
  write_slice(whole, merge_slices(parts));
}

Slice run_watched(const ProbeContext& context, const Plan& plan, const ProbeData& data,
                  SliceRun run) {
  Progress progress("slice " + plan.name, plan.request.grid.size() / run.shards);
  run.progress = [&](int64_t computed, int64_t) {
    progress.update(computed, "");
    return stop_signal() == 0;
  };
  Slice out = run_slice(context.state.params, plan.request, loss_function(context, data), run);
  if (const int signal = stop_signal(); signal != 0) throw StopRequest{signal};
  return out;
}

SliceRecord record_of(const ProbeContext& context, const Plan& plan, const Slice& slice,
                      const ProbeData& data) {
  const std::vector<LossBatch> batches = loss_batches(
      context.subject.model(), context.state.buffers, data, context.settings.batch_norm,
      context.subject.train().label_smoothing, context.settings.dtype);
  const CurvatureOperator h(batches, context.state.params, {});
  const SliceRequest& r = plan.request;
  const bool plane = !r.second.parts.empty();
  const LocalQuadratic q = local_quadratic(h.loss(), h.gradient(), h, context.state.params, {},
                                           r.first, plane ? &r.second : nullptr);
  // The losses of f32 networks carry rounding of about 1e-6 of their size.
  const double rounding = context.settings.dtype == DType::f32 ? 1e-5 * std::abs(q.loss) : 1e-12;
  const Departure d = departure(slice, q, 0.1, rounding);
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
          d.holds_within};
}

ProbeData slice_data(const ProbeContext& context) {
  const ProbeSettings& s = context.settings;
  return probe_data(context.subject.train_set(), "training", context.subject.train(),
                    s.slice_shapes, s.batch, s.seed);
}

}  // namespace

void measure_slice_shard(const ProbeContext& context) {
  const ProbeData data = slice_data(context);
  fs::create_directories(shard_folder(context));
  for (const std::string& name : context.settings.slices) {
    const Plan plan = plan_of(context, name, data);
    SliceRun run;
    run.shard = static_cast<int>(context.settings.shard);
    run.shards = static_cast<int>(context.settings.shards);
    run.file =
        shard_folder(context) / str("slice-", name, ".", run.shard, "-of-", run.shards, ".jsonl");
    run_watched(context, plan, data, run);
    log_line("written: " + run.file.string());
  }
}

SlicesRecord measure_slices(const ProbeContext& context) {
  const ProbeData data = slice_data(context);
  SlicesRecord out;
  for (const std::string& name : context.settings.slices) {
    join_shards(context, name);
    const Plan plan = plan_of(context, name, data);
    SliceRun run;
    run.file = slice_path(context, name);
    const Slice slice = run_watched(context, plan, data, run);
    out.slices.push_back(record_of(context, plan, slice, data));
  }
  return out;
}

}  // namespace basin::tools
