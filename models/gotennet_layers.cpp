// Declaration of GotenNet's layers under the names of the published package.
#include "basin/models/detail/gotennet.h"

namespace basin::goten {
namespace {

constexpr int64_t kTable = 100;  // rows of the tables of elements; row 0 is no element

Linear dense(Layout& layout, const std::string& name, int64_t in, int64_t out,
             Role role = Role::matrix) {
  return layout.linear(name, in, out, role, xavier_linear_init(in, out));
}

Linear weight(Layout& layout, const std::string& name, int64_t in, int64_t out) {
  return layout.weight_only(name, in, out, Role::matrix, xavier_uniform(in, out));
}

Perceptron perceptron(Layout& layout, const std::string& name, int64_t in, int64_t hidden,
                      int64_t out, Role last = Role::matrix) {
  return {dense(layout, name + ".0", in, hidden), dense(layout, name + ".1", hidden, out, last)};
}

Refinement declare_refinement(Layout& layout, const std::string& name, const GotenNetConfig& c) {
  const int64_t d = c.hidden;
  Refinement r;
  for (int64_t i = 0; i < c.htr.layers; ++i) {
    r.gamma.push_back(dense(layout, str(name, "gamma_t.dense_layers.", i), d, d));
  }
  r.query = weight(layout, name + "W_vq", d, d);
  for (int64_t l = 0; l < c.degree; ++l) {
    r.keys.push_back(weight(layout, str(name, "W_vk.", l), d, d));
  }
  if (c.htr.linear) r.products = dense(layout, name + "W_edp", d, d);
  return r;
}

Block declare_block(Layout& layout, int64_t i, const GotenNetConfig& c) {
  const int64_t d = c.hidden, s = (c.hat ? 3 : 1 + 2 * c.degree) * d;
  const std::string gata = str("gata_list.", i, "."), eqff = str("eqff_list.", i, ".");
  Block b;
  b.gata.s = perceptron(layout, gata + "gamma_s", d, d, s);
  b.gata.q = dense(layout, gata + "W_q", d, d);
  b.gata.k = dense(layout, gata + "W_k", d, d);
  b.gata.v = perceptron(layout, gata + "gamma_v", d, d, s);
  b.gata.attention = dense(layout, gata + "W_re", d, d);
  if (i + 1 < c.blocks) b.htr = declare_refinement(layout, gata, c);
  b.gata.filter = dense(layout, gata + "W_rs", d, s);
  b.feed = perceptron(layout, eqff + "gamma_m", 2 * d, d, 2 * d);
  b.mix = weight(layout, eqff + "W_vu", d, d);
  return b;
}

GatedBlock declare_gated(Layout& layout, int64_t i, int64_t in, int64_t out, int64_t hidden,
                         Role last) {
  const std::string name = str("equivariant_layers.", i, ".");
  GatedBlock b;
  b.mix = weight(layout, name + "mix_vectors", in, 2 * out);
  b.net = perceptron(layout, name + "scalar_net", in + out, hidden, 2 * out, last);
  b.scalars = b.vectors = out;
  return b;
}

}  // namespace

std::shared_ptr<const Net> declare(const GotenNetConfig& c) {
  auto net = std::make_shared<Net>();
  net->config = c;
  Layout& layout = net->layout;
  const int64_t d = c.hidden;
  net->neighbours = layout.embedding("node_init.A_nbr", kTable, d);
  net->node_radial = dense(layout, "node_init.W_ndp.dense_layers.0", c.radial, d, Role::first);
  const std::string node = "node_init.W_nrd_nru.dense_layers.";
  net->node.first = dense(layout, node + "0", 2 * d, d);
  net->node_norm = layout.layer_norm(node + "0.norm", d);
  net->node.second = dense(layout, node + "1", d, d);
  net->edge_radial = dense(layout, "edge_init.W_erp", c.radial, d, Role::first);
  net->atoms = layout.embedding("A_na", kTable, d);
  for (int64_t i = 0; i < c.blocks; ++i) net->blocks.push_back(declare_block(layout, i, c));
  if (c.head == MoleculeHead::dipole) {
    net->gated = {declare_gated(layout, 0, d, c.head_hidden, c.head_hidden, Role::matrix),
                  declare_gated(layout, 1, c.head_hidden, 1, c.head_hidden, Role::head)};
  } else {
    net->head = perceptron(layout, "out_net.1.out_net", d, c.head_hidden, c.outputs, Role::head);
  }
  return net;
}

}  // namespace basin::goten
