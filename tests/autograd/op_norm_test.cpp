// Rows of the op table: normalisation, dropout and the fused ops, each against the composite of
// plain ops. gamma takes both signs in every case.
#include <cmath>

#include "basin/tests/autograd/composites.h"
#include "basin/tests/autograd/op_table.h"

using namespace basin;
using namespace basin::table;

namespace {

const std::vector<std::pair<Act, double>> kActs{
    {Act::none, 0}, {Act::relu, 0}, {Act::leaky_relu, 0.2}};

std::string name_of(Act act) {
  return act == Act::none ? "none" : act == Act::relu ? "relu" : "leaky relu";
}

// Alternating signs, so that the pooled minimum is exercised beside the maximum.
Tensor both_signs(Rng& rng, int64_t channels) {
  std::vector<double> v(channels);
  for (int64_t c = 0; c < channels; ++c) v[c] = (c % 2 ? -1 : 1) * rng.uniform(0.5, 1.5);
  return Tensor::from(v, {channels});
}

}  // namespace

OP_ROW(batch_norm) {
  Cases cases;
  for (const auto& [act, slope] : kActs) {
    for (const Shape& shape : std::vector<Shape>{{6, 3}, {5, 1}, {17, 4}}) {
      const auto a = act;
      const double s = slope;
      cases.push_back(several(
          str(shape, ", ", name_of(a)),
          {uniform(rng, shape, -2, 2), both_signs(rng, shape[1]), uniform(rng, {shape[1]})},
          [=](const Tensors& x) -> Tensors { return {batch_norm(x[0], x[1], x[2], 1e-5, a, s).y}; },
          [=](const Tensors& x) -> Tensors {
            return {batch_norm_composite(x[0], x[1], x[2], 1e-5, a, s).y};
          }));
    }
    const auto a = act;
    const double s = slope;
    cases.push_back(
        large(several("[9000, 20], " + name_of(a),
                      {uniform(rng, {9000, 20}, -1, 3), both_signs(rng, 20), uniform(rng, {20})},
                      [=](const Tensors& x) -> Tensors {
                        return {batch_norm(x[0], x[1], x[2], 1e-5, a, s).y};
                      })));
  }
  cases[0].order = 3;
  return cases;
}

OP_ROW(batch_norm_frozen) {
  Cases cases;
  for (const auto& [act, slope] : kActs) {
    for (const Shape& shape : std::vector<Shape>{{6, 3}, {1, 4}, {17, 1}, {0, 2}, {9000, 20}}) {
      const auto a = act;
      const double s = slope;
      const Tensor mean = uniform(rng, {shape[1]}), var = uniform(rng, {shape[1]}, 0.3, 2);
      Case c = several(
          str(shape, ", ", name_of(a)),
          {uniform(rng, shape, -2, 2), both_signs(rng, shape[1]), uniform(rng, {shape[1]})},
          [=](const Tensors& x) -> Tensors {
            return {
                batch_norm_frozen(x[0], x[1], x[2], like(mean, x[0]), like(var, x[0]), 1e-5, a, s)};
          },
          [=](const Tensors& x) -> Tensors {
            return {normalise_composite(x[0], x[1], x[2], mean, var, 1e-5, a, s)};
          });
      cases.push_back(shape[0] == 9000 ? large(c) : c);
    }
  }
  return cases;
}

OP_ROW(layer_norm) {
  Cases cases;
  for (const Shape& shape :
       std::vector<Shape>{{5}, {4, 6}, {2, 3, 5}, {0, 4}, {1, 7}, {1000, 100}}) {
    Case c = several(
        shape.to_string(),
        {uniform(rng, shape, -2, 2), both_signs(rng, shape[-1]), uniform(rng, {shape[-1]})},
        [](const Tensors& x) -> Tensors { return {layer_norm(x[0], x[1], x[2])}; },
        [](const Tensors& x) -> Tensors {
          const double n = static_cast<double>(x[0].size(-1));
          const Tensor centred = x[0] - sum(x[0], -1, true) * (1 / n);
          const Tensor var = sum(square(centred), -1, true) * (1 / n);
          return {centred / sqrt(var + 1e-5) * x[1] + x[2]};
        });
    cases.push_back(shape[0] == 1000 ? large(c) : c);
  }
  return cases;
}

OP_ROW(dropout) {
  Cases cases;
  for (const Shape& shape : std::vector<Shape>{{20}, {3, 4}, {0}, {}, {400, 250}}) {
    for (double p : {0.0, 0.4}) {
      Case c = one(str(shape, ", p ", p), off_zero(rng, shape),
                   [p](const Tensor& x) { return square(dropout(x, p, 7, 11)); });
      cases.push_back(shape == Shape{400, 250} ? large(c) : c);
    }
  }
  return cases;
}

namespace {

struct Pooled {
  int64_t batch, points, in, out;
};

Tensors pooled_arguments(Rng& rng, const Pooled& p) {
  return {uniform(rng, {p.batch, p.points, p.in}, -1, 1), uniform(rng, {p.out, p.in}),
          uniform(rng, {p.out}), both_signs(rng, p.out), uniform(rng, {p.out}, -0.3, 0.3)};
}

const std::vector<Pooled> kPooled{{2, 7, 3, 5}, {1, 9, 4, 2}, {4, 3, 2, 6}, {3, 5, 1, 1}};

// The wide layer with the maximum alone, or with the mean too, against its plain ops.
using WideLayer = Tensor(const Tensors& x, Act act, double slope);

Cases wide_cases(Rng& rng, WideLayer* f, WideLayer* reference) {
  Cases cases;
  const auto name = [](const Pooled& p, Act act) {
    return str(p.batch, " x ", p.points, ", ", p.in, " to ", p.out, ", ", name_of(act));
  };
  const auto of = [](WideLayer* layer, Act act, double slope) -> Fn {
    return [=](const Tensors& x) -> Tensors { return {layer(x, act, slope)}; };
  };
  const auto add_large = [&](const Pooled& p, Act act, double slope) {
    cases.push_back(large(several(name(p, act), pooled_arguments(rng, p), of(f, act, slope))));
  };
  for (const auto& [act, slope] : kActs) {
    for (const Pooled& p : kPooled) {
      Case c = several(name(p, act), pooled_arguments(rng, p), of(f, act, slope),
                       of(reference, act, slope));
      // The mean takes the bias away; with one input the deviation takes the weight away.
      c.vanishing = p.in == 1 ? Positions::of({1, 2}) : Positions::of({2});
      cases.push_back(std::move(c));
    }
    add_large({3, 700, 9, 40}, act, slope);
  }
  for (const auto& [act, slope] : kActs) add_large({2, 70, 40, 70}, act, slope);
  return cases;
}

// The same with statistics mean, var [out].
using FrozenLayer = Tensor(const Tensors& x, const Tensor& mean, const Tensor& var, Act act,
                           double slope);

Cases frozen_cases(Rng& rng, FrozenLayer* f, FrozenLayer* reference) {
  Cases cases;
  for (const auto& [act, slope] : kActs) {
    for (Pooled p : {kPooled[0], kPooled[1], kPooled[2], kPooled[3], Pooled{2, 1, 3, 4},
                     Pooled{3, 700, 9, 40}, Pooled{2, 70, 40, 70}}) {
      const Tensor mean = uniform(rng, {p.out}), var = uniform(rng, {p.out}, 0.3, 2);
      const auto of = [=, act = act, slope = slope](FrozenLayer* layer) -> Fn {
        return [=](const Tensors& x) -> Tensors {
          return {layer(x, like(mean, x[0]), like(var, x[0]), act, slope)};
        };
      };
      Case c = several(str(p.batch, " x ", p.points, ", ", p.in, " to ", p.out, ", ", name_of(act)),
                       pooled_arguments(rng, p), of(f), of(reference));
      cases.push_back(p.points >= 70 ? large(c) : c);
    }
  }
  return cases;
}

}  // namespace

OP_ROW(linear_bn_act_max) {
  return wide_cases(
      rng,
      [](const Tensors& x, Act act, double slope) {
        return linear_bn_act_max(x[0], x[1], x[2], x[3], x[4], 1e-5, act, slope).y;
      },
      [](const Tensors& x, Act act, double slope) {
        return linear_bn_act_max_composite(x, 1e-5, act, slope).y;
      });
}

OP_ROW(linear_bn_act_max_frozen) {
  return frozen_cases(
      rng,
      [](const Tensors& x, const Tensor& mean, const Tensor& var, Act act, double slope) {
        return linear_bn_act_max_frozen(x[0], x[1], x[2], x[3], x[4], mean, var, 1e-5, act, slope);
      },
      [](const Tensors& x, const Tensor& mean, const Tensor& var, Act act, double slope) {
        return linear_bn_act_max_frozen_composite(x, mean, var, 1e-5, act, slope);
      });
}

OP_ROW(linear_bn_act_max_mean) {
  return wide_cases(
      rng,
      [](const Tensors& x, Act act, double slope) {
        return linear_bn_act_max_mean(x[0], x[1], x[2], x[3], x[4], 1e-5, act, slope).y;
      },
      [](const Tensors& x, Act act, double slope) {
        return linear_bn_act_max_mean_composite(x, 1e-5, act, slope).y;
      });
}

OP_ROW(linear_bn_act_max_mean_frozen) {
  return frozen_cases(
      rng,
      [](const Tensors& x, const Tensor& mean, const Tensor& var, Act act, double slope) {
        return linear_bn_act_max_mean_frozen(x[0], x[1], x[2], x[3], x[4], mean, var, 1e-5, act,
                                             slope);
      },
      [](const Tensors& x, const Tensor& mean, const Tensor& var, Act act, double slope) {
        return linear_bn_act_max_mean_frozen_composite(x, mean, var, 1e-5, act, slope);
      });
}

namespace {

const std::vector<Shape> kClouds{{2, 7, 3}, {1, 9, 1}, {3, 2, 5}, {2, 5, 258}};

Tensors cloud_arguments(Rng& rng, const Shape& clouds) {
  return {uniform(rng, clouds, -2, 2), both_signs(rng, clouds[2]), uniform(rng, {clouds[2]})};
}

}  // namespace

OP_ROW(bn_act_max_mean) {
  Cases cases;
  for (const auto& [act, slope] : kActs) {
    const auto a = act;
    const double s = slope;
    const Fn f = [=](const Tensors& x) -> Tensors {
      return {bn_act_max_mean(x[0], x[1], x[2], 1e-5, a, s).y};
    };
    const Fn reference = [=](const Tensors& x) -> Tensors {
      return {bn_act_max_mean_composite(x, 1e-5, a, s).y};
    };
    for (const Shape& clouds : kClouds) {
      cases.push_back(
          several(str(clouds, ", ", name_of(a)), cloud_arguments(rng, clouds), f, reference));
    }
    cases.push_back(
        large(several("[3, 700, 200], " + name_of(a), cloud_arguments(rng, {3, 700, 200}), f)));
  }
  return cases;
}

OP_ROW(bn_act_max_mean_frozen) {
  Cases cases;
  for (const auto& [act, slope] : kActs) {
    const auto a = act;
    const double s = slope;
    for (const Shape& clouds :
         {kClouds[0], kClouds[1], kClouds[2], kClouds[3], Shape{2, 1, 3}, Shape{3, 700, 200}}) {
      const Tensor mean = uniform(rng, {clouds[2]}), var = uniform(rng, {clouds[2]}, 0.3, 2);
      Case c = several(
          str(clouds, ", ", name_of(a)), cloud_arguments(rng, clouds),
          [=](const Tensors& x) -> Tensors {
            return {bn_act_max_mean_frozen(x[0], x[1], x[2], like(mean, x[0]), like(var, x[0]),
                                           1e-5, a, s)};
          },
          [=](const Tensors& x) -> Tensors {
            return {bn_act_max_mean_frozen_composite(x, mean, var, 1e-5, a, s)};
          });
      cases.push_back(clouds[1] == 700 ? large(c) : c);
    }
  }
  return cases;
}
