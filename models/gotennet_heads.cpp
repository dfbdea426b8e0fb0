// From atoms to molecules: the output heads of GotenNet.
#include <numbers>

#include "basin/models/detail/gotennet.h"

namespace basin::goten {
namespace {

Tensor scalar_head(const Net& net, const Pass& pass, const Molecules& m, const Tensor& h) {
  return m.sum(pass.apply(net.head.second, silu(pass.apply(net.head.first, h))));
}

// sum_i u_i |x_i - x_com|^2
Tensor extent_head(const Net& net, const Pass& pass, const Molecules& m, const Tensor& h) {
  const Tensor hidden = softplus(pass.apply(net.head.first, h)) - std::numbers::ln2;
  const Tensor u = pass.apply(net.head.second, hidden);
  return m.sum(u * sum(square(about_centre_of_mass(m)), 1, true));
}

struct Gated {
  Tensor scalars;  // [A, s]
  Tensor vectors;  // [A, 3, v]
};

// (V, W) = mix(vectors); (s, gate) = net(scalars, |V|); vectors <- gate W
Gated apply(const GatedBlock& block, const Pass& pass, const Gated& in, bool activated) {
  const int64_t n = block.vectors;
  const Tensor mixed = pass.apply(block.mix, in.vectors);
  const Tensors parts = split(mixed, 2, {n, n});  // V, W
  const Tensor length = sqrt(sum(square(parts[0]), 1) + kNormEps);
  const Tensor y = pass.apply(block.net.second,
                              silu(pass.apply(block.net.first, concat({in.scalars, length}, 1))));
  const Tensors out = split(y, 1, {block.scalars, n});
  return {activated ? silu(out[0]) : out[0], parts[1] * reshape(out[1], {y.size(0), 1, n})};
}

// sum_i p_i + q_i (x_i - x_com), [B, 3]
Tensor dipole_vectors(const Net& net, const Pass& pass, const Molecules& m, const Tensor& h,
                      const Tensor& x) {
  Gated state{h, slice(x, 1, 0, 3)};
  for (size_t i = 0; i < net.gated.size(); ++i) state = apply(net.gated[i], pass, state, i == 0);
  const Tensor own = reshape(state.vectors, {m.atoms(), 3});
  return m.sum(own + state.scalars * about_centre_of_mass(m));
}

}  // namespace

Tensor apply_head(const Net& net, const Pass& pass, const Molecules& molecules, const Tensor& h,
                  const Tensor& x, std::vector<Activation>* activations) {
  if (net.config.head == MoleculeHead::scalar) return scalar_head(net, pass, molecules, h);
  if (net.config.head == MoleculeHead::r2) return extent_head(net, pass, molecules, h);
  const Tensor dipole = dipole_vectors(net, pass, molecules, h, x);
  if (activations) activations->push_back({"dipole", dipole, Rows::example, 1});
  return safe_norm(dipole, 1, true);
}

}  // namespace basin::goten
