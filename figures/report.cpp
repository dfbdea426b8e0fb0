// The page of the report, piece by piece from the head to the provenance, with its pictures inside;
// the style sheet is apart in detail/report_style.h.
#include "basin/figures/report.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "basin/core/error.h"
#include "basin/core/folder.h"
#include "basin/core/io.h"
#include "basin/figures/detail/report_style.h"
#include "basin/figures/detail/svg_picture.h"
#include "basin/figures/png.h"
#include "basin/figures/svg.h"

namespace basin {
namespace {

std::string element(std::string_view tag, std::string_view words) {
  return str("<", tag, ">", xml_escape(words), "</", tag, ">\n");
}

// An anchor: lower case letters and digits of the words, the rest as '-'.
std::string anchor(std::string_view words) {
  std::string out;
  for (const char c : words) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool kept = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (kept) out += static_cast<char>(upper ? c - 'A' + 'a' : c);
    if (!kept && !out.empty() && out.back() != '-') out += '-';
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out;
}

// Everything that carries an id, once.
class Anchors {
 public:
  std::string take(std::string_view words, size_t number) {
    std::string id = anchor(words);
    if (id.empty() || !taken_.insert(id).second) {
      id = str("part-", number);
      while (!taken_.insert(id).second) id += "x";
    }
    return id;
  }

 private:
  std::set<std::string> taken_{"verdict", "provenance", "contents"};
};

// ---- Pictures

// An SVG document as an element of the page: no prolog, no name space (HTML knows it), and its ids
// made its own, since one page holds many pictures. Only tags are touched, never words.
std::string inline_svg(const std::string& document, const std::string& prefix) {
  size_t at = document.find("<svg");
  if (at == document.npos) fail(ErrorKind::internal, "report: a figure is no SVG document");
  std::string out;
  const auto copy_tag = [&](std::string tag) {
    const auto replace = [&tag](std::string_view from, const std::string& to) {
      for (size_t i = 0; (i = tag.find(from, i)) != tag.npos; i += to.size()) {
        tag.replace(i, from.size(), to);
      }
    };
    replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
    replace(" id=\"", str(" id=\"", prefix, "-"));
    replace("url(#", str("url(#", prefix, "-"));
    out += tag;
  };
  while (at < document.size()) {
    if (document[at] != '<') {
      const size_t end = std::min(document.find('<', at), document.size());
      out += document.substr(at, end - at);
      at = end;
      continue;
    }
    const size_t end = document.find('>', at);
    if (end == document.npos) fail(ErrorKind::internal, "report: a figure ends inside a tag");
    copy_tag(document.substr(at, end + 1 - at));
    at = end + 1;
  }
  return out;
}

std::string base64(const std::vector<uint8_t>& bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = static_cast<uint32_t>(bytes[i]) << 16;
    if (i + 1 < bytes.size()) group |= static_cast<uint32_t>(bytes[i + 1]) << 8;
    if (i + 2 < bytes.size()) group |= bytes[i + 2];
    out += kDigits[group >> 18];
    out += kDigits[group >> 12 & 63];
    out += i + 1 < bytes.size() ? kDigits[group >> 6 & 63] : '=';
    out += i + 2 < bytes.size() ? kDigits[group & 63] : '=';
  }
  return out;
}

std::string picture_html(const Figure& f, const std::string& prefix) {
  if (f.svg.size() <= kInlineSvgLimit) return inline_svg(f.svg, prefix);
  return str("<img alt=\"", xml_escape(f.alt), "\" src=\"data:image/png;base64,",
             base64(encode_png(svg_picture(f.svg))), "\"/>\n");
}

// The width that the picture was laid out for, in pixels.
double natural_width(const std::string& svg) {
  constexpr std::string_view kBefore = " width=\"";
  const size_t at = svg.find(kBefore);
  double width = 0;
  if (at != svg.npos) {
    const std::string_view rest = std::string_view(svg).substr(at + kBefore.size());
    if (parse_double(rest.substr(0, rest.find('"')), width)) return width;
  }
  fail(ErrorKind::internal, "report: a figure states no width");
}

std::string figure_html(const Figure& f, const std::string& folder, size_t number) {
  // Below three quarters of its size the words of a picture are too small: it scrolls instead.
  const double width = natural_width(f.svg);
  const std::string csv = str(folder, "/", f.name, ".csv");
  return str("<figure id=\"figure-", f.name, "\">\n<div class=\"card scroll\" tabindex=\"0\" ",
             "role=\"group\" aria-label=\"", xml_escape(f.title),
             "\" style=\"--natural:", svg_number(width), "px\">\n",
             picture_html(f, str("f", number)), "</div>\n<figcaption><b>Figure ", number, ".</b> ",
             xml_escape(f.title), ". ", xml_escape(f.caption), " <a href=\"", xml_escape(csv),
             "\">Numbers (CSV)</a></figcaption>\n", "</figure>\n");
}

// ---- Tables

bool is_numeric(const ReportTable& t, size_t column) {
  return t.numeric.empty() ? column > 0 : t.numeric[column];
}

void check_table(const ReportTable& t) {
  check(!t.columns.empty(), "report: table '", t.caption, "' has no columns");
  check(t.numeric.empty() || t.numeric.size() == t.columns.size(), "report: table '", t.caption,
        "' aligns ", t.numeric.size(), " of ", t.columns.size(), " columns");
  for (size_t r = 0; r < t.rows.size(); ++r) {
    check(t.rows[r].size() == t.columns.size(), "report: table '", t.caption, "', row ", r + 1,
          " has ", t.rows[r].size(), " cells for ", t.columns.size(), " columns");
  }
}

std::string cell_html(const ReportTable& t, size_t column, const ReportCell& cell) {
  const std::string words = xml_escape(cell.text);
  const bool bold = cell.best && cell.significant;
  const std::string inner = bold ? str("<b>", words, "</b>") : words;
  if (column == 0) return str("<th scope=\"row\">", inner, "</th>");
  // The name of the column, for the narrow screen.
  const std::string label =
      t.stacked ? str(" data-label=\"", xml_escape(t.columns[column]), "\"") : "";
  return str("<td", is_numeric(t, column) ? " class=\"n\"" : "", label, ">", inner, "</td>");
}

std::string table_html(const ReportTable& t) {
  check_table(t);
  // The caption stays outside of the box that scrolls: a wide table would take it along.
  const std::string caption = xml_escape(t.caption);
  std::string out =
      str("<figure class=\"table\">\n<figcaption>", caption, "</figcaption>\n",
          "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"", caption,
          "\">\n<table", t.stacked ? " class=\"stacked\"" : "", ">\n<thead><tr>");
  for (size_t c = 0; c < t.columns.size(); ++c) {
    out += str(is_numeric(t, c) ? "<th scope=\"col\" class=\"n\">" : "<th scope=\"col\">",
               xml_escape(t.columns[c]), "</th>");
  }
  out += "</tr></thead>\n<tbody>\n";
  for (const auto& row : t.rows) {
    out += "<tr>";
    for (size_t c = 0; c < row.size(); ++c) out += cell_html(t, c, row[c]);
    out += "</tr>\n";
  }
  return out + "</tbody>\n</table>\n</div>\n</figure>\n";
}

// Neither number is the better one by itself, so nothing is bold but a verdict that is significant.
ReportTable verdict_table(const Report& report) {
  const bool published = std::any_of(report.verdicts.begin(), report.verdicts.end(),
                                     [](const Verdict& v) { return !v.published.empty(); });
  ReportTable t{
      .caption = str("Verdict: ", report.a, " against ", report.b),
      .columns = {"Quantity", report.a, report.b, str("Ratio ", report.a, " / ", report.b)}};
  t.numeric = {false, true, true, true};
  t.stacked = true;
  if (published) t.columns.push_back("Published ratio"), t.numeric.push_back(true);
  t.columns.push_back("Verdict"), t.numeric.push_back(false);
  for (const Verdict& v : report.verdicts) {
    std::vector<ReportCell> row = {v.quantity, readable(v.a), readable(v.b), readable(v.ratio)};
    if (published) row.push_back(v.published);
    ReportCell words(v.words.empty() ? verdict_words(v.ratio, report.a, report.b) : v.words);
    const Interval& i = v.ratio.interval;
    words.best = true;
    words.significant = i.low > 1 || i.high < 1;
    row.push_back(words);
    t.rows.push_back(row);
  }
  return t;
}

// ---- The parts of the page

// The policy has the browser refuse whatever would be loaded from elsewhere.
constexpr std::string_view kHead = R"(<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
)";

class Page {
 public:
  explicit Page(const Report& report) : report_(report) {
    for (size_t i = 0; i < report.sections.size(); ++i) {
      ids_.push_back(anchors_.take(report.sections[i].heading, i + 1));
    }
  }

  std::string document() {
    const std::string title = xml_escape(report_.title);
    std::string out = str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n", kHead, "<title>", title,
                          "</title>\n<style>\n", kReportStyle,
                          "</style>\n</head>\n<body>\n<main>\n<h1>", title, "</h1>\n");
    if (!report_.summary.empty()) {
      out += str("<p class=\"summary\">", xml_escape(report_.summary), "</p>\n");
    }
    out += verdict();
    out += contents();
    for (size_t i = 0; i < report_.sections.size(); ++i) out += section(i);
    return out + provenance() + "</main>\n</body>\n</html>\n";
  }

 private:
  std::string verdict() {
    std::string out;
    if (report_.overview || !report_.verdicts.empty()) {
      out += "<section id=\"verdict\">\n<h2>Verdict</h2>\n";
      if (report_.overview) out += (*this)(*report_.overview);
      if (!report_.verdicts.empty()) {
        out += table_html(verdict_table(report_));
        out +=
            "<p class=\"hint\">In brackets: the interval. A verdict is bold where the interval of "
            "the ratio excludes 1.</p>\n";
      }
      out += "</section>\n";
    }
    if (!report_.warnings.empty()) {
      out += "<aside class=\"warnings\" aria-label=\"Warnings\">\n<ul>\n";
      for (const std::string& w : report_.warnings) out += element("li", w);
      out += "</ul>\n</aside>\n";
    }
    return out;
  }

  std::string contents() const {
    std::string out = "<nav id=\"contents\" aria-label=\"Contents\">\n<ol>\n";
    for (size_t i = 0; i < ids_.size(); ++i) {
      out += str("<li><a href=\"#", ids_[i], "\">", xml_escape(report_.sections[i].heading),
                 "</a></li>\n");
    }
    return out + "<li><a href=\"#provenance\">Provenance</a></li>\n</ol>\n</nav>\n";
  }

  std::string section(size_t index) {
    const ReportSection& s = report_.sections[index];
    std::string out =
        str("<section id=\"", ids_[index], "\">\n<h2>", xml_escape(s.heading), "</h2>\n");
    for (const ReportBlock& block : s.blocks) out += std::visit(*this, block);
    return out + "</section>\n";
  }

  std::string provenance() const {
    const Provenance& p = report_.provenance;
    std::vector<std::pair<std::string, std::string>> rows = {
        {"Basin", p.version},    {"Commit", p.commit},       {"Compiler", p.compiler},
        {"Processor", p.cpu},    {"Threads", p.threads},     {"Seed", p.seed},
        {"Command", p.command},  {"Data hash", p.data_hash}, {"Started", p.started},
        {"Finished", p.finished}};
    rows.insert(rows.end(), p.more.begin(), p.more.end());
    std::string out = "<footer id=\"provenance\">\n<h2>Provenance</h2>\n<dl>\n";
    for (const auto& [name, value] : rows) {
      if (value.empty()) continue;
      out += str("<dt>", xml_escape(name), "</dt><dd>", xml_escape(value), "</dd>\n");
    }
    return out + "</dl>\n</footer>\n";
  }

 public:
  std::string operator()(const ReportParagraph& p) const { return element("p", p.text); }
  std::string operator()(const ReportList& list) const {
    std::string out = "<ul>\n";
    for (const std::string& item : list.items) out += element("li", item);
    return out + "</ul>\n";
  }
  std::string operator()(const ReportTable& t) const { return table_html(t); }
  std::string operator()(const Figure& f) {
    return figure_html(f, report_.figure_folder, ++figures_);
  }

 private:
  const Report& report_;
  Anchors anchors_;
  std::vector<std::string> ids_;
  size_t figures_ = 0;
};

std::vector<const Figure*> figures_of(const Report& report) {
  std::vector<const Figure*> out;
  if (report.overview) out.push_back(&*report.overview);
  for (const ReportSection& s : report.sections) {
    for (const ReportBlock& block : s.blocks) {
      if (const auto* f = std::get_if<Figure>(&block)) out.push_back(f);
    }
  }
  return out;
}

void check_report(const Report& report) {
  check(!report.title.empty(), "report: expects a title, given none");
  check(!report.sections.empty(), "report: expects at least one section, given none");
  const fs::path folder(report.figure_folder);
  check(!report.figure_folder.empty() && folder.is_relative() &&
            report.figure_folder.find("..") == std::string::npos,
        "report: expects a folder of figures below the report, given '", report.figure_folder, "'");
  std::set<std::string> names;
  for (const Figure* f : figures_of(report)) {
    check(names.insert(f->name).second, "report: two figures are called '", f->name, "'");
  }
}

}  // namespace

std::string verdict_words(const Estimate& ratio, const std::string& a, const std::string& b) {
  const Interval& i = ratio.interval;
  if (!std::isfinite(ratio.value)) return "not measured";
  if (std::isnan(i.low) || std::isnan(i.high)) return "no interval";
  if (i.low > 1) return a + " is larger";
  if (i.high < 1) return b + " is larger";
  return "no difference shown";
}

std::string report_html(const Report& report) {
  check_report(report);
  std::string out = Page(report).document();
  check(out.size() <= kReportLimit, "report: would have ", out.size(), " bytes, at most ",
        kReportLimit, "; draw fewer points or panels");
  return out;
}

void write_report(const fs::path& dir, const Report& report) {
  const std::string document = report_html(report);
  make_folder(dir);
  for (const Figure* f : figures_of(report)) write_figure(dir / report.figure_folder, *f);
  write_file_atomic(dir / "report.html", document);
}

}  // namespace basin
