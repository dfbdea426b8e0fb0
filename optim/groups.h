// Parameter groups: rules that give some parameters their own learning rate or weight decay. A rule
// selects by role ("role:head") or by a name with * wildcards ("feat.*", "*.bias").
// Text form, rules separated by ';':  "role:head lr=0.22; feat.* wd=0".
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "basin/core/params.h"

namespace basin {

struct GroupRule {
  std::string pattern;
  std::optional<double> lr{};
  std::optional<double> weight_decay{};
};

std::vector<GroupRule> parse_group_rules(std::string_view text);  // usage error on bad syntax
bool glob_match(std::string_view pattern,
                std::string_view name);  // * matches any run of characters
bool rule_matches(const GroupRule& rule, const Param& param);

// What one parameter ends up with.
struct ParamSettings {
  size_t index = 0;  // in the ParamList
  double lr = 0;     // base rate; the schedule multiplies it
  double weight_decay = 0;
  std::string group;  // the pattern of its rule, or "default"
};

// decay_vectors = false takes the default decay from biases, gains and every other parameter
// without a matrix view; an explicit rule still counts. A rule that matches no parameter is a usage
// error.
ParamSettings resolve_settings(const ParamList& params, size_t index, double lr,
                               double weight_decay, bool decay_vectors,
                               const std::vector<GroupRule>& rules);
void check_rules_used(const ParamList& params, const std::vector<GroupRule>& rules);

}  // namespace basin
