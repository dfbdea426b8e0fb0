// A researcher's own op, from kernel to Hessian-vector product: the Gaussian radial basis
//   r(d)_j = exp(-gamma (d - c_j)^2),   d [E] -> [E, J]
// with kernels for value and VJP, and the same function in plain ops as the reference that serves
// every higher derivative. Then the checks that Basin's own ops pass: duality, differences, order
// of nesting, fused = reference, equal bits for any number of threads and of tangents at once.
#include <basin/basin.h>

#include <cmath>
#include <cstdio>
#include <vector>

using namespace basin;

namespace {

constexpr int64_t kCentres = 5;
constexpr double kGamma = 2.0;

double centre(int64_t j) { return 0.5 * static_cast<double>(j); }

// Kernels: plain loops over the elements. dispatch_float picks float or double.
Tensor rbf_forward(const Tensor& d) {
  Tensor out = Tensor::empty({d.numel(), kCentres}, d.dtype());
  dispatch_float(d.dtype(), "rbf", [&](auto t) {
    using T = decltype(t);
    const T* x = d.data<T>();
    T* y = out.mutable_data<T>();
    parallel_for(d.numel(), 1024, [&](int64_t begin, int64_t end) {
      for (int64_t e = begin; e < end; ++e) {
        for (int64_t j = 0; j < kCentres; ++j) {
          const double u = x[e] - centre(j);
          y[e * kCentres + j] = static_cast<T>(std::exp(-kGamma * u * u));
        }
      }
    });
  });
  return out;
}

Tensor rbf_vjp(const Tensor& d, const Tensor& r, const Tensor& ct) {
  Tensor out = Tensor::empty(d.shape(), d.dtype());
  dispatch_float(d.dtype(), "rbf", [&](auto t) {
    using T = decltype(t);
    T* g = out.mutable_data<T>();
    for (int64_t e = 0; e < d.numel(); ++e) {
      double sum = 0;
      for (int64_t j = 0; j < kCentres; ++j) {
        const int64_t at = e * kCentres + j;
        sum -= 2 * kGamma * (d.data<T>()[e] - centre(j)) * r.data<T>()[at] * ct.data<T>()[at];
      }
      g[e] = static_cast<T>(sum);
    }
  });
  return out;
}

// The definition, in public ops.
Tensor rbf_reference(const Tensor& d) {
  std::vector<double> centres;
  for (int64_t j = 0; j < kCentres; ++j) centres.push_back(centre(j));
  const Tensor c = Tensor::from(centres, {1, kCentres}).to(d.dtype());
  return exp(scale(square(reshape(d, {d.numel(), 1}) - c), -kGamma));
}

struct RbfRule final : FusedRule {
  std::string_view name() const override { return "rbf"; }
  Tensors forward(const Tensors& in) const override { return {rbf_forward(in[0])}; }
  Tensors vjp(const Tensors& in, const Tensors& out, const Tensor& ct) const override {
    return {rbf_vjp(in[0], out[0], ct)};
  }
  Tensor reference(const Tensors& in, const Tensors&) const override {
    return rbf_reference(in[0]);
  }
};

Tensor rbf(const Tensor& d) {
  check(d.rank() == 1, "rbf: expects distances [E], given ", d.shape());
  return fused_op(std::make_shared<RbfRule>(), {d}).front();
}

}  // namespace

int main() {
  const Tensor d = Tensor::from(std::vector<double>{0.1, 0.7, 1.3, 2.2}, {4});
  const Fn f = [](const Tensors& in) { return Tensors{rbf(in[0])}; };
  const Fn reference = [](const Tensors& in) { return Tensors{rbf_reference(in[0])}; };

  // In Basin's own table (tests/autograd/op_*_test.cpp) an op gets all of these by its row, and the
  // build fails while it has none:
  //   OP_ROW(rbf) {
  //     return {{"distances", {uniform(rng, {7}, 0, 3)}, [](const Tensors& in) {
  //                return Tensors{rbf(in[0])};
  //              }, [](const Tensors& in) { return Tensors{rbf_reference(in[0])}; }}};
  //   }
  CheckReport report = check_derivatives(f, {d}, {.order = 3});
  report.append(check_equal(f, reference, {d}));
  report.append(check_repeatable(f, {d}));
  report.append(check_lanes(f, {d}));
  const auto to = [](DType dtype) { return [=](const Tensor& t) { return t.to(dtype); }; };
  report.append(check_parity(f, {d}, to(DType::f32), to(DType::f64), "f32", 1e-5));
  std::printf("%zu checks, %s\n", report.findings.size(),
              report.passed() ? "all passed" : report.failures().c_str());

  // A loss of one's own and its Hessian-vector product, like that of any other op.
  const Fn loss = [](const Tensors& in) { return Tensors{sum(square(rbf(in[0])))}; };
  const LinearMap H = linearize(grad(loss), {d});
  const Tensor v = Tensor::from(std::vector<double>{1, 0, 0, 0}, {4});
  const Tensor product = H({v})[0];
  // By hand: d^2/dx^2 sum_j exp(-2 gamma u_j^2) = sum_j 4 gamma (4 gamma u_j^2 - 1) r_j^2.
  double expected = 0;
  for (int64_t j = 0; j < kCentres; ++j) {
    const double square = std::pow(d.at(0) - centre(j), 2);
    expected += 4 * kGamma * (4 * kGamma * square - 1) * std::exp(-2 * kGamma * square);
  }
  std::printf("H e_1 = %.6f %.6f %.6f %.6f, by hand %.6f\n", product.at(0), product.at(1),
              product.at(2), product.at(3), expected);
  return report.passed() && std::abs(product.at(0) - expected) < 1e-12 ? 0 : 1;
}
