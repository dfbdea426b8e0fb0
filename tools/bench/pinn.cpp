// Case pinn: a step of a physics-informed loss without the optimizer: the residual of Burgers'
// equation, r = u_t + u u_x - nu u_xx, nu = 0.01 / pi, at 10,000 points of [-1, 1] x [0, 1], the
// loss mean r^2 and its gradient, f64, of two tanh networks. Parts, a row each:
//   20x3, 128x4                2-20x3-1 and 2-128x4-1, u and its derivatives by jets
//   20x3_nested, 128x4_nested  the same by nested forward mode
// The counts are those of the jet: four products (u, u_x, u_xx, u_t) per hidden and last map, and
// twice that backward; the first map has one (its tangents are columns of the weights), and one
// backward. --batch and --points do not matter.
#include <numbers>

#include "basin/autograd/ops.h"
#include "basin/core/io.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"
#include "basin/core/safetensors.h"
#include "basin/models/mlp.h"
#include "basin/tools/bench/bench.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {
namespace {

constexpr int64_t kPoints = 10000;
constexpr double kViscosity = 0.01 / std::numbers::pi;

struct Size {
  const char* part;
  int64_t width, depth;
};
constexpr Size kSizes[] = {{"20x3", 20, 3}, {"128x4", 128, 4}};

struct Network {
  Model model;
  ModelState state;
  Tensor points;  // [B, 2]: x, t

  Network(const Size& size, Device device)
      : model(make_mlp({.width = size.width, .depth = size.depth})),
        state(init_model(model, 0, DType::f64).to(device)) {
    Rng rng(0, stream_id("bench collocation points"));
    std::vector<double> xt;
    for (int64_t i = 0; i < kPoints; ++i) {
      xt.push_back(rng.uniform(-1, 1));
      xt.push_back(rng.uniform());
    }
    points = Tensor::from(xt, {kPoints, 2}, device);
  }

  // params -> {mean r^2}
  Fn loss(bool nested) const {
    return [this, nested](const Tensors& params) {
      const JetOrders orders{2, 1};
      const Fn value = [&](const Tensors& x) {
        return model.forward(params, {}, x, ForwardOptions::evaluation()).outputs;
      };
      const Jet u = nested ? nested_jet(value, points, orders)
                           : jet_of(model, params, {}, {points}, orders, {});
      return Tensors{mean(square(u.d(1) + u.value * u.d(0) - u.dd(0) * kViscosity))};
    };
  }
  ValueGrad gradient(bool nested) const {
    return value_and_grad(loss(nested))(state.params.values());
  }
  Work work() const {
    double flops = 0;
    bool first = true;
    for (const Param& p : state.params) {
      if (p.value.rank() != 2) continue;
      const double product = 2.0 * kPoints * static_cast<double>(p.value.numel());
      flops += product * (first ? 2 : 4 * 3);
      first = false;
    }
    return {flops, flops, 0};
  }
};

void export_network(const Size& size, const BenchOptions& options, BenchReport& report) {
  const Network network(size, Device::cpu);
  SafetensorsFile file = state_file(network.state);
  file.tensors.emplace_back("input.points", network.points);
  const ValueGrad at_start = network.gradient(false);
  file.tensors.emplace_back("loss", at_start.value);
  for (size_t i = 0; i < at_start.grads.size(); ++i) {
    file.tensors.emplace_back("gradient." + network.state.params[i].name, at_start.grads[i]);
  }
  const fs::path path = fs::path(options.export_to) / str("pinn_", size.part, ".safetensors");
  write_safetensors(path, file);
  report.note(str("PINN ", size.part, ": weights, points and gradient are in ", path.string()));
}

}  // namespace

const std::vector<std::string>& pinn_parts() {
  static const std::vector<std::string> parts{"20x3", "128x4", "20x3_nested", "128x4_nested"};
  return parts;
}

void run_pinn(const BenchOptions& options, BenchReport& report) {
  if (!options.export_to.empty()) {
    for (const Size& size : kSizes) export_network(size, options, report);
    return;
  }
  for (const Place& place : places(options)) {
    const std::string prefix = str("pinn.", place.key(), ".");
    const int64_t start_rss = peak_rss_bytes();
    begin_section(str("PINN, Burgers, ", kPoints, " points, f64"), prefix, place, report);
    const double products =
        place.device == Device::cpu ? begin_products(DType::f64, prefix, report) : 0;
    for (const Size& size : kSizes) {
      for (const bool nested : {false, true}) {
        const std::string part = str(size.part, nested ? "_nested" : "");
        if (!options.wants(part)) continue;
        const Network network(size, options.device);
        const Timing timing = measure(options, [&] { network.gradient(nested); });
        report.add(prefix + part, str("2-", size.part, nested ? "-1, nested" : "-1, jets"), timing,
                   nested ? Work{} : network.work(), 0, products);
      }
    }
    const auto peak_rss = static_cast<double>(peak_rss_bytes());
    report.note(str("peak resident set of the process so far ", bytes_text(peak_rss), ", ",
                    bytes_text(peak_rss - static_cast<double>(start_rss)),
                    " above the one before"));
    report.value(prefix + "start_rss_bytes", static_cast<double>(start_rss));
    report.value(prefix + "peak_rss_bytes", peak_rss);
  }
}

}  // namespace basin::tools
