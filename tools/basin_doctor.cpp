// basin_doctor: what this build and this machine are, and a self-test of about two seconds: would
// the numbers of the other programs be right here? Exit code 0 when everything passed, 4 when a
// check failed.
//   derivatives   the rules on the way from weights to the loss of a small PointNet (f64): duality,
//                 central differences, symmetry of the Hessian, order of nesting
//   hessian       products with the Hessian against the matrix in full, by nested gradients
//   repeat        loss, gradient and product: the same bits from 1, 2 and 3 threads and twice
// --optimizers prints which optimizers step alike in every basis of a matrix
// (optim/equivariance.h).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>
#include <tuple>

#include "basin/autograd/check.h"
#include "basin/autograd/ops.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"
#include "basin/datasets/hdf5.h"
#include "basin/datasets/shapes.h"
#include "basin/models/model.h"
#include "basin/optim/equivariance.h"
#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {
namespace {

constexpr const char* kName = "basin_doctor";

// A network that passes through every kernel of PointNet, and is small enough for its whole
// Hessian.
struct SmallNetwork {
  Model model;
  ModelState state;
  Fn loss;
};

SmallNetwork small_network() {
  SmallNetwork s;
  s.model = make_model({.name = "pointnet",
                        .outputs = 3,
                        .options = {{"widths", "2,3,3,3,2"}, {"input_transform", "false"}}});
  s.state = init_model(s.model, 5, DType::f64);
  Rng rng(7, 0);
  // Away from the kinks: a fresh network has zero biases, and dead units prove nothing.
  for (Param& p : s.state.params) {
    const bool norm = p.name.find("bn") != std::string::npos;
    for (int64_t i = 0; i < p.value.numel(); ++i) {
      p.value.mutable_data<double>()[i] = norm ? rng.uniform(0.5, 1.5) : rng.uniform(-1, 1);
    }
  }
  std::vector<double> xyz;
  for (int i = 0; i < 6 * 8 * 3; ++i) xyz.push_back(rng.uniform(-1, 1));
  const Tensor points = Tensor::from(xyz, {6, 8, 3});
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1, 2, 1, 0, 2}, {6});
  s.loss = classification_loss(s.model, s.state.buffers.values(), points, labels,
                               {.batch_statistics = true}, 0.1);
  return s;
}

struct Check {
  std::string name;
  bool passed = false;
  std::string words;
  double seconds = 0;
};

template <class Body>
Check timed(const std::string& name, Body&& body) {
  const double start = seconds_now();
  Check out;
  out.name = name;
  try {
    std::tie(out.passed, out.words) = body();
  } catch (const Error& e) {
    out.words = e.what();
  }
  out.seconds = seconds_now() - start;
  return out;
}

using Outcome = std::pair<bool, std::string>;

Outcome derivatives(const SmallNetwork& s) {
  const Fn scalar = [&](const Tensors& p) { return Tensors{s.loss(p).front()}; };
  const CheckReport report = check_derivatives(scalar, s.state.params.values());
  double worst = 0;
  for (const Finding& f : report.findings) worst = std::max(worst, f.error / f.bound);
  return {report.passed(), report.passed()
                               ? str(report.findings.size(), " identities, the worst at ",
                                     std::round(100 * worst), " % of its bound")
                               : report.failures()};
}

// Column j of the Hessian as the gradient of <grad loss, e_j>, recorded afresh.
Outcome hessian(const SmallNetwork& s) {
  const Tensors w = s.state.params.values();
  const LinearMap h = linearize(grad(s.loss), w);
  double worst = 0, size = 0;
  int64_t columns = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    for (int64_t j = 0; j < w[i].numel(); j += 3, ++columns) {
      Tensors e;
      for (const Tensor& t : w) e.push_back(Tensor::zeros(t.shape(), DType::f64));
      e[i].mutable_data<double>()[j] = 1;
      const Fn component = [&](const Tensors& p) { return Tensors{dot(grad(s.loss)(p)[i], e[i])}; };
      const Tensors column = grad(component)(w), product = h(e);
      for (size_t k = 0; k < w.size(); ++k) {
        for (int64_t m = 0; m < w[k].numel(); ++m) {
          const double a = column[k] ? column[k].at(m) : 0, b = product[k] ? product[k].at(m) : 0;
          worst = std::max(worst, std::abs(a - b));
          size = std::max(size, std::abs(a));
        }
      }
    }
  }
  return {worst <= 1e-10 * size, str(columns, " columns, largest difference ",
                                     number_text(worst / size), " of the largest entry")};
}

bool same_bits(const Tensors& a, const Tensors& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].bytes() != b[i].bytes() || std::memcmp(a[i].raw(), b[i].raw(), a[i].bytes()) != 0) {
      return false;
    }
  }
  return a.size() == b.size();
}

// The network of the programs, in the precision of the programs.
Outcome repeat() {
  const Model model = make_model({.name = "pointnet", .outputs = 15});
  const ModelState state = init_model(model, 1, DType::f32);
  const PointCloudSet shapes = embedded_shapes(1, 1, 64, 0).train;
  const Fn loss = classification_loss(model, state.buffers.values(), shapes.points, shapes.labels,
                                      {.batch_statistics = true});
  const Tensors w = state.params.values();
  const auto run = [&] {
    Tensors out = grad(loss)(w);
    const Tensors product = linearize(grad(loss), w)(out);
    out.insert(out.end(), product.begin(), product.end());
    return out;
  };
  const int threads = num_threads();
  Tensors first;
  bool same = true;
  for (int n : {1, 2, 3, 1}) {
    set_num_threads(n);
    const Tensors now = run();
    if (!first.empty()) same = same && same_bits(first, now);
    if (first.empty()) first = now;
  }
  set_num_threads(threads);
  return {same, same ? "gradient and product of PointNet: equal bits with 1, 2, 3 threads and twice"
                     : "the bits differ between runs or thread counts"};
}

std::string device_words(Device device) {
  if (device == Device::cuda && !kHasCuda) return "this build has no CUDA kernels";
  try {
    require_device(device);
    return describe_device(device);
  } catch (const Error& e) {
    return e.what();
  }
}

std::string facts() {
  const RecordFields f = parse_record(environment_record().line(), "environment");
  std::string blas = f.text("blas");
  if (blas.find("Prescott") != blas.npos && cpu_model().find("Prescott") == std::string::npos) {
    blas +=
        " (does not know this processor: SVDs and exact Muon are slow; try "
        "OPENBLAS_CORETYPE=Haswell or SkylakeX)";
  }
  return str("basin     ", f.text("basin_version"), ", git ", f.text("git_hash"),
             f.flag("git_dirty") ? " (changed)" : "", "\nbuild     ", f.text("compiler"), ", ",
             f.text("build_type"), ", ", f.text("flags"), "\nprocessor ", f.text("cpu"), ", ",
             f.text("threads"), " threads\npath      ", f.text("isa"), "\nBLAS      ", blas,
             "\nHDF5      ", hdf5_available() ? "yes" : "no: .h5 data sets cannot be read",
             "\nCUDA      ", device_words(Device::cuda), "\n\n");
}

std::string help() {
  return "Prints build, processor, BLAS and devices, then tests itself: derivatives against their "
         "identities, Hessian products against the whole matrix, equal bits for any threads.\n";
}

int run(int argc, const char* const* argv) {
  std::vector<Setting> all = shared_settings();
  all.push_back(
      {"optimizers", Kind::flag, "false",
       "Print whether the steps of each optimizer follow an orthogonal change of basis of "
       "a weight matrix's outputs or inputs, and stop",
       Purpose::action});
  Config config(std::move(all), {});
  if (parse_command_line(
          {kName, "What this build and machine are, and whether they compute right.", help}, config,
          argc, argv)
          .done) {
    return 0;
  }
  check_json_target(config);
  apply_shared_settings(config);
  if (config.flag("optimizers")) {
    std::cout << format_equivariance_table(step_equivariance_of_all());
    return 0;
  }
  std::cout << facts();
  const SmallNetwork s = small_network();
  const std::vector<Check> checks{timed("derivatives", [&] { return derivatives(s); }),
                                  timed("hessian", [&] { return hessian(s); }),
                                  timed("repeat", repeat)};
  bool passed = true;
  Record result;
  for (const Check& c : checks) {
    passed = passed && c.passed;
    std::cout << c.name << (c.passed ? ": passed, " : ": FAILED, ") << c.words << " ("
              << duration_text(c.seconds) << ")\n";
    result.add(c.name, c.passed);
  }
  if (const std::string file = config.text("json"); !file.empty()) {
    write_file_atomic(file, result.pretty());
  }
  if (!passed) fail(ErrorKind::numerical, "the self-test failed; do not trust this build here");
  return 0;
}

}  // namespace
}  // namespace basin::tools

int main(int argc, char** argv) {
  return basin::tools::run_program("basin_doctor", [&] { return basin::tools::run(argc, argv); });
}
