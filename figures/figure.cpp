// What all figures have: captions, alternative texts, numbers for readers, and their three files.
#include "basin/figures/figure.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "basin/core/error.h"
#include "basin/core/folder.h"
#include "basin/core/io.h"
#include "basin/figures/detail/svg_picture.h"
#include "basin/figures/png.h"
#include "basin/figures/svg.h"

namespace basin {
namespace {

std::string seeds_text(const std::vector<uint64_t>& seeds) {
  std::vector<std::string> words;
  for (const uint64_t s : seeds) words.push_back(str(s));
  return str(seeds.size() == 1 ? "seed " : "seeds ", joined(words));
}

void check_name(const std::string& name) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyz0123456789-_";
  check(!name.empty() && name.find_first_not_of(kAllowed) == name.npos,
        "figure: expects a name of lower case letters, digits, '-' and '_', given '", name, "'");
}

std::string with_final_stop(std::string text) {
  if (!text.empty() && std::string_view(".!?").find(text.back()) == std::string_view::npos) {
    text += '.';
  }
  return text;
}

// The description stands behind the title, the label in the root element.
std::string with_description(const std::string& svg, const std::string& alt,
                             const std::string& command) {
  constexpr std::string_view kRole = "role=\"img\"", kTitleEnd = "</title>\n";
  const size_t role = svg.find(kRole), title = svg.find(kTitleEnd);
  if (role == svg.npos || title == svg.npos || role > title) {
    fail(ErrorKind::internal, "figure: the picture has neither role nor title");
  }
  const size_t after_role = role + kRole.size(), after_title = title + kTitleEnd.size();
  return str(svg.substr(0, after_role), " aria-label=\"", xml_escape(alt), "\"",
             svg.substr(after_role, after_title - after_role), "<desc>", xml_escape(alt),
             command.empty() ? "" : " Made by: ", xml_escape(command), "</desc>\n",
             svg.substr(after_title));
}

// "12.30" -> "12.3", "12.00" -> "12"
std::string without_zeros(std::string digits) {
  if (digits.find('.') == digits.npos) return digits;
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.back() == '.') digits.pop_back();
  return digits;
}

}  // namespace

std::string joined(std::span<const std::string> words, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) out += str(i == 0 ? "" : separator, words[i]);
  return out;
}

std::string readable(double value) {
  if (std::isnan(value)) return "no value";
  if (std::isinf(value)) return value > 0 ? "infinite" : "-infinite";
  if (value == 0) return "0";
  std::array<char, 64> buffer{};
  char* const begin = buffer.data();
  char* const last = begin + buffer.size();
  const double size = std::abs(value);
  if (size < 1e-3 || size >= 99999.5) {
    const auto end = std::to_chars(begin, last, value, std::chars_format::scientific, 3).ptr;
    const std::string_view digits(begin, static_cast<size_t>(end - begin));
    const size_t e = digits.find('e');
    std::string exponent(digits.substr(e + 2));
    exponent.erase(0, exponent.find_first_not_of('0'));
    return str(without_zeros(std::string(digits.substr(0, e))), digits[e + 1] == '-' ? "e-" : "e",
               exponent);
  }
  const int decimals = std::max(0, 3 - static_cast<int>(std::floor(std::log10(size))));
  return without_zeros(
      {begin, std::to_chars(begin, last, value, std::chars_format::fixed, decimals).ptr});
}

std::string readable(const Estimate& e) {
  if (!std::isfinite(e.value)) return readable(e.value);
  if (!std::isfinite(e.interval.low) || !std::isfinite(e.interval.high)) return readable(e.value);
  if (e.interval.low == e.interval.high) return readable(e.value);
  return str(readable(e.value), " [", readable(e.interval.low), ", ", readable(e.interval.high),
             "]");
}

std::string conditions_line(const FigureConditions& c) {
  std::vector<std::string> parts;
  if (c.runs > 0) {
    parts.push_back(str("n = ", c.fewest > 0 && c.fewest < c.runs ? str(c.fewest, " to ") : "",
                        c.runs, c.runs == 1 ? " run each" : " runs each",
                        c.seeds.empty() ? "" : str(" (", seeds_text(c.seeds), ")")));
  } else if (!c.seeds.empty()) {
    parts.push_back(seeds_text(c.seeds));
  }
  if (!c.probes.empty()) parts.push_back(c.probes);
  if (!c.data.empty()) parts.push_back("data: " + c.data);
  if (!c.dtype.empty()) parts.push_back(c.dtype);
  if (c.level > 0) parts.push_back(readable(100 * c.level) + " % intervals");
  return with_final_stop(joined(parts, "; "));
}

Figure finish_figure(Figure figure, std::string_view what, const FigureConditions& conditions) {
  check_name(figure.name);
  check(!figure.alt.empty(), "figure: ", figure.name, " expects an alternative text, given none");
  figure.caption = with_final_stop(std::string(what));
  if (figure.holes > 0) {
    figure.caption +=
        str(" ", figure.holes,
            figure.holes == 1 ? " number is not finite and is" : " numbers are not finite and are",
            " not drawn.");
  }
  const std::string line = conditions_line(conditions);
  if (!line.empty()) figure.caption += " " + line;
  figure.svg = with_description(figure.svg, figure.alt, conditions.command);
  return figure;
}

void write_figure(const fs::path& dir, const Figure& figure) {
  check_name(figure.name);
  make_folder(dir);
  write_file_atomic(dir / (figure.name + ".csv"), figure.csv);
  write_file_atomic(dir / (figure.name + ".svg"), figure.svg);
  write_file_atomic(dir / (figure.name + ".png"), encode_png(svg_picture(figure.svg)));
}

}  // namespace basin
