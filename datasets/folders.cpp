// What the folder layouts share: see folders.h. Entries are taken in sorted or listed order, never
// in the order in which the file system returns names. Files are read in parallel, each into its
// own rows; of several damaged files the first in order is reported, for any thread count.
#include "basin/datasets/detail/folders.h"

#include <algorithm>
#include <exception>

#include "basin/core/content.h"
#include "basin/core/lines.h"
#include "basin/core/listing.h"
#include "basin/core/log.h"
#include "basin/core/parallel.h"
#include "basin/core/text.h"
#include "basin/datasets/detail/labels.h"

namespace basin::folders {
namespace {

constexpr int64_t kMaxClasses = 100'000;
constexpr uint64_t kMaxListBytes = 64u << 20;

// One warning for all clouds that lost something in the same way.
void warn_of_losses(const CloudList& clouds, const std::vector<CloudLoss>& losses,
                    const LoadOptions& options, const std::string& source) {
  int64_t rounded = 0, merged = 0, coarse = 0, first_rounded = 0, first_coarse = 0;
  double moved = 0;
  for (int64_t i = clouds.size - 1; i >= 0; --i) {
    merged += losses[i].merged;
    moved = std::max(moved, losses[i].moved);
    if (losses[i].merged > 0 || losses[i].moved > 0) ++rounded, first_rounded = i;
    if (losses[i].steps > 0) ++coarse, first_coarse = i;
  }
  if (rounded > 0) {
    log_message(LogLevel::warning,
                str(source, ": rounding to f32 costs ", rounded, " of ", clouds.size,
                    " clouds their detail (first: ", clouds.name(first_rounded),
                    "): points move by up to ", short_text(100 * moved, 2),
                    " % of half the longest side, ", merged, " fall onto others; ",
                    options.normalise == Normalisation::none
                        ? "a normalisation centres clouds before they are rounded"
                        : "a few points far from the rest set the scale"));
  }
  if (coarse > 0) {
    log_message(LogLevel::warning,
                str(source, ": ", coarse, " of ", clouds.size,
                    " clouds lie so far from the origin that the numbers of their files are "
                    "coarse (first: ",
                    clouds.name(first_coarse), ", ", short_text(losses[first_coarse].steps, 3),
                    " steps along its radius); what was lost when they were written cannot be "
                    "restored, subtract the offset before that"));
  }
}

[[noreturn]] void fail_without_normals(const std::string& source) {
  fail(ErrorKind::data, source,
       ": expected normals, it has none; they are read from the HDF5 "
       "dataset 'normal', text lines x,y,z,nx,ny,nz, the PLY properties nx, ny, nz, OFF files of "
       "the kind NOFF, 'vn' of OBJ, .npy arrays of 6 columns, and the faces of a mesh");
}

// Room for clouds of these sizes, and the offsets where they are not equal.
void make_room(PointCloudSet& set, const std::vector<int64_t>& sizes, bool normals) {
  const auto n = static_cast<int64_t>(sizes.size());
  std::vector<int64_t> offsets{0};
  bool equal = true;
  for (const int64_t size : sizes) {
    offsets.push_back(offsets.back() + size);
    equal = equal && size == sizes.front();
  }
  const Shape shape = equal && n > 0 ? Shape{n, sizes.front(), 3} : Shape{offsets.back(), 3};
  set.points = Tensor::empty(shape, DType::f32);
  if (normals) set.normals = Tensor::empty(shape, DType::f32);
  if (!equal) set.offsets = Tensor::from(offsets, {n + 1});
}

// Clouds that were read as if all had the size of the first, and those that have another.
struct Gathered {
  PointCloudSet usual;
  std::vector<KeptCloud> others;
  std::vector<int64_t> sizes;
};

PointCloudSet unequal(Gathered from, bool normals) {
  PointCloudSet out;
  make_room(out, from.sizes, normals);
  float* xyz = out.points.mutable_data<float>();
  float* normal = normals ? out.normals.mutable_data<float>() : nullptr;
  for (size_t i = 0; i < from.sizes.size(); ++i) {
    const KeptCloud other = std::move(from.others[i]);
    const auto row = static_cast<int64_t>(i);
    const bool usual = other.points() == 0;
    const std::span<const float> points = usual ? from.usual.xyz(row) : std::span(other.xyz);
    xyz = std::copy(points.begin(), points.end(), xyz);
    if (!normals) continue;
    const std::span<const float> n = usual ? from.usual.normals_of(row) : std::span(other.normals);
    normal = std::copy(n.begin(), n.end(), normal);
  }
  return out;
}

}  // namespace

LoadOptions with_selection(LoadOptions options, PointSelection usual) {
  if (!options.selection) options.selection = usual;
  return options;
}

PointSelection left_to_choose(const LoadOptions& options) {
  return options.selection.value_or(PointSelection::random) == PointSelection::random
             ? PointSelection::random
             : PointSelection::first;
}

std::string last_name(const std::string& line) { return line.substr(line.find_last_of("/\\") + 1); }

int64_t rows_wanted(int64_t have, const LoadOptions& options) {
  const bool first = options.selection == PointSelection::first && options.points > 0;
  return first ? std::min(have, options.points) : have;
}

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

std::vector<fs::path> sorted_entries(const fs::path& dir) {
  std::error_code error;
  std::vector<fs::path> out = list_folder(dir, error);
  if (error) fail(ErrorKind::data, dir.string(), ": cannot be listed: ", error_text(error));
  std::erase_if(out, is_litter);
  std::sort(out.begin(), out.end());
  return out;
}

fs::path find_file(const fs::path& dir, const std::string& name) {
  const fs::path wanted = dir / name;
  if (is_file(wanted)) return wanted;
  std::error_code error;
  const std::vector<fs::path> entries = list_folder(dir, error);
  if (error && error != std::errc::no_such_file_or_directory) {
    fail(ErrorKind::data, dir.string(), ": cannot be listed: ", error_text(error));
  }
  for (const fs::path& file : entries) {
    const bool same =
        file.stem() == wanted.stem() && lower_extension(file) == lower_extension(wanted);
    if (same && is_file(file)) return file;
  }
  return wanted;
}

std::vector<std::string> read_lines(const fs::path& path) {
  const std::string text = read_text_file(path, kMaxListBytes);
  std::vector<std::string> out;
  LineReader lines(text);
  for (std::string_view line; lines.next(line);) {
    const size_t first = line.find_first_not_of(" \t"), last = line.find_last_not_of(" \t");
    if (first != line.npos) out.emplace_back(line.substr(first, last - first + 1));
  }
  return out;
}

std::vector<std::string> read_list(const fs::path& path) {
  std::vector<std::string> out = read_lines(path);
  std::erase_if(out, [](const std::string& line) { return is_litter(last_name(line)); });
  return out;
}

std::vector<std::string> class_names_of(const fs::path& dir, const std::vector<Tensor>& labels) {
  const fs::path file = find_file(dir, "shape_names.txt");
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

void check_points(const PointCloudSet& set, const LoadOptions& options, const std::string& source) {
  if (set.size() == 0) fail(ErrorKind::data, source, ": expected at least one shape");
  const int64_t most = set.most_points();
  if (most >= options.points) return;
  fail(ErrorKind::data, source, ": expected at least ", options.points,
       " points in the largest cloud, got ", most, "; ask for fewer points");
}

PointCloudSet collect(const CloudList& clouds, const LoadOptions& options,
                      const std::string& source) {
  const auto kept = [&](int64_t i) {
    KeptCloud cloud = keep(clouds.read(i), options, clouds.most);
    if (cloud.points() == 0) fail(ErrorKind::data, clouds.name(i), ": it has no points");
    if (options.normals && cloud.normals.size() != cloud.xyz.size()) {
      fail_without_normals(clouds.name(i));
    }
    return cloud;
  };
  const auto n = static_cast<size_t>(clouds.size);
  if (n == 0) return {};
  Gathered all;
  KeptCloud first = kept(0);
  const int64_t usual = first.points();
  all.sizes.assign(n, usual);
  all.others.resize(n);
  make_room(all.usual, all.sizes, options.normals);
  float* xyz = all.usual.points.mutable_data<float>();
  float* normals = options.normals ? all.usual.normals.mutable_data<float>() : nullptr;
  std::vector<CloudLoss> losses(n);
  std::vector<std::exception_ptr> errors(n);
  parallel_tiles(clouds.size, [&](int64_t i) {
    try {
      KeptCloud cloud = i == 0 ? std::move(first) : kept(i);
      losses[i] = cloud.loss;
      all.sizes[i] = cloud.points();
      if (cloud.points() == usual) {
        std::copy(cloud.xyz.begin(), cloud.xyz.end(), xyz + 3 * usual * i);
        if (normals) std::copy(cloud.normals.begin(), cloud.normals.end(), normals + 3 * usual * i);
      } else {
        all.others[i] = std::move(cloud);
      }
    } catch (...) {
      errors[i] = std::current_exception();
    }
  });
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  warn_of_losses(clouds, losses, options, source);
  const bool equal =
      std::all_of(all.sizes.begin(), all.sizes.end(), [&](int64_t size) { return size == usual; });
  return equal ? std::move(all.usual) : unequal(std::move(all), options.normals);
}

PointCloudSet take_set(const Tensor& clouds, const Tensor& labels, const LoadOptions& options,
                       const std::string& source) {
  const bool cloud = clouds.rank() == 3 && (clouds.size(2) == 3 || clouds.size(2) == 6) &&
                     is_float(clouds.dtype());
  if (!cloud) {
    fail(ErrorKind::data, source,
         ": offset 0: expected floats [n, P, 3], or [n, P, 6] with "
         "normals, got ",
         clouds);
  }
  const int64_t n = clouds.size(0), have = clouds.size(1);
  const bool flat = labels.rank() == 1 || (labels.rank() == 2 && labels.size(1) == 1);
  if (!flat || labels.size(0) != n) {
    fail(ErrorKind::data, source, ": offset 0: expected labels [", n, "] or [", n, ", 1], got ",
         labels);
  }
  const Tensor whole = whole_labels(labels, str(source, ": offset 0"));
  const std::vector<int64_t> rows = spread_rows(n, options.limit);
  std::vector<int64_t> kept;
  for (int64_t row : rows) kept.push_back(whole.data<int64_t>()[row]);
  const auto read = [&](int64_t i) {
    return stored_rows(clouds, have * rows[i], rows_wanted(have, options), options.normals);
  };
  const auto name = [&](int64_t i) { return str(source, ": row ", rows[i]); };
  const auto size = static_cast<int64_t>(rows.size());
  PointCloudSet set = collect({size, read, name}, options, source);
  set.labels = Tensor::from(kept, {size});
  set.source = source;
  check_points(set, options, source);
  return set;
}

PointCloudSet joined(std::vector<PointCloudSet> parts, const std::string& source) {
  PointCloudSet out;
  std::vector<int64_t> sizes, labels;
  bool normals = false;
  for (const PointCloudSet& part : parts) {
    for (int64_t i = 0; i < part.size(); ++i) {
      sizes.push_back(part.points_of(i));
      labels.push_back(part.labels.data<int64_t>()[i]);
    }
    normals = normals || part.normals.defined();
  }
  make_room(out, sizes, normals);
  float* xyz = out.points.mutable_data<float>();
  float* normal = normals ? out.normals.mutable_data<float>() : nullptr;
  for (PointCloudSet& part : parts) {
    if (part.size() == 0) continue;
    xyz = std::copy_n(part.points.data<float>(), part.points.numel(), xyz);
    if (normals) normal = std::copy_n(part.normals.data<float>(), part.normals.numel(), normal);
    part = {};
  }
  out.labels = Tensor::from(labels, {static_cast<int64_t>(labels.size())});
  out.source = source;
  return out;
}

PointCloudSet read_items(const std::vector<Item>& all, CloudReader read, const LoadOptions& options,
                         const std::string& source) {
  std::vector<Item> items;
  std::vector<int64_t> labels;
  for (int64_t row : spread_rows(static_cast<int64_t>(all.size()), options.limit)) {
    items.push_back(all[row]);
    labels.push_back(all[row].label);
  }
  if (items.empty()) fail(ErrorKind::data, source, ": expected at least one shape");
  const auto n = static_cast<int64_t>(items.size());
  PointCloudSet set = collect({n, [&](int64_t i) { return read(items[i], options); },
                               [&](int64_t i) { return items[i].path.string(); },
                               options.points > 0 ? kept_at_random(options.points) : 0},
                              options, source);
  set.labels = Tensor::from(labels, {n});
  set.source = source;
  check_points(set, options, items.front().path.string());
  return set;
}

}  // namespace basin::folders
