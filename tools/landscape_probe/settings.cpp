// Settings of landscape_probe: see settings.h.
#include "basin/tools/landscape_probe/settings.h"

#include <algorithm>

#include "basin/analysis/directions.h"
#include "basin/tools/shell/cli.h"

namespace basin::tools {
namespace {

const std::vector<std::string> kParts{"curvature", "ranks", "representations", "slices",
                                      "sharpness"};

std::vector<Setting> data_settings() {
  using enum Purpose;
  return {
      {"data", Kind::text, "", "Folder with the data (default: the one the run was trained on)",
       record, "", "BASIN_DATASET"},
      {"shapes", Kind::integer, "1024", "Training shapes of the curvature; 0: all"},
      {"batch", Kind::integer, "32", "Shapes per recording; bounds the memory"},
      {"batch_norm", Kind::text, "frozen",
       "Batch norm under the curvature: frozen (running statistics) or batch"},
      {"dtype", Kind::text, "f32", "f32 or f64: precision of the products; vectors are f64"},
      {"rank_shapes", Kind::integer, "0", "Test shapes of the representation ranks; 0: all"},
  };
}

std::vector<Setting> curvature_settings() {
  using enum Purpose;
  return {
      {"parts", Kind::text, "curvature,ranks,representations,slices,sharpness",
       "Comma list of what to measure", action},
      {"curvature", Kind::text, "hessian", "hessian, gauss_newton, or both by a comma"},
      {"subset", Kind::text, "all",
       "Comma list of parameter subsets: all, layer:PATTERN (with *), role:ROLE, group:RULE "
       "(group:muon, group:adamw)"},
      {"top", Kind::integer, "10", "Largest eigenvalues"},
      {"bottom", Kind::integer, "5", "Smallest eigenvalues"},
      {"lanczos_steps", Kind::integer, "40", "Largest number of Lanczos steps"},
      {"tolerance", Kind::number, "1e-4",
       "An eigenvalue has converged when its residual is below this share of |lambda|max"},
      {"estimator", Kind::text, "hutchinson", "Of the trace: hutchinson, hutch++ or xtrace"},
      {"probes", Kind::integer, "24", "Probes of the trace"},
      {"trace_error", Kind::number, "0",
       "> 0: add probes until the half width of the interval is below this share (hutchinson)"},
      {"density_probes", Kind::integer, "2", "Starts of the spectral density; 0: no density"},
      {"density_steps", Kind::integer, "24", "Lanczos steps per start"},
      {"lanes", Kind::integer, "4", "Vectors that share one recording", record},
      {"paper_protocol", Kind::flag, "false",
       "Also the plain estimators: power iteration and Hutchinson, 100 iterations or 1e-3"},
      {"memory", Kind::text, "0", "Bytes of recordings kept between products, e.g. 4GB", record},
      {"rank_interval", Kind::text, "influence",
       "Intervals of the representation ranks: influence (jackknife) or bootstrap"},
      {"resamples", Kind::integer, "200", "Resamples of that bootstrap"},
  };
}

std::vector<Setting> slice_settings() {
  using enum Purpose;
  return {
      {"slices", Kind::text, "random,eigen",
       "Comma list: random (2-D), random1d, eigen (2-D along the two top eigenvectors)"},
      {"normalisation", Kind::text, "filter",
       "Of random directions: filter (Li et al.), layer, weight or none"},
      {"sharpness_shapes", Kind::integer, "128", "Training shapes of the sharpness; 0: all"},
      {"slice_shapes", Kind::integer, "256", "Training shapes of a slice; 0: all"},
      {"grid", Kind::integer, "21", "Points per axis of a 2-D slice"},
      {"grid1d", Kind::integer, "41", "Points of a 1-D slice"},
      {"range", Kind::number, "1", "Slices reach from -range to range"},
      {"reestimate", Kind::flag, "false", "Batch norm statistics made anew at every point"},
      {"shard", Kind::text, "0/1", "Only the grid points i, i + n, ...: i/n", action},
      {"out", Kind::text, "", "Folder of the results (default: RUN/probe, runs/compare-...)",
       action},
  };
}

std::vector<std::string> words(const Config& config, const char* key,
                               const std::vector<std::string>& known) {
  std::vector<std::string> out;
  TextReader in(config.text(key));
  for (std::string word; std::getline(in, word, ',');) {
    if (word.empty() || word == "none") continue;
    if (!known.empty() && std::find(known.begin(), known.end(), word) == known.end()) {
      const std::string near = nearest_name(word, known);
      std::string all;
      for (const std::string& k : known) all += (all.empty() ? "" : ", ") + k;
      fail(ErrorKind::usage, config.origin(key), ": ", key, " is expected to be of ", all,
           "; given '", word, "'", near.empty() ? "" : "; did you mean '" + near + "'?");
    }
    out.push_back(word);
  }
  return out;
}

// Exactly one of the known words.
std::string word(const Config& config, const char* key, const std::vector<std::string>& known) {
  const std::vector<std::string> given = words(config, key, known);
  check(given.size() == 1, config.origin(key), ": ", key, " is expected to be one word, given '",
        config.text(key), "'");
  return given.front();
}

int64_t at_least(const Config& config, const char* key, int64_t low) {
  check(config.integer(key) >= low, config.origin(key), ": ", key, " is expected to be at least ",
        low, ", given ", config.text(key));
  return config.integer(key);
}

double positive(const Config& config, const char* key) {
  check(config.number(key) > 0 && config.number(key) < 1e300, config.origin(key), ": ", key,
        " is expected to be positive, given ", config.text(key));
  return config.number(key);
}

// "4GB", "500MB", "1e9".
int64_t bytes_of(const Config& config, const char* key) {
  const std::string& text = config.text(key);
  double unit = 1;
  std::string digits = text;
  for (const auto& [suffix, size] :
       {std::pair{"GB", 1e9}, std::pair{"MB", 1e6}, std::pair{"kB", 1e3}}) {
    if (text.ends_with(suffix)) {
      unit = size;
      digits = text.substr(0, text.size() - 2);
      break;
    }
  }
  double value = 0;
  check(parse_double(digits, value) && value >= 0 && value * unit < 9e18, config.origin(key), ": ",
        key, " is expected to be a number of bytes such as 4GB, given ", text);
  return static_cast<int64_t>(value * unit);
}

void read_shard(const Config& config, ProbeSettings& s) {
  const std::string& text = config.text("shard");
  const size_t slash = text.find('/');
  const bool fits = slash != text.npos && parse_int64(text.substr(0, slash), s.shard) &&
                    parse_int64(text.substr(slash + 1), s.shards) && s.shard >= 0 &&
                    s.shards >= 1 && s.shard < s.shards;
  check(fits, config.origin("shard"), ": shard is expected to be i/n with 0 <= i < n, given ",
        text);
}

}  // namespace

Config probe_settings() {
  std::vector<Setting> all = data_settings();
  for (const auto& part : {curvature_settings(), slice_settings(), shared_settings()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return Config(std::move(all), {});
}

ProbeSettings probe_settings_from(const Config& config) {
  ProbeSettings s;
  const auto parts = words(config, "parts", kParts);
  s.parts = {parts.begin(), parts.end()};
  s.shapes = at_least(config, "shapes", 0);
  s.batch = at_least(config, "batch", 1);
  s.seed = static_cast<uint64_t>(config.integer("seed"));
  s.batch_norm = norm_statistics_from_name(config.text("batch_norm"));
  const std::string dtype = word(config, "dtype", {"f32", "f64"});
  s.dtype = dtype == "f64" ? DType::f64 : DType::f32;
  s.kinds = words(config, "curvature", {"hessian", "gauss_newton"});
  s.subsets = words(config, "subset", {});
  s.top = at_least(config, "top", 1);
  s.bottom = at_least(config, "bottom", 0);
  s.lanczos_steps = at_least(config, "lanczos_steps", 2);
  s.tolerance = positive(config, "tolerance");
  s.estimator = word(config, "estimator", {"hutchinson", "hutch++", "xtrace"});
  s.probes = at_least(config, "probes", 2);
  s.trace_error = config.number("trace_error");
  s.density_probes = at_least(config, "density_probes", 0);
  s.density_steps = at_least(config, "density_steps", 2);
  s.lanes = at_least(config, "lanes", 1);
  s.paper_protocol = config.flag("paper_protocol");
  s.keep_bytes = bytes_of(config, "memory");
  s.rank_shapes = at_least(config, "rank_shapes", 0);
  s.rank_interval = word(config, "rank_interval", {"influence", "bootstrap"}) == "influence"
                        ? RankInterval::influence
                        : RankInterval::bootstrap;
  s.resamples = at_least(config, "resamples", 20);
  s.sharpness_shapes = at_least(config, "sharpness_shapes", 0);
  s.slice_shapes = at_least(config, "slice_shapes", 0);
  s.slices = words(config, "slices", {"random", "random1d", "eigen"});
  const bool eigen = std::find(s.slices.begin(), s.slices.end(), "eigen") != s.slices.end();
  check(s.top >= 2 || !eigen || !s.parts.contains("slices") || !s.parts.contains("curvature"),
        "top: the slice eigen needs two eigenvectors, given ", s.top,
        "; --top 2, or leave eigen out of --slices");
  s.normalisation = config.text("normalisation");
  direction_norm(s.normalisation);
  s.grid = at_least(config, "grid", 2);
  s.grid1d = at_least(config, "grid1d", 2);
  s.range = positive(config, "range");
  s.reestimate = config.flag("reestimate");
  read_shard(config, s);
  s.hash = config.hash();
  return s;
}

std::string probe_help() {
  return R"(Actions:
  run RUN...          measures each run (RUN or RUN/ckpt/step-N or RUN/ckpt/best) into RUN/probe
  compare A B [...]   measures what is missing, then sets the runs side by side, two by two (A, B,
                      then further pairs): tables, figures, report.html
  demo                trains a small PointNet twice on the embedded shapes, probes and compares
  selftest            which sharpness measures move under known symmetries of a network

Results: probe.json, tables/*.csv, figures/*.svg (each with its CSV), report.html. A part that is
there already with the same settings is not measured again, so a killed probe goes on where it was.
)";
}

}  // namespace basin::tools
