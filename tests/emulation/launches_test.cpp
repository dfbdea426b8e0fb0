// What a training step and a Hessian-vector product of each network ask of a device at full size:
// launches, library products, waits, copies, memory. Nothing is computed (counts.h). The numbers
// are held against those of launches.txt, so that a change that makes a step wait, or launch more,
// is seen. BASIN_RECORD_LAUNCHES=FILE: add them to FILE instead.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "basin/autograd/ops.h"
#include "basin/autograd/transform.h"
#include "basin/kernels/csr.h"
#include "basin/kernels/gemm.h"
#include "basin/kernels/launch.h"
#include "basin/models/model.h"
#include "basin/optim/registry.h"
#include "basin/tests/emulation/cloud_task.h"
#include "basin/tests/emulation/counts.h"
#include "basin/train/step.h"

using namespace basin;
using testing::cloud_task;

namespace {

constexpr double kGrowth = 1.05;  // of a stored number; beyond it a step has become dearer

// "NAME KEY": number
std::map<std::string, int64_t> stored_numbers() {
  std::ifstream in(std::string(BASIN_SOURCE_DIR) + "/tests/emulation/launches.txt");
  std::map<std::string, int64_t> all;
  std::string line, name, key;
  while (std::getline(in, line)) {
    int64_t number = 0;
    if (line.starts_with("#") || !(std::istringstream(line) >> name >> key >> number)) continue;
    all[name + " " + key] = number;
  }
  return all;
}

std::vector<std::pair<std::string, int64_t>> numbers_of(const emu::Counts& c) {
  return {{"kernels", c.kernels},   {"few_blocks", c.few_blocks}, {"products", c.products},
          {"waits", c.waits},       {"copies", c.copies},         {"copied_bytes", c.copied},
          {"mappings", c.mappings}, {"unmappings", c.unmappings}};
}

// One sentence about each number that has grown; empty: none. Few blocks are told, not held: more
// of them can be a gain. A wait, copy or mapping more is one too many.
std::string grown(const std::string& name, const emu::Counts& counts, int64_t reserved) {
  static const std::map<std::string, int64_t> stored = stored_numbers();
  std::string text;
  auto all = numbers_of(counts);
  all.emplace_back("reserved_bytes", reserved);
  for (const auto& [key, number] : all) {
    if (key == "few_blocks") continue;
    const auto before = stored.find(name + " " + key);
    if (before == stored.end()) {
      text += str(name, ": ", key, " has no stored number, it is ", number, "\n");
      continue;
    }
    const bool exact =
        key == "waits" || key == "copies" || key == "mappings" || key == "unmappings";
    const double most = static_cast<double>(before->second) * (exact ? 1 : kGrowth);
    if (static_cast<double>(number) > most) {
      text += str(name, ": ", number, " ", key, ", stored are ", before->second, "\n");
    }
  }
  return text;
}

void hold(const std::string& name, const emu::Counts& counts, int64_t reserved) {
  if (const char* file = std::getenv("BASIN_RECORD_LAUNCHES")) {
    std::ofstream out(file, std::ios::app);
    for (const auto& [key, number] : numbers_of(counts)) {
      out << name << " " << key << " " << number << "\n";
    }
    out << name << " reserved_bytes " << reserved << "\n";
    for (const auto& [kernel, n] : counts.by_kernel) {
      out << "# " << name << " " << kernel << " " << n << "\n";
    }
    return;
  }
  const std::string complaints = grown(name, counts, reserved);
  CHECK_MESSAGE(complaints.empty(), complaints);
}

// Since the memory of what ran before in this process was given back.
int64_t reserved_bytes(int64_t before) {
  return static_cast<int64_t>(allocator_stats(Device::cuda).reserved_bytes) - before;
}

// Clouds of 1,024 points, 32 in a batch, 40 classes.
Batch clouds() {
  return {{Tensor::zeros({32, 1024, 3}, DType::f32), Tensor::zeros({32}, DType::i64)}, 32, {}};
}

// cuBLAS has its workspace from then on, whatever ran before in this process.
void use_library() {
  const Tensor a = Tensor::zeros({2, 2}, DType::f32, Device::cuda);
  matmul(a, a);
}

// The third step, when the allocator has its blocks, launch by launch.
void count_step(const std::string& name, const Task& task, const Batch& batch,
                const std::string& optimizer) {
  const emu::CountOnly nothing_runs;
  use_library();
  release_cached_memory(Device::cuda);
  const int64_t held = reserved_bytes(0);
  ModelState state = init_model(task.model, 0, DType::f32).to(Device::cuda);
  const std::unique_ptr<Optimizer> rule = make_optimizer({.name = optimizer}, state.params);
  TrainStep step(task, state, *rule, {.batch = batch.examples});
  emu::Counts before;
  for (int i = 0; i < 3; ++i) {
    before = emu::counts();
    step.set_batch(batch);
    step.start(i, 1.0);
    step.finish();
  }
  hold(name + "." + optimizer, emu::counts() - before, reserved_bytes(held));
}

// A further product of the same batch, as the estimators pay it: the gradient is linearised once.
void count_product(const std::string& name, const Task& task, const Batch& batch) {
  const emu::CountOnly nothing_runs;
  use_library();
  release_cached_memory(Device::cuda);
  const int64_t held = reserved_bytes(0);
  const ModelState state = init_model(task.model, 0, DType::f32).to(Device::cuda);
  Batch there = batch;
  for (Tensor& t : there.tensors) t = t.to(Device::cuda);
  const Objective objective =
      task.objective(state.buffers.values(), there, ForwardOptions::evaluation());
  const Fn loss = [&](const Tensors& params) {
    return Tensors{objective.terms(objective.outputs(params)).front()};
  };
  const Tensors params = state.params.values();
  Tensors direction;
  for (const Tensor& p : params) {
    direction.push_back(Tensor::full(p.shape(), p.dtype(), 1, Device::cuda));
  }
  const auto product = linearize(grad(loss), params);
  product(direction);
  const emu::Counts before = emu::counts();
  product(direction);
  hold(name + ".product", emu::counts() - before, reserved_bytes(held));
}

void count_cloud_network(const char* name) {
  const Task task = cloud_task(make_model({.name = name, .outputs = 40}));
  for (const char* optimizer : {"adamw", "muon"}) count_step(name, task, clouds(), optimizer);
  count_product(name, task, clouds());
}

// The workspace of cuBLAS was once a block of the pool in which cuBLAS was first used, which then
// never gave its memory back.
TEST_CASE("launches: a pool returns its memory when the work in it used cuBLAS first") {
  const emu::CountOnly nothing_runs;
  const Tensor a = Tensor::zeros({64, 64}, DType::f32, Device::cuda);
  Tensor kept = Tensor::zeros({64, 64}, DType::f32, Device::cuda);
  const emu::Counts before = emu::counts();
  {
    RepeatedWork repeated(Device::cuda);
    const auto work = [&] { kept.copy_from(matmul(a, exp(a))); };
    for (int i = 0; i < 3; ++i) repeated.run(work);
    CHECK(repeated.recorded());
    CHECK(repeated.reserved_bytes() > 0);
    // The work's own two tensors, not the 32 MiB of the workspace.
    CHECK(repeated.reserved_bytes() < (size_t{8} << 20));
  }
  const emu::Counts counts = emu::counts() - before;
  CHECK(counts.products == 2);  // run and recorded; the replay is one launch of the graph
  // All but the workspace, which the device's allocator keeps.
  CHECK(counts.mappings > 0);
  CHECK(counts.unmappings >= counts.mappings - 1);
}

TEST_CASE("launches: what a grid or a list of 32 bits cannot hold is one sentence") {
  const emu::CountOnly nothing_runs;
  const auto sentence_of = [](const auto& f) {
    try {
      f();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("nothing was thrown");
  };
  const Tensor index = Tensor::empty({(int64_t{1} << 31) + 5}, DType::i32, Device::cuda);
  Tensor offsets = Tensor::empty({9}, DType::i32, Device::cuda);
  Tensor order = Tensor::empty({5}, DType::i32, Device::cuda);
  CHECK(sentence_of([&] { SortByRow::cuda(index, offsets, order); }) ==
        "sort_by_row: 2147483653 indices of 8 rows, a GPU sorts at most 2147483647");
}

TEST_CASE("launches: a step of PointNet") { count_cloud_network("pointnet"); }
TEST_CASE("launches: a step of DGCNN") { count_cloud_network("dgcnn"); }
TEST_CASE("launches: a step of EGNN") { count_cloud_network("egnn"); }

// A step that waits, and one that launches what it need not: both must be told.
TEST_CASE("launches: a planted wait and a planted launch are told") {
  emu::Counts counts;
  const std::map<std::string, int64_t> stored = stored_numbers();
  counts.kernels = stored.at("pointnet.adamw kernels");
  counts.products = stored.at("pointnet.adamw products");
  counts.waits = stored.at("pointnet.adamw waits");
  counts.copies = stored.at("pointnet.adamw copies");
  counts.copied = stored.at("pointnet.adamw copied_bytes");
  CHECK(grown("pointnet.adamw", counts, 0).empty());
  {
    const emu::CountOnly nothing_runs;
    const Tensor x = Tensor::zeros({4}, DType::f32, Device::cuda);
    const emu::Counts before = emu::counts();
    x.to_vector<float>();
    const emu::Counts planted = emu::counts() - before;
    CHECK(planted.waits > 0);
    counts.waits += 1;
  }
  CHECK(grown("pointnet.adamw", counts, 0) ==
        str("pointnet.adamw: ", counts.waits, " waits, stored are ", counts.waits - 1, "\n"));
  counts.waits -= 1;
  counts.kernels += counts.kernels / 15;
  CHECK(grown("pointnet.adamw", counts, 0) == str("pointnet.adamw: ", counts.kernels,
                                                  " kernels, stored are ",
                                                  stored.at("pointnet.adamw kernels"), "\n"));
}

}  // namespace
