// Jets in public ops; a part that is zero stays undefined, so nothing is computed for it.
#include "basin/nn/jet.h"

#include <atomic>
#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/core/log.h"

namespace basin {
namespace {

Tensor plus(const Tensor& a, const Tensor& b) {
  if (!a.defined()) return b;
  return b.defined() ? a + b : a;
}

Tensor times(const Tensor& a, const Tensor& b) {
  return a.defined() && b.defined() ? a * b : Tensor{};
}

void check_orders(const JetOrders& orders, const char* op) {
  for (const int order : orders) {
    check(order >= 0 && order <= 2, op, ": derivatives of order 0 to 2 along a coordinate, got ",
          order);
  }
}

void check_pair(const Jet& a, const Jet& b, const char* op) {
  check(a.orders == b.orders, op, ": the two jets have other derivatives");
}

// phi(a) from phi and its derivatives at a.value; the second one is asked for where it is needed.
template <class First, class Second>
Jet composed(const Jet& a, Tensor value, const First& first, const Second& second) {
  Jet out{a.orders, std::move(value), Tensors(a.orders.size()), Tensors(a.orders.size())};
  Tensor p, pp;
  for (size_t i = 0; i < a.orders.size(); ++i) {
    if (a.orders[i] == 0 || (!a.first[i].defined() && !a.second[i].defined())) continue;
    if (!p.defined()) p = first();
    out.first[i] = times(p, a.first[i]);
    if (a.orders[i] < 2) continue;
    if (!pp.defined()) pp = second();
    const Tensor squared = a.first[i].defined() ? square(a.first[i]) : Tensor{};
    out.second[i] = plus(times(pp, squared), times(p, a.second[i]));
  }
  return out;
}

// Unit vectors as rows [1, d], made where they are needed: a recorded step takes nothing from the
// host.
Tensor unit(const Tensor& like, int64_t d, size_t i) {
  Tensors e;
  for (int64_t j = 0; j < d; ++j) {
    const double value = j == static_cast<int64_t>(i) ? 1 : 0;
    e.push_back(Tensor::full({1, 1}, like.dtype(), value, like.device()));
  }
  return concat(e, 1);
}

Tensor part(const Jet& jet, const Tensors& parts, size_t i, int order) {
  check(i < jet.orders.size() && jet.orders[i] >= order, "jet: derivative ", order,
        " along coordinate ", i, " was not asked for");
  const Tensor& t = parts[i];
  if (!t.defined()) {
    return Tensor::zeros(jet.value.shape(), jet.value.dtype(), jet.value.device());
  }
  return t.shape() == jet.value.shape() ? t : broadcast_to(t, jet.value.shape());
}

void warn_of_relu() {
  static std::atomic<bool> said{false};
  if (said.exchange(true)) return;
  log_message(LogLevel::warning,
              "relu: its second derivative is 0 everywhere, so a residual with second derivatives "
              "does not see the network; take tanh, sin, silu or gelu");
}

}  // namespace

Tensor Jet::d(size_t i) const { return part(*this, first, i, 1); }
Tensor Jet::dd(size_t i) const { return part(*this, second, i, 2); }

Jet jet_seed(const Tensor& x, JetOrders orders) {
  check(x.rank() == 2 && x.size(1) == static_cast<int64_t>(orders.size()),
        "jet_seed: expects x [B, ", orders.size(), "], got ", x.shape());
  check_orders(orders, "jet_seed");
  Jet out = jet_constant(x, std::move(orders));
  for (size_t i = 0; i < out.orders.size(); ++i) {
    if (out.orders[i] > 0) out.first[i] = unit(x, x.size(1), i);
  }
  return out;
}

Jet jet_constant(const Tensor& value, JetOrders orders) {
  check_orders(orders, "jet_constant");
  const size_t d = orders.size();
  return {std::move(orders), value, Tensors(d), Tensors(d)};
}

Tensor apply(Nonlinearity phi, const Tensor& x) {
  switch (phi) {
    case Nonlinearity::tanh: return tanh(x);
    case Nonlinearity::sin: return sin(x);
    case Nonlinearity::silu: return silu(x);
    case Nonlinearity::gelu: return gelu(x);
    case Nonlinearity::softplus: return softplus(x);
    case Nonlinearity::relu: return relu(x);
  }
  return x;
}

Jet linear(const Jet& a, const Tensor& w, const Tensor& bias) {
  Jet out = map_parts(a, [&](const Tensor& t) { return linear(t, w, {}); });
  if (bias.defined()) out.value = out.value + bias;
  return out;
}

Jet apply(Nonlinearity phi, const Jet& a) {
  const Tensor& z = a.value;
  Tensor value = apply(phi, z);
  switch (phi) {
    case Nonlinearity::tanh: {
      const auto slope = [value] { return shift(neg(square(value)), 1); };
      return composed(a, value, slope, [&] { return scale(value * slope(), -2); });
    }
    case Nonlinearity::sin:
      return composed(
          a, value, [&] { return cos(z); }, [&] { return neg(value); });
    case Nonlinearity::silu: {
      // g = sigma(z): phi' = g (1 + z (1 - g)), phi'' = g (1 - g) (2 + z (1 - 2 g))
      const Tensor g = sigmoid(z), rest = shift(neg(g), 1);
      return composed(
          a, value, [&] { return g * shift(z * rest, 1); },
          [&] { return g * rest * shift(z * shift(scale(g, -2), 1), 2); });
    }
    case Nonlinearity::gelu: {
      // With the normal density n: phi' = Phi(z) + z n(z), phi'' = n(z) (2 - z^2)
      const Tensor n = scale(exp(scale(square(z), -0.5)), 1 / std::sqrt(2 * M_PI));
      return composed(
          a, value, [&] { return scale(shift(erf(scale(z, std::sqrt(0.5))), 1), 0.5) + z * n; },
          [&] { return n * shift(neg(square(z)), 2); });
    }
    case Nonlinearity::softplus: {
      const Tensor g = sigmoid(z);
      return composed(
          a, value, [&] { return g; }, [&] { return g * shift(neg(g), 1); });
    }
    case Nonlinearity::relu:
      return composed(
          a, value, [&] { return step(z, 0); },
          [&] {
            warn_of_relu();
            return Tensor{};
          });
  }
  return a;
}

Jet sin(const Jet& a) { return apply(Nonlinearity::sin, a); }

Jet cos(const Jet& a) {
  const Tensor value = cos(a.value);
  return composed(
      a, value, [&] { return neg(sin(a.value)); }, [&] { return neg(value); });
}

Jet exp(const Jet& a) {
  const Tensor value = exp(a.value);
  return composed(
      a, value, [&] { return value; }, [&] { return value; });
}

Jet operator+(const Jet& a, const Jet& b) {
  check_pair(a, b, "jet +");
  Jet out = jet_constant(a.value + b.value, a.orders);
  for (size_t i = 0; i < a.orders.size(); ++i) {
    out.first[i] = plus(a.first[i], b.first[i]);
    out.second[i] = plus(a.second[i], b.second[i]);
  }
  return out;
}

Jet operator-(const Jet& a, const Jet& b) { return a + scale(b, -1); }

Jet operator*(const Jet& a, const Jet& b) {
  check_pair(a, b, "jet *");
  Jet out = jet_constant(a.value * b.value, a.orders);
  for (size_t i = 0; i < a.orders.size(); ++i) {
    if (a.orders[i] == 0) continue;
    out.first[i] = plus(times(a.first[i], b.value), times(a.value, b.first[i]));
    if (a.orders[i] < 2) continue;
    const Tensor both = times(a.first[i], b.first[i]);
    out.second[i] = plus(plus(times(a.second[i], b.value), times(a.value, b.second[i])),
                         both.defined() ? scale(both, 2) : Tensor{});
  }
  return out;
}

Jet scale(const Jet& a, double c) {
  return map_parts(a, [&](const Tensor& t) { return scale(t, c); });
}

Jet shift(const Jet& a, double c) {
  Jet out = a;
  out.value = shift(a.value, c);
  return out;
}

Jet map_parts(const Jet& a, const std::function<Tensor(const Tensor&)>& map) {
  Jet out{a.orders, map(a.value), Tensors(a.first.size()), Tensors(a.second.size())};
  for (size_t i = 0; i < a.orders.size(); ++i) {
    if (a.first[i].defined()) out.first[i] = map(a.first[i]);
    if (a.second[i].defined()) out.second[i] = map(a.second[i]);
  }
  return out;
}

Jet columns(const Jet& a, int64_t begin, int64_t end) {
  return map_parts(a, [&](const Tensor& t) { return slice(t, 1, begin, end); });
}

Jet beside(const std::vector<Jet>& parts) {
  check(!parts.empty(), "jet beside: expects parts");
  const JetOrders& orders = parts.front().orders;
  Tensors values;
  for (const Jet& p : parts) {
    check_pair(parts.front(), p, "jet beside");
    values.push_back(p.value);
  }
  Jet out = jet_constant(concat(values, 1), orders);
  const auto joined = [&](size_t i, int order) {
    Tensors rows;
    for (const Jet& p : parts) rows.push_back(order == 1 ? p.d(i) : p.dd(i));
    return concat(rows, 1);
  };
  for (size_t i = 0; i < orders.size(); ++i) {
    if (orders[i] > 0) out.first[i] = joined(i, 1);
    if (orders[i] > 1) out.second[i] = joined(i, 2);
  }
  return out;
}

Jet nested_jet(const Fn& f, const Tensor& x, const JetOrders& orders) {
  check(x.rank() == 2 && x.size(1) == static_cast<int64_t>(orders.size()), "nested_jet: expects x ",
        "[B, ", orders.size(), "], got ", x.shape());
  check_orders(orders, "nested_jet");
  Jet out = jet_constant({}, orders);
  for (size_t i = 0; i < orders.size(); ++i) {
    if (orders[i] == 0) continue;
    const Tensors along{broadcast_to(unit(x, x.size(1), i), x.shape())};
    const Fn slope = [&f, along](const Tensors& at) { return jvp(f, at, along).second; };
    if (orders[i] == 1) {
      auto [value, derivative] = jvp(f, {x}, along);
      out.value = value.front();
      out.first[i] = derivative.front();
      continue;
    }
    auto [derivative, curvature] = jvp(slope, {x}, along);
    out.first[i] = derivative.front();
    out.second[i] = curvature.front();
  }
  if (!out.value.defined()) out.value = f({x}).front();
  return out;
}

}  // namespace basin
