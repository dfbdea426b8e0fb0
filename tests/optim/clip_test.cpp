// Clipping: norms, scaling, clamping, untouched inputs.
#include "basin/optim/clip.h"

#include "basin/core/parallel.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

TEST_CASE("clip: global norm over mixed, missing and large gradients") {
  const Tensors grads{Tensor::full({4}, DType::f32, 2), Tensor(),
                      Tensor::full({2, 2}, DType::f64, -1.5)};
  CHECK(global_norm(grads) == doctest::Approx(5).epsilon(1e-15));
  const ClipResult kept = clip_global_norm(grads, 5.5);
  CHECK_FALSE(kept.clipped);
  CHECK(kept.grads[0].raw() == grads[0].raw());
  const ClipResult cut = clip_global_norm(grads, 1);
  CHECK(cut.clipped);
  CHECK(cut.norm == doctest::Approx(5).epsilon(1e-15));
  CHECK(global_norm(cut.grads) == doctest::Approx(1).epsilon(1e-7));
  CHECK(cut.grads[2].at(3) == doctest::Approx(-0.3).epsilon(1e-15));
  CHECK_FALSE(cut.grads[1].defined());
  CHECK(grads[0].at(0) == 2);
  CHECK(global_norm({}) == 0);
  const Tensors big{random_tensor({123457}, DType::f32, 1)};
  const int threads = num_threads();
  set_num_threads(1);
  const double one = global_norm(big);
  set_num_threads(2);
  CHECK(global_norm(big) == one);
  set_num_threads(threads);
}

TEST_CASE("clip: values are clamped, NaN stays, bad limits and norms are refused") {
  const Tensors grads{Tensor::from(std::vector<double>{-3, 0.5, 2, std::nan("")}, {4})};
  const ClipResult r = clip_value(grads, 1);
  CHECK(r.clipped);
  CHECK(r.grads[0].at(0) == -1);
  CHECK(r.grads[0].at(1) == 0.5);
  CHECK(r.grads[0].at(2) == 1);
  CHECK(std::isnan(r.grads[0].at(3)));
  CHECK(grads[0].at(0) == -3);
  CHECK_FALSE(clip_value({Tensor::full({3}, DType::f32, 0.5)}, 1).clipped);
  CHECK(error_of([&] { clip_global_norm(grads, 1); }, ErrorKind::numerical) ==
        "clip: the gradient norm is nan; lower the learning rate or look for a division by zero");
  CHECK(error_of([&] { clip_global_norm(grads, 0); }, ErrorKind::usage) ==
        "clip: expects a maximal norm above 0, got 0");
  CHECK_THROWS_AS(clip_value(grads, -1), Error);
}
