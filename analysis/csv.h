// Cells of the CSV files beside figures (RFC 4180): numbers in the shortest form that reads back to
// the same bits, whatever the locale; texts quoted where they must be, and UTF-8 (core/utf8.h).
#pragma once
#include <string>
#include <string_view>

namespace basin {

std::string csv_number(double value);  // NaN: "nan", infinities: "inf", "-inf"
std::string csv_text(std::string_view words);

}  // namespace basin
