// Muon: the update rule, conv views, scales, momentum forms, auxiliary AdamW, observers,
// determinism.
#include "basin/optim/detail/muon.h"

#include "basin/core/parallel.h"
#include "basin/kernels/linalg.h"
#include "basin/optim/diagnostics.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

namespace {

ParamList one_matrix(const Shape& shape, Shape reference = {}) {
  ParamList p;
  p.add_matrix("w", random_tensor(shape, DType::f64, 1), Role::matrix, reference);
  return p;
}

// Change of the only parameter in one step with gradient g and lr 1.
Tensor change_of(MuonConfig config, ParamList params, const Tensor& g) {
  const Tensor before = params[0].value.clone();
  config.lr = 1;
  Muon optimizer(config, params);
  optimizer.step(params, {g}, {});
  std::vector<double> d(static_cast<size_t>(before.numel()));
  for (int64_t i = 0; i < before.numel(); ++i) d[i] = params[0].value.at(i) - before.at(i);
  return Tensor::from(d, before.shape());
}

}  // namespace

TEST_CASE("muon: three steps follow the written rule") {
  for (bool nesterov : {false, true}) {
    for (MomentumForm form : {MomentumForm::ema, MomentumForm::sum}) {
      MuonConfig config;
      config.lr = 0.05;
      config.weight_decay = 0.2;
      config.nesterov = nesterov;
      config.form = form;
      ParamList p = one_matrix({9, 4});
      Muon optimizer(config, p);
      std::vector<double> w = p[0].value.to_vector<double>(), b(36, 0.0);
      const double intake = form == MomentumForm::ema ? 0.05 : 1.0;
      for (uint64_t step = 0; step < 3; ++step) {
        const Tensor g = random_tensor({9, 4}, DType::f64, 10 + step), kept = g.clone();
        optimizer.step(p, {g}, {.lr_scale = 0.5});
        CHECK(same_bits(g, kept));
        std::vector<double> m(36);
        for (int i = 0; i < 36; ++i) {
          b[i] = 0.95 * b[i] + intake * g.at(i);
          m[i] = nesterov ? intake * g.at(i) + 0.95 * b[i] : b[i];
        }
        const Tensor o = orthogonalise(Tensor::from(m, {9, 4}));
        for (int i = 0; i < 36; ++i)
          w[i] = (1 - 0.025 * 0.2) * w[i] - 0.025 * std::sqrt(9.0 / 4) * o.at(i);
        CHECK(max_difference(p[0].value, Tensor::from(w, {9, 4})) < 1e-13);
      }
    }
  }
}

TEST_CASE("muon: ema and sum momentum give the same trajectory") {
  for (bool nesterov : {false, true}) {
    ParamList a = one_matrix({8, 12}), b = a.clone();
    MuonConfig ema, sum;
    ema.nesterov = sum.nesterov = nesterov;
    ema.orthogonalise.eps = sum.orthogonalise.eps = 0;
    sum.form = MomentumForm::sum;
    Muon left(ema, a), right(sum, b);
    for (uint64_t step = 0; step < 10; ++step) {
      const Tensors g = random_gradients(a, step);
      left.step(a, g, {});
      right.step(b, g, {});
    }
    CHECK(max_difference(a[0].value, b[0].value) < 1e-12);
  }
}

TEST_CASE("muon: scale modes") {
  CHECK(muon_scale(MuonScale::original, 9, 4) == doctest::Approx(1.5));
  CHECK(muon_scale(MuonScale::original, 4, 9) == 1);
  CHECK(muon_scale(MuonScale::match_rms_adamw, 4, 100) == doctest::Approx(2));
  CHECK(muon_scale(MuonScale::spectral, 4, 16) == doctest::Approx(0.5));
  CHECK(muon_scale(MuonScale::sqrt_max, 4, 16) == doctest::Approx(4));
  CHECK(muon_scale(MuonScale::none, 4, 16) == 1);
  const Tensor g = random_tensor({6, 24}, DType::f64, 2);
  MuonConfig config;
  config.orthogonalise.exact = true;
  config.scale = MuonScale::match_rms_adamw;
  const double rms = frobenius_norm(change_of(config, one_matrix({6, 24}), g)) / std::sqrt(144.0);
  CHECK(rms == doctest::Approx(0.2).epsilon(1e-12));
  config.scale_factor = 3;
  const Tensor three = change_of(config, one_matrix({6, 24}), g);
  CHECK(frobenius_norm(three) / std::sqrt(144.0) == doctest::Approx(0.6).epsilon(1e-12));
}

TEST_CASE("muon: the reference view treats a conv1d weight as rows") {
  const Shape reference{5, 16, 1};
  const Tensor g = random_tensor({5, 16}, DType::f64, 3);
  MuonConfig config;
  config.nesterov = false;
  config.momentum = 0;
  config.orthogonalise.eps = 0;
  const ParamList p = one_matrix({5, 16}, reference);
  CHECK(max_difference(times(change_of(config, p, g), -1), orthogonalise(g, {.eps = 0})) < 1e-13);
  config.routing.view = MatrixView::reference;
  const Tensor rows = change_of(config, p, g);
  for (int64_t i = 0; i < 5; ++i) {
    double norm = 0;
    for (int64_t j = 0; j < 16; ++j) norm += g.at(i * 16 + j) * g.at(i * 16 + j);
    for (int64_t j = 0; j < 16; ++j) {  // gain of a row, times sqrt(in / 1)
      const double expected = -0.6964364 * 4 * g.at(i * 16 + j) / std::sqrt(norm);
      CHECK(rows.at(i * 16 + j) == doctest::Approx(expected).epsilon(1e-7));
    }
  }
}

TEST_CASE("muon: the reference view flattens 4-D and scales by the kernel's own axes") {
  const Tensor g = random_tensor({32, 8}, DType::f64, 4);
  MuonConfig config;
  const auto ratio = [&](const Shape& reference) {
    const ParamList p = one_matrix({32, 8}, reference);
    return -change_of(config, p, g).at(0) / orthogonalise(g).at(0);
  };
  // Nesterov from a zero buffer only rescales M, which the eps of 1e-7 barely sees.
  CHECK(ratio({32, 8, 1, 1}) == doctest::Approx(2).epsilon(1e-5));
  config.legacy_conv_scale = true;
  CHECK(ratio({32, 8, 1, 1}) == doctest::Approx(1).epsilon(1e-5));
  config.legacy_conv_scale.reset();
  config.routing.view = MatrixView::reference;
  CHECK(ratio({32, 8, 1, 1}) == doctest::Approx(1).epsilon(1e-5));
  CHECK(ratio({32, 2, 4, 1}) == doctest::Approx(2).epsilon(1e-5));
  CHECK(ratio({32, 8}) == doctest::Approx(2).epsilon(1e-5));
  config.legacy_conv_scale = false;
  CHECK(ratio({32, 8, 1, 1}) == doctest::Approx(2).epsilon(1e-5));
}

TEST_CASE("muon: every block of a fused parameter is orthogonalised on its own") {
  ParamList p;
  const Tensor value = random_tensor({6, 5}, DType::f64, 1);
  p.add({"qkv", value, Role::matrix, {{0, 2, 5}, {10, 4, 5}}, value.shape()});
  MuonConfig config;
  config.scale = MuonScale::none;
  config.orthogonalise.exact = true;
  const Tensor g = random_tensor({6, 5}, DType::f64, 2);
  const Tensor change = change_of(config, p, g);
  const std::vector<double> all = g.to_vector<double>(), got = change.to_vector<double>();
  const auto part = [](const std::vector<double>& v, int64_t from, int64_t rows) {
    return Tensor::from(std::vector<double>(v.begin() + from, v.begin() + from + rows * 5),
                        {rows, 5});
  };
  for (const auto& [from, rows] : {std::pair{0, 2}, {10, 4}}) {
    const Tensor o = orthogonalise(part(all, from, rows), config.orthogonalise);
    CHECK(max_difference(times(part(got, from, rows), -1), o) < 1e-13);
  }
}

TEST_CASE("muon: missing gradients count as zero, zero gradients change nothing but decay") {
  MuonConfig config;
  config.weight_decay = 0.1;
  ParamList a = small_model(DType::f32), b = a.clone();
  Muon left(config, a), right(config, b);
  for (uint64_t step = 0; step < 3; ++step) {
    Tensors with = random_gradients(a, step), without = with;
    for (size_t i : {size_t{2}, size_t{7}}) {
      with[i].fill(0);
      without[i] = Tensor();
    }
    left.step(a, with, {});
    right.step(b, without, {});
  }
  for (size_t i = 0; i < a.size(); ++i) CHECK(same_bits(a[i].value, b[i].value));
  ParamList p = one_matrix({5, 6});
  const Tensor start = p[0].value.clone();
  Muon idle(config, p);
  idle.step(p, {Tensor()}, {});
  CHECK(max_difference(p[0].value, times(start, 1 - 0.02 * 0.1)) < 1e-15);
}

TEST_CASE("muon: everything else follows the auxiliary AdamW") {
  MuonConfig config;
  config.auxiliary.weight_decay = 0.05;
  ParamList a = small_model(DType::f64), b = a.clone();
  Muon muon(config, a);
  Adam adam(config.auxiliary, b);
  for (uint64_t step = 0; step < 4; ++step) {
    const Tensors g = random_gradients(a, step);
    const StepInfo info{.step = static_cast<int64_t>(step), .lr_scale = 1.0 / (1.0 + step)};
    muon.step(a, g, info);
    adam.step(b, g, info);
  }
  const std::vector<RoutingRow> rows = muon.routing();
  int matrices = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const bool matrix = rows[i].optimizer == "muon";
    matrices += matrix;
    CHECK(same_bits(a[i].value, b[i].value) == !matrix);
    CHECK(rows[i].lr == (matrix ? 0.02 : 3e-4));
  }
  CHECK(matrices == 2);
}

TEST_CASE("muon: the observer sees gradient, momentum, update and change") {
  MuonConfig config;
  config.weight_decay = 0.3;
  ParamList p = small_model(DType::f64), plain = p.clone();
  Muon optimizer(config, p), silent(config, plain);
  const Tensors grads = random_gradients(p, 9);
  int before = 0, applied = 0;
  optimizer.set_observer([&](const UpdateRecord& r) {
    CHECK(r.loss == 1.5);
    CHECK(r.gradient.raw() == grads[r.index].raw());
    if (r.stage == UpdateStage::before) {
      ++before;
      CHECK(same_bits(r.param->value, plain[r.index].value));
      CHECK_FALSE(r.change.defined());
      return;
    }
    ++applied;
    if (r.rule != "muon") return;
    CHECK(max_difference(r.orthogonalised, orthogonalise(r.momentum)) == 0);
    const double scale =
        muon_scale(MuonScale::original, r.param->value.size(0), r.param->value.size(1));
    for (int64_t i = 0; i < r.change.numel(); ++i) {
      const double expected =
          -0.02 * 0.3 * plain[r.index].value.at(i) - 0.02 * scale * r.orthogonalised.at(i);
      CHECK(std::abs(r.change.at(i) - expected) < 1e-14);
    }
  });
  optimizer.step(p, grads, {.loss = 1.5});
  silent.step(plain, grads, {.loss = 1.5});
  CHECK(before == 2);
  CHECK(applied == 8);
  for (size_t i = 0; i < p.size(); ++i) CHECK(same_bits(p[i].value, plain[i].value));
}

TEST_CASE("diagnostics: effective update per parameter and group") {
  MuonConfig config;
  config.orthogonalise.exact = true;
  config.scale = MuonScale::match_rms_adamw;
  ParamList p = small_model(DType::f64);
  Muon optimizer(config, p);
  UpdateMeter meter;
  optimizer.set_observer(meter.observer());
  optimizer.step(p, random_gradients(p, 1), {.step = 0});
  optimizer.step(p, random_gradients(p, 2), {.step = 1});
  REQUIRE(meter.parameters().size() == 8);
  const UpdateSize& conv = meter.parameters()[0];
  CHECK(conv.name == "conv.weight");
  CHECK(conv.rms == doctest::Approx(0.02 * 0.2).epsilon(1e-10));
  CHECK(conv.spectral == doctest::Approx(0.02 * 0.2 * std::sqrt(24.0)).epsilon(1e-10));
  const std::vector<UpdateSize> groups = meter.groups();
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].name == "adamw/default");
  CHECK(groups[1].name == "muon/default");
  CHECK(groups[1].rms == doctest::Approx(0.02 * 0.2).epsilon(1e-10));
  CHECK(groups[1].elements == 24 * 16 + 12 * 24);
}

TEST_CASE("muon: same bits for one and two threads") {
  const int threads = num_threads();
  ParamList results[2];
  for (int n : {1, 2}) {
    set_num_threads(n);
    ParamList p = small_model(DType::f32);
    p.add_matrix("large", random_tensor({400, 260}, DType::f32, 5), Role::matrix);
    Muon optimizer({}, p);
    for (uint64_t step = 0; step < 3; ++step) optimizer.step(p, random_gradients(p, step), {});
    results[n - 1] = p;
  }
  set_num_threads(threads);
  for (size_t i = 0; i < results[0].size(); ++i) {
    CHECK(same_bits(results[0][i].value, results[1][i].value));
  }
}

TEST_CASE("muon: exact steps on matrix factorisation do not feel the condition number") {
  // W <- W - lr msign(W - T) with decaying lr reaches T in as many steps for cond 1 and 1e4.
  for (double cond : {1.0, 1e4}) {
    ParamList p;
    p.add_matrix("w", Tensor::zeros({6, 6}, DType::f64), Role::matrix);
    std::vector<double> target(36, 0.0);
    for (int i = 0; i < 6; ++i) target[i * 7] = std::pow(cond, -i / 5.0);
    MuonConfig config;
    config.lr = 0.1;
    config.momentum = 0;
    config.nesterov = false;
    config.orthogonalise.exact = true;
    Muon optimizer(config, p);
    const auto gradient = [&] {
      std::vector<double> g = p[0].value.to_vector<double>();
      for (int i = 0; i < 36; ++i) g[i] -= target[i];
      return Tensor::from(g, {6, 6});
    };
    for (int step = 0; step < 60; ++step) {
      optimizer.step(p, {gradient()}, {.step = step, .lr_scale = std::pow(0.85, step) * 2});
    }
    CHECK(max_abs(gradient()) < 1e-3);
  }
}
