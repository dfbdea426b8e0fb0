// Graphs with categories at nodes and edges and targets per graph: one set, however it is stored.
//   embedded          small procedural graphs with a number as target (embedded_graphs)
//   embedded_labels   the same graphs with three labels
//   a folder with
//     peptides_func_graphs.npz   Peptides-func as ready graphs, with its split: node_feat [V, 9],
//        node_ptr [N + 1], bond_index [B, 2] within the graph, each bond once, bond_feat [B, 3],
//        bond_ptr [N + 1], labels [N, 10], split [N] (0, 1, 2)
//     zinc_train.npz, zinc_val.npz, zinc_test.npz   ZINC-12k: x [V], edge_index [2, E] within the
//        graph, both directions, edge_attr [E], y [N], node_ptr, edge_ptr [N + 1].
//        zinc_train_substitute.npz stands in for a missing zinc_train.npz: other molecules of the
//        same source, which the description says
//     graphs.csv, nodes.csv, edges.csv   edge lists of one's own:
//        graphs.csv  header split,TARGET..   a line per graph: train, val or test, then numbers; an
//           empty cell or nan is not known. Targets that are 0 or 1 throughout are labels
//        nodes.csv   header graph,FEATURE..   the number of the graph, then categories 0, 1, ..;
//           graphs in order, the nodes of one numbered from 0 in order
//        edges.csv   header graph,source,target,FEATURE..   each edge once, graphs in order;
//           without features all edges are alike
//     peptide_multi_class_dataset.csv.gz   Peptides-func as published, SMILES, in builds with
//        RDKit; needs a split (GraphRequest)
//   zinc_val.csv and the like, SMILES too, are named and not read.
// Every graph has a node; edges join two nodes, at most one two of them, and are kept in both
// directions, sorted by receiver, then sender. data errors name file and line, or file and member.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "basin/core/io.h"

namespace basin {

struct GraphSet {
  std::vector<std::string> target_names;
  bool labels = false;                                // targets are 0 and 1, else numbers
  std::vector<int64_t> node_kinds;                    // of each feature of a node
  std::vector<int64_t> edge_kinds;                    // of an edge
  std::vector<int64_t> node_start{0}, edge_start{0};  // [graphs + 1]
  std::vector<uint16_t> node_features;                // [nodes, features]
  std::vector<uint16_t> edge_features;                // [edges, features]
  std::vector<int32_t> sender, receiver;              // [edges], numbers within the graph
  std::vector<double> targets;                        // [graphs, targets]; NaN: not known
  std::array<std::vector<int64_t>, 3> splits;  // graphs of training, validation, test, rising
  std::string source;                          // folder or generator
  std::string description;   // one line: layout, counts, what was done to the data
  std::string content_hash;  // SHA-256 over all of the above but the texts

  int64_t graphs() const { return static_cast<int64_t>(node_start.size()) - 1; }
  int64_t nodes_of(int64_t graph) const {
    return node_start[static_cast<size_t>(graph) + 1] - node_start[static_cast<size_t>(graph)];
  }
};

struct GraphRequest {
  // A file that says which graphs are train, val and test, instead of what the data say: a .npz
  // with the arrays train, val, test of graph numbers, or a text with one of the three words per
  // graph and line. The pickle that comes with Peptides-func becomes one by
  //   python -c "import pickle, numpy; numpy.savez('split.npz',
  //              **pickle.load(open('splits_random_stratified_peptide.pickle', 'rb')))"
  fs::path split = {};
  bool targets = true;  // false: graphs.csv may be absent, and no split is asked for
};
GraphSet load_graphs(const std::string& data, const GraphRequest& request = {});

// Random graphs of 6 to 14 nodes: a tree, each node tied to one of its three predecessors, and up
// to three further edges. Four kinds of nodes with charges q = -1, -1/2, 1/2, 1; three kinds of
// edges with strengths b = 1/2, 1, 3/2.
//   target  sum over edges of b q_u q_v + (edges - nodes + 1) / 4
//   labels  ring: any cycle; positive: sum of q above 0; pair: an edge of kind 2 between two nodes
//           of kind 3
// A function of nothing: the same graphs everywhere.
GraphSet embedded_graphs(bool labels, int64_t train = 768, int64_t validation = 128,
                         int64_t test = 128);

// Return probabilities of random walks: diag(P^t), t = 1 .. steps, P = A / D (Dwivedi et al., ICLR
// 2022), [nodes, steps]; zero for a node without edges. Computed in f64 from P^t's symmetric form
// (D^(1/2) P D^(-1/2))^t, of which half the powers are needed: the diagonal of one is a product of
// two rows of lower ones.
std::vector<float> random_walks(const GraphSet& set, int64_t steps);

}  // namespace basin
