// bench CASE...: runs the named cases and prints a table each; --json FILE writes every number with
// the record of machine and build. Times are medians over --repeats calls after two to warm up.
#include <algorithm>
#include <iostream>

#include "basin/core/io.h"
#include "basin/core/lines.h"
#include "basin/core/parallel.h"
#include "basin/core/params.h"
#include "basin/tools/bench/bench.h"
#include "basin/tools/bench/compare.h"
#include "basin/tools/bench/curves.h"
#include "basin/tools/bench/network.h"
#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {

const std::vector<BenchCase>& bench_cases() {
  static const std::vector<BenchCase> cases{
      {"peak", "f32 multiply-add peak of the machine", run_peak},
      {"knn", "k nearest neighbours, beside nanoflann's k-d tree where that was found", run_knn},
      {"newton_schulz", "orthogonalisation of matrices, as Muon does it", run_newton_schulz},
      {"top_svd", "leading singular triples, beside the whole decomposition", run_top_svd},
      {"pointnet", "training steps and Hessian-vector products of PointNet", run_pointnet},
      {"dgcnn", "the same of DGCNN, official, k = 20", run_dgcnn},
      {"egnn", "the same of EGNN, d = 64, 4 layers, k = 20", run_egnn},
      {"gotennet", "the same of GotenNet S on molecules of N = 18 atoms", run_gotennet, 18},
      {"gine", "the same of GINE, preset lrgb, on graphs of about N = 151 nodes", run_gine, 151},
      {"pinn", "loss and gradient of Burgers' residual, jets and nested forward mode", run_pinn},
      {"replay", "small steps on the CPU, recorded once and replayed, beside plain ones",
       run_replay},
      {"loader", "batches of point clouds, as training and evaluation ask for them", run_loader},
      {"hvp", "only the Hessian-vector products of the first three, B = 32, N = 256", run_hvp, 256},
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

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

Config bench_settings() {
  using enum Purpose;
  return Config(
      {{"batch", Kind::integer, "32", "Clouds, molecules or graphs per step"},
       {"points", Kind::integer, "0",
        "Points per cloud, atoms per molecule, nodes per graph; 0: the case's own (1024 for "
        "clouds, "
        "in the case hvp 256)"},
       {"k", Kind::integer, "0", "Neighbours of a point; 0: what the case has, 20"},
       {"hvp_batch", Kind::integer, "0",
        "Clouds for the Hessian-vector products; 0: 8 for pointnet, 32 for gine, 4 for the other "
        "networks, the batch in the case hvp"},
       {"dims", Kind::text, "3,64,128", "Dimensions of the case knn"},
       {"parts", Kind::text, "",
        "Parts of a network to measure, a comma list of " + joined(network_parts()) + "; of pinn " +
            joined(pinn_parts()) +
            "; empty: all but profile and replay. One part per process makes the peak resident set "
            "that part's"},
       {"threads", Kind::text, "1,2", "Numbers of threads, one section each"},
       {"device", Kind::text, "cpu", "cpu, cuda or cuda:0; on a GPU --threads does not matter"},
       {"tf32", Kind::flag, "false", "Let a GPU round the factors of f32 products to TF32"},
       {"repeats", Kind::integer, "7", "Timed calls of each measurement"},
       {"export", Kind::text, "",
        "Measure nothing and write what makes a peer the same network on the same batch to this "
        "folder (which is there), MODEL.safetensors: weights, batch, loss and gradient without "
        "dropout",
        action},
       {"sweep", Kind::text, "",
        "NAME=V,V,..: the cases at these values of batch, points or k, with the exponents of time "
        "and peak memory"},
       {"figures", Kind::text, "", "With --sweep: a figure per case in this folder", action},
       {"json", Kind::text, "", "Write every number to this file as one flat JSON object", action}},
      {});
}

std::vector<int64_t> numbers_from(const Config& config, const char* key, int64_t most) {
  std::vector<int64_t> out;
  for (const std::string& word : comma_list(config.text(key))) {
    int64_t n = 0;
    check(parse_int64(word, n) && n >= 1 && n <= most, config.origin(key),
          ": expected a comma list of 1 to ", most, ", given '", config.text(key), "'");
    out.push_back(n);
  }
  check(!out.empty(), config.origin(key), ": the list is empty");
  return out;
}

BenchOptions options_from(const Config& config) {
  const auto in_range = [&](const char* key, int64_t least) {
    const int64_t n = config.integer(key);
    check(n >= least && n <= 1000000, config.origin(key), ": ", key, " is expected in ", least,
          "..1000000, given ", config.text(key));
    return n;
  };
  BenchOptions out;
  out.batch = in_range("batch", 1);
  out.points = in_range("points", 0);
  out.k = in_range("k", 0);
  out.hvp_batch = in_range("hvp_batch", 0);
  out.repeats = static_cast<int>(in_range("repeats", 1));
  choose_device(config);
  out.device = device_from_name(config.text("device"));
  out.threads.clear();
  for (const int64_t n : numbers_from(config, "threads", 256)) {
    out.threads.push_back(static_cast<int>(n));
  }
  out.dims = numbers_from(config, "dims", 100000);
  out.export_to = config.text("export");
  out.parts = comma_list(config.text("parts"));
  std::vector<std::string> known = network_parts();
  known.insert(known.end(), pinn_parts().begin(), pinn_parts().end());
  for (const std::string& part : out.parts) {
    check(std::find(known.begin(), known.end(), part) != known.end(), config.origin("parts"),
          ": no part is called '", part, "'; known: ", joined(known));
  }
  return out;
}

int compare(const std::vector<std::string>& files) {
  check(files.size() == 2, "compare: expects two results that --json wrote, given ", files.size());
  const auto read = [](const std::string& file) {
    return parse_record(read_text_file(file), file);
  };
  std::cout << bench_comparison(read(files[0]), read(files[1]), files[0], files[1]);
  return 0;
}

// Every case at every value, and what that says about its growth.
void run_sweep(const std::vector<const BenchCase*>& cases, const BenchOptions& options,
               const Sweep& sweep, const std::string& figures, const std::string& command,
               BenchReport& report) {
  for (const BenchCase* c : cases) {
    BenchOptions mine = options;
    if (mine.points == 0) mine.points = c->points;
    std::vector<std::vector<BenchRow>> rows;
    for (const int64_t value : sweep.values) {
      BenchReport one;
      c->run(at_value(mine, sweep, value), one);
      rows.push_back(one.rows());
    }
    const std::vector<Curve> curves = curves_of(sweep, rows);
    report.note(
        str("\n", c->name, " over ", sweep.variable, ": exponents of time and peak memory"));
    for (const Curve& curve : curves) {
      report.note(str("  ", curve.key, ": ", fixed_text(curve.time_exponent, 2), ", ",
                      fixed_text(curve.memory_exponent, 2)));
      for (size_t i = 0; i < curve.sizes.size(); ++i) {
        const std::string at = str(curve.key, ".", sweep.variable, sweep.values[i]);
        report.value(at + ".median_ms", 1e3 * curve.seconds[i]);
        report.value(at + ".peak_bytes", curve.bytes[i]);
      }
      report.value(curve.key + ".time_exponent", curve.time_exponent);
      report.value(curve.key + ".memory_exponent", curve.memory_exponent);
    }
    if (figures.empty()) continue;
    write_figure(figures, curves_figure(c->name, sweep, curves, command));
  }
}

int run(int argc, const char* const* argv) {
  Config config = bench_settings();
  const Program program{"bench",
                        "Times the parts of Basin on this machine; compares two results (compare "
                        "A.json B.json).",
                        case_help, "CASE", "names of cases; or compare, then two results"};
  const CommandLine line = parse_command_line(program, config, argc, argv);
  if (line.done) return 0;
  if (!line.positionals.empty() && line.positionals.front() == "compare") {
    return compare({line.positionals.begin() + 1, line.positionals.end()});
  }
  check_json_target(config);
  const BenchOptions options = options_from(config);
  const Sweep sweep = sweep_from(config.text("sweep"), config.origin("sweep"));
  check(!sweep.values.empty() || config.text("figures").empty(), config.origin("figures"),
        ": figures are those of a --sweep, which is not given");
  check(!line.positionals.empty(), "expects the names of cases, none given; --help lists them");
  std::vector<const BenchCase*> chosen;
  for (const std::string& name : line.positionals) chosen.push_back(&find_case(name));

  BenchReport report;
  report.json().add("command", command_line(argc, argv)).add("time", utc_now());
  const Record environment = environment_record();
  report.json().append(environment);
  report.json().append(device_record(options.device));
  std::cout << environment.pretty();
  if (sweep.values.empty()) {
    for (const BenchCase* c : chosen) {
      BenchOptions mine = options;
      if (mine.points == 0) mine.points = c->points;
      c->run(mine, report);
    }
  } else {
    run_sweep(chosen, options, sweep, config.text("figures"), command_line(argc, argv), report);
  }
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
