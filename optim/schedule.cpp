// Schedules: pure functions of the step, except plateau, whose state is saved.
#include "basin/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "basin/core/error.h"
#include "basin/core/io.h"
#include "basin/core/lines.h"
#include "basin/core/params.h"

namespace basin {
namespace {

using Kind = ScheduleConfig::Kind;

struct KindInfo {
  const char* name;
  std::vector<std::string> keys;
};
// In the order of Kind; warmup goes with every kind.
const std::vector<KindInfo>& kinds() {
  static const std::vector<KindInfo> table = {
      {"constant", {"warmup"}},
      {"cosine", {"warmup", "floor"}},
      {"step", {"warmup", "gamma", "period"}},
      {"exponential", {"warmup", "gamma", "period"}},
      {"trapezoid", {"warmup", "decay"}},
      {"plateau", {"warmup", "factor", "patience", "cooldown", "threshold", "min_scale"}},
      {"wsd", {"warmup", "decay", "floor", "shape"}},
  };
  return table;
}

const std::vector<std::string> kShapes{"linear", "sqrt", "cosine"};  // in the order of Shape

std::string near_hint(std::string_view word, const std::vector<std::string>& known) {
  const std::string near = nearest_name(word, known);
  return near.empty() ? "" : "; did you mean '" + near + "'?";
}

double parse_number(const std::string& key, const std::string& text) {
  double value = 0;
  check(parse_double(text, value) && std::isfinite(value), "schedule: ", key,
        " must be a number, got '", text, "'");
  return value;
}

void set_key(ScheduleConfig& c, const std::string& key, const std::string& value, int64_t total,
             int64_t per_epoch) {
  if (key == "warmup") c.warmup = parse_length(str("schedule: ", key), value, total, per_epoch);
  if (key == "period") c.period = parse_length(str("schedule: ", key), value, total, per_epoch);
  if (key == "decay") c.decay = parse_length(str("schedule: ", key), value, total, per_epoch);
  if (key == "floor") c.floor = parse_number(key, value);
  if (key == "gamma") c.gamma = parse_number(key, value);
  if (key == "factor") c.factor = parse_number(key, value);
  if (key == "threshold") c.threshold = parse_number(key, value);
  if (key == "min_scale") c.min_scale = parse_number(key, value);
  if (key == "shape") {
    const auto it = std::find(kShapes.begin(), kShapes.end(), value);
    check(it != kShapes.end(), "schedule: shape must be linear, sqrt or cosine, got '", value, "'");
    c.shape = static_cast<ScheduleConfig::Shape>(it - kShapes.begin());
  }
  if (key == "patience" || key == "cooldown") {
    int64_t count = 0;
    check(parse_int64(value, count) && count >= 0, "schedule: ", key,
          " must be a count of epochs, got '", value, "'");
    (key == "patience" ? c.patience : c.cooldown) = count;
  }
}

}  // namespace

int64_t parse_length(std::string_view what, std::string text, int64_t total_steps,
                     int64_t steps_per_epoch) {
  const std::string given = text;
  double unit = 1;
  if (text.ends_with('e')) unit = static_cast<double>(steps_per_epoch);
  if (text.ends_with('%')) unit = static_cast<double>(total_steps) / 100;
  if (text.ends_with('e') || text.ends_with('%')) text.pop_back();
  double value = 0;
  check(parse_double(text, value) && value >= 0 && value * unit < 9e15, what,
        " must be a number of steps, epochs (20e) or a share (10%), got '", given, "'");
  check(!given.ends_with('%') || value <= 100, what, " must be a share of at most 100%, got '",
        given, "'");
  return std::llround(value * unit);
}

ScheduleConfig parse_schedule(std::string_view text, int64_t total_steps, int64_t steps_per_epoch) {
  const size_t colon = text.find(':');
  const std::string name(text.substr(0, colon));
  std::vector<std::string> names;
  for (const KindInfo& k : kinds()) names.emplace_back(k.name);
  const auto it = std::find(names.begin(), names.end(), name);
  check(it != names.end(), "schedule: no schedule '", name, "'", near_hint(name, names));
  ScheduleConfig c;
  const size_t kind = static_cast<size_t>(it - names.begin());
  c.kind = static_cast<Kind>(kind);
  c.total = total_steps;
  c.decay = total_steps / 5;
  const auto rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  for (const std::string& item : comma_list(rest)) {
    const size_t eq = item.find('=');
    const std::string key = item.substr(0, eq);
    const std::vector<std::string>& keys = kinds()[kind].keys;
    check(std::find(keys.begin(), keys.end(), key) != keys.end(), "schedule: ", name,
          " has no option '", key, "'", [&] { return near_hint(key, keys); });
    set_key(c, key, eq == std::string::npos ? "" : item.substr(eq + 1), total_steps,
            steps_per_epoch);
  }
  Schedule{c};  // validates
  return c;
}

std::string schedule_help() {
  const ScheduleConfig d;
  TextWriter out;
  out << "constant; cosine:floor=" << d.floor << "; step:gamma=" << d.gamma
      << ",period=" << d.period << "; exponential:gamma=" << d.gamma << ",period=" << d.period
      << "; trapezoid:decay=20%; plateau:factor=" << d.factor << ",patience=" << d.patience
      << ",cooldown=" << d.cooldown << ",threshold=" << d.threshold << ",min_scale=" << d.min_scale
      << "; wsd:decay=20%,floor=" << d.floor << ",shape=" << kShapes[static_cast<size_t>(d.shape)]
      << "; any of them with warmup=0. Lengths are steps, epochs (20e) or a share (10%).";
  return out.str();
}

Schedule::Schedule(const ScheduleConfig& config) : config_(config) {
  const ScheduleConfig& c = config_;
  check(c.warmup >= 0, "schedule: warmup must be at least 0, got ", c.warmup);
  check(c.floor >= 0 && c.floor <= 1, "schedule: floor must be from 0 to 1, got ", c.floor);
  check(c.gamma > 0, "schedule: gamma must be above 0, got ", c.gamma);
  check(c.period > 0, "schedule: period must be at least 1 step, got ", c.period);
  check(c.factor > 0 && c.factor < 1, "schedule: factor must be between 0 and 1, got ", c.factor);
  check(c.threshold >= 0 && c.min_scale >= 0 && c.min_scale <= 1,
        "schedule: threshold must be at least 0 and min_scale from 0 to 1, got ", c.threshold,
        " and ", c.min_scale);
  check(c.patience >= 0 && c.cooldown >= 0, "schedule: patience and cooldown must be at least 0");
  const bool ends = c.kind == Kind::trapezoid || c.kind == Kind::wsd;
  if (c.kind == Kind::cosine || ends) {
    check(c.total > c.warmup, "schedule: needs more steps than the warm-up of ", c.warmup, ", got ",
          c.total);
  }
  if (ends) {
    check(c.decay >= 0 && c.warmup + c.decay <= c.total, "schedule: warm-up ", c.warmup,
          " and decay ", c.decay, " do not fit into ", c.total, " steps");
  }
}

namespace {

double decay_shape(ScheduleConfig::Shape shape, double u) {
  switch (shape) {
    case ScheduleConfig::Shape::linear: return 1 - u;
    case ScheduleConfig::Shape::sqrt: return 1 - std::sqrt(u);
    case ScheduleConfig::Shape::cosine: break;
  }
  return (1 + std::cos(std::numbers::pi * u)) / 2;
}

}  // namespace

double Schedule::base(int64_t t) const {
  const ScheduleConfig& c = config_;
  const double x = static_cast<double>(t), total = static_cast<double>(c.total - c.warmup);
  switch (c.kind) {
    case Kind::constant: return 1;
    case Kind::cosine:
      return c.floor +
             (1 - c.floor) * (1 + std::cos(std::numbers::pi * std::min(x, total) / total)) / 2;
    case Kind::step: {
      const int64_t drops = t / c.period;
      return std::pow(c.gamma, static_cast<double>(drops));
    }
    case Kind::exponential: return std::pow(c.gamma, x / static_cast<double>(c.period));
    case Kind::trapezoid:
      if (c.decay == 0 || x <= total - static_cast<double>(c.decay)) return 1;
      return std::max(0.0, (total - x) / static_cast<double>(c.decay));
    case Kind::wsd: {
      const double length = static_cast<double>(c.decay);
      if (c.decay == 0 || x <= total - length) return 1;
      return c.floor +
             (1 - c.floor) * decay_shape(c.shape, std::min(1.0, (x - total) / length + 1));
    }
    case Kind::plateau: break;
  }
  return plateau_scale_;
}

double Schedule::scale(int64_t step) const {
  check(step >= 0, "schedule: expects a step of at least 0, got ", step);
  const int64_t w = config_.warmup;
  if (step < w) return base(0) * static_cast<double>(step + 1) / static_cast<double>(w);
  return base(step - w);
}

void Schedule::observe(double metric) {
  if (config_.kind != Kind::plateau) return;
  // NaN never improves on anything.
  if (!has_best_ ? !std::isnan(metric) : metric < best_ - config_.threshold * std::abs(best_)) {
    best_ = metric;
    has_best_ = true;
    bad_ = 0;
  } else {
    ++bad_;
  }
  if (cooling_ > 0) {
    --cooling_;
    bad_ = 0;
  }
  if (bad_ > config_.patience) {
    plateau_scale_ = std::max(plateau_scale_ * config_.factor, config_.min_scale);
    cooling_ = config_.cooldown;
    bad_ = 0;
  }
}

std::map<std::string, std::string> Schedule::save() const {
  const auto exact = [](double v) {
    TextWriter out;
    out.precision(17);
    out << v;
    return out.str();
  };
  std::map<std::string, std::string> state{
      {"kind", kinds()[static_cast<size_t>(config_.kind)].name}};
  if (config_.kind != Kind::plateau) return state;
  state["bad"] = str(bad_);
  state["cooling"] = str(cooling_);
  state["scale"] = exact(plateau_scale_);
  if (has_best_) state["best"] = exact(best_);
  return state;
}

void Schedule::load(const std::map<std::string, std::string>& state) {
  const auto text = [&](const char* key) {
    const auto it = state.find(key);
    if (it == state.end()) fail(ErrorKind::data, "schedule: the state to load has no '", key, "'");
    return it->second;
  };
  const std::string kind = kinds()[static_cast<size_t>(config_.kind)].name;
  if (text("kind") != kind) {
    fail(ErrorKind::data, "schedule: the state to load is of '", text("kind"), "', not of '", kind,
         "'");
  }
  if (config_.kind != Kind::plateau) return;
  int64_t bad = 0, cooling = 0;
  double scale = 0, best = 0;
  const bool has_best = state.contains("best");
  if (!parse_int64(text("bad"), bad) || !parse_int64(text("cooling"), cooling) ||
      !parse_double(text("scale"), scale) || (has_best && !parse_double(text("best"), best))) {
    fail(ErrorKind::data, "schedule: the state to load holds something that is not a number");
  }
  bad_ = bad;
  cooling_ = cooling;
  plateau_scale_ = scale;
  best_ = best;
  has_best_ = has_best;
}

}  // namespace basin
