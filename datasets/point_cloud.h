// Labelled point clouds from the folders that people have. The layout is recognised:
//   HDF5       train_files.txt + test_files.txt (resolved by base name), or *.h5 by names with
//              "train" and "test" (ScanObjectNN); shape_names.txt is optional
//   text       modelnet40_train.txt + modelnet40_test.txt + <class>/<id>.txt, lines x,y,z[,...]
//   mesh tree  <class>/<train|test>/*.off (or *.obj), sampled by area; without faces a cloud
//   PLY tree   <class>/<train|test>/*.ply
//   npy        train_points.npy [n, P, 3 or 6], train_labels.npy [n], test_points.npy, ..
// Classes are numbered by shape_names.txt where there is one, else alphabetically. The case of an
// extension does not matter; what file managers and archives leave is passed over (is_litter).
//
// Coordinates are centred and scaled in f64 and then rounded to f32, once. Where that loses what
// the file tells apart, or where the file itself lies too far from the origin, a warning says so.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "basin/core/io.h"
#include "basin/core/tensor.h"

namespace basin {

struct PointCloudSet {
  Tensor points;   // [n, P, 3] f32; clouds of unequal size: [T, 3], one behind the other
  Tensor normals;  // like the points, of length 1 or 0; undefined: not asked for
  Tensor offsets;  // [n + 1] i64, rows of T where the clouds begin; undefined: all have P points
  Tensor labels;   // [n] i64, 0 <= label < class_names.size()
  std::vector<std::string> class_names;
  std::string source;        // folder or generator, for the record of a run
  std::string content_hash;  // SHA-256 over the bytes of points and labels (normals, offsets)

  int64_t size() const { return labels.defined() ? labels.size(0) : 0; }
  int64_t classes() const { return static_cast<int64_t>(class_names.size()); }
  int64_t points_per_cloud() const;                      // P; of unequal clouds the fewest
  int64_t most_points() const;                           // P; of unequal clouds the most
  int64_t points_of(int64_t row) const;                  // of one cloud
  std::span<const float> xyz(int64_t row) const;         // [points_of(row), 3]
  std::span<const float> normals_of(int64_t row) const;  // the same; empty: there are none
};

// Which of a cloud's points are taken where fewer are wanted.
//   first     in the order of the file
//   random    a draw without replacement
//   farthest  farthest-point sampling, farthest_points.h
enum class PointSelection : uint8_t { first, random, farthest };

struct PointCloudSplits {
  PointCloudSet train, test;
  std::string description;  // one line: layout, counts, points, normalisation
  // What is left to do for whoever takes `points` of each cloud: first or random.
  PointSelection selection = PointSelection::first;
};

// unit_sphere: subtract the mean, divide by the largest norm.
// bounding_box: centre each axis at (min + max) / 2, longest side becomes 2.
enum class Normalisation : uint8_t { unit_sphere, bounding_box, none };
Normalisation normalisation_from_name(std::string_view name);  // usage error naming the three
std::string_view name_of(Normalisation normalisation);

struct LoadOptions {
  // Points of a cloud that are wanted; 0: all (of surfaces 1,024). The first ones are taken before
  // the cloud is normalised, random and farthest ones after it. Smaller clouds are kept as they
  // are; that none has as many is a data error.
  int64_t points = 0;
  int64_t limit = 0;  // shapes per split, spread evenly over the split; 0: all
  uint64_t seed = 0;  // of the sampling of surfaces and of random choices
  Normalisation normalise = Normalisation::unit_sphere;
  // None: first for HDF5 files, the resampled text release and the embedded shapes, random for
  // PLY, .npy, meshes without faces and single files.
  //   random: a set keeps kept_at_random() points of each file (of arrays: all), of which every
  //   epoch draws anew; surfaces are sampled anyway, and only an explicit `random` draws again.
  //   farthest: a set holds exactly the chosen points, in the order of the choice; surfaces and
  //   embedded shapes are sampled with kept_at_random() points before.
  std::optional<PointSelection> selection = {};
  bool normals = false;  // data error naming the file when there are none
};

// max(2048, 4 points): enough for fresh draws, without keeping files of a million points.
int64_t kept_at_random(int64_t points);

PointCloudSplits load_point_clouds(const fs::path& dir, const LoadOptions& options = {});

// One pair of arrays, e.g. data_<corruption>_<severity>.npy and label.npy of ModelNet40-C.
PointCloudSet load_npy_set(const fs::path& points, const fs::path& labels,
                           const LoadOptions& options = {});

// One cloud from one file, without a label: .off and .obj (sampled by area, or the vertices where
// there is no face), .ply, .npy [P, 3 or 6] and text lines x,y,z[,nx,ny,nz]. Exactly as many points
// as are wanted; of a smaller cloud all, and then some of them again.
// data error naming the file.
struct LoadedCloud {
  Tensor points;   // [points, 3] f32
  Tensor normals;  // the same; undefined: not asked for
};
LoadedCloud load_cloud(const fs::path& file, const LoadOptions& options = {});

// "embedded" (datasets/shapes.h, its default size) or a folder.
PointCloudSplits load_dataset(const std::string& spec, const LoadOptions& options = {});

// In place on one cloud [P, 3], computed in f64. A cloud of coinciding points is only centred.
// Doubles are first taken relative to their first point, so that no offset costs precision.
void normalise_cloud(std::span<float> xyz, Normalisation normalisation);
void normalise_cloud(std::span<double> xyz, Normalisation normalisation);

// Checks shapes, labels and finiteness (data error naming the source) and fills in the content
// hash.
void seal(PointCloudSet& set);

// Rows that a limit keeps of n: floor(i n / limit), so that every part of the split is represented.
std::vector<int64_t> spread_rows(int64_t n, int64_t limit);

std::vector<int64_t> class_counts(const PointCloudSet& set);
// Clouds of one set that are, point for point and bit for bit, clouds of another. A test split that
// repeats the training split measures memory; of the HDF5 release of ModelNet40 91 test clouds do.
struct Repeats {
  std::vector<int64_t> rows;  // of the set, rising
  int64_t relabelled = 0;     // of these without any equal cloud of their own label
};
Repeats repeats_of(const PointCloudSet& set, const PointCloudSet& other);
PointCloudSet subset(const PointCloudSet& set, std::span<const int64_t> rows);  // copies

}  // namespace basin
