// Labelled point clouds from the folders that people have. The layout is recognised:
//   HDF5       train_files.txt + test_files.txt (resolved by base name), or *.h5 by names with
//              "train" and "test" (ScanObjectNN); shape_names.txt is optional
//   text       modelnet40_train.txt + modelnet40_test.txt + <class>/<id>.txt, lines x,y,z[,...]
//   mesh tree  <class>/<train|test>/*.off (or *.obj), sampled by area
//   PLY tree   <class>/<train|test>/*.ply
//   npy        train_points.npy [n, P, 3], train_labels.npy [n], test_points.npy, test_labels.npy
// Classes are numbered by shape_names.txt where there is one, else alphabetically.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "basin/core/io.h"
#include "basin/core/tensor.h"

namespace basin {

struct PointCloudSet {
  Tensor points;  // [n, P, 3] f32
  Tensor labels;  // [n] i64, 0 <= label < class_names.size()
  std::vector<std::string> class_names;
  std::string source;        // folder or generator, for the record of a run
  std::string content_hash;  // SHA-256 over the bytes of points and labels

  int64_t size() const { return points.defined() ? points.size(0) : 0; }
  int64_t points_per_cloud() const { return points.defined() ? points.size(1) : 0; }
  int64_t classes() const { return static_cast<int64_t>(class_names.size()); }
};

struct PointCloudSplits {
  PointCloudSet train, test;
  std::string description;  // one line: layout, counts, points, normalisation
};

// unit_sphere: subtract the mean, divide by the largest norm.
// bounding_box: centre each axis at (min + max) / 2, longest side becomes 2.
enum class Normalisation : uint8_t { unit_sphere, bounding_box, none };
Normalisation normalisation_from_name(std::string_view name);  // usage error naming the three
std::string_view name_of(Normalisation normalisation);

struct LoadOptions {
  int64_t points = 0;  // the first N of each cloud, *then* normalised; 0: all (meshes, text: 1,024)
  int64_t limit = 0;   // shapes per split, spread evenly over the split; 0: all
  uint64_t seed = 0;   // of the mesh sampling
  Normalisation normalise = Normalisation::unit_sphere;
};

PointCloudSplits load_point_clouds(const fs::path& dir, const LoadOptions& options = {});

// One pair of arrays, e.g. data_<corruption>_<severity>.npy and label.npy of ModelNet40-C.
PointCloudSet load_npy_set(const fs::path& points, const fs::path& labels,
                           const LoadOptions& options = {});

// One cloud from one file, without a label: .off and .obj are sampled by area, .ply, .npy [P, 3]
// and text lines x,y,z[,...] give their first points. data error naming the file.
//   -> [points, 3] f32
Tensor load_cloud(const fs::path& file, const LoadOptions& options = {});

// "embedded" (datasets/shapes.h, its default size) or a folder.
PointCloudSplits load_dataset(const std::string& spec, const LoadOptions& options = {});

// In place on one cloud [P, 3]. A cloud of coinciding points is only centred.
void normalise_cloud(std::span<float> xyz, Normalisation normalisation);

// Checks shapes, labels and finiteness (data error naming the source) and fills in the content
// hash.
void seal(PointCloudSet& set);

// Rows that a limit keeps of n: floor(i n / limit), so that every part of the split is represented.
std::vector<int64_t> spread_rows(int64_t n, int64_t limit);

std::vector<int64_t> class_counts(const PointCloudSet& set);
PointCloudSet subset(const PointCloudSet& set, std::span<const int64_t> rows);  // copies

}  // namespace basin
