// Strings of JSON (RFC 8259) as every reader of Basin takes them: well-formed UTF-8 (RFC 3629),
// the eight short escapes, \uXXXX with surrogates in pairs, no control characters as they are.
#pragma once
#include <string>
#include <string_view>

namespace basin {

// Reads the string whose opening quotation mark is text[at] into `out`, decoded; `at` ends behind
// the closing mark. On a fault the result says what is wrong and `at` is the place, which is
// text.size() where the text ends too early; otherwise the result is empty.
std::string_view read_json_string(std::string_view text, size_t& at, std::string& out);

}  // namespace basin
