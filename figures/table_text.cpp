// Tables as Markdown and LaTeX.
#include "basin/figures/table_text.h"

#include <array>

#include "basin/core/error.h"

namespace basin {
namespace {

bool numeric(const ReportTable& table, size_t column) {
  return table.numeric.empty() ? column > 0 : table.numeric[column];
}

void check_table(const ReportTable& table) {
  check(!table.columns.empty() &&
            (table.numeric.empty() || table.numeric.size() == table.columns.size()),
        "table: expects columns, and of each whether it is numeric or of none");
  for (const auto& row : table.rows) {
    check(row.size() == table.columns.size(), "table: a row has ", row.size(), " cells for ",
          table.columns.size(), " columns");
  }
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

std::string markdown(const std::string& words) {
  return replaced(replaced(words, "|", "\\|"), "\n", " ");
}

std::string latex(const std::string& words) {
  std::string out;
  for (const char c : words) {
    switch (c) {
      case '\\': out += "\\textbackslash{}"; break;
      case '~': out += "\\textasciitilde{}"; break;
      case '^': out += "\\textasciicircum{}"; break;
      case '\n': out += ' '; break;
      case '&':
      case '%':
      case '$':
      case '#':
      case '_':
      case '{':
      case '}': out += '\\'; [[fallthrough]];
      default: out += c;
    }
  }
  using Pair = std::pair<std::string_view, std::string_view>;
  for (const auto& [sign, command] : {Pair{"λ", "$\\lambda$"},
                                      {"±", "$\\pm$"},
                                      {"≤", "$\\le$"},
                                      {"×", "$\\times$"},
                                      {"²", "$^2$"}}) {
    out = replaced(out, sign, command);
  }
  return out;
}

}  // namespace

std::string markdown_table(const ReportTable& table) {
  check_table(table);
  std::string out = "|", rule = "|";
  for (size_t c = 0; c < table.columns.size(); ++c) {
    out += str(" ", markdown(table.columns[c]), " |");
    rule += numeric(table, c) ? "---:|" : "---|";
  }
  out += str("\n", rule, "\n");
  for (const auto& row : table.rows) {
    out += "|";
    for (const ReportCell& cell : row) {
      const char* mark = cell.best && cell.significant ? "**" : "";
      out += str(" ", mark, markdown(cell.text), mark, " |");
    }
    out += "\n";
  }
  return out;
}

std::string latex_table(const ReportTable& table) {
  check_table(table);
  std::string out = str("% ", replaced(table.caption, "\n", " "), "\n\\begin{tabular}{");
  for (size_t c = 0; c < table.columns.size(); ++c) out += numeric(table, c) ? "r" : "l";
  out += "}\n\\toprule\n";
  for (size_t c = 0; c < table.columns.size(); ++c) {
    out += str(c == 0 ? "" : " & ", latex(table.columns[c]));
  }
  out += " \\\\\n\\midrule\n";
  for (const auto& row : table.rows) {
    for (size_t c = 0; c < row.size(); ++c) {
      const bool bold = row[c].best && row[c].significant;
      out += str(c == 0 ? "" : " & ", bold ? "\\textbf{" : "", latex(row[c].text), bold ? "}" : "");
    }
    out += " \\\\\n";
  }
  return out + "\\bottomrule\n\\end{tabular}\n";
}

}  // namespace basin
