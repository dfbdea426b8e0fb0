// Which measures of sharpness move when a network is rewritten by a known symmetry, that is, into
// other weights with the same function: the table to read before trusting one of them.
#pragma once
#include <string>

namespace basin::tools {

std::string selftest_table();

}  // namespace basin::tools
