// Folders that hold arrays: HDF5 files, listed or found by name, and .npy pairs. See point_cloud.h.
// List files of the ModelNet40 release name their members with a prefix of the author's machine, so
// only the base name counts.
#include <algorithm>
#include <set>
#include <utility>

#include "basin/core/content.h"
#include "basin/datasets/detail/folders.h"
#include "basin/datasets/hdf5.h"
#include "basin/datasets/npy.h"

namespace basin::folders {
namespace {

using Files = std::vector<fs::path>;

// Base names, whatever folder a list file puts in front, on either system.
Files listed_files(const fs::path& dir, const fs::path& list) {
  Files out;
  for (const std::string& line : read_list(list)) {
    const fs::path file = find_file(dir, last_name(line));
    if (!is_file(file)) {
      fail(ErrorKind::data, list.string(), ": lists ", line, ", there is no ", file.string());
    }
    out.push_back(file);
  }
  return out;
}

struct Part {
  std::string family;  // the name without its split word: equal for the parts of one data set
  bool train = false;
};

// "ply_data_train0" -> {"ply_data_", train}; nothing when the name tells no split.
std::optional<Part> part_of(std::string stem) {
  for (const std::string_view word : {"training", "train", "testing", "test"}) {
    const size_t at = stem.find(word);
    if (at == stem.npos) continue;
    size_t end = at + word.size();
    while (end < stem.size() && stem[end] >= '0' && stem[end] <= '9') ++end;
    return Part{stem.erase(at, end - at), word.starts_with("train")};
  }
  return std::nullopt;
}

// *.h5 without list files: training files, test files.
std::pair<Files, Files> named_h5_files(const fs::path& dir) {
  std::pair<Files, Files> out;
  std::set<std::string> families;
  for (const fs::path& path : sorted_entries(dir)) {
    const std::string extension = lower_extension(path);
    if (!is_file(path) || (extension != ".h5" && extension != ".hdf5")) continue;
    const std::optional<Part> part = part_of(path.stem().string());
    if (!part) continue;
    families.insert(part->family);
    (part->train ? out.first : out.second).push_back(path);
  }
  if (families.size() > 1) {
    std::string list;
    for (const std::string& f : families) list += (list.empty() ? "*" : ", *") + f;
    fail(ErrorKind::data, dir.string(), ": expected the HDF5 files of one variant, got ", list,
         "; link the wanted train and test files into a folder of their own");
  }
  return out;
}

// The kept rows of one file.
PointCloudSet read_h5_rows(const Hdf5Clouds& file, const std::vector<int64_t>& rows,
                           const LoadOptions& options, const std::string& source) {
  const int64_t have = file.points.size(1), wanted = rows_wanted(have, options);
  const auto read = [&](int64_t i) {
    StoredCloud cloud = stored_rows(file.points, have * rows[i], wanted, false);
    if (file.normals.defined()) {
      append_rows(file.normals, have * rows[i], wanted, 0, cloud.normals);
    }
    return cloud;
  };
  const auto name = [&](int64_t i) { return str(source, ": row ", rows[i]); };
  const auto size = static_cast<int64_t>(rows.size());
  PointCloudSet set = collect({size, read, name}, options, source);
  std::vector<int64_t> labels;
  for (const int64_t row : rows) labels.push_back(file.labels.data<int64_t>()[row]);
  set.labels = Tensor::from(labels, {size});
  return set;
}

PointCloudSet read_h5_files(const Files& files, const LoadOptions& options,
                            const std::string& source) {
  std::vector<Hdf5Clouds> parts;
  int64_t total = 0;
  for (const fs::path& file : files) {
    parts.push_back(read_hdf5_clouds(file, {.normals = options.normals}));
    total += parts.back().points.size(0);
  }
  std::vector<PointCloudSet> sets;
  const std::vector<int64_t> rows = spread_rows(total, options.limit);
  int64_t first = 0;
  auto row = rows.begin();
  for (size_t f = 0; f < parts.size(); ++f) {
    const int64_t end = first + parts[f].points.size(0);
    std::vector<int64_t> here;
    for (; row != rows.end() && *row < end; ++row) here.push_back(*row - first);
    sets.push_back(read_h5_rows(parts[f], here, options, files[f].string()));
    parts[f] = {};
    first = end;
  }
  PointCloudSet set = joined(std::move(sets), source);
  check_points(set, options, files.front().string());
  return set;
}

}  // namespace

std::optional<Found> read_hdf5_layout(const fs::path& dir, const LoadOptions& options) {
  const fs::path train_list = find_file(dir, "train_files.txt"),
                 test_list = find_file(dir, "test_files.txt");
  const bool listed = is_file(train_list) && is_file(test_list);
  const auto [train, test] =
      listed ? std::pair(listed_files(dir, train_list), listed_files(dir, test_list))
             : named_h5_files(dir);
  if (!listed && (train.empty() || test.empty())) return std::nullopt;
  if (train.empty() || test.empty()) {
    fail(ErrorKind::data, (train.empty() ? train_list : test_list).string(),
         ": expected at least one file name");
  }
  const LoadOptions resolved = with_selection(options, PointSelection::first);
  Found found;
  found.train = read_h5_files(train, resolved, dir.string());
  found.test = read_h5_files(test, resolved, dir.string());
  found.train.class_names = class_names_of(dir, {found.train.labels, found.test.labels});
  found.test.class_names = found.train.class_names;
  found.layout = str("HDF5 layout, ", train.size() + test.size(), " files");
  found.selection = left_to_choose(resolved);
  return found;
}

std::optional<Found> read_npy_layout(const fs::path& dir, const LoadOptions& options) {
  const fs::path train = find_file(dir, "train_points.npy"),
                 test = find_file(dir, "test_points.npy");
  if (!is_file(train) || !is_file(test)) return std::nullopt;
  const auto labels = [&](const char* name) { return read_npy(find_file(dir, name)); };
  Found found;
  found.train = take_set(read_npy(train), labels("train_labels.npy"), options, train.string());
  found.test = take_set(read_npy(test), labels("test_labels.npy"), options, test.string());
  found.train.class_names = class_names_of(dir, {found.train.labels, found.test.labels});
  found.test.class_names = found.train.class_names;
  found.layout = ".npy layout";
  found.selection = left_to_choose(options);
  return found;
}

}  // namespace basin::folders
