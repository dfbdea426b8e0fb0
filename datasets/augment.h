// Augmentations and pose protocols of point-cloud classification. Applied in the order
// dropout, yaw, scale, shift, jitter, shuffle; every draw comes from the Rng that is passed in.
// Random rotations are normalised Gaussian quaternions, hence uniform on SO(3). The pose protocol
// "z/SO(3)" means: training clouds are turned about the up axis, test clouds by any rotation.
// Normals are directions: a rotation turns them, shift and jitter leave them alone, and a scale per
// axis S takes n to S^-1 n / |S^-1 n|, the normal of the stretched surface; they follow their
// points when these change places or stand for others.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "basin/core/random.h"

namespace basin {

// Which axis is up depends on the copy of the data: z in ModelNet's meshes and in clouds sampled
// from them, y in the 2,048-point HDF5 release.
enum class Axis : uint8_t { x, y, z };
enum class Pose : uint8_t { fixed, yaw, so3 };

Axis axis_from_name(std::string_view name);  // "x", "y", "z"
std::string_view name_of(Axis axis);
std::string_view name_of(Pose pose);

struct PoseProtocol {
  Pose train = Pose::fixed;
  Pose test = Pose::fixed;
};
// "none", "z/z", "z/SO(3)", "SO(3)/SO(3)" (case and parentheses do not matter).
PoseProtocol pose_protocol_from_name(std::string_view name);

using Rotation = std::array<double, 9>;  // row-major, p' = R p
Rotation yaw_rotation(double angle, Axis up);
Rotation random_rotation(Rng& rng);
Rotation random_pose(Pose pose, Axis up, Rng& rng);
void rotate(std::span<float> xyz, const Rotation& rotation);  // [P, 3] in place

struct Augment {
  double scale_low = 1, scale_high = 1;      // p * U(low, high)
  bool per_axis = false;                     // one factor per axis instead of one per cloud
  double shift = 0;                          // + U(-shift, shift)^3
  double jitter_sigma = 0, jitter_clip = 0;  // + clip(N(0, sigma^2), +-clip) per coordinate
  double dropout = 0;                        // share U(0, dropout) of the points becomes point 0
  bool yaw = false;                          // a turn about the up axis
  bool shuffle = false;                      // order of the points

  bool active() const;
  std::string to_string() const;  // parse_augment(to_string()) gives the same
};

// A comma list of steps and presets; later entries override earlier ones.
//   steps:   scale[=low:high] (per axis, 2/3..3/2), iso_scale[=low:high] (0.8..1.25),
//            shift[=s] (0.2), jitter[=sigma:clip] (0.01:0.05), dropout[=share] (0.875), yaw,
//            shuffle
//   presets: none; dgcnn = scale,shift,shuffle; pointnet_b = iso_scale,shift=0.1,dropout,shuffle;
//            pointnet_original = yaw,jitter
Augment parse_augment(std::string_view spec);

// In place: [P, 3], and the normals likewise or none. The draws are the same with and without them.
void apply(const Augment& augment, Axis up, std::span<float> xyz, std::span<float> normals,
           Rng& rng);
inline void apply(const Augment& augment, Axis up, std::span<float> xyz, Rng& rng) {
  apply(augment, up, xyz, {}, rng);
}

}  // namespace basin
