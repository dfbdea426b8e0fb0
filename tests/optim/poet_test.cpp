// POET: the Cayley map and its derivative, singular values over many steps and merges, the first
// step as what finite differences of the loss say, resuming, what is refused.
#include "basin/optim/detail/poet.h"

#include "basin/core/parallel.h"
#include "basin/kernels/linalg.h"
#include "basin/optim/registry.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

namespace {

std::vector<double> random_entries(int64_t n, uint64_t seed) {
  return random_tensor({n * (n - 1) / 2}, DType::f64, seed).to_vector<double>();
}

Tensor identity(int64_t n) {
  Tensor out = Tensor::zeros({n, n}, DType::f64);
  for (int64_t i = 0; i < n; ++i) out.mutable_data<double>()[i * n + i] = 1;
  return out;
}

double inner(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) sum += a.at(i) * b.at(i);
  return sum;
}

// L = 1/2 sum |W_hidden W_conv - T|^2 + 1/2 |b - 1|^2 of small_model, with its gradients.
struct Problem {
  Tensor target =
      product(random_tensor({12, 24}, DType::f64, 91), random_tensor({24, 16}, DType::f64, 92));

  LossAndGrads at(const ParamList& p) const {
    const Tensor &a = p.at("hidden.weight").value, &b = p.at("conv.weight").value,
                 &bias = p.at("first.bias").value;
    Tensor gap = product(a, b);
    for (int64_t i = 0; i < gap.numel(); ++i) gap.mutable_data<double>()[i] -= target.at(i);
    LossAndGrads out;
    out.grads.resize(p.size());
    const auto place = [&](const char* name) -> Tensor& {
      return out.grads[static_cast<size_t>(p.find(name))];
    };
    place("hidden.weight") = product(gap, transposed(b)).to(a.dtype());
    place("conv.weight") = product(transposed(a), gap).to(a.dtype());
    Tensor slope = bias.to(DType::f64).clone();
    for (int64_t i = 0; i < slope.numel(); ++i) {
      double& off = slope.mutable_data<double>()[i];
      off -= 1;
      out.loss += off * off / 2;
    }
    place("first.bias") = slope.to(a.dtype());
    out.loss += inner(gap, gap) / 2;
    return out;
  }
};

OptimizerConfig poet(OptionValues options, double lr = 0.01) {
  return {.name = "poet", .lr = lr, .options = std::move(options)};
}

double walk(Optimizer& optimizer, ParamList& p, int64_t from, int64_t to) {
  const Problem problem;
  for (int64_t t = from; t < to; ++t) {
    const LossAndGrads here = problem.at(p);
    optimizer.step(p, here.grads, {.step = t, .loss = here.loss});
  }
  return problem.at(p).loss;
}

}  // namespace

TEST_CASE("poet: the Cayley map is orthogonal, its derivative that of central differences") {
  for (const int64_t n : {1, 2, 5, 9}) {
    CAPTURE(n);
    std::vector<double> k = random_entries(n, 3);
    const CayleyRotation here(k, n);
    CHECK(max_difference(product(here.matrix(), transposed(here.matrix())), identity(n)) < 1e-14);
    CHECK(max_difference(CayleyRotation(std::vector<double>(k.size()), n).matrix(), identity(n)) ==
          0);
    const Tensor c = random_tensor({n, n}, DType::f64, 4);
    const std::vector<double> slopes = here.pulled_back(c);  // of <C, G>
    REQUIRE(slopes.size() == k.size());
    for (size_t i = 0; i < k.size(); ++i) {
      const double h = 1e-6, at = k[i];
      k[i] = at + h;
      const double up = inner(c, CayleyRotation(k, n).matrix());
      k[i] = at - h;
      const double down = inner(c, CayleyRotation(k, n).matrix());
      k[i] = at;
      CHECK(slopes[i] == doctest::Approx((up - down) / (2 * h)).epsilon(1e-7));
    }
  }
  const CayleyRotation quarter(std::vector<double>{1}, 2);  // (I + K)(I - K)^-1 = K here
  CHECK(max_difference(quarter.matrix(), Tensor::from(std::vector<double>{0, 1, -1, 0}, {2, 2})) <
        1e-15);
}

TEST_CASE("poet: singular values stay to 1e-10 over 100 steps in f64, and the loss falls") {
  for (const char* block : {"0", "5", "8"}) {
    for (const char* merge : {"1", "7", "1000"}) {
      CAPTURE(block);
      CAPTURE(merge);
      ParamList p = small_model(DType::f64);
      const ParamList before = p.clone();
      const auto optimizer = make_optimizer(poet({{"block", block}, {"merge", merge}}), p);
      const double first = Problem().at(p).loss, last = walk(*optimizer, p, 0, 100);
      CHECK(last < 0.7 * first);
      for (const char* name : {"hidden.weight", "conv.weight"}) {
        const Tensor &w = p.at(name).value, &start = before.at(name).value;
        CHECK(largest_gap(spectrum_of(w), spectrum_of(start)) < 1e-10);
        CHECK(max_difference(w, start) > 0.1);
      }
      CHECK(max_difference(p.at("first.bias").value, before.at("first.bias").value) > 1e-2);
    }
  }
}

TEST_CASE("poet: weights of f32 keep their singular values to their rounding") {
  ParamList p = small_model(DType::f32);
  const ParamList before = p.clone();
  walk(*make_optimizer(poet({{"merge", "9"}}), p), p, 0, 100);
  for (const char* name : {"hidden.weight", "conv.weight"}) {
    CHECK(largest_gap(spectrum_of(p.at(name).value), spectrum_of(before.at(name).value)) < 1e-5);
  }
}

// The first step of Adam moves each entry of K by the rate against the sign of its slope. With one
// group per side the entries are those of rows and columns in some order; so the loss falls by rate
// x the sum of |slopes|, each of which is a finite difference of the loss by one plane rotation.
TEST_CASE("poet: the first step is that of the finite differences of the loss") {
  ParamList p = small_model(DType::f64);
  const Problem problem;
  const double loss = problem.at(p).loss, h = 1e-5;
  double slopes = 0;
  for (const char* name : {"hidden.weight", "conv.weight"}) {
    const Tensor start = p.at(name).value.clone();
    for (const bool rows : {true, false}) {
      const int64_t m = start.size(0), n = start.size(1), side = rows ? m : n;
      for (int64_t a = 0; a < side; ++a) {
        for (int64_t b = a + 1; b < side; ++b) {
          const auto turned = [&](double entry) {  // the plane (a, b) by the angle of K_ab = entry
            const double angle = 2 * std::atan(entry), c = std::cos(angle), s = std::sin(angle);
            Tensor w = start.clone();
            double* x = w.mutable_data<double>();
            for (int64_t j = 0; j < (rows ? n : m); ++j) {
              double& u = rows ? x[a * n + j] : x[j * n + a];
              double& v = rows ? x[b * n + j] : x[j * n + b];
              const double turned_u = c * u + s * v;
              v = c * v - s * u;
              u = turned_u;
            }
            ParamList q = p.clone();
            q[static_cast<size_t>(q.find(name))].value.copy_from(w);
            return problem.at(q).loss;
          };
          slopes += std::abs(turned(h) - turned(-h)) / (2 * h);
        }
      }
    }
  }
  double bias = 0;  // of the auxiliary AdamW's first step, by the same argument
  for (const double b : p.at("first.bias").value.to_vector<double>()) bias += std::abs(b - 1);
  const double rate = 1e-7;
  const auto optimizer = make_optimizer(poet({{"block", "0"}, {"aux_lr", str(rate)}}, rate), p);
  const double fall = loss - walk(*optimizer, p, 0, 1);
  CHECK(fall == doctest::Approx(rate * (slopes + bias)).epsilon(1e-4));
}

TEST_CASE("poet: the same bits after saving and loading, with any number of threads") {
  for (int64_t stop : {1, 4, 5, 6, 11}) {
    ParamList p = small_model(DType::f32);
    const OptimizerConfig config = poet({{"block", "7"}, {"merge", "5"}});
    const auto whole = make_optimizer(config, p);
    walk(*whole, p, 0, stop);
    ParamList q = p.clone();
    const auto resumed = make_optimizer(config, q);
    resumed->load(whole->save());
    walk(*whole, p, stop, 14);
    const int threads = num_threads();
    set_num_threads(threads == 1 ? 2 : 1);
    walk(*resumed, q, stop, 14);
    set_num_threads(threads);
    for (size_t i = 0; i < p.size(); ++i) CHECK(same_bits(p[i].value, q[i].value));
  }
}

TEST_CASE("poet: groups are drawn from the seed and anew after a merge") {
  const auto end = [](OptionValues options) {
    ParamList p = small_model(DType::f64);
    walk(*make_optimizer(poet(std::move(options)), p), p, 0, 6);
    return p.at("hidden.weight").value;
  };
  const Tensor one = end({{"block", "4"}, {"merge", "3"}});
  CHECK(largest_gap(end({{"block", "4"}, {"merge", "3"}}), one) == 0);
  CHECK(largest_gap(end({{"block", "4"}, {"merge", "3"}, {"group_seed", "1"}}), one) > 1e-3);
  CHECK(largest_gap(end({{"block", "4"}, {"merge", "100"}}), one) > 1e-3);
}

TEST_CASE("poet: what would change singular values is refused") {
  ParamList p = small_model(DType::f64);
  const auto refused = [&](const OptimizerConfig& config) {
    return error_of([&] { make_optimizer(config, p); }, ErrorKind::usage);
  };
  CHECK(refused({.name = "poet", .weight_decay = 0.1}) ==
        "poet: weight decay would change the singular values of matrices; take it away (aux_wd is "
        "that of the other parameters)");
  CHECK(refused({.name = "poet", .groups = parse_group_rules("hidden.* wd=0.1")})
            .starts_with("poet: weight decay would change the singular values of 'hidden.weight'"));
  CHECK(refused(poet({{"spectrum", "cap=1"}})) ==
        "poet: it keeps the singular values of matrices, spectrum sets them; take one away");
  CHECK(refused(poet({{"block", "1"}})).starts_with("poet: expects block of at least 2"));
  const auto optimizer = make_optimizer(poet({}), p);
  walk(*optimizer, p, 0, 2);
  p[static_cast<size_t>(p.find("hidden.weight"))].value.mutable_data<double>()[3] += 0.1;
  CHECK(error_of([&] { walk(*optimizer, p, 2, 3); }, ErrorKind::usage)
            .starts_with("poet: the weights of 'hidden.weight' are not those that its last step"));
}
