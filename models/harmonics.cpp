// Harmonics as polynomials in plain ops, and how they turn.
#include "basin/models/harmonics.h"

#include <cmath>
#include <utility>

#include "basin/autograd/ops.h"

namespace basin {

Tensor harmonics(const Tensor& u, int64_t degree) {
  check(u.rank() == 2 && u.size(1) == 3, "harmonics: expects directions [E, 3], got ", u.shape());
  check(degree >= 1 && degree <= kLargestDegree, "harmonics: the degree must be 1 to ",
        kLargestDegree, ", got ", degree);
  if (degree == 1) return u;
  const Tensors parts = split(u, 1, {1, 1, 1});
  const Tensor &x = parts[0], &y = parts[1], &z = parts[2];
  const double root3 = std::sqrt(3.0);
  const Tensor xx = square(x), yy = square(y), zz = square(z), s = xx + zz;
  const Tensor a = x * z * root3, b = (zz - xx) * (root3 / 2);
  Tensors columns{u, a, x * y * root3, yy - s * 0.5, y * z * root3, b};
  if (degree == 3) {
    const double outer = std::sqrt(5.0 / 6), root5 = std::sqrt(5.0), inner = std::sqrt(3.0 / 8);
    const Tensor slope = (yy * 4 - s) * inner;
    for (const Tensor& t :
         {(a * z + b * x) * outer, a * y * root5, slope * x, y * (yy * 2 - s * 3) * 0.5, slope * z,
          b * y * root5, (b * z - a * x) * outer}) {
      columns.push_back(t);
    }
  }
  return concat(columns, 1);
}

namespace {

// Columns n of values of Y^l at n = 2l + 1 directions, [n, n] by direction.
std::vector<double> values(const std::vector<double>& directions, int64_t l) {
  const int64_t n = 2 * l + 1;
  const Tensor all = harmonics(Tensor::from(directions, {n, 3}), l);
  return slice(all, 1, l * l - 1, (l + 1) * (l + 1) - 1).to_vector<double>();
}

// a x = b for the rows of b: Gauss-Jordan with row pivots; a [n, n] by rows, b [n, n] by rows.
std::vector<double> solve(std::vector<double> a, std::vector<double> b, size_t n) {
  for (size_t column = 0; column < n; ++column) {
    size_t pivot = column;
    for (size_t r = column; r < n; ++r) {
      if (std::abs(a[r * n + column]) > std::abs(a[pivot * n + column])) pivot = r;
    }
    for (size_t c = 0; c < n; ++c) {
      std::swap(a[column * n + c], a[pivot * n + c]);
      std::swap(b[column * n + c], b[pivot * n + c]);
    }
    const double scale = 1 / a[column * n + column];
    for (size_t c = 0; c < n; ++c) {
      a[column * n + c] *= scale;
      b[column * n + c] *= scale;
    }
    for (size_t r = 0; r < n; ++r) {
      const double factor = a[r * n + column];
      if (r == column || factor == 0) continue;
      for (size_t c = 0; c < n; ++c) {
        a[r * n + c] -= factor * a[column * n + c];
        b[r * n + c] -= factor * b[column * n + c];
      }
    }
  }
  return b;
}

}  // namespace

std::vector<double> rotation_of_degree(const Matrix3& q, int64_t l) {
  check(l >= 1 && l <= kLargestDegree, "rotation_of_degree: the degree must be 1 to ",
        kLargestDegree, ", got ", l);
  const auto n = static_cast<size_t>(2 * l + 1);
  std::vector<double> directions, turned;
  for (size_t k = 0; k < n; ++k) {  // a spiral: no two directions opposite, all degrees independent
    const double height = 1 - (2.0 * static_cast<double>(k) + 1) / static_cast<double>(n + 1);
    const double angle = 2.4 * static_cast<double>(k), radius = std::sqrt(1 - height * height);
    const double u[] = {radius * std::cos(angle), height, radius * std::sin(angle)};
    directions.insert(directions.end(), u, u + 3);
    for (const auto& row : q) turned.push_back(row[0] * u[0] + row[1] * u[1] + row[2] * u[2]);
  }
  // Y(Q u_k)^T = Y(u_k)^T D^T for every k
  const std::vector<double> transposed = solve(values(directions, l), values(turned, l), n);
  std::vector<double> d(n * n);
  for (size_t r = 0; r < n; ++r) {
    for (size_t c = 0; c < n; ++c) d[r * n + c] = transposed[c * n + r];
  }
  return d;
}

Tensor turned(const Tensor& x, const Matrix3& q, int64_t l) {
  const int64_t n = 2 * l + 1;
  check(x.rank() > 0 && x.size(-1) == n, "turned: expects features [.., ", n, "], got ", x.shape());
  const Tensor d = Tensor::from(rotation_of_degree(q, l), {n, n});
  const Tensor rows = x.to(DType::f64).view({x.numel() / n, n});
  return matmul(rows, d, false, true).to(x.dtype()).view(x.shape());
}

}  // namespace basin
