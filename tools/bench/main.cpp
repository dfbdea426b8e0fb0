// bench CASE...: runs the named cases and prints a table each; --json FILE writes every number with
// the record of machine and build. Times are medians over --repeats calls after two to warm up.
#include <iostream>

#include "basin/core/io.h"
#include "basin/core/parallel.h"
#include "basin/core/params.h"
#include "basin/tools/bench/bench.h"
#include "basin/tools/common/cli.h"
#include "basin/tools/common/environment.h"

namespace basin::tools {

const std::vector<BenchCase>& bench_cases() {
  static const std::vector<BenchCase> cases{
      {"peak", "f32 multiply-add peak of the machine", run_peak},
      {"pointnet", "training step and Hessian-vector product of PointNet", run_pointnet},
  };
  return cases;
}

namespace {

std::string case_help() {
  std::string out = "Cases\n";
  for (const BenchCase& c : bench_cases()) out += "  " + c.name + ": " + c.summary + "\n";
  return out + "\n";
}

const BenchCase& find_case(const std::string& name) {
  std::vector<std::string> known;
  for (const BenchCase& c : bench_cases()) {
    if (c.name == name) return c;
    known.push_back(c.name);
  }
  const std::string near = nearest_name(name, known);
  fail(ErrorKind::usage, "no case is called '", name, "'",
       near.empty() ? "; --help lists them" : "; did you mean '" + near + "'?");
}

Config bench_settings() {
  using enum Purpose;
  return Config(
      {{"batch", Kind::integer, "32", "Clouds per step"},
       {"points", Kind::integer, "1024", "Points per cloud"},
       {"hvp_batch", Kind::integer, "8", "Clouds for the Hessian-vector products"},
       {"threads", Kind::text, "1,2", "Numbers of threads, one section each"},
       {"repeats", Kind::integer, "7", "Timed calls of each measurement"},
       {"json", Kind::text, "", "Write every number to this file as one flat JSON object", action}},
      {});
}

BenchOptions options_from(const Config& config) {
  BenchOptions out;
  for (const char* key : {"batch", "points", "hvp_batch", "repeats"}) {
    check(config.integer(key) > 0 && config.integer(key) <= 1000000, config.origin(key), ": ", key,
          " is expected to be positive, given ", config.text(key));
  }
  out.batch = config.integer("batch");
  out.points = config.integer("points");
  out.hvp_batch = config.integer("hvp_batch");
  out.repeats = static_cast<int>(config.integer("repeats"));
  out.threads.clear();
  std::istringstream list(config.text("threads"));
  for (std::string word; std::getline(list, word, ',');) {
    int64_t n = 0;
    check(parse_int64(word, n) && n >= 1 && n <= 256, config.origin("threads"),
          ": expected a comma list of 1 to 256, given '", config.text("threads"), "'");
    out.threads.push_back(static_cast<int>(n));
  }
  check(!out.threads.empty(), config.origin("threads"), ": the list is empty");
  return out;
}

int run(int argc, const char* const* argv) {
  Config config = bench_settings();
  const Program program{"bench", "Times the parts of Basin on this machine.", case_help, "CASE",
                        "names of cases"};
  const CommandLine line = parse_command_line(program, config, argc, argv);
  if (line.done) return 0;
  const BenchOptions options = options_from(config);
  check(!line.positionals.empty(), "expects the names of cases, none given; --help lists them");
  std::vector<const BenchCase*> chosen;
  for (const std::string& name : line.positionals) chosen.push_back(&find_case(name));

  BenchReport report;
  report.json().add("command", command_line(argc, argv)).add("time", utc_now());
  const JsonObject environment = environment_record();
  report.json().append(environment);
  std::cout << environment.pretty();
  for (const BenchCase* c : chosen) c->run(options, report);
  if (const std::string file = config.text("json"); !file.empty()) {
    write_file_atomic(file, report.json().pretty());
  }
  return 0;
}

}  // namespace
}  // namespace basin::tools

int main(int argc, char** argv) {
  return basin::tools::run_program("bench", [&] { return basin::tools::run(argc, argv); });
}
