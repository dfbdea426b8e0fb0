// Host comparison of lists of tensors, element by element through to_vector.
#include "basin/autograd/detail/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace basin {
namespace {

std::vector<double> host(const Tensor& t) {
  return t.defined() ? t.to_vector<double>() : std::vector<double>();
}

}  // namespace

double inner(const Tensors& a, const Tensors& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const std::vector<double> p = host(a[i]), q = host(b[i]);
    for (size_t k = 0; k < std::min(p.size(), q.size()); ++k) sum += p[k] * q[k];
  }
  return sum;
}

double norm(const Tensors& a) { return std::sqrt(inner(a, a)); }

// x + c t, elementwise, as fresh tensors.
Tensors moved(const Tensors& x, double c, const Tensors& t) {
  Tensors out;
  for (size_t i = 0; i < x.size(); ++i) {
    std::vector<double> v = host(x[i]);
    const std::vector<double> d = host(t[i]);
    for (size_t k = 0; k < d.size(); ++k) v[k] += c * d[k];
    out.push_back(Tensor::from(v, x[i].shape()).to(x[i].dtype()));
  }
  return out;
}

void require_same_shapes(const Tensors& a, const Tensors& b) {
  if (a.size() != b.size()) {
    fail(ErrorKind::internal, "check: ", a.size(), " tensors against ", b.size());
  }
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].defined() || !b[i].defined()) continue;
    if (!(a[i].shape() == b[i].shape()) || a[i].dtype() != b[i].dtype()) {
      fail(ErrorKind::internal, "check: tensor ", i, " is ", name_of(a[i].dtype()), " ",
           a[i].shape(), " against ", name_of(b[i].dtype()), " ", b[i].shape());
    }
  }
}

Tensors difference(const Tensors& a, const Tensors& b, double c) {
  require_same_shapes(a, b);
  Tensors out;
  for (size_t i = 0; i < a.size(); ++i) {
    std::vector<double> p = host(a[i]);
    const std::vector<double> q = host(b[i]);
    p.resize(std::max(p.size(), q.size()));
    for (size_t k = 0; k < q.size(); ++k) p[k] -= q[k];
    for (double& v : p) v *= c;
    if (!a[i].defined() && !b[i].defined()) {
      out.emplace_back();
    } else {
      out.push_back(Tensor::from(p, a[i].defined() ? a[i].shape() : b[i].shape()));
    }
  }
  return out;
}

double ratio(double gap, double size) {
  if (gap == 0) return 0;
  const double r = gap / size;
  return std::isnan(r) ? std::numeric_limits<double>::infinity() : r;
}

double relative_error(const Tensors& a, const Tensors& b, double floor) {
  return ratio(norm(difference(a, b)), std::max({norm(a), norm(b), floor}));
}

Tensors random_like(Rng& rng, const Tensors& like) {
  Tensors out;
  for (const Tensor& t : like) {
    if (!is_float(t.dtype())) {
      out.emplace_back();
      continue;
    }
    std::vector<double> v(t.numel());
    for (double& d : v) d = rng.uniform(-1, 1);
    out.push_back(Tensor::from(v, t.shape()).to(t.dtype()));
  }
  return out;
}
}  // namespace basin
