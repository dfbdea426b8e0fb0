// The text of studies/published.toml, compiled in.
#pragma once
#include <string>

namespace basin::tools {

std::string published_toml();

}  // namespace basin::tools
