// The Fisher-Rao norm by one derivative along w per batch; relative flatness by random probes.
#include "basin/analysis/flatness.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/statistics.h"
#include "basin/core/error.h"
#include "basin/core/random.h"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

// z^T (diag(p) - p p^T) z = Var_p(z), p = softmax(y); or z^T z.   y, z [classes]
double quadratic_form(const double* y, const double* z, int64_t classes, OutputModel model) {
  double sum = 0;
  if (model == OutputModel::gaussian) {
    for (int64_t c = 0; c < classes; ++c) sum += z[c] * z[c];
    return sum;
  }
  const double top = *std::max_element(y, y + classes);
  double mean = 0;
  for (int64_t c = 0; c < classes; ++c) {
    sum += std::exp(y[c] - top);
    mean += std::exp(y[c] - top) * z[c];
  }
  mean /= sum;
  double variance = 0;
  for (int64_t c = 0; c < classes; ++c) {
    variance += std::exp(y[c] - top) / sum * (z[c] - mean) * (z[c] - mean);
  }
  return variance;
}

// One logical matrix of the space.
struct Layer {
  std::string name;
  int64_t at = 0;  // in the vector
  int64_t rows = 0, cols = 0;
  uint64_t stream = 0;
};

std::vector<Layer> layers_of(const ParameterSpace& space, const ParamList& params) {
  std::vector<Layer> out;
  for (size_t m = 0; m < space.indices().size(); ++m) {
    const Param& p = params[space.indices()[m]];
    for (size_t b = 0; b < p.view.size(); ++b) {
      out.push_back({p.view.size() == 1 ? p.name : str(p.name, "[", b, "]"),
                     space.offset(m) + p.view[b].offset, p.view[b].rows, p.view[b].cols,
                     stream_id("relative_flatness", static_cast<uint64_t>(space.indices()[m]), b)});
    }
  }
  return out;
}

// Q = W R of one probe into its place in a vector.   w, q [n]
void fill_probe(const Layer& layer, const double* w, int64_t probe, uint64_t seed, double* q) {
  const uint64_t words = (static_cast<uint64_t>(layer.cols * layer.cols) + 31) / 32;
  Rng rng(seed, layer.stream, 4 * ((words + 3) / 4) * static_cast<uint64_t>(probe));
  Tensor signs = Tensor::empty({layer.cols, layer.cols}, DType::f64);
  double* r = signs.mutable_data<double>();
  uint32_t bits = 0;
  for (int64_t i = 0; i < signs.numel(); ++i, bits >>= 1) {
    if (i % 32 == 0) bits = rng.next_u32();
    r[i] = bits & 1 ? 1 : -1;
  }
  gemm<double>(false, false, layer.rows, layer.cols, layer.cols, 1.0, w + layer.at, layer.cols, r,
               layer.cols, 0.0, q + layer.at, layer.cols);
}

// The probes' samples of each layer.
class Sampler {
 public:
  Sampler(const SymmetricOperator& hessian, Tensor w, std::vector<Layer> layers,
          const RelativeFlatnessOptions& options)
      : hessian_(hessian),
        w_(std::move(w)),
        layers_(std::move(layers)),
        options_(options),
        samples_(layers_.size()) {}

  // Probes of the layers [first, last), several in one apply().
  void run(size_t first, size_t last) {
    for (int64_t begin = 0; begin < options_.probes; begin += options_.lanes) {
      const int64_t lanes = std::min(options_.lanes, options_.probes - begin);
      Tensor q = Tensor::zeros({lanes, hessian_.size()}, DType::f64);
      double* rows = q.mutable_data<double>();
      for (int64_t l = 0; l < lanes; ++l) {
        for (size_t i = first; i < last; ++i) {
          fill_probe(layers_[i], w_.data<double>(), begin + l, options_.seed,
                     rows + l * hessian_.size());
        }
      }
      const Tensor h = hessian_.apply(q);
      products_ += lanes;
      for (int64_t l = 0; l < lanes; ++l) {
        for (size_t i = first; i < last; ++i) add(i, begin + l, q, h, l * hessian_.size());
      }
    }
  }

  const std::vector<std::vector<double>>& samples() const { return samples_; }
  int64_t products() const { return products_; }

 private:
  void add(size_t i, int64_t probe, const Tensor& q, const Tensor& h, int64_t row) {
    const Layer& layer = layers_[i];
    const double* a = q.data<double>() + row + layer.at;
    const double* b = h.data<double>() + row + layer.at;
    double sum = 0;
    for (int64_t j = 0; j < layer.rows * layer.cols; ++j) sum += a[j] * b[j];
    if (!std::isfinite(sum)) {
      fail(ErrorKind::numerical, "relative_flatness: the product with probe ", probe,
           " is not finite in '", layer.name, "'");
    }
    samples_[i].push_back(sum);
  }

  const SymmetricOperator& hessian_;
  Tensor w_;
  std::vector<Layer> layers_;
  const RelativeFlatnessOptions& options_;
  std::vector<std::vector<double>> samples_;  // [layers][probes]
  int64_t products_ = 0;
};

}  // namespace

Estimate fisher_rao_norm(const LossSurface& surface, OutputModel model, double level) {
  const Tensors w = surface.space().unflatten(surface.weights());
  std::vector<double> forms;
  for (size_t b = 0; b < surface.batches().size(); ++b) {
    const LossBatch& batch = surface.batches()[b];
    check(static_cast<bool>(batch.outputs), "fisher_rao_norm: batch ", b, " has no outputs");
    auto [value, tangent] = jvp(batch.outputs, surface.params().values(), w);
    const Tensor y = value.at(0).to(Device::cpu).to(DType::f64);
    check(y.rank() >= 1 && y.size(0) == batch.examples, "fisher_rao_norm: batch ", b, " has ",
          batch.examples, " examples but outputs ", y.shape());
    check(model == OutputModel::gaussian || y.rank() == 2,
          "fisher_rao_norm: softmax expects outputs [B, classes], got ", y.shape());
    const Tensor z = tangent.at(0).defined() ? tangent.at(0).to(Device::cpu).to(DType::f64)
                                             : Tensor::zeros(y.shape(), DType::f64);
    const int64_t classes = y.numel() / y.size(0);
    for (int64_t i = 0; i < y.size(0); ++i) {
      const double form = quadratic_form(y.data<double>() + i * classes,
                                         z.data<double>() + i * classes, classes, model);
      if (!std::isfinite(form)) {
        fail(ErrorKind::numerical, "fisher_rao_norm: example ", i, " of batch ", b,
             " has outputs that are not finite");
      }
      forms.push_back(form);
    }
  }
  return mean_estimate(forms, level, "mean over examples");
}

RelativeFlatness relative_flatness(const SymmetricOperator& hessian, const ParameterSpace& space,
                                   const ParamList& params,
                                   const RelativeFlatnessOptions& options) {
  check(hessian.size() == space.size(), "relative_flatness: the operator has size ", hessian.size(),
        ", the space ", space.size());
  check(options.probes >= 2 && options.lanes >= 1, "relative_flatness: got ", options.probes,
        " probes in lanes of ", options.lanes, "; expects at least 2 and 1");
  const std::vector<Layer> layers = layers_of(space, params);
  check(!layers.empty(), "relative_flatness: no parameter of the space has a matrix view");
  Sampler sampler(hessian, space.flatten(params.values()), layers, options);
  if (options.joint) {
    sampler.run(0, layers.size());
  } else {
    for (size_t i = 0; i < layers.size(); ++i) sampler.run(i, i + 1);
  }
  RelativeFlatness out;
  out.products = sampler.products();
  std::vector<double> sums(options.probes, 0.0);
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::vector<double>& s = sampler.samples()[i];
    for (size_t k = 0; k < s.size(); ++k) sums[k] += s[k];
    out.layers.push_back({layers[i].name, layers[i].rows, layers[i].cols,
                          skewed_mean_estimate(s, options.level, "hutchinson")});
  }
  out.total = skewed_mean_estimate(sums, options.level, "hutchinson");
  return out;
}

}  // namespace basin
