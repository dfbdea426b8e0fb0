// L-BFGS over the flat vector of all parameters.
#include "basin/optim/detail/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/optim/detail/builtin.h"
#include "basin/optim/detail/line_search.h"

namespace basin {
namespace {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

void add(std::vector<double>& a, double factor, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += factor * b[i];
}

double largest(const std::vector<double>& g) {
  double out = 0;
  for (const double v : g) out = std::max(out, std::abs(v));
  return out;
}

}  // namespace

Lbfgs::Lbfgs(const LbfgsConfig& config, const ParamList& params,
             const std::vector<GroupRule>& groups)
    : config_(config), signature_("lbfgs", params), elements_(params.total_elements()) {
  check(config.history >= 1 && config.iterations >= 1 && config.evaluations >= 1,
        "lbfgs: expects history, iterations and evaluations of at least 1, got ", config.history,
        ", ", config.iterations, " and ", config.evaluations);
  check(0 < config.c1 && config.c1 < config.c2 && config.c2 < 1,
        "lbfgs: expects 0 < c1 < c2 < 1, got ", config.c1, " and ", config.c2);
  check(config.lr > 0, "lbfgs: expects a first trial step (lr) above 0, got ", config.lr);
  for (const GroupRule& rule : groups) {
    check(!rule.lr, "lbfgs: all parameters take one step together; the rule '", rule.pattern,
          "' gives some a rate of their own");
  }
  check_rules_used(params, groups);
  for (size_t i = 0; i < params.size(); ++i) {
    const ParamSettings s =
        resolve_settings(params, i, config.lr, config.weight_decay, true, groups);
    decay_.push_back(s.weight_decay);
    rows_.push_back(plain_row(params[i], s, "lbfgs"));
  }
}

Lbfgs::Vector Lbfgs::flat(const Tensors& tensors) const {
  Vector out;
  out.reserve(static_cast<size_t>(elements_));
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Vector part = tensors[i].defined()
                            ? tensors[i].to_vector<double>()
                            : Vector(static_cast<size_t>(rows_[i].shape.numel()), 0.0);
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

Tensors Lbfgs::unflat(const Vector& x, const ParamList& like) const {
  Tensors out;
  const double* from = x.data();
  for (const Param& p : like) {
    const std::span<const double> part(from, static_cast<size_t>(p.value.numel()));
    out.push_back(Tensor::from(part, p.value.shape()).to(p.value.dtype()).to(p.value.device()));
    from += part.size();
  }
  return out;
}

void Lbfgs::add_decay(Point& point) const {
  size_t at = 0;
  for (size_t i = 0; i < decay_.size(); ++i) {
    const size_t end = at + static_cast<size_t>(rows_[i].shape.numel());
    for (; at < end; ++at) {
      point.loss += decay_[i] / 2 * point.x[at] * point.x[at];
      point.g[at] += decay_[i] * point.x[at];
    }
  }
}

Lbfgs::Vector Lbfgs::direction(const Vector& g) const {
  Vector d = g;
  std::vector<double> alpha(pairs_.size());
  for (size_t i = pairs_.size(); i-- > 0;) {
    const Pair& p = pairs_[i];
    alpha[i] = dot(p.s, d) / dot(p.s, p.y);
    add(d, -alpha[i], p.y);
  }
  if (!pairs_.empty()) {
    const Pair& newest = pairs_.back();
    const double h0 = dot(newest.s, newest.y) / dot(newest.y, newest.y);
    for (double& v : d) v *= h0;
  }
  for (size_t i = 0; i < pairs_.size(); ++i) {
    const Pair& p = pairs_[i];
    add(d, alpha[i] - dot(p.y, d) / dot(p.s, p.y), p.s);
  }
  for (double& v : d) v = -v;
  return d;
}

// One iteration from `at`; false when it found no lower loss.
bool Lbfgs::iterate(Point& at, const std::function<Point(const Vector&)>& evaluate, double first,
                    int64_t& left) {
  Vector d = direction(at.g);
  if (!(dot(d, at.g) < 0)) {  // rounding has spoilt the pairs
    pairs_.clear();
    d = direction(at.g);
  }
  if (pairs_.empty()) first *= std::min(1.0, 1 / std::sqrt(dot(at.g, at.g)));
  std::vector<std::pair<double, Point>> seen;  // the last, and the best one so far
  const auto line = [&](double t) {
    Vector x = at.x;
    add(x, t, d);
    Point p = evaluate(x);
    --left;
    if (std::isnan(p.loss)) p.loss = std::numeric_limits<double>::infinity();  // no point is worse
    const LinePoint out{t, p.loss, dot(p.g, d)};
    if (seen.size() == 2) seen.erase(seen.begin() + (seen[0].second.loss < seen[1].second.loss));
    seen.emplace_back(t, std::move(p));
    return out;
  };
  WolfeOptions options{.c1 = config_.c1, .c2 = config_.c2};
  options.evaluations = static_cast<int>(std::min<int64_t>(options.evaluations, left));
  const WolfeResult found = strong_wolfe(line, {0, at.loss, dot(at.g, d)}, first, options);
  const auto best = std::min_element(seen.begin(), seen.end(), [&](const auto& a, const auto& b) {
    if (found.holds) return a.first == found.at.t && b.first != found.at.t;
    return a.second.loss < b.second.loss;
  });
  if (best == seen.end() || !(best->second.loss < at.loss)) return false;
  Pair pair{best->second.x, best->second.g};
  add(pair.s, -1, at.x);
  add(pair.y, -1, at.g);
  at = std::move(best->second);
  const double sy = dot(pair.s, pair.y);
  if (sy > std::numeric_limits<double>::epsilon() * dot(pair.y, pair.y)) {
    pairs_.push_back(std::move(pair));
    if (static_cast<int64_t>(pairs_.size()) > config_.history) pairs_.pop_front();
  }
  return true;
}

void Lbfgs::step(ParamList& params, const Tensors& grads, const StepInfo& info) {
  signature_.check_step(params, grads, info);
  check(info.evaluate != nullptr, "lbfgs: needs loss and gradient at other parameters ",
        "(StepInfo::evaluate)");
  const auto evaluate = [&](const Vector& x) {
    const Tensors values = unflat(x, params);
    const LossAndGrads there = info.evaluate(values, true);
    Point out{flat(values), flat(there.grads), there.loss};  // x as rounded to the parameters
    add_decay(out);
    return out;
  };
  Point at{flat(params.values()), flat(grads), info.loss};
  add_decay(at);
  int64_t left = config_.evaluations;
  for (int64_t i = 0; i < config_.iterations && left > 0; ++i) {
    if (largest(at.g) <= config_.tolerance) break;
    if (iterate(at, evaluate, config_.lr * info.lr_scale, left)) continue;
    if (pairs_.empty()) break;
    pairs_.clear();  // once more, along the gradient
  }
  const Tensors values = unflat(at.x, params);
  for (size_t i = 0; i < params.size(); ++i) {
    const Tensor before = observer() ? params[i].value.clone() : Tensor();
    params[i].value.copy_from(values[i]);
    if (!observer()) continue;
    UpdateRecord record{.index = i,
                        .param = &params[i],
                        .rule = "lbfgs",
                        .group = rows_[i].group,
                        .lr = config_.lr * info.lr_scale,
                        .step = info.step,
                        .loss = info.loss,
                        .gradient = grads[i],
                        .momentum = {},
                        .orthogonalised = {},
                        .change = {}};
    report_applied(observer(), std::move(record), before);
  }
}

OptimizerState Lbfgs::save() const {
  OptimizerState state = begin_state(name());
  for (size_t i = 0; i < pairs_.size(); ++i) {
    state.tensors.emplace_back(str("lbfgs.s.", i), Tensor::from(pairs_[i].s, {elements_}));
    state.tensors.emplace_back(str("lbfgs.y.", i), Tensor::from(pairs_[i].y, {elements_}));
  }
  state.scalars["lbfgs.pairs"] = str(pairs_.size());
  return state;
}

void Lbfgs::load(const OptimizerState& state) {
  StateReader reader(state, name());
  const int64_t count = reader.count("lbfgs.pairs");
  if (count > config_.history) {
    fail(ErrorKind::data, "lbfgs: the state holds ", count, " pairs, history is ", config_.history);
  }
  const Tensor like = Tensor::zeros({elements_}, DType::f64);
  std::deque<Pair> fresh;
  for (int64_t i = 0; i < count; ++i) {
    fresh.push_back({reader.tensor(str("lbfgs.s.", i), like).to_vector<double>(),
                     reader.tensor(str("lbfgs.y.", i), like).to_vector<double>()});
  }
  reader.finish();
  pairs_ = std::move(fresh);
}

OptimizerInfo lbfgs_info() {
  OptimizerInfo info;
  info.name = "lbfgs";
  info.summary =
      "L-BFGS with strong Wolfe line search; for whole-data batches, with --schedule constant";
  info.default_lr = 1;
  info.options = {{"history", "20", "pairs of steps and gradient changes kept"},
                  {"iterations", "20", "most iterations per step, on one batch"},
                  {"evaluations", "25", "most evaluations of loss and gradient per step"},
                  {"tolerance", "1e-9", "a step ends where no gradient element is larger"},
                  {"c1", "1e-3", "sufficient decrease of the line search"},
                  {"c2", "0.9", "its curvature condition"}};
  info.make = [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
    constexpr int64_t kMany = int64_t{1} << 20;
    const LbfgsConfig config{.lr = *c.lr,
                             .weight_decay = *c.weight_decay,
                             .history = o.integer_in("history", 1, kMany),
                             .iterations = o.integer_in("iterations", 1, kMany),
                             .evaluations = o.integer_in("evaluations", 1, kMany),
                             .tolerance = o.number("tolerance"),
                             .c1 = o.number("c1"),
                             .c2 = o.number("c2")};
    return std::make_unique<Lbfgs>(config, params, c.groups);
  };
  return info;
}

}  // namespace basin
