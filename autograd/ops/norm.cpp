// Normalisation and dropout. Batch norm and layer norm are fused: kernels for value and VJP and for
// the tangents of both, their composites as reference.
#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/ops/activate.h"
#include "basin/kernels/launch.h"
#include "basin/kernels/layer_norm.h"
#include "basin/kernels/random_mask.h"

namespace basin {

namespace {

void check_channels(const char* op, int64_t channels,
                    std::initializer_list<const Tensor*> vectors) {
  for (const Tensor* v : vectors) {
    check(v->defined() && v->rank() == 1 && v->size(0) == channels, op, ": expects [", channels,
          "] per channel, got ", v->shape());
  }
}

void check_activation(const char* op, Act act, double slope) {
  // The kernels read the mask from the sign of y, and the max commutes with increasing maps only.
  check(act != Act::leaky_relu || slope > 0, op, ": the leaky slope must be positive, got ", slope);
}

Tensors same_shapes(const Tensor& a, const Tensor& b, const Tensor& c) {
  const auto like = [](const Tensor& t) { return Tensor::empty(t.shape(), t.dtype(), t.device()); };
  return {like(a), like(b), like(c)};
}

struct BnSettings {
  double eps;
  Act act;
  double slope;
};

// gamma (x - mean) / sqrt(var + eps) + beta, then the activation.
Tensor normalise(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                 const Tensor& var, const BnSettings& s) {
  const Tensor factor = mul(gamma, rsqrt(shift(var, s.eps)));
  return activate(add(mul(sub(x, mean), factor), beta), s.act, s.slope);
}

Tensor batch_norm_reference(const Tensors& in, const BnSettings& s) {
  const Tensor mu = mean(in[0], 0);
  const Tensor var = mean(square(sub(in[0], mu)), 0);
  return normalise(in[0], in[1], in[2], mu, var, s);
}

// in: x, gamma, beta [, mean, var]; out: y, mean, var
Tensors run_batch_norm(const Tensors& in, const BnSettings& s) {
  const bool frozen = in.size() == 5;
  Tensor y = Tensor::empty(in[0].shape(), in[0].dtype(), in[0].device());
  Tensor mu = frozen ? in[3] : Tensor::empty(in[1].shape(), in[0].dtype(), in[0].device());
  Tensor var = frozen ? in[4] : Tensor::empty(in[1].shape(), in[0].dtype(), in[0].device());
  launch<BatchNormForward>(y.device(), in[0], in[1], in[2], s.eps, s.act, s.slope, frozen, mu, var,
                           y);
  return {y, mu, var};
}

Tensors run_batch_norm_vjp(const Tensors& in, const Tensors& out, const Tensor& ct,
                           const BnSettings& s) {
  const bool frozen = in.size() == 5;
  Tensors g = same_shapes(in[0], in[1], in[2]);
  launch<BatchNormBackward>(ct.device(), in[0], in[1], out[1], out[2], out[0], ct, s.eps, s.act,
                            s.slope, frozen, g[0], g[1], g[2]);
  g.resize(in.size());
  return g;
}

Tensor run_batch_norm_jvp(const Tensors& in, const Tensors& out, const Tensors& t,
                          const BnSettings& s) {
  Tensor t_y = Tensor::empty(in[0].shape(), in[0].dtype(), in[0].device());
  launch<BatchNormTangent>(t_y.device(), in[0], in[1], out[1], out[2], out[0],
                           or_zeros(t[0], in[0]), or_zeros(t[1], in[1]), or_zeros(t[2], in[2]),
                           s.eps, s.act, s.slope, in.size() == 5, t_y);
  return t_y;
}

Tensors run_batch_norm_vjp_jvp(const Tensors& in, const Tensors& out, const Tensor& ct,
                               const Tensors& t, const Tensor& ct_t, const BnSettings& s) {
  Tensors g = same_shapes(in[0], in[1], in[2]);
  launch<BatchNormBackwardTangent>(ct.device(), in[0], in[1], out[1], out[2], out[0], ct,
                                   or_zeros(t[0], in[0]), or_zeros(t[1], in[1]), or_zeros(ct_t, ct),
                                   s.eps, s.act, s.slope, in.size() == 5, g[0], g[1], g[2]);
  g.resize(in.size());
  return g;
}

FusedRule batch_norm_rule(std::string_view name, const BnSettings& s,
                          std::function<Tensor(const Tensors&, const Tensors&)> reference,
                          Positions differentiable) {
  FusedRule rule{name, [s](const Tensors& in) { return run_batch_norm(in, s); },
                 [s](const Tensors& in, const Tensors& out, const Tensor& ct) {
                   return run_batch_norm_vjp(in, out, ct, s);
                 },
                 std::move(reference), differentiable};
  rule.jvp = [s](const Tensors& in, const Tensors& out, const Tensors& t) {
    return run_batch_norm_jvp(in, out, t, s);
  };
  rule.vjp_jvp = [s](const Tensors& in, const Tensors& out, const Tensor& ct, const Tensors& t,
                     const Tensor& ct_t) {
    return run_batch_norm_vjp_jvp(in, out, ct, t, ct_t, s);
  };
  return rule;
}

Tensor layer_norm_reference(const Tensors& in, double eps) {
  const Tensor centred = sub(in[0], mean(in[0], -1, true));
  const Tensor var = mean(square(centred), -1, true);
  return add(mul(mul(centred, rsqrt(shift(var, eps))), in[1]), in[2]);
}

FusedRule layer_norm_rule(double eps) {
  FusedRule rule;
  rule.name = "layer_norm";
  rule.forward = [eps](const Tensors& in) {
    Tensor y = Tensor::empty(in[0].shape(), in[0].dtype(), in[0].device());
    launch<LayerNorm>(y.device(), in[0], in[1], in[2], eps, y);
    return Tensors{y};
  };
  rule.vjp = [eps](const Tensors& in, const Tensors&, const Tensor& ct) {
    Tensors g = same_shapes(in[0], in[1], in[2]);
    launch<LayerNormVjp>(ct.device(), in[0], in[1], ct, eps, g[0], g[1], g[2]);
    return g;
  };
  rule.reference = [eps](const Tensors& in, const Tensors&) {
    return layer_norm_reference(in, eps);
  };
  rule.jvp = [eps](const Tensors& in, const Tensors&, const Tensors& t) {
    Tensor y_t = Tensor::empty(in[0].shape(), in[0].dtype(), in[0].device());
    launch<LayerNormJvp>(y_t.device(), in[0], in[1], t[0], t[1], t[2], eps, y_t);
    return y_t;
  };
  rule.vjp_jvp = [eps](const Tensors& in, const Tensors&, const Tensor& ct, const Tensors& t,
                       const Tensor& ct_t) {
    Tensors g = same_shapes(in[0], in[1], in[2]);
    launch<LayerNormVjpJvp>(ct.device(), in[0], in[1], ct, t[0], t[1], ct_t, eps, g[0], g[1], g[2]);
    return g;
  };
  return rule;
}

}  // namespace

BatchNormResult batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps,
                           Act act, double slope) {
  check(x.rank() == 2 && x.size(0) >= 1, "batch_norm: expects [rows, C] with rows, got ",
        x.shape());
  check_channels("batch_norm", x.size(1), {&gamma, &beta});
  check_activation("batch_norm", act, slope);
  const BnSettings s{eps, act, slope};
  const auto reference = [s](const Tensors& in, const Tensors&) {
    return batch_norm_reference(in, s);
  };
  const Tensors out = fused_op(
      batch_norm_rule("batch_norm", s, reference, Positions::of({0, 1, 2})), {x, gamma, beta});
  return {out[0], out[1], out[2]};
}

Tensor batch_norm_frozen(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                         const Tensor& mean, const Tensor& var, double eps, Act act, double slope) {
  check(x.rank() == 2, "batch_norm_frozen: expects [rows, C], got ", x.shape());
  check_channels("batch_norm_frozen", x.size(1), {&gamma, &beta, &mean, &var});
  check_activation("batch_norm_frozen", act, slope);
  const BnSettings s{eps, act, slope};
  const auto reference = [s](const Tensors& in, const Tensors&) {
    return normalise(in[0], in[1], in[2], in[3], in[4], s);
  };
  return fused_op(batch_norm_rule("batch_norm_frozen", s, reference, Positions::of({0, 1, 2})),
                  {x, gamma, beta, mean.detach(), var.detach()})[0];
}

Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  check(x.rank() >= 1 && x.size(-1) >= 1, "layer_norm: the last axis is empty, ", x.shape());
  check_channels("layer_norm", x.size(-1), {&gamma, &beta});
  return fused_op(layer_norm_rule(eps), {x, gamma, beta})[0];
}

Tensor dropout(const Tensor& x, double p, uint64_t seed, uint64_t stream) {
  check(p >= 0 && p < 1, "dropout: the probability must be in [0, 1), got ", p);
  if (p == 0) return x;
  Tensor mask = Tensor::empty(x.shape(), x.dtype(), x.device());
  launch<DropoutMask>(x.device(), p, seed, stream, mask);
  return mul(x, mask);
}

Tensor dropout(const Tensor& x, double p, uint64_t seed, std::string_view layer,
               const Tensor& step) {
  check(p >= 0 && p < 1, "dropout: the probability must be in [0, 1), got ", p);
  check(step.defined() && step.dtype() == DType::i64 && step.numel() == 1 &&
            step.device() == x.device(),
        "dropout: the step must be one i64 on the device of x");
  if (p == 0) return x;
  Tensor mask = Tensor::empty(x.shape(), x.dtype(), x.device());
  launch<StepDropoutMask>(x.device(), p, seed, layer, step, mask);
  return mul(x, mask);
}

}  // namespace basin
