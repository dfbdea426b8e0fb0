// Folders that hold arrays: HDF5 files, listed or found by name, and .npy pairs. See point_cloud.h.
// List files of the ModelNet40 release name their members with a prefix of the author's machine, so
// only the base name counts.
#include <algorithm>
#include <set>
#include <utility>

#include "basin/datasets/detail/folders.h"
#include "basin/datasets/hdf5.h"
#include "basin/datasets/npy.h"

namespace basin::folders {
namespace {

using Files = std::vector<fs::path>;

// Base names, whatever folder a list file puts in front, on either system.
Files listed_files(const fs::path& dir, const fs::path& list) {
  Files out;
  for (const std::string& line : read_lines(list)) {
    const fs::path file = dir / line.substr(line.find_last_of("/\\") + 1);
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
    const std::string extension = path.extension().string();
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

PointCloudSet read_h5_files(const Files& files, const LoadOptions& options,
                            const std::string& source) {
  std::vector<Hdf5Clouds> parts;
  int64_t total = 0;
  for (const fs::path& file : files) {
    parts.push_back(read_hdf5_clouds(file));
    parts.back().points = parts.back().points.to(DType::f32);
    const Tensor& p = parts.back().points;
    const int64_t expected = parts[0].points.size(1);
    if (options.points == 0 && p.size(1) != expected) {
      fail(ErrorKind::data, file.string(), ": offset 0: expected ", expected, " points as in ",
           files[0].filename().string(), ", got ", p.size(1));
    }
    total += p.size(0);
  }
  std::vector<Tensor> points, labels;
  const std::vector<int64_t> rows = spread_rows(total, options.limit);
  int64_t first = 0, kept = 0;
  auto row = rows.begin();
  for (size_t f = 0; f < parts.size(); ++f) {
    const int64_t end = first + parts[f].points.size(0);
    std::vector<int64_t> here;
    for (; row != rows.end() && *row < end; ++row) here.push_back(*row - first);
    points.push_back(take_points(parts[f].points, here, options, files[f].string()));
    std::vector<int64_t> label;
    for (int64_t r : here) label.push_back(parts[f].labels.data<int64_t>()[r]);
    labels.push_back(Tensor::from(label, {static_cast<int64_t>(label.size())}));
    parts[f] = {};
    first = end, kept += static_cast<int64_t>(here.size());
  }
  PointCloudSet set;
  set.points = Tensor::empty({kept, points.at(0).size(1), 3}, DType::f32);
  set.labels = Tensor::empty({kept}, DType::i64);
  set.source = source;
  auto* xyz = set.points.mutable_data<float>();
  auto* out = set.labels.mutable_data<int64_t>();
  for (size_t f = 0; f < points.size(); ++f) {
    xyz = std::copy_n(points[f].data<float>(), points[f].numel(), xyz);
    out = std::copy_n(labels[f].data<int64_t>(), labels[f].numel(), out);
    points[f] = {};
  }
  return set;
}

}  // namespace

std::optional<Found> read_hdf5_layout(const fs::path& dir, const LoadOptions& options) {
  const fs::path train_list = dir / "train_files.txt", test_list = dir / "test_files.txt";
  const bool listed = is_file(train_list) && is_file(test_list);
  const auto [train, test] =
      listed ? std::pair(listed_files(dir, train_list), listed_files(dir, test_list))
             : named_h5_files(dir);
  if (!listed && (train.empty() || test.empty())) return std::nullopt;
  if (train.empty() || test.empty()) {
    fail(ErrorKind::data, (train.empty() ? train_list : test_list).string(),
         ": expected at least one file name");
  }
  Found found;
  found.train = read_h5_files(train, options, dir.string());
  found.test = read_h5_files(test, options, dir.string());
  found.train.class_names = class_names_of(dir, {found.train.labels, found.test.labels});
  found.test.class_names = found.train.class_names;
  found.layout = str("HDF5 layout, ", train.size() + test.size(), " files");
  return found;
}

std::optional<Found> read_npy_layout(const fs::path& dir, const LoadOptions& options) {
  const fs::path train = dir / "train_points.npy", test = dir / "test_points.npy";
  if (!is_file(train) || !is_file(test)) return std::nullopt;
  Found found;
  found.train =
      take_set(read_npy(train), read_npy(dir / "train_labels.npy"), options, train.string());
  found.test = take_set(read_npy(test), read_npy(dir / "test_labels.npy"), options, test.string());
  found.train.class_names = class_names_of(dir, {found.train.labels, found.test.labels});
  found.test.class_names = found.train.class_names;
  found.layout = ".npy layout";
  return found;
}

}  // namespace basin::folders
