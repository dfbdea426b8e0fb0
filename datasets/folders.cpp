// What the folder layouts share: see folders.h. Entries are taken in sorted or listed order, never
// in the order in which the file system returns names. Files are read in parallel, each into its
// own rows; of several damaged files the first in order is reported, for any thread count.
#include "basin/datasets/detail/folders.h"

#include <algorithm>
#include <exception>

#include "basin/core/listing.h"
#include "basin/core/parallel.h"

namespace basin::folders {
namespace {

constexpr int64_t kMaxClasses = 100'000;
constexpr uint64_t kMaxListBytes = 64u << 20;

}  // namespace

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

std::vector<fs::path> sorted_entries(const fs::path& dir) {
  std::error_code error;
  std::vector<fs::path> out = list_folder(dir, error);
  if (error) fail(ErrorKind::data, dir.string(), ": cannot be listed: ", error_text(error));
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> read_lines(const fs::path& path) {
  const std::string text = read_text_file(path, kMaxListBytes);
  std::vector<std::string> out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    const size_t first = line.find_first_not_of(" \t\r"), last = line.find_last_not_of(" \t\r");
    if (first != line.npos) out.push_back(line.substr(first, last - first + 1));
    begin = end + 1;
  }
  return out;
}

std::vector<std::string> class_names_of(const fs::path& dir, const std::vector<Tensor>& labels) {
  const fs::path file = dir / "shape_names.txt";
  if (is_file(file)) return read_lines(file);
  int64_t largest = 0;
  for (const Tensor& t : labels) {
    for (int64_t label : t.to_vector<int64_t>()) largest = std::max(largest, label);
  }
  if (largest >= kMaxClasses) {
    fail(ErrorKind::data, dir.string(), ": expected labels below ", kMaxClasses, ", got ", largest);
  }
  std::vector<std::string> names;
  for (int64_t i = 0; i <= largest; ++i) names.push_back(str("class_", i));
  return names;
}

Tensor take_points(const Tensor& clouds, const std::vector<int64_t>& rows,
                   const LoadOptions& options, const std::string& source) {
  const int64_t have = clouds.size(1), points = options.points > 0 ? options.points : have;
  if (points > have) {
    fail(ErrorKind::data, source, ": offset 0: expected at least ", points,
         " points per cloud, got ", have);
  }
  Tensor out = Tensor::empty({static_cast<int64_t>(rows.size()), points, 3}, DType::f32);
  auto* xyz = out.mutable_data<float>();
  const auto* from = clouds.data<float>();
  parallel_for(static_cast<int64_t>(rows.size()), 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* cloud = xyz + 3 * points * i;
      std::copy_n(from + 3 * have * rows[i], 3 * points, cloud);
      normalise_cloud({cloud, static_cast<size_t>(3 * points)}, options.normalise);
    }
  });
  return out;
}

PointCloudSet take_set(const Tensor& clouds, const Tensor& labels, const LoadOptions& options,
                       const std::string& source) {
  const bool cloud = clouds.rank() == 3 && clouds.size(2) == 3 && is_float(clouds.dtype());
  if (!cloud) {
    fail(ErrorKind::data, source, ": offset 0: expected floats [n, P, 3], got ", clouds);
  }
  const int64_t n = clouds.size(0);
  const bool flat = labels.rank() == 1 || (labels.rank() == 2 && labels.size(1) == 1);
  if (!flat || labels.size(0) != n || is_float(labels.dtype())) {
    fail(ErrorKind::data, source, ": offset 0: expected integer labels [", n, "] or [", n,
         ", 1], got ", labels);
  }
  const std::vector<int64_t> rows = spread_rows(n, options.limit);
  std::vector<int64_t> kept;
  for (int64_t row : rows) kept.push_back(static_cast<int64_t>(labels.at(row)));
  PointCloudSet set;
  set.points = take_points(clouds.to(DType::f32), rows, options, source);
  set.labels = Tensor::from(kept, {static_cast<int64_t>(kept.size())});
  set.source = source;
  return set;
}

// Reads every kept item into its row. The first item tells the number of points when none is asked
// for.
PointCloudSet read_items(const std::vector<Item>& all, CloudReader read, const LoadOptions& options,
                         const std::string& source) {
  std::vector<Item> items;
  for (int64_t row : spread_rows(static_cast<int64_t>(all.size()), options.limit)) {
    items.push_back(all[row]);
  }
  if (items.empty()) fail(ErrorKind::data, source, ": expected at least one shape");
  const int64_t points =
      options.points > 0 ? options.points : read(items[0], 0, options.seed).size(0);
  const auto n = static_cast<int64_t>(items.size());
  PointCloudSet set;
  set.points = Tensor::empty({n, points, 3}, DType::f32);
  set.labels = Tensor::empty({n}, DType::i64);
  set.source = source;
  auto* xyz = set.points.mutable_data<float>();
  auto* labels = set.labels.mutable_data<int64_t>();
  std::vector<std::exception_ptr> errors(items.size());
  parallel_tiles(n, [&](int64_t i) {
    try {
      const Tensor cloud = read(items[i], points, options.seed);
      const bool ragged = options.points == 0 && cloud.size(0) != points;
      if (ragged || cloud.size(0) < points) {
        fail(ErrorKind::data, items[i].path.string(), ": expected ", points, " points, got ",
             cloud.size(0), "; ask for fewer points");
      }
      std::copy_n(cloud.data<float>(), 3 * points, xyz + 3 * points * i);
      normalise_cloud({xyz + 3 * points * i, static_cast<size_t>(3 * points)}, options.normalise);
      labels[i] = items[i].label;
    } catch (...) {
      errors[i] = std::current_exception();
    }
  });
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return set;
}

}  // namespace basin::folders
