// Folders with one file per shape: resampled text, trees of meshes and of PLY clouds. See
// point_cloud.h.
#include <algorithm>
#include <cmath>
#include <set>

#include "basin/core/content.h"
#include "basin/core/lines.h"
#include "basin/core/printable.h"
#include "basin/core/random.h"
#include "basin/datasets/detail/folders.h"
#include "basin/datasets/mesh.h"
#include "basin/datasets/npy.h"
#include "basin/datasets/ply.h"

namespace basin::folders {
namespace {

constexpr int64_t kSampledPoints = 1024;  // default where a file has no natural number of points
constexpr uint64_t kMaxTextBytes = 64u << 20;
constexpr size_t kMaxIdBytes = 200;  // with its extension the name of a file

int64_t index_of(const std::vector<std::string>& names, const std::string& name,
                 const std::string& where) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    fail(ErrorKind::data, where, ": class '", name, "' is not in the list of class names");
  }
  return found - names.begin();
}

Tensor read_ply_item(const Item& item, int64_t, uint64_t) {
  const Tensor cloud = read_ply(item.path).points.to(DType::f32);
  if (cloud.size(0) == 0) fail(ErrorKind::data, item.path.string(), ": line 1: it has no points");
  return cloud;
}

// The stream depends on <class>/<split>/<file> alone, so neither limit nor order changes a sample.
Tensor read_mesh_item(const Item& item, int64_t points, uint64_t seed) {
  const fs::path split = item.path.parent_path();
  const std::string key =
      (split.parent_path().filename() / split.filename() / item.path.filename()).generic_string();
  Rng rng(seed, stream_id("mesh " + key));
  return sample_surface(read_mesh(item.path), points > 0 ? points : kSampledPoints, rng,
                        item.path.string())
      .points.to(DType::f32);
}

// Lines "x,y,z[,...]", as many as are asked for.
Tensor read_text_item(const Item& item, int64_t points, uint64_t) {
  const std::string text = read_text_file(item.path, kMaxTextBytes);
  const int64_t wanted = points > 0 ? points : kSampledPoints;
  std::vector<float> xyz;
  LineReader lines(text);
  for (int64_t line = 1; line <= wanted; ++line) {
    std::string_view rest;
    if (!lines.next(rest)) {
      fail(ErrorKind::data, item.path.string(), ": line ", line, ": expected ", wanted,
           " points, the file ends");
    }
    for (int axis = 0; axis < 3; ++axis) {
      const size_t stop = std::min(rest.find_first_of(", \t"), rest.size());
      double value = 0;
      if (!parse_double(rest.substr(0, stop), value) || !std::isfinite(static_cast<float>(value))) {
        fail(ErrorKind::data, item.path.string(), ": line ", line, ": expected x,y,z, got '",
             printable(rest.substr(0, std::min<size_t>(stop, 40))), "'", content_note(text));
      }
      xyz.push_back(static_cast<float>(value));
      rest.remove_prefix(std::min(stop + 1, rest.size()));
      rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
    }
  }
  return Tensor::from(xyz, {wanted, 3});
}

}  // namespace

Tensor read_cloud(const Item& item, int64_t points, uint64_t seed) {
  const std::string extension = item.path.extension().string();
  if (extension == ".off" || extension == ".obj") return read_mesh_item(item, points, seed);
  if (extension == ".ply") return read_ply_item(item, points, seed);
  if (extension == ".txt" || extension == ".csv" || extension == ".xyz") {
    return read_text_item(item, points, seed);
  }
  if (extension == ".npy") {
    const Tensor cloud = read_npy(item.path);
    if (cloud.rank() != 2 || cloud.size(1) != 3 || !is_float(cloud.dtype())) {
      fail(ErrorKind::data, item.path.string(), ": offset 0: expected floats [P, 3], got ",
           name_of(cloud.dtype()), " ", cloud.shape());
    }
    return cloud.to(DType::f32);
  }
  fail(ErrorKind::data, item.path.string(),
       ": expected a file .off, .obj, .ply, .npy, .txt, .csv or .xyz");
}

namespace {

// Ids of a list file; their class is the id without its trailing _number.
struct Listed {
  std::vector<std::string> ids, classes;
};

Listed read_ids(const fs::path& list) {
  Listed out;
  int64_t number = 0;
  for (const std::string& id : read_lines(list)) {
    ++number;
    const size_t cut = id.rfind('_');
    if (cut == id.npos || cut == 0 || id.find_first_of("/\\") != id.npos || id[0] == '.' ||
        id.size() > kMaxIdBytes || printable(id) != id) {
      fail(ErrorKind::data, list.string(), ": entry ", number,
           ": expected ids like airplane_0001, got '", printable(id.substr(0, 40)), "'");
    }
    out.ids.push_back(id);
    out.classes.push_back(id.substr(0, cut));
  }
  return out;
}

std::vector<Item> text_items(const fs::path& dir, const Listed& listed,
                             const std::vector<std::string>& names) {
  std::vector<Item> items;
  for (size_t i = 0; i < listed.ids.size(); ++i) {
    const std::string& name = listed.classes[i];
    items.push_back({dir / name / (listed.ids[i] + ".txt"), index_of(names, name, dir.string())});
  }
  return items;
}

struct Tree {
  std::vector<std::string> classes;                           // folders that hold shapes, sorted
  std::vector<std::pair<std::string, fs::path>> train, test;  // class, file
};

bool has_extension(const fs::path& path, const std::vector<std::string>& extensions) {
  return std::find(extensions.begin(), extensions.end(), path.extension().string()) !=
         extensions.end();
}

Tree scan_tree(const fs::path& dir, const std::vector<std::string>& extensions) {
  Tree tree;
  for (const fs::path& folder : sorted_entries(dir)) {
    const std::string name = folder.filename().string();
    bool any = false;
    for (const bool train : {true, false}) {
      const fs::path split = folder / (train ? "train" : "test");
      std::error_code error;
      if (!fs::is_directory(split, error)) continue;
      for (const fs::path& file : sorted_entries(split)) {
        if (!has_extension(file, extensions) || !is_file(file)) continue;
        (train ? tree.train : tree.test).emplace_back(name, file);
        any = true;
      }
    }
    if (any) tree.classes.push_back(name);
  }
  return tree;
}

std::vector<Item> tree_items(const std::vector<std::pair<std::string, fs::path>>& files,
                             const std::vector<std::string>& names, const std::string& where) {
  std::vector<Item> items;
  for (const auto& [name, path] : files) items.push_back({path, index_of(names, name, where)});
  return items;
}

}  // namespace

std::optional<Found> read_text_layout(const fs::path& dir, const LoadOptions& options) {
  for (const std::string name : {"modelnet40", "modelnet10"}) {
    const fs::path train_list = dir / (name + "_train.txt"), test_list = dir / (name + "_test.txt");
    if (!is_file(train_list) || !is_file(test_list)) continue;
    const Listed train = read_ids(train_list), test = read_ids(test_list);
    const fs::path names_file = dir / (name + "_shape_names.txt");
    const std::set<std::string> unique(train.classes.begin(), train.classes.end());
    const std::vector<std::string> names =
        is_file(names_file) ? read_lines(names_file)
                            : std::vector<std::string>(unique.begin(), unique.end());
    Found found;
    const auto train_items = text_items(dir, train, names),
               test_items = text_items(dir, test, names);
    found.train = read_items(train_items, read_text_item, options, dir.string());
    found.test = read_items(test_items, read_text_item, options, dir.string());
    found.train.class_names = found.test.class_names = names;
    found.layout = "resampled-text layout";
    return found;
  }
  return std::nullopt;
}

std::optional<Found> read_tree_layout(const fs::path& dir, const LoadOptions& options) {
  for (const bool mesh : {true, false}) {
    const Tree tree = scan_tree(
        dir, mesh ? std::vector<std::string>{".off", ".obj"} : std::vector<std::string>{".ply"});
    if (tree.train.empty() || tree.test.empty()) continue;
    const fs::path names_file = dir / "shape_names.txt";
    const auto names = is_file(names_file) ? read_lines(names_file) : tree.classes;
    const CloudReader read = mesh ? read_mesh_item : read_ply_item;
    const std::string where = dir.string();
    Found found;
    const auto train = tree_items(tree.train, names, where),
               test = tree_items(tree.test, names, where);
    found.train = read_items(train, read, options, where);
    found.test = read_items(test, read, options, where);
    found.train.class_names = found.test.class_names = names;
    found.layout = mesh ? "mesh tree" : "PLY tree";
    return found;
  }
  return std::nullopt;
}

}  // namespace basin::folders
