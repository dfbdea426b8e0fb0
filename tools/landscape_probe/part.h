// A part of a probe: one question about a trained network, from its settings to its verdict. A part
// is one file (parts/, or a consumer's own) and one call of register_part; the program knows no
// part by name. For every probe it measures a record (record.h), kept as PROBE/<name>.json and
// never measured twice; for every report it gives tables, figures and warnings; for every pair that
// is compared, verdicts.
//   bool known = register_part(part_of<Tally>({.name = "tally", .summary = "..", ...}, measure));
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "basin/figures/report.h"
#include "basin/tools/landscape_probe/loaded.h"
#include "basin/tools/landscape_probe/published.h"
#include "basin/tools/landscape_probe/tables.h"
#include "basin/tools/shell/trained.h"
#include "basin/train/probe_data.h"

namespace basin::tools {

// What the measurements of one probe share.
struct ProbeContext {
  const Trained& trained;
  const Config& config;             // a part reads the settings that it declared
  fs::path dir;                     // of the probe
  ModelState state;                 // in the precision of the probe
  std::vector<RoutingRow> routing;  // which rule updates which parameter; empty: unknown
  int64_t batch = 32;               // examples per recording
  uint64_t seed = 0;
  NormStatistics batch_norm = NormStatistics::frozen;
  DType dtype = DType::f32;
  int64_t lanes = 4;       // vectors per recording
  int64_t keep_bytes = 0;  // budget of kept recordings
  int64_t shard = 0, shards = 1;

  std::string label() const;  // "pointnet muon", for the log
  // Examples of a split, as many as the setting says, drawn by the seed.
  ProbeData data(Split split, const char* limit_setting) const;
  std::vector<LossBatch> loss_batches(const ProbeData& data) const;
};

// The two top eigenvectors of the first curvature, which later parts follow: "top.0", "top.1".
fs::path eigenvector_file(const fs::path& probe);

struct PartSection {
  std::string heading, text;
  std::vector<NamedTable> tables = {};  // one without rows is left out
  std::vector<Figure> figures = {};
};
struct PartReport {
  std::vector<PartSection> sections = {};
  std::vector<std::string> warnings = {};  // what a reader must not overlook
};

// The sections of parts in a report, with their tables as CSV below DIR/tables; empty sections are
// left out.
void add_sections(Report& report, const std::vector<PartSection>& sections, const fs::path& dir);

// The probes of one network after trainings by one optimizer, a seed each; their own `optimizer` is
// not read.
struct SeedProbes {
  std::string optimizer;
  std::vector<LoadedProbe> probes;
};

// Two probes that are compared, with what they were made of: read again at the first call; empty
// where nothing but the folder of the probe is known.
struct ComparedPair {
  const LoadedProbe &a, &b;
  std::function<const Trained&()> trained_a = {}, trained_b = {};
};

struct PartInfo {
  std::string name;     // of its file and in --parts
  std::string summary;  // for --help, one line
  std::vector<Setting> settings = {};
  // The settings that decide its numbers, shared ones included, beside weights and data.
  std::vector<std::string> depends_on = {};
  std::vector<std::string> after = {};  // parts whose files it reads; measured first where asked
  // Of its settings, before anything is read: usage errors. parts: all that are asked for.
  std::function<void(const Config&, const std::vector<std::string>& parts)> check = {};
  // Measures and writes its file; absent: a part of reports alone. Set by part_of().
  std::function<void(const ProbeContext&, const PartFiles&, const Record& identity)> measure = {};
  // Where --shard cuts its work: its share, into files of its own.
  std::function<void(const ProbeContext&)> measure_shard = {};
  // Reads the record of one folder and writes it into another, the same bytes. Set by part_of().
  std::function<void(const PartFiles& from, const PartFiles& to, const Record& identity)> copy = {};

  std::function<PartReport(const std::vector<LoadedProbe>&, const std::string& command)> report =
      {};
  // B over A of every quantity that both have.
  std::function<void(const LoadedProbe& a, const LoadedProbe& b, VerdictList&)> verdicts = {};
  // What only a comparison shows.
  std::function<PartReport(const ComparedPair&)> compare = {};
  // What several seeds of each optimizer say together of one network, for the report of a study:
  // means over the seeds with their intervals. Its warnings say what the records do not hold, and
  // why. conditions: runs, seeds and command.
  std::function<PartReport(const std::string& network, const std::vector<SeedProbes>&,
                           const FigureConditions& conditions)>
      over_seeds = {};
};

// The part whose record is an R.
template <class R>
PartInfo part_of(PartInfo info, std::function<R(const ProbeContext&)> measure) {
  info.measure = [measure, name = info.name](const ProbeContext& context, const PartFiles& files,
                                             const Record& identity) {
    files.write(name, identity, measure(context));
  };
  info.copy = [name = info.name](const PartFiles& from, const PartFiles& to,
                                 const Record& identity) {
    to.write(name, identity, from.read<R>(name));
  };
  return info;
}

// usage error when the name is taken. Returns true, so that a namespace-scope constant can call it.
bool register_part(PartInfo info);
const std::vector<PartInfo>& parts();  // Basin's own first; the order of reports
std::vector<std::string> measured_part_names();

}  // namespace basin::tools
