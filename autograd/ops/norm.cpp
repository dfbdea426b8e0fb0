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

// gamma (x - mean) / sqrt(var + eps) + beta, then the activation.
Tensor normalise(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                 const Tensor& var, const BnAct& s) {
  const Tensor factor = mul(gamma, rsqrt(shift(var, s.eps)));
  return activate(add(mul(sub(x, mean), factor), beta), s.act, s.slope);
}

// in: x, gamma, beta [, mean, var]; out: y, mean, var
struct BatchNormRule final : LaneByLaneRule {
  explicit BatchNormRule(const BnAct& settings) : s(settings) {}
  std::string_view name() const override {
    return s.given_stats ? "batch_norm_frozen" : "batch_norm";
  }
  Positions differentiable() const override { return Positions::of({0, 1, 2}); }

  Tensors forward(const Tensors& in) const override {
    const Tensor &x = in[0], &gamma = in[1];
    Tensor y = empty_like(x);
    Tensor mu = s.given_stats ? in[3] : empty_like(gamma),
           var = s.given_stats ? in[4] : empty_like(gamma);
    launch<BatchNormForward>(y.device(), x, gamma, in[2], s, mu, var, y);
    return {y, mu, var};
  }
  static BatchNormPoint point(const Tensors& in, const Tensors& out) {
    return {in[0], in[1], out[1], out[2], out[0]};
  }
  static BatchNormTensors tangents_of(const Tensors& in, const Tensors& t) {
    return {or_zeros(t[0], in[0]), or_zeros(t[1], in[1]), or_zeros(t[2], in[2])};
  }
  static Tensors list(const BatchNormTensors& g, size_t inputs) {
    Tensors all{g.x, g.gamma, g.beta};
    all.resize(inputs);  // nothing for given statistics
    return all;
  }
  Tensors vjp(const Tensors& in, const Tensors& out, const Tensor& ct) const override {
    BatchNormTensors g{empty_like(in[0]), empty_like(in[1]), empty_like(in[2])};
    launch<BatchNormBackward>(ct.device(), point(in, out), ct, s, g);
    return list(g, in.size());
  }
  Tensor reference(const Tensors& in, const Tensors&) const override {
    if (s.given_stats) return normalise(in[0], in[1], in[2], in[3], in[4], s);
    const Tensor mu = mean(in[0], 0);
    const Tensor var = mean(square(sub(in[0], mu)), 0);
    return normalise(in[0], in[1], in[2], mu, var, s);
  }
  Tensor forward_tangent(const Tensors& in, const Tensors& out, const Tensors& t) const override {
    Tensor y_t = empty_like(in[0]);
    launch<BatchNormTangent>(y_t.device(), point(in, out), tangents_of(in, t), s, y_t);
    return y_t;
  }
  Tensors vjp_tangent(const Tensors& in, const Tensors& out, const Tensor& ct, const Tensors& t,
                      const Tensor& ct_t) const override {
    BatchNormTensors g{empty_like(in[0]), empty_like(in[1]), empty_like(in[2])};
    launch<BatchNormBackwardTangent>(ct.device(), point(in, out), ct, tangents_of(in, t),
                                     or_zeros(ct_t, ct), s, g);
    return list(g, in.size());
  }
  BnAct s;
};

// in: x, gamma, beta; out: y
struct LayerNormRule final : LaneByLaneRule {
  explicit LayerNormRule(double e) : eps(e) {}
  std::string_view name() const override { return "layer_norm"; }
  Tensors forward(const Tensors& in) const override {
    Tensor y = empty_like(in[0]);
    launch<LayerNormForward>(y.device(), in[0], in[1], in[2], eps, y);
    return {y};
  }
  Tensors vjp(const Tensors& in, const Tensors&, const Tensor& ct) const override {
    Tensors g{empty_like(in[0]), empty_like(in[1]), empty_like(in[2])};
    launch<LayerNormVjp>(ct.device(), in[0], in[1], ct, eps, g[0], g[1], g[2]);
    return g;
  }
  Tensor reference(const Tensors& in, const Tensors&) const override {
    const Tensor centred = sub(in[0], mean(in[0], -1, true));
    const Tensor var = mean(square(centred), -1, true);
    return add(mul(mul(centred, rsqrt(shift(var, eps))), in[1]), in[2]);
  }
  Tensor forward_tangent(const Tensors& in, const Tensors&, const Tensors& t) const override {
    Tensor y_t = empty_like(in[0]);
    launch<LayerNormJvp>(y_t.device(), in[0], in[1], t[0], t[1], t[2], eps, y_t);
    return y_t;
  }
  Tensors vjp_tangent(const Tensors& in, const Tensors&, const Tensor& ct, const Tensors& t,
                      const Tensor& ct_t) const override {
    Tensors g{empty_like(in[0]), empty_like(in[1]), empty_like(in[2])};
    launch<LayerNormVjpJvp>(ct.device(), in[0], in[1], ct, t[0], t[1], ct_t, eps, g[0], g[1], g[2]);
    return g;
  }
  double eps;
};

}  // namespace

BatchNormResult batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps,
                           Act act, double slope) {
  check(x.rank() == 2 && x.size(0) >= 1, "batch_norm: expects [rows, C] with rows, got ",
        x.shape());
  check_channels("batch_norm", x.size(1), {&gamma, &beta});
  check_activation("batch_norm", act, slope);
  const BnAct settings{eps, act, slope, false};
  const Tensors out = fused_op(std::make_shared<BatchNormRule>(settings), {x, gamma, beta});
  return {out[0], out[1], out[2]};
}

Tensor batch_norm_frozen(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                         const Tensor& mean, const Tensor& var, double eps, Act act, double slope) {
  check(x.rank() == 2, "batch_norm_frozen: expects [rows, C], got ", x.shape());
  check_channels("batch_norm_frozen", x.size(1), {&gamma, &beta, &mean, &var});
  check_activation("batch_norm_frozen", act, slope);
  const BnAct settings{eps, act, slope, true};
  return fused_op(std::make_shared<BatchNormRule>(settings),
                  {x, gamma, beta, mean.detach(), var.detach()})[0];
}

Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  check(x.rank() >= 1 && x.size(-1) >= 1, "layer_norm: the last axis is empty, ", x.shape());
  check_channels("layer_norm", x.size(-1), {&gamma, &beta});
  return fused_op(std::make_shared<LayerNormRule>(eps), {x, gamma, beta})[0];
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
