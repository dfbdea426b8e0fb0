// The command line: see cli.h. CLI11 parses; its own exit codes (100 and up) never leave this file.
#include "basin/tools/shell/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <new>

#include "basin/core/log.h"
#include "basin/core/parallel.h"
#include "basin/core/params.h"
#include "basin/core/standard_streams.h"
#include "basin/kernels/gemm.h"
#include "basin/kernels/isa.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/progress.h"

namespace basin::tools {
namespace {

std::string hyphened(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

bool has_dot(const Setting& s) { return s.name.find('.') != s.name.npos; }

std::string flag_name(const Setting& s) {
  return hyphened(s.alias.empty() || !has_dot(s) ? s.name : s.alias);
}

// With the earlier name of a plain setting, for CLI11.
std::string flag_names(const Setting& s) {
  const bool renamed = !s.alias.empty() && !has_dot(s);
  return flag_name(s) + (renamed ? "," + hyphened(s.alias) : "");
}

struct Flags {
  std::vector<std::string> values;    // one per setting
  std::vector<CLI::Option*> options;  // the same order
  std::vector<std::string> files, sets, positionals;
  bool version = false;
};

void declare(CLI::App& app, const Program& program, const Config& config, Flags& flags) {
  const auto& settings = config.settings();
  flags.values.resize(settings.size());
  for (size_t i = 0; i < settings.size(); ++i) {
    const Setting& s = settings[i];
    CLI::Option* option = s.kind == Kind::flag
                              ? app.add_flag(flag_names(s), flags.values[i], s.help)
                              : app.add_option(flag_names(s), flags.values[i], s.help);
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    if (s.kind != Kind::flag) {
      const char* types[] = {"TEXT", "INT", "NUMBER", ""};
      option->type_name(types[static_cast<int>(s.kind)]);
      const std::string shown = program.shown_default ? program.shown_default(s) : s.initial;
      if (!shown.empty()) option->default_str(shown);
    }
    flags.options.push_back(option);
  }
  app.add_option("--config", flags.files, "TOML file with settings (repeatable)")
      ->type_name("FILE")
      ->expected(1)
      ->take_all();
  app.add_option("--set", flags.sets, "KEY=VALUE, one setting (repeatable)")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  app.add_flag("--version", flags.version, "Version, commit, compiler and BLAS");
  app.set_help_flag("-h,--help", "This text");
  app.allow_extras();
  if (!program.positional.empty()) {
    app.add_option(program.positional, flags.positionals, program.positional_help)->expected(-1);
  }
}

// The first word nobody asked for becomes the error sentence.
void refuse_extras(const CLI::App& app, const std::vector<CLI::Option*>& options) {
  const std::vector<std::string> extras = app.remaining();
  if (extras.empty()) return;
  const std::string word = extras[0].substr(0, extras[0].find('='));
  std::vector<std::string> known = {"--config", "--set", "--help", "--version"};
  for (const CLI::Option* option : options) known.push_back(option->get_name());
  const std::string near = nearest_name(word, known);
  fail(ErrorKind::usage, word.starts_with("-") ? "unknown option " : "unexpected argument ", "'",
       word, "'",
       near.empty() || !word.starts_with("-") ? "; --help lists the options"
                                              : "; did you mean " + near + "?");
}

void fill(Config& config, const Flags& flags) {
  for (const std::string& file : flags.files) config.load_toml(file);
  config.load_environment();
  for (const std::string& pair : flags.sets) {
    const size_t equals = pair.find('=');
    check(equals != pair.npos && equals > 0, "--set: expected KEY=VALUE, given '", pair, "'");
    config.set(pair.substr(0, equals), pair.substr(equals + 1), Layer::set, "--set");
  }
  for (size_t i = 0; i < flags.options.size(); ++i) {
    if (flags.options[i]->count() == 0) continue;
    const Setting& s = config.settings()[i];
    config.set(s.name, flags.values[i], Layer::flag, flag_name(s));
  }
}

}  // namespace

const char* const kExitCodeHelp =
    "Precedence: flag > --set > environment BASIN_* > --config file > preset > default.\n"
    "Exit codes: 0 ok, 1 internal, 2 usage, 3 bad input data, 4 numerical failure, 5 out of memory "
    "or\n  device, 6 output exists or cannot be written, 75 stopped by a signal after a "
    "checkpoint, "
    "130\n  interrupt.\n";

CommandLine parse_command_line(const Program& program, Config& config, int argc,
                               const char* const* argv) {
  CLI::App app(program.summary, program.name);
  Flags flags;
  declare(app, program, config, flags);
  CommandLine out;
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help() << '\n' << (program.details ? program.details() : "") << kExitCodeHelp;
    out.done = true;
    return out;
  } catch (const CLI::ParseError& e) {
    fail(ErrorKind::usage, e.what());
  }
  if (flags.version) {
    std::cout << version_line(program.name);
    out.done = true;
    return out;
  }
  refuse_extras(app, flags.options);
  fill(config, flags);
  out.positionals = flags.positionals;
  return out;
}

std::string flag_value(const std::string& flag, int argc, const char* const* argv) {
  std::string found;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == flag && i + 1 < argc) found = argv[i + 1];
    if (word.starts_with(flag + "=")) found = word.substr(flag.size() + 1);
  }
  return found;
}

int run_program(const std::string& name, const std::function<int()>& body) {
  const auto report = [&](const char* sentence) {
    std::cout.flush();
    std::cerr << name << ": " << sentence << std::endl;
  };
  try {
    hold_standard_streams();
    for (std::ostream* stream : {&std::cout, &std::cerr}) stream->imbue(std::locale::classic());
    isa_name();  // a wrong BASIN_ISA is told before anything is read or written
    const int code = body();
    std::cout.flush();
    if (!std::cout) fail(ErrorKind::output, "standard output: cannot be written");
    return code;
  } catch (const Error& e) {
    report(e.what());
    return e.exit_code();
  } catch (const std::bad_alloc&) {
    report("memory: exhausted; try a smaller --batch or --points");
    return static_cast<int>(ErrorKind::resource);
  } catch (const std::exception& e) {
    report(e.what());
    return static_cast<int>(ErrorKind::internal);
  } catch (...) {
    report("an unknown exception");
    return static_cast<int>(ErrorKind::internal);
  }
}

std::vector<Setting> shared_settings() {
  using enum Purpose;
  return {
      {"seed", Kind::integer, "0", "Seed of everything random", result},
      {"threads", Kind::integer, "0", "Threads; 0: one per core. Never changes a result", record},
      {"device", Kind::text, "cpu", "cpu, cuda or cuda:0", result},
      {"tf32", Kind::flag, "false", "Let a GPU round the factors of f32 products to TF32", record},
      {"json", Kind::text, "", "Write the results to this file as one flat JSON object", action},
      {"quiet", Kind::flag, "false", "No log on stderr", action},
      {"print_config", Kind::flag, "false", "Print every setting with its source, and stop",
       action},
  };
}

void apply_shared_settings(const Config& config) {
  const int64_t threads = config.integer("threads");
  check(threads >= 0 && threads <= 256, config.origin("threads"),
        ": threads is expected to be 0 to 256, given ", threads);
  if (threads > 0) set_num_threads(static_cast<int>(threads));
  check(config.integer("seed") >= 0, config.origin("seed"), ": seed is expected to be 0 or more");
  set_verbosity(config.flag("quiet") ? Verbosity::quiet : Verbosity::normal);
  set_log_sink([](LogLevel level, const std::string& message) {
    if (level == LogLevel::warning) warning_line(message);
    if (level == LogLevel::info) log_line(message);
  });
  choose_device(config);
}

void choose_device(const Config& config) {
  Device device = Device::cpu;
  try {
    device = device_from_name(config.text("device"));
  } catch (const Error& e) {
    fail(e.kind(), config.origin("device"), ": ", e.what());
  }
  require_device(device);
  allow_tf32(config.flag("tf32"));
}

void check_json_target(const Config& config) {
  const fs::path file = config.text("json");
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  std::error_code error;
  if (!file.empty() && !fs::is_directory(folder, error)) {
    fail(ErrorKind::output, config.origin("json"), ": the folder ", folder.string(),
         " does not exist");
  }
}

}  // namespace basin::tools
