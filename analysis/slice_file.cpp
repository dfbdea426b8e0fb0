// A strict parser and a writer of the lines of a slice file, its lock, and the merge of several.
#include "basin/analysis/slice_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <charconv>
#include <cmath>

#include "basin/analysis/csv.h"
#include "basin/core/error.h"
#include "basin/core/lines.h"
#include "basin/core/printable.h"
#include "basin/core/utf8.h"

namespace basin {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 30;
constexpr std::string_view kFormat = "basin_slice", kHash = "sha256";

// Not `quoted`: for a std::string argument-dependent lookup would prefer std::quoted.
std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : to_utf8(text)) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 32) {
      constexpr char digits[] = "0123456789abcdef";
      out += str("\\u00", digits[code >> 4], digits[code & 15]);
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + '"';
}

std::string asked_text(const SliceFields& asked) {
  std::string out;
  for (const auto& [name, value] : asked) out += str(",", json_text(name), ":", json_text(value));
  return out;
}

std::string header_line(const SliceFields& asked) {
  const std::string text = asked_text(asked);
  const std::string hash = sha256_hex({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  return str("{", json_text(kFormat), ":1,", json_text(kHash), ":", json_text(hash), text, "}\n");
}

std::string point_line(const Slice& slice, int64_t index) {
  const auto at = static_cast<size_t>(index);
  std::string out =
      str("{\"point\":", index, ",\"x\":", csv_number(slice.grid.x.at(slice.grid.ix(index))),
          ",\"y\":", csv_number(slice.grid.y.at(slice.grid.iy(index))), ",\"loss\":");
  if (slice.state[at] == PointState::failed) {
    return out + str("null,\"failed\":", json_text(slice.reasons.at(index)), "}\n");
  }
  out += csv_number(slice.loss[at]);
  if (!std::isnan(slice.metric[at])) {
    out += str(",", json_text(slice.metric_name()), ":", csv_number(slice.metric[at]));
  }
  return out + "}\n";
}

// One flat JSON object per line, as written above: strings, numbers and null.
class LineParser {
 public:
  struct Value {
    enum Kind : uint8_t { string, number, null } kind = null;
    std::string text;
    double number_value = 0;
  };
  LineParser(std::string_view line, std::string where) : line_(line), where_(std::move(where)) {}

  std::vector<std::pair<std::string, Value>> fields() {
    std::vector<std::pair<std::string, Value>> out;
    expect('{');
    while (true) {
      std::string name = text();
      expect(':');
      out.emplace_back(std::move(name), value());
      if (at_ < line_.size() && line_[at_] == '}') break;
      expect(',');
    }
    ++at_;
    if (at_ != line_.size()) fault("expected the end of the line");
    return out;
  }
  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, where_, ", column ", at_ + 1, ": ", printable(str(parts...)));
  }

 private:
  void expect(char c) {
    if (at_ >= line_.size() || line_[at_] != c) fault("expected '", c, "'");
    ++at_;
  }
  std::string text() {
    expect('"');
    std::string out;
    while (at_ < line_.size() && line_[at_] != '"') {
      if (line_[at_] != '\\') {
        out += line_[at_++];
        continue;
      }
      ++at_;
      if (at_ < line_.size() && (line_[at_] == '"' || line_[at_] == '\\')) {
        out += line_[at_++];
        continue;
      }
      unsigned code = 0;
      const std::string_view escape = line_.substr(std::min(at_, line_.size()), 5);
      const char* end = escape.data() + escape.size();
      if (escape.size() < 5 || escape[0] != 'u' ||
          std::from_chars(escape.data() + 1, end, code, 16).ptr != end || code > 31) {
        fault("unknown escape");
      }
      out += static_cast<char>(code);
      at_ += 5;
    }
    expect('"');
    return from_utf8(out);
  }
  Value value() {
    if (at_ < line_.size() && line_[at_] == '"') return {Value::string, text(), 0};
    const size_t end = std::min(line_.find_first_of(",}", at_), line_.size());
    const std::string word(line_.substr(at_, end - at_));
    if (word == "null") {
      at_ = end;
      return {};
    }
    Value out{Value::number, word, 0};
    if (!parse_double(word, out.number_value) || !std::isfinite(out.number_value)) {
      fault("expected a string, a finite number or null");
    }
    at_ = end;
    return out;
  }

  std::string_view line_;
  std::string where_;
  size_t at_ = 0;
};

SliceFields parse_header(std::string_view line, const std::string& name) {
  line = without_byte_order_mark(line);
  LineParser parser(line, str(name, ": line 1"));
  auto fields = parser.fields();
  if (fields.size() < 2 || fields[0].first != kFormat || fields[0].second.text != "1" ||
      fields[1].first != kHash) {
    fail(ErrorKind::data, name, ": line 1: expected the head of a slice, version 1");
  }
  SliceFields asked;
  for (size_t i = 2; i < fields.size(); ++i) {
    asked.emplace_back(fields[i].first, fields[i].second.text);
  }
  if (header_line(asked) != str(line, "\n")) {
    fail(ErrorKind::data, name, ": line 1: the head was changed, its SHA-256 is another");
  }
  return asked;
}

bool same_bits(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

struct PointRecord {
  int64_t index = -1;
  PointState state = PointState::missing;
  double loss = NAN, metric = NAN;
  std::string reason;
};

PointRecord record_of(const Slice& slice, int64_t index) {
  const auto i = static_cast<size_t>(index);
  const auto reason = slice.reasons.find(index);
  return {index, slice.state[i], slice.loss[i], slice.metric[i],
          reason == slice.reasons.end() ? std::string() : reason->second};
}

std::string shown(const PointRecord& p) {
  return p.state == PointState::failed ? "failed, " + printable(p.reason)
                                       : "loss " + csv_number(p.loss);
}

// A point that is there already must be the same.
void put_point(Slice& slice, const PointRecord& p, const std::string& where) {
  const auto i = static_cast<size_t>(p.index);
  if (slice.state[i] == PointState::missing) {
    slice.state[i] = p.state;
    slice.loss[i] = p.loss;
    slice.metric[i] = p.metric;
    if (p.state == PointState::failed) slice.reasons[p.index] = p.reason;
    return;
  }
  const PointRecord there = record_of(slice, p.index);
  if (there.state != p.state || there.reason != p.reason || !same_bits(there.loss, p.loss) ||
      !same_bits(there.metric, p.metric)) {
    fail(ErrorKind::data, where, ": point ", p.index, " is there twice and differs: ", shown(there),
         " and ", shown(p));
  }
}

void parse_point(Slice& slice, std::string_view line, const std::string& where) {
  LineParser parser(line, where);
  double x = NAN, y = NAN, index = -1;
  const std::string metric = slice.metric_name();
  PointRecord point;
  for (const auto& [name, value] : parser.fields()) {
    using Value = LineParser::Value;
    if (name == "failed" && value.kind == Value::string) {
      point.state = PointState::failed;
      point.reason = value.text;
      continue;
    }
    double* const to = name == "point"  ? &index
                       : name == "x"    ? &x
                       : name == "y"    ? &y
                       : name == "loss" ? &point.loss
                       : name == metric ? &point.metric
                                        : nullptr;
    const bool null_loss = name == "loss" && value.kind == Value::null;
    if (!to || (value.kind != Value::number && !null_loss)) {
      parser.fault("unknown field '", name, "'");
    }
    if (!null_loss) *to = value.number_value;
  }
  const SliceGrid& grid = slice.grid;
  if (!(index >= 0 && index < static_cast<double>(grid.size())) || index != std::floor(index)) {
    parser.fault("expected a point 0 to ", grid.size() - 1);
  }
  point.index = static_cast<int64_t>(index);
  if (!same_bits(x, grid.x.at(grid.ix(point.index))) ||
      !same_bits(y, grid.y.at(grid.iy(point.index)))) {
    parser.fault("point ", point.index, " is not at its place in the grid");
  }
  const bool failed = point.state == PointState::failed;
  if (failed != std::isnan(point.loss) || (failed && !std::isnan(point.metric))) {
    parser.fault("expected a loss, or null and a reason");
  }
  if (!failed) point.state = PointState::done;
  put_point(slice, point, where);
}

// Points of all whole lines after the first; returns where the last whole line ends.
size_t parse_points(Slice& slice, std::string_view text, size_t begin, const std::string& name) {
  int64_t line = 2;
  for (size_t end = text.find('\n', begin); end != text.npos; end = text.find('\n', begin)) {
    parse_point(slice, text.substr(begin, end - begin), str(name, ": line ", line++));
    begin = end + 1;
  }
  return begin;
}

SliceGrid grid_of(const SliceFields& asked, const std::string& name) {
  SliceGrid grid;
  const auto find = [&](const std::string& field) {
    for (const auto& [known, value] : asked) {
      if (known == field) return value;
    }
    fail(ErrorKind::data, name, ": line 1: no field '", field, "'");
  };
  for (auto [axis, prefix] : {std::pair(&grid.x, "grid.x."), std::pair(&grid.y, "grid.y.")}) {
    int64_t count = 0;
    axis->label = find(str(prefix, "label"));
    if (!parse_double(find(str(prefix, "low")), axis->low) ||
        !parse_double(find(str(prefix, "high")), axis->high) ||
        !parse_int64(find(str(prefix, "count")), count) || count < 1 || count > 1'000'000) {
      fail(ErrorKind::data, name, ": line 1: expected numbers as ", prefix, "low, high and count");
    }
    axis->count = static_cast<int>(count);
  }
  return grid;
}

// The first field in which two questions differ, as a sentence; empty when they are the same.
std::string difference(const SliceFields& there, const SliceFields& here) {
  for (size_t i = 0; i < std::max(there.size(), here.size()); ++i) {
    if (i >= there.size()) return printable(str("it has no field '", here[i].first, "'"));
    if (i >= here.size() || there[i].first != here[i].first) {
      return printable(str("it has the field '", there[i].first, "'"));
    }
    if (there[i].second != here[i].second) {
      return printable(
          str(there[i].first, " is '", there[i].second, "' there and '", here[i].second, "' here"));
    }
  }
  return {};
}

}  // namespace

SliceFields grid_fields(const SliceGrid& grid) {
  SliceFields out;
  for (const auto& [axis, prefix] :
       {std::pair(&grid.x, "grid.x."), std::pair(&grid.y, "grid.y.")}) {
    out.emplace_back(str(prefix, "label"), axis->label);
    out.emplace_back(str(prefix, "low"), csv_number(axis->low));
    out.emplace_back(str(prefix, "high"), csv_number(axis->high));
    out.emplace_back(str(prefix, "count"), str(axis->count));
  }
  return out;
}

Slice read_slice(const fs::path& path) {
  const std::string text = read_text_file(path, kMaxBytes), name = path.string();
  const size_t end = text.find('\n');
  if (end == text.npos) fail(ErrorKind::data, name, ": line 1: expected the head of a slice");
  SliceFields asked = parse_header(std::string_view(text).substr(0, end), name);
  SliceGrid grid = grid_of(asked, name);
  try {
    Slice slice(std::move(grid), std::move(asked));
    parse_points(slice, text, end + 1, name);
    return slice;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    fail(ErrorKind::data, name, ": line 1: ", error.what());
  }
}

Slice merge_slices(const std::vector<fs::path>& parts) {
  check(!parts.empty(), "slice: nothing to merge");
  Slice whole = read_slice(parts[0]);
  for (size_t p = 1; p < parts.size(); ++p) {
    const Slice part = read_slice(parts[p]);
    const std::string other = difference(part.asked, whole.asked);
    if (!other.empty()) {
      fail(ErrorKind::data, parts[p].string(), ": holds another slice than ", parts[0].string(),
           ": ", other);
    }
    for (int64_t i = 0; i < part.grid.size(); ++i) {
      if (part.state[static_cast<size_t>(i)] != PointState::missing) {
        put_point(whole, record_of(part, i), parts[p].string());
      }
    }
  }
  return whole;
}

void write_slice(const fs::path& path, const Slice& slice) {
  std::string text = header_line(slice.asked);
  for (int64_t i = 0; i < slice.grid.size(); ++i) {
    if (slice.state[static_cast<size_t>(i)] != PointState::missing) text += point_line(slice, i);
  }
  write_file_atomic(path, text);
}

SliceFile::SliceFile(const fs::path& path, Slice& slice) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) {
    fail(ErrorKind::output, path.string(), ": cannot be opened: ", error_text(errno));
  }
  try {
    // Some network file systems have no locks; there the caller's care has to do.
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      fail(ErrorKind::output, path.string(), ": another process is writing this slice");
    }
    const std::string text = read_text_file(path, kMaxBytes), header = header_line(slice.asked);
    const size_t end = text.find('\n');
    if (end == text.npos && header.compare(0, text.size(), text) != 0) {
      fail(ErrorKind::data, path.string(), ": line 1: expected the head of a slice");
    }
    size_t keep = 0;
    if (end != text.npos) {
      const SliceFields there = parse_header(std::string_view(text).substr(0, end), path.string());
      const std::string other = difference(there, slice.asked);
      if (!other.empty()) {
        fail(ErrorKind::data, path.string(), ": holds another slice: ", other,
             "; choose another file, or remove it");
      }
      keep = parse_points(slice, text, end + 1, path.string());
    }
    if (keep < text.size() && ::ftruncate(fd_, static_cast<off_t>(keep)) != 0) {
      fail(ErrorKind::output, path.string(), ": cannot be cut: ", error_text(errno));
    }
    if (keep == 0) write_line(header);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

// A kill loses nothing that was written; a power failure may, so the end of a run is synchronised.
SliceFile::~SliceFile() {
  ::fsync(fd_);
  ::close(fd_);
}

void SliceFile::append(const Slice& slice, int64_t index) { write_line(point_line(slice, index)); }

void SliceFile::write_line(const std::string& line) {
  ssize_t n = ::write(fd_, line.data(), line.size());
  while (n < 0 && errno == EINTR) n = ::write(fd_, line.data(), line.size());
  if (n != static_cast<ssize_t>(line.size())) {
    fail(ErrorKind::output, path_.string(),
         ": cannot be written: ", n < 0 ? error_text(errno) : "no space for a whole line");
  }
}

}  // namespace basin
