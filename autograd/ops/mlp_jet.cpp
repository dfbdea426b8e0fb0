// mlp_jet as a fused op: kernels for the value, the gradients and the tangents of both; beyond, the
// rules of nn/jet.h in public ops.
#include "basin/kernels/mlp_jet.h"

#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

// phi(z) with its first and second derivative.
Tensors activated(JetActivation phi, const Tensor& z) {
  switch (phi) {
    case JetActivation::tanh: {
      const Tensor t = tanh(z), d1 = shift(neg(square(t)), 1);
      return {t, d1, scale(t * d1, -2)};
    }
    case JetActivation::sin: {
      const Tensor s = sin(z);
      return {s, cos(z), neg(s)};
    }
    case JetActivation::silu: {
      const Tensor g = sigmoid(z), q = g * shift(neg(g), 1);
      return {z * g, g + z * q, q * shift(z * shift(scale(g, -2), 1), 2)};
    }
  }
  return {};
}

// The order of the op's inputs: x, then all weights, then all biases.
struct MlpJetRule final : LaneByLaneRule {
  MlpJetRule(JetActivation p, std::vector<int> o) : phi(p), orders(std::move(o)) {}
  std::string_view name() const override { return "mlp_jet"; }

  static MlpTensors named(const Tensors& in) {
    const auto layers = static_cast<std::ptrdiff_t>(in.size() / 2);
    return {in[0], {in.begin() + 1, in.begin() + 1 + layers}, {in.begin() + 1 + layers, in.end()}};
  }
  static MlpTensors tangents_of(const Tensors& in, const Tensors& t) {
    Tensors all;
    for (size_t i = 0; i < in.size(); ++i) all.push_back(or_zeros(t[i], in[i]));
    return named(all);
  }
  Tensor jet(const Tensors& in, const MlpTensors* tangents) const {
    const MlpTensors net = named(in);
    Tensor out = Tensor::empty({JetSlots(orders).count, net.x.size(0), net.biases.back().numel()},
                               net.x.dtype(), net.x.device());
    launch<MlpJet>(out.device(), net, tangents, phi, orders, out);
    return out;
  }
  Tensors gradients(const Tensors& in, const MlpTensors* tangents, const Tensor& ct,
                    const Tensor& ct_t) const {
    Tensors all;
    for (const Tensor& t : in) all.push_back(Tensor::empty(t.shape(), t.dtype(), t.device()));
    MlpTensors grads = named(all);
    launch<MlpJetVjp>(ct.device(), named(in), tangents, phi, orders, ct, ct_t, grads);
    return all;
  }

  Tensors forward(const Tensors& in) const override { return {jet(in, nullptr)}; }
  Tensors vjp(const Tensors& in, const Tensors&, const Tensor& ct) const override {
    return gradients(in, nullptr, ct, {});
  }
  Tensor forward_tangent(const Tensors& in, const Tensors&, const Tensors& t) const override {
    const MlpTensors tangents = tangents_of(in, t);
    return jet(in, &tangents);
  }
  Tensors vjp_tangent(const Tensors& in, const Tensors&, const Tensor& ct, const Tensors& t,
                      const Tensor& ct_t) const override {
    const MlpTensors tangents = tangents_of(in, t);
    return gradients(in, &tangents, ct, or_zeros(ct_t, ct));
  }
  Tensor reference(const Tensors& in, const Tensors&) const override;

  JetActivation phi;
  std::vector<int> orders;
};

Tensor MlpJetRule::reference(const Tensors& in, const Tensors&) const {
  const MlpTensors net = named(in);
  const JetSlots slots(orders);
  Tensors a(static_cast<size_t>(slots.count));  // undefined: zero
  a[0] = net.x;
  for (const JetSlots::Along& along : slots.along) {
    std::vector<double> unit(orders.size());
    unit[along.coordinate] = 1;
    a[along.first] = Tensor::from(unit, {1, net.x.size(1)}).to(net.x.dtype()).to(net.x.device());
  }
  for (size_t l = 0; l < net.weights.size(); ++l) {
    if (l > 0) {
      const Tensors f = activated(phi, a[0]);
      a[0] = f[0];
      for (const JetSlots::Along& along : slots.along) {
        const Tensor z1 = a[along.first];
        a[along.first] = f[1] * z1;
        if (along.second == 0) continue;
        Tensor& second = a[along.second];
        const Tensor bend = f[2] * square(z1);
        second = second.defined() ? bend + f[1] * second : bend;
      }
    }
    for (Tensor& part : a) {
      if (part.defined()) part = linear(part, net.weights[l], {});
    }
    a[0] = a[0] + net.biases[l];
  }
  for (Tensor& part : a) {
    part = part.defined() ? broadcast_to(part, a[0].shape()) : or_zeros(part, a[0]);
  }
  return stack(a);
}

void check_layers(const Tensor& x, const Tensors& weights, const Tensors& biases,
                  const std::vector<int>& orders) {
  const char* op = "mlp_jet";
  check(x.rank() == 2 && is_float(x.dtype()) && x.size(1) == static_cast<int64_t>(orders.size()),
        op, ": expects x [B, ", orders.size(), "], got ", x.shape());
  check(!weights.empty() && weights.size() == biases.size(), op,
        ": expects a weight and a bias per layer, got ", weights.size(), " and ", biases.size());
  for (const int order : orders) {
    check(order >= 0 && order <= 2, op, ": derivatives of order 0 to 2 along a coordinate, got ",
          order);
  }
  int64_t units = x.size(1);
  for (size_t l = 0; l < weights.size(); ++l) {
    const Tensor &w = weights[l], &b = biases[l];
    check(w.rank() == 2 && w.size(1) == units && b.rank() == 1 && b.numel() == w.size(0), op,
          ": layer ", l, " expects a weight [out, ", units, "] and a bias [out], got ", w.shape(),
          " and ", b.shape());
    check(w.dtype() == x.dtype() && b.dtype() == x.dtype(), op, ": layer ", l,
          " needs the dtype of x, ", name_of(x.dtype()));
    units = w.size(0);
  }
}

}  // namespace

Tensor mlp_jet(const Tensor& x, const Tensors& weights, const Tensors& biases, JetActivation phi,
               const std::vector<int>& orders) {
  check_layers(x, weights, biases, orders);
  Tensors in{x};
  in.insert(in.end(), weights.begin(), weights.end());
  in.insert(in.end(), biases.begin(), biases.end());
  return fused_op(std::make_shared<MlpJetRule>(phi, orders), in)[0];
}

}  // namespace basin
