// Augmentations and poses: see augment.h. Presets follow the published training codes (PointNet,
// PointNet++, DGCNN); each is written out as the steps that it stands for, so there is one parser.
#include "basin/datasets/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "basin/core/error.h"
#include "basin/core/io.h"
#include "basin/core/lines.h"
#include "basin/core/text.h"

namespace basin {
namespace {

constexpr std::string_view kAxisNames[] = {"x", "y", "z"};
constexpr std::string_view kPoseNames[] = {"fixed", "yaw", "so3"};

struct Preset {
  std::string_view name, steps;
};
constexpr Preset kPresets[] = {
    {"dgcnn", "scale,shift,shuffle"},
    {"pointnet_b", "iso_scale,shift=0.1,dropout,shuffle"},
    {"pointnet_original", "yaw,jitter=0.01:0.05"},
};
constexpr std::string_view kKnown =
    "none, dgcnn, pointnet_b, pointnet_original, scale, iso_scale, shift, jitter, dropout, yaw, "
    "shuffle";

// One "name[=a[:b]]" of the list.
struct Step {
  std::string_view name;
  std::vector<double> values;
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

Step parse_step(std::string_view text) {
  const size_t equals = text.find('=');
  Step step{trimmed(text.substr(0, equals)), {}};
  if (equals == text.npos) return step;
  for (const std::string_view word : split(text.substr(equals + 1), ':')) {
    double value = 0;
    check(parse_double(trimmed(word), value) && std::isfinite(value) && value >= 0,
          "augment: expected numbers of at least 0 after '", step.name, "=', got '", word, "'");
    step.values.push_back(value);
  }
  return step;
}

// The values of a step, or its defaults when it gives none.
std::vector<double> values_or(const Step& step, std::vector<double> defaults) {
  if (step.values.empty()) return defaults;
  check(step.values.size() == defaults.size(), "augment: '", step.name, "' takes ", defaults.size(),
        " numbers, got ", step.values.size());
  return step.values;
}

void set_scale(Augment& a, const Step& step, std::vector<double> defaults, bool per_axis) {
  const auto v = values_or(step, std::move(defaults));
  check(v[0] > 0 && v[0] <= v[1], "augment: expected 0 < low <= high for ", step.name, ", got ",
        v[0], " and ", v[1]);
  a.scale_low = v[0], a.scale_high = v[1], a.per_axis = per_axis;
}

void add_steps(Augment& a, std::string_view list) {
  for (const std::string_view text : split(list, ',')) {
    const Step step = parse_step(text);
    const auto* preset = std::find_if(std::begin(kPresets), std::end(kPresets),
                                      [&](const Preset& p) { return p.name == step.name; });
    if (preset != std::end(kPresets)) {
      values_or(step, {});
      add_steps(a, preset->steps);
    } else if (step.name == "none") {
      values_or(step, {});
      a = {};
    } else if (step.name == "scale") {
      set_scale(a, step, {2.0 / 3, 1.5}, true);
    } else if (step.name == "iso_scale") {
      set_scale(a, step, {0.8, 1.25}, false);
    } else if (step.name == "shift") {
      a.shift = values_or(step, {0.2})[0];
    } else if (step.name == "jitter") {
      const auto v = values_or(step, {0.01, 0.05});
      a.jitter_sigma = v[0], a.jitter_clip = v[1];
    } else if (step.name == "dropout") {
      a.dropout = values_or(step, {0.875})[0];
      check(a.dropout <= 1, "augment: expected a dropout share from 0 to 1, got ", a.dropout);
    } else if (step.name == "yaw") {
      values_or(step, {});
      a.yaw = true;
    } else if (step.name == "shuffle") {
      values_or(step, {});
      a.shuffle = true;
    } else {
      fail(ErrorKind::usage, "augment: expected a comma list of ", kKnown, "; got '", step.name,
           "'");
    }
  }
}

// The fewest digits that parse back to the same number, in the form that runs record (0.0001).
std::string fewest_digits(double value) {
  for (int digits = 1; digits < 17; ++digits) {
    const std::string text = short_text(value, digits);
    double back = 0;
    if (parse_double(text, back) && back == value) return text;
  }
  return short_text(value, 17);
}

std::string lower_without_parentheses(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != '(' && c != ')') out += ascii_lower(c);
  }
  return out;
}

void drop_points(double share, std::span<float> xyz, std::span<float> normals, Rng& rng) {
  const double probability = rng.uniform() * share;
  for (size_t i = 3; i < xyz.size(); i += 3) {
    if (rng.uniform() >= probability) continue;
    for (const std::span<float> rows : {xyz, normals}) {
      if (!rows.empty()) std::copy_n(rows.begin(), 3, rows.begin() + static_cast<ptrdiff_t>(i));
    }
  }
}

void shuffle_points(std::span<float> xyz, std::span<float> normals, Rng& rng) {
  for (auto i = static_cast<int64_t>(xyz.size() / 3) - 1; i > 0; --i) {
    const int64_t j = rng.below(i + 1);
    for (const std::span<float> rows : {xyz, normals}) {
      if (!rows.empty()) std::swap_ranges(&rows[3 * i], &rows[3 * i] + 3, &rows[3 * j]);
    }
  }
}

// Normals of a surface whose axes were stretched by these factors.
void stretch_normals(std::span<float> normals, const double scale[3]) {
  for (size_t i = 0; i < normals.size(); i += 3) {
    double n[3];
    for (size_t axis = 0; axis < 3; ++axis) n[axis] = normals[i + axis] / scale[axis];
    const double length = std::hypot(n[0], n[1], n[2]);
    for (size_t axis = 0; axis < 3; ++axis) {
      normals[i + axis] = static_cast<float>(length > 0 ? n[axis] / length : 0);
    }
  }
}

}  // namespace

Axis axis_from_name(std::string_view name) {
  for (int i = 0; i < 3; ++i) {
    if (name == kAxisNames[i]) return static_cast<Axis>(i);
  }
  fail(ErrorKind::usage, "up axis: expected x, y or z, got '", name, "'");
}

std::string_view name_of(Axis axis) { return kAxisNames[static_cast<int>(axis)]; }
std::string_view name_of(Pose pose) { return kPoseNames[static_cast<int>(pose)]; }

PoseProtocol pose_protocol_from_name(std::string_view name) {
  const std::string key = lower_without_parentheses(name);
  if (key == "none") return {Pose::fixed, Pose::fixed};
  if (key == "z/z") return {Pose::yaw, Pose::yaw};
  if (key == "z/so3") return {Pose::yaw, Pose::so3};
  if (key == "so3/so3") return {Pose::so3, Pose::so3};
  fail(ErrorKind::usage, "pose: expected none, z/z, z/SO(3) or SO(3)/SO(3), got '", name, "'");
}

Rotation yaw_rotation(double angle, Axis up) {
  const int k = static_cast<int>(up), i = (k + 1) % 3, j = (k + 2) % 3;
  Rotation r{};
  r[4 * k] = 1;
  r[4 * i] = r[4 * j] = std::cos(angle);
  r[3 * j + i] = std::sin(angle);
  r[3 * i + j] = -std::sin(angle);
  return r;
}

Rotation random_rotation(Rng& rng) {
  double q[4], norm = 0;
  do {
    norm = 0;
    for (double& v : q) v = rng.normal(), norm += v * v;
  } while (norm < 1e-12);
  const double s = 2 / norm, w = q[0], x = q[1], y = q[2], z = q[3];
  return {1 - s * (y * y + z * z), s * (x * y - w * z),     s * (x * z + w * y),
          s * (x * y + w * z),     1 - s * (x * x + z * z), s * (y * z - w * x),
          s * (x * z - w * y),     s * (y * z + w * x),     1 - s * (x * x + y * y)};
}

Rotation random_pose(Pose pose, Axis up, Rng& rng) {
  switch (pose) {
    case Pose::fixed: return {1, 0, 0, 0, 1, 0, 0, 0, 1};
    case Pose::yaw: return yaw_rotation(rng.uniform(0, 2 * std::numbers::pi), up);
    case Pose::so3: return random_rotation(rng);
  }
  fail(ErrorKind::internal, "random_pose: unknown pose");
}

void rotate(std::span<float> xyz, const Rotation& r) {
  for (size_t i = 0; i + 2 < xyz.size(); i += 3) {
    const double x = xyz[i], y = xyz[i + 1], z = xyz[i + 2];
    for (size_t row = 0; row < 3; ++row) {
      xyz[i + row] = static_cast<float>(r[3 * row] * x + r[3 * row + 1] * y + r[3 * row + 2] * z);
    }
  }
}

bool Augment::active() const {
  return scale_low != 1 || scale_high != 1 || shift > 0 || jitter_sigma > 0 || dropout > 0 || yaw ||
         shuffle;
}

std::string Augment::to_string() const {
  std::string out;
  const auto add = [&](const auto&... parts) { out += str(out.empty() ? "" : ",", parts...); };
  if (scale_low != 1 || scale_high != 1) {
    add(per_axis ? "scale=" : "iso_scale=", fewest_digits(scale_low), ":",
        fewest_digits(scale_high));
  }
  if (shift > 0) add("shift=", fewest_digits(shift));
  if (jitter_sigma > 0)
    add("jitter=", fewest_digits(jitter_sigma), ":", fewest_digits(jitter_clip));
  if (dropout > 0) add("dropout=", fewest_digits(dropout));
  if (yaw) add("yaw");
  if (shuffle) add("shuffle");
  return out.empty() ? "none" : out;
}

Augment parse_augment(std::string_view spec) {
  Augment out;
  add_steps(out, spec);
  return out;
}

void apply(const Augment& a, Axis up, std::span<float> xyz, std::span<float> normals, Rng& rng) {
  if (a.dropout > 0) drop_points(a.dropout, xyz, normals, rng);
  if (a.yaw) {
    const Rotation turn = random_pose(Pose::yaw, up, rng);
    rotate(xyz, turn);
    rotate(normals, turn);
  }
  double scale[3] = {1, 1, 1}, shift[3] = {0, 0, 0};
  if (a.scale_low != 1 || a.scale_high != 1) {
    for (double& s : scale) s = rng.uniform(a.scale_low, a.scale_high);
    if (!a.per_axis) scale[1] = scale[2] = scale[0];
    if (a.per_axis) stretch_normals(normals, scale);
  }
  if (a.shift > 0) {
    for (double& s : shift) s = rng.uniform(-a.shift, a.shift);
  }
  for (size_t i = 0; i < xyz.size(); ++i) {
    double value = xyz[i] * scale[i % 3] + shift[i % 3];
    if (a.jitter_sigma > 0) {
      value += std::clamp(a.jitter_sigma * rng.normal(), -a.jitter_clip, a.jitter_clip);
    }
    xyz[i] = static_cast<float>(value);
  }
  if (a.shuffle) shuffle_points(xyz, normals, rng);
}

}  // namespace basin
