// Kernels in a recording on the CPU: every kind of argument comes back as it was, and what cannot
// be kept is refused by name.
#include "basin/kernels/recording.h"

#include <doctest/doctest.h>

#include <functional>

#include "basin/autograd/ops.h"
#include "basin/kernels/batch_norm.h"
#include "basin/kernels/edge_conv.h"
#include "basin/kernels/edge_message.h"
#include "basin/kernels/gata.h"
#include "basin/kernels/launch.h"
#include "basin/kernels/linear_max.h"
#include "basin/kernels/mlp_jet.h"
#include "basin/kernels/newton_schulz.h"
#include "basin/kernels/update.h"

namespace basin::test {
namespace {

using recorded::field_count;
using recorded::kept_whole;

static_assert(field_count<AdamItem>() == 8);
static_assert(field_count<BnAct>() == 4);
static_assert(field_count<EdgeMessageTensors>() == 11);
static_assert(field_count<EdgeConvPoint>() == 7);
static_assert(field_count<MlpTensors>() == 3);
static_assert(kept_whole<std::span<AdamItem>>() && kept_whole<std::span<const Tensor>>());
static_assert(kept_whole<const GataTensors*>() && kept_whole<Tensor*>());
static_assert(kept_whole<LinearMaxPoint>() && kept_whole<EdgeConvPoint>());
static_assert(kept_whole<std::string_view>() && kept_whole<std::vector<int>>());
static_assert(!kept_whole<const double*>() && !kept_whole<void*>());
static_assert(!kept_whole<std::function<void()>>() && !kept_whole<std::span<const MatrixTask>>());
static_assert(!kept_whole<NewtonSchulzPlan>());

struct Item {
  Tensor from, to;
  double factor;
};

// to = factor from + shift of each item; more where it is given; as the name says.
struct Scaled {
  static constexpr const char* name = "scaled";
  static void cpu(std::span<const Item> items, std::string_view how, const Tensor* shift,
                  std::array<double, 2> more, Tensor* total) {
    for (Item item : items) {
      for (int64_t i = 0; i < item.to.numel(); ++i) {
        double& out = item.to.mutable_data<double>()[i];
        out = item.factor * item.from.data<double>()[i] + (shift ? shift->at(0) : more[1]);
        if (how == "twice") out *= 2;
        if (total) *total->mutable_data<double>() += out;
      }
    }
  }
};

struct Raw {
  static constexpr const char* name = "raw";
  static void cpu(double* to) { *to += 1; }
};

struct Calls {
  static constexpr const char* name = "calls";
  static void cpu(const std::function<void()>& f) { f(); }
};

struct Maker {
  static constexpr const char* name = "maker";
  static void cpu(const Tensor& from, Tensor& out) { out = from.clone(); }
};

}  // namespace

TEST_CASE("recorded kernels: spans, pointers and names are kept beyond the call") {
  const Tensor x = Tensor::full({2}, DType::f64, 1), shift = Tensor::full({1}, DType::f64, 10);
  Tensor y = Tensor::zeros({2}, DType::f64), z = Tensor::zeros({2}, DType::f64);
  Tensor total = Tensor::zeros({1}, DType::f64);
  const DeviceGraph graph = DeviceGraph::record(Device::cpu, [&] {
    std::vector<Item> items{{x, y, 3}};
    std::string how = "twice";
    const Tensor own = shift.clone();
    launch<Scaled>(Device::cpu, std::span<const Item>(items), std::string_view(how), &own,
                   std::array<double, 2>{0, 0}, &total);
    launch<Scaled>(Device::cpu, std::span<const Item>({Item{y, z, 1}}), "once", nullptr,
                   std::array<double, 2>{0, 0.5}, nullptr);
    items[0].factor = 100;
    how = "never";
  });
  REQUIRE(graph.refusal() == "");
  CHECK(y.at(1) == 26);
  CHECK(z.at(1) == 26.5);
  CHECK(total.at(0) == 52);
  Tensor(x).fill(2);
  Tensor(shift).fill(20);
  graph.replay();
  CHECK(y.at(0) == 52);
  CHECK(z.at(0) == 52.5);
  CHECK(total.at(0) == 156);
}

TEST_CASE("recorded kernels: what is not their own is refused, and runs once") {
  Tensor x = Tensor::full({2}, DType::f64, 1), y;
  double value = 0;
  const auto refusal = [](const std::function<void()>& work) {
    return DeviceGraph::record(Device::cpu, work).refusal();
  };
  CHECK(refusal([&] { launch<Raw>(Device::cpu, &value); }) ==
        "kernel raw has arguments that are not its own");
  CHECK(refusal([&] { launch<Calls>(Device::cpu, std::function<void()>([&] { value += 1; })); }) ==
        "kernel calls has arguments that are not its own");
  CHECK(value == 2);
  CHECK(refusal([&] { launch<Maker>(Device::cpu, x, y); }) == "kernel maker makes its own results");
  CHECK(y.at(0) == 1);
}

TEST_CASE("recorded kernels: scratch memory is apart from results, which share theirs") {
  // scatter_sum sorts in scratch memory; long chains between keep every block of the pool in use.
  const int64_t rows = 3000, width = 16;
  std::vector<int32_t> to(rows);
  for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<int32_t>(i * 7 % 500);
  const Tensor index = Tensor::from(to, {rows});
  Tensor x = Tensor::full({rows, width}, DType::f64, 0.5), out = Tensor::zeros({}, DType::f64);
  const auto work = [&] {
    Tensor a = x, sums;
    for (int i = 0; i < 10; ++i) {
      const Tensor b = exp(scale(a, -0.25));
      const Tensor s = scatter_sum(b, index, 500);
      a = add(b, gather(s, index));
      a = scale(a, 1.0 / 8);
    }
    out.copy_from(sum(mul(a, x)));
  };
  const auto plain = [&](double value) {
    x.fill(value);
    work();
    return out.item();
  };
  const double first = plain(0.5), second = plain(0.75);
  CHECK(first != second);
  RepeatedWork repeated(Device::cpu);
  for (int round = 0; round < 4; ++round) {
    x.fill(round % 2 == 0 ? 0.5 : 0.75);
    out.fill(-1);
    repeated.run(work);
    CHECK(repeated.recorded());
    CHECK(out.item() == (round % 2 == 0 ? first : second));
  }
  CHECK(repeated.reserved_bytes() <= size_t{4} << 20);
}

}  // namespace basin::test
