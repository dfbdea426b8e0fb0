// The flat records of core/record.h under the names that the programs use.
#pragma once
#include "basin/core/record.h"

namespace basin::tools {

using JsonObject = Record;
using JsonFields = RecordFields;
using basin::json_string;
using basin::number_text;

inline JsonFields parse_flat_json(std::string_view text, const std::string& name) {
  return parse_record(text, name);
}

}  // namespace basin::tools
