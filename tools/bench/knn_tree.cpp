// The only file that includes nanoflann: an adaptor for a cloud in memory, or a refusal without it.
#include "basin/tools/bench/knn_tree.h"

#include "basin/core/parallel.h"

#ifdef BASIN_HAS_NANOFLANN
#include <nanoflann.hpp>
#endif

namespace basin::tools {

#ifdef BASIN_HAS_NANOFLANN
namespace {

struct Cloud {  // the names are nanoflann's
  const float* xyz;
  size_t points;

  size_t kdtree_get_point_count() const { return points; }
  float kdtree_get_pt(size_t i, size_t d) const { return xyz[3 * i + d]; }
  template <class Box>
  bool kdtree_get_bbox(Box&) const {
    return false;
  }
};
using Metric = nanoflann::L2_Simple_Adaptor<float, Cloud>;
using Tree = nanoflann::KDTreeSingleIndexAdaptor<Metric, Cloud, 3, uint32_t>;

}  // namespace

bool knn_tree_available() { return true; }

void knn_by_tree(const Tensor& x, int64_t k, Tensor& index) {
  check(x.dtype() == DType::f32 && x.rank() == 3 && x.size(2) == 3,
        "knn_by_tree: expects f32 [B, N, 3], got ", name_of(x.dtype()), " ", x.shape());
  const int64_t points = x.size(1);
  const float* xyz = x.data<float>();
  int32_t* out = index.mutable_data<int32_t>();
  parallel_tiles(x.size(0), [&](int64_t b) {
    const Cloud cloud{xyz + b * points * 3, static_cast<size_t>(points)};
    Tree tree(3, cloud, nanoflann::KDTreeSingleIndexAdaptorParams());
    tree.buildIndex();
    std::vector<uint32_t> number(static_cast<size_t>(k));
    std::vector<float> square(static_cast<size_t>(k));
    for (int64_t i = 0; i < points; ++i) {
      tree.knnSearch(cloud.xyz + 3 * i, static_cast<size_t>(k), number.data(), square.data());
      std::copy(number.begin(), number.end(), out + (b * points + i) * k);
    }
  });
}

#else

bool knn_tree_available() { return false; }

void knn_by_tree(const Tensor&, int64_t, Tensor&) {
  fail(ErrorKind::usage, "knn_by_tree: built without nanoflann");
}

#endif

}  // namespace basin::tools
