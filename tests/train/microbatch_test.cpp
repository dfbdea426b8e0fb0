// Microbatches: how batches are cut, what a step of several computes, and sums over ranks, here
// threads that hand each other bytes.
#include "basin/train/microbatch.h"

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

// What threads send each other.
struct Mail {
  std::mutex mutex;
  std::condition_variable arrived;
  std::map<std::pair<int, int>, std::deque<std::vector<uint8_t>>> under_way;
};

class ThreadRank : public Communicator {
 public:
  ThreadRank(Mail& mail, int rank, int size) : mail_(mail), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void send(std::span<const uint8_t> bytes, int to) override {
    const std::lock_guard lock(mail_.mutex);
    mail_.under_way[{rank_, to}].emplace_back(bytes.begin(), bytes.end());
    mail_.arrived.notify_all();
  }
  void receive(std::span<uint8_t> bytes, int from) override {
    std::unique_lock lock(mail_.mutex);
    auto& queue = mail_.under_way[{from, rank_}];
    mail_.arrived.wait(lock, [&] { return !queue.empty(); });
    std::copy(queue.front().begin(), queue.front().end(), bytes.begin());
    queue.pop_front();
  }
  void broadcast(std::span<uint8_t> bytes, int from) override {
    if (rank_ != from) return receive(bytes, from);
    for (int to = 0; to < size_; ++to) {
      if (to != from) send(bytes, to);
    }
  }

 private:
  Mail& mail_;
  int rank_, size_;
};

Tensors numbers(int64_t part) {
  std::vector<float> large, small;
  for (int64_t i = 0; i < 300000; ++i) {
    large.push_back(1.0f / static_cast<float>(1 + (i * 7 + part * 13) % 1009));
  }
  for (int64_t i = 0; i < 5; ++i) small.push_back(static_cast<float>(part) + 0.1f);
  return {Tensor::from(large, {300, 1000}), Tensor::from(small, {5})};
}

}  // namespace

TEST_CASE("microbatches: sizes differ by one at most, the longer ones first") {
  const auto sizes = [](int64_t n, int64_t parts) {
    std::vector<int64_t> out;
    int64_t end = 0;
    for (int64_t i = 0; i < parts; ++i) {
      const PartRange range = part_range(n, i, parts);
      CHECK(range.begin == end);
      end = range.end;
      out.push_back(range.count());
    }
    CHECK(end == n);
    return out;
  };
  CHECK(sizes(9, 2) == std::vector<int64_t>{5, 4});
  CHECK(sizes(11, 4) == std::vector<int64_t>{3, 3, 3, 2});
  CHECK(sizes(4, 4) == std::vector<int64_t>{1, 1, 1, 1});
  CHECK(contains(error_of([] { part_range(3, 0, 4); }).second,
                 "a batch of 3 examples cannot be cut into 4"));
}

TEST_CASE("microbatches: nodes and edges follow their examples and are numbered anew") {
  const std::vector<Slot> slots{{"x", Rows::node, SlotKind::feature},
                                {"sender", Rows::edge, SlotKind::index},
                                {"owner", Rows::node, SlotKind::owner},
                                {"y", Rows::example, SlotKind::target}};
  const Batch batch{{Tensor::from(std::vector<float>{0, 1, 2, 3, 4}, {5}),
                     Tensor::from(std::vector<int32_t>{0, 1, 2, 4, 3}, {5}),
                     Tensor::from(std::vector<int64_t>{0, 0, 1, 2, 2}, {5}),
                     Tensor::from(std::vector<float>{7, 8, 9}, {3})},
                    3,
                    {10, 11, 12}};
  const Batch second = microbatch_by_slots(batch, slots, 1, 2);
  CHECK(second.examples == 1);
  CHECK(second.rows == std::vector<int64_t>{12});
  CHECK(second.tensors[0].to_vector<float>() == std::vector<float>{3, 4});
  CHECK(second.tensors[1].to_vector<int32_t>() == std::vector<int32_t>{1, 0});
  CHECK(second.tensors[2].to_vector<int64_t>() == std::vector<int64_t>{0, 0});
  CHECK(second.tensors[3].to_vector<float>() == std::vector<float>{9});
}

TEST_CASE("microbatches: the sum over ranks has the bits of one process") {
  constexpr int kParts = 6;
  OneProcess alone;
  OrderedSum whole(alone);
  for (int64_t part = 0; part < kParts; ++part) whole.add(numbers(part));
  const Tensors expected = whole.result();
  for (const int ranks : {2, 3, 6}) {
    Mail mail;
    std::vector<Tensors> got(static_cast<size_t>(ranks));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < ranks; ++rank) {
      threads.emplace_back([&, rank] {
        ThreadRank processes(mail, rank, ranks);
        OrderedSum sum(processes);
        const int each = kParts / ranks;
        for (int part = rank * each; part < (rank + 1) * each; ++part) sum.add(numbers(part));
        got[static_cast<size_t>(rank)] = sum.result();
      });
    }
    for (std::thread& t : threads) t.join();
    for (const Tensors& sums : got) {
      for (size_t i = 0; i < expected.size(); ++i) {
        CHECK(sums[i].to_vector<float>() == expected[i].to_vector<float>());
      }
    }
  }
}

TEST_CASE("microbatches: without batch norm and masks a step is that of the whole batch") {
  Settings settings = tiny_molecules("sgd");
  settings.task.model.options.insert_or_assign("dropout", "0");
  settings.train.dtype = DType::f64;
  settings.train.batch = 15;
  std::vector<std::vector<double>> weights;
  for (const int64_t parts : {1, 4}) {
    settings.train.microbatches = parts;
    const Problem problem(settings);
    Trainer trainer(problem.task, problem.options);
    CHECK(trainer.state().buffers.size() == 0);
    std::vector<double> all{trainer.step().loss};
    for (const Param& p : trainer.state().params) {
      for (const double v : p.value.to_vector<double>()) all.push_back(v);
    }
    weights.push_back(std::move(all));
  }
  REQUIRE(weights[0].size() == weights[1].size());
  for (size_t i = 0; i < weights[0].size(); ++i) {
    CHECK(std::abs(weights[0][i] - weights[1][i]) <= 1e-12 * (1 + std::abs(weights[0][i])));
  }
}

TEST_CASE("microbatches: a resumed run has the bits of a whole one") {
  const TempDir dir;
  Settings settings = tiny_shapes("muon");
  settings.train.microbatches = 3;
  const Problem problem(settings);
  CHECK(train(problem, dir / "whole").completed);
  int starts = 0;
  while (starts < 100 && !train(problem, dir / "pieces", 4).completed) ++starts;
  CHECK(starts > 1);
  CHECK(timeless_lines(dir / "pieces") == timeless_lines(dir / "whole"));
  const int64_t last = checkpoint_steps(dir / "whole/ckpt").back();
  CHECK(hashes(dir / "pieces", last) == hashes(dir / "whole", last));
}

}  // namespace basin::test
