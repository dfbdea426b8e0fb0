// Linear CKA by products of the channels: every HSIC here is a function of X^T Y [C1, C2], of the
// squared row norms and of the column sums, all of X and Y moved to their column means first (both
// estimators are invariant to that, and it saves the digits that a large mean would cost). Leaving
// a group of rows out subtracts that group's share from each.
#include "basin/analysis/cka.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "basin/analysis/statistics.h"
#include "basin/core/error.h"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A representation in f64 about its column means.
struct Centred {
  Tensor x;               // [n, C]
  std::vector<double> a;  // [n] squared row norms
  bool constant = false;  // every row the same, to rounding
  int64_t n() const { return x.size(0); }
  int64_t channels() const { return x.size(1); }
  const double* row(int64_t i) const { return x.data<double>() + i * channels(); }
};

Centred centred(std::string_view who, const Tensor& x) {
  check(x.defined() && x.rank() == 2 && is_float(x.dtype()), who,
        ": a representation is a matrix [samples, channels] of floats, got ",
        x.defined() ? x.shape().to_string() : "an undefined tensor");
  check(x.size(0) >= 4 && x.size(1) >= 1, who, ": expects at least 4 samples and one channel, got ",
        x.shape());
  const int64_t n = x.size(0), c = x.size(1);
  Centred out{.x = x.to(Device::cpu).to(DType::f64).clone(), .a = std::vector<double>(n, 0.0)};
  double* v = out.x.mutable_data<double>();
  std::vector<double> mean(c, 0.0);
  double raw = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < c; ++j) {
      const double value = v[i * c + j];
      if (!std::isfinite(value)) {
        fail(ErrorKind::numerical, who, ": sample ", i, ", channel ", j, " is ", value);
      }
      mean[j] += value / static_cast<double>(n);
      raw += value * value;
    }
  }
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < c; ++j) {
      v[i * c + j] -= mean[j];
      out.a[i] += v[i * c + j] * v[i * c + j];
    }
    total += out.a[i];
  }
  // What is left of equal rows is the rounding of their mean.
  out.constant = total <= 1e-28 * static_cast<double>(n) * raw;
  return out;
}

double squared_norm(const Tensor& m) {
  double sum = 0;
  for (const double v : std::span(m.data<double>(), static_cast<size_t>(m.numel()))) sum += v * v;
  return sum;
}

// sum over the rows first, first + step, .. of x_i y_i^T.   -> [C1, C2]
Tensor cross_product(const Centred& x, const Centred& y, int64_t first, int64_t step) {
  const int64_t rows = (x.n() - first + step - 1) / step, c1 = x.channels(), c2 = y.channels();
  Tensor out = Tensor::empty({c1, c2}, DType::f64);
  gemm<double>(true, false, c1, c2, rows, 1.0, x.row(first), c1 * step, y.row(first), c2 * step,
               0.0, out.mutable_data<double>(), c2);
  return out;
}

// n (n - 3) times the unbiased HSIC of rows whose column sums are sx and sy (zero for all rows; not
// once a group is left out), k_i = x_i . sx - a_i being the row sums of K without its diagonal:
//   tr(K~ L~) + (sum k) (sum l) / ((n-1)(n-2)) - 2 / (n-2) sum k_i l_i.
struct HsicSums {
  double n = 0;
  double product = 0;    // ||X^T Y||_F^2
  double diagonals = 0;  // sum_i a_i b_i
  double k = 0, l = 0;   // sum_i k_i, sum_i l_i
  double kl = 0;         // sum_i k_i l_i
  double unbiased() const {
    return product - diagonals + k * l / ((n - 1) * (n - 2)) - 2 / (n - 2) * kl;
  }
};

HsicSums all_rows(const Centred& x, const Centred& y, double product) {
  HsicSums s{.n = static_cast<double>(x.n()), .product = product};
  for (int64_t i = 0; i < x.n(); ++i) {
    s.k -= x.a[i];
    s.l -= y.a[i];
    s.diagonals += x.a[i] * y.a[i];
  }
  s.kl = s.diagonals;
  return s;
}

double alignment(double xy, double xx, double yy) {
  return xx > 0 && yy > 0 ? xy / (std::sqrt(xx) * std::sqrt(yy)) : kNaN;
}

void check_pair(std::string_view who, const Centred& x, const Centred& y) {
  check(x.n() == y.n(), who, ": both representations need the same samples, got ", x.n(), " and ",
        y.n());
}

double debiased(const Centred& x, const Centred& y) {
  if (x.constant || y.constant) return kNaN;
  auto hsic = [](const Centred& u, const Centred& v) {
    return all_rows(u, v, squared_norm(cross_product(u, v, 0, 1))).unbiased();
  };
  return alignment(hsic(x, y), hsic(x, x), hsic(y, y));
}

// The unbiased HSIC of x and y without each of the groups in turn: [groups].
std::vector<double> without_groups(const Centred& x, const Centred& y, int64_t groups) {
  const int64_t n = x.n(), c1 = x.channels(), c2 = y.channels();
  const Tensor total = cross_product(x, y, 0, 1);
  std::vector<double> out;
  for (int64_t g = 0; g < groups; ++g) {
    Tensor rest = cross_product(x, y, g, groups);
    double* r = rest.mutable_data<double>();
    for (int64_t i = 0; i < rest.numel(); ++i) r[i] = total.data<double>()[i] - r[i];
    std::vector<double> sx(c1, 0.0), sy(c2, 0.0);  // of the rows that stay: minus the group's
    for (int64_t i = g; i < n; i += groups) {
      for (int64_t j = 0; j < c1; ++j) sx[j] -= x.row(i)[j];
      for (int64_t j = 0; j < c2; ++j) sy[j] -= y.row(i)[j];
    }
    HsicSums s{.product = squared_norm(rest)};
    for (int64_t i = 0; i < n; ++i) {
      if (i % groups == g) continue;
      double k = -x.a[i], l = -y.a[i];
      for (int64_t j = 0; j < c1; ++j) k += x.row(i)[j] * sx[j];
      for (int64_t j = 0; j < c2; ++j) l += y.row(i)[j] * sy[j];
      s.n += 1;
      s.diagonals += x.a[i] * y.a[i];
      s.k += k;
      s.l += l;
      s.kl += k * l;
    }
    out.push_back(s.unbiased());
  }
  return out;
}

}  // namespace

double debiased_linear_cka(const Tensor& x, const Tensor& y) {
  const Centred cx = centred("debiased_linear_cka", x), cy = centred("debiased_linear_cka", y);
  check_pair("debiased_linear_cka", cx, cy);
  return debiased(cx, cy);
}

double biased_linear_cka(const Tensor& x, const Tensor& y) {
  const Centred cx = centred("biased_linear_cka", x), cy = centred("biased_linear_cka", y);
  check_pair("biased_linear_cka", cx, cy);
  if (cx.constant || cy.constant) return kNaN;
  auto hsic = [](const Centred& u, const Centred& v) {
    return squared_norm(cross_product(u, v, 0, 1));
  };
  return alignment(hsic(cx, cy), hsic(cx, cx), hsic(cy, cy));
}

Estimate estimate_linear_cka(const Tensor& x, const Tensor& y, int64_t groups, double level) {
  const Centred cx = centred("estimate_linear_cka", x), cy = centred("estimate_linear_cka", y);
  check_pair("estimate_linear_cka", cx, cy);
  check(groups >= 2 && cx.n() - (cx.n() + groups - 1) / groups >= 4,
        "estimate_linear_cka: ", groups, " groups of ", cx.n(),
        " samples leave fewer than 4 when one is left out");
  check(level > 0 && level < 1, "estimate_linear_cka: the level must lie in (0, 1), got ", level);
  Estimate out;
  out.value = debiased(cx, cy);
  out.samples = cx.n();
  out.method = "group jackknife";
  out.interval.level = level;
  if (std::isnan(out.value)) return out;
  const std::vector<double> xy = without_groups(cx, cy, groups);
  const std::vector<double> xx = without_groups(cx, cx, groups);
  const std::vector<double> yy = without_groups(cy, cy, groups);
  std::vector<double> values;
  for (int64_t g = 0; g < groups; ++g) values.push_back(alignment(xy[g], xx[g], yy[g]));
  // Sum of squares about the mean times (G - 1) / G: the variance times (G - 1)^2 / G.
  const double count = static_cast<double>(groups);
  out.standard_error = (count - 1) / std::sqrt(count) * std::sqrt(variance(values));
  out.interval = t_interval(out.value, out.standard_error, count - 1, level);
  out.interval.high = std::min(out.interval.high, 1.0);
  return out;
}

Tensor debiased_cka_matrix(const Tensors& x, const Tensors& y) {
  std::vector<Centred> cx, cy;
  for (const Tensor& t : x) cx.push_back(centred("debiased_cka_matrix", t));
  for (const Tensor& t : y) cy.push_back(centred("debiased_cka_matrix", t));
  Tensor out =
      Tensor::empty({static_cast<int64_t>(x.size()), static_cast<int64_t>(y.size())}, DType::f64);
  auto self = [](const std::vector<Centred>& layers) {
    std::vector<double> hsic;
    for (const Centred& u : layers) {
      hsic.push_back(
          u.constant ? kNaN : all_rows(u, u, squared_norm(cross_product(u, u, 0, 1))).unbiased());
    }
    return hsic;
  };
  const std::vector<double> xx = self(cx), yy = self(cy);
  double* values = out.mutable_data<double>();
  for (size_t i = 0; i < cx.size(); ++i) {
    for (size_t j = 0; j < cy.size(); ++j) {
      check_pair("debiased_cka_matrix", cx[i], cy[j]);
      const double xy =
          all_rows(cx[i], cy[j], squared_norm(cross_product(cx[i], cy[j], 0, 1))).unbiased();
      values[i * cy.size() + j] = alignment(xy, xx[i], yy[j]);
    }
  }
  return out;
}

}  // namespace basin
