// Paths between trained networks of one kind and one task: the action `path`.
//   lines   between every two of A, B (and C), with the height of the barrier (analysis/paths.h):
//           barrier = max over the points of the line of L(t) - [(1 - t) L(0) + t L(1)]
//   plane   through A, B and C, in units of distance; or, where less than three are given, through
//           the last checkpoint of --trajectory along its first two principal directions
//   trail   the checkpoints of --trajectory RUN in that plane, with the share of their variance
//           that the plane shows
// Batch norm: by default the running statistics are estimated anew at every point, on the training
// examples of the measurement: those of the networks fit none of the weights between them, and with
// them a line shows a barrier that is theirs. --interpolate-statistics takes (1 - t) A + t B
// instead: then the losses at the ends are those of the networks as they are.
//   OUT/{config.toml, run.json, path.json, path-line-AB.jsonl, path-plane.jsonl, tables/, figures/,
//        report.html}
#pragma once
#include <string>
#include <vector>

#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {

struct PathPointRecord {
  std::string letter;  // A, B, C
  std::string name, network, optimizer, checkpoint, weights_sha256;
  double loss = 0, metric = 0;  // at this end of its lines
  double recorded_loss = 0;     // of the whole test split, by the training; NaN: not known
  double x = 0, y = 0;          // in the plane; NaN: there is none
  bool same_data = true;        // whether its settings name the data that all are measured on
};
struct PathLineRecord {
  std::string from, to;  // letters
  std::string file;
  int64_t done = 0, failed = 0;
  double distance = 0;                               // ||b - a||
  double barrier = 0, at = 0, loss = 0, metric = 0;  // the last two where it is highest
};
struct PathPlaneRecord {
  std::string file;
  std::string first, second;  // what the axes are
  int64_t done = 0, failed = 0;
};
struct TrailRecord {
  std::string name;
  std::vector<int64_t> steps;
  std::vector<double> x, y;
  double share = 0;  // of the variance of the checkpoints that the plane shows
};
struct PathRecord {
  std::string data;  // what the losses are means over
  std::vector<PathPointRecord> points;
  std::vector<PathLineRecord> lines;
  std::vector<PathPlaneRecord> planes;  // one or none, as the next
  std::vector<TrailRecord> trails;
};
void fields(FieldWalk& walk, PathPointRecord& r);
void fields(FieldWalk& walk, PathLineRecord& r);
void fields(FieldWalk& walk, PathPlaneRecord& r);
void fields(FieldWalk& walk, TrailRecord& r);
void fields(FieldWalk& walk, PathRecord& r);
void check_record(const PathRecord& record, const std::string& file);

// Measures what is not there yet and writes the report; returns what is printed. `networks`: two or
// three run directories, checkpoints or files of weights, all measured on the data of the first;
// none beside --trajectory. `out`: empty for runs/path-A-B[-C]. usage error for another number and
// for networks of different kinds.
std::string path_between(const std::vector<std::string>& networks, const Config& config,
                         const fs::path& out, const std::string& command);

// The report of such a folder, in path_report.cpp.
PartReport path_report(const fs::path& dir, const Metric& metric, const std::string& command);

}  // namespace basin::tools
