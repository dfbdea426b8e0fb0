// The program study with stubs in place of a training program and a probe: killed and gone on with,
// refused, its plan, and scripts for Slurm.
#include <algorithm>
#include <cmath>

#include "basin/tests/tools/study_file.h"
#include "basin/tools/study/report.h"

namespace basin::tools {
namespace {

// Stubs of a training program and of a probe: numbers from a checksum of their settings, a run
// directory, a few hundredths of a second.
void write_stubs(const fs::path& bin) {
  fs::create_directories(bin);
  const std::string head = R"sh(#!/bin/bash
settings=() out= json= lr= data=
while [ $# -gt 0 ]; do
  case $1 in
    --set) settings+=("$2") && case $2 in lr=*) lr=${2#lr=} ;; data=*) data=${2#data=} ;; esac && shift ;;
    --out) out=$2 && shift ;;
    --json) json=$2 && shift ;;
    run) settings+=("$(cat "$2/value")") && shift ;;
  esac
  shift
done
sum=$(printf '%s\n' "${settings[@]}" | cksum | cut -d' ' -f1)
sleep 0.03
)sh";
  write_file_atomic(bin / "stub", head +
                                      R"sh(mkdir -p "$out"
echo '{"exit_reason": "completed"}' >"$out/run.json"
echo "$sum" >"$out/value"
case $lr in 0.1) echo "stub: loss is nan" >&2 && exit 4 ;; esac
echo "{\"completed\": true, \"data\": \"$data\", \"dtype\": \"f32\", \"best_val_value\": 0.$sum, \"best_val_accuracy\": 0.$sum}" >"$json"
)sh");
  write_file_atomic(bin / "stub_probe", head + R"sh(echo "{\"lambda_max\": $sum}" >"$json"
)sh");
  for (const char* name : {"stub", "stub_probe"}) {
    fs::permissions(bin / name, fs::perms::owner_all);
  }
}

}  // namespace

TEST_CASE("study run: killed again and again, the tables are the bytes of an undisturbed study") {
  const test::TempDir dir;
  write_stubs(dir / "bin");
  write_file_atomic(dir / "two.toml", replaced(kFile, "[0, 1, 2, 3]", "[0, 1]"));
  const auto run = [&](const std::string& out, const std::string& before) {
    const std::string command =
        str("cd '", dir.path().string(), "' && ", before, " '", BASIN_BIN_DIR,
            "/study' run two.toml --programs bin --jobs 4 --out ", out, " >", out, ".txt 2>", out,
            ".log");
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  const int whole = run("whole", "");
  INFO(read_text_file(dir / "whole.log"));
  REQUIRE(whole == 0);
  int64_t killed = 0;
  for (const char* seconds : {"0.1", "0.25", "0.15", "0.3", "0.2"}) {
    killed += run("parts", str("timeout -s KILL ", seconds)) != 0;
  }
  CHECK(killed == 5);
  REQUIRE(run("parts", "") == 0);
  for (const char* table : {"results", "contrasts", "search", "runs"}) {
    const std::string name = str("tables/", table, ".csv");
    INFO(name);
    CHECK(read_text_file(dir / "whole" / name) == read_text_file(dir / "parts" / name));
  }
  for (const auto& entry : fs::directory_iterator(dir / "whole" / "records")) {
    if (entry.path().extension() != ".json") continue;
    const RecordFields record = parse_record(read_text_file(entry.path()), entry.path().string());
    CHECK(record.number("job_seconds") > 0);
    CHECK(record.number("job_cpu_seconds") > 0);
  }
  const std::string status = run_built(dir, "study", "status two.toml --out parts").out;
  INFO(status);
  CHECK(contains(status, "32 of 32 jobs done"));
  CHECK(contains(status, "nothing is running"));
  // A report elsewhere reads the same records, and leaves nothing beside them.
  fs::remove_all(dir / "parts" / "tables");
  REQUIRE(run_built(dir, "study", "report two.toml --out parts --report apart/page").code == 0);
  CHECK(read_text_file(dir / "whole" / "tables/results.csv") ==
        read_text_file(dir / "apart" / "page" / "tables/results.csv"));
  CHECK(fs::exists(dir / "apart" / "page" / "report.html"));
  CHECK_FALSE(fs::exists(dir / "parts" / "tables"));

  SUBCASE("shards do it too") {
    CHECK(run("shards", "true &&") == 0);
    const auto shard = [&](const std::string& which) {
      return run_built(
                 dir, "study",
                 "run two.toml --programs bin --jobs 4 --no-report --out sharded --shard " + which)
          .code;
    };
    // Every stage needs the whole of the one before it.
    for (int round = 0; round < 3; ++round) {
      CHECK(shard("0/2") == 0);
      CHECK(shard("1/2") == 0);
    }
    CHECK(run_built(dir, "study", "report two.toml --out sharded").code == 0);
    CHECK(read_text_file(dir / "whole" / "tables/results.csv") ==
          read_text_file(dir / "sharded" / "tables/results.csv"));
  }
  SUBCASE("two programs at once share the work") {
    const std::string both = str(
        "cd '", dir.path().string(), "' && for i in 1 2; do '", BASIN_BIN_DIR,
        "/study' run two.toml --programs bin --jobs 2 --no-report --out shared 2>s$i.log & done; "
        "wait");
    REQUIRE(std::system(both.c_str()) == 0);
    CHECK(run_built(dir, "study", "report two.toml --out shared").code == 0);
    CHECK(read_text_file(dir / "whole" / "tables/runs.csv") ==
          read_text_file(dir / "shared" / "tables/runs.csv"));
    int64_t here[2] = {0, 0};
    for (int i = 0; i < 2; ++i) {
      const std::string log = read_text_file(dir / str("s", i + 1, ".log"));
      const size_t at = log.find("study: ");
      REQUIRE(at != log.npos);
      parse_int64(log.substr(at + 7, log.find(' ', at + 7) - at - 7), here[i]);
    }
    CHECK(here[0] + here[1] == 32);
    CHECK(here[0] > 0);
    CHECK(here[1] > 0);
  }
}

TEST_CASE("study run: records say which data, not where this machine has them") {
  const test::TempDir dir;
  write_stubs(dir / "bin");
  write_file_atomic(dir / "two.toml", std::string_view(kFile));
  const Finished f = run_built(dir, "study",
                               "run two.toml --programs bin --jobs 1 --limit-jobs 1 --no-report "
                               "--data /a/folder/of/mine --out o");
  INFO(f.err);
  REQUIRE(f.code == 0);
  int64_t records = 0;
  for (const auto& entry : fs::directory_iterator(dir / "o" / "records")) {
    const std::string text = read_text_file(entry.path());
    CHECK(contains(text, "\"data\": \"none\""));
    CHECK_FALSE(contains(text, "/a/folder"));
    ++records;
  }
  CHECK(records == 1);
}

TEST_CASE("study run: faults of a job end it with one sentence and its exit code") {
  const test::TempDir dir;
  write_stubs(dir / "bin");
  write_file_atomic(dir / "two.toml", std::string_view(kFile));
  const auto refused = [&](const std::string& arguments, int code, const std::string& words) {
    const Finished f = run_built(dir, "study", arguments);
    INFO(f.err);
    CHECK(f.code == code);
    CHECK(contains(f.err, words));
  };
  refused("run two.toml", 2, "was not found");  // no such program beside study
  write_file_atomic(dir / "bin" / "stub",
                    std::string_view("#!/bin/bash\necho 'stub: no data' >&2\nexit 3\n"));
  fs::permissions(dir / "bin" / "stub", fs::perms::owner_all);
  refused("run two.toml --programs bin --out o", 3, "stub: no data");
  CHECK(fs::is_empty(dir / "o" / "claims"));
  refused("run missing.toml", 3, "missing.toml");
  refused("walk two.toml", 2, "'walk'");
  refused("run", 2, "a file");
  refused("status two.toml --out nowhere", 2, "nowhere");
  CHECK_FALSE(fs::exists(dir / "nowhere"));
  refused("run two.toml --shard 2/2", 2, "--shard");
  refused("submit two.toml", 2, "--slurm");
}

TEST_CASE("study: one network at a time has the jobs that it has in the whole study") {
  const test::TempDir dir;
  write_file_atomic(dir / "two.toml", std::string_view(kFile));
  const auto plan = [&](const std::string& flags) {
    const Finished f = run_built(dir, "study", "run two.toml --dry-run" + flags);
    INFO(f.err);
    REQUIRE(f.code == 0);
    std::vector<std::string> lines;
    TextReader in(f.out);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  };
  const std::vector<std::string> all = plan(""), wide = plan(" --models wide"),
                                 both = plan(" --models wide,small");
  CHECK(both == all);
  REQUIRE(wide.size() == 9);  // 2 x 4 cells and the last line
  CHECK(all.size() == 17);
  for (size_t i = 0; i + 1 < wide.size(); ++i) {
    CHECK(std::find(all.begin(), all.end(), wide[i]) != all.end());
  }
  CHECK(contains(wide.back(), "0 of 24 jobs"));  // 8 cells, 8 trainings, 8 probes
  CHECK(contains(all.back(), "0 of 48 jobs"));
  const Finished unknown = run_built(dir, "study", "run two.toml --dry-run --models wid");
  CHECK(unknown.code == 2);
  CHECK(contains(unknown.err, "has no network 'wid'"));
  CHECK(contains(unknown.err, "did you mean 'wide'"));
  const Finished script =
      run_built(dir, "study", "submit two.toml --slurm --dry-run --models wide --out o");
  REQUIRE(script.code == 0);
  CHECK(contains(read_text_file(dir / "o" / "slurm" / "work.sh"), "--models wide"));
}

TEST_CASE("study submit: scripts for Slurm") {
  const test::TempDir dir;
  write_file_atomic(dir / "two.toml", std::string_view(kFile));
  const Finished f = run_built(
      dir, "study", "submit two.toml --slurm --dry-run --tasks 7 --partition long --out o");
  INFO(f.err);
  REQUIRE(f.code == 0);
  const std::string work = read_text_file(dir / "o" / "slurm" / "work.sh");
  CHECK(contains(work, "--array=1-7"));
  CHECK(contains(work, "--partition=long"));
  CHECK(contains(work, " run "));
  CHECK(contains(read_text_file(dir / "o" / "slurm" / "report.sh"), " report "));
  CHECK(std::system(str("bash -n '", (dir / "o" / "slurm" / "work.sh").string(), "'").c_str()) ==
        0);
  // A path that a shell would read otherwise.
  const Finished odd = run_built(
      dir, "study", "submit two.toml --slurm --dry-run --out \"it's here\" --data \"b c\"");
  INFO(odd.err);
  REQUIRE(odd.code == 0);
  const fs::path script = dir / "it's here" / "slurm" / "work.sh";
  CHECK(contains(read_text_file(script), "it'\\''s here'"));
  CHECK(std::system(str("bash -n \"", script.string(), "\"").c_str()) == 0);
}

}  // namespace basin::tools
