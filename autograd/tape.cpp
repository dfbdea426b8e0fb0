// record, pull and push. Sweeps index slots; nothing is hashed. Accumulation happens in place when
// nobody else holds the sum and nothing is being recorded.
#include "basin/autograd/tape.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "basin/autograd/detail/recording.h"
#include "basin/autograd/ops.h"
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

Tensor zeros_like(const Tensor& meta) {
  return Tensor::zeros(meta.shape(), meta.dtype(), meta.device());
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

void check_tangents(const Tensors& inputs, const Tensors& tangents) {
  check_same_count("push", inputs.size(), tangents.size());
  for (size_t i = 0; i < tangents.size(); ++i) {
    if (!tangents[i].defined()) continue;
    check(tangents[i].shape() == inputs[i].shape(), "push: tangent ", i, " has shape ",
          tangents[i].shape(), ", expected ", inputs[i].shape());
  }
}

// The tangents of node p's inputs; empty where all are zero.
Tensors node_tangents(const Tape& tape, size_t p, const Tensors& slots) {
  Tensors in(tape.path[p]->inputs.size());
  bool any = false;
  for (size_t i = 0; i < in.size(); ++i) {
    const int slot = tape.edges[tape.first_edge[p] + i];
    if (slot >= 0) in[i] = slots[slot];
    any |= in[i].defined();
  }
  if (!any) in.clear();
  return in;
}

// Keeps what node p gives, and lets go of what nobody reads after it.
void store_tangents(const Tape& tape, size_t p, Tensors out, Tensors& slots) {
  for (size_t k = 0; k < out.size(); ++k) slots[tape.first_slot[p] + k] = std::move(out[k]);
  for (size_t i = 0; i < tape.path[p]->inputs.size(); ++i) {
    const int slot = tape.edges[tape.first_edge[p] + i];
    if (slot >= 0 && tape.last_reader[slot] == static_cast<int>(p)) slots[slot] = Tensor{};
  }
}

Tensors output_tangents(const Tape& tape, const Tensors& slots) {
  Tensors result;
  for (size_t i = 0; i < tape.outputs.size(); ++i) {
    const int slot = tape.output_slots[i];
    const bool known = slot >= 0 && slots[slot].defined();
    result.push_back(known ? finished(slots[slot]) : zeros_like(tape.outputs[i]));
  }
  return result;
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

Tensors push(const Tape& tape, const Tensors& tangents) {
  return std::move(push_lanes(tape, {tangents}).front());
}

std::pair<Tensors, Tensors> push_along(const Fn& f, const Tensors& x, const Tensors& tangents) {
  check(!x.empty(), "jvp: the function needs at least one input");
  check_tangents(x, tangents);
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

std::vector<Tensors> push_lanes(const Tape& tape, const std::vector<Tensors>& tangents) {
  check(!tangents.empty(), "push_lanes: expects at least one lane, got none");
  std::vector<Tensors> slots;  // of each lane
  for (const Tensors& lane : tangents) {
    check_tangents(tape.inputs, lane);
    slots.push_back(lane);
    slots.back().resize(tape.slots);
  }
  for (size_t p = 0; p < tape.path.size(); ++p) {
    std::vector<size_t> moving;  // the lanes that are not zero here
    std::vector<Tensors> in;
    for (size_t lane = 0; lane < slots.size(); ++lane) {
      Tensors t = node_tangents(tape, p, slots[lane]);
      if (t.empty()) continue;
      moving.push_back(lane);
      in.push_back(std::move(t));
    }
    if (moving.empty()) continue;
    const Node& node = *tape.path[p];
    if (moving.size() == 1) {
      store_tangents(tape, p, node.op->jvp(node, in[0]), slots[moving[0]]);
      continue;
    }
    std::vector<Tensors> out = node.op->jvp_lanes(node, in);
    for (size_t m = 0; m < moving.size(); ++m) {
      store_tangents(tape, p, std::move(out[m]), slots[moving[m]]);
    }
  }
  std::vector<Tensors> results;
  for (const Tensors& lane : slots) results.push_back(output_tangents(tape, lane));
  return results;
}

bool lanes_share_work(const Tape& tape) {
  return std::any_of(tape.path.begin(), tape.path.end(),
                     [](const NodePtr& node) { return node->op->lanes_share_work(); });
}

}  // namespace basin
