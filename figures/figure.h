// A finished figure: the picture, the numbers it draws, and the words for those who do not see it.
// Every figure function takes plain data and returns one of these. What is not a finite number is
// left out of the picture (a hole), counted, and mentioned in the caption; the CSV keeps it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "basin/analysis/estimate.h"

namespace basin {

struct Figure {
  std::string name;  // stem of its files: lower case letters, digits, '-' and '_'
  std::string title = {};
  std::string svg = {};      // a complete document
  std::string csv = {};      // the numbers as drawn, 17 significant digits
  std::string alt = {};      // what the picture shows, in sentences made from the data
  std::string caption = {};  // what it is and the conditions line
  int64_t holes = 0;         // numbers that were not finite and are not drawn
};

// What stands behind the numbers; the caption's last sentences.
struct FigureConditions {
  int64_t runs = 0;                  // n per optimizer; 0: not stated
  int64_t fewest = 0;                // where n differs, the smallest; 0: it does not
  std::vector<uint64_t> seeds = {};  // of those runs
  std::string probes = {};           // e.g. "100 Rademacher probes"; empty: none are used
  std::string data = {};             // which examples, e.g. "1,024 training shapes"
  std::string dtype = {};            // in which the network was computed, e.g. "f32"
  double level = 0.95;               // of the intervals; 0: there are none
  std::string command = {};          // that makes the figure; stored in the SVG
};
// "n = 3 runs each (seeds 0, 1, 2); 100 probes; data: ...; f32; 95 % intervals."
std::string conditions_line(const FigureConditions& conditions);

// Completes a figure: caption = `what` + holes + conditions; the alternative text and the command
// are stored in the SVG (<desc>), which also is given them as its label. usage error for a name
// that is no file stem.
Figure finish_figure(Figure figure, std::string_view what, const FigureConditions& conditions);

// Writes DIR/NAME.svg, NAME.csv and NAME.png (two pixels a unit), each at once or not at all.
void write_figure(const std::filesystem::path& dir, const Figure& figure);

// Four significant digits for readers: 0.001234, 12.3, 12345, 1.234e-5, 1.2e7; "no value" for NaN.
std::string readable(double value);
std::string readable(const Estimate& estimate);  // "4.75 [4.1, 5.4]"; no brackets without interval
std::string joined(std::span<const std::string> words, std::string_view separator = ", ");

}  // namespace basin
