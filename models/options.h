// Typed access to the options of a model: make_model has checked the names and filled in the
// defaults, so every look-up succeeds; a bad value is a usage error that names model, option, value
// and expectation.
#pragma once
#include "basin/models/model.h"

namespace basin {

const std::string& text_option(const ModelConfig& config, const std::string& name);
bool flag_option(const ModelConfig& config, const std::string& name);  // true|false|on|off|1|0
double number_option(const ModelConfig& config, const std::string& name, double low, double high);
// Exactly `count` positive integers separated by commas.
std::vector<int64_t> sizes_option(const ModelConfig& config, const std::string& name, size_t count);
// Position of the value in `choices`.
size_t choice_option(const ModelConfig& config, const std::string& name,
                     const std::vector<std::string>& choices);

}  // namespace basin
