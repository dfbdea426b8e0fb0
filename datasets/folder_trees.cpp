// Folders with one file per shape: resampled text, trees of meshes and of PLY clouds. See
// point_cloud.h.
#include <algorithm>
#include <cmath>
#include <limits>
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

// <class>/<split>/<file>: a draw that depends on it alone changes with neither limit nor order.
std::string key_of(const fs::path& path) {
  const fs::path split = path.parent_path();
  return (split.parent_path().filename() / split.filename() / path.filename()).generic_string();
}

StoredCloud stored(const Tensor& points, const Tensor& normals, const Item& item) {
  StoredCloud out = stored_rows(points, 0, points.size(0), false);
  if (normals.defined()) append_rows(normals, 0, normals.size(0), 0, out.normals);
  out.key = key_of(item.path);
  return out;
}

StoredCloud read_ply_item(const Item& item, const LoadOptions& options) {
  const PlyCloud cloud = read_ply(item.path);
  if (cloud.points.size(0) == 0) {
    fail(ErrorKind::data, item.path.string(), ": line 1: it has no points");
  }
  return stored(cloud.points, options.normals ? cloud.normals : Tensor(), item);
}

// Points that a surface is sampled with.
int64_t samples_of(const LoadOptions& options) {
  if (options.points == 0) return kSampledPoints;
  if (options.selection == PointSelection::farthest) return kept_at_random(options.points);
  if (options.selection == PointSelection::random) return std::max(options.points, kSampledPoints);
  return options.points;
}

StoredCloud read_mesh_item(const Item& item, const LoadOptions& options) {
  const TriangleMesh mesh = read_mesh(item.path);
  if (mesh.triangles.empty()) {
    const SampledSurface cloud = mesh_vertices(mesh);
    return stored(cloud.points, options.normals ? cloud.normals : Tensor(), item);
  }
  Rng rng(options.seed, stream_id("mesh " + key_of(item.path)));
  const SampledSurface cloud =
      sample_surface(mesh, samples_of(options), rng, item.path.string(), options.normals);
  StoredCloud out = stored(cloud.points, options.normals ? cloud.normals : Tensor(), item);
  out.sampled = true;
  return out;
}

// One line of a text: as many numbers as are asked for, separated by commas or blanks.
class NumberLine {
 public:
  NumberLine(std::string_view line, int64_t number, const fs::path& path, std::string_view text)
      : rest_(line), number_(number), path_(path), text_(text) {}

  double next(std::string_view expected) {
    const size_t stop = std::min(rest_.find_first_of(", \t"), rest_.size());
    double value = 0;
    if (!parse_double(rest_.substr(0, stop), value) || !std::isfinite(static_cast<float>(value))) {
      fail(ErrorKind::data, path_.string(), ": line ", number_, ": expected ", expected, ", got '",
           printable(rest_.substr(0, std::min<size_t>(stop, 40))), "'", content_note(text_));
    }
    rest_.remove_prefix(std::min(stop + 1, rest_.size()));
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t"), rest_.size()));
    return value;
  }
  bool at_end() const { return rest_.find_first_not_of(" \t") == rest_.npos; }

 private:
  std::string_view rest_;
  int64_t number_;
  const fs::path& path_;
  std::string_view text_;  // the whole file
};

// Lines "x,y,z[,nx,ny,nz][,...]" up to the end or to the last one wanted. What follows the last
// line with a number may be blank.
StoredCloud read_text_item(const Item& item, const LoadOptions& options) {
  const std::string text = read_text_file(item.path, kMaxTextBytes);
  const size_t end = text.find_last_not_of(" \t\r\n") + 1;
  const int64_t wanted = rows_wanted(std::numeric_limits<int64_t>::max(), options);
  StoredCloud out;
  out.wide = true;
  out.key = key_of(item.path);
  LineReader lines(std::string_view(text).substr(0, end));
  for (std::string_view line; lines.number() < wanted && lines.next(line);) {
    NumberLine numbers(line, lines.number(), item.path, text);
    for (int axis = 0; axis < 3; ++axis) out.xyz.push_back(numbers.next("x,y,z"));
    if (options.normals && !numbers.at_end()) {
      for (int axis = 0; axis < 3; ++axis) out.normals.push_back(numbers.next("x,y,z,nx,ny,nz"));
    }
  }
  return out;
}

StoredCloud read_npy_item(const Item& item, const LoadOptions& options) {
  const Tensor cloud = read_npy(item.path);
  const bool shaped = cloud.rank() == 2 && (cloud.size(1) == 3 || cloud.size(1) == 6);
  if (!shaped || !is_float(cloud.dtype())) {
    fail(ErrorKind::data, item.path.string(), ": offset 0: expected floats [P, 3], or [P, 6] with ",
         "normals, got ", name_of(cloud.dtype()), " ", cloud.shape());
  }
  StoredCloud out = stored_rows(cloud, 0, cloud.size(0), options.normals);
  out.key = key_of(item.path);
  return out;
}

}  // namespace

StoredCloud read_cloud(const Item& item, const LoadOptions& options) {
  const std::string extension = lower_extension(item.path);
  if (extension == ".off" || extension == ".obj") return read_mesh_item(item, options);
  if (extension == ".ply") return read_ply_item(item, options);
  if (extension == ".npy") return read_npy_item(item, options);
  if (extension == ".txt" || extension == ".csv" || extension == ".xyz") {
    return read_text_item(item, options);
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
  for (const std::string& id : read_list(list)) {
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
    const fs::path file = find_file(dir / name, listed.ids[i] + ".txt");
    items.push_back({file, index_of(names, name, dir.string())});
  }
  return items;
}

struct Tree {
  std::vector<std::string> classes;                           // folders that hold shapes, sorted
  std::vector<std::pair<std::string, fs::path>> train, test;  // class, file
};

bool has_extension(const fs::path& path, const std::vector<std::string>& extensions) {
  return std::find(extensions.begin(), extensions.end(), lower_extension(path)) != extensions.end();
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
    const fs::path train_list = find_file(dir, name + "_train.txt"),
                   test_list = find_file(dir, name + "_test.txt");
    if (!is_file(train_list) || !is_file(test_list)) continue;
    const Listed train = read_ids(train_list), test = read_ids(test_list);
    const fs::path names_file = find_file(dir, name + "_shape_names.txt");
    const std::set<std::string> unique(train.classes.begin(), train.classes.end());
    const std::vector<std::string> names =
        is_file(names_file) ? read_lines(names_file)
                            : std::vector<std::string>(unique.begin(), unique.end());
    const LoadOptions resolved = with_selection(options, PointSelection::first);
    const auto train_items = text_items(dir, train, names),
               test_items = text_items(dir, test, names);
    Found found;
    found.train = read_items(train_items, read_text_item, resolved, dir.string());
    found.test = read_items(test_items, read_text_item, resolved, dir.string());
    found.train.class_names = found.test.class_names = names;
    found.layout = "resampled-text layout";
    found.selection = left_to_choose(resolved);
    return found;
  }
  return std::nullopt;
}

std::optional<Found> read_tree_layout(const fs::path& dir, const LoadOptions& options) {
  for (const bool mesh : {true, false}) {
    const Tree tree = scan_tree(
        dir, mesh ? std::vector<std::string>{".off", ".obj"} : std::vector<std::string>{".ply"});
    if (tree.train.empty() || tree.test.empty()) continue;
    const fs::path names_file = find_file(dir, "shape_names.txt");
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
    found.selection = left_to_choose(options);
    return found;
  }
  return std::nullopt;
}

}  // namespace basin::folders
