// Group rules: parsing, matching and what they give each parameter.
#include "basin/optim/groups.h"

#include <algorithm>
#include <cmath>

#include "basin/core/io.h"

namespace basin {
namespace {

constexpr std::string_view kRolePrefix = "role:";

std::optional<Role> role_of(std::string_view name) {
  for (Role r : {Role::matrix, Role::bias, Role::gain, Role::embedding, Role::head, Role::first}) {
    if (name == name_of(r)) return r;
  }
  return std::nullopt;
}

void check_pattern(std::string_view pattern) {
  check(!pattern.empty(), "groups: a rule needs a pattern");
  if (pattern.starts_with(kRolePrefix)) {
    check(role_of(pattern.substr(kRolePrefix.size())).has_value(), "groups: no role '",
          pattern.substr(kRolePrefix.size()),
          "'; the roles are matrix, bias, gain, embedding, head and first");
  }
}

double non_negative(std::string_view what, std::string_view text) {
  double value = 0;
  check(parse_double(text, value) && std::isfinite(value) && value >= 0, "groups: ", what,
        " must be a number of at least 0, got '", text, "'");
  return value;
}

GroupRule parse_rule(const std::string& text) {
  TextReader words(text);
  GroupRule rule;
  words >> rule.pattern;
  check_pattern(rule.pattern);
  for (std::string word; words >> word;) {
    const size_t eq = word.find('=');
    const std::string key = word.substr(0, eq);
    const std::string value = eq == std::string::npos ? "" : word.substr(eq + 1);
    if (key == "lr") {
      rule.lr = non_negative(key, value);
    } else if (key == "wd") {
      rule.weight_decay = non_negative(key, value);
    } else {
      fail(ErrorKind::usage, "groups: expects lr=NUMBER or wd=NUMBER after '", rule.pattern,
           "', got '", word, "'");
    }
  }
  check(rule.lr || rule.weight_decay, "groups: the rule '", rule.pattern,
        "' sets neither lr nor wd");
  return rule;
}

}  // namespace

std::vector<GroupRule> parse_group_rules(std::string_view text) {
  std::vector<GroupRule> rules;
  TextReader parts{std::string(text)};
  for (std::string part; std::getline(parts, part, ';');) {
    if (part.find_first_not_of(" \t") != std::string::npos) rules.push_back(parse_rule(part));
  }
  return rules;
}

bool glob_match(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;  // the last star takes one character more
      n = ++resume;
    } else {
      return false;
    }
  }
  return std::all_of(pattern.begin() + p, pattern.end(), [](char c) { return c == '*'; });
}

bool rule_matches(const GroupRule& rule, const Param& param) {
  const std::string_view pattern = rule.pattern;
  if (pattern.starts_with(kRolePrefix)) {
    return role_of(pattern.substr(kRolePrefix.size())) == param.role;
  }
  return glob_match(pattern, param.name);
}

ParamSettings resolve_settings(const ParamList& params, size_t index, double lr,
                               double weight_decay, bool decay_vectors,
                               const std::vector<GroupRule>& rules) {
  const Param& param = params[index];
  ParamSettings out{index, lr, weight_decay, "default"};
  if (!decay_vectors && param.view.empty()) out.weight_decay = 0;
  for (const GroupRule& rule : rules) {
    if (!rule_matches(rule, param)) continue;
    out.group = rule.pattern;
    if (rule.lr) out.lr = *rule.lr;
    if (rule.weight_decay) out.weight_decay = *rule.weight_decay;
    break;
  }
  return out;
}

void check_rules_used(const ParamList& params, const std::vector<GroupRule>& rules) {
  for (const GroupRule& rule : rules) {
    check_pattern(rule.pattern);
    const bool used = std::any_of(params.begin(), params.end(),
                                  [&](const Param& p) { return rule_matches(rule, p); });
    check(used, "groups: the rule '", rule.pattern, "' matches no parameter");
  }
}

}  // namespace basin
