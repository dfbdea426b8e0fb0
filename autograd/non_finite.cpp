// Two searches: forwards while the ops are emitted, then backwards over a tape, node by node.
#include "basin/autograd/non_finite.h"

#include <cmath>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "basin/autograd/detail/recording.h"

namespace basin {
namespace {

// The nodes of the differentiation variables, which know their position in x.
using Leaves = std::unordered_map<const Node*, int>;

Leaves leaves_of(const Tensors& variables) {
  Leaves out;
  for (size_t i = 0; i < variables.size(); ++i) {
    out.emplace(variables[i].node().get(), static_cast<int>(i));
  }
  return out;
}

struct Earlier {
  bool operator()(const Node* a, const Node* b) const { return a->seq < b->seq; }
};

// What `in` reads of x, else what the latest op upstream reads.
std::vector<int> nearest_parameters(const Tensors& in, const Leaves& leaves) {
  std::priority_queue<const Node*, std::vector<const Node*>, Earlier> upstream;
  std::unordered_set<const Node*> seen;
  const auto read = [&](const Tensors& tensors) {
    std::vector<int> found;
    for (const Tensor& t : tensors) {
      const Node* n = t.node().get();
      if (n == nullptr) continue;
      if (const auto leaf = leaves.find(n); leaf != leaves.end()) {
        if (seen.insert(n).second) found.push_back(leaf->second);
      } else if (seen.insert(n).second) {
        upstream.push(n);
      }
    }
    return found;
  };
  std::vector<int> found = read(in);
  while (found.empty() && !upstream.empty()) {
    const Node* latest = upstream.top();
    upstream.pop();
    found = read(latest->inputs);
  }
  return found;
}

class ForwardSearch final : public EmitWatch {
 public:
  void start(const Tensors& variables) { leaves_ = leaves_of(variables); }

  void emitted(const Op& op, const Tensors& in, const Tensors& out) override {
    for (size_t i = 0; !found && i < out.size(); ++i) {
      const auto first = first_non_finite(out[i]);
      if (!first) continue;
      found.emplace();
      found->sweep = Sweep::forward;
      found->op = op.name();
      found->position = static_cast<int64_t>(i);
      found->shape = out[i].shape();
      found->first = *first;
      for (const Tensor& t : in) found->from_inputs |= first_non_finite(t).has_value();
      found->parameters = nearest_parameters(in, leaves_);
    }
  }

  std::optional<NonFinite> found;

 private:
  Leaves leaves_;
};

std::optional<NonFinite> search_forward(const Fn& f, const Tensors& x, Tape& tape) {
  ForwardSearch search;
  try {
    tape = record(
        [&](const Tensors& variables) {
          search.start(variables);
          return f(variables);
        },
        x);
  } catch (const Error&) {
    if (!search.found) throw;
  }
  return std::move(search.found);
}

std::optional<NonFinite> search_backward(Tape&& tape) {
  const Tensor& value = tape.outputs[0];
  Tensors cotangents(tape.outputs.size());
  cotangents[0] = Tensor::full(value.shape(), value.dtype(), 1, value.device());
  const Leaves leaves = leaves_of(tape.inputs);
  std::optional<NonFinite> found;
  pull_watched(std::move(tape), cotangents, [&](const Node& node, const Tensors& sums) {
    for (size_t i = 0; !found && i < sums.size(); ++i) {
      const auto first = first_non_finite(sums[i]);
      if (!first) continue;
      found.emplace();
      found->sweep = Sweep::backward;
      found->op = node.op->name();
      found->position = static_cast<int64_t>(i);
      found->shape = sums[i].shape();
      found->first = *first;
      found->parameters = nearest_parameters(node.inputs, leaves);
    }
    return !found;
  });
  return found;
}

bool has_gradient(const Tape& tape) {
  return !tape.outputs.empty() && tape.output_slots[0] >= 0 && tape.outputs[0].numel() == 1;
}

}  // namespace

std::string_view name_of(Sweep sweep) {
  return sweep == Sweep::forward ? "forward" : sweep == Sweep::backward ? "backward" : "none";
}

std::optional<NonFiniteValue> first_non_finite(const Tensor& t) {
  if (!t.defined() || !is_float(t.dtype())) return std::nullopt;
  NonFiniteValue out;
  const Tensor here = t.to(Device::cpu);
  dispatch_float(here.dtype(), "first_non_finite", [&](auto zero) {
    const auto* values = here.data<decltype(zero)>();
    for (int64_t i = 0; i < here.numel(); ++i) {
      if (std::isfinite(values[i])) continue;
      if (out.count++ > 0) continue;
      out.element = i;
      out.value = static_cast<double>(values[i]);
    }
  });
  return out.count > 0 ? std::optional(out) : std::nullopt;
}

std::optional<NonFinite> find_non_finite(const Fn& f, const Tensors& x) {
  Tape tape;
  std::optional<NonFinite> found = search_forward(f, x, tape);
  if (!found && has_gradient(tape)) found = search_backward(std::move(tape));
  std::vector<int> bad;
  for (size_t i = 0; i < x.size(); ++i) {
    if (first_non_finite(x[i])) bad.push_back(static_cast<int>(i));
  }
  if (!found && bad.empty()) return found;
  if (!found) {
    found.emplace();
    found->shape = x[static_cast<size_t>(bad.front())].shape();
    found->first = *first_non_finite(x[static_cast<size_t>(bad.front())]);
    found->parameters = bad;
  }
  found->bad = std::move(bad);
  return found;
}

}  // namespace basin
