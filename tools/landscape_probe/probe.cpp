// The parts of a probe in their order.
#include "basin/tools/landscape_probe/detail/probe.h"

#include <algorithm>
#include <new>

#include "basin/tools/landscape_probe/probed.h"
#include "basin/tools/landscape_probe/settings.h"
#include "basin/tools/landscape_probe/watched.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/signals.h"

namespace basin::tools {
namespace {

void measure_part(const PartInfo& part, const PartFiles& files, const Record& identity,
                  const ProbeContext& context) {
  if (files.has(part.name)) {
    files.refuse_other(part.name, identity);
    log_line(str(part.name, ": there already, ", files.file(part.name).string()));
    return;
  }
  const double start = seconds_now();
  log_line(part.name + ": " + context.label());
  part.measure(context, files, identity);
  log_line(str(part.name, ": done in ", duration_text(seconds_now() - start)));
}

}  // namespace

Record identity_of(const Record& facts, const std::string& example, const Config& config,
                   const std::vector<std::string>& settings) {
  Record out = facts;
  for (const std::string& name : settings) {
    const auto setting = std::ranges::find(config.settings(), name, &Setting::name);
    const bool known = setting != config.settings().end();
    if (known && setting->added && config.text(name) == setting->initial) continue;
    out.add(identity_key(name, example), std::string_view(config.text(name)));
  }
  return out;
}

RunDir open_results(const fs::path& dir, const Config& config) {
  if (RunDir::is_run(dir)) return RunDir::open(dir);
  RunDir out = RunDir::create(dir);
  out.write_config(config.to_toml());
  return out;
}

void measure_into(RunDir& run, const Record& facts, const std::string& command,
                  const std::function<void()>& work) {
  Record all = facts;
  run.begin(all.add("program", "landscape_probe").add("command", command));
  try {
    work();
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
}

fs::path probe_run(const std::string& path, const Config& config, const fs::path& out,
                   const std::string& command) {
  const Trained trained = load_probed(path, config);
  fs::path dir = out;
  if (out.empty()) {
    dir = trained.checkpoint ? trained.run / "probe"
                             : fs::path("runs") / ("probe-" + short_name(trained));
  }
  const Record facts = facts_of(trained);
  const PartFiles files(dir);
  const std::vector<const PartInfo*> asked = parts_asked_for(config);
  const auto identity = [&](const PartInfo& part) {
    return identity_of(facts, trained.task.example, config, part.depends_on);
  };
  // Refused before anything is measured.
  for (const PartInfo* part : asked) {
    if (files.has(part->name)) files.refuse_other(part->name, identity(*part));
  }
  const ProbeContext context = probe_context(trained, config, dir);
  if (context.shards > 1) {
    for (const PartInfo& part : parts()) {
      if (part.measure_shard) part.measure_shard(context);
    }
    return dir;
  }
  RunDir run = open_results(dir, config);
  measure_into(run, facts, command, [&] {
    for (const PartInfo* part : asked) measure_part(*part, files, identity(*part), context);
  });
  return dir;
}

}  // namespace basin::tools
