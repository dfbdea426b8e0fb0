// linear_bn_act_max: the last layer of a PointNet block. For an increasing activation,
//   max_n act(BN(z_n)) = act(BN(max_n z_n)) where gamma >= 0 and act(BN(min_n z_n)) elsewhere,
// so neither the kernels nor the composite below ever store z [B, N, out].
// linear_bn_act_max_mean: the last layer of DGCNN's points, on the CPU with the same kernels.
#include "basin/kernels/linear_max.h"

#include <utility>
#include <vector>

#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/ops/activate.h"
#include "basin/kernels/index_map.h"
#include "basin/kernels/launch.h"

namespace basin {

namespace {

// Rows of x [B * N, in] that hold the maxima of each output channel: [B * out] i32.
Tensor winning_rows(const Tensor& argmax, int64_t points) {
  Tensor rows = Tensor::empty({argmax.numel()}, DType::i32, argmax.device());
  launch<CloudRows>(argmax.device(), argmax, argmax.size(1), points, rows);
  return rows;
}

// The op in public ops, with the arg-max as a constant: the linear map is taken at the winning rows
// only, and the statistics of z = x w^T + b follow from those of x: mean_z = w mean_x + b, var_z =
// diag(w cov_x w^T). in: x, w, bias, gamma, beta [, mean, var]; out: y, mean, var, argmax, ...
// With the mean, z is there for all points.
Tensor composite(const Tensors& in, const Tensors& out, const BnAct& s, bool with_mean) {
  const int64_t batch = in[0].size(0), points = in[0].size(1), inner = in[0].size(2);
  const int64_t width = in[1].size(0), count = batch * points;
  const Tensor x = reshape(in[0], {count, inner});
  const Tensor winners = reshape(gather(x, winning_rows(out[3], points)), {batch, width, inner});
  const Tensor z = add(sum(mul(winners, in[1]), -1), in[2]);
  Tensor centre, var;
  if (s.given_stats) {
    centre = in[5];
    var = in[6];
  } else {
    const Tensor mean_x = mean(x, 0, true);
    const Tensor centred = sub(x, mean_x);
    const Tensor cov =
        scale(matmul(centred, centred, true, false), 1.0 / static_cast<double>(count));
    centre = add(reshape(matmul(mean_x, in[1], false, true), {width}), in[2]);
    var = sum(mul(matmul(in[1], cov), in[1]), -1);
  }
  const Tensor factor = mul(in[3], rsqrt(shift(var, s.eps)));
  const auto finish = [&](const Tensor& product) {
    return activate(add(mul(sub(product, centre), factor), in[4]), s.act, s.slope);
  };
  const Tensor largest = finish(z);
  if (!with_mean) return largest;
  const Tensor all = finish(linear(x, in[1], in[2]));
  return concat({largest, mean(reshape(all, {batch, points, width}), 1)}, 1);
}

LinearMaxPoint point(const Tensors& in, const Tensors& out) {
  return {in[0], in[1], in[2], in[3], out[0], out[1], out[2], out[3], {out[4], out[5], out[6], {}}};
}

LinearMaxTensors tangents_of(const Tensors& in, const Tensors& t) {
  return {or_zeros(t[0], in[0]), or_zeros(t[1], in[1]), or_zeros(t[2], in[2]),
          or_zeros(t[3], in[3]), or_zeros(t[4], in[4])};
}

LinearMaxTensors empty_gradients(const Tensors& in) {
  return {empty_like(in[0]), empty_like(in[1]), empty_like(in[2]), empty_like(in[3]),
          empty_like(in[4])};
}

// One per input; nothing for given statistics.
Tensors list(const LinearMaxTensors& g, size_t inputs) {
  Tensors all{g.x, g.w, g.bias, g.gamma, g.beta};
  all.resize(inputs);
  return all;
}

// Whether tensors are those that were here before, unwritten since. They stay alive here, so that
// no others can have their memory.
class Remembered {
 public:
  bool is(const Tensors& now) const {
    if (now.size() != tensors_.size()) return false;
    for (size_t i = 0; i < now.size(); ++i) {
      if (now[i].defined() != tensors_[i].defined()) return false;
      if (!now[i].defined()) continue;
      if (now[i].storage() != tensors_[i].storage() || version(now[i]) != versions_[i])
        return false;
    }
    return true;
  }
  void set(Tensors now) {
    tensors_ = std::move(now);
    versions_.clear();
    for (Tensor& t : tensors_) {
      if (t.defined()) t = t.detach();
      versions_.push_back(version(t));
    }
  }

 private:
  static uint64_t version(const Tensor& t) { return t.defined() ? t.storage()->version() : 0; }
  Tensors tensors_;
  std::vector<uint64_t> versions_;
};

// What the tangents of the layer leave for those of its derivative along the same direction, and
// for all directions at the same point.
class PushedOnce {
 public:
  LinearMaxPushed* along(const LinearMaxPoint& at, const Tensors& t) {
    if (!point_.is(place(at))) {
      point_.set(place(at));
      made_ = {};
      direction_.set({});
    }
    if (!direction_.is(t)) {
      forget_direction();
      direction_.set(t);
    }
    return &made_;
  }
  Tensor sums(const LinearMaxPoint& at) const {
    return point_.is(place(at)) ? made_.sums : Tensor();
  }
  void forget_direction() {
    Tensor sums = made_.sums;
    made_ = {};
    made_.sums = std::move(sums);
    direction_.set({});
  }

 private:
  static Tensors place(const LinearMaxPoint& at) { return {at.x, at.w, at.kept.active}; }
  Remembered point_, direction_;
  LinearMaxPushed made_;
};

struct LinearMaxRule final : LaneByLaneRule {
  LinearMaxRule(const BnAct& settings, bool mean) : s(settings), with_mean(mean) {}
  std::string_view name() const override {
    if (with_mean) {
      return s.given_stats ? "linear_bn_act_max_mean_frozen" : "linear_bn_act_max_mean";
    }
    return s.given_stats ? "linear_bn_act_max_frozen" : "linear_bn_act_max";
  }
  Positions differentiable() const override { return Positions::of({0, 1, 2, 3, 4}); }

  // y, mean, var, argmax, then what the derivatives need again: LinearMaxKept
  Tensors forward(const Tensors& in) const override {
    const int64_t batch = in[0].size(0), width = in[1].size(0);
    const DType dtype = in[0].dtype();
    const Device device = in[0].device();
    Tensor y = Tensor::empty({batch, with_mean ? 2 * width : width}, dtype, device);
    Tensor mean = s.given_stats ? in[5] : Tensor::empty({width}, dtype, device);
    Tensor var = s.given_stats ? in[6] : Tensor::empty({width}, dtype, device);
    Tensor argmax = Tensor::empty({batch, width}, DType::i32, device);
    LinearMaxKept kept;
    if (with_mean) {
      kept.active = Tensor::empty({batch, active_blocks(in[0].size(1)), width}, DType::i32, device);
    }
    if (!s.given_stats) {
      kept.moments = Tensor::empty({1 + in[0].size(2), in[0].size(2)}, DType::f64, device);
      if (device == Device::cpu) kept.spread = Tensor::empty(in[1].shape(), DType::f64, device);
    }
    launch<LinearBnActMaxForward>(device, in[0], in[1], in[2], in[3], in[4], s, y, mean, var,
                                  argmax, &kept);
    return {y, mean, var, argmax, kept.moments, kept.spread, kept.active};
  }
  Tensors vjp(const Tensors& in, const Tensors& out, const Tensor& ct) const override {
    LinearMaxTensors g = empty_gradients(in);
    LinearMaxPoint at = point(in, out);
    at.kept.sums = pushed_.sums(at);
    launch<LinearBnActMaxBackward>(ct.device(), at, ct, s, g);
    return list(g, in.size());
  }
  Tensor reference(const Tensors& in, const Tensors& out) const override {
    return composite(in, out, s, with_mean);
  }
  Tensor forward_tangent(const Tensors& in, const Tensors& out, const Tensors& t) const override {
    Tensor y_t = Tensor::empty(out[0].shape(), out[0].dtype(), out[0].device());
    const LinearMaxPoint at = point(in, out);
    launch<LinearBnActMaxTangent>(y_t.device(), at, tangents_of(in, t), s, y_t,
                                  pushed_.along(at, t));
    return y_t;
  }
  Tensors vjp_tangent(const Tensors& in, const Tensors& out, const Tensor& ct, const Tensors& t,
                      const Tensor& ct_t) const override {
    LinearMaxTensors g = empty_gradients(in);
    const LinearMaxPoint at = point(in, out);
    launch<LinearBnActMaxBackwardTangent>(ct.device(), at, ct, tangents_of(in, t),
                                          or_zeros(ct_t, ct), s, g, pushed_.along(at, t));
    pushed_.forget_direction();
    return list(g, in.size());
  }
  BnAct s;
  bool with_mean;

 private:
  mutable PushedOnce pushed_;
};

// A bias that is not there.
Tensor or_none(const Tensor& bias, const Tensor& w) {
  return bias.defined() ? bias : Tensor::zeros({w.size(0)}, w.dtype(), w.device());
}

void check_arguments(const char* op, const Tensor& x, const Tensor& w, Act act, double slope,
                     std::initializer_list<const Tensor*> vectors) {
  check(
      x.rank() == 3 && w.rank() == 2 && x.size(2) == w.size(1) && x.size(0) >= 1 && x.size(1) >= 1,
      op, ": expects x [B, N, in] and w [out, in], got ", x.shape(), " and ", w.shape());
  for (const Tensor* v : vectors) {
    check(v->defined() && v->rank() == 1 && v->size(0) == w.size(0), op, ": expects [", w.size(0),
          "] per channel, got ", v->shape());
  }
  check(x.size(0) * x.size(1) < int64_t{1} << 31, op, ": more rows than an i32 counts, ",
        x.shape());
  check(act != Act::leaky_relu || slope > 0, op, ": the leaky slope must be positive, got ", slope);
}

}  // namespace

BatchNormResult linear_bn_act_max(const Tensor& x, const Tensor& w, const Tensor& bias,
                                  const Tensor& gamma, const Tensor& beta, double eps, Act act,
                                  double slope) {
  check_arguments("linear_bn_act_max", x, w, act, slope, {&bias, &gamma, &beta});
  const BnAct settings{eps, act, slope, false};
  const Tensors out =
      fused_op(std::make_shared<LinearMaxRule>(settings, false), {x, w, bias, gamma, beta});
  return {out[0], out[1], out[2]};
}

Tensor linear_bn_act_max_frozen(const Tensor& x, const Tensor& w, const Tensor& bias,
                                const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                                const Tensor& var, double eps, Act act, double slope) {
  check_arguments("linear_bn_act_max_frozen", x, w, act, slope,
                  {&bias, &gamma, &beta, &mean, &var});
  const BnAct settings{eps, act, slope, true};
  return fused_op(std::make_shared<LinearMaxRule>(settings, false),
                  {x, w, bias, gamma, beta, mean.detach(), var.detach()})[0];
}

BatchNormResult linear_bn_act_max_mean(const Tensor& x, const Tensor& w, const Tensor& bias,
                                       const Tensor& gamma, const Tensor& beta, double eps, Act act,
                                       double slope) {
  if (x.device() != Device::cpu) {
    return bn_act_max_mean(linear(x, w, bias), gamma, beta, eps, act, slope);
  }
  const Tensor offset = or_none(bias, w);
  check_arguments("linear_bn_act_max_mean", x, w, act, slope, {&offset, &gamma, &beta});
  const BnAct settings{eps, act, slope, false};
  const Tensors out =
      fused_op(std::make_shared<LinearMaxRule>(settings, true), {x, w, offset, gamma, beta});
  return {out[0], out[1], out[2]};
}

Tensor linear_bn_act_max_mean_frozen(const Tensor& x, const Tensor& w, const Tensor& bias,
                                     const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                                     const Tensor& var, double eps, Act act, double slope) {
  if (x.device() != Device::cpu) {
    return bn_act_max_mean_frozen(linear(x, w, bias), gamma, beta, mean, var, eps, act, slope);
  }
  const Tensor offset = or_none(bias, w);
  check_arguments("linear_bn_act_max_mean_frozen", x, w, act, slope,
                  {&offset, &gamma, &beta, &mean, &var});
  const BnAct settings{eps, act, slope, true};
  return fused_op(std::make_shared<LinearMaxRule>(settings, true),
                  {x, w, offset, gamma, beta, mean.detach(), var.detach()})[0];
}

}  // namespace basin
