// Op: what one operation is. Ops run eagerly through emit(), the single interception point; while a
// recording is on, emit leaves a Node. Rules are written in public ops, so they nest to any order.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "basin/core/tensor.h"

namespace basin {

// A set of input or output positions. Positions from 63 on share the last bit.
class Positions {
 public:
  constexpr Positions() = default;
  static constexpr Positions all() { return Positions(~uint64_t{0}); }
  static constexpr Positions of(std::initializer_list<int> list) {
    Positions p;
    for (int i : list) p.insert(static_cast<size_t>(i));
    return p;
  }
  constexpr bool contains(size_t i) const { return bits_ >> (i < 63 ? i : 63) & 1; }
  constexpr void insert(size_t i) { bits_ |= uint64_t{1} << (i < 63 ? i : 63); }
  constexpr bool empty() const { return bits_ == 0; }

 private:
  explicit constexpr Positions(uint64_t bits) : bits_(bits) {}
  uint64_t bits_ = 0;
};

// Which inputs and outputs a rule reads. The data of every other tensor is let go after the forward
// pass.
struct Keep {
  Positions inputs;
  Positions outputs;
};

struct Op {
  virtual ~Op() = default;
  virtual std::string_view name() const = 0;
  // Kernels only, never recorded. Inputs are detached.
  virtual Tensors forward(const Tensors& in) const = 0;
  // J^T ct. An undefined cotangent is zero; so is an undefined result. Only results in `needs` are
  // asked.
  virtual Tensors vjp(const Node& node, const Tensors& ct, Positions needs) const = 0;
  // J t. An undefined tangent is zero. The default is the transpose of vjp.
  virtual Tensors jvp(const Node& node, const Tensors& tangents) const;
  // Value and tangent at once, {forward, jvp}, where sharing work makes that cheaper; the default
  // is empty: it does not. Kernels only.
  virtual std::pair<Tensors, Tensors> forward_jvp(const Tensors& in, const Tensors& tangents) const;
  // jvp for several lanes of tangents. Lane l gets the bits that jvp gives it alone. The default
  // runs jvp lane by lane.
  virtual std::vector<Tensors> jvp_lanes(const Node& node,
                                         const std::vector<Tensors>& tangents) const;
  // Whether jvp_lanes does less work than jvp lane by lane.
  virtual bool lanes_share_work() const { return false; }
  // `tracked` are the inputs that depend on a differentiation variable.
  virtual Keep keep(Positions tracked) const;  // default: everything
};
using OpRef = std::shared_ptr<const Op>;

// Runs the op; under a recording, and when an input is tracked, the outputs carry a fresh Node; in
// forward mode also their tangents.
Tensors emit(const OpRef& op, const Tensors& in);
inline Tensor emit1(const OpRef& op, const Tensors& in) { return emit(op, in)[0]; }

bool recording();  // of this thread
bool tracking();   // recording, or in forward mode: results must keep where they come from

}  // namespace basin
