// Schedules at listed points, warm-up composition, plateau and its state, parsing.
#include "basin/optim/schedule.h"

#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

namespace {

Schedule make(std::string_view text, int64_t total = 100, int64_t per_epoch = 1) {
  return Schedule(parse_schedule(text, total, per_epoch));
}

void check_points(const Schedule& s, const std::vector<std::pair<int64_t, double>>& points) {
  for (const auto& point : points) {
    CAPTURE(point.first);
    CHECK(std::abs(s.scale(point.first) - point.second) < 1e-14);
  }
}

}  // namespace

TEST_CASE("schedule: constant, cosine, step, exponential, trapezoid") {
  check_points(make("constant"), {{0, 1}, {1000, 1}});
  check_points(make("cosine"),
               {{0, 1}, {25, 0.5 + std::sqrt(0.125)}, {50, 0.5}, {100, 0}, {150, 0}});
  check_points(make("cosine:floor=0.1"), {{0, 1}, {50, 0.55}, {100, 0.1}, {101, 0.1}});
  check_points(make("step:gamma=0.5,period=20"),
               {{0, 1}, {19, 1}, {20, 0.5}, {59, 0.25}, {60, 0.125}});
  check_points(make("exponential:gamma=0.9,period=2000"),
               {{0, 1}, {1000, std::sqrt(0.9)}, {2000, 0.9}, {6000, 0.729}});
  check_points(make("trapezoid:warmup=10,decay=20"),
               {{0, 0.1}, {9, 1}, {10, 1}, {80, 1}, {85, 0.75}, {90, 0.5}, {100, 0}, {120, 0}});
}

TEST_CASE("schedule: warm-up, stable, decay in three shapes") {
  check_points(make("wsd:warmup=10,decay=20,shape=linear"),
               {{0, 0.1}, {10, 1}, {80, 1}, {85, 0.75}, {100, 0}, {120, 0}});
  check_points(make("wsd:decay=20"), {{0, 1}, {80, 1}, {85, 0.5}, {100, 0}, {101, 0}});
  check_points(make("wsd:decay=20,shape=cosine,floor=0.2"),
               {{80, 1}, {90, 0.6}, {100, 0.2}, {500, 0.2}});
  check_points(make("wsd:decay=0"), {{0, 1}, {100, 1}});
  CHECK(error_of([] { parse_schedule("wsd:shape=round", 100); }, ErrorKind::usage) ==
        "schedule: shape must be linear, sqrt or cosine, got 'round'");
}

TEST_CASE("schedule: linear warm-up precedes any schedule") {
  check_points(make("constant:warmup=4"), {{0, 0.25}, {1, 0.5}, {2, 0.75}, {3, 1}, {4, 1}});
  check_points(make("cosine:warmup=20"), {{0, 0.05}, {19, 1}, {20, 1}, {60, 0.5}, {100, 0}});
  check_points(make("step:gamma=0.1,period=10,warmup=5"), {{4, 1}, {5, 1}, {14, 1}, {15, 0.1}});
}

TEST_CASE("schedule: plateau lowers after more than `patience` bad metrics") {
  Schedule s = make("plateau:factor=0.1,patience=2,cooldown=1,min_scale=0.005");
  s.observe(1.0);
  for (double metric : {1.0, 0.99995})
    s.observe(metric);  // below the threshold of 1e-4: not better
  CHECK(s.scale(0) == 1);
  s.observe(1.2);
  CHECK(s.scale(0) == doctest::Approx(0.1).epsilon(1e-15));
  s.observe(2);  // cooldown
  for (int i = 0; i < 2; ++i) s.observe(2);
  CHECK(s.scale(0) == doctest::Approx(0.1).epsilon(1e-15));
  s.observe(0.5);  // better: counting starts again
  for (int i = 0; i < 2; ++i) s.observe(std::nan(""));
  CHECK(s.scale(0) == doctest::Approx(0.1).epsilon(1e-15));
  s.observe(0.5);
  CHECK(s.scale(0) == doctest::Approx(0.01).epsilon(1e-14));
  for (int i = 0; i < 10; ++i) s.observe(0.5);
  CHECK(s.scale(0) == 0.005);
}

TEST_CASE("schedule: plateau resumes from its saved state") {
  const char* text = "plateau:factor=0.3,patience=1";
  Schedule whole = make(text), first = make(text);
  const double metrics[] = {1.0, 0.1 + 0.2, 0.5, 0.6, 0.3, 0.29, 0.4, 0.4, 0.4, 0.2};
  for (int i = 0; i < 10; ++i) {
    whole.observe(metrics[i]);
    first.observe(metrics[i]);
    Schedule second = make(text);
    second.load(first.save());
    first = second;
    CHECK(first.scale(0) == whole.scale(0));
  }
  CHECK(whole.scale(0) < 0.2);
  CHECK(error_of([&] { make("cosine").load(whole.save()); }, ErrorKind::data) ==
        "schedule: the state to load is of 'plateau', not of 'cosine'");
  auto broken = whole.save();
  broken["bad"] = std::string("x");
  CHECK(error_of([&] { whole.load(broken); }, ErrorKind::data) ==
        "schedule: the state to load holds something that is not a number");
  broken.erase("bad");
  CHECK(error_of([&] { whole.load(broken); }, ErrorKind::data) ==
        "schedule: the state to load has no 'bad'");
}

TEST_CASE("schedule: plateau asks for the same improvement of metrics below zero") {
  Schedule s = make("plateau:factor=0.5,patience=0,threshold=0.1");
  s.observe(-1.0);
  CHECK(s.scale(0) == 1);
  s.observe(-1.05);  // not below -1 - 0.1 |-1|
  CHECK(s.scale(0) == 0.5);
  s.observe(-1.2);
  CHECK(s.scale(0) == 0.5);
  s.observe(-1.3);  // not below -1.2 - 0.12
  CHECK(s.scale(0) == 0.25);
}

TEST_CASE("schedule: lengths in epochs and shares, error sentences") {
  CHECK(parse_schedule("step:period=20e", 1000, 7).period == 140);
  CHECK(parse_schedule("cosine:warmup=5%", 1000).warmup == 50);
  CHECK(parse_schedule("trapezoid", 1000).decay == 200);
  const auto message = [](const char* text) {
    return error_of([&] { parse_schedule(text, 100); }, ErrorKind::usage);
  };
  CHECK(message("cosin") == "schedule: no schedule 'cosin'; did you mean 'cosine'?");
  CHECK(message("step:gama=1") == "schedule: step has no option 'gama'; did you mean 'gamma'?");
  CHECK(message("step:gamma=high") == "schedule: gamma must be a number, got 'high'");
  CHECK(message("cosine:warmup=100") ==
        "schedule: needs more steps than the warm-up of 100, got 100");
  CHECK(message("cosine:warmup=200%") ==
        "schedule: warmup must be a share of at most 100%, got '200%'");
  CHECK(message("step:period=0") == "schedule: period must be at least 1 step, got 0");
  CHECK(message("plateau:patience=-1") == "schedule: patience must be a count of epochs, got '-1'");
}
