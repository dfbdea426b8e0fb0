// The 15 corruptions of ModelNet40-C at 5 severities each, generated from clean clouds or meshes.
//   Sun, Zhang, Kailkhura, Yu, Xiao, Mao, "Benchmarking Robustness of 3D Point Cloud Recognition
//   Against Common Corruptions", 2022 (arXiv:2201.12296); the numbers are those of its generator.
// Everything is a pure function of (shape, corruption, severity, seed, index): the draws come from
// one counter-based stream per shape, so the bits do not depend on threads, order or a subset of
// the shapes. BOX below: centre each axis at (min + max) / 2, the longest side becomes 2.
// The tables are for clouds of 1,024 points inside BOX. For N points, counts that are fractions of
// N (impulse N/30.., upsampling N/5.., background N/45.., the output of density_inc) scale with N;
// the fixed ones stay (30 nearest of a cutout, 75 of the 100 nearest of density, clusters of 100).
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "basin/datasets/depth_image.h"
#include "basin/datasets/mesh.h"
#include "basin/datasets/point_cloud.h"

namespace basin {

enum class CorruptionGroup : uint8_t { density, noise, transformation };

// What a corruption is made from. cloud: N points give a cloud of about N points. dense_cloud: 2 N
// points give N (2,048 -> 1,024). mesh: a depth image of the mesh (no cloud can give it).
enum class CorruptionInput : uint8_t { cloud, dense_cloud, mesh };

struct CorruptionInfo {
  std::string name;  // as in the benchmark's file names: "uniform", "distortion_rbf_inv", ...
  CorruptionGroup group;
  CorruptionInput input;
  bool renormalised;             // BOX afterwards
  std::array<double, 5> levels;  // of severity 1 .. 5, in the unit that `meaning` names
  std::string meaning;           // one line
};

inline constexpr int kSeverities = 5;
inline constexpr int64_t kCorruptionPoints = 1024;       // of a base cloud
inline constexpr int64_t kCorruptionDensePoints = 2048;  // of the base cloud of density_inc
inline constexpr uint64_t kCorruptionSeed = 2021;        // the benchmark's

const std::vector<CorruptionInfo>& corruptions();                // the 15, in the benchmark's order
const CorruptionInfo& corruption_info(const std::string& name);  // usage error with the nearest
std::string_view name_of(CorruptionGroup group);

// Points that come out at a severity 1 .. 5 of a cloud of `points` points; 0: the benchmark's 1,024
// (2,048 for density_inc). usage error: fewer points than this severity needs.
int64_t corrupted_points(const CorruptionInfo& corruption, int severity, int64_t points = 0);

// The whole cloud is the base: points [N, 3] f32, in BOX or the unit sphere -> [n, 3] f32. A copy
// of the description with renormalised = false gives the points before BOX. usage error: a
// corruption that needs a mesh, a severity outside 1 .. 5, fewer points than this severity takes
// away.
Tensor corrupt_cloud(const Tensor& points, const CorruptionInfo& corruption, int severity,
                     uint64_t seed, uint64_t index);

// occlusion and lidar: the mesh is brought into BOX, seen by a pinhole camera (datasets/
// depth_image.h: both sides of a triangle are seen) and turned from the axes of the meshes (z up)
// to those of the HDF5 clouds (y up), (x, y, z) -> (-x, z, y); -> [1024 or 768, 3] f32. Of the
// pixels 1,024 are drawn, with replacement only where the picture has fewer. lidar then cuts polar
// angles about the camera's vertical into rings of 1 degree from the smallest on, moves the middle
// half of each ring to its centre, drops the rest and draws 768 with replacement.
// The published arrays come from a renderer that leaves out back faces; here a mesh with the wrong
// winding has no holes.
// usage error: a corruption of clouds. data error: nothing of the mesh is left in the picture.
Tensor corrupt_mesh(const TriangleMesh& mesh, const CorruptionInfo& corruption, int severity,
                    uint64_t seed, uint64_t index);

// The camera of that picture, in the axes of the mesh.
PinholeCamera corruption_camera(const CorruptionInfo& corruption, int severity, uint64_t seed,
                                uint64_t index);

// A whole test set, shapes in parallel; shape i is corrupted with index i. The base of each shape
// is a fresh random 1,024-subset of its points (2,048 for density_inc); the sets of different
// corruptions and severities differ. Labels and class names stay. usage error: too few points per
// shape, a corruption that needs meshes, a set with normals (of points that are moved, added and
// removed the benchmark knows none).
PointCloudSet corrupt_set(const PointCloudSet& test, const CorruptionInfo& corruption, int severity,
                          uint64_t seed);

// Whether <class>/test/*.off or *.obj lies in the folder (the first one has faces), and the
// corrupted clouds of those meshes:
// files in the order of load_point_clouds, read one by one (the meshes never lie in memory
// together). limit > 0: that many, spread over the list; a limit changes no shape's view.
// class_names: those of the training set (usage error if a folder's class is not among them);
// empty: the folders, sorted. data error naming the file.
bool has_test_meshes(const fs::path& dir);
// The meshes behind the test split, in its order; limit as above.
std::vector<fs::path> test_mesh_files(const fs::path& dir, int64_t limit);
PointCloudSet corrupt_mesh_tree(const fs::path& dir, const CorruptionInfo& corruption, int severity,
                                uint64_t seed, int64_t limit = 0,
                                const std::vector<std::string>& class_names = {});

// The published arrays, a folder with data_<name>_<severity>.npy [S, n, 3] and one label.npy [S]:
// as they are, no slicing, no normalisation. Has: whether the file of this pair is there.
// class_names: those of the training set, so that the classes agree; empty: shape_names.txt of the
// folder, else numbers. data error: a missing or damaged file, a label outside the classes.
fs::path published_corruption_file(const fs::path& dir, const CorruptionInfo& corruption,
                                   int severity);
bool has_published_corruption(const fs::path& dir, const CorruptionInfo& corruption, int severity);
PointCloudSet load_published_corruption(const fs::path& dir, const CorruptionInfo& corruption,
                                        int severity,
                                        const std::vector<std::string>& class_names = {});

}  // namespace basin
