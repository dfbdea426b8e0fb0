// The modes are f64 on the CPU; momentum and step run where the parameters are.
#include "basin/optim/detail/specmuon.h"

#include <algorithm>
#include <cmath>

#include "basin/kernels/newton_schulz.h"
#include "basin/optim/detail/sav.h"
#include "basin/optim/detail/spectral.h"

namespace basin {
namespace {

constexpr double kTopTolerance = 1e-10;  // residual of the leading triples, of s_1

const SpecMuonConfig& valid(const SpecMuonConfig& c) {
  check(c.momentum >= 0 && c.momentum < 1, "specmuon: expects momentum from 0 to below 1, got ",
        c.momentum);
  check(c.smoothing >= 0 && c.smoothing <= 1, "specmuon: expects xi from 0 to 1, got ",
        c.smoothing);
  check(c.modes >= 0, "specmuon: expects k of at least 0, got ", c.modes);
  check(c.energy_share >= 0 && c.energy_share <= 1,
        "specmuon: expects energy_share from 0 to 1, got ", c.energy_share);
  check(c.eps >= 0 && c.kappa >= 0, "specmuon: expects eps and kappa of at least 0, got ", c.eps,
        " and ", c.kappa);
  check(c.reset >= 0 && c.reset < 1, "specmuon: expects reset from 0 to below 1, got ", c.reset);
  check(std::isfinite(c.sigma_power), "specmuon: expects a finite sigma_power");
  check(c.svd != SvdChoice::top || c.tail != Tail::muon,
        "specmuon: svd=top knows no other modes, which tail=muon needs");
  return c;
}

// All singular triples, or the `count` leading ones where the rest is not asked for.
SvdFactors factors(const SpecMuonConfig& config, const Tensor& gradient, int64_t count) {
  const int64_t p = std::min(gradient.size(0), gradient.size(1));
  const bool top = config.svd != SvdChoice::full && config.tail != Tail::muon && count > 0 &&
                   config.energy_share == 0;
  if (top && (config.svd == SvdChoice::top || count < p)) {
    return TopSvd::cpu(gradient, count, kTopTolerance);
  }
  SvdFactors f = Svd::cpu(gradient);
  fix_signs(f);
  return f;
}

// How many of the leading modes are needed for the share of the squared gradient.
int64_t active_modes(const SpecMuonConfig& config, const double* s, int64_t count) {
  if (config.energy_share == 0) return count;
  double sum = 0;
  int64_t needed = 0;
  for (; needed < count && sum < config.energy_share; ++needed) sum += s[needed] * s[needed];
  return needed;
}

MomentumNumbers heavy_ball(const SpecMuonConfig& c) {
  return {c.momentum, 1, c.nesterov ? 1.0 : 0.0, c.nesterov ? c.momentum : 1.0};
}

double* numbers_of(Tensor& t) { return t.mutable_data<double>(); }

}  // namespace

SpecMuon::SpecMuon(const SpecMuonConfig& config, const ParamList& params,
                   const std::vector<GroupRule>& groups)
    : MatrixOptimizer("specmuon", valid(config), params, groups),
      config_(config),
      modes_(matrices().size()),
      buffers_(matrices().size()) {
  for (size_t i = 0; i < matrices().size(); ++i) {
    const Matrix& m = matrices()[i];
    buffers_[i] = zeros_like_matrix(i);
    keep("specmuon.b." + m.name, buffers_[i]);
    modes_[i].resize(m.blocks.size());
    for (size_t k = 0; k < m.blocks.size(); ++k) {
      const int64_t count = std::min({config_.modes, m.blocks[k].rows, m.blocks[k].cols});
      Modes& modes = modes_[i][k];
      for (Tensor* t : {&modes.r, &modes.next, &modes.s, &modes.current, &modes.scale,
                        &modes.dissipation, &modes.slack}) {
        *t = Tensor::zeros({count}, DType::f64);
      }
      keep("specmuon.r." + block_name(i, k), modes.r);
      keep("specmuon.rn." + block_name(i, k), modes.next);
      keep("specmuon.d." + block_name(i, k), modes.dissipation);
    }
  }
}

double SpecMuon::energy(double loss) const {
  const double shifted = loss + config_.kappa;
  if (!(shifted > 0) || !std::isfinite(shifted)) {
    fail(ErrorKind::numerical, "specmuon: takes the root of the loss, which must be finite and ",
         "above 0; it is ", loss, config_.kappa > 0 ? " before kappa is added" : "",
         "; set kappa above it, or take another optimizer");
  }
  return std::sqrt(shifted);
}

Tensors SpecMuon::directions(const ParamList&, const Tensors& grads) {
  const Tensors gradients = matrix_gradients(grads);
  if (config_.place == MomentumPlace::pre) {
    return momentum_step(gradients, buffers_, heavy_ball(config_));
  }
  Tensors out;
  for (size_t i = 0; i < gradients.size(); ++i) {
    out.push_back(gradients[i].defined() ? gradients[i] : zeros_like_matrix(i));
  }
  return out;
}

// r of this step from (r, rn) of the last one.
void SpecMuon::relax(Modes& modes, double e) const {
  double* r = numbers_of(modes.r);
  const double* next = modes.next.data<double>();
  double* current = numbers_of(modes.current);
  double* slack = numbers_of(modes.slack);
  const double xi = config_.smoothing;
  for (int64_t j = 0; j < modes.r.numel(); ++j) {
    if (steps() == 0) {
      current[j] = e;
      slack[j] = 0;
      continue;
    }
    // Other than lazy ones have been relaxed in their own step, r and D are of before.
    current[j] =
        config_.relaxation == Relaxation::lazy ? sav_relaxed(r[j], next[j], xi, e) : next[j];
    slack[j] =
        current[j] * current[j] - r[j] * r[j] + (1 - xi) * modes.dissipation.data<double>()[j];
    if (current[j] < config_.reset * e) current[j] = e;
  }
}

Tensor SpecMuon::spectral_step(Modes& modes, const Tensor& given, double eta) const {
  const double e = energy(info().loss), eps = config_.eps;
  relax(modes, e);
  const double norm = frobenius_norm(given) + eps;
  Tensor gradient = given.clone();
  double* g = numbers_of(gradient);
  for (int64_t i = 0; i < gradient.numel(); ++i) g[i] /= norm;
  const int64_t count = modes.r.numel();
  const SvdFactors f = factors(config_, gradient, count);
  const double* s = f.s.data<double>();
  const int64_t rank = numerical_rank(f.s, gradient.size(0), gradient.size(1));
  const int64_t active = active_modes(config_, s, std::min(count, rank));
  double* scale = numbers_of(modes.scale);
  for (int64_t j = 0; j < count; ++j) {
    const double r = modes.current.data<double>()[j];
    numbers_of(modes.s)[j] = s[j];
    numbers_of(modes.r)[j] = numbers_of(modes.next)[j] = r;
    scale[j] = numbers_of(modes.dissipation)[j] = 0;
    if (j >= active) continue;
    const double h = eta / std::pow(s[j] + eps, config_.sigma_power), size = s[j] / (e + eps);
    const double half = h * size * (config_.form == SavForm::norm ? 1 : size) / 2;
    const SavStep step = sav_step(r, half);
    scale[j] = step.next / (e + eps);
    numbers_of(modes.dissipation)[j] = step.dissipation;
    numbers_of(modes.next)[j] =
        config_.relaxation == Relaxation::printed
            ? sav_relaxed_as_printed(r, step.next, config_.smoothing, e, eps)
            : step.next;
  }
  const bool add_gradient = config_.tail == Tail::gradient;
  const int64_t used = config_.tail == Tail::muon ? rank : active;
  Tensor out = recombined(
      f, used, [&](int64_t j) { return j < active ? scale[j] - (add_gradient ? s[j] : 0) : 1; });
  for (int64_t i = 0; add_gradient && i < out.numel(); ++i) numbers_of(out)[i] += g[i];
  return out;
}

Tensors SpecMuon::updates(const Tensors& directions) {
  const Tensors found = map_blocks(directions, [&](size_t i, size_t k, const Tensor& m) {
    return spectral_step(modes_[i][k], m, rate(i));
  });
  if (config_.place == MomentumPlace::pre) return found;
  return momentum_step(found, buffers_, heavy_ball(config_));
}

void SpecMuon::step(ParamList& params, const Tensors& grads, const StepInfo& info) {
  check(config_.relaxation != Relaxation::extra_forward || info.evaluate,
        "specmuon: relax=extra_forward needs the loss after the step (StepInfo::evaluate)");
  MatrixOptimizer::step(params, grads, info);
  if (config_.relaxation != Relaxation::extra_forward) return;
  const double loss = info.evaluate(params.values(), false).loss;
  if (!std::isfinite(loss)) return;  // the step to come says where it went wrong
  const double after = energy(loss);
  for (std::vector<Modes>& blocks : modes_) {
    for (Modes& m : blocks) {
      for (int64_t j = 0; j < m.r.numel(); ++j) {
        numbers_of(m.next)[j] =
            sav_relaxed(m.r.data<double>()[j], m.next.data<double>()[j], config_.smoothing, after);
      }
    }
  }
}

void SpecMuon::describe(size_t i, UpdateRecord& record) const {
  const double e = energy(info().loss);
  const auto add = [&](std::string_view name, Tensor Modes::*member, double factor) {
    int64_t widest = 0;
    for (const Modes& m : modes_[i]) widest = std::max(widest, m.r.numel());
    Tensor all = Tensor::full({static_cast<int64_t>(modes_[i].size()), widest}, DType::f64, NAN);
    double* to = numbers_of(all);
    for (const Modes& m : modes_[i]) {
      const Tensor& from = m.*member;
      for (int64_t j = 0; j < from.numel(); ++j) to[j] = from.data<double>()[j] * factor;
      to += widest;
    }
    record.numbers.emplace_back(name, all);
  };
  add("s", &Modes::s, 1);
  add("r", &Modes::current, 1);
  add("rn", &Modes::next, 1);
  add("r_over_e", &Modes::current, 1 / e);
  add("scale", &Modes::scale, 1);
  add("dissipation", &Modes::dissipation, 1);
  add("slack", &Modes::slack, 1);
}

}  // namespace basin
