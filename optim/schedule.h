// Learning-rate schedules as a factor on every group's base rate (StepInfo::lr_scale); t is the
// 0-based step, T the number of steps, w the length of a linear warm-up (t + 1) / w before any of
// them, which then see t - w and T - w:
//   constant 1 | cosine floor + (1 - floor)(1 + cos(pi t / T)) / 2 | step gamma^floor(t / period)
//   exponential gamma^(t / period) | trapezoid 1, then linear to 0 over the last `decay` steps
//   wsd 1, then over the last `decay` steps floor + (1 - floor) f(u), u from 0 to 1 along them:
//       f = 1 - u (linear), 1 - sqrt(u) (sqrt; Haegele et al., arXiv 2405.18392) or
//       (1 + cos(pi u)) / 2 (cosine)
//
//   plateau: times `factor` once more than `patience` metrics in a row fail to beat
//            best - threshold |best|, not below min_scale, then `cooldown` metrics are not counted.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace basin {

struct ScheduleConfig {
  enum class Kind : uint8_t { constant, cosine, step, exponential, trapezoid, plateau, wsd };
  enum class Shape : uint8_t { linear, sqrt, cosine };
  Kind kind = Kind::constant;
  int64_t total = 0;   // T; needed by cosine, trapezoid and wsd
  int64_t warmup = 0;  // w
  double floor = 0;
  double gamma = 0.1;
  int64_t period = 1;
  int64_t decay = 0;
  Shape shape = Shape::sqrt;
  double factor = 0.1;
  int64_t patience = 10;
  int64_t cooldown = 0;
  double threshold = 1e-4;
  double min_scale = 0;
};

// "200" steps, "20e" (epochs of steps_per_epoch steps) or "10%" (a share of the total), in steps;
// usage error naming `what`.
int64_t parse_length(std::string_view what, std::string text, int64_t total_steps,
                     int64_t steps_per_epoch);

// "cosine", "cosine:floor=0.01,warmup=100", "step:gamma=0.7,period=20e" - a length ending in e
// counts epochs of steps_per_epoch steps, one ending in % is a share of the total. usage errors
// name the nearest.
ScheduleConfig parse_schedule(std::string_view text, int64_t total_steps,
                              int64_t steps_per_epoch = 1);
std::string schedule_help();

class Schedule {
 public:
  Schedule() : Schedule(ScheduleConfig{}) {}
  explicit Schedule(const ScheduleConfig& config);  // usage errors
  double scale(int64_t step) const;                 // lr_scale of that step
  void observe(
      double metric);  // plateau: one metric (lower is better) per epoch; ignored by the others
  const ScheduleConfig& config() const { return config_; }

  std::map<std::string, std::string> save() const;
  void load(const std::map<std::string, std::string>& state);  // data error when it does not fit

 private:
  double base(int64_t t) const;
  ScheduleConfig config_;
  double best_ = 0;
  bool has_best_ = false;
  int64_t bad_ = 0;
  int64_t cooling_ = 0;
  double plateau_scale_ = 1;
};

}  // namespace basin
