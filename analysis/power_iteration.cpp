// The iterate is kept orthogonal to what was found before; the pair that is returned is the last
// iterate with *its* product, so value, residual and vector belong together.
#include "basin/analysis/power_iteration.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/core/random.h"

namespace basin {
namespace {

Tensor product_of(const SymmetricOperator& a, const Tensor& v, int64_t iteration) {
  Tensor out = a.apply(v.view({1, v.numel()})).view({v.numel()});
  if (!std::isfinite(norm(out))) {
    fail(ErrorKind::numerical, "power_iteration: the product of iteration ", iteration,
         " is not finite; check the operator at this point");
  }
  return out;
}

// A direction orthogonal to `found`, of length 1.
Tensor random_direction(const OrthonormalBasis& found, uint64_t seed) {
  const uint64_t stream = stream_id("power iteration", static_cast<uint64_t>(found.size()));
  OrthonormalBasis unit(found.dimension());
  Tensor v = normal_vector(found.dimension(), seed, stream);
  const double length = found.project_out(v).after;
  unit.append(std::move(v), length);
  return unit[0];
}

// One eigenpair of A - shift I in the complement of `found`; the value is that of A.
PowerResult iterate(const SymmetricOperator& a, double shift, const OrthonormalBasis& found,
                    const PowerOptions& options) {
  PowerResult result;
  Tensor v = random_direction(found, options.seed);
  double previous = 0;
  while (true) {
    Tensor image = product_of(a, v, ++result.iterations);
    result.value = dot_product(v, image);
    result.vector = v;
    Tensor rest = image.clone();
    add_scaled(rest, -result.value, v);
    result.residual = norm(rest);
    const double shifted = result.value - shift;
    result.settled = result.iterations > 1 &&
                     std::abs(shifted - previous) <= options.tolerance * std::abs(previous);
    if ((result.settled && options.tolerance > 0) || result.iterations >= options.max_iterations) {
      break;
    }
    previous = shifted;
    add_scaled(image, -shift, v);
    const double length = found.project_out(image).after;
    if (length == 0) {  // v is in the null space: an eigenvector
      result.settled = true;
      break;
    }
    OrthonormalBasis next(v.numel());
    next.append(std::move(image), length);
    v = next[0];
  }
  result.converged = result.residual <= options.residual_tolerance * std::abs(result.value);
  return result;
}

void check_options(const PowerOptions& options) {
  check(options.count >= 1 && options.max_iterations >= 1,
        "power_iteration: expects count and max_iterations of at least 1, got ", options.count,
        " and ", options.max_iterations);
  check(options.tolerance >= 0 && options.residual_tolerance >= 0,
        "power_iteration: tolerances are expected to be at least 0, got ", options.tolerance,
        " and ", options.residual_tolerance);
}

}  // namespace

std::vector<PowerResult> power_iteration(const SymmetricOperator& a, const PowerOptions& options) {
  check_options(options);
  OrthonormalBasis found(a.size());
  std::vector<PowerResult> out;
  while (found.size() < std::min(options.count, a.size())) {
    out.push_back(iterate(a, 0, found, options));
    Tensor v = out.back().vector.clone();
    const double length = found.project_out(v).after;
    found.append(std::move(v), length);
  }
  return out;
}

PowerResult opposite_end(const SymmetricOperator& a, const PowerResult& dominant,
                         const PowerOptions& options) {
  check_options(options);
  return iterate(a, dominant.value, OrthonormalBasis(a.size()), options);
}

}  // namespace basin
