// edge_bn_act_max: an edge convolution behind its split linear map. For an increasing activation,
//   max_q act(BN(u_i + v_j)) = act(BN(u_i + max_q v_j)) where gamma >= 0, with min elsewhere,
// so neither the kernels nor the composite below ever store z [B, N, k, C].
#include "basin/kernels/edge_conv.h"

#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/ops/activate.h"
#include "basin/kernels/copy.h"
#include "basin/kernels/index_map.h"
#include "basin/kernels/launch.h"

namespace basin {

namespace {

// Inputs u, v, index, gamma, beta [, mean, var]; outputs y, mean, var, then the saved tensors.
EdgeConvSaved saved_of(const Tensors& out) {
  return {out[3], out[4], out[5], out[6], out[7], out[8], out[9]};
}

// The neighbour that holds each maximum: [B, N, C] i32.
Tensor winning_neighbours(const Tensor& argmax, const Tensor& index, int64_t channels) {
  Tensor winners =
      Tensor::empty({index.size(0), index.size(1), channels}, DType::i32, index.device());
  launch<PickNeighbours>(index.device(), argmax, index, winners);
  return winners;
}

// Rows of v [B N, C] under the edges of position q: [B N] i32.
Tensor rows_at(const Tensor& index, int64_t q) {
  const int64_t points = index.size(1);
  Tensor column = Tensor::empty({index.size(0), points, 1}, DType::i32, index.device());
  launch<CopyAxis>(index.device(), index, 2, q, 1, column, 0);
  Tensor rows = Tensor::empty({column.numel()}, DType::i32, index.device());
  launch<CloudRows>(index.device(), column, points, points, rows);
  return rows;
}

// mean and variance of z over all edges, from the centred u and v:
//   var = (k sum u^2 + sum degree v^2 + 2 sum u (A v)) / M,   (A v)_i = sum_q v_j.
std::pair<Tensor, Tensor> edge_statistics(const Tensor& u, const Tensor& v, const Tensor& index,
                                          const Tensor& degrees) {
  const int64_t rows = u.size(0), neighbours = index.size(2);
  const double k = static_cast<double>(neighbours), edges = k * static_cast<double>(rows);
  const Tensor degree = reshape(degrees.to(u.dtype()), {rows, 1});
  const Tensor mean_u = mean(u, 0), mean_v = scale(sum(mul(v, degree), 0), 1 / edges);
  const Tensor cu = sub(u, mean_u), cv = sub(v, mean_v);
  Tensor neighbour_sum = gather(cv, rows_at(index, 0));
  for (int64_t q = 1; q < neighbours; ++q)
    neighbour_sum = add(neighbour_sum, gather(cv, rows_at(index, q)));
  const Tensor own = mul(cu, add(scale(cu, k), scale(neighbour_sum, 2)));
  const Tensor square = add(sum(own, 0), sum(mul(degree, basin::square(cv)), 0));
  return {add(mean_u, mean_v), scale(square, 1 / edges)};
}

// The op in public ops, with the arg-max as a constant.
Tensor composite(const Tensors& in, const Tensors& out, const BnAct& s) {
  const Tensor &u = in[0], &v = in[1], &index = in[2];
  const EdgeConvSaved saved = saved_of(out);
  const int64_t channels = u.size(2);
  const Tensor z = add(u, take_along(v, winning_neighbours(saved.argmax, index, channels), 1));
  Tensor centre, var;
  if (s.given_stats) {
    centre = in[5];
    var = in[6];
  } else {
    const Shape rows{u.size(0) * u.size(1), channels};
    std::tie(centre, var) =
        edge_statistics(reshape(u, rows), reshape(v, rows), index, saved.degree);
  }
  const Tensor factor = mul(in[3], rsqrt(shift(var, s.eps)));
  return activate(add(mul(sub(z, centre), factor), in[4]), s.act, s.slope);
}

EdgeConvPoint point(const Tensors& in, const Tensors& out) {
  return {in[0], in[1], in[2], in[3], out[2], saved_of(out), out[0]};
}

EdgeConvTensors tangents_of(const Tensors& t) { return {t[0], t[1], t[3], t[4]}; }

EdgeConvTensors empty_gradients(const Tensors& in) {
  return {empty_like(in[0]), empty_like(in[1]), empty_like(in[3]), empty_like(in[4])};
}

// One per input; nothing for the index and given statistics.
Tensors list(const EdgeConvTensors& g, size_t inputs) {
  Tensors all{g.u, g.v, Tensor(), g.gamma, g.beta};
  all.resize(inputs);
  return all;
}

struct EdgeConvRule final : LaneByLaneRule {
  explicit EdgeConvRule(const BnAct& settings) : s(settings) {}
  std::string_view name() const override {
    return s.given_stats ? "edge_bn_act_max_frozen" : "edge_bn_act_max";
  }
  Positions differentiable() const override { return Positions::of({0, 1, 3, 4}); }

  Tensors forward(const Tensors& in) const override {
    const DType dtype = in[0].dtype();
    const Device device = in[0].device();
    const Shape channels = in[3].shape();
    EdgeConvSaved saved = EdgeConvSaved::empty(in[0].shape(), dtype, device, s.given_stats);
    Tensor y = Tensor::empty(in[0].shape(), dtype, device);
    Tensor mean = s.given_stats ? in[5] : Tensor::empty(channels, dtype, device);
    Tensor var = s.given_stats ? in[6] : Tensor::empty(channels, dtype, device);
    launch<EdgeBnActMaxForward>(device, in[0], in[1], in[2], in[3], in[4], s, y, mean, var, saved);
    return {y,          mean,         var,          saved.argmax, saved.winner,
            saved.sums, saved.degree, saved.centre, saved.start,  saved.order};
  }
  Tensors vjp(const Tensors& in, const Tensors& out, const Tensor& ct) const override {
    EdgeConvTensors g = empty_gradients(in);
    launch<EdgeBnActMaxBackward>(ct.device(), point(in, out), ct, s, g);
    return list(g, in.size());
  }
  Tensor reference(const Tensors& in, const Tensors& out) const override {
    return composite(in, out, s);
  }
  Tensor forward_tangent(const Tensors& in, const Tensors& out, const Tensors& t) const override {
    Tensor y_t = Tensor::empty(in[0].shape(), in[0].dtype(), in[0].device());
    launch<EdgeBnActMaxTangent>(y_t.device(), point(in, out), tangents_of(t), s, y_t);
    return y_t;
  }
  Tensors vjp_tangent(const Tensors& in, const Tensors& out, const Tensor& ct, const Tensors& t,
                      const Tensor& ct_t) const override {
    EdgeConvTensors g = empty_gradients(in);
    launch<EdgeBnActMaxBackwardTangent>(ct.device(), point(in, out), ct, tangents_of(t), ct_t, s,
                                        g);
    return list(g, in.size());
  }
  BnAct s;
};

void check_arguments(const char* op, const Tensor& u, const Tensor& v, const Tensor& index, Act act,
                     double slope, std::initializer_list<const Tensor*> vectors) {
  check(u.rank() == 3 && u.shape() == v.shape() && u.numel() > 0, op,
        ": expects u and v [B, N, C], got ", u.shape(), " and ", v.shape());
  check(index.rank() == 3 && index.dtype() == DType::i32 && index.size(0) == u.size(0) &&
            index.size(1) == u.size(1) && index.size(2) >= 1,
        op, ": expects index [", u.size(0), ", ", u.size(1), ", k] i32, got ", index);
  check(index.size(2) <= kMaxEdgeNeighbours, op, ": at most ", kMaxEdgeNeighbours,
        " neighbours fit the one-byte arg-max, got ", index.size(2));
  check(u.size(0) * u.size(1) < int64_t{1} << 31, op, ": more points than an i32 counts, ",
        u.shape());
  for (const Tensor* c : vectors) {
    check(c->defined() && c->rank() == 1 && c->size(0) == u.size(2), op, ": expects [", u.size(2),
          "] per channel, got ", c->shape());
  }
  check(act != Act::leaky_relu || slope > 0, op, ": the leaky slope must be positive, got ", slope);
}

}  // namespace

BatchNormResult edge_bn_act_max(const Tensor& u, const Tensor& v, const Tensor& index,
                                const Tensor& gamma, const Tensor& beta, double eps, Act act,
                                double slope) {
  check_arguments("edge_bn_act_max", u, v, index, act, slope, {&gamma, &beta});
  const BnAct settings{eps, act, slope, false};
  const Tensors out =
      fused_op(std::make_shared<EdgeConvRule>(settings), {u, v, index, gamma, beta});
  return {out[0], out[1], out[2]};
}

Tensor edge_bn_act_max_frozen(const Tensor& u, const Tensor& v, const Tensor& index,
                              const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                              const Tensor& var, double eps, Act act, double slope) {
  check_arguments("edge_bn_act_max_frozen", u, v, index, act, slope, {&gamma, &beta, &mean, &var});
  const BnAct settings{eps, act, slope, true};
  return fused_op(std::make_shared<EdgeConvRule>(settings),
                  {u, v, index, gamma, beta, mean.detach(), var.detach()})[0];
}

}  // namespace basin
