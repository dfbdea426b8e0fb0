// The folder layouts of point_cloud.h, one function each. A reader returns nothing when the folder
// is not of its layout, and a data error when it is but is damaged.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "basin/datasets/point_cloud.h"

namespace basin::folders {

// The two splits before seal(); `layout` opens the description.
struct Found {
  PointCloudSet train, test;
  std::string layout;
};

std::optional<Found> read_hdf5_layout(const fs::path& dir, const LoadOptions& options);
std::optional<Found> read_text_layout(const fs::path& dir, const LoadOptions& options);
std::optional<Found> read_tree_layout(const fs::path& dir, const LoadOptions& options);
std::optional<Found> read_npy_layout(const fs::path& dir, const LoadOptions& options);

// One shape of its own file. A reader gives a cloud of at least `points` rows (0: its natural
// number).
struct Item {
  fs::path path;
  int64_t label = 0;
};
// By extension: meshes are sampled, of other files the points as they are.
Tensor read_cloud(const Item& item, int64_t points, uint64_t seed);          // -> [>= points, 3]
using CloudReader = Tensor (*)(const Item&, int64_t points, uint64_t seed);  // -> [>= points, 3]

// Every item that the limit keeps, in parallel; the first one tells the number of points if none is
// asked.
PointCloudSet read_items(const std::vector<Item>& all, CloudReader read, const LoadOptions& options,
                         const std::string& source);

bool is_file(const fs::path& path);
std::vector<fs::path> sorted_entries(const fs::path& dir);

// Non-empty trimmed lines of a small text file.
std::vector<std::string> read_lines(const fs::path& path);

// The first `points` of each chosen cloud, normalised; `source` is named when a cloud is too short.
Tensor take_points(const Tensor& clouds, const std::vector<int64_t>& rows,  // [n, P, 3]
                   const LoadOptions& options, const std::string& source);

// One array pair, checked for shape and type: points f32, labels i64.
PointCloudSet take_set(const Tensor& clouds, const Tensor& labels,  // [n, P, 3], [n] or [n, 1]
                       const LoadOptions& options, const std::string& source);

// shape_names.txt where there is one, else class_0, class_1, ... up to the largest label.
std::vector<std::string> class_names_of(const fs::path& dir, const std::vector<Tensor>& labels);

}  // namespace basin::folders
