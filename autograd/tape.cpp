// record, pull and push. Sweeps index slots; nothing is hashed. Accumulation happens in place when
// nobody else holds the sum and nothing is being recorded.
#include "basin/autograd/tape.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "basin/autograd/ops.h"
#include "basin/autograd/recording.h"
#include "basin/kernels/elementwise.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

// The node of a fresh differentiation variable: the identity, so that an outer recording sees
// through it.
struct Variable final : Op {
  std::string_view name() const override { return "variable"; }
  Tensors forward(const Tensors& in) const override { return in; }
  Tensors vjp(const Node&, const Tensors& ct, Positions) const override { return ct; }
  Tensors jvp(const Node&, const Tensors& t) const override { return t; }
  Tensors jvp_lanes(const Node&, const Tensors& t, int64_t) const override { return t; }
  Keep keep(Positions) const override { return {}; }
};

Tensor fresh_variable(const Tensor& x) {
  static const OpRef op = std::make_shared<Variable>();
  check(x.defined(), "record: an input is undefined");
  Tensor v = x.detach();
  v.attach(std::make_shared<Node>(op, Tensors{x}, Tensors{x.detach()}), 0);
  v.node()->tangents = {tangent_of(x)};
  return v;
}

void accumulate(Tensor& sum, Tensor term) {
  if (!sum.defined()) {
    sum = std::move(term);
    return;
  }
  const bool own =
      !tracking() && !sum.node() && sum.storage().use_count() == 1 && sum.shape() == term.shape();
  if (own) {
    launch<BinaryMap>(sum.device(), Binary::add, sum, term.detach(), sum);
  } else {
    sum = add(sum, term);
  }
}

Tensor zeros_like(const Tensor& meta, int64_t lanes = 0) {
  Shape shape = meta.shape();
  if (lanes > 0) shape.push_front(lanes);
  return Tensor::zeros(shape, meta.dtype(), meta.device());
}

// Where nobody follows results carry no place on a tape.
Tensor finished(const Tensor& t) { return tracking() ? t : t.detach(); }

void check_same_count(const char* what, size_t expected, size_t got) {
  check(expected == got, what, ": expects ", expected, " tensors, got ", got);
}

// The backward sweep over path[p], given its outputs' cotangents; shared by pull and
// pull_and_release.
void pull_node(const Tape& tape, size_t p, Tensors& slots) {
  const Node& node = *tape.path[p];
  const int base = tape.first_slot[p];
  Tensors ct(node.outputs.size());
  bool any = false;
  for (size_t k = 0; k < ct.size(); ++k) {
    ct[k] = std::move(slots[base + k]);
    slots[base + k] = Tensor{};
    any |= ct[k].defined();
  }
  if (!any) return;
  const int first = tape.first_edge[p];
  Positions needs;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (tape.edges[first + i] >= 0) needs.insert(i);
  }
  Tensors grads = node.op->vjp(node, ct, needs);
  for (size_t i = 0; i < grads.size(); ++i) {
    const int slot = tape.edges[first + i];
    if (slot >= 0 && grads[i].defined()) accumulate(slots[slot], std::move(grads[i]));
  }
}

Tensors seeded_slots(const Tape& tape, const Tensors& cotangents) {
  check_same_count("pull", tape.outputs.size(), cotangents.size());
  Tensors slots(tape.slots);
  for (size_t i = 0; i < cotangents.size(); ++i) {
    if (!cotangents[i].defined() || tape.output_slots[i] < 0) continue;
    check(cotangents[i].shape() == tape.outputs[i].shape(), "pull: cotangent ", i, " has shape ",
          cotangents[i].shape(), ", the output has ", tape.outputs[i].shape());
    accumulate(slots[tape.output_slots[i]], cotangents[i]);
  }
  return slots;
}

Tensors input_grads(const Tape& tape, Tensors& slots) {
  Tensors grads;
  for (size_t i = 0; i < tape.inputs.size(); ++i) {
    grads.push_back(slots[i].defined() ? finished(slots[i]) : zeros_like(tape.inputs[i]));
  }
  return grads;
}

void check_tangents(const Tensors& inputs, const Tensors& tangents, int64_t lanes) {
  check_same_count("push", inputs.size(), tangents.size());
  for (size_t i = 0; i < tangents.size(); ++i) {
    if (!tangents[i].defined()) continue;
    Shape expected = inputs[i].shape();
    if (lanes > 0) expected.push_front(lanes);
    check(tangents[i].shape() == expected, "push: tangent ", i, " has shape ", tangents[i].shape(),
          ", expected ", expected);
  }
}

Tensors push_any(const Tape& tape, const Tensors& tangents, int64_t lanes) {
  check_tangents(tape.inputs, tangents, lanes);
  Tensors slots(tape.slots);
  std::copy(tangents.begin(), tangents.end(), slots.begin());
  for (size_t p = 0; p < tape.path.size(); ++p) {
    const Node& node = *tape.path[p];
    const int first = tape.first_edge[p];
    Tensors in(node.inputs.size());
    bool any = false;
    for (size_t i = 0; i < in.size(); ++i) {
      const int slot = tape.edges[first + i];
      if (slot >= 0) in[i] = slots[slot];
      any |= in[i].defined();
    }
    if (!any) continue;
    Tensors out = lanes > 0 ? node.op->jvp_lanes(node, in, lanes) : node.op->jvp(node, in);
    for (size_t k = 0; k < out.size(); ++k) slots[tape.first_slot[p] + k] = std::move(out[k]);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const int slot = tape.edges[first + i];
      if (slot >= 0 && tape.last_reader[slot] == static_cast<int>(p)) slots[slot] = Tensor{};
    }
  }
  Tensors result;
  for (size_t i = 0; i < tape.outputs.size(); ++i) {
    const int slot = tape.output_slots[i];
    const bool known = slot >= 0 && slots[slot].defined();
    result.push_back(known ? finished(slots[slot]) : zeros_like(tape.outputs[i], lanes));
  }
  return result;
}

// Whether a sweep with all lanes beats one sweep per lane. Small tensors are mostly overhead, which
// the lanes share; large ones are slower together, because they no longer fit into the caches.
bool together_is_faster(const Tape& tape) {
  constexpr int64_t kSmall = int64_t{1} << 15;  // elements of one lane
  int64_t widest = 0;
  for (const NodePtr& node : tape.path) {
    if (node->op->lanes_share_work()) return true;
    for (const Tensor& t : node->outputs) widest = std::max(widest, t.numel());
  }
  return widest <= kSmall || tape.inputs[0].device() != Device::cpu;
}

}  // namespace

Tape record(const Fn& f, const Tensors& x) {
  check(!x.empty(), "record: the function needs at least one input");
  Tape tape;
  {
    const Recording on;
    for (const Tensor& t : x) tape.inputs.push_back(fresh_variable(t));
    tape.outputs = f(tape.inputs);
  }
  static std::atomic<uint64_t> walks{0};
  const uint64_t seen = 2 * ++walks, on_path = seen + 1;
  const uint64_t oldest = tape.inputs.front().node()->seq;
  for (const Tensor& v : tape.inputs) {
    v.node()->mark = on_path;
    v.node()->first_slot = tape.slots++;
  }
  std::vector<NodePtr> found, stack;
  const auto visit = [&](const NodePtr& n) {
    if (!n || n->seq < oldest || n->mark >= seen) return;  // older nodes cannot depend on x
    n->mark = seen;
    found.push_back(n);
    stack.push_back(n);
  };
  for (const Tensor& o : tape.outputs) visit(o.node());
  while (!stack.empty()) {
    const NodePtr n = std::move(stack.back());
    stack.pop_back();
    for (const Tensor& i : n->inputs) visit(i.node());
  }
  std::sort(found.begin(), found.end(), [](auto& a, auto& b) { return a->seq < b->seq; });
  const auto slot_of = [&](const Tensor& t) {
    return t.node() && t.node()->mark == on_path ? t.node()->first_slot + t.slot() : -1;
  };
  for (const NodePtr& n : found) {
    bool depends = false;
    for (const Tensor& i : n->inputs) depends |= slot_of(i) >= 0;
    if (!depends) continue;
    tape.first_edge.push_back(static_cast<int>(tape.edges.size()));
    for (const Tensor& i : n->inputs) tape.edges.push_back(slot_of(i));
    n->mark = on_path;
    n->first_slot = tape.slots;
    tape.first_slot.push_back(tape.slots);
    tape.slots += static_cast<int>(n->outputs.size());
    tape.path.push_back(n);
  }
  tape.last_reader.assign(tape.slots, -1);
  for (size_t p = 0; p < tape.path.size(); ++p) {
    for (size_t i = 0; i < tape.path[p]->inputs.size(); ++i) {
      const int slot = tape.edges[tape.first_edge[p] + i];
      if (slot >= 0) tape.last_reader[slot] = static_cast<int>(p);
    }
  }
  for (const Tensor& o : tape.outputs) {
    tape.output_slots.push_back(slot_of(o));
    const int slot = tape.output_slots.back();
    if (slot >= 0) tape.last_reader[slot] = std::numeric_limits<int>::max();
  }
  return tape;
}

Tensors pull(const Tape& tape, const Tensors& cotangents) {
  Tensors slots = seeded_slots(tape, cotangents);
  for (size_t p = tape.path.size(); p-- > 0;) pull_node(tape, p, slots);
  return input_grads(tape, slots);
}

Tensors pull_and_release(Tape&& given, const Tensors& cotangents) {
  Tape tape = std::move(given);
  Tensors slots = seeded_slots(tape, cotangents);
  tape.outputs.clear();  // the caller holds what it wants of them
  for (size_t p = tape.path.size(); p-- > 0;) {
    pull_node(tape, p, slots);
    tape.path[p].reset();
  }
  return input_grads(tape, slots);
}

void pull_watched(Tape&& given, const Tensors& cotangents, const SweepWatch& seen) {
  Tape tape = std::move(given);
  Tensors slots = seeded_slots(tape, cotangents);
  tape.outputs.clear();
  for (size_t p = tape.path.size(); p-- > 0;) {
    pull_node(tape, p, slots);
    const Node& node = *tape.path[p];
    Tensors sums(node.inputs.size());
    for (size_t i = 0; i < sums.size(); ++i) {
      const int slot = tape.edges[tape.first_edge[p] + i];
      if (slot >= 0) sums[i] = slots[slot].detach();
    }
    if (!seen(node, sums)) return;
    sums.clear();  // a sum that somebody else holds is not added to in place
    tape.path[p].reset();
  }
}

Tensors push(const Tape& tape, const Tensors& tangents) { return push_any(tape, tangents, 0); }

std::pair<Tensors, Tensors> push_along(const Fn& f, const Tensors& x, const Tensors& tangents) {
  check(!x.empty(), "jvp: the function needs at least one input");
  check_tangents(x, tangents, 0);
  const ForwardMode on;
  Tensors moving;
  for (size_t i = 0; i < x.size(); ++i) {
    check(x[i].defined(), "jvp: input ", i, " is undefined");
    moving.push_back(tangents[i].defined() ? with_tangent(x[i], tangents[i]) : x[i].detach());
  }
  std::pair<Tensors, Tensors> result;
  for (const Tensor& y : f(moving)) {
    const Tensor t = tangent_of(y);
    result.first.push_back(y.detach());
    result.second.push_back(t.defined() ? t : zeros_like(y));
  }
  return result;
}

Tensors push_lanes(const Tape& tape, const Tensors& tangents, int64_t lanes) {
  check(lanes > 0, "push_lanes: expects at least one lane, got ", lanes);
  if (together_is_faster(tape)) return push_any(tape, tangents, lanes);
  check_tangents(tape.inputs, tangents, lanes);
  std::vector<Tensors> columns(tape.outputs.size());
  for (const Tensors& one : split_lanes(tangents, lanes)) {
    Tensors out = push_any(tape, one, 0);
    for (size_t i = 0; i < out.size(); ++i) columns[i].push_back(std::move(out[i]));
  }
  Tensors result;
  for (const Tensors& column : columns) result.push_back(stack(column));
  return result;
}

}  // namespace basin
