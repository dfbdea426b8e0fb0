// emit, the recording flag, Node, and the default rules of Op.
#include "basin/autograd/op.h"

#include <atomic>

#include "basin/autograd/node.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/recording.h"
#include "basin/autograd/tape.h"

namespace basin {
namespace {

thread_local int recording_depth = 0;

uint64_t next_seq() {
  static std::atomic<uint64_t> counter{0};
  return ++counter;
}

}  // namespace

bool recording() { return recording_depth > 0; }
Recording::Recording() { ++recording_depth; }
Recording::~Recording() { --recording_depth; }

Node::Node(OpRef o, Tensors in, Tensors out)
    : op(std::move(o)), inputs(std::move(in)), outputs(std::move(out)), seq(next_seq()) {
  Positions tracked;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].node()) tracked.insert(i);
  }
  const Keep keep = op->keep(tracked);
  versions.assign(inputs.size() + outputs.size(), 0);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!keep.inputs.contains(i)) {
      inputs[i] = inputs[i].meta();
    } else if (inputs[i].defined()) {
      versions[i] = inputs[i].storage()->version();
    }
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!keep.outputs.contains(i)) {
      outputs[i] = outputs[i].meta();
    } else if (outputs[i].defined()) {
      versions[inputs.size() + i] = outputs[i].storage()->version();
    }
  }
}

// A chain of nodes is as long as the program; destroying it by recursion would overflow the stack.
// The outermost destructor collects the last references below it in a list instead.
Node::~Node() {
  static thread_local std::vector<NodePtr>* pending = nullptr;
  std::vector<NodePtr> mine;
  const bool outermost = pending == nullptr;
  if (outermost) pending = &mine;
  for (Tensor& t : inputs) {
    if (t.node() && t.node().use_count() == 1) pending->push_back(t.node());
    t = Tensor{};
  }
  if (!outermost) return;
  while (!mine.empty()) {
    NodePtr last = std::move(mine.back());
    mine.pop_back();
    last.reset();
  }
  pending = nullptr;
}

namespace {

void check_readable(const Node& node, const Tensor& t, uint64_t version, const char* what,
                    size_t i) {
  if (!t.defined()) {
    fail(ErrorKind::internal, node.op->name(), ": its rule reads ", what, " ", i,
         ", which keep() let go");
  }
  check(t.storage()->version() == version, node.op->name(), ": ", what, " ", i, " ", t.shape(),
        " was written in place after it was recorded; clone it before the write");
}

}  // namespace

Tensor Node::input(size_t i) const {
  check_readable(*this, inputs[i], versions[i], "input", i);
  return inputs[i];
}

Tensor Node::output(size_t i) const {
  check_readable(*this, outputs[i], versions[inputs.size() + i], "output", i);
  Tensor t = outputs[i];
  t.attach(std::const_pointer_cast<Node>(shared_from_this()), static_cast<int>(i));
  return t;
}

Tensors emit(const OpRef& op, const Tensors& in) {
  bool tracked = false;
  Tensors bare;
  bare.reserve(in.size());
  for (const Tensor& t : in) {
    tracked |= t.node() != nullptr;
    bare.push_back(t.node() ? t.detach() : t);
  }
  Tensors out = op->forward(bare);
  if (!tracked || !recording()) return out;
  auto node = std::make_shared<Node>(op, in, out);
  for (size_t i = 0; i < out.size(); ++i) out[i].attach(node, static_cast<int>(i));
  return out;
}

Keep Op::keep(Positions) const { return {Positions::all(), Positions::all()}; }

// u -> vjp(node, u) is linear; its transpose at t is the directional derivative along t.
Tensors Op::jvp(const Node& node, const Tensors& tangents) const {
  Tensors u;
  for (const Tensor& o : node.outputs) {
    u.push_back(is_float(o.dtype()) ? Tensor::zeros(o.shape(), o.dtype(), o.device()) : Tensor{});
  }
  Positions needs;
  for (size_t i = 0; i < tangents.size(); ++i) {
    if (tangents[i].defined()) needs.insert(i);
  }
  // Undefined u stand for outputs without derivative (indices): they take no part in the recording.
  Tensors variables;
  for (const Tensor& t : u) {
    if (t.defined()) variables.push_back(t);
  }
  const Fn transposed = [&](const Tensors& v) {
    Tensors ct(u.size());
    for (size_t i = 0, k = 0; i < u.size(); ++i) {
      if (u[i].defined()) ct[i] = v[k++];
    }
    Tensors grads = vjp(node, ct, needs);
    grads.resize(tangents.size());
    return grads;
  };
  const Tape tape = record(transposed, variables);
  const Tensors pulled = pull(tape, tangents);
  Tensors out(u.size());
  for (size_t i = 0, k = 0; i < u.size(); ++i) {
    if (u[i].defined()) out[i] = pulled[k++];
  }
  return out;
}

Tensors Op::jvp_lanes(const Node& node, const Tensors& tangents, int64_t lanes) const {
  std::vector<Tensors> columns(node.outputs.size());
  for (int64_t lane = 0; lane < lanes; ++lane) {
    Tensors one(tangents.size());
    for (size_t i = 0; i < tangents.size(); ++i) {
      if (!tangents[i].defined()) continue;
      one[i] = reshape(slice(tangents[i], 0, lane, lane + 1), tangents[i].shape().without_first());
    }
    Tensors out = jvp(node, one);
    for (size_t k = 0; k < out.size(); ++k) columns[k].push_back(std::move(out[k]));
  }
  Tensors stacked(columns.size());
  for (size_t k = 0; k < columns.size(); ++k) {
    bool any = false;
    for (const Tensor& t : columns[k]) any |= t.defined();
    if (!any) continue;
    const Tensor& meta = node.output_meta(k);
    for (Tensor& t : columns[k]) {
      if (!t.defined()) t = Tensor::zeros(meta.shape(), meta.dtype(), meta.device());
    }
    stacked[k] = stack(columns[k]);
  }
  return stacked;
}

}  // namespace basin
