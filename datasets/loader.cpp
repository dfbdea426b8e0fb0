// Loader: see loader.h. One batch is assembled in the calling thread (or in the prefetch thread),
// so it never competes with the training step for the worker threads of parallel_for.
#include "basin/datasets/loader.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <mutex>
#include <numeric>
#include <optional>

#include "basin/core/random.h"
#include "basin/datasets/detail/stored_cloud.h"

namespace basin {
namespace {

// Indices 0..n-1, in the order of one epoch.
std::vector<int64_t> epoch_order(int64_t n, const LoaderOptions& o, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (o.shuffle) {
    Rng rng(o.seed, stream_id("loader order", static_cast<uint64_t>(epoch)));
    rng.shuffle(std::span<int64_t>(order));
  }
  return order;
}

}  // namespace

struct PointCloudLoader::State {
  PointCloudSet set;
  LoaderOptions options;
  int64_t wanted = 0;  // points per cloud

  // Prefetched work, and the order of the latest epoch; both only save time.
  std::mutex mutex;
  std::mutex order_mutex;
  int64_t order_epoch = -1;
  std::shared_ptr<const std::vector<int64_t>> order;
  int64_t ahead_epoch = -1, ahead_index = -1;
  std::future<PointBatch>
      ahead;  // the last member: its destructor waits for a thread that uses the others

  int64_t size() const { return set.size(); }

  int64_t batches() const {
    const int64_t b = options.batch;
    return options.drop_last ? size() / b : (size() + b - 1) / b;
  }

  std::shared_ptr<const std::vector<int64_t>> order_of(int64_t epoch) {
    const int64_t key = options.every_epoch_alike ? 0 : epoch;
    const std::lock_guard lock(order_mutex);
    if (order_epoch != key) {
      order = std::make_shared<const std::vector<int64_t>>(epoch_order(size(), options, key));
      order_epoch = key;
    }
    return order;
  }

  // The points of one shape, and their normals: as they stand, or those of a draw.
  void take(uint64_t epoch, int64_t row, std::span<float> xyz, std::span<float> normals) const {
    const std::span<const float> from = set.xyz(row), along = set.normals_of(row);
    const auto have = static_cast<int64_t>(from.size() / 3);
    const bool random = options.selection == PointSelection::random && wanted < have;
    if (!random && wanted <= have) {
      std::copy_n(from.begin(), xyz.size(), xyz.begin());
      std::copy_n(along.begin(), normals.size(), normals.begin());
      return;
    }
    const uint64_t e = options.selection == PointSelection::random ? epoch : 0;
    const std::vector<int64_t> pick = drawn_points(
        have, wanted, options.seed, stream_id("loader points", e, static_cast<uint64_t>(row)));
    for (size_t i = 0; i < pick.size(); ++i) {
      std::copy_n(&from[3 * pick[i]], 3, &xyz[3 * i]);
      if (!normals.empty()) std::copy_n(&along[3 * pick[i]], 3, &normals[3 * i]);
    }
  }

  // One shape: its points, its pose, its augmentation, each from a stream of its own.
  void fill(int64_t epoch, int64_t row, std::span<float> xyz, std::span<float> normals) const {
    const uint64_t e = options.every_epoch_alike ? 0 : static_cast<uint64_t>(epoch);
    const auto r = static_cast<uint64_t>(row);
    take(e, row, xyz, normals);
    if (options.pose != Pose::fixed) {
      Rng rng(options.seed, stream_id("loader pose", e, r));
      const Rotation pose = random_pose(options.pose, options.up, rng);
      rotate(xyz, pose);
      rotate(normals, pose);
    }
    if (options.augment.active()) {
      Rng rng(options.seed, stream_id("loader augment", e, r));
      apply(options.augment, options.up, xyz, normals, rng);
    }
  }

  PointBatch make(int64_t epoch, int64_t index) {
    const auto rows = order_of(epoch);
    const int64_t begin = index * options.batch;
    const int64_t n = std::min(options.batch, size() - begin);
    PointBatch out;
    const auto each = static_cast<size_t>(3 * wanted);
    out.points = Tensor::empty({n, wanted, 3}, DType::f32);
    out.labels = Tensor::empty({n}, DType::i64);
    auto* xyz = out.points.mutable_data<float>();
    auto* label = out.labels.mutable_data<int64_t>();
    float* normals = nullptr;
    if (set.normals.defined()) {
      out.normals = Tensor::empty({n, wanted, 3}, DType::f32);
      normals = out.normals.mutable_data<float>();
    }
    for (int64_t i = 0; i < n; ++i, xyz += each) {
      const int64_t row = (*rows)[static_cast<size_t>(begin + i)];
      const std::span<float> along =
          normals ? std::span(normals + each * static_cast<size_t>(i), each) : std::span<float>();
      fill(epoch, row, {xyz, each}, along);
      label[i] = set.labels.data<int64_t>()[row];
      out.rows.push_back(row);
    }
    return out;
  }

  // The batch from the prefetch thread if that is the one, else made here; then starts on its
  // successor.
  PointBatch fetch(int64_t epoch, int64_t index) {
    const std::lock_guard lock(mutex);
    std::optional<PointBatch> ready;
    if (ahead.valid()) {
      PointBatch made = ahead.get();
      if (ahead_epoch == epoch && ahead_index == index) ready = std::move(made);
    }
    if (!ready) ready = make(epoch, index);
    const bool last = index + 1 == batches();
    ahead_epoch = last ? epoch + 1 : epoch;
    ahead_index = last ? 0 : index + 1;
    ahead = std::async(std::launch::async,
                       [this, e = ahead_epoch, i = ahead_index] { return make(e, i); });
    return std::move(*ready);
  }
};

LoaderOptions evaluation_options(int64_t batch, int64_t points, Pose pose, Axis up, uint64_t seed,
                                 PointSelection selection) {
  LoaderOptions o;
  o.batch = batch;
  o.points = points;
  o.shuffle = false;
  o.pose = pose;
  o.up = up;
  o.seed = seed;
  o.selection = selection;
  o.every_epoch_alike = true;
  return o;
}

PointCloudLoader::PointCloudLoader(const PointCloudSet& set, const LoaderOptions& options)
    : state_(std::make_unique<State>()) {
  const int64_t few = set.points_per_cloud(), have = set.most_points();
  check(set.size() > 0, "loader: expected a set with at least one shape");
  check(options.batch > 0, "loader: expected a batch of at least 1, got ", options.batch);
  check(options.points >= 0 && options.points <= have, "loader: expected 0 to ", have,
        " points per cloud, got ", options.points, "; load the set with more points");
  check(options.points > 0 || few == have,
        "loader: expected a number of points, as the clouds have ", few, " to ", have, " of them");
  check(options.selection != PointSelection::farthest,
        "loader: farthest points are chosen when a set is loaded");
  check(!options.drop_last || options.batch <= set.size(), "loader: a batch of ", options.batch,
        " leaves no batch of the ", set.size(), " shapes when the last one is dropped");
  state_->set = set;
  state_->options = options;
  state_->wanted = options.points > 0 ? options.points : have;
}

PointCloudLoader::~PointCloudLoader() = default;
PointCloudLoader::PointCloudLoader(PointCloudLoader&&) noexcept = default;
PointCloudLoader& PointCloudLoader::operator=(PointCloudLoader&&) noexcept = default;

int64_t PointCloudLoader::batches_per_epoch() const { return state_->batches(); }
int64_t PointCloudLoader::points() const { return state_->wanted; }

PointBatch PointCloudLoader::batch(int64_t epoch, int64_t index) const {
  check(epoch >= 0 && index >= 0 && index < state_->batches(),
        "loader: expected a batch from 0 to ", state_->batches() - 1,
        " of an epoch from 0 on, got batch ", index, " of epoch ", epoch);
  return state_->options.prefetch ? state_->fetch(epoch, index) : state_->make(epoch, index);
}

Holdout split_holdout(const PointCloudSet& set, double fraction, uint64_t seed) {
  check(fraction > 0 && fraction < 1, "split_holdout: expected a fraction between 0 and 1, got ",
        fraction);
  std::vector<std::vector<int64_t>> by_class(set.class_names.size());
  const auto* label = set.labels.data<int64_t>();
  for (int64_t i = 0; i < set.size(); ++i) by_class.at(static_cast<size_t>(label[i])).push_back(i);
  std::vector<bool> held(static_cast<size_t>(set.size()));
  for (size_t c = 0; c < by_class.size(); ++c) {
    auto& rows = by_class[c];
    const auto n = static_cast<int64_t>(rows.size());
    if (n < 2) continue;
    Rng rng(seed, stream_id("holdout", c));
    rng.shuffle(std::span<int64_t>(rows));
    const auto share = std::llround(fraction * static_cast<double>(n));
    const int64_t count = std::clamp<int64_t>(share, 1, n - 1);
    for (int64_t i = 0; i < count; ++i) held[static_cast<size_t>(rows[i])] = true;
  }
  std::vector<int64_t> kept, out;
  for (int64_t i = 0; i < set.size(); ++i) (held[static_cast<size_t>(i)] ? out : kept).push_back(i);
  check(!out.empty(), "split_holdout: no class has two shapes");
  return {subset(set, kept), subset(set, out)};
}

}  // namespace basin
