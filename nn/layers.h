// Layers as data: a model declares its layers once in a Layout and keeps small handles (indices
// into the parameter and buffer lists); a forward pass applies the handles to any list of tensors.
// No look-up by name and no state in a step; the same function serves values, tangents and probes.
//   linear / conv1d (kernel 1): y = x w^T + b, w [out, in]; a convolution is [out, in, 1] in files.
//   batch norm: y = gamma (x - mean) / sqrt(var + eps) + beta over all axes but the last;
//   layer norm: the same over the last axis, biased variance;
//   embedding: y = row `index` of a table [n, d].
#pragma once
#include <string>
#include <vector>

#include "basin/autograd/ops.h"
#include "basin/nn/init.h"
#include "basin/nn/state.h"

namespace basin {

struct ParamSpec {
  std::string name;
  Shape shape;
  Shape reference_shape;
  Role role = Role::matrix;
  Init init;
};

struct Linear {
  int weight = -1;
  int bias = -1;  // -1: none
};

struct BatchNorm {
  int gamma = -1;
  int beta = -1;
  int layer = -1;  // buffers 3 layer (mean), 3 layer + 1 (var); batch_stats 2 layer, 2 layer + 1
  double eps = 1e-5;
};

struct LayerNorm {
  int gamma = -1;
  int beta = -1;
  double eps = 1e-5;
};

struct Embedding {
  int table = -1;
};

struct Own {  // a parameter that is no layer's: a scale, a shift
  int value = -1;
};

struct LinearInit {
  Init weight;
  Init bias;
};
LinearInit torch_linear_init(int64_t in);                // the default of PyTorch layers
LinearInit xavier_linear_init(int64_t in, int64_t out);  // zero bias

class Layout {
 public:
  Linear linear(const std::string& name, int64_t in, int64_t out, Role role,
                const LinearInit& init);
  Linear conv1d(const std::string& name, int64_t in, int64_t out, Role role,
                const LinearInit& init);
  // Without bias; `kernel_axes` axes of length 1 follow [out, in] in files (2 for a 2-D
  // convolution).
  Linear weight_only(const std::string& name, int64_t in, int64_t out, Role role, const Init& init,
                     int kernel_axes = 0);
  BatchNorm batch_norm(const std::string& name, int64_t channels, double eps = 1e-5);
  LayerNorm layer_norm(const std::string& name, int64_t channels, double eps = 1e-5);
  // A table of `rows` kinds, NAME.weight [rows, channels].
  Embedding embedding(const std::string& name, int64_t rows, int64_t channels,
                      const Init& init = normal_init());
  Own own(const std::string& name, int64_t size, Role role, const Init& init);  // NAME [size]

  const std::vector<ParamSpec>& params() const { return params_; }
  int batch_norms() const { return static_cast<int>(batch_norms_.size()); }
  int64_t total_elements() const;  // of the parameters
  ModelState init(uint64_t seed, DType dtype) const;

 private:
  struct Normalised {
    std::string name;
    int64_t channels;
  };
  // Gain and bias of a norm; the index of the gain.
  int declare_norm(const std::string& name, int64_t channels);
  Linear declare(const std::string& name, int64_t in, int64_t out, Role role,
                 const LinearInit& init, bool conv);

  std::vector<ParamSpec> params_;
  std::vector<Normalised> batch_norms_;
};

// One forward pass. With batch statistics every batch norm leaves its mean and *unbiased* variance
// (what the running buffers average) in `stats`, constants.
class Pass {
 public:
  // usage error when the numbers of tensors are not those of the layout
  Pass(const Layout& layout, const Tensors& params, const Tensors& buffers, bool batch_statistics);

  Tensor apply(const Linear& layer, const Tensor& x) const;  // x [.., in]
  // relu of it. `fused` picks the fused op.
  Tensor apply_relu(const Linear& layer, const Tensor& x, bool fused) const;
  Tensor apply(const BatchNorm& layer, const Tensor& x, Act act, double slope = 0);  // x [.., C]
  Tensor apply(const LayerNorm& layer, const Tensor& x) const;                       // x [.., C]
  // index [..], i32 or i64, each 0 <= i < rows -> [.., channels]; usage error for another (on a
  // GPU: with BASIN_SYNC=1, kernels/index.h)
  Tensor apply(const Embedding& layer, const Tensor& index) const;
  // max over points of act(BN(linear(x))): x [B, N, in] -> [B, out]. `fused` picks the fused op.
  Tensor apply_max(const Linear& linear, const BatchNorm& norm, const Tensor& x, Act act,
                   bool fused, double slope = 0);
  // max and mean over points of act(BN(linear(x))), by the fused op: x [B, N, in] -> [B, 2 out].
  Tensor apply_max_mean(const Linear& linear, const BatchNorm& norm, const Tensor& x, Act act,
                        double slope = 0);
  // max over q of act(BN(u_i + v_j)), j = index[i, q], by the fused op: u, v [B, N, C], index
  // [B, N, k] i32 within the cloud -> [B, N, C]. The statistics run over all B N k edges.
  Tensor apply_edge_max(const BatchNorm& norm, const Tensor& u, const Tensor& v,
                        const Tensor& index, Act act, double slope = 0);
  const Tensor& weight(const Linear& layer) const {
    return params_[static_cast<size_t>(layer.weight)];
  }
  const Tensor& table(const Embedding& layer) const {
    return params_[static_cast<size_t>(layer.table)];
  }
  Tensor bias(const Linear& layer) const;  // undefined if there is none
  const Tensor& value(const Own& parameter) const {
    return params_[static_cast<size_t>(parameter.value)];
  }
  // Mean and unbiased variance of each batch norm; empty with frozen statistics. Once, at the end.
  Tensors take_stats();

 private:
  void check_rows(int64_t rows) const;
  void keep_stats(const BatchNorm& layer, const BatchNormResult& result, int64_t rows);

  const Tensors& params_;
  const Tensors& buffers_;
  bool batch_statistics_;
  Tensors stats_;                 // the variances biased
  std::vector<double> unbiased_;  // the factor of each
};

// running = (1 - momentum) running + momentum batch, num_batches_tracked += 1, in place.
// `batch_stats` as Pass::take_stats gives them (unbiased variance).
void update_running_stats(ParamList& buffers, const Tensors& batch_stats, double momentum = 0.1);

}  // namespace basin
