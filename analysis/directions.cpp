// Draws, combines and normalises directions, parameter by parameter, in f64 on the host.
#include "basin/analysis/directions.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "basin/core/error.h"
#include "basin/core/io.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"

namespace basin {
namespace {

constexpr std::string_view kNormNames[] = {"filter", "layer", "weight", "none"};

Tensor host_f64(const Tensor& t) { return t.to(Device::cpu).to(DType::f64); }

double sum_of_squares(const double* v, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += v[i] * v[i];
  return sum;
}

// d <- d ||w|| / ||d||
void match_norm(double* d, const double* w, int64_t n) {
  const double norm = std::sqrt(sum_of_squares(d, n));
  const double factor = norm > 0 ? std::sqrt(sum_of_squares(w, n)) / norm : 0;
  for (int64_t i = 0; i < n; ++i) d[i] *= factor;
}

void match_filters(double* d, const double* w, const Param& p) {
  int64_t covered = 0;
  for (const MatrixBlock& block : p.view) {
    for (int64_t row = 0; row < block.rows; ++row) {
      const int64_t at = block.offset + row * block.cols;
      match_norm(d + at, w + at, block.cols);
    }
    covered += block.rows * block.cols;
  }
  check(covered == p.value.numel(), "directions: the logical matrices of '", p.name, "' cover ",
        covered, " of its ", p.value.numel(), " elements, so it has no filters to normalise by");
}

// The parameters that a flat vector covers.
std::vector<int> members(const ParamList& params, const std::vector<int>& indices) {
  std::vector<int> all = indices;
  if (all.empty()) {
    for (size_t i = 0; i < params.size(); ++i) all.push_back(static_cast<int>(i));
  }
  for (size_t i = 0; i < all.size(); ++i) {
    check(all[i] >= 0 && static_cast<size_t>(all[i]) < params.size(), "directions: parameter ",
          all[i], " is out of range for ", params.size());
    if (i > 0) {
      check(all[i - 1] < all[i], "directions: expects ascending parameter indices, given ",
            all[i - 1], " before ", all[i]);
    }
  }
  return all;
}

void check_matches(const Direction& d, const ParamList& params, std::string_view who) {
  check(d.parts.size() == params.size(), who, ": the direction has ", d.parts.size(), " parts for ",
        params.size(), " parameters");
  for (size_t i = 0; i < params.size(); ++i) {
    if (!d.parts[i].defined()) continue;
    check(d.parts[i].shape() == params[i].value.shape() && d.parts[i].dtype() == DType::f64, who,
          ": the part of '", params[i].name, "' is ", d.parts[i].shape(), ", expected f64 ",
          params[i].value.shape());
  }
}

void add_scaled(Direction& d, double factor, const Direction& other) {
  for (size_t i = 0; i < d.parts.size(); ++i) {
    if (!other.parts[i].defined()) continue;
    const int64_t n = other.parts[i].numel();
    Tensor sum = d.parts[i].defined() ? d.parts[i].clone()
                                      : Tensor::zeros(other.parts[i].shape(), DType::f64);
    double* to = sum.mutable_data<double>();
    const double* from = other.parts[i].data<double>();
    for (int64_t k = 0; k < n; ++k) to[k] += factor * from[k];
    d.parts[i] = sum;
  }
}

void scale(Direction& d, double factor) {
  for (Tensor& part : d.parts) {
    if (!part.defined()) continue;
    part = part.clone();
    double* v = part.mutable_data<double>();
    for (int64_t k = 0; k < part.numel(); ++k) v[k] *= factor;
  }
}

std::string hash_of(const Tensor& t) {
  const Tensor host = t.to(Device::cpu);
  return sha256_hex({static_cast<const uint8_t*>(host.raw()), host.bytes()});
}

std::string hash_of(const std::string& text) {
  return sha256_hex({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

}  // namespace

std::string_view name_of(DirectionNorm norm) { return kNormNames[static_cast<int>(norm)]; }

DirectionNorm direction_norm(std::string_view name) {
  for (int i = 0; i < 4; ++i) {
    if (kNormNames[i] == name) return static_cast<DirectionNorm>(i);
  }
  fail(ErrorKind::usage, "directions: no normalisation '", name,
       "'; known are filter, layer, weight and none");
}

double Direction::dot(const Direction& other) const {
  check(parts.size() == other.parts.size(), "directions: the product of ", parts.size(), " and ",
        other.parts.size(), " parts");
  double sum = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!parts[i].defined() || !other.parts[i].defined()) continue;
    check(parts[i].numel() == other.parts[i].numel(), "directions: parts ", i, " are ",
          parts[i].shape(), " and ", other.parts[i].shape());
    const double *a = parts[i].data<double>(), *b = other.parts[i].data<double>();
    double part = 0;  // per parameter, so that rounding does not grow with the whole network
    for (int64_t k = 0; k < parts[i].numel(); ++k) part += a[k] * b[k];
    sum += part;
  }
  return sum;
}

double Direction::norm() const { return std::sqrt(dot(*this)); }

void normalise(Direction& d, const ParamList& params, DirectionNorm norm) {
  check_matches(d, params, "directions");
  if (norm == DirectionNorm::none) return;
  for (size_t i = 0; i < params.size(); ++i) {
    if (params[i].view.empty()) {
      d.parts[i] = Tensor();
      continue;
    }
    if (!d.parts[i].defined()) continue;
    d.parts[i] = d.parts[i].clone();  // copies of a direction share their parts
    const Tensor w = host_f64(params[i].value);
    double* v = d.parts[i].mutable_data<double>();
    switch (norm) {
      case DirectionNorm::filter: match_filters(v, w.data<double>(), params[i]); break;
      case DirectionNorm::layer: match_norm(v, w.data<double>(), w.numel()); break;
      case DirectionNorm::weight:
        for (int64_t k = 0; k < w.numel(); ++k) v[k] *= w.data<double>()[k];
        break;
      case DirectionNorm::none: break;
    }
  }
}

Direction random_direction(const ParamList& params, uint64_t seed, int index, DirectionNorm norm) {
  check(index >= 0, "directions: expects an index >= 0, given ", index);
  constexpr int64_t kGrain = 8192, kDrawsPerNormal = 4;
  Direction d{{}, str("random ", index, ", seed ", seed, ", normalised by ", name_of(norm))};
  for (const Param& p : params) {
    Tensor part = Tensor::empty(p.value.shape(), DType::f64);
    double* v = part.mutable_data<double>();
    const uint64_t stream = stream_id("direction " + p.name, static_cast<uint64_t>(index));
    parallel_for(part.numel(), kGrain, [&](int64_t begin, int64_t end) {
      Rng rng(seed, stream, static_cast<uint64_t>(begin * kDrawsPerNormal));
      for (int64_t k = begin; k < end; ++k) v[k] = rng.normal();
    });
    d.parts.push_back(part);
  }
  normalise(d, params, norm);
  return d;
}

Direction along_vector(const ParamList& params, const Tensor& v, std::string what,
                       const std::vector<int>& indices) {
  const std::vector<int> chosen = members(params, indices);
  int64_t total = 0;
  for (const int i : chosen) total += params[static_cast<size_t>(i)].value.numel();
  check(v.defined() && v.numel() == total, "directions: '", what, "' is ", v,
        ", its parameters have ", total, " elements");
  const Tensor flat = host_f64(v);
  Direction d{Tensors(params.size()), std::move(what)};
  const double* from = flat.data<double>();
  for (const int i : chosen) {
    const Tensor& value = params[static_cast<size_t>(i)].value;
    Tensor part = Tensor::empty(value.shape(), DType::f64);
    std::copy_n(from, value.numel(), part.mutable_data<double>());
    from += value.numel();
    d.parts[static_cast<size_t>(i)] = part;
  }
  return d;
}

Tensor flatten(const Direction& d, const ParamList& params, const std::vector<int>& indices) {
  check_matches(d, params, "directions");
  const std::vector<int> chosen = members(params, indices);
  int64_t total = 0;
  for (const int i : chosen) total += params[static_cast<size_t>(i)].value.numel();
  Tensor flat = Tensor::zeros({total}, DType::f64);
  double* to = flat.mutable_data<double>();
  size_t next = 0;
  for (size_t i = 0; i < params.size(); ++i) {
    const bool member = next < chosen.size() && static_cast<size_t>(chosen[next]) == i;
    const Tensor& part = d.parts[i];
    if (member) {
      ++next;
      if (part.defined()) std::copy_n(part.data<double>(), part.numel(), to);
      to += params[i].value.numel();
    } else if (part.defined()) {
      check(sum_of_squares(part.data<double>(), part.numel()) == 0, "directions: '", d.what,
            "' moves '", params[i].name, "', which is outside the given parameters");
    }
  }
  return flat;
}

Direction difference_direction(const ParamList& from, const ParamList& to, std::string what) {
  check(from.size() == to.size(), "directions: ", what, ": the checkpoints have ", from.size(),
        " and ", to.size(), " parameters");
  Direction d{{}, std::move(what)};
  for (size_t i = 0; i < from.size(); ++i) {
    check(from[i].name == to[i].name && from[i].value.shape() == to[i].value.shape(),
          "directions: ", d.what, ": the checkpoints differ at '", from[i].name, "' ",
          from[i].value.shape(), " and '", to[i].name, "' ", to[i].value.shape());
    Tensor part = host_f64(to[i].value).clone();
    const Tensor start = host_f64(from[i].value);
    double* v = part.mutable_data<double>();
    for (int64_t k = 0; k < part.numel(); ++k) v[k] -= start.data<double>()[k];
    d.parts.push_back(part);
  }
  return d;
}

double remove_component(Direction& d, const Direction& first) {
  const double length = d.norm(), along = first.norm();
  if (!(length > 0 && along > 0)) {
    fail(ErrorKind::numerical, "directions: '", length > 0 ? first.what : d.what, "' is zero, so '",
         d.what, "' cannot be made orthogonal to '", first.what, "'");
  }
  const double product = d.dot(first), cosine = product / length / along;
  add_scaled(d, -product / (along * along), first);
  add_scaled(d, -d.dot(first) / (along * along),
             first);  // again: removes the rounding of the first
  if (!(d.norm() > 1e-7 * length)) {
    fail(ErrorKind::numerical, "directions: '", d.what, "' and '", first.what,
         "' are parallel (cosine ", cosine, ")");
  }
  d.what += str(", made orthogonal to ", first.what, " (cosine ", cosine, ")");
  return cosine;
}

CheckpointPlane plane_through(const ParamList& a, const ParamList& b, const ParamList& c) {
  CheckpointPlane plane;
  plane.first = difference_direction(a, b, "checkpoint 1 to 2");
  const Direction to_c = difference_direction(a, c, "checkpoint 1 to 3");
  const double length = plane.first.norm();
  check(length > 0, "directions: the first two checkpoints of the plane are equal");
  scale(plane.first, 1 / length);
  plane.second = to_c;
  remove_component(plane.second, plane.first);
  scale(plane.second, 1 / plane.second.norm());
  plane.coordinates = {{{0, 0}, {length, 0}, {to_c.dot(plane.first), to_c.dot(plane.second)}}};
  return plane;
}

Tensors moved(const ParamList& base, const Direction* first, double x, const Direction* second,
              double y) {
  if (first) check_matches(*first, base, "slice");
  if (second) check_matches(*second, base, "slice");
  Tensors out;
  for (size_t i = 0; i < base.size(); ++i) {
    const Tensor& w = base[i].value;
    Tensor sum = Tensor::empty(w.shape(), DType::f64);
    sum.copy_from(host_f64(w));
    double* v = sum.mutable_data<double>();
    const auto add = [&](const Direction* d, double at) {
      if (!d || !d->parts[i].defined() || at == 0) return;
      const double* along = d->parts[i].data<double>();
      for (int64_t k = 0; k < sum.numel(); ++k) v[k] += at * along[k];
    };
    add(first, x);
    add(second, y);
    out.push_back(sum.to(w.dtype()).to(w.device()));
  }
  return out;
}

std::string fingerprint(const ParamList& params) {
  std::string all;
  for (const Param& p : params) {
    all += str(p.name, " ", name_of(p.value.dtype()), " ", p.value.shape(), " ", hash_of(p.value),
               "\n");
  }
  return hash_of(all);
}

std::string fingerprint(const Direction& d) {
  std::string all;
  for (size_t i = 0; i < d.parts.size(); ++i) {
    all += str(i, " ");
    if (d.parts[i].defined()) all += str(d.parts[i].shape(), " ", hash_of(d.parts[i]));
    all += "\n";
  }
  return hash_of(all);
}

}  // namespace basin
