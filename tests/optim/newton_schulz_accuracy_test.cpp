// Newton-Schulz in stages on the Gram matrix: where the stages end, singular values of the result
// in f32 and f64 against the scalar map of the exact ones (tall, wide, ill-conditioned), and equal
// bits for every number of threads.
#include <algorithm>
#include <cmath>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/gram_stages.h"
#include "basin/kernels/linalg.h"
#include "basin/optim/newton_schulz.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

namespace {

struct Planted {
  const char* name;
  double (*value)(double u);  // u in [0, 1]: rank of the singular value
};

constexpr Planted kSpectra[] = {
    {"condition 3", [](double u) { return 1 - 2 * u / 3; }},
    {"condition 1e2", [](double u) { return std::pow(10, -2 * u); }},
    {"condition 1e4", [](double u) { return std::pow(10, -4 * u); }},
    {"condition 1e8", [](double u) { return std::pow(10, -8 * u); }},
    {"a quarter 1, the rest 1e-6", [](double u) { return u < 0.25 ? 1 : 1e-6; }},
    {"one dominant", [](double u) { return u == 0 ? 1 : 1e-2 * (1 - u / 2); }},
};

Tensor planted(const Planted& spectrum, int64_t rows, int64_t cols) {
  SvdFactors f = Svd::cpu(random_tensor({rows, cols}, DType::f64, 7));
  const int64_t p = std::min(rows, cols);
  double* vt = f.vt.mutable_data<double>();
  for (int64_t i = 0; i < p; ++i) {
    const double s = spectrum.value(static_cast<double>(i) / static_cast<double>(p - 1));
    for (int64_t j = 0; j < cols; ++j) vt[i * cols + j] *= s;
  }
  return product(f.u, f.vt).to(DType::f32);
}

// Largest distance of the singular values of the result from the map of those of m, both sorted.
double gap_to_exact(const Tensor& m, const std::string& set) {
  const OrthogonaliseConfig config{.set = set};
  const Tensor wide = m.to(DType::f64), before = SingularValues::cpu(wide);
  const double norm = safety_factor(config) * frobenius_norm(wide) + config.eps;
  std::vector<double> expected;
  for (int64_t i = 0; i < before.numel(); ++i) {
    expected.push_back(std::abs(scalar_map(coefficient_set(set), before.at(i) / norm)));
  }
  std::sort(expected.rbegin(), expected.rend());
  const Tensor after = SingularValues::cpu(orthogonalise(m, config).to(DType::f64));
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, std::abs(after.at(static_cast<int64_t>(i)) - expected[i]));
  }
  return worst;
}

}  // namespace

TEST_CASE("newton-schulz: stages on the Gram matrix end where the error of single steps is kept") {
  for (const std::string& set : coefficient_set_names()) {
    CAPTURE(set);
    const auto steps = coefficient_set(set);
    size_t before = steps.size();
    for (const double largest : {1.0, 0.1, 1e-3, 1e-6, 1e-12}) {
      const std::vector<size_t> ends = gram_stages(steps, largest);
      REQUIRE(!ends.empty());
      CHECK(std::is_sorted(ends.begin(), ends.end()));
      CHECK(std::adjacent_find(ends.begin(), ends.end()) == ends.end());
      CHECK(ends.back() == steps.size());
      CHECK(ends.size() <= before + 1);  // fewer the smaller the largest singular value
      before = ends.size();
    }
    CHECK(before <= 2);
  }
  const auto jordan = coefficient_set("jordan");
  CHECK(gram_stages(jordan, 0.25) == std::vector<size_t>{3, 5});
  CHECK(gram_stages(jordan, 1e-4) == std::vector<size_t>{5});
  // Nothing is known of a map that is not finite.
  CHECK(gram_stages(jordan, std::nan("")) == std::vector<size_t>{1, 2, 3, 4, 5});
  CHECK(gram_stages(jordan, 1e300) == std::vector<size_t>{1, 2, 3, 4, 5});
}

TEST_CASE("newton-schulz: singular values in f32 and f64 against the exact map") {
  struct Size {
    int64_t rows, cols;
  };
  for (const auto& [rows, cols] : {Size{128, 384}, {384, 128}, {200, 800}, {512, 256}, {96, 96}}) {
    for (const Planted& spectrum : kSpectra) {
      const Tensor m = planted(spectrum, rows, cols);
      double error[6];
      size_t at = 0;
      for (const char* set : {"jordan", "polar_express", "minimax4"}) {
        error[at++] = gap_to_exact(m, set);
        error[at++] = gap_to_exact(m.to(DType::f64), set);
      }
      MESSAGE(rows, " x ", cols, " | ", std::string(spectrum.name), " | ", error[0], " | ",
              error[1], " | ", error[2], " | ", error[3], " | ", error[4], " | ", error[5]);
      CHECK(error[0] < 2e-5);  // single steps: 1.2e-5 at most
      CHECK(error[2] < 3e-5);  // single steps: 2.3e-5 at most
      CHECK(error[1] < 1e-12);
      CHECK(error[3] < 1e-12);
      CHECK(error[4] < 3e-5);
      CHECK(error[5] < 1e-12);
    }
  }
}

TEST_CASE("newton-schulz: subnormal entries, the same bits for any threads") {
  const int threads = num_threads();
  for (const NormMode norm : {NormMode::add, NormMode::relative}) {
    const OrthogonaliseConfig config{.norm = norm};
    Tensor mixed = random_tensor({3, 8, 8}, DType::f32, 90);
    float* entries = mixed.mutable_data<float>();
    for (int64_t i = 0; i < 64; ++i) entries[64 + i] *= 1e-40F;  // the second matrix
    for (int64_t i = 0; i < 8; ++i) entries[i] *= 1e-40F;        // a row of the first
    set_num_threads(1);
    const Tensor alone = orthogonalise(mixed, config);
    for (const int count : {2, 4}) {
      set_num_threads(count);
      CHECK(same_bits(orthogonalise(mixed, config), alone));
    }
#if defined(__SSE__)
    for (int64_t i = 0; i < 64; ++i) CHECK(alone.at(64 + i) == 0);
#endif
  }
  set_num_threads(threads);
}

TEST_CASE("newton-schulz: many matrices of different sizes, the same bits for any threads") {
  const int threads = num_threads();
  std::vector<Tensor> in, alone;
  for (const Shape& shape :
       {Shape{150, 400}, {256, 64}, {64, 64}, {150, 400}, {7, 300}, {300, 130}}) {
    in.push_back(random_tensor(shape, DType::f32, 80 + in.size()));
    alone.push_back(orthogonalise(in.back()));
  }
  for (const int count : {1, 2, 3, 5}) {
    set_num_threads(count);
    std::vector<Tensor> out;
    std::vector<MatrixTask> tasks;
    for (const Tensor& m : in) {
      out.push_back(Tensor::empty(m.shape(), DType::f32));
      tasks.push_back({m.raw(), out.back().mutable_raw(), m.size(0), m.size(1)});
    }
    orthogonalise(tasks, DType::f32, {});
    for (size_t i = 0; i < in.size(); ++i) CHECK(same_bits(out[i], alone[i]));
  }
  set_num_threads(threads);
}
