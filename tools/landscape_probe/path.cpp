// Measuring lines, planes and trails.
#include "basin/tools/landscape_probe/detail/path.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "basin/analysis/paths.h"
#include "basin/core/printable.h"
#include "basin/core/text.h"
#include "basin/tools/landscape_probe/detail/compare.h"
#include "basin/tools/landscape_probe/detail/probe.h"
#include "basin/tools/landscape_probe/detail/slices.h"
#include "basin/tools/landscape_probe/probed.h"
#include "basin/tools/landscape_probe/settings.h"
#include "basin/tools/landscape_probe/watched.h"
#include "basin/tools/shell/progress.h"

namespace basin::tools {
namespace {

constexpr const char* kPath = "path";
constexpr double kMargin = 0.2;  // of a plane beyond the points that it shows, as a share

// The settings that decide a number of a path.
const std::vector<std::string>& path_depends_on() {
  static const std::vector<std::string> keys{
      "path_examples", "path_split", "interpolate_statistics", "grid", "grid1d", "batch",
      "dtype",         "seed"};
  return keys;
}

struct End {
  std::string letter;
  Trained trained;
  ModelState state;  // in the precision of the measurement
};

struct Trail {
  std::string name;
  std::vector<int64_t> steps;
  std::vector<ParamList> params;
  ParamList last_buffers;
  std::string weights_sha256;  // of the last
};

Trail load_trail(const std::string& path, const Config& config) {
  const Trained trained = load_probed(path, config);
  check(trained.checkpoint.has_value(), config.origin("trajectory"),
        ": trajectory is expected to be a run directory, given ", path);
  const fs::path folder = trained.run / "ckpt";
  Trail out{short_name(trained), checkpoint_steps(folder), {}, {}, {}};
  check(out.steps.size() >= 3, config.origin("trajectory"), ": ", path, " has ", out.steps.size(),
        " checkpoints, a trajectory needs at least three; train with --keep 0");
  ModelState state = trained.state.clone();
  for (const int64_t step : out.steps) {
    heed_signals();
    const Checkpoint c = read_checkpoint(checkpoint_path(folder, step));
    load_state(c.model, c.path.string(), state);
    out.params.push_back(state.params.clone());
    out.weights_sha256 = sha256_hex_of_file(c.path / "model.safetensors");
  }
  out.last_buffers = state.buffers.clone();
  return out;
}

// What all points are measured with.
class PathMeasurement {
 public:
  PathMeasurement(std::vector<End> ends, std::optional<Trail> trail, const Trained& any,
                  const Config& config, fs::path dir)
      : ends_(std::move(ends)),
        trail_(std::move(trail)),
        context_(probe_context(any, config, dir)),
        data_(context_.data(split_of(config), "path_examples")),
        statistics_data_(split_of(config) == Split::train
                             ? data_
                             : context_.data(Split::train, "path_examples")),
        interpolate_(config.flag("interpolate_statistics") || context_.state.buffers.size() == 0) {}

  PathRecord measure() {
    PathRecord out;
    out.data = str(data_.description, statistics_text());
    for (const End& e : ends_) out.points.push_back(point_of(e));
    for (size_t i = 0; i < ends_.size(); ++i) {
      for (size_t j = i + 1; j < ends_.size(); ++j) add_line(i, j, out);
    }
    if (ends_.size() == 3) {
      add_plane_through(out);
    } else if (trail_) {
      add_principal_plane(out);
    }
    return out;
  }

 private:
  static Split split_of(const Config& config) {
    return setting_word(config, "path_split", {"train", "test"}) == "train" ? Split::train
                                                                            : Split::test;
  }

  std::string statistics_text() const {
    if (context_.state.buffers.size() == 0) return {};
    return interpolate_ ? ", running statistics of batch norm interpolated"
                        : ", running statistics of batch norm estimated anew at every point";
  }

  PathPointRecord point_of(const End& e) const {
    const Trained& t = e.trained;
    PathPointRecord out{e.letter,
                        short_name(t),
                        t.task.model.name,
                        t.optimizer(),
                        t.checkpoint ? t.checkpoint->path.filename().string() : "weights",
                        sha256_hex_of_file(t.file)};
    const bool known = t.checkpoint && t.checkpoint->state.has("test_loss");
    out.recorded_loss = known ? t.checkpoint->state.number("test_loss") : NAN;
    out.x = out.y = NAN;
    out.same_data = t.task.data().hash == context_.trained.task.data().hash;
    return out;
  }

  SlicePoint loss_at(const Tensors& params, const ParamList& interpolated) const {
    const Task& task = context_.trained.task;
    const ParamList buffers =
        interpolate_ ? interpolated
                     : reestimated_buffers(task, params, context_.state.buffers, statistics_data_);
    const MeanLoss at = mean_loss(task, params, buffers.values(), data_, NormStatistics::frozen);
    return {at.loss, at.metric};
  }

  SliceRequest request(SliceGrid grid, Direction first, Direction second) const {
    SliceRequest r{std::move(grid), std::move(first), std::move(second)};
    r.batch_norm = interpolate_ ? BatchStatistics::frozen : BatchStatistics::reestimated;
    r.fields = {{"data", data_.description},
                {"data_hash", data_.content_hash},
                {"batch", str(context_.batch)},
                {"statistics", interpolate_ ? "interpolated" : "re-estimated"}};
    for (const auto& field : metric_field(context_.trained.task)) r.fields.push_back(field);
    return r;
  }

  Slice run(const std::string& file, const ParamList& base, const SliceRequest& r,
            const SliceFunctionAt& f) const {
    SliceRun how;
    how.file = context_.dir / file;
    return run_watched_slice(fs::path(file).stem().string(), base, r, f, how);
  }

  void add_line(size_t i, size_t j, PathRecord& out) {
    const End &a = ends_[i], &b = ends_[j];
    PathLineRecord line{a.letter, b.letter, str("path-line-", a.letter, b.letter, ".jsonl")};
    Direction d =
        difference_direction(a.state.params, b.state.params, str(a.letter, " to ", b.letter));
    line.distance = d.norm();
    SliceGrid grid;
    grid.x = {str("t, 0 at ", a.letter, ", 1 at ", b.letter), 0, 1,
              static_cast<int>(context_.config.integer("grid1d"))};
    const SliceRequest r = request(grid, std::move(d), {});
    const Slice slice =
        run(line.file, a.state.params, r, [&](const Tensors& params, double t, double) {
          // The ends are the networks themselves, whatever adding a difference rounds to.
          const bool end = t == 1;
          return loss_at(end ? b.state.params.values() : params,
                         between(a.state.buffers, b.state.buffers, t));
        });
    const Barrier barrier = line_barrier(slice);
    line.done = slice.count(PointState::done);
    line.failed = slice.count(PointState::failed);
    line.barrier = barrier.height;
    line.at = barrier.at;
    line.loss = barrier.loss;
    line.metric = NAN;
    for (int64_t k = 0; k < slice.grid.size(); ++k) {
      if (slice.grid.x.at(slice.grid.ix(k)) == barrier.at) {
        line.metric = slice.metric[static_cast<size_t>(k)];
      }
    }
    out.points[i].loss = slice.loss.front();
    out.points[i].metric = slice.metric.front();
    out.points[j].loss = slice.loss.back();
    out.points[j].metric = slice.metric.back();
    out.lines.push_back(std::move(line));
  }

  void add_plane_through(PathRecord& out) {
    const ParamList &a = ends_[0].state.params, &b = ends_[1].state.params,
                    &c = ends_[2].state.params;
    const CheckpointPlane plane = plane_through(a, b, c);
    for (size_t i = 0; i < 3; ++i) {
      out.points[i].x = plane.coordinates[i][0];
      out.points[i].y = plane.coordinates[i][1];
    }
    if (trail_) add_trail(a, plane.first, plane.second, out);
    const double length = plane.coordinates[1][0], cx = plane.coordinates[2][0],
                 cy = plane.coordinates[2][1];
    add_plane(a, plane.first, plane.second, {"distance from A towards B", "distance across"}, out,
              [=, this](double x, double y) {
                const double v = y / cy, u = (x - v * cx) / length;
                return between(ends_[0].state.buffers, ends_[1].state.buffers,
                               ends_[2].state.buffers, u, v);
              });
  }

  void add_principal_plane(PathRecord& out) {
    const PathPlane plane = principal_plane(trail_->params);
    const ParamList& last = trail_->params.back();
    add_trail(last, plane.first, plane.second, out);
    const auto label = [&](size_t k, const char* which) {
      return str(which, " principal direction (", share_text(plane.shares[k]), ")");
    };
    add_plane(last, plane.first, plane.second, {label(0, "first"), label(1, "second")}, out,
              [this](double, double) { return trail_->last_buffers.clone(); });
  }

  void add_trail(const ParamList& origin, const Direction& first, const Direction& second,
                 PathRecord& out) const {
    ProjectedPath p = projected_path(trail_->params, origin, first, second);
    out.trails.push_back({trail_->name, trail_->steps, std::move(p.x), std::move(p.y), p.share});
  }

  // A square, so that distances in the picture are distances between networks.
  SliceGrid window(const PathRecord& record, const std::array<std::string, 2>& labels) const {
    std::vector<double> x, y;
    for (const PathPointRecord& p : record.points) {
      if (std::isfinite(p.x)) x.push_back(p.x), y.push_back(p.y);
    }
    for (const TrailRecord& t : record.trails) {
      x.insert(x.end(), t.x.begin(), t.x.end());
      y.insert(y.end(), t.y.begin(), t.y.end());
    }
    const auto [x0, x1] = std::minmax_element(x.begin(), x.end());
    const auto [y0, y1] = std::minmax_element(y.begin(), y.end());
    const double half = (0.5 + kMargin) * std::max(*x1 - *x0, *y1 - *y0);
    const int count = static_cast<int>(context_.config.integer("grid"));
    const auto axis = [&](const std::string& label, double middle) {
      return SliceAxis{label, middle - half, middle + half, count};
    };
    return {axis(labels[0], (*x0 + *x1) / 2), axis(labels[1], (*y0 + *y1) / 2)};
  }

  void add_plane(const ParamList& base, const Direction& first, const Direction& second,
                 const std::array<std::string, 2>& labels, PathRecord& out,
                 const std::function<ParamList(double, double)>& statistics) {
    PathPlaneRecord plane{"path-plane.jsonl", labels[0], labels[1]};
    const SliceRequest r = request(window(out, labels), first, second);
    const Slice slice = run(plane.file, base, r, [&](const Tensors& params, double x, double y) {
      return loss_at(params, interpolate_ ? statistics(x, y) : ParamList());
    });
    plane.done = slice.count(PointState::done);
    plane.failed = slice.count(PointState::failed);
    out.planes.push_back(std::move(plane));
  }

  std::vector<End> ends_;
  std::optional<Trail> trail_;
  ProbeContext context_;
  ProbeData data_, statistics_data_;
  bool interpolate_;
};

std::vector<End> load_ends(const std::vector<std::string>& networks, const Config& config) {
  std::vector<End> out;
  for (size_t i = 0; i < networks.size(); ++i) {
    Trained t = load_probed(networks[i], config);
    if (!out.empty()) check_one_kind("path", out.front().trained, t);
    ModelState state = probe_context(t, config, {}).state;
    out.push_back({std::string(1, static_cast<char>('A' + i)), std::move(t), std::move(state)});
  }
  return out;
}

// Flat, as the identity of a part: whose weights, on which data.
Record path_facts(const std::vector<End>& ends, const std::optional<Trail>& trail,
                  const Trained& any) {
  Record out;
  out.add("task", std::string_view(any.task.name))
      .add("example", std::string_view(any.task.example))
      .add("metric", std::string_view(any.task.metrics.front().name))
      .add("metric_unit", std::string_view(any.task.metrics.front().unit))
      .add("model", any.task.model.name)
      .add("data", any.task.data().source)
      .add("data_hash", any.task.data().hash);
  for (const End& e : ends) {
    out.add(e.letter + "_weights_sha256", std::string_view(sha256_hex_of_file(e.trained.file)));
  }
  const std::string none = "none";
  return out.add("trajectory", std::string_view(trail ? trail->name : none))
      .add("trajectory_checkpoints", trail ? static_cast<int64_t>(trail->steps.size()) : 0)
      .add("trajectory_weights_sha256", std::string_view(trail ? trail->weights_sha256 : none));
}

fs::path default_folder(const std::vector<End>& ends, const std::optional<Trail>& trail) {
  std::string name = "path";
  for (const End& e : ends) name += "-" + short_name(e.trained);
  if (ends.empty()) name += "-" + trail->name;
  return fs::path("runs") / name;
}

}  // namespace

std::vector<Setting> path_settings() {
  using enum Purpose;
  return {
      {"trajectory", Kind::text, "",
       "path: run directory whose checkpoints are drawn in the plane (train with --keep 0)"},
      {"path_examples", Kind::integer, "256",
       "path: examples that the loss is a mean over; 0: all"},
      {"path_split", Kind::text, "train", "path: of which split: train or test"},
      {"interpolate_statistics", Kind::flag, "false",
       "path: batch norm statistics between the networks' own instead of new ones at every point"},
  };
}

void check_path_settings(const Config& config) {
  at_least(config, "path_examples", 0);
  setting_word(config, "path_split", {"train", "test"});
}

namespace {

// Flat: "barrier_ab", "distance_ab" .. of every line.
Record path_numbers(const PathRecord& record) {
  Record out;
  for (const PathLineRecord& line : record.lines) {
    const std::string of = str("_", ascii_lower(line.from.front()), ascii_lower(line.to.front()));
    out.add("barrier" + of, line.barrier)
        .add("at" + of, line.at)
        .add("distance" + of, line.distance)
        .add("failed" + of, line.failed);
  }
  return out;
}

}  // namespace

std::string path_between(const std::vector<std::string>& networks, const Config& config,
                         const fs::path& out, const std::string& command) {
  const std::string& run = config.text("trajectory");
  const size_t count = networks.size();
  check(count == 2 || count == 3 || (count == 0 && !run.empty()),
        "path: expects two or three networks (run directories, checkpoints or files of weights), "
        "or --trajectory RUN alone, given ",
        count);
  std::vector<End> ends = load_ends(networks, config);
  std::optional<Trail> trail;
  std::optional<Trained> last;  // of the trajectory
  if (!run.empty()) {
    last = load_probed(run, config);
    if (!ends.empty()) check_one_kind("path", ends.front().trained, *last);
    trail = load_trail(run, config);
  }
  const Trained any = ends.empty() ? std::move(*last) : ends.front().trained;
  const fs::path dir = out.empty() ? default_folder(ends, trail) : out;
  const Record facts = path_facts(ends, trail, any);
  const Record identity = identity_of(facts, any.task.example, config, path_depends_on());
  const PartFiles files(dir);
  if (files.has(kPath)) {
    files.refuse_other(kPath, identity);
    log_line(str(kPath, ": there already, ", files.file(kPath).string()));
  } else {
    RunDir results = open_results(dir, config);
    measure_into(results, facts, command, [&] {
      PathMeasurement all(std::move(ends), std::move(trail), any, config, dir);
      files.write(kPath, identity, all.measure());
    });
  }
  const PartReport parts = path_report(dir, any.task.metrics.front(), command);
  write_measured(dir, "Between trained networks", parts, command);
  if (const std::string& json = config.text("json"); !json.empty()) {
    write_file_atomic(json, path_numbers(files.read<PathRecord>(kPath)).pretty());
  }
  std::string printed;
  for (const PartSection& s : parts.sections) {
    for (const NamedTable& t : s.tables) {
      if (!t.page.rows.empty()) printed += text_table(t.page) + "\n";
    }
  }
  return printed + str("report: ", (dir / "report.html").string(), "\n");
}

void fields(FieldWalk& walk, PathPointRecord& r) {
  walk("letter", r.letter), walk("name", r.name), walk("network", r.network);
  walk("optimizer", r.optimizer), walk("checkpoint", r.checkpoint);
  walk("weights_sha256", r.weights_sha256), walk("loss", r.loss), walk("metric", r.metric);
  walk("recorded_loss", r.recorded_loss), walk("x", r.x), walk("y", r.y);
  walk("same_data", r.same_data);
}
void fields(FieldWalk& walk, PathLineRecord& r) {
  walk("from", r.from), walk("to", r.to), walk("file", r.file), walk("done", r.done);
  walk("failed", r.failed), walk("distance", r.distance), walk("barrier", r.barrier);
  walk("at", r.at), walk("loss", r.loss), walk("metric", r.metric);
}
void fields(FieldWalk& walk, PathPlaneRecord& r) {
  walk("file", r.file), walk("first", r.first), walk("second", r.second), walk("done", r.done);
  walk("failed", r.failed);
}
void fields(FieldWalk& walk, TrailRecord& r) {
  walk("name", r.name), walk("steps", r.steps), walk("x", r.x), walk("y", r.y);
  walk("share", r.share);
}
void fields(FieldWalk& walk, PathRecord& r) {
  walk("data", r.data), walk("points", r.points), walk("lines", r.lines);
  walk("planes", r.planes), walk("trails", r.trails);
}

void check_record(const PathRecord& record, const std::string& file) {
  const auto check_name = [&](const std::string& name) {
    if (!name.empty() && fs::path(name).filename() == name) return;
    fail(ErrorKind::data, file, ": 'file' is expected to be a name in this folder, it is '",
         printable(name), "'");
  };
  for (const PathLineRecord& l : record.lines) check_name(l.file);
  for (const PathPlaneRecord& p : record.planes) check_name(p.file);
  for (const TrailRecord& t : record.trails) {
    if (t.x.size() == t.steps.size() && t.y.size() == t.steps.size()) continue;
    fail(ErrorKind::data, file, ": a trail is expected to have as many steps as points, it has ",
         t.steps.size(), " for ", t.x.size(), " and ", t.y.size());
  }
}

}  // namespace basin::tools
