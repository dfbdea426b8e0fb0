// Partial sums of the edge messages' gradients, and their fixed order of addition.
#include "basin/kernels/cpu/edge_message_gradients.h"

#include "basin/kernels/cpu/vectors.h"

namespace basin::edge {
namespace {

constexpr int64_t kTasks = 32;  // wanted at least; at most twice as many with many clouds

// dst [rows, cols] = sum over `parts` of src [parts, .., rows, ld]
template <class T>
void add_parts(const T* src, int64_t parts, int64_t stride, int64_t rows, int64_t cols, int64_t ld,
               Tensor& to) {
  if (!to.defined()) return;
  T* dst = to.mutable_data<T>();
  for (int64_t i = 0; i < rows; ++i) {
    sum_of_rows<T>(src + i * ld, parts, stride, T(0), dst + i * cols, cols);
  }
}

}  // namespace

template <class T>
Collector<T>::Collector(const Sizes& s, EdgeMessageTensors& grads) : s_(s), grads_(grads) {
  const int64_t tiles = tile_count(s.nodes, s.tile_nodes());
  parts_ = std::min(tile_count(kTasks, s.clouds), tiles);
  part_nodes_ = tile_count(tiles, parts_) * s.tile_nodes();
  parts_ = tile_count(s.nodes, part_nodes_);
  clouds_per_task_ = parts_ > 1 ? 1 : tile_count(s.clouds, 2 * kTasks);
  tasks_ = parts_ * tile_count(s.clouds, clouds_per_task_);
  weights_ = Tensor::empty({tasks_, weight_elements()}, kDTypeOf<T>);
  weight_data_ = weights_.mutable_data<T>();
  if (parts_ > 1) {
    rows_ = Tensor::empty({tasks_, s.nodes, s.d}, kDTypeOf<T>);
    points_ = Tensor::empty({tasks_, s.nodes, 3}, kDTypeOf<T>);
  }
  data_ = {grads.p.mutable_data<T>(), (parts_ > 1 ? rows_ : grads.r).template mutable_data<T>(),
           (parts_ > 1 ? points_ : grads.x).template mutable_data<T>()};
}

template <class T>
Task Collector<T>::task(int64_t number) const {
  const int64_t first_cloud = number / parts_ * clouds_per_task_;
  const int64_t first_node = number % parts_ * part_nodes_;
  return {first_cloud, std::min(clouds_per_task_, s_.clouds - first_cloud), first_node,
          std::min(part_nodes_, s_.nodes - first_node)};
}

template <class T>
WeightSums<T> Collector<T>::no_sums(const Sizes& s, Scratch<T>& scratch) {
  WeightSums<T> sums{};
  sums.tile = scratch.take(vector_elements(s));
  std::fill(sums.tile, sums.tile + vector_elements(s), T(0));
  T* next = sums.tile;
  for (T** v : {&sums.w_s, &sums.b2, &sums.w_a, &sums.b_c, &sums.w_x, &sums.b_a}) {
    *v = next;
    next += s.ld;
  }
  return sums;
}

template <class T>
WeightSums<T> Collector<T>::weight_sums(int64_t task, Scratch<T>& scratch) const {
  T* at = weight_data_ + task * weight_elements();
  std::fill(at, at + weight_elements(), T(0));
  WeightSums<T> sums = no_sums(s_, scratch);
  sums.w2 = at;
  sums.w_c = at + s_.d * s_.ld;
  sums.vectors = at + 2 * s_.d * s_.ld;
  return sums;
}

template <class T>
void Collector<T>::end_tile(const WeightSums<T>& sums) const {
  for (int64_t i = 0; i < vector_elements(s_); ++i) {
    sums.vectors[i] += sums.tile[i];
    sums.tile[i] = T(0);
  }
}

template <class T>
NodeSums<T> Collector<T>::node_sums(int64_t task, int64_t cloud) const {
  const int64_t at = (parts_ > 1 ? task : cloud) * s_.nodes;
  const NodeSums<T> sums{data_.p + cloud * s_.nodes * s_.d, data_.r + at * s_.d, data_.x + at * 3};
  std::fill(sums.r, sums.r + s_.nodes * s_.d, T(0));
  std::fill(sums.x, sums.x + s_.nodes * 3, T(0));
  return sums;
}

template <class T>
void Collector<T>::finish_weights() {
  const T* sums = weights_.data<T>();
  const int64_t stride = weight_elements(), d = s_.d, ld = s_.ld;
  const auto collect = [&](int64_t at, int64_t rows, int64_t cols, Tensor& to) {
    add_parts<T>(sums + at, tasks_, stride, rows, cols, ld, to);
  };
  collect(0, d, d, grads_.w2);
  collect(d * ld, d, d, grads_.w_c);
  int64_t at = 2 * d * ld;
  for (Tensor* v : {&grads_.w_s, &grads_.b2, &grads_.w_a, &grads_.b_c, &grads_.w_x}) {
    collect(at, 1, d, *v);
    at += ld;
  }
  collect(at, 1, 1, grads_.b_a);
}

template <class T>
void Collector<T>::finish_nodes() {
  const auto collect = [&](const Tensor& parts, Tensor& to) {
    const int64_t size = s_.nodes * to.size(1);
    const T* src = parts.data<T>();
    T* dst = to.mutable_data<T>();
    parallel_for(to.numel(), 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* from = src + i / size * parts_ * size + i % size;
        T sum = from[0];
        for (int64_t p = 1; p < parts_; ++p) sum += from[p * size];
        dst[i] = sum;
      }
    });
  };
  collect(rows_, grads_.r);
  collect(points_, grads_.x);
}

template <class T>
void Collector<T>::finish() {
  finish_weights();
  if (parts_ > 1) finish_nodes();
}

template class Collector<float>;
template class Collector<double>;

}  // namespace basin::edge
