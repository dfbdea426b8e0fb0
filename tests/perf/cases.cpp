// Fixed small pieces of work whose instructions instructions.sh counts: one run of a case warms up
// (the allocator's blocks, what is decided once), the next one is counted, in one thread.
// usage: perf_cases CASE; without one the names of all, and what the counts depend on.
#include <gnu/libc-version.h>

#include <functional>
#include <iostream>
#include <map>
#include <memory>

#include "basin/autograd/ops.h"
#include "basin/autograd/transform.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"
#include "basin/core/version.h"
#include "basin/kernels/gemm.h"
#include "basin/kernels/isa.h"
#include "basin/models/model.h"
#include "basin/optim/newton_schulz.h"
#include "basin/optim/registry.h"

namespace basin {
namespace {

Tensor random(const Shape& shape, uint64_t seed) {
  Rng rng(seed, stream_id("instructions"));
  std::vector<float> v(static_cast<size_t>(shape.numel()));
  for (float& x : v) x = static_cast<float>(rng.uniform(-1, 1));
  return Tensor::from(v, shape);
}

using Work = std::function<void()>;

Work knn_case(int64_t dims) {
  return [x = random({2, 256, dims}, 1)] { knn(x, 16, true); };
}

// Loss and gradient of the sum of squares of what f makes of x.
Work gradient_case(std::function<Tensor(const Tensors&)> f, Tensors x) {
  const Fn loss = [f = std::move(f)](const Tensors& given) {
    const Tensor y = f(given);
    return Tensors{sum(y * y)};
  };
  return [loss, x = std::move(x)] { value_and_grad(loss)(x); };
}

Work gemm_case() {
  return [a = random({192, 300}, 1), b = random({300, 130}, 2)] { matmul(a, b); };
}

Work linear_case() {
  return gradient_case([](const Tensors& x) { return linear(x[0], x[1], x[2]); },
                       {random({512, 64}, 1), random({64, 64}, 2), random({64}, 3)});
}

// A gate: so few outputs that the pass over x counts.
Work linear_gate_case() {
  return [x = random({1024, 64}, 1), w = random({4, 64}, 2), bias = random({4}, 3)] {
    linear(x, w, bias);
  };
}

Work edge_conv_case() {
  const Tensor index = knn(random({2, 128, 3}, 9), 10, true);
  return gradient_case(
      [index](const Tensors& x) { return edge_bn_act_max(x[0], x[1], index, x[2], x[3]).y; },
      {random({2, 128, 64}, 1), random({2, 128, 64}, 2), random({64}, 3), random({64}, 4)});
}

Work edge_message_case() {
  constexpr int64_t d = 64;
  const Tensor points = random({2, 64, 3}, 9);
  const NeighbourLists near = neighbour_lists(knn(points, 8, false));
  return gradient_case(
      [near](const Tensors& x) {
        const EnMessages m = en_message_pass(x[0], x[1], x[2], near,
                                             {x[3], x[4], x[5], x[6], x[7], x[8], x[9], x[10]});
        return concat({m.sum, m.shift}, -1);
      },
      {random({128, d}, 1), random({128, d}, 2), reshape(points, {128, 3}), random({d}, 3),
       random({d, d}, 4), random({d}, 5), random({d}, 6), random({1}, 7), random({d, d}, 8),
       random({d}, 10), random({d}, 11)});
}

Work batch_norm_case() {
  return gradient_case(
      [](const Tensors& x) { return batch_norm(x[0], x[1], x[2], 1e-5, Act::relu).y; },
      {random({2048, 64}, 1), random({64}, 2), random({64}, 3)});
}

Work linear_max_case() {
  return gradient_case(
      [](const Tensors& x) { return linear_bn_act_max(x[0], x[1], x[2], x[3], x[4]).y; },
      {random({2, 128, 64}, 1), random({128, 64}, 2), random({128}, 3), random({128}, 4),
       random({128}, 5)});
}

Work linear_max_mean_case() {
  return gradient_case(
      [](const Tensors& x) {
        return linear_bn_act_max_mean(x[0], x[1], {}, x[2], x[3], 1e-5, Act::leaky_relu, 0.2).y;
      },
      {random({2, 128, 64}, 1), random({128, 64}, 2), random({128}, 3), random({128}, 4)});
}

Work newton_schulz_case() {
  return [m = random({1, 64, 160}, 1)] { orthogonalise(m); };
}

Work adam_step_case() {
  const Model model =
      make_model({.name = "pointnet", .outputs = 8, .options = {{"widths", "32,32,64,64,32"}}});
  auto state = std::make_shared<ModelState>(init_model(model, 1, DType::f32));
  std::shared_ptr<Optimizer> adam = make_optimizer({.name = "adam"}, state->params);
  const Tensor points = random({2, 32, 3}, 1);
  const Tensor labels = Tensor::from(std::vector<int64_t>{3, 5}, {2});
  const Fn loss = classification_loss(model, state->buffers.values(), points, labels,
                                      {.batch_statistics = true}, 0.1);
  return [state, adam, loss, step = int64_t{0}]() mutable {
    const ValueGrad at = value_and_grad(loss)(state->params.values());
    adam->step(state->params, at.grads, {.step = step++});
  };
}

const std::map<std::string, std::function<Work()>>& cases() {
  static const std::map<std::string, std::function<Work()>> all{
      {"knn_3", [] { return knn_case(3); }},
      {"knn_64", [] { return knn_case(64); }},
      {"gemm", gemm_case},
      {"linear", linear_case},
      {"linear_gate", linear_gate_case},
      {"edge_conv", edge_conv_case},
      {"edge_message", edge_message_case},
      {"batch_norm", batch_norm_case},
      {"linear_max", linear_max_case},
      {"linear_max_mean", linear_max_mean_case},
      {"newton_schulz", newton_schulz_case},
      {"adam_step", adam_step_case}};
  return all;
}

}  // namespace
}  // namespace basin

// What is counted: callgrind finds it by its name.
extern "C" [[gnu::noinline]] void basin_counted(const basin::Work& work) { work(); }

int main(int argc, char** argv) {
  using namespace basin;
  try {
    set_num_threads(1);
    const std::string wanted = argc > 1 ? argv[1] : "";
    if (wanted.empty()) {
      std::cout << "for " << version_info().compiler << ", " << version_info().flags << ", glibc "
                << gnu_get_libc_version() << "\n";
      for (const auto& [name, make] : cases()) std::cout << "case " << name << "\n";
      return 0;
    }
    const auto found = cases().find(wanted);
    check(found != cases().end(), "expects the name of a case, given '", wanted, "'");
    const std::string path = isa_name();
    Work work = found->second();
    work();
    basin_counted(work);
    return 0;
  } catch (const Error& e) {
    std::cerr << "perf_cases: " << e.what() << "\n";
    return e.exit_code();
  }
}
