// What is probed: a run, one of its checkpoints, or weights that stand alone, with what a reader
// must know to trust a number about them.
#pragma once
#include <string>
#include <vector>

#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {

// A file of weights, not a run directory or a checkpoint of one.
bool is_weights(const std::string& path);

// path: a run directory (its newest checkpoint), RUN/ckpt/step-N, RUN/ckpt/best, or a file of
// weights, which the settings of task and network say what it belongs to.
Trained load_probed(const std::string& path, const Config& config);

// usage error in the name of `action` unless both are of one network and one task.
void check_one_kind(const char* action, const Trained& a, const Trained& b);

// "pointnet-muon-s0", or the stem of the file of weights.
std::string short_name(const Trained& trained);

// Identity of the weights and the data, flat: a part that was measured on others is not taken for
// one of these.
Record facts_of(const Trained& trained);

// Positions in the ParamList: all (none listed) | layer:PATTERN | role:ROLE | group:RULE. usage
// error when the text is none of these or nothing matches.
std::vector<int> parameters_in(const ProbeContext& context, const std::string& subset);

// "feat.conv1.weight" -> "feat.conv1": the layer that a parameter belongs to.
std::string layer_of(const std::string& parameter);

}  // namespace basin::tools
