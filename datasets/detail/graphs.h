// What the readers of graphs share. A reader appends graphs, edges in any order, and seals the set.
#pragma once
#include <functional>
#include <optional>

#include "basin/datasets/graphs.h"

namespace basin::graphs {

// A reader returns nothing when the folder is not of its layout, and a data error when it is but is
// damaged.
std::optional<GraphSet> read_peptides(const fs::path& dir);
std::optional<GraphSet> read_zinc(const fs::path& dir);
std::optional<GraphSet> read_lists(const fs::path& dir, bool targets);

// Peptides-func as published: SMILES, read in builds with RDKit.
inline constexpr const char* kPeptideTable = "peptide_multi_class_dataset.csv.gz";
#ifdef BASIN_HAS_RDKIT
GraphSet read_smiles(const fs::path& dir);  // without a split
#endif

GraphSet peptide_set();  // without graphs: kinds of features, names of labels

inline constexpr int64_t kMostKinds = 65536;  // features are 16 bits

// Where an edge stands, numbered as it was appended: "FILE: line 12".
using EdgePlace = std::function<std::string(int64_t edge)>;

// Sorts the edges of every graph by receiver and sender, and hashes. data error for an edge to
// itself, one that is there twice, or one whose reverse is missing or of other features.
void seal(GraphSet& set, const EdgePlace& place);
void hash(GraphSet& set);  // sets content_hash; the edges are sorted

// The words train, val, validation, test -> 0, 1, 2; -1 for others.
int split_of(std::string_view word);

// "1000 graphs, 23083 nodes, 49692 directed edges"
std::string counts(const GraphSet& set);

}  // namespace basin::graphs
