// landscape_probe on weights that stand alone, under PyTorch's names: the largest eigenvalue is
// that of the dense Hessian, what cannot be known of them is left open, what does not fit is
// refused.
#include <algorithm>
#include <cmath>

#include "basin/analysis/curvature.h"
#include "basin/core/safetensors.h"
#include "basin/datasets/npy.h"
#include "basin/datasets/shapes.h"
#include "basin/kernels/linalg.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/landscape_probe/detail/curvature.h"
#include "basin/tools/landscape_probe/probed.h"
#include "basin/tools/landscape_probe/settings.h"

namespace basin::tools {
namespace {

constexpr int64_t kClasses = 5, kPoints = 24;

fs::path dgcnn_weights() {
  return fs::path(BASIN_SOURCE_DIR) / "tests/fixtures/parity/dgcnn.safetensors";
}

// The first five of the embedded shapes' classes, as a folder of arrays.
void write_five_classes(const fs::path& folder) {
  const PointCloudSplits all = embedded_shapes(3, 1, kPoints, 0);
  fs::create_directories(folder);
  for (const auto& [name, set] : {std::pair{"train", &all.train}, std::pair{"test", &all.test}}) {
    std::vector<float> points;
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < set->size(); ++i) {
      if (set->labels.at(i) >= kClasses) continue;
      labels.push_back(static_cast<int64_t>(set->labels.at(i)));
      const float* from = set->points.data<float>() + i * kPoints * 3;
      points.insert(points.end(), from, from + kPoints * 3);
    }
    const auto n = static_cast<int64_t>(labels.size());
    write_npy(folder / str(name, "_points.npy"), Tensor::from(points, {n, kPoints, 3}));
    write_npy(folder / str(name, "_labels.npy"), Tensor::from(labels, {n}));
  }
}

std::string dgcnn_arguments() {
  return str("'", dgcnn_weights().string(),
             "' --task modelnet --model dgcnn --set model.widths=6,7,8,9,14,12,10 --set model.k=4 "
             "--data five --points ",
             kPoints, " ");
}

// The same settings through the library.
Config dgcnn_config(const fs::path& data) {
  register_builtin_tasks();
  Config config = probe_settings("modelnet");
  const auto set = [&](const char* key, const std::string& value) {
    config.set(key, value, Layer::flag, key);
  };
  set("model.name", "dgcnn");
  set("model.widths", "6,7,8,9,14,12,10");
  set("model.k", "4");
  set("points", std::to_string(kPoints));
  set("data", data.string());
  set("dtype", "f64");
  return config;
}

double dense_lambda_max(const fs::path& data) {
  const Config config = dgcnn_config(data);
  const Trained trained = load_probed(dgcnn_weights().string(), config);
  const ProbeContext context = probe_context(trained, config, {});
  const ProbeData examples = context.data(Split::train, "examples");
  const CurvatureOperator h(context.loss_batches(examples), context.state.params, {});
  const Tensor m = dense_matrix(h);
  const Tensor values = Eigh::cpu(m).values;
  return values.at(values.numel() - 1);
}

}  // namespace

TEST_CASE("weights alone: the largest eigenvalue is that of the dense Hessian") {
  const TempDir dir;
  write_five_classes(dir / "five");
  const Finished f =
      run_built(dir, "landscape_probe",
                "run " + dgcnn_arguments() +
                    "--parts curvature,ranks --dtype f64 --top 2 --bottom 1 --lanczos-steps 400 "
                    "--tolerance 1e-11 --probes 2 --density-probes 0 --out p");
  REQUIRE_MESSAGE(f.code == 0, f.err);
  const LoadedProbe p = load_probe(dir / "p");
  CHECK(p.optimizer == "unknown");
  CHECK(p.facts.text("checkpoint") == "weights");
  CHECK(!p.facts.has("train_seed"));
  CHECK(contains(p.facts.text("model_options"), "k=4"));
  CHECK(std::isnan(p.test_metric()));
  const double found = curvature_of(p).at(0).top.at(0).value;
  const double dense = dense_lambda_max(dir / "five");
  MESSAGE("Lanczos ", found, ", dense ", dense);
  CHECK(std::abs(found - dense) < 1e-8 * std::abs(dense));
  // The start of the training is not known: no ranks are made up for it.
  CHECK(contains(read_text_file(dir / "p/tables/weight_ranks.csv"), ",nan,nan,"));

  // Measured already; beside other weights it compares.
  const Finished again = run_built(dir, "landscape_probe", "compare p p --out both");
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK(contains(again.out, "dgcnn: λ max"));
}

TEST_CASE("weights alone: what does not fit is refused in a sentence") {
  const TempDir dir;
  write_five_classes(dir / "five");
  const auto refused = [&](const std::string& arguments, const char* sentence, int code) {
    const Finished f = run_built(dir, "landscape_probe", "run " + arguments);
    CHECK_MESSAGE(f.code == code, arguments, ": ", f.err);
    CHECK_MESSAGE(contains(f.err, sentence), arguments, ": ", f.err);
    CHECK(!fs::exists(dir / "runs"));
  };
  refused(str("'", dgcnn_weights().string(), "' --model dgcnn --data five --points 24"),
          "dgcnn.safetensors",
          3);  // the usual widths
  refused(dgcnn_arguments() + "--set task.sizes=3", "has no option 'sizes'", 2);
  refused(dgcnn_arguments() + "--set model.kk=3", "has no option 'kk'", 2);
  refused(str("'", dgcnn_weights().string(), "' --task modelnett"), "did you mean 'modelnet'", 2);
}

}  // namespace basin::tools
