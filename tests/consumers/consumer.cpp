// A user's program, built only against what Basin installs or exports: the Hessian of sum x^3 is
// 6 diag(x), so at x = 1.5 a Hessian-vector product with ones is 9.
#include <basin/basin.h>

#include <cstdio>
#include <string>

int main() {
  using namespace basin;
  const Fn cubes = [](const Tensors& in) { return Tensors{sum(in[0] * in[0] * in[0])}; };
  const LinearMap hessian = linearize(grad(cubes), {Tensor::full({2, 3}, DType::f64, 1.5)});
  const Tensor product = hessian({Tensor::full({2, 3}, DType::f64, 1.0)})[0];
  const std::string version(version_info().version);
  std::printf("basin %s: H v = %g\n", version.c_str(), product.at(5));
#ifdef PACKAGE_VERSION  // of the package that was found: the headers and libraries are its own
  if (version != PACKAGE_VERSION) return 1;
#endif
  return product.numel() == 6 && product.at(5) == 9.0 ? 0 : 1;
}
