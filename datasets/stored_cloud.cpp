// From a file's coordinates to those of a set: see stored_cloud.h and normalise_cloud.
#include "basin/datasets/detail/stored_cloud.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "basin/core/random.h"
#include "basin/datasets/farthest_points.h"

namespace basin {
namespace {

constexpr double kFineF64 = 1 << 24;  // steps along the radius: what f32 resolves

// In place; returns the radius that became 1, or half the longest side. `from_first`: relative to
// the first point, so that an offset of 1e6 costs the sums no digits. f32 coordinates need that
// not: their sums in f64 have 29 bits to spare.
double centre_and_scale(std::span<double> xyz, Normalisation normalisation, bool from_first) {
  const size_t n = xyz.size() / 3;
  if (n == 0 || normalisation == Normalisation::none) return 0;
  const bool sphere = normalisation == Normalisation::unit_sphere;
  double origin[3] = {0, 0, 0}, centre[3], scale = 0;
  if (from_first) std::copy_n(xyz.begin(), 3, origin);
  for (size_t axis = 0; axis < 3; ++axis) {
    double sum = 0, low = xyz[axis] - origin[axis], high = low;
    for (size_t i = axis; i < xyz.size(); i += 3) {
      xyz[i] -= origin[axis];
      sum += xyz[i];
      low = std::min(low, xyz[i]), high = std::max(high, xyz[i]);
    }
    centre[axis] = sphere ? sum / static_cast<double>(n) : 0.5 * (low + high);
    if (!sphere) scale = std::max(scale, 0.5 * (high - low));
  }
  if (sphere) {
    for (size_t i = 0; i < xyz.size(); i += 3) {
      scale = std::max(
          scale, std::hypot(xyz[i] - centre[0], xyz[i + 1] - centre[1], xyz[i + 2] - centre[2]));
    }
  }
  const double factor = scale > 0 ? 1 / scale : 1;
  for (size_t i = 0; i < xyz.size(); ++i) xyz[i] = (xyz[i] - centre[i % 3]) * factor;
  return scale;
}

double largest_coordinate(std::span<const double> xyz) {
  double out = 0;
  for (const double x : xyz) out = std::max(out, std::abs(x));
  return out;
}

// How many steps of the file's numbers, out where the cloud lies, its radius has.
double steps_of(double radius, double far, bool wide) {
  if (wide) return radius / (std::nextafter(far, std::numeric_limits<double>::infinity()) - far);
  const auto f = static_cast<float>(far);
  return radius / (std::nextafter(f, std::numeric_limits<float>::infinity()) - f);
}

// Points whose rounded coordinates are those of an earlier point that lay elsewhere. By a table of
// open addresses, twice as large as the cloud.
int64_t merged_points(const std::vector<double>& exact, const std::vector<float>& rounded) {
  const size_t n = rounded.size() / 3;
  size_t room = 16;
  while (room < 2 * n) room *= 2;
  std::vector<size_t> table(room, n);
  int64_t merged = 0;
  for (size_t i = 0; i < n; ++i) {
    uint64_t hash = 0;
    for (size_t axis = 0; axis < 3; ++axis) {
      uint32_t bits = 0;
      std::memcpy(&bits, &rounded[3 * i + axis], sizeof(bits));
      hash = (hash ^ bits) * 0x9e3779b97f4a7c15ULL;
      hash ^= hash >> 29;
    }
    size_t at = hash & (room - 1);
    while (table[at] < n &&
           !std::equal(&rounded[3 * i], &rounded[3 * i] + 3, &rounded[3 * table[at]])) {
      at = (at + 1) & (room - 1);
    }
    if (table[at] == n) {
      table[at] = i;
    } else {
      merged += std::equal(&exact[3 * i], &exact[3 * i] + 3, &exact[3 * table[at]]) ? 0 : 1;
    }
  }
  return merged;
}

// The largest move of a coordinate by rounding, in half the longest side.
double moved_by_rounding(const std::vector<double>& exact, const std::vector<float>& rounded) {
  double moved = 0, half = 0;
  for (size_t axis = 0; axis < 3; ++axis) {
    double low = exact[axis], high = low;
    for (size_t i = axis; i < exact.size(); i += 3) {
      low = std::min(low, exact[i]), high = std::max(high, exact[i]);
      moved = std::max(moved, std::abs(exact[i] - rounded[i]));
    }
    half = std::max(half, 0.5 * (high - low));
  }
  return half > 0 ? moved / half : 0;
}

std::vector<float> rounded(const std::vector<double>& values) {
  std::vector<float> out(values.size());
  std::transform(values.begin(), values.end(), out.begin(),
                 [](double v) { return static_cast<float>(v); });
  return out;
}

void take_rows(std::vector<double>& rows, const std::vector<int64_t>& chosen) {
  if (rows.empty()) return;
  std::vector<double> out;
  out.reserve(3 * chosen.size());
  for (const int64_t i : chosen) out.insert(out.end(), &rows[3 * i], &rows[3 * i] + 3);
  rows = std::move(out);
}

void choose(StoredCloud& cloud, const LoadOptions& options, int64_t most) {
  const int64_t have = cloud.points();
  std::vector<int64_t> chosen;
  if (options.selection == PointSelection::farthest) {
    if (options.points == 0 || have <= options.points) return;
    chosen = farthest_points(rounded(cloud.xyz), options.points);
  } else if (options.selection != PointSelection::first && most > 0 && have > most) {
    chosen = drawn_points(have, most, options.seed, stream_id("points of " + cloud.key));
  } else {
    return;
  }
  take_rows(cloud.xyz, chosen);
  take_rows(cloud.normals, chosen);
}

// Of length 1; what has none stays.
std::vector<float> unit_vectors(const std::vector<double>& normals) {
  std::vector<float> out(normals.size());
  for (size_t i = 0; i < normals.size(); i += 3) {
    const double length = std::hypot(normals[i], normals[i + 1], normals[i + 2]);
    const double factor = length > 0 ? 1 / length : 1;
    for (size_t axis = 0; axis < 3; ++axis) {
      out[i + axis] = static_cast<float>(normals[i + axis] * factor);
    }
  }
  return out;
}

}  // namespace

void normalise_cloud(std::span<float> xyz, Normalisation normalisation) {
  std::vector<double> wide(xyz.begin(), xyz.end());
  centre_and_scale(wide, normalisation, false);
  std::transform(wide.begin(), wide.end(), xyz.begin(),
                 [](double v) { return static_cast<float>(v); });
}

void normalise_cloud(std::span<double> xyz, Normalisation normalisation) {
  centre_and_scale(xyz, normalisation, true);
}

void append_rows(const Tensor& table, int64_t first, int64_t points, int64_t column,
                 std::vector<double>& out) {
  const int64_t columns = table.size(-1);
  dispatch_float(table.dtype(), "stored_rows", [&](auto zero) {
    const auto* from = table.data<decltype(zero)>() + first * columns + column;
    out.reserve(out.size() + static_cast<size_t>(3 * points));
    for (int64_t i = 0; i < points; ++i, from += columns) out.insert(out.end(), from, from + 3);
  });
}

StoredCloud stored_rows(const Tensor& table, int64_t first, int64_t points, bool normals) {
  StoredCloud out;
  out.wide = table.dtype() == DType::f64;
  append_rows(table, first, points, 0, out.xyz);
  if (normals && table.size(-1) == 6) append_rows(table, first, points, 3, out.normals);
  return out;
}

KeptCloud keep(StoredCloud cloud, const LoadOptions& options, int64_t most) {
  const int64_t first = options.selection == PointSelection::first ? options.points : 0;
  if (first > 0 && cloud.points() > first) {
    cloud.xyz.resize(static_cast<size_t>(3 * first));
    if (!cloud.normals.empty()) cloud.normals.resize(static_cast<size_t>(3 * first));
  }
  KeptCloud out;
  const double far = largest_coordinate(cloud.xyz);
  const double radius = centre_and_scale(cloud.xyz, options.normalise, cloud.wide);
  if (options.normalise != Normalisation::none && cloud.points() > 1 && far > 0) {
    const double steps = steps_of(radius, far, cloud.wide);
    if (steps < (cloud.wide ? kFineF64 : kFineF32)) out.loss.steps = std::max(steps, 1e-3);
  }
  choose(cloud, options, most);
  out.xyz = rounded(cloud.xyz);
  if (cloud.wide && out.points() > 1) {
    out.loss.merged = merged_points(cloud.xyz, out.xyz);
    const double moved = moved_by_rounding(cloud.xyz, out.xyz);
    if (out.loss.merged > 0 || moved > 0.5 / kFineF32) out.loss.moved = moved;
  }
  if (options.normals) out.normals = unit_vectors(cloud.normals);
  return out;
}

std::vector<int64_t> drawn_points(int64_t have, int64_t wanted, uint64_t seed, uint64_t stream) {
  std::vector<int64_t> out(static_cast<size_t>(have));
  std::iota(out.begin(), out.end(), int64_t{0});
  Rng rng(seed, stream);
  while (static_cast<int64_t>(out.size()) < wanted) out.push_back(rng.below(have));
  if (wanted >= have) return out;
  for (int64_t i = 0; i < wanted; ++i) std::swap(out[i], out[i + rng.below(have - i)]);
  out.resize(static_cast<size_t>(wanted));
  return out;
}

}  // namespace basin
