// bn_act_max_mean: batch norm and its activation under the maximum and the mean over the points.
// Neither the kernels' results nor what is kept for their derivatives holds y [B, N, C].
#include "basin/kernels/norm_pool.h"

#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/kernels/launch.h"

namespace basin {

namespace {

NormPoolPoint point(const Tensors& in, const Tensors& out) {
  return {in[0], in[1], in[2], out[1], out[2], out[3]};
}

BatchNormTensors tangents_of(const Tensors& in, const Tensors& t) {
  return {or_zeros(t[0], in[0]), or_zeros(t[1], in[1]), or_zeros(t[2], in[2])};
}

Tensors list(const BatchNormTensors& g, size_t inputs) {
  Tensors all{g.x, g.gamma, g.beta};
  all.resize(inputs);  // nothing for given statistics
  return all;
}

// in: x, gamma, beta [, mean, var]; out: y, mean, var, argmax
struct NormPoolRule final : LaneByLaneRule {
  explicit NormPoolRule(const BnAct& settings) : s(settings) {}
  std::string_view name() const override {
    return s.given_stats ? "bn_act_max_mean_frozen" : "bn_act_max_mean";
  }
  Positions differentiable() const override { return Positions::of({0, 1, 2}); }

  Tensors forward(const Tensors& in) const override {
    const Tensor &x = in[0], &gamma = in[1];
    const int64_t batch = x.size(0), channels = x.size(2);
    Tensor y = Tensor::empty({batch, 2 * channels}, x.dtype(), x.device());
    Tensor argmax = Tensor::empty({batch, channels}, DType::i32, x.device());
    Tensor mu = s.given_stats ? in[3] : empty_like(gamma),
           var = s.given_stats ? in[4] : empty_like(gamma);
    launch<NormPoolForward>(x.device(), x, gamma, in[2], s, mu, var, y, argmax);
    return {y, mu, var, argmax};
  }
  Tensors vjp(const Tensors& in, const Tensors& out, const Tensor& ct) const override {
    BatchNormTensors g{empty_like(in[0]), empty_like(in[1]), empty_like(in[2])};
    launch<NormPoolBackward>(ct.device(), point(in, out), ct, s, g);
    return list(g, in.size());
  }
  Tensor reference(const Tensors& in, const Tensors&) const override {
    const Tensor& x = in[0];
    const Tensor rows = reshape(x, {x.size(0) * x.size(1), x.size(2)});
    const Tensor y =
        s.given_stats ? batch_norm_frozen(rows, in[1], in[2], in[3], in[4], s.eps, s.act, s.slope)
                      : batch_norm(rows, in[1], in[2], s.eps, s.act, s.slope).y;
    const Tensor clouds = reshape(y, x.shape());
    return concat({max(clouds, 1), mean(clouds, 1)}, 1);
  }
  Tensor forward_tangent(const Tensors& in, const Tensors& out, const Tensors& t) const override {
    Tensor y_t = empty_like(out[0]);
    launch<NormPoolTangent>(y_t.device(), point(in, out), tangents_of(in, t), s, y_t);
    return y_t;
  }
  Tensors vjp_tangent(const Tensors& in, const Tensors& out, const Tensor& ct, const Tensors& t,
                      const Tensor& ct_t) const override {
    BatchNormTensors g{empty_like(in[0]), empty_like(in[1]), empty_like(in[2])};
    launch<NormPoolBackwardTangent>(ct.device(), point(in, out), ct, tangents_of(in, t),
                                    or_zeros(ct_t, ct), s, g);
    return list(g, in.size());
  }
  BnAct s;
};

void check_arguments(const char* op, const Tensor& x, Act act, double slope,
                     std::initializer_list<const Tensor*> vectors) {
  check(x.rank() == 3 && x.size(0) >= 1 && x.size(1) >= 1 && x.size(2) >= 1, op,
        ": expects x [B, N, C], none of them 0, got ", x.shape());
  for (const Tensor* v : vectors) {
    check(v->defined() && v->rank() == 1 && v->size(0) == x.size(2), op, ": expects [", x.size(2),
          "] per channel, got ", v->shape());
  }
  check(x.size(1) < int64_t{1} << 31, op, ": more points than an i32 counts, ", x.shape());
  check(act != Act::leaky_relu || slope > 0, op, ": the leaky slope must be positive, got ", slope);
}

}  // namespace

BatchNormResult bn_act_max_mean(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                                double eps, Act act, double slope) {
  check_arguments("bn_act_max_mean", x, act, slope, {&gamma, &beta});
  const BnAct settings{eps, act, slope, false};
  const Tensors out = fused_op(std::make_shared<NormPoolRule>(settings), {x, gamma, beta});
  return {out[0], out[1], out[2]};
}

Tensor bn_act_max_mean_frozen(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                              const Tensor& mean, const Tensor& var, double eps, Act act,
                              double slope) {
  check_arguments("bn_act_max_mean_frozen", x, act, slope, {&gamma, &beta, &mean, &var});
  const BnAct settings{eps, act, slope, true};
  return fused_op(std::make_shared<NormPoolRule>(settings),
                  {x, gamma, beta, mean.detach(), var.detach()})[0];
}

}  // namespace basin
