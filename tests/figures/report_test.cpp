// report.html: well-formed, complete in itself, safe against every name, bold only where
// significant, the same bytes each time.
#include "basin/figures/report.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "basin/figures/svg.h"
#include "basin/tests/analysis/xml.h"
#include "basin/tests/core/files.h"
#include "basin/tests/figures/figure_samples.h"

namespace basin {
namespace {

using namespace testing;

std::vector<XmlElement> parse_page(const std::string& html) {
  constexpr std::string_view kDoctype = "<!DOCTYPE html>\n";
  REQUIRE(html.starts_with(kDoctype));
  return parse_xml(html.substr(kDoctype.size()));
}

std::vector<std::string> texts(const std::vector<XmlElement>& all, const std::string& name) {
  std::vector<std::string> out;
  for (const XmlElement& e : all) {
    if (e.name == name) out.push_back(e.text);
  }
  return out;
}

TEST_CASE("report: nothing is loaded from elsewhere, every link and id fits") {
  const std::string html = report_html(sample_report());
  CHECK(html.size() < 1000 * 1000);
  for (const char* forbidden :
       {"http:", "https:", "@import", "src=", "<script", "<link", "xmlns"}) {
    CHECK_MESSAGE(html.find(forbidden) == html.npos, forbidden);
  }
  std::set<std::string> ids, used;
  for (const XmlElement& e : parse_page(html)) {
    for (const auto& attribute : e.attributes) {
      const auto& key = attribute.first;
      const auto& value = attribute.second;
      CHECK_FALSE(key.starts_with("on"));
      if (key == "id") CHECK_MESSAGE(ids.insert(value).second, "id twice: ", value);
      if (key == "href" && value[0] == '#') used.insert(value.substr(1));
      if (key == "href" && value[0] != '#') CHECK(value.starts_with("figures/"));
      if (const size_t at = value.find("url("); at != value.npos) {
        REQUIRE(value[at + 4] == '#');
        used.insert(value.substr(at + 5, value.find(')') - at - 5));
      }
    }
  }
  for (const std::string& id : used) CHECK_MESSAGE(ids.count(id) == 1, id);
  for (const char* id :
       {"verdict", "contents", "curvature", "provenance", "figure-scree", "figure-ratios"}) {
    CHECK_MESSAGE(ids.count(id) == 1, id);
  }
  CHECK(html.find("Content-Security-Policy") != html.npos);
  CHECK(html.find("name=\"viewport\"") != html.npos);
  CHECK(html.find("prefers-color-scheme: dark") != html.npos);
  CHECK(html.find("@media print") != html.npos);
  CHECK(html == report_html(sample_report()));
}

TEST_CASE("report: verdict first, figures with words, bold only where significant") {
  Report report = sample_report();
  const std::string html = report_html(report);
  const auto all = parse_page(html);
  CHECK(html.find("id=\"verdict\"") < html.find("id=\"figure-ratios\""));
  CHECK(html.find("id=\"figure-ratios\"") < html.find("<table"));
  CHECK(html.find("<b>Figure 1.</b> All ratios.") != html.npos);
  CHECK(html.find("<b>Figure 9.</b>") != html.npos);
  CHECK(html.find("<table") < html.find("id=\"contents\""));
  CHECK(html.find("id=\"contents\"") < html.find("id=\"curvature\""));
  CHECK(texts(all, "h2") == std::vector<std::string>{"Verdict", "Curvature", "Spectra",
                                                     "Over training", "How sure the numbers are",
                                                     "Provenance"});
  const auto bold = texts(all, "b");
  CHECK(std::count(bold.begin(), bold.end(), "AdamW is larger") == 2);
  CHECK(std::count(bold.begin(), bold.end(), "no difference shown") == 0);
  CHECK(std::count(bold.begin(), bold.end(), "0.62") == 1);
  CHECK(std::count(bold.begin(), bold.end(), "0.47") == 0);  // best, but not significant
  const auto cells = texts(all, "td");
  CHECK(std::count(cells.begin(), cells.end(), "no difference shown") == 1);
  CHECK(std::count(cells.begin(), cells.end(), "4.75 [3.6, 6.2]") == 1);
  // One picture per figure, each labelled with its alternative text.
  size_t pictures = 0;
  for (const ReportSection& s : report.sections) {
    for (const ReportBlock& b : s.blocks) {
      const auto* f = std::get_if<Figure>(&b);
      if (f == nullptr) continue;
      ++pictures;
      CHECK(std::count_if(all.begin(), all.end(), [&](const XmlElement& e) {
              return e.name == "svg" && e.attributes.at("aria-label") == f->alt;
            }) == 1);
      CHECK(std::count_if(all.begin(), all.end(), [&](const XmlElement& e) {
              return e.name == "a" && e.attributes.at("href") == "figures/" + f->name + ".csv";
            }) == 1);
    }
  }
  CHECK(pictures == 8);
  CHECK(texts(all, "dd").size() == 10);
  report.provenance.cpu.clear();
  CHECK(texts(parse_page(report_html(report)), "dd").size() == 9);
  for (Verdict& v : report.verdicts) v.published.clear();
  CHECK(report_html(report).find("Published ratio") == std::string::npos);
}

TEST_CASE("report: verdict words follow the interval of the ratio") {
  Estimate without_interval;
  without_interval.value = 2;
  CHECK(verdict_words(estimate(2, 1.1, 3), "A", "B") == "A is larger");
  CHECK(verdict_words(estimate(0.5, 0.2, 0.9), "A", "B") == "B is larger");
  CHECK(verdict_words(estimate(2, 0.9, 3), "A", "B") == "no difference shown");
  CHECK(verdict_words(without_interval, "A", "B") == "no interval");
  CHECK(verdict_words(Estimate{}, "A", "B") == "not measured");
}

TEST_CASE("report: hostile names stay words") {
  const std::string evil = "</title><script>alert('1')</script>\" onload=\"x & y\n url(#f) id=\"z";
  Report report;
  report.title = report.summary = report.a = report.b = evil;
  report.verdicts = {{evil, estimate(2, 1, 3), estimate(1, 1, 1), estimate(2, 1, 3), evil, evil}};
  report.warnings = {evil};
  report.provenance.command = evil;
  report.provenance.more = {{evil, evil}};
  CurvatureBars bars;
  bars.title = evil;
  bars.bars = {{evil, evil, evil, estimate(2, 1, 3)}, {evil, evil, "\xff\xfe", estimate(1, 1, 1)}};
  bars.ratios = {{evil, evil, evil, estimate(2, 1, 3)}};
  bars.conditions = {.probes = evil, .data = evil, .dtype = evil, .command = evil};
  LayerRanks ranks;
  ranks.title = evil;
  ranks.layers = {evil};
  ranks.panels = {{evil, {{evil, {estimate(1, 0.5, 2)}}}}};
  ranks.skipped = {{evil, evil}};
  report.sections = {
      {evil,
       {ReportParagraph{evil}, ReportList{{evil}}, ReportTable{evil, {evil, evil}, {{evil, evil}}},
        curvature_bars_figure(bars), weight_rank_figure(ranks)}},
      {evil, {}}};
  const std::string html = report_html(report);
  CHECK(html.find("<script") == html.npos);
  const auto all = parse_page(html);
  std::string expected = evil;
  std::replace(expected.begin(), expected.end(), '\n', ' ');
  CHECK(texts(all, "h1") == std::vector<std::string>{expected});
  CHECK(std::count_if(all.begin(), all.end(),
                      [](const XmlElement& e) { return e.attributes.count("onload") > 0; }) == 0);
  CHECK(html.find('\xff') == html.npos);
}

TEST_CASE("report: a picture of many shapes stands in as PNG, with its words") {
  Svg svg(60, 40, "dense");
  for (size_t i = 0; i < 40000; ++i) svg.rect(10, 10, 20, 20, {"#0b3f87"});
  Figure dense{.name = "dense", .title = "dense", .svg = svg.document(), .alt = "A <blue> square."};
  dense = finish_figure(dense, "Dense", {});
  REQUIRE(dense.svg.size() > kInlineSvgLimit);
  const std::string html = report_html({.title = "t", .sections = {{"s", {dense}}}});
  CHECK(html.size() < 20000);
  const auto all = parse_page(html);
  const auto image =
      std::find_if(all.begin(), all.end(), [](const XmlElement& e) { return e.name == "img"; });
  REQUIRE(image != all.end());
  CHECK(image->attributes.at("alt") == "A <blue> square.");
  // The eight bytes that a PNG starts with.
  CHECK(image->attributes.at("src").starts_with("data:image/png;base64,iVBORw0KGg"));
}

TEST_CASE("report: refusals, size limit, files") {
  using test::check_error;
  Report report = sample_report();
  const test::TempDir dir;
  write_report(dir / "out", report);
  CHECK(read_text_file(dir / "out/report.html") == report_html(report));
  CHECK(fs::exists(dir / "out/figures/hessian_bars.csv"));
  CHECK(fs::exists(dir / "out/figures/estimators.svg"));
  const std::string png = read_text_file(dir / "out/figures/scree.png");
  CHECK(png.substr(1, 3) == "PNG");
  CHECK(std::distance(fs::directory_iterator(dir / "out/figures"), {}) == 27);

  const auto refused = [](const std::vector<std::string>& words, const Report& r) {
    check_error(ErrorKind::usage, words, [&] { report_html(r); });
  };
  refused({"report: expects a title"}, Report{});
  refused({"report: expects at least one section"}, Report{.title = "t"});
  Report bad = report;
  bad.sections[0].blocks.push_back(bad.sections[0].blocks[1]);
  refused({"report: two figures are called 'hessian_bars'"}, bad);
  bad = report;
  bad.sections[0].blocks.push_back(*bad.overview);
  refused({"report: two figures are called 'ratios'"}, bad);
  bad = report;
  std::get<ReportTable>(bad.sections[1].blocks[3]).rows[1].pop_back();
  refused({"row 2 has 5 cells for 6 columns"}, bad);
  bad = report;
  bad.figure_folder = "../elsewhere";
  refused({"report: expects a folder of figures below the report, given '../elsewhere'"}, bad);
  bad = report;
  bad.sections[0].blocks[0] = ReportParagraph{std::string(kReportLimit, 'x')};
  refused({"report: would have ", "bytes, at most 10000000"}, bad);
  // Nothing is written when the report is refused.
  check_error(ErrorKind::usage, {"bytes"}, [&] { write_report(dir / "none", bad); });
  CHECK_FALSE(fs::exists(dir / "none"));
}

}  // namespace
}  // namespace basin
