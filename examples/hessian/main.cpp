// The README's fifteen lines: a PointNet on procedural shapes, its loss and gradient, and the
// largest Hessian eigenvalue by power iteration on one recording (Hv = H(v) is a forward sweep).
// Then the same for a loss that the library does not have, checked against differences of its
// gradient.
#include <basin/basin.h>

#include <cmath>
#include <cstdio>

using namespace basin;

int main() {
  Model net =
      make_model({.name = "pointnet", .outputs = 15, .options = {{"widths", "16,32,64,32,16"}}});
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

  // A loss of one's own is a lambda in public ops. Here: squared error to one-hot labels, plus half
  // of 1e-3 |w|^2 over all weights.
  Tensor target = Tensor::zeros({batch.labels.numel(), 15}, DType::f64);
  for (int64_t i = 0; i < batch.labels.numel(); ++i) {
    target.mutable_data<double>()[15 * i + static_cast<int64_t>(batch.labels.at(i))] = 1;
  }
  const Tensors buffers = state.buffers.values();
  const Tensor points = batch.points.to(DType::f64);
  Fn own = [&](const Tensors& weights) {
    const ForwardResult out = net.forward(weights, buffers, {points}, {.batch_statistics = true});
    Tensor total = mean(sum(square(softmax(out.outputs[0]) - target), 1));
    for (const Tensor& t : weights) total = total + scale(dot(t, t), 0.5e-3);
    return Tensors{total};
  };
  const Tensors product = linearize(grad(own), w)(g);
  constexpr double kStep = 1e-9;  // small: relu and max have kinks, two million of them here
  Tensors ahead, behind;
  for (size_t k = 0; k < w.size(); ++k) {
    ahead.push_back(w[k] + scale(g[k], kStep));
    behind.push_back(w[k] - scale(g[k], kStep));
  }
  const Tensors high = grad(own)(ahead), low = grad(own)(behind);
  double error = 0, size = 0;
  for (size_t k = 0; k < w.size(); ++k) {
    const Tensor off = product[k] - scale(high[k] - low[k], 0.5 / kStep);
    error += dot(off, off).item();
    size += dot(product[k], product[k]).item();
  }
  const double relative = std::sqrt(error / size);
  std::printf("own loss: |H g| %.4f, off from differences of the gradient by %.1e of it\n",
              std::sqrt(size), relative);
  return lambda > 0 && relative < 1e-5 ? 0 : 1;
}
