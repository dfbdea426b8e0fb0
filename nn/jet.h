// Jets: a function of coordinates with its derivatives along each of them, up to the second and
// without mixed ones (Taylor mode: Griewank, Walther 2008, chapter 13; of networks: Bettencourt,
// Johnson, Duvenaud 2019). What a physics-informed loss reads:
//   Jet u = jet_of(model, params, buffers, {x}, {2, 1}, options);   // u, u_x, u_xx, u_t
//   Tensor residual = u.d(1) + u.value * u.d(0) - nu * u.dd(0);
// Everything here is made of public ops, so losses of jets are differentiated like any other, to
// any order. The rules, for coordinate i:
//   z = W a + b:  z_i = W a_i,          z_ii = W a_ii
//   s = phi(z):   s_i = phi'(z) z_i,    s_ii = phi''(z) z_i^2 + phi'(z) z_ii
//   p = a b:      p_i = a_i b + a b_i,  p_ii = a_ii b + 2 a_i b_i + a b_ii
#pragma once
#include <string_view>
#include <vector>

#include "basin/autograd/transform.h"

namespace basin {

// The highest derivative wanted along each coordinate: 0, 1 or 2.
using JetOrders = std::vector<int>;

struct Jet {
  JetOrders orders;
  Tensor value;           // [B, C]
  Tensors first, second;  // per coordinate, [B, C] or what broadcasts to it; undefined: zero

  // The first and second derivative along coordinate i, [B, C]; usage error where it was not asked
  // for.
  Tensor d(size_t i) const;
  Tensor dd(size_t i) const;
};

// The coordinates themselves: x [B, d].
Jet jet_seed(const Tensor& x, JetOrders orders);
// A constant, or anything that does not depend on the coordinates.
Jet jet_constant(const Tensor& value, JetOrders orders);

// phi by name: tanh, sin, silu, gelu, softplus, relu (whose second derivative is 0 everywhere: a
// loss of u_xx does not see it, and the log says so once).
enum class Nonlinearity : uint8_t { tanh, sin, silu, gelu, softplus, relu };
inline constexpr std::string_view kNonlinearities[] = {"tanh", "sin",      "silu",
                                                       "gelu", "softplus", "relu"};
Tensor apply(Nonlinearity phi, const Tensor& x);

Jet linear(const Jet& a, const Tensor& w, const Tensor& bias);  // w [out, in], bias [out]
Jet apply(Nonlinearity phi, const Jet& a);
Jet sin(const Jet& a);
Jet cos(const Jet& a);
Jet exp(const Jet& a);
Jet operator+(const Jet& a, const Jet& b);
Jet operator-(const Jet& a, const Jet& b);
Jet operator*(const Jet& a, const Jet& b);
Jet scale(const Jet& a, double c);
Jet shift(const Jet& a, double c);
// Columns [begin, end) of a [B, C], all parts alike, and parts side by side.
Jet columns(const Jet& a, int64_t begin, int64_t end);
Jet beside(const std::vector<Jet>& parts);

// Of any function {x [B, d]} -> {y [B, C]} whose row b depends on row b of x alone, by nested
// forward mode; the reference for every rule above. Derivatives of higher order come by nesting
// jvp further.
Jet nested_jet(const Fn& f, const Tensor& x, const JetOrders& orders);

}  // namespace basin
