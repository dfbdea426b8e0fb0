// emit, the recording flag, Node, and the default rules of Op.
#include "basin/autograd/op.h"

#include <atomic>
#include <tuple>
#include <utility>

#include "basin/autograd/detail/recording.h"
#include "basin/autograd/node.h"
#include "basin/autograd/ops.h"
#include "basin/autograd/tape.h"

namespace basin {
namespace {

thread_local int recording_depth = 0;
thread_local bool forward_mode = false;
thread_local EmitWatch* watch = nullptr;

uint64_t next_seq() {
  static std::atomic<uint64_t> counter{0};
  return ++counter;
}

}  // namespace

bool recording() { return recording_depth > 0; }
Recording::Recording() { ++recording_depth; }
Recording::~Recording() { --recording_depth; }
bool tracking() { return recording_depth > 0 || forward_mode; }

ForwardMode::ForwardMode() {
  if (forward_mode) fail(ErrorKind::internal, "forward mode is on already");
  forward_mode = true;
}
ForwardMode::~ForwardMode() { forward_mode = false; }

ValuesOnly::ValuesOnly()
    : depth_(std::exchange(recording_depth, 0)), forward_(std::exchange(forward_mode, false)) {}
ValuesOnly::~ValuesOnly() {
  recording_depth = depth_;
  forward_mode = forward_;
}

Tensor with_tangent(const Tensor& x, const Tensor& tangent) {
  Tensor t = x.detach();
  t.attach(std::make_shared<Node>(Tensors{tangent}), 0);
  return t;
}

Tensor tangent_of(const Tensor& x) {
  const bool known = x.node() && !x.node()->tangents.empty();
  return known ? x.node()->tangents[static_cast<size_t>(x.slot())] : Tensor{};
}

EmitWatch::EmitWatch() : before_(watch) { watch = this; }
EmitWatch::~EmitWatch() { watch = before_; }

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

Node::Node(Tensors carried) : tangents(std::move(carried)), seq(next_seq()) {}

// A chain of nodes is as long as the program; destroying it by recursion would overflow the stack.
// The outermost destructor works through the last references below it in a list instead, which is
// linked through the nodes themselves.
Node::~Node() {
  static thread_local NodePtr* waiting = nullptr;
  NodePtr mine;
  const bool outermost = waiting == nullptr;
  if (outermost) waiting = &mine;
  for (Tensor& t : inputs) {
    NodePtr n = t.node();
    t = Tensor{};
    if (n && n.use_count() == 1) {
      n->next_waiting = std::move(*waiting);
      *waiting = std::move(n);
    }
  }
  if (!outermost) return;
  while (mine) {
    const NodePtr last = std::move(mine);
    mine = std::move(last->next_waiting);
  }
  waiting = nullptr;
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
  Tensors tangents;
  bool moving = false;
  if (forward_mode && tracked) {
    tangents.resize(in.size());
    for (size_t i = 0; i < in.size(); ++i) {
      tangents[i] = tangent_of(in[i]);
      moving |= tangents[i].defined();
    }
  }
  Tensors out, out_t;
  if (moving) {
    const ValuesOnly plain;
    std::tie(out, out_t) = op->forward_jvp(bare, tangents);
  }
  if (out.empty()) out = op->forward(bare);
  if (watch != nullptr) [[unlikely]]
    watch->emitted(*op, in, out);
  if (!tracked || (!recording() && !moving)) return out;
  auto node = std::make_shared<Node>(op, in, out);
  if (moving && out_t.empty()) {
    const ValuesOnly plain;
    out_t = op->jvp(*node, tangents);
  }
  if (recording()) {
    node->tangents = std::move(out_t);
  } else {
    node = std::make_shared<Node>(std::move(out_t));  // nobody will read the rule's inputs
  }
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

std::pair<Tensors, Tensors> Op::forward_jvp(const Tensors&, const Tensors&) const { return {}; }

std::vector<Tensors> Op::jvp_lanes(const Node& node, const std::vector<Tensors>& tangents) const {
  std::vector<Tensors> results;
  for (const Tensors& lane : tangents) results.push_back(jvp(node, lane));
  return results;
}

}  // namespace basin
