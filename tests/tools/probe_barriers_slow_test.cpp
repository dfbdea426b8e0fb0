// landscape_probe barriers and gauge on tiny runs: the ends of a line are the networks, a line is
// measured once, a permuted copy aligns to a barrier of 0 in f64; a rotated copy follows Muon's
// matrices to rounding and leaves under Adam; refusals.
#include <algorithm>
#include <cmath>

#include "basin/tests/tools/helpers.h"
#include "basin/tools/landscape_probe/barriers.h"
#include "basin/tools/landscape_probe/detail/gauge.h"

namespace basin::tools {
namespace {

constexpr const char* kShapes =
    "--data embedded --limit 45 --points 64 --batch 8 --eval-batch 16 --set "
    "model.widths=8,16,32,16,8 --epochs 2 --quiet ";

Finished probe(const TempDir& dir, const std::string& arguments) {
  return run_built(dir, "landscape_probe", arguments);
}

void train(const TempDir& dir, const std::string& program, const std::string& arguments) {
  const Finished f = run_built(dir, program, arguments);
  REQUIRE_MESSAGE(f.code == 0, f.err);
}

}  // namespace

TEST_CASE("landscape_probe barriers: every pair of tiny runs, as trained and aligned") {
  const TempDir dir;
  train(dir, "train_modelnet", str(kShapes, "--optimizer adamw --seed 0 --out a0"));
  train(dir, "train_modelnet", str(kShapes, "--optimizer adamw --seed 1 --out a1"));
  train(dir, "train_modelnet", str(kShapes, "--optimizer muon --seed 0 --out m0"));
  const std::string call =
      "barriers a0 a1 m0 --align --barrier-points 5 --path-examples 30 --json n.json --out out";
  const Finished f = probe(dir, call);
  REQUIRE_MESSAGE(f.code == 0, f.err);
  CHECK_MESSAGE(contains(f.out, "within adamw"), f.out);
  CHECK(contains(f.out, "between adamw and muon"));
  // One pair of each kind has no interval.
  CHECK(contains(f.out, "Pairs within adamw: too few for an interval, so that nothing follows."));
  const auto record = PartFiles(dir / "out").read<BarriersRecord>("barriers");
  REQUIRE(record.pairs.size() == 6);
  for (const BarrierPairRecord& p : record.pairs) {
    CHECK(p.t.size() == 5);
    CHECK(p.train_loss_barrier.height >= 0);
    CHECK(p.test_metric_barrier.height >= 0);
    CHECK(p.train_loss.front() == record.networks[static_cast<size_t>(p.from)].train_loss);
    CHECK(p.test_metric.back() == record.networks[static_cast<size_t>(p.to)].test_metric);
  }
  // From other starts the units are in another order; a0 and m0 share theirs and lie best as is.
  CHECK(record.pairs[3].distance < record.pairs[0].distance);
  CHECK(record.pairs[4].distance <= record.pairs[1].distance);
  CHECK(record.pairs[5].distance < record.pairs[2].distance);
  for (const char* file : {"figures/barriers-test-loss-barrier.svg", "figures/barriers-cka.svg",
                           "tables/barrier_pairs.csv", "report.html"}) {
    CHECK_MESSAGE(fs::exists(dir / "out" / file), file);
  }
  const std::string numbers = read_text_file(dir / "n.json");
  CHECK(contains(numbers, "\"test_loss_barrier_adamw_muon_aligned\""));
  // Nothing is measured again; from the files of the pairs the record comes back, the same bytes.
  const std::string bytes = read_text_file(dir / "out/barriers.json");
  fs::remove(dir / "out/barriers.json");
  const Finished again = probe(dir, call);
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK(read_text_file(dir / "out/barriers.json") == bytes);
  CHECK(!contains(again.err, "loss barrier"));

  // A network and its permuted copy, which is the same function.
  const Model model =
      make_model({.name = "pointnet", .outputs = 15, .options = {{"widths", "8,16,32,16,8"}}});
  ModelState state = init_model(model, 0, DType::f32);
  const fs::path folder = dir / "a0/ckpt";
  load_state(checkpoint_path(folder, checkpoint_steps(folder).back()) / "model.safetensors", state);
  save_state(dir / "x.safetensors", state);
  save_state(dir / "y.safetensors", reordered(state, model.hidden, random_orders(model.hidden, 3)));
  const Finished copies =
      probe(dir,
            "barriers x.safetensors y.safetensors --task modelnet --model pointnet --data embedded "
            "--points 64 --set model.widths=8,16,32,16,8 --dtype f64 --align --barrier-points 5 "
            "--path-examples 30 --out copies");
  REQUIRE_MESSAGE(copies.code == 0, copies.err);
  const auto twins = PartFiles(dir / "copies").read<BarriersRecord>("barriers");
  REQUIRE(twins.pairs.size() == 2);
  CHECK(twins.pairs[0].distance > 1);
  CHECK(twins.pairs[0].train_loss_barrier.height > 1e-3);
  CHECK(twins.pairs[1].distance == 0);
  CHECK(std::abs(twins.pairs[1].train_loss_barrier.height) < 1e-6);
  CHECK(std::abs(twins.pairs[1].test_loss_barrier.height) < 1e-6);
  CHECK(twins.pairs[0].cka == doctest::Approx(1).epsilon(1e-4));
  // A network and itself.
  const Finished itself = probe(dir,
                                "barriers a0 a0 --barrier-points 5 --path-examples 30 "
                                "--dtype f64 --out itself");
  REQUIRE_MESSAGE(itself.code == 0, itself.err);
  const auto same = PartFiles(dir / "itself").read<BarriersRecord>("barriers");
  CHECK(std::abs(same.pairs.at(0).train_loss_barrier.height) < 1e-12);

  const Finished one = probe(dir, "barriers a0");
  CHECK(one.code == 2);
  CHECK_MESSAGE(contains(one.err, "barriers: expects two networks at least"), one.err);
}

TEST_CASE("landscape_probe gauge: Muon's matrices keep the function of a rotated copy") {
  const TempDir dir;
  train(dir, "train_qm9",
        "--data embedded --model egnn-qm9 --set model.hidden=12 --set model.layers=2 --loss mse "
        "--limit 40 --batch 8 --epochs 1 --quiet --out q");
  const Finished f = probe(dir,
                           "gauge q --gauge-steps 12 --gauge-records 4 --batch 8 "
                           "--path-examples 20 --json g.json --out out");
  REQUIRE_MESSAGE(f.code == 0, f.err);
  const auto record = PartFiles(dir / "out").read<GaugeRecord>("gauge");
  CHECK(record.at_start < 1e-10 * std::max(1.0, record.size));
  REQUIRE(record.paths.size() == 8);
  for (const GaugePathRecord& p : record.paths) {
    CAPTURE(p.optimizer);
    CAPTURE(p.matrices_only);
    REQUIRE(p.step == std::vector<int64_t>{0, 3, 6, 9, 12});
    CHECK(p.moved.back() > 0);
    const double ratio = p.distance.back() / p.moved.back();
    const bool stays = p.optimizer == "sgd" || (p.optimizer == "muon" && p.matrices_only);
    CHECK((stays ? ratio < 1e-8 : ratio > 1e-4));
  }
  CHECK(fs::exists(dir / "out/figures/gauge-distance.svg"));
  CHECK(contains(read_text_file(dir / "g.json"), "\"distance_muon_matrices\""));

  train(dir, "train_modelnet", str(kShapes, "--optimizer adamw --out a0"));
  const Finished none = probe(dir, "gauge a0");
  CHECK(none.code == 2);
  CHECK_MESSAGE(contains(none.err, "no hidden units of the network pointnet can be rotated"),
                none.err);
  const Finished unknown = probe(dir, "gauge q --gauge-optimizers muno");
  CHECK(unknown.code == 2);
  CHECK_MESSAGE(contains(unknown.err, "did you mean 'muon'?"), unknown.err);
}

}  // namespace basin::tools
