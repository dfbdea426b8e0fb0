// The file of a slice: a run that is killed anywhere goes on to the same bits, shards join to the
// whole, and files of other questions or damaged ones are refused.
#include "basin/analysis/slice_file.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <limits>

#include "basin/core/error.h"
#include "basin/tests/analysis/slice_problem.h"
#include "basin/tests/core/faults.h"
#include "basin/tests/core/files.h"

namespace basin {
namespace {

using test::TempDir;
using testing::joined_values;
using testing::PlantedQuadratic;
using testing::small_params;

constexpr uint64_t kMost = 1 << 20;

bool same(const Slice& a, const Slice& b) {
  const auto bits = [](const std::vector<double>& u, const std::vector<double>& v) {
    return std::equal(u.begin(), u.end(), v.begin(), v.end(), [](double x, double y) {
      return (std::isnan(x) && std::isnan(y)) ||
             std::bit_cast<uint64_t>(x) == std::bit_cast<uint64_t>(y);
    });
  };
  return a.grid == b.grid && a.asked == b.asked && a.state == b.state && bits(a.loss, b.loss) &&
         bits(a.metric, b.metric) && a.reasons == b.reasons;
}

// A slice with two failed points and an accuracy; `die_at` >= 0: the process is killed when that
// many points are done.
struct Problem {
  ParamList params = small_params(1);
  PlantedQuadratic planted{34, -20};
  SliceRequest request;
  int calls = 0, die_at = -1;

  Problem(int nx, int ny) {
    request.grid = {{"first \"axis\"", 0, 2, nx}, {"b\nb", -0.5, 0.75, ny}};
    request.first = random_direction(params, 3, 0);
    request.second = random_direction(params, 3, 1);
    request.fields = {{"data", "16 of 45 shapes"}};
  }
  SliceFunction function() {
    return [this](const Tensors& at) -> SlicePoint {
      if (calls++ == die_at) std::raise(SIGKILL);
      const double loss = planted.loss(joined_values(at));
      // By place, not by order of the calls, as a network does.
      const double first = at[0].data<double>()[0];
      const auto digit = static_cast<int64_t>(std::abs(first) * 1e3) % 5;
      if (digit == 0) return {std::numeric_limits<double>::quiet_NaN()};
      if (digit == 1) fail(ErrorKind::numerical, "the \"layer\" \\ conv3\tdiverged");
      return {loss, 0.1 * static_cast<double>(digit)};
    };
  }
  Slice run(const fs::path& file = {}, int shard = 0, int shards = 1) {
    SliceRun how;
    how.file = file, how.shard = shard, how.shards = shards;
    return run_slice(params, request, function(), how);
  }
};

TEST_CASE("slice file: reads back to the same bits, failed points with their reasons") {
  const TempDir dir;
  Problem p(7, 3);
  const Slice whole = p.run(dir / "s.jsonl");
  CHECK(p.calls == 21);
  REQUIRE(whole.count(PointState::failed) > 1);
  REQUIRE(whole.count(PointState::done) > 1);
  CHECK(same(read_slice(dir / "s.jsonl"), whole));
  CHECK(same(whole, p.run()));  // with no file at all
  // A finished slice is not computed again; failed points are not retried.
  p.calls = 0;
  CHECK(same(p.run(dir / "s.jsonl"), whole));
  CHECK(p.calls == 0);
  write_slice(dir / "copy.jsonl", whole);
  CHECK(read_text_file(dir / "copy.jsonl", kMost) == read_text_file(dir / "s.jsonl", kMost));
}

TEST_CASE("slice file: an editor's byte-order mark in front changes nothing") {
  const TempDir dir;
  Problem p(7, 3);
  const Slice whole = p.run(dir / "s.jsonl");
  const std::string text = "\xEF\xBB\xBF" + read_text_file(dir / "s.jsonl", kMost);
  write_file_atomic(dir / "marked.jsonl", text);
  CHECK(same(read_slice(dir / "marked.jsonl"), whole));
  // The last line was not finished: the run goes on where the whole ones end.
  write_file_atomic(dir / "marked.jsonl", std::string_view(text).substr(0, text.size() - 9));
  p.calls = 0;
  CHECK(same(p.run(dir / "marked.jsonl"), whole));
  CHECK(p.calls == 1);
  CHECK(read_text_file(dir / "marked.jsonl", kMost) == text);
}

TEST_CASE("slice file: the second value has the name that the question gives it") {
  const TempDir dir;
  Problem p(7, 3);
  CHECK(p.run(dir / "a.jsonl").metric_name() == "accuracy");
  CHECK(read_text_file(dir / "a.jsonl", kMost).find("\"accuracy\":0.") != std::string::npos);
  p.request.fields.emplace_back("metric", "mae");
  const Slice named = p.run(dir / "m.jsonl");
  const std::string text = read_text_file(dir / "m.jsonl", kMost);
  CHECK(text.find("\"mae\":0.") != std::string::npos);
  CHECK(text.find("accuracy") == std::string::npos);
  CHECK(same(read_slice(dir / "m.jsonl"), named));
  CHECK(slice_csv(named).starts_with("ix,iy,x,y,state,loss,mae,reason\n"));
  // A name that is another key of a point would make two of one.
  p.request.fields.back().second = "loss";
  const Slice clash = p.run(dir / "l.jsonl");
  CHECK(clash.metric_name() == "metric");
  CHECK(same(read_slice(dir / "l.jsonl"), clash));
}

TEST_CASE("slice file: killed in the middle of a slice, the next run goes on to the same bits") {
  const TempDir dir;
  Problem p(7, 3);
  p.run(dir / "whole.jsonl");
  for (const int die_at : {0, 1, 9, 20}) {
    const fs::path file = dir / str("killed-", die_at, ".jsonl");
    const pid_t child = ::fork();
    if (child == 0) {
      p.calls = 0, p.die_at = die_at;
      p.run(file);
      std::_Exit(0);
    }
    REQUIRE(child > 0);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGKILL);
    const Slice left = read_slice(file);
    CHECK(left.count(PointState::missing) == 21 - die_at);
    p.calls = 0;
    const Slice resumed = p.run(file);
    CHECK(p.calls == 21 - die_at);  // only what was missing
    CHECK(same(resumed, read_slice(dir / "whole.jsonl")));
    CHECK(read_text_file(file, kMost) == read_text_file(dir / "whole.jsonl", kMost));
  }
}

TEST_CASE("slice file: cut at any byte, the next run goes on to the same bits") {
  const TempDir dir;
  Problem p(3, 2);
  const Slice whole = p.run(dir / "whole.jsonl");
  const std::string text = read_text_file(dir / "whole.jsonl", kMost);
  REQUIRE(text.size() > 500);
  size_t wrong = 0;
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    write_file_atomic(dir / "cut.jsonl", text.substr(0, cut));
    const Slice resumed = p.run(dir / "cut.jsonl");
    const bool equal = same(resumed, whole) && read_text_file(dir / "cut.jsonl", kMost) == text;
    wrong += !equal;
    if (!equal) CHECK_MESSAGE(equal, "cut at byte ", cut);
  }
  CHECK(wrong == 0);
}

TEST_CASE("slice file: three shards join to the whole") {
  const TempDir dir;
  Problem p(7, 3);
  const Slice whole = p.run(dir / "whole.jsonl");
  std::vector<fs::path> parts;
  for (const int shard : {2, 0, 1}) {
    parts.push_back(dir / str("part-", shard, ".jsonl"));
    p.calls = 0;
    const Slice part = p.run(parts.back(), shard, 3);
    CHECK(p.calls == 7);
    CHECK(part.count(PointState::missing) == 14);
  }
  const Slice joined = merge_slices(parts);
  CHECK(same(joined, whole));
  write_slice(dir / "joined.jsonl", joined);
  CHECK(read_text_file(dir / "joined.jsonl", kMost) == read_text_file(dir / "whole.jsonl", kMost));
  // Overlapping parts agree; without one of them points are missing.
  parts.push_back(dir / "whole.jsonl");
  CHECK(same(merge_slices(parts), whole));
  CHECK(merge_slices({parts[0], parts[1]}).count(PointState::missing) == 7);
}

TEST_CASE("slice file: the file of another question is refused, naming the field") {
  const TempDir dir;
  Problem p(3, 2);
  p.run(dir / "s.jsonl");
  const std::string before = read_text_file(dir / "s.jsonl", kMost);
  const auto refuse = [&](const std::string& field, auto&& change) {
    Problem other(3, 2);
    change(other);
    test::check_error(ErrorKind::data, {"s.jsonl", "another slice", field, "there", "here"},
                      [&] { other.run(dir / "s.jsonl"); });
    other.run(dir / "other.jsonl");
    const std::string name = field.substr(0, field.find(" is "));
    test::check_error(ErrorKind::data, {"other.jsonl", "another slice", name}, [&] {
      merge_slices({dir / "s.jsonl", dir / "other.jsonl"});
    });
    fs::remove(dir / "other.jsonl");
  };
  refuse("grid.x.high is '2' there and '2.5'", [](Problem& q) { q.request.grid.x.high = 2.5; });
  refuse("grid.y.count", [](Problem& q) { q.request.grid.y.count = 3; });
  refuse("batch_norm is 'frozen' there and 're-estimated'",
         [](Problem& q) { q.request.batch_norm = BatchStatistics::reestimated; });
  refuse("first.sha256", [](Problem& q) {
    q.request.first.parts[0] = q.request.first.parts[0].clone();
    q.request.first.parts[0].mutable_data<double>()[3] += 1e-15;
  });
  refuse("weights.sha256", [](Problem& q) { q.params[3].value.mutable_data<double>()[1] += 1; });
  refuse("data", [](Problem& q) { q.request.fields[0].second = "all shapes"; });
  Problem more(3, 2);
  more.request.fields.emplace_back("loss", "cross-entropy");
  test::check_error(ErrorKind::data, {"no field 'loss'"}, [&] { more.run(dir / "s.jsonl"); });
  more.request.fields = {{"date", "16 of 45 shapes"}};
  test::check_error(ErrorKind::data, {"the field 'data'"}, [&] { more.run(dir / "s.jsonl"); });
  more.request.fields.clear();
  test::check_error(ErrorKind::data, {"the field 'data'"}, [&] { more.run(dir / "s.jsonl"); });
  CHECK(read_text_file(dir / "s.jsonl", kMost) == before);
}

TEST_CASE("slice file: damage is named with its line") {
  const TempDir dir;
  Problem p(3, 2);
  p.run(dir / "s.jsonl");
  const std::string text = read_text_file(dir / "s.jsonl", kMost);
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  REQUIRE(lines.size() == 7);
  const auto refuse = [&](size_t line, const std::string& now, const std::string& word) {
    std::string changed;
    for (size_t i = 0; i < lines.size(); ++i) changed += (i == line ? now : lines[i]) + "\n";
    write_file_atomic(dir / "d.jsonl", changed);
    const std::vector<std::string> words{"d.jsonl", str("line ", line + 1), word};
    test::check_error(ErrorKind::data, words, [&] { read_slice(dir / "d.jsonl"); });
    test::check_error(ErrorKind::data, words, [&] { p.run(dir / "d.jsonl"); });
    CHECK(read_text_file(dir / "d.jsonl", kMost) == changed);
  };
  refuse(0, "{}", "");
  refuse(0, "{\"basin_slice\":2" + lines[0].substr(16), "version 1");
  std::string head = lines[0];
  head.replace(head.find("16 of 45"), 2, "17");
  refuse(0, head, "SHA-256");
  refuse(3, "", "expected '{'");
  refuse(3, lines[3].substr(0, 20), "");
  refuse(3, "{\"point\":9,\"x\":0,\"y\":0,\"loss\":1}", "expected a point 0 to 5");
  refuse(3, "{\"point\":1.5,\"x\":0,\"y\":0,\"loss\":1}", "expected a point 0 to 5");
  refuse(3, "{\"point\":2,\"x\":0,\"y\":0,\"loss\":1}", "not at its place");
  refuse(3, "{\"point\":2,\"x\":2,\"y\":-0.5,\"loss\":null}", "a loss, or null and a reason");
  refuse(3, "{\"point\":2,\"x\":2,\"y\":-0.5,\"loss\":1,\"failed\":\"why\"}",
         "or null and a reason");
  refuse(3, "{\"point\":2,\"x\":2,\"y\":-0.5,\"loss\":nan}", "finite number");
  refuse(3, "{\"point\":2,\"x\":2,\"y\":-0.5,\"loss\":1,\"colour\":1}", "'colour'");
  refuse(3, "{\"point\":2,\"x\":2,\"y\":-0.5,\"loss\":1,\"failed\":\"\\q\"}", "unknown escape");
  refuse(6, "{\"point\":0,\"x\":0,\"y\":-0.5,\"loss\":12345}", "there twice and differs");
  write_file_atomic(dir / "d.jsonl", std::string_view("ix,iy,loss"));
  test::check_error(ErrorKind::data, {"d.jsonl", "line 1", "head of a slice"},
                    [&] { p.run(dir / "d.jsonl"); });
  test::check_error(ErrorKind::data, {"d.jsonl", "line 1"}, [&] { read_slice(dir / "d.jsonl"); });
}

TEST_CASE("slice file: a head whose SHA-256 is right and whose fields are wrong") {
  const TempDir dir;
  const SliceGrid grid{{"a", 0, 2, 3}, {"b", -0.5, 0.75, 2}};
  const auto refuse = [&](const std::string& field, const std::string& value,
                          const std::string& word) {
    Slice slice(grid, grid_fields(grid));
    for (size_t i = 0; i < slice.asked.size(); ++i) {
      if (slice.asked[i].first != field) continue;
      slice.asked[i].second = value;
      if (value == "absent") slice.asked.erase(slice.asked.begin() + static_cast<ptrdiff_t>(i));
      break;
    }
    write_slice(dir / "h.jsonl", slice);
    INFO(field, " ", value);
    test::check_error(ErrorKind::data, {"h.jsonl: line 1", word},
                      [&] { read_slice(dir / "h.jsonl"); });
  };
  for (const std::string axis : {"grid.x.", "grid.y."}) {
    for (const char* name : {"label", "low", "high", "count"}) {
      refuse(axis + name, "absent", "no field '" + axis + name + "'");
    }
    for (const char* name : {"low", "high", "count"}) {
      refuse(axis + name, "many", "expected numbers as " + axis + "low, high and count");
    }
    refuse(axis + "count", "0", "expected numbers as " + axis);
    refuse(axis + "count", "1000001", "expected numbers as " + axis);
    refuse(axis + "high", "-1e9", "");  // an axis that runs backwards: refused by the grid
  }
  // The head of something else, and of a later version.
  const auto refuse_head = [&](const std::string& line) {
    write_file_atomic(dir / "h.jsonl", line + "\n");
    test::check_error(ErrorKind::data, {"h.jsonl: line 1: expected the head of a slice"},
                      [&] { read_slice(dir / "h.jsonl"); });
  };
  refuse_head("{\"basin_slice\":1}");
  refuse_head("{\"slice\":1,\"sha256\":\"x\"}");
  refuse_head("{\"basin_slice\":1,\"sha1\":\"x\"}");
}

TEST_CASE("slice file: every field of a point, as it may stand and as it may not") {
  const TempDir dir;
  const SliceGrid grid{{"a", 0, 2, 3}, {"b", 0, 1, 2}};
  write_slice(dir / "s.jsonl", Slice(grid, grid_fields(grid)));
  const std::string head = read_text_file(dir / "s.jsonl", kMost);
  const auto read = [&](const std::string& lines) {
    write_file_atomic(dir / "s.jsonl", head + lines);
    return read_slice(dir / "s.jsonl");
  };
  const auto refuse = [&](const std::string& line, const std::string& word) {
    INFO(line);
    test::check_error(ErrorKind::data, {"s.jsonl: line 2", word}, [&] { read(line + "\n"); });
  };
  const std::string start = "{\"point\":4,\"x\":1,\"y\":1,";
  const std::string done = start + "\"loss\":0.25,\"accuracy\":0.5}\n";
  const std::string failed = start + "\"loss\":null,\"failed\":\"\\\"a\\\\b\\u000a\\u001F\"}\n";
  CHECK(read(done).loss.at(4) == 0.25);
  CHECK(read(failed).reasons.at(4) == "\"a\\b\n\x1F");
  CHECK(read(failed + failed).count(PointState::failed) == 1);
  CHECK(read(done + done + "{\"point\":0,\"x").count(PointState::done) == 1);  // a torn last line
  for (const char* escape : {"\\u0020", "\\u00", "\\u00g0", "\\n", "\\"}) {
    refuse(start + "\"loss\":null,\"failed\":\"" + escape + "\"}", "");
  }
  refuse(start + "\"loss\":null,\"failed\":\"\\", "unknown escape");
  refuse(start + "\"loss\":1} ", "the end of the line");
  refuse(start + "\"loss\":1", "expected ','");
  refuse(start + "\"loss\"", "expected ':'");
  refuse(start + "\"loss\":", "a finite number");
  refuse(start + "\"loss\":inf}", "a finite number");
  refuse(start + "\"loss\":1,\"failed\":1}", "'failed'");
  refuse(start + "\"loss\":\"1\"}", "'loss'");
  refuse("{\"point\":null,\"x\":1,\"y\":1,\"loss\":1}", "'point'");
  refuse("{\"point\":-1,\"x\":1,\"y\":1,\"loss\":1}", "point 0 to 5");
  refuse("{\"x\":1,\"y\":1,\"loss\":1}", "point 0 to 5");
  refuse("{\"point\":4,\"x\":1,\"y\":0,\"loss\":1}", "not at its place");
  refuse(start + "\"accuracy\":0.5}", "a loss, or null and a reason");
  refuse(start + "\"loss\":null,\"accuracy\":0.5,\"failed\":\"x\"}", "or null and a reason");

  const auto differs = [&](const std::string& second, const std::string& word) {
    test::check_error(ErrorKind::data,
                      {"s.jsonl: line 3: point 4 is there twice and differs", word},
                      [&] { read(done + second); });
  };
  differs(failed, "loss 0.25 and failed, \"a\\b??");
  differs(start + "\"loss\":0.25,\"accuracy\":0.75}\n", "loss 0.25 and loss 0.25");
  differs(start + "\"loss\":0.25}\n", "loss 0.25 and loss 0.25");
  test::check_error(ErrorKind::data, {"differs: loss 0.25 and loss 0.25"},
                    [&] { read(start + "\"loss\":0.25}\n" + done); });
  // A point without an accuracy is the same whichever NaN says so.
  Slice known = read(done);
  known.metric.at(4) = -std::numeric_limits<double>::quiet_NaN();
  read(start + "\"loss\":0.25}\n");
  CHECK_NOTHROW(SliceFile(dir / "s.jsonl", known));
  test::check_error(ErrorKind::data, {"differs", "failed, other"},
                    [&] { read(failed + start + "\"loss\":null,\"failed\":\"other\"}\n"); });
}

TEST_CASE("slice file: calls that fail, and those that are made again") {
  const TempDir dir;
  Problem p(3, 2);
  const Slice whole = p.run(dir / "s.jsonl");
  const std::string text = read_text_file(dir / "s.jsonl", kMost);
  write_file_atomic(dir / "torn.jsonl", text.substr(0, text.size() - 5));
  {
    const test::Fault fault(test::Call::ftruncate, EIO);
    test::check_error(ErrorKind::output, {"torn.jsonl: cannot be cut"},
                      [&] { p.run(dir / "torn.jsonl"); });
  }
  {
    const test::Fault fault(test::Call::write, EINTR);
    CHECK(same(p.run(dir / "torn.jsonl"), whole));
    CHECK(fault.struck());
  }
  CHECK(read_text_file(dir / "torn.jsonl", kMost) == text);
  {
    const test::Fault fault(test::Call::flock, ENOLCK);  // a network file system without locks
    CHECK(same(p.run(dir / "torn.jsonl"), whole));
    CHECK(fault.struck());
  }
  test::check_error(ErrorKind::usage, {"nothing to merge"}, [] { merge_slices({}); });
}

TEST_CASE("slice file: a full disk in the middle of a line") {
  const TempDir dir;
  Problem p(3, 2);
  Slice slice = p.run();
  SliceFile file(dir / "s.jsonl", slice);
  file.append(slice, 0);
  const auto size = fs::file_size(dir / "s.jsonl");
  // The limit on the size of files stands for the disk; by prlimit, as it is put back below.
  rlimit before{};
  REQUIRE(::prlimit(0, RLIMIT_FSIZE, nullptr, &before) == 0);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  const auto refuse = [&](uint64_t room, const std::string& word) {
    const rlimit tight{size + room, before.rlim_max};
    REQUIRE(::prlimit(0, RLIMIT_FSIZE, &tight, nullptr) == 0);
    test::check_error(ErrorKind::output, {"s.jsonl: cannot be written", word},
                      [&] { file.append(slice, 1); });
    REQUIRE(::prlimit(0, RLIMIT_FSIZE, &before, nullptr) == 0);
  };
  refuse(0, "File too large");
  refuse(5, "no space for a whole line");
  std::signal(SIGXFSZ, ignored);
  CHECK(read_slice(dir / "s.jsonl").count(PointState::missing) == 5);  // the torn line is no point
}

TEST_CASE("slice file: one writer at a time, and places that cannot be written") {
  const TempDir dir;
  Problem p(3, 2);
  Slice slice = p.run(dir / "s.jsonl");
  {
    const SliceFile writer(dir / "s.jsonl", slice);
    test::check_error(ErrorKind::output, {"s.jsonl", "another process is writing"},
                      [&] { p.run(dir / "s.jsonl"); });
  }
  p.run(dir / "s.jsonl");  // free again
  test::check_error(ErrorKind::output, {"none/s.jsonl", "cannot be opened"},
                    [&] { p.run(dir / "none/s.jsonl"); });
}

}  // namespace
}  // namespace basin
