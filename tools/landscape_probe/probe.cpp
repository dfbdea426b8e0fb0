// The parts of a probe in their order: see probe.h.
#include "basin/tools/landscape_probe/probe.h"

#include <new>

#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/run_dir.h"
#include "basin/tools/shell/signals.h"

namespace basin::tools {
namespace {

constexpr double kNoteSeconds = 10;  // between lines that say how far a measurement is

// What the numbers of each part depend on besides the weights and the data.
const std::vector<std::pair<std::string, std::vector<std::string>>> kDependsOn{
    {"ranks", {}},
    {"representations", {"rank_shapes", "rank_interval", "resamples", "seed"}},
    {"curvature",
     {"shapes", "batch", "batch_norm", "dtype", "curvature", "subset", "top", "bottom",
      "lanczos_steps", "tolerance", "estimator", "probes", "trace_error", "density_probes",
      "density_steps", "paper_protocol", "seed"}},
    {"sharpness", {"sharpness_shapes", "batch", "batch_norm", "dtype", "seed"}},
    {"slices",
     {"slices", "normalisation", "slice_shapes", "grid", "grid1d", "range", "reestimate",
      "batch_norm", "dtype", "seed"}},
};

Record identity_of(const Subject& subject, const Config& config,
                   const std::vector<std::string>& keys) {
  Record out = subject.facts();
  for (const std::string& key : keys) out.add("probe_" + key, std::string_view(config.text(key)));
  return out;
}

template <class Measure>
void run_part(const PartFiles& files, const std::string& part, const Record& identity,
              const ProbeContext& context, Measure&& measure) {
  if (files.has(part)) {
    files.refuse_other(part, identity);
    log_line(str(part, ": there already, ", files.file(part).string()));
    return;
  }
  const double start = seconds_now();
  log_line(part + ": " + context.subject.label());
  files.write(part, identity, measure(context));
  log_line(str(part, ": done in ", duration_text(seconds_now() - start)));
}

// The folder of an earlier probe, or a new one.
RunDir open_probe(const fs::path& dir, const Config& config) {
  if (RunDir::is_run(dir)) return RunDir::open(dir);
  RunDir out = RunDir::create(dir);
  out.write_config(config.to_toml());
  return out;
}

}  // namespace

WatchedOperator::WatchedOperator(const SymmetricOperator& inner, std::string label)
    : inner_(inner), label_(std::move(label)), last_(seconds_now()) {}

Tensor WatchedOperator::apply(const Tensor& v) const {
  if (const int signal = stop_signal(); signal != 0) throw StopRequest{signal};
  Tensor out = inner_.apply(v);
  products_ += v.size(0);
  if (seconds_now() - last_ > kNoteSeconds) {
    last_ = seconds_now();
    log_line(str("  ", label_, ": ", products_, " products"));
  }
  return out;
}

fs::path eigenvector_file(const fs::path& probe) { return probe / "eigenvectors.safetensors"; }

fs::path probe_run(const std::string& path, const Config& config, const fs::path& out,
                   const std::string& command) {
  const ProbeSettings settings = probe_settings_from(config);
  const Subject subject(path, config);
  fs::path dir = out.empty() ? subject.run() / "probe" : out;
  const PartFiles files(dir);
  // Refused before anything is measured.
  for (const auto& [part, keys] : kDependsOn) {
    if (settings.parts.contains(part) && files.has(part)) {
      files.refuse_other(part, identity_of(subject, config, keys));
    }
  }
  const ProbeContext context{subject, settings, dir, subject.state().to(settings.dtype)};
  if (settings.shards > 1) {
    measure_slice_shard(context);
    return dir;
  }
  RunDir run = open_probe(dir, config);
  Record facts = subject.facts();
  run.begin(facts.add("program", "landscape_probe").add("command", command));
  try {
    for (const auto& [part, keys] : kDependsOn) {
      if (!settings.parts.contains(part)) continue;
      const Record identity = identity_of(subject, config, keys);
      if (part == "ranks") run_part(files, part, identity, context, measure_ranks);
      if (part == "representations") {
        run_part(files, part, identity, context, measure_representations);
      }
      if (part == "curvature") run_part(files, part, identity, context, measure_curvature);
      if (part == "sharpness") run_part(files, part, identity, context, measure_sharpness);
      if (part == "slices") run_part(files, part, identity, context, measure_slices);
    }
  } catch (const Error& e) {
    run.finish_failed(str("error: ", e.what()), e.exit_code());
    throw;
  } catch (const std::bad_alloc&) {
    run.finish_failed("out of memory", static_cast<int>(ErrorKind::resource));
    throw;
  } catch (const StopRequest& stop) {
    run.finish(signal_name(stop.signal), exit_code_of(stop.signal));
    throw;
  }
  run.finish("completed", 0);
  return dir;
}

}  // namespace basin::tools
