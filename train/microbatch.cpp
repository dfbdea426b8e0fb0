// Which rows of a batch's tensors go with which examples.
#include "basin/train/microbatch.h"

#include <algorithm>

#include "basin/autograd/ops.h"

namespace basin {
namespace {

std::vector<int64_t> numbers_of(const Tensor& t) {
  return t.to(Device::cpu).to(DType::i64).to_vector<int64_t>();
}

Tensor shifted(const Tensor& t, int64_t by) {
  std::vector<int64_t> values = numbers_of(t);
  for (int64_t& v : values) v -= by;
  return Tensor::from(values, t.shape()).to(t.dtype()).to(t.device());
}

// The consecutive positions whose number lies in [low, high).
PartRange positions_within(const std::vector<int64_t>& numbers, int64_t low, int64_t high,
                           const std::string& slot) {
  const auto inside = [&](int64_t v) { return v >= low && v < high; };
  const auto first = std::find_if(numbers.begin(), numbers.end(), inside);
  const auto last = std::find_if_not(first, numbers.end(), inside);
  if (std::any_of(last, numbers.end(), inside)) {
    fail(ErrorKind::data, "microbatches: the rows of slot '", slot,
         "' are not in the order of their examples");
  }
  return {first - numbers.begin(), last - numbers.begin()};
}

}  // namespace

PartRange part_range(int64_t n, int64_t index, int64_t parts) {
  check(parts > 0 && index >= 0 && index < parts, "microbatches: expected one of ", parts,
        ", asked for number ", index);
  check(n >= parts, "microbatches: a batch of ", n, " examples cannot be cut into ", parts,
        "; try a smaller --microbatches or a larger --batch");
  const int64_t each = n / parts, longer = n % parts;
  const int64_t begin = index * each + std::min(index, longer);
  return {begin, begin + each + (index < longer ? 1 : 0)};
}

Batch microbatch_by_slots(const Batch& batch, const std::vector<Slot>& slots, int64_t index,
                          int64_t parts) {
  const PartRange examples = part_range(batch.examples, index, parts);
  PartRange nodes, edges;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].kind != SlotKind::owner) continue;
    nodes =
        positions_within(numbers_of(batch.tensors[i]), examples.begin, examples.end, slots[i].name);
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].kind != SlotKind::index || slots[i].rows != Rows::edge) continue;
    edges = positions_within(numbers_of(batch.tensors[i]), nodes.begin, nodes.end, slots[i].name);
  }
  Batch out;
  out.examples = examples.count();
  if (!batch.rows.empty()) {
    out.rows.assign(batch.rows.begin() + examples.begin, batch.rows.begin() + examples.end);
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    const PartRange rows = slots[i].rows == Rows::node   ? nodes
                           : slots[i].rows == Rows::edge ? edges
                                                         : examples;
    Tensor part = slice(batch.tensors[i], 0, rows.begin, rows.end);
    if (slots[i].kind == SlotKind::owner) part = shifted(part, examples.begin);
    if (slots[i].kind == SlotKind::index) part = shifted(part, nodes.begin);
    out.tensors.push_back(std::move(part));
  }
  return out;
}

Batch microbatch_of(const Task& task, const Batch& batch, const std::vector<Slot>& slots,
                    int64_t index, int64_t parts) {
  if (parts == 1) return batch;
  return task.microbatch ? task.microbatch(batch, index, parts)
                         : microbatch_by_slots(batch, slots, index, parts);
}

}  // namespace basin
