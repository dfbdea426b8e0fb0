// Linear CKA, X and Y moved to their column means first (both estimators are invariant to that, and
// it saves the digits that a large mean would cost). One alignment is a function of X^T Y [C1, C2]
// and of the squared row norms. The jackknife walks over K = X X^T and L = Y Y^T in blocks of rows
// once and sums K_ij L_ij by the groups of i and of j, and the rows of K and L by the group of j:
// what is left without a group follows from these sums.
#include "basin/analysis/cka.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>
#include <utility>
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
        ": a representation is a matrix [samples, channels] of floats, got ", x);
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

Tensor cross_product(const Centred& x, const Centred& y) {  // X^T Y [C1, C2]
  const int64_t c1 = x.channels(), c2 = y.channels();
  Tensor out = Tensor::empty({c1, c2}, DType::f64);
  gemm<double>(true, false, c1, c2, x.n(), 1.0, x.row(0), c1, y.row(0), c2, 0.0,
               out.mutable_data<double>(), c2);
  return out;
}

// n (n - 3) times the unbiased HSIC, k_i being the row sums of K without its diagonal:
//   tr(K~ L~) + (sum k) (sum l) / ((n-1)(n-2)) - 2 / (n-2) sum k_i l_i.
struct HsicSums {
  double n = 0;
  double product = 0;    // ||X^T Y||_F^2 = sum_ij K_ij L_ij
  double diagonals = 0;  // sum_i a_i b_i; 0 where `product` leaves i = j out
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
    return all_rows(u, v, squared_norm(cross_product(u, v))).unbiased();
  };
  return alignment(hsic(x, y), hsic(x, x), hsic(y, y));
}

// Sums over pairs i != j of samples, by their groups (sample i in group i mod groups).
class PairSums {
 public:
  PairSums(const Centred& x, const Centred& y, int64_t groups)
      : n_(x.n()),
        groups_(groups),
        rows_x_(n_ * groups, 0.0),
        rows_y_(n_ * groups, 0.0),
        xy_(groups * groups, 0.0),
        xx_(xy_),
        yy_(xy_) {
    constexpr int64_t kRows = 128;
    std::vector<double> k(kRows * n_), l(kRows * n_);
    for (int64_t first = 0; first < n_; first += kRows) {
      const int64_t rows = std::min(kRows, n_ - first);
      gram_rows(x, first, rows, k.data());
      gram_rows(y, first, rows, l.data());
      for (int64_t i = 0; i < rows; ++i) add_row(first + i, &k[i * n_], &l[i * n_]);
    }
    for (int64_t i = 0; i < n_; ++i) {
      for (const auto& [rows, sums] : {std::pair{&rows_x_, &k_}, std::pair{&rows_y_, &l_}}) {
        double sum = 0;
        for (int64_t g = 0; g < groups_; ++g) sum += (*rows)[i * groups_ + g];
        sums->push_back(sum);
      }
    }
  }

  // The alignment of the samples outside group g.
  double alignment_without(int64_t g) const {
    return alignment(without(g, xy_, rows_x_, k_, rows_y_, l_),
                     without(g, xx_, rows_x_, k_, rows_x_, k_),
                     without(g, yy_, rows_y_, l_, rows_y_, l_));
  }

 private:
  static void gram_rows(const Centred& x, int64_t first, int64_t rows, double* out) {
    gemm<double>(false, true, rows, x.n(), x.channels(), 1.0, x.row(first), x.channels(), x.row(0),
                 x.channels(), 0.0, out, x.n());
  }

  void add_row(int64_t i, double* k, double* l) {
    k[i] = l[i] = 0;
    const int64_t at = i % groups_ * groups_;
    for (int64_t j = 0, g = 0; j < n_; ++j) {
      rows_x_[i * groups_ + g] += k[j];
      rows_y_[i * groups_ + g] += l[j];
      xy_[at + g] += k[j] * l[j];
      xx_[at + g] += k[j] * k[j];
      yy_[at + g] += l[j] * l[j];
      if (++g == groups_) g = 0;
    }
  }

  double without(int64_t g, const std::vector<double>& pairs, const std::vector<double>& rows_a,
                 const std::vector<double>& a, const std::vector<double>& rows_b,
                 const std::vector<double>& b) const {
    HsicSums s;
    for (int64_t i = 0; i < groups_; ++i) {
      for (int64_t j = 0; j < groups_; ++j) {
        if (i != g && j != g) s.product += pairs[i * groups_ + j];
      }
    }
    for (int64_t i = 0; i < n_; ++i) {
      if (i % groups_ == g) continue;
      const double k = a[i] - rows_a[i * groups_ + g], l = b[i] - rows_b[i * groups_ + g];
      s.n += 1;
      s.k += k;
      s.l += l;
      s.kl += k * l;
    }
    return s.unbiased();
  }

  int64_t n_, groups_;
  std::vector<double> rows_x_, rows_y_;  // [n, groups]: sum over j of K_ij, L_ij
  std::vector<double> xy_, xx_, yy_;     // [groups, groups]: of K_ij L_ij, K_ij^2, L_ij^2
  std::vector<double> k_, l_;            // [n]: whole rows
};

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
  auto hsic = [](const Centred& u, const Centred& v) { return squared_norm(cross_product(u, v)); };
  return alignment(hsic(cx, cy), hsic(cx, cx), hsic(cy, cy));
}

Estimate estimate_linear_cka(const Tensor& x, const Tensor& y, int64_t groups, double level) {
  const Centred cx = centred("estimate_linear_cka", x), cy = centred("estimate_linear_cka", y);
  check_pair("estimate_linear_cka", cx, cy);
  groups = std::min(groups, cx.n());  // one sample each: an empty group would count as one more
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
  const PairSums sums(cx, cy, groups);
  std::vector<double> values;
  for (int64_t g = 0; g < groups; ++g) values.push_back(sums.alignment_without(g));
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
      hsic.push_back(u.constant ? kNaN
                                : all_rows(u, u, squared_norm(cross_product(u, u))).unbiased());
    }
    return hsic;
  };
  const std::vector<double> xx = self(cx), yy = self(cy);
  double* values = out.mutable_data<double>();
  for (size_t i = 0; i < cx.size(); ++i) {
    for (size_t j = 0; j < cy.size(); ++j) {
      check_pair("debiased_cka_matrix", cx[i], cy[j]);
      const double xy =
          all_rows(cx[i], cy[j], squared_norm(cross_product(cx[i], cy[j]))).unbiased();
      values[i * cy.size() + j] = alignment(xy, xx[i], yy[j]);
    }
  }
  return out;
}

}  // namespace basin
