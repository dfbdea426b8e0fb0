// NorMuon and PolarAdamW.
#include "basin/optim/detail/muon_family.h"

#include <cmath>

#include "basin/kernels/launch.h"
#include "basin/kernels/newton_schulz.h"

namespace basin {

NorMuon::NorMuon(const MuonConfig& config, const RowScaling& rows, const ParamList& params,
                 const std::vector<GroupRule>& groups)
    : Muon("normuon", config, params, groups), rows_(rows), v_(matrices().size()) {
  check(rows.beta2 >= 0 && rows.beta2 < 1, "normuon: expects beta2 from 0 to below 1, got ",
        rows.beta2);
  check(rows.eps > 0, "normuon: expects row_eps above 0, got ", rows.eps);
  for (size_t i = 0; i < matrices().size(); ++i) {
    v_[i].resize(matrices()[i].blocks.size());
    for (size_t k = 0; k < v_[i].size(); ++k) {
      v_[i][k] = Tensor::zeros({matrices()[i].blocks[k].rows}, DType::f64);
      keep("normuon.v." + block_name(i, k), v_[i][k]);
    }
  }
}

Tensors NorMuon::updates(const Tensors& directions) {
  return map_blocks(Muon::updates(directions), [&](size_t i, size_t k, const Tensor& o) {
    const int64_t rows = o.size(0), cols = o.size(1);
    Tensor out = o.clone();
    double* x = out.mutable_data<double>();
    double* v = v_[i][k].mutable_data<double>();
    for (int64_t r = 0; r < rows; ++r, x += cols) {
      double square = 0;
      for (int64_t c = 0; c < cols; ++c) square += x[c] * x[c];
      v[r] = rows_.beta2 * v[r] + (1 - rows_.beta2) * square / static_cast<double>(cols);
      const double size = std::sqrt(v[r]) + rows_.eps;
      for (int64_t c = 0; c < cols; ++c) x[c] /= size;
    }
    const double wanted =
        rows_.match_rms ? 0.2 * std::sqrt(static_cast<double>(rows * cols)) : frobenius_norm(o);
    const double factor = wanted / (frobenius_norm(out) + rows_.eps);
    for (x = out.mutable_data<double>(); x < out.data<double>() + out.numel(); ++x) *x *= factor;
    return out;
  });
}

PolarAdamW::PolarAdamW(const MuonConfig& config, const MomentDecay& moments,
                       const ParamList& params, const std::vector<GroupRule>& groups)
    : PolarOptimizer("polar_adamw", config, params, groups),
      moments_(moments),
      m_(matrices().size()),
      v_(matrices().size()) {
  const auto part = [](double beta) { return beta >= 0 && beta < 1; };
  check(part(moments.beta1) && part(moments.beta2) && moments.eps >= 0,
        "polar_adamw: expects beta1 and beta2 from 0 to below 1 and eps of at least 0, got ",
        moments.beta1, ", ", moments.beta2, " and ", moments.eps);
  for (size_t i = 0; i < matrices().size(); ++i) {
    m_[i] = zeros_like_matrix(i);
    v_[i] = zeros_like_matrix(i);
    keep("polar_adamw.m." + matrices()[i].name, m_[i]);
    keep("polar_adamw.v." + matrices()[i].name, v_[i]);
  }
}

// Adam's kernel on weights of zero and with the rate -1 leaves the direction in their place.
Tensors PolarAdamW::directions(const ParamList&, const Tensors& grads) {
  const double t = static_cast<double>(steps() + 1);
  Tensors out;
  std::vector<AdamItem> items;
  for (size_t i = 0; i < matrices().size(); ++i) {
    out.push_back(zeros_like_matrix(i));
    items.push_back({.w = out[i],
                     .g = grads[matrices()[i].settings.index],
                     .m = m_[i],
                     .v = v_[i],
                     .vmax = {},
                     .step_size = -1 / (1 - std::pow(moments_.beta1, t))});
  }
  const AdamNumbers numbers{moments_.beta1, moments_.beta2,
                            1 / std::sqrt(1 - std::pow(moments_.beta2, t)), moments_.eps};
  launch<AdamUpdate>(device(), std::span<AdamItem>(items), numbers);
  return out;
}

}  // namespace basin
