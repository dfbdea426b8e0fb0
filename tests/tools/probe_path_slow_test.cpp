// landscape_probe path on tiny runs: the losses at the ends are those of the networks, with
// interpolated statistics those that the training recorded; a barrier is never negative; a path
// that was measured is not measured again; a trajectory lies in the plane of its principal
// directions.
#include <cmath>

#include "basin/analysis/slice_file.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/landscape_probe/detail/path.h"
#include "basin/tools/landscape_probe/probed.h"
#include "basin/tools/landscape_probe/settings.h"

namespace basin::tools {
namespace {

void train_tiny(const TempDir& dir, const std::string& name, const std::string& more) {
  const Finished f =
      run_built(dir, "train_modelnet",
                str("--data embedded --limit 45 --points 64 --batch 8 --eval-batch 16 --set "
                    "model.widths=8,16,32,16,8 --epochs 4 --keep 0 --quiet ",
                    more, " --out ", name));
  REQUIRE_MESSAGE(f.code == 0, f.err);
}

PathRecord path(const TempDir& dir, const std::string& arguments, const std::string& out) {
  const Finished f = run_built(dir, "landscape_probe",
                               str("path ", arguments, " --grid1d 9 --grid 5 --out ", out));
  REQUIRE_MESSAGE(f.code == 0, f.err);
  CHECK(contains(f.out, "report: "));
  return PartFiles(dir / out).read<PathRecord>("path");
}

// The loss of a run on the examples that the path takes, with its own or with new statistics.
double loss_of(const fs::path& run, bool reestimated) {
  register_builtin_tasks();
  const Config config = probe_settings("modelnet");
  const Trained trained = load_probed(run.string(), config);
  const ProbeContext context = probe_context(trained, config, {});
  const ProbeData data = context.data(Split::train, "path_examples");
  const Tensors params = context.state.params.values();
  const ParamList buffers =
      reestimated ? reestimated_buffers(trained.task, params, context.state.buffers, data)
                  : context.state.buffers;
  return mean_loss(trained.task, params, buffers.values(), data, NormStatistics::frozen).loss;
}

}  // namespace

TEST_CASE("landscape_probe path: lines, a plane and a trajectory of tiny runs") {
  const TempDir dir;
  train_tiny(dir, "a", "--optimizer adamw");
  train_tiny(dir, "b", "--optimizer muon");
  train_tiny(dir, "c", "--optimizer adam --lr 0.01");
  train_tiny(dir, "seed", "--optimizer adamw --seed 1");

  const PathRecord three = path(dir, "a b c --trajectory a", "three");
  REQUIRE(three.points.size() == 3);
  REQUIRE(three.lines.size() == 3);
  const char* names[] = {"a", "b", "c"};
  for (size_t i = 0; i < 3; ++i) {
    CHECK(three.points[i].name == names[i]);
    CHECK(std::abs(three.points[i].loss - loss_of(dir / names[i], true)) < 1e-6);
  }
  for (const PathLineRecord& l : three.lines) {
    CHECK(l.done == 9);
    CHECK(l.barrier >= 0);
    CHECK(l.distance > 0);
  }
  // The plane is an isometry: the sides of the triangle are the distances of the lines.
  const auto& p = three.points;
  CHECK(std::hypot(p[1].x - p[0].x, p[1].y - p[0].y) ==
        doctest::Approx(three.lines[0].distance).epsilon(1e-9));
  CHECK(std::hypot(p[2].x - p[1].x, p[2].y - p[1].y) ==
        doctest::Approx(three.lines[2].distance).epsilon(1e-9));
  REQUIRE(three.trails.size() == 1);
  CHECK(three.trails[0].steps.size() == 4);
  CHECK(std::abs(three.trails[0].x.back()) < 1e-9);  // the last checkpoint of a is a
  CHECK(three.trails[0].share > 0);
  CHECK(three.trails[0].share <= 1 + 1e-9);
  for (const char* file : {"figures/path-line.svg", "figures/path-plane.png",
                           "figures/path-plane.csv", "tables/path_lines.csv", "report.html"}) {
    CHECK_MESSAGE(fs::exists(dir / "three" / file), file);
  }

  // Again: nothing is measured; with other settings: refused; with a lost record: the points of the
  // slices are still there.
  const std::string before = read_text_file(dir / "three/path.json");
  const Finished again = run_built(dir, "landscape_probe",
                                   "path a b c --trajectory a --grid1d 9 --grid 5 --out three");
  CHECK(again.code == 0);
  CHECK(contains(again.err, "path: there already"));
  const Finished other = run_built(dir, "landscape_probe",
                                   "path a b c --trajectory a --grid1d 7 --grid 5 --out three");
  CHECK(other.code == 6);
  CHECK(contains(other.err, "grid1d = 9, asked for is 7"));
  fs::remove(dir / "three/path.json");
  path(dir, "a b c --trajectory a", "three");
  CHECK(read_text_file(dir / "three/path.json") == before);

  // With the networks' own statistics on the whole test split: what the training recorded.
  const PathRecord frozen =
      path(dir, "a b --interpolate-statistics --path-split test --path-examples 0", "frozen");
  for (const PathPointRecord& end : frozen.points) {
    CHECK(std::isfinite(end.recorded_loss));
    CHECK(std::abs(end.loss - end.recorded_loss) < 1e-6);
  }
  const PathRecord train = path(dir, "a b --interpolate-statistics", "train");
  CHECK(std::abs(train.points[0].loss - loss_of(dir / "a", false)) < 1e-6);
  CHECK(std::abs(train.points[1].loss - loss_of(dir / "b", false)) < 1e-6);

  // Another draw of the data is said so, and all are measured on that of the first.
  const PathRecord seeds = path(dir, "a seed", "seeds");
  CHECK(seeds.points[0].same_data);
  CHECK(!seeds.points[1].same_data);
  CHECK(contains(read_text_file(dir / "seeds/report.html", 1 << 26), "measured on the data of"));

  // A trajectory alone has its own plane.
  const PathRecord alone = path(dir, "--trajectory b", "alone");
  CHECK(alone.points.empty());
  REQUIRE(alone.trails.size() == 1);
  CHECK(alone.trails[0].x.back() == 0);
  CHECK(alone.planes.size() == 1);
}

TEST_CASE("landscape_probe path: what has no path between is refused") {
  const TempDir dir;
  train_tiny(dir, "a", "--optimizer adamw");
  train_tiny(dir, "wide", "--optimizer adamw --set model.widths=8,16,32,16,12");
  const auto refused = [&](const std::string& arguments, const char* sentence) {
    const Finished f = run_built(dir, "landscape_probe", "path " + arguments + " --out x");
    CHECK_MESSAGE(f.code == 2, arguments, ": ", f.err);
    CHECK_MESSAGE(contains(f.err, sentence), arguments, ": ", f.err);
  };
  refused("a", "expects two or three networks");
  refused("a a a a", "given 4");
  refused("a wide", "the checkpoints differ at");
  refused("a a --path-split all", "path_split is expected to be of train, test");
  refused("a a --trajectory nowhere", "nowhere");
}

}  // namespace basin::tools
