// What a program that trains on several targets of QM9 needs of the task "qm9".
#pragma once
#include <string>
#include <vector>

namespace basin {

// The targets that the data of the option `data` have: three if embedded, else twelve.
std::vector<std::string> qm9_targets_of(const std::string& data);

}  // namespace basin
