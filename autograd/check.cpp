// Derivative checks. Each check computes one quantity on two ways through the transforms and
// compares on the host (compare.h); the smaller the shared part of both ways, the stronger the
// check. Directions are uniform in [-1, 1], so that a step of size h moves no element further than
// h.
#include "basin/autograd/check.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/autograd/detail/compare.h"
#include "basin/autograd/ops.h"
#include "basin/core/parallel.h"

namespace basin {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kLanes = 3;

// --- the transforms under test ---

// s(x) = <u, f(x)>, in public ops.
Fn weighted_sum(const Fn& f, const Tensors& u) {
  return [f, u](const Tensors& x) -> Tensors {
    const Tensors y = f(x);
    Tensor sum = Tensor::full({}, x[0].dtype(), 0, x[0].device());
    for (size_t i = 0; i < y.size(); ++i) {
      if (u[i].defined()) sum = add(sum, dot(u[i], y[i]));
    }
    return {sum};
  };
}

Tensors forward_over_reverse(const Fn& s, const Tensors& x, const Tensors& b) {
  return jvp(grad(s), x, b).second;
}

Tensors reverse_over_reverse(const Fn& s, const Tensors& x, const Tensors& b) {
  return vjp(grad(s), x, b).second;
}

Tensors reverse_over_forward(const Fn& f, const Tensors& x, const Tensors& u, const Tensors& b) {
  const Fn slope = [&](const Tensors& z) { return jvp(f, z, b).second; };
  return grad(weighted_sum(slope, u))(x);
}

// --- the checks ---

class Checker {
 public:
  Checker(const Fn& f, const Tensors& x, const CheckOptions& options)
      : f_(f), x_(x), options_(options), rng_(options.seed, stream_id("check")) {
    y_ = f(x);
    t_ = random_like(rng_, x_);
    b_ = random_like(rng_, x_);
    u_ = random_like(rng_, y_);
  }

  CheckReport take() { return std::move(report_); }

  // measure() returns the error; what it throws becomes the finding.
  template <class Measure>
  void run(const std::string& check, double bound, Measure&& measure) {
    Finding finding{check, 0, bound, {}};
    try {
      finding.error = measure();
    } catch (const std::exception& e) {
      finding.error = kInfinity;
      finding.note = e.what();
    }
    report_.findings.push_back(std::move(finding));
  }

  void first_order() {
    run("shapes of J t and J^T u", 0, [&] {
      const Tape tape = record(f_, x_);
      require_same_shapes(push(tape, t_), y_);
      require_same_shapes(pull(tape, u_), x_);
      return relative_error(tape.outputs, y_);
    });
    run("duality", options_.exact, [&] {
      const Tape tape = record(f_, x_);
      const Tensors jt = push(tape, t_), ju = pull(tape, u_);
      const double scale = std::max(norm(u_) * norm(jt), norm(ju) * norm(t_));
      return ratio(std::abs(inner(u_, jt) - inner(ju, t_)), scale);
    });
    run("J t against a central difference", options_.difference, [&] {
      const double h = 6e-6 * options_.step_scale;
      const Tensors step = difference(f_(moved(x_, h, t_)), f_(moved(x_, -h, t_)), 0.5 / h);
      Tensors slope = jvp(f_, x_, t_).second;
      Tensors wanted = step;
      for (size_t i = 0; i < slope.size(); ++i) {
        if (!is_float(y_[i].dtype())) slope[i] = wanted[i] = {};
      }
      return relative_error(slope, wanted, 1e-3 * norm(y_));
    });
    run("value and tangent in one sweep = recording, then sweeping", options_.exact, [&] {
      const Tape tape = record(f_, x_);
      const auto [y, yt] = jvp(f_, x_, t_);
      return std::max(relative_error(y, tape.outputs), relative_error(yt, push(tape, t_)));
    });
    run("symbolic zeros", options_.exact, [&] { return symbolic_zeros(); });
    nodes(record(f_, x_), "");
  }

  void second_order() {
    const Fn s = weighted_sum(f_, u_);
    Tensors hb;
    run("forward over reverse", options_.exact2, [&] {
      hb = forward_over_reverse(s, x_, b_);
      require_same_shapes(hb, x_);
      return ratio(norm(difference(hb, hb)), 1);  // finite?
    });
    if (!report_.findings.back().passed()) return;
    run("forward over reverse = reverse over reverse", options_.exact2,
        [&] { return relative_error(hb, reverse_over_reverse(s, x_, b_), tiny()); });
    run("forward over reverse = reverse over forward", options_.exact2,
        [&] { return relative_error(hb, reverse_over_forward(f_, x_, u_, b_), tiny()); });
    run("Hessian symmetry", options_.exact2, [&] {
      const Tensors ht = forward_over_reverse(s, x_, t_);
      const double scale = std::max({norm(hb) * norm(t_), norm(ht) * norm(b_), tiny()});
      return ratio(std::abs(inner(t_, hb) - inner(b_, ht)), scale);
    });
    run("H b against a central difference of the gradient", options_.difference2, [&] {
      const double h = 6e-6 * options_.step_scale;
      const Fn g = grad(s);
      const Tensors step = difference(g(moved(x_, h, b_)), g(moved(x_, -h, b_)), 0.5 / h);
      return relative_error(hb, step, 1e-3 * norm(g(x_)));
    });
    const Tape tape = record(grad(s), x_);
    run("forward over reverse in one sweep = recording the gradient, then sweeping",
        options_.exact2, [&] { return relative_error(hb, push(tape, b_), tiny()); });
    nodes(tape, " (on the gradient)");
  }

  void third_order() {
    run("third order: forward twice over reverse = reverse three times", options_.exact2, [&] {
      const Fn s = weighted_sum(f_, u_);
      const Fn forward = [&](const Tensors& z) { return forward_over_reverse(s, z, b_); };
      const Fn reverse = [&](const Tensors& z) { return reverse_over_reverse(s, z, b_); };
      return relative_error(jvp(forward, x_, t_).second, vjp(reverse, x_, t_).second, tiny());
    });
  }

  const Tensors& tangent() const { return t_; }
  const Tensors& second_tangent() const { return b_; }
  const Tensors& cotangent() const { return u_; }
  const Tensors& value() const { return y_; }

 private:
  // Second derivatives that cancel exactly leave rounding of the size of the first ones.
  double tiny() { return 1e-3 * norm(pull(record(f_, x_), u_)); }

  // J t is the sum over the arguments, with every other tangent left undefined; J^T u likewise.
  double symbolic_zeros() {
    const Tape tape = record(f_, x_);
    Tensors remainder = push(tape, t_);
    double size = norm(remainder);
    for (size_t i = 0; i < t_.size(); ++i) {
      Tensors only(t_.size());
      only[i] = t_[i];
      remainder = difference(remainder, push(tape, only));
    }
    const double forward = ratio(norm(remainder), size);
    remainder = pull(tape, u_);
    size = norm(remainder);
    for (size_t i = 0; i < u_.size(); ++i) {
      Tensors only(u_.size());
      only[i] = u_[i];
      remainder = difference(remainder, pull(tape, only));
    }
    const double zero = norm(push(tape, Tensors(t_.size()))) + norm(pull(tape, Tensors(u_.size())));
    return std::max({forward, ratio(norm(remainder), size), zero});
  }

  // Each recorded op by itself: its own jvp against the transpose of its vjp, and `needs`. Outputs
  // that nothing on the tape reads (saved statistics, say) are constants and take no part.
  void nodes(const Tape& tape, const std::string& where) {
    std::vector<bool> read(tape.slots, false);
    for (const std::vector<int>* slots : {&tape.edges, &tape.output_slots}) {
      for (int slot : *slots) {
        if (slot >= 0) read[slot] = true;
      }
    }
    for (size_t n = 0; n < tape.path.size(); ++n) {
      const Node& node = *tape.path[n];
      const std::string name = str(node.op->name(), where);
      Tensors tangents = random_like(rng_, node.inputs),
              cotangents = random_like(rng_, node.outputs);
      Positions tracked;
      for (size_t k = 0; k < tangents.size(); ++k) {
        if (tape.edges[tape.first_edge[n] + k] >= 0) {
          tracked.insert(static_cast<int>(k));
        } else {
          tangents[k] = {};
        }
      }
      const auto only_read = [&](Tensors list) {
        for (size_t k = 0; k < list.size(); ++k) {
          if (!read[tape.first_slot[n] + k]) list[k] = {};
        }
        return list;
      };
      cotangents = only_read(cotangents);
      run("derived = overridden jvp of " + name, options_.exact, [&] {
        return relative_error(only_read(node.op->jvp(node, tangents)),
                              only_read(node.op->Op::jvp(node, tangents)));
      });
      run("needs of " + name, options_.exact, [&] { return needs(node, cotangents, tracked); });
    }
  }

  // Asking for one gradient gives what asking for all gives.
  static double needs(const Node& node, const Tensors& cotangents, Positions tracked) {
    const auto pulled = [&](Positions wanted) {
      Tensors grads = node.op->vjp(node, cotangents, wanted);
      grads.resize(node.inputs.size());
      return grads;
    };
    const Tensors all = pulled(tracked);
    double worst = 0;
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      if (!tracked.contains(k)) continue;
      const Tensors one = pulled(Positions::of({static_cast<int>(k)}));
      worst = std::max(worst, relative_error({one[k]}, {all[k]}));
    }
    return worst;
  }

  Fn f_;
  Tensors x_, y_, t_, b_, u_;
  CheckOptions options_;
  Rng rng_;
  CheckReport report_;
};

void append_bits(const Tensors& list, std::vector<unsigned char>& bits) {
  for (const Tensor& t : list) {
    if (!t.defined()) continue;
    const auto* p = static_cast<const unsigned char*>(t.raw());
    bits.insert(bits.end(), p, p + t.bytes());
  }
}

double differing_bytes(const std::vector<unsigned char>& a, const std::vector<unsigned char>& b) {
  if (a.size() != b.size()) return kInfinity;
  int64_t differing = 0;
  for (size_t i = 0; i < a.size(); ++i) differing += a[i] != b[i];
  return static_cast<double>(differing);
}

// Every bit that a user can see of f at x.
std::vector<unsigned char> all_bits(const Fn& f, const Tensors& x, const Checker& directions,
                                    int order) {
  std::vector<Tensors> results{f(x)};
  if (order >= 1) {
    const Tape tape = record(f, x);
    results.push_back(push(tape, directions.tangent()));
    results.push_back(pull(tape, directions.cotangent()));
  }
  if (order >= 2) {
    const Fn s = weighted_sum(f, directions.cotangent());
    results.push_back(forward_over_reverse(s, x, directions.second_tangent()));
    results.push_back(reverse_over_reverse(s, x, directions.second_tangent()));
  }
  std::vector<unsigned char> bits;
  for (const Tensors& list : results) append_bits(list, bits);
  return bits;
}

// Bytes in which the lanes of one sweep differ from the sweeps of each alone. The first lane leaves
// an argument out, so that the lanes are zero in different places.
double lanes_differ(const Tape& tape, Rng& rng) {
  std::vector<Tensors> lanes;
  for (int i = 0; i < kLanes; ++i) lanes.push_back(random_like(rng, tape.inputs));
  lanes[0][0] = {};
  std::vector<unsigned char> together, alone;
  for (const Tensors& result : push_lanes(tape, lanes)) append_bits(result, together);
  for (const Tensors& lane : lanes) append_bits(push(tape, lane), alone);
  return differing_bytes(together, alone);
}

class ThreadCountGuard {
 public:
  ~ThreadCountGuard() { set_num_threads(before_); }

 private:
  int before_ = num_threads();
};

Tensors mapped(const Tensors& list, const TensorMap& map) {
  Tensors out;
  for (const Tensor& t : list) out.push_back(t.defined() ? map(t) : Tensor());
  return out;
}

}  // namespace

bool CheckReport::passed() const {
  return std::all_of(findings.begin(), findings.end(), [](const Finding& f) { return f.passed(); });
}

std::string CheckReport::failures() const {
  std::string lines;
  for (const Finding& f : findings) {
    if (f.passed()) continue;
    lines += str(f.check, ": error ", f.error, ", bound ", f.bound);
    lines += f.note.empty() ? "\n" : " (" + f.note + ")\n";
  }
  return lines;
}

void CheckReport::append(const CheckReport& other) {
  findings.insert(findings.end(), other.findings.begin(), other.findings.end());
}

CheckReport check_derivatives(const Fn& f, const Tensors& x, const CheckOptions& options) {
  check(!x.empty(), "check_derivatives: expects at least one argument, given none");
  for (const Tensor& t : x) {
    check(t.defined() && t.dtype() == DType::f64,
          "check_derivatives: expects f64 arguments; capture constants in the function");
  }
  Checker checker(f, x, options);
  if (options.order >= 1) checker.first_order();
  if (options.order >= 2) checker.second_order();
  if (options.order >= 3) checker.third_order();
  return checker.take();
}

CheckReport check_equal(const Fn& f, const Fn& reference, const Tensors& x,
                        const CheckOptions& options) {
  Checker checker(f, x, options);
  const Tensors &t = checker.tangent(), &b = checker.second_tangent(), &u = checker.cotangent();
  checker.run("value = reference", options.equal,
              [&] { return relative_error(checker.value(), reference(x)); });
  if (options.order >= 1) {
    checker.run("J t = reference", options.equal,
                [&] { return relative_error(jvp(f, x, t).second, jvp(reference, x, t).second); });
    checker.run("J^T u = reference", options.equal,
                [&] { return relative_error(vjp(f, x, u).second, vjp(reference, x, u).second); });
  }
  if (options.order >= 2) {
    const Fn s = weighted_sum(f, u), s_reference = weighted_sum(reference, u);
    const double floor = 1e-3 * norm(vjp(reference, x, u).second);
    checker.run("H b (forward over reverse) = reference", options.equal, [&] {
      return relative_error(forward_over_reverse(s, x, b), forward_over_reverse(s_reference, x, b),
                            floor);
    });
    checker.run("H b (reverse over reverse) = reference", options.equal, [&] {
      return relative_error(reverse_over_reverse(s, x, b), reverse_over_reverse(s_reference, x, b),
                            floor);
    });
  }
  return checker.take();
}

CheckReport check_parity(const Fn& f, const Tensors& x, const TensorMap& there,
                         const TensorMap& back, const std::string& what, double value_bound,
                         const CheckOptions& options) {
  Checker checker(f, x, options);
  const Tensors &t = checker.tangent(), &b = checker.second_tangent(), &u = checker.cotangent();
  const Tensors far = mapped(x, there);
  checker.run(what + ": value", value_bound,
              [&] { return relative_error(mapped(f(far), back), checker.value()); });
  if (options.order >= 1) {
    checker.run(what + ": J t", value_bound, [&] {
      const Tensors got = mapped(jvp(f, far, mapped(t, there)).second, back);
      return relative_error(got, jvp(f, x, t).second);
    });
    checker.run(what + ": J^T u", value_bound, [&] {
      const Tensors got = mapped(vjp(f, far, mapped(u, there)).second, back);
      return relative_error(got, vjp(f, x, u).second);
    });
  }
  if (options.order >= 2) {
    checker.run(what + ": H b", 10 * value_bound, [&] {
      const Fn s = weighted_sum(f, u), s_far = weighted_sum(f, mapped(u, there));
      const Tensors got = mapped(forward_over_reverse(s_far, far, mapped(b, there)), back);
      const double floor = norm(vjp(f, x, u).second);
      return relative_error(got, forward_over_reverse(s, x, b), floor);
    });
  }
  return checker.take();
}

CheckReport check_lanes(const Fn& f, const Tensors& x, const CheckOptions& options) {
  Checker checker(f, x, options);
  Rng rng(options.seed, stream_id("lanes"));
  const Fn s = weighted_sum(f, checker.cotangent());
  if (options.order >= 1) {
    checker.run("bits of lanes", 0, [&] { return lanes_differ(record(f, x), rng); });
  }
  if (options.order >= 2) {
    checker.run("bits of lanes (on the gradient)", 0,
                [&] { return lanes_differ(record(grad(s), x), rng); });
  }
  return checker.take();
}

CheckReport check_repeatable(const Fn& f, const Tensors& x, const CheckOptions& options) {
  const ThreadCountGuard guard;
  set_num_threads(1);
  Checker checker(f, x, options);
  std::vector<unsigned char> first;
  checker.run("first run", 0, [&] {
    first = all_bits(f, x, checker, options.order);
    return 0.0;
  });
  for (int threads = 1; threads <= 3; ++threads) {
    checker.run(str("same bits with ", threads, threads == 1 ? " thread again" : " threads"), 0,
                [&] {
                  set_num_threads(threads);
                  return differing_bytes(all_bits(f, x, checker, options.order), first);
                });
  }
  return checker.take();
}

}  // namespace basin
