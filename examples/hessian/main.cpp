// The README's fifteen lines: a PointNet on procedural shapes, its loss and gradient, and the
// largest Hessian eigenvalue by power iteration on one recording (Hv = H(v) is a forward sweep).
#include <basin/basin.h>

#include <cmath>
#include <cstdio>

using namespace basin;

int main() {
  Model net =
      make_model({.name = "pointnet", .classes = 15, .options = {{"widths", "16,32,64,32,16"}}});
  ModelState state = init_model(net, /*seed=*/0, DType::f64);
  PointCloudLoader loader(embedded_shapes(8, 1, 128, 0).train, {.batch = 64});
  PointBatch batch = loader.batch(/*epoch=*/0, /*index=*/0);

  // A loss is a plain function of the parameters; batch statistics, no dropout.
  Fn loss = classification_loss(net, state.buffers.values(), batch.points.to(DType::f64),
                                batch.labels, {.batch_statistics = true});
  Tensors w = state.params.values();
  auto [value, g, aux] = value_and_grad(loss)(w);
  std::printf("loss %.4f\n", value.item());

  LinearMap H = linearize(grad(loss), w);  // record once ...
  double lambda = 0;
  Tensors v = g;
  for (int i = 0; i < 30; ++i) {  // ... probe many times
    double norm = 0;
    for (const Tensor& t : v) norm += dot(t, t).item();
    for (Tensor& t : v) t = scale(t, 1 / std::sqrt(norm));
    Tensors Hv = H(v);
    lambda = 0;
    for (size_t k = 0; k < v.size(); ++k) lambda += dot(v[k], Hv[k]).item();
    v = Hv;
  }
  std::printf("largest |eigenvalue| %.4f\n", lambda);
}
