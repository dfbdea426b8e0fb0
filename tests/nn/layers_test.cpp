// Layers as data: declarations, application in both statistics modes, running statistics.
#include "basin/nn/layers.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "basin/autograd/transform.h"

namespace basin {
namespace {

struct Small {
  Layout layout;
  Linear linear, conv;
  BatchNorm norm;
};

Small declare() {
  Small s;
  s.conv = s.layout.conv1d("conv", 2, 3, Role::first, torch_linear_init(2));
  s.linear = s.layout.linear("fc", 3, 2, Role::head, xavier_linear_init(3, 2));
  s.norm = s.layout.batch_norm("bn", 2, 0.5);
  return s;
}

TEST_CASE("layout: names, roles, views and reference shapes") {
  const Small s = declare();
  const ModelState state = s.layout.init(1, DType::f32);
  REQUIRE(state.params.size() == 6);
  CHECK(s.layout.total_elements() == 6 + 3 + 6 + 2 + 2 + 2);
  CHECK(state.params.total_elements() == s.layout.total_elements());
  const Param& conv = state.params.at("conv.weight");
  CHECK(conv.value.shape() == Shape{3, 2});
  CHECK(conv.reference_shape == Shape{3, 2, 1});
  CHECK(conv.role == Role::first);
  REQUIRE(conv.view.size() == 1);
  CHECK(conv.view[0].rows == 3);
  CHECK(conv.view[0].cols == 2);
  CHECK(state.params.at("fc.weight").reference_shape == Shape{2, 3});
  CHECK(state.params.at("fc.weight").role == Role::head);
  CHECK(state.params.at("fc.bias").role == Role::bias);
  CHECK(state.params.at("fc.bias").value.to_vector<double>() == std::vector<double>{0, 0});
  CHECK(state.params.at("bn.weight").role == Role::gain);
  CHECK(state.params.at("bn.weight").view.empty());
  CHECK(state.params.at("bn.weight").value.to_vector<double>() == std::vector<double>{1, 1});
  REQUIRE(state.buffers.size() == 3);
  CHECK(state.buffers[0].name == "bn.running_mean");
  CHECK(state.buffers[1].name == "bn.running_var");
  CHECK(state.buffers[1].value.at(1) == 1);
  CHECK(state.buffers[2].name == "bn.num_batches_tracked");
  CHECK(state.buffers[2].value.dtype() == DType::i64);
  CHECK(state.buffers[2].value.shape() == Shape{});
}

TEST_CASE("pass: linear layers by hand") {
  const Small s = declare();
  const ModelState state = s.layout.init(2, DType::f64);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  const Pass pass(s.layout, params, buffers, false);
  const Tensor x = Tensor::from(std::vector<double>{1, -2, 0.5, 4}, {1, 2, 2});
  const Tensor y = pass.apply(s.conv, x);
  REQUIRE(y.shape() == Shape{1, 2, 3});
  const Tensor &w = params[0], &b = params[1];
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t c = 0; c < 3; ++c) {
      const double expected =
          x.at(2 * n) * w.at(2 * c) + x.at(2 * n + 1) * w.at(2 * c + 1) + b.at(c);
      CHECK(y.at(3 * n + c) == doctest::Approx(expected).epsilon(1e-14));
    }
  }
}

TEST_CASE("pass: batch norm with batch statistics, hand-computed, unbiased variance kept") {
  const Small s = declare();
  const ModelState state = s.layout.init(2, DType::f64);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  Pass pass(s.layout, params, buffers, true);
  // Columns 1, 2, 3, 6 (mean 3, biased variance 3.5) and 0, 0, 4, 4 (mean 2, variance 4).
  const Tensor x = Tensor::from(std::vector<double>{1, 0, 2, 0, 3, 4, 6, 4}, {2, 2, 2});
  const Tensor y = pass.apply(s.norm, x, Act::none);
  REQUIRE(y.shape() == x.shape());
  for (int64_t i = 0; i < 4; ++i) {
    CHECK(y.at(2 * i) == doctest::Approx((x.at(2 * i) - 3) / 2).epsilon(1e-14));  // 3.5 + eps = 4
    CHECK(y.at(2 * i + 1) ==
          doctest::Approx((x.at(2 * i + 1) - 2) / std::sqrt(4.5)).epsilon(1e-14));
  }
  const Tensors stats = pass.take_stats();
  REQUIRE(stats.size() == 2);
  CHECK(stats[0].to_vector<double>() == std::vector<double>{3, 2});
  CHECK(stats[1].at(0) == doctest::Approx(3.5 * 4 / 3).epsilon(1e-14));
  CHECK(stats[1].at(1) == doctest::Approx(4.0 * 4 / 3).epsilon(1e-14));
}

TEST_CASE("pass: running statistics are used and left alone") {
  const Small s = declare();
  ModelState state = s.layout.init(2, DType::f64);
  update_running_stats(state.buffers,
                       {Tensor::from(std::vector<double>{1, 2}, {2}),
                        Tensor::from(std::vector<double>{3.5, 8.5}, {2})},
                       1.0);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  Pass pass(s.layout, params, buffers, false);
  const Tensor y = pass.apply(s.norm, Tensor::from(std::vector<double>{5, -7}, {1, 2}), Act::relu);
  CHECK(y.at(0) == doctest::Approx(2).epsilon(1e-14));  // (5 - 1) / sqrt(3.5 + 0.5)
  CHECK(y.at(1) == 0);
  CHECK(pass.take_stats().empty());
}

TEST_CASE("running statistics: (1 - m) old + m batch, one more batch counted") {
  const Small s = declare();
  ModelState state = s.layout.init(2, DType::f64);
  const Tensors batch{Tensor::from(std::vector<double>{10, -20}, {2}),
                      Tensor::from(std::vector<double>{4, 0.5}, {2})};
  update_running_stats(state.buffers, batch);
  update_running_stats(state.buffers, batch, 0.25);
  // mean: 0 -> 1 -> 0.75 + 2.5; variance: 1 -> 1.3 -> 0.975 + 1
  CHECK(state.buffers[0].value.at(0) == doctest::Approx(3.25).epsilon(1e-14));
  CHECK(state.buffers[0].value.at(1) == doctest::Approx(-6.5).epsilon(1e-14));
  CHECK(state.buffers[1].value.at(0) == doctest::Approx(1.975).epsilon(1e-14));
  CHECK(state.buffers[2].value.item() == 2);
  CHECK_THROWS_AS(update_running_stats(state.buffers, {batch[0]}), Error);
  CHECK_THROWS_AS(update_running_stats(state.buffers, batch, 1.5), Error);
  CHECK_THROWS_AS(update_running_stats(state.buffers, {batch[0], Tensor::zeros({3}, DType::f64)}),
                  Error);
}

TEST_CASE("pass: refuses a single row of batch statistics and foreign lists") {
  const Small s = declare();
  const ModelState state = s.layout.init(2, DType::f64);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  Pass pass(s.layout, params, buffers, true);
  const Tensor one_row = Tensor::zeros({1, 2}, DType::f64);
  CHECK_THROWS_WITH(pass.apply(s.norm, one_row, Act::none),
                    doctest::Contains("at least 2 rows, got 1"));
  CHECK_THROWS_WITH(Pass(s.layout, buffers, buffers, true), doctest::Contains("6 parameters"));
  CHECK_THROWS_WITH(Pass(s.layout, params, params, true), doctest::Contains("3 buffers"));
}

TEST_CASE("layers: a weight without bias, under a convolution's shape in files") {
  Layout layout;
  const Linear plain = layout.weight_only("a", 3, 2, Role::matrix, torch_init(3));
  const Linear conv = layout.weight_only("b", 2, 4, Role::head, constant_init(0.5), 2);
  const ModelState state = layout.init(1, DType::f64);
  REQUIRE(state.params.size() == 2);
  CHECK(state.params[0].name == "a.weight");
  CHECK(state.params[0].reference_shape == Shape{2, 3});
  CHECK(state.params[1].reference_shape == Shape{4, 2, 1, 1});
  CHECK(state.params[1].value.shape() == Shape{4, 2});
  REQUIRE(state.params[1].view.size() == 1);
  CHECK(state.params[1].view[0].rows == 4);
  const Tensors params = state.params.values();
  const Pass pass(layout, params, {}, false);
  CHECK(!pass.bias(plain).defined());
  CHECK(&pass.weight(conv) == &params[1]);
  const Tensor y = pass.apply(conv, Tensor::from(std::vector<double>{1, 2}, {1, 2}));
  for (int64_t i = 0; i < 4; ++i) CHECK(y.at(i) == 1.5);
}

TEST_CASE("layers: an embedding looks rows of its table up and gathers their gradients") {
  Layout layout;
  const Embedding kinds = layout.embedding("kinds", 3, 2);
  const ModelState state = layout.init(1, DType::f64);
  const Param& table = state.params.at("kinds.weight");
  CHECK(table.role == Role::embedding);
  CHECK(table.value.shape() == Shape{3, 2});
  CHECK(table.reference_shape == Shape{3, 2});
  REQUIRE(table.view.size() == 1);
  CHECK(table.view[0].cols == 2);
  CHECK(table.value.to_vector<double>() ==
        draw(normal_init(), {3, 2}, DType::f64, 1, "kinds.weight").to_vector<double>());
  const Tensors params = state.params.values();
  const Pass pass(layout, params, {}, false);
  const Tensor index = Tensor::from(std::vector<int64_t>{2, 0, 2, 1, 1, 2}, {2, 3});
  const Tensor y = pass.apply(kinds, index);
  REQUIRE(y.shape() == Shape{2, 3, 2});
  for (int64_t i = 0; i < 12; ++i) {
    CHECK(y.at(i) == table.value.at(2 * static_cast<int64_t>(index.at(i / 2)) + i % 2));
  }
  CHECK(pass.apply(kinds, index.to(DType::i32)).to_vector<double>() == y.to_vector<double>());
  const Fn total = [&](const Tensors& p) {
    return Tensors{sum(square(Pass(layout, p, {}, false).apply(kinds, index)))};
  };
  const Tensor g = grad(total)(params)[0];
  const double counts[] = {1, 2, 3};
  for (int64_t i = 0; i < 6; ++i) {
    CHECK(g.at(i) == doctest::Approx(2 * counts[i / 2] * table.value.at(i)).epsilon(1e-14));
  }
  for (const int64_t bad : {int64_t{-1}, int64_t{3}, int64_t{1} << 32}) {
    CHECK_THROWS_WITH(pass.apply(kinds, Tensor::from(std::vector<int64_t>{0, bad}, {2})),
                      doctest::Contains("is outside the 3 rows of the table"));
  }
  CHECK_THROWS_WITH(pass.apply(kinds, Tensor::zeros({2}, DType::f64)),
                    "embedding: the index must be i32 or i64");
  CHECK_THROWS_AS(layout.embedding("none", 0, 2), Error);
}

TEST_CASE("layers: layer norm over the last axis, hand-computed") {
  Layout layout;
  const LayerNorm norm = layout.layer_norm("ln", 4, 0.5);
  CHECK(layout.layer_norm("other", 4).eps == 1e-5);
  ModelState state = layout.init(1, DType::f64);
  REQUIRE(state.params.size() == 4);
  CHECK(state.buffers.size() == 0);
  CHECK(state.params.at("ln.weight").role == Role::gain);
  CHECK(state.params.at("ln.bias").role == Role::bias);
  CHECK(state.params.at("ln.weight").value.to_vector<double>() == std::vector<double>(4, 1));
  CHECK(state.params.at("ln.bias").value.to_vector<double>() == std::vector<double>(4, 0));
  Tensors params = state.params.values();
  params[0] = Tensor::from(std::vector<double>{1, 2, 3, 4}, {4});
  params[1] = Tensor::from(std::vector<double>{0, 0, 10, 0}, {4});
  const Pass pass(layout, params, {}, false);
  // 1, 2, 3, 6: mean 3, biased variance 3.5; with eps 4. The second row is constant.
  const Tensor x = Tensor::from(std::vector<double>{1, 2, 3, 6, 7, 7, 7, 7}, {1, 2, 4});
  const Tensor y = pass.apply(norm, x);
  REQUIRE(y.shape() == x.shape());
  const double expected[] = {-1, -1, 10, 6, 0, 0, 10, 0};
  for (int64_t i = 0; i < 8; ++i) CHECK(y.at(i) == doctest::Approx(expected[i]).epsilon(1e-14));
}

}  // namespace
}  // namespace basin
