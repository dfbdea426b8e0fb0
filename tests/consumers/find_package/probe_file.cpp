// A user's program: weights from the safetensors file that is the argument, loaded by name, and
// their curvature: the largest eigenvalue with its residual, the trace with its interval.
#include <basin/basin.h>

#include <cmath>
#include <cstdio>

using namespace basin;

int main(int argc, char** argv) try {
  check(argc == 2, "expects one safetensors file");
  const Model net =
      make_model({.name = "pointnet", .outputs = 15, .options = {{"widths", "8,16,32,16,8"}}});
  ModelState state = init_model(net, 7, DType::f64);
  load_state(argv[1], state);
  const PointBatch batch =
      PointCloudLoader(embedded_shapes(2, 1, 64, 0).train, {.batch = 30}).batch(0, 0);
  const Fn loss = classification_loss(net, state.buffers.values(), batch.points.to(DType::f64),
                                      batch.labels, {.batch_statistics = true});
  const CurvatureOperator hessian(
      {{.loss = loss, .outputs = {}, .loss_of_outputs = {}, .examples = batch.labels.numel()}},
      state.params);
  const LanczosResult spectrum = lanczos(hessian, {.top = 2, .tolerance = 1e-6});
  const Estimate trace = hutchinson_trace(hessian, {.products = 24}).estimate;
  const Eigenpair& first = spectrum.top.at(0);
  std::printf("loss %.4f, lambda max %.4f +- %.1e (%lld products), trace %.2f [%.2f, %.2f]\n",
              hessian.loss(), first.value, first.residual,
              static_cast<long long>(spectrum.products), trace.value, trace.interval.low,
              trace.interval.high);
  const bool sound = spectrum.converged && first.residual <= 1e-6 * spectrum.largest_magnitude &&
                     first.value >= spectrum.top.at(1).value && trace.interval.low < trace.value &&
                     trace.value < trace.interval.high;
  return sound ? 0 : 1;
} catch (const Error& error) {
  std::fprintf(stderr, "probe_file: %s\n", error.what());
  return error.exit_code();
}
