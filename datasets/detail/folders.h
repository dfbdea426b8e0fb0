// The folder layouts of point_cloud.h, one function each. A reader returns nothing when the folder
// is not of its layout, and a data error when it is but is damaged.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "basin/datasets/detail/stored_cloud.h"
#include "basin/datasets/point_cloud.h"

namespace basin::folders {

// The two splits before seal(); `layout` opens the description.
struct Found {
  PointCloudSet train, test;
  std::string layout;
  PointSelection selection = PointSelection::first;  // as PointCloudSplits::selection
};

std::optional<Found> read_hdf5_layout(const fs::path& dir, const LoadOptions& options);
std::optional<Found> read_text_layout(const fs::path& dir, const LoadOptions& options);
std::optional<Found> read_tree_layout(const fs::path& dir, const LoadOptions& options);
std::optional<Found> read_npy_layout(const fs::path& dir, const LoadOptions& options);

// One shape of its own file.
struct Item {
  fs::path path;
  int64_t label = 0;
};
// By extension: meshes are sampled, of other files the points as they are, with normals where
// options.normals asks for them and the file holds them. data error naming the file.
StoredCloud read_cloud(const Item& item, const LoadOptions& options);
using CloudReader = StoredCloud (*)(const Item&, const LoadOptions&);

// The options with the choice of points that the layout makes where none was asked for.
LoadOptions with_selection(LoadOptions options, PointSelection usual);
// What is left to choose of a set that was read with these options.
PointSelection left_to_choose(const LoadOptions& options);

// Clouds 0 .. size - 1, read in parallel, without labels: `read` is thread-safe; `name` is what
// sentences call a cloud; `most`: points that a random choice keeps of each, 0: all. Of several
// faults the first cloud's is reported; no points, and no normals where they are asked for, are
// data errors. Warns of what rounding lost.
struct CloudList {
  int64_t size = 0;
  std::function<StoredCloud(int64_t)> read;
  std::function<std::string(int64_t)> name;
  int64_t most = 0;
};
PointCloudSet collect(const CloudList& clouds, const LoadOptions& options,
                      const std::string& source);

// Every item that the limit keeps. data error when no cloud has the points that are wanted.
PointCloudSet read_items(const std::vector<Item>& all, CloudReader read, const LoadOptions& options,
                         const std::string& source);

// One array pair, checked for shape and type.
PointCloudSet take_set(const Tensor& clouds, const Tensor& labels,  // [n, P, 3 or 6], [n] or [n, 1]
                       const LoadOptions& options, const std::string& source);

// The parts one behind the other, each given up as it is copied.
PointCloudSet joined(std::vector<PointCloudSet> parts, const std::string& source);

// How many of a cloud's rows are worth reading.
int64_t rows_wanted(int64_t have, const LoadOptions& options);
// data error unless there is a cloud, and one that has as many points as are wanted.
void check_points(const PointCloudSet& set, const LoadOptions& options, const std::string& source);
bool is_file(const fs::path& path);
// Sorted, without what is no data (core/listing.h).
std::vector<fs::path> sorted_entries(const fs::path& dir);
// The file of that name, or of that name with an extension in other cases; else the path as it is.
fs::path find_file(const fs::path& dir, const std::string& name);

// Non-empty trimmed lines of a small text file; of a list of files, without those that are no data.
std::vector<std::string> read_lines(const fs::path& path);
std::vector<std::string> read_list(const fs::path& path);
// The last name of a listed path, whichever system wrote it.
std::string last_name(const std::string& line);

// shape_names.txt where there is one, else class_0, class_1, ... up to the largest label.
std::vector<std::string> class_names_of(const fs::path& dir, const std::vector<Tensor>& labels);

}  // namespace basin::folders
