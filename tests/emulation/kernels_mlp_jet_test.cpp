// The kernels of mlp_jet on the device against their CPU forms (compare.h): values, gradients and
// the tangents of both, over points that do not fill a tile and several blocks.
#include <doctest/doctest.h>

#include "basin/kernels/mlp_jet.h"
#include "basin/tests/emulation/compare.h"

using namespace basin;
using testing::compare;
using testing::Place;

namespace {

struct Net {
  int64_t points;
  std::vector<int64_t> widths;
  JetActivation phi;
  std::vector<int> orders;
};

MlpTensors random_net(Rng& rng, const Net& n) {
  MlpTensors net;
  net.x = testing::uniform(rng, {n.points, n.widths[0]});
  for (size_t l = 0; l + 1 < n.widths.size(); ++l) {
    net.weights.push_back(testing::uniform(rng, {n.widths[l + 1], n.widths[l]}, -0.6, 0.6));
    net.biases.push_back(testing::uniform(rng, {n.widths[l + 1]}));
  }
  return net;
}

// Every tensor mapped.
template <class Map>
MlpTensors each(const MlpTensors& net, const Map& map) {
  MlpTensors out{map(net.x), {}, {}};
  for (const Tensor& w : net.weights) out.weights.push_back(map(w));
  for (const Tensor& b : net.biases) out.biases.push_back(map(b));
  return out;
}

void compare_jets(const Net& n) {
  Rng rng(13, stream_id("mlp_jet", static_cast<uint64_t>(n.points)));
  const MlpTensors in = random_net(rng, n), along = random_net(rng, n);
  const Shape out{JetSlots(n.orders).count, n.points, n.widths.back()};
  const Tensor ct = testing::uniform(rng, out), ct_t = testing::uniform(rng, out);
  const std::string shapes = str("B ", n.points, ", d ", n.widths[0], ", ", n.widths.size() - 1,
                                 " layers of ", n.widths[1]);
  for (const bool tangent : {false, true}) {
    const std::string suffix = tangent ? ", tangent" : "";
    compare("mlp_jet" + suffix, shapes, [&](const Place& on) {
      const MlpTensors t = each(along, on);
      Tensor y = on.empty(out);
      launch<MlpJet>(on.device, each(in, on), tangent ? &t : nullptr, n.phi, n.orders, y);
      return Tensors{y};
    });
    compare("mlp_jet_vjp" + suffix, shapes, [&](const Place& on) {
      const MlpTensors t = each(along, on);
      MlpTensors grads = each(in, [&](const Tensor& x) { return on.empty(x.shape()); });
      launch<MlpJetVjp>(on.device, each(in, on), tangent ? &t : nullptr, n.phi, n.orders, on(ct),
                        on(ct_t), grads);
      Tensors all{grads.x};
      all.insert(all.end(), grads.weights.begin(), grads.weights.end());
      all.insert(all.end(), grads.biases.begin(), grads.biases.end());
      return all;
    });
  }
}

}  // namespace

TEST_CASE("emulation: jets of networks, several blocks") {
  compare_jets({75, {2, 9, 6, 1}, JetActivation::tanh, {2, 1}});
  compare_jets({40, {3, 5, 4, 2}, JetActivation::sin, {2, 0, 2}});
  compare_jets({33, {2, 8, 8, 3}, JetActivation::silu, {2, 2}});
}
TEST_CASE("emulation: jets of networks, the smallest") {
  compare_jets({1, {1, 1, 1}, JetActivation::tanh, {0}});
  compare_jets({2, {2, 3}, JetActivation::silu, {2, 1}});
}
