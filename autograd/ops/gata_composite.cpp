// GotenNet's messages and products of steerable features in plain ops.
#include <cmath>

#include "basin/autograd/ops/gata.h"

namespace basin {
namespace {

// Rows of degree l within K rows: l^2 - 1 .. (l + 1)^2 - 2.
Tensor rows_of_degree(const Tensor& x, int64_t l) {
  return slice(x, 1, l * l - 1, (l + 1) * (l + 1) - 1);
}

// softmax over the edges of each receiver, [E, heads]
Tensor attention(const GataInputs& in, const EdgeList& edges, int64_t heads) {
  const int64_t d = in.q.size(1), count = edges.edges();
  const Tensor product = gather(in.q, edges.receiver) * gather(in.k, edges.sender) * in.a;
  const Tensor e = sum(reshape(product, {count, heads, d / heads}), 2);
  const Tensor top = segment_max(e, edges.offsets).detach();
  const Tensor power = exp(e - gather(top, edges.receiver));
  return power / gather(segment_sum(power, edges.offsets), edges.receiver);
}

}  // namespace

int64_t largest_degree(int64_t rows, const char* op) {
  for (int64_t l = 1; l <= 3; ++l) {
    if (rows == (l + 1) * (l + 1) - 1) return l;
  }
  fail(ErrorKind::usage, op, ": expects 3, 8 or 15 rows of steerable features, got ", rows);
}

GataMessages gata_composite(const GataInputs& in, const EdgeList& edges, int64_t heads) {
  const int64_t d = in.q.size(1), width = in.s.size(1), count = edges.edges();
  const int64_t degree = largest_degree(in.y.size(1), "gata_message");
  Tensor w = attention(in, edges, heads) * (1 / std::sqrt(static_cast<double>(d)));
  if (in.factor.defined()) w = w * in.factor;
  const Tensor values = reshape(gather(in.v, edges.sender), {count, heads, width / heads});
  const Tensor filtered = in.f * gather(in.s, edges.sender) * reshape(in.c, {count, 1});
  const Tensor o = filtered + reshape(values * reshape(w, {count, heads, 1}), {count, width});
  const auto block = [&](int64_t b) { return slice(o, 1, b * d, (b + 1) * d); };
  const bool shared = width == 3 * d;
  const Tensor around = in.x.defined() ? gather(in.x, edges.sender) : Tensor();
  Tensors rows;
  for (int64_t l = 1; l <= degree; ++l) {
    const Shape per_row{count, 1, d};
    const Tensor y = rows_of_degree(reshape(in.y, {count, in.y.size(1), 1}), l);
    Tensor x = y * reshape(block(shared ? 1 : l), per_row);
    if (around.defined()) {
      x = x + rows_of_degree(around, l) * reshape(block(shared ? 2 : degree + l), per_row);
    }
    rows.push_back(x);
  }
  return {segment_sum(block(0), edges.offsets), segment_sum(concat(rows, 1), edges.offsets)};
}

Tensor edge_products_composite(const Tensor& q, const Tensor& k, const Tensor& y,
                               const EdgeList& edges) {
  const Tensor qi = gather(q, edges.receiver), kj = gather(k, edges.sender);
  Tensor w = sum(qi * kj, 1);
  if (!y.defined()) return w;
  const Tensor columns = reshape(y, {y.size(0), y.size(1), 1});
  for (int64_t l = 1; l <= largest_degree(y.size(1), "edge_products"); ++l) {
    const auto along = [&](const Tensor& t) {
      return sum(rows_of_degree(columns, l) * rows_of_degree(t, l), 1);
    };
    w = w - along(qi) * along(kj);
  }
  return w;
}

}  // namespace basin
