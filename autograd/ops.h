// The whole public op list, one line of mathematics each. Shapes in brackets; float tensors are f32
// or f64 and both arguments of an op share one dtype. Axes may be negative (from the end). Every op
// works in reverse, forward, forward-over-reverse and nested; what is constant under
// differentiation is said. Unless said otherwise a wrong shape, axis or dtype is a usage Error.
#pragma once
#include <cstdint>
#include <vector>

#include "basin/autograd/op.h"
#include "basin/kernels/batch_norm.h"  // Act
#include "basin/kernels/mlp_jet.h"     // JetActivation

namespace basin {

// --- elementwise, one argument ---
Tensor neg(const Tensor& x);            // -x
Tensor exp(const Tensor& x);            // e^x
Tensor expm1(const Tensor& x);          // e^x - 1
Tensor log(const Tensor& x);            // ln x
Tensor log1p(const Tensor& x);          // ln(1 + x)
Tensor sqrt(const Tensor& x);           // x^(1/2); derivative infinite at 0, see safe_norm
Tensor rsqrt(const Tensor& x);          // x^(-1/2)
Tensor reciprocal(const Tensor& x);     // 1 / x
Tensor square(const Tensor& x);         // x^2
Tensor pow(const Tensor& x, double p);  // x^p
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor erf(const Tensor& x);                       // 2/sqrt(pi) int_0^x e^(-t^2) dt
Tensor sigmoid(const Tensor& x);                   // 1 / (1 + e^-x)
Tensor softplus(const Tensor& x);                  // ln(1 + e^x)
Tensor silu(const Tensor& x);                      // x sigmoid(x)
Tensor gelu(const Tensor& x);                      // x (1 + erf(x / sqrt 2)) / 2
Tensor relu(const Tensor& x);                      // max(x, 0); derivative 0 at 0
Tensor leaky_relu(const Tensor& x, double slope);  // x > 0 ? x : slope x; derivative `slope` at 0
Tensor abs(const Tensor& x);                       // |x|; derivative 0 at 0
Tensor scale(const Tensor& x, double c);           // c x
Tensor shift(const Tensor& x, double c);           // x + c
Tensor step(const Tensor& x, double below);        // x > 0 ? 1 : below; derivative 0
Tensor sign(const Tensor& x);                      // -1, 0, 1; derivative 0

// --- elementwise, two arguments, NumPy broadcasting ---
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor maximum(const Tensor& a, const Tensor& b);  // derivative goes to a at ties
Tensor minimum(const Tensor& a, const Tensor& b);  // derivative goes to a at ties
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator-(const Tensor& x) { return neg(x); }
inline Tensor operator*(const Tensor& x, double c) { return scale(x, c); }
inline Tensor operator*(double c, const Tensor& x) { return scale(x, c); }
inline Tensor operator+(const Tensor& x, double c) { return shift(x, c); }
inline Tensor operator-(const Tensor& x, double c) { return shift(x, -c); }

// --- shape ---
Tensor reshape(const Tensor& x, const Shape& shape);            // same elements
Tensor broadcast_to(const Tensor& x, const Shape& shape);       // repeats along axes of size 1
Tensor sum_to(const Tensor& x, const Shape& shape);             // transpose of broadcast_to
Tensor permute(const Tensor& x, const std::vector<int>& axes);  // out axis i is in axis axes[i]
Tensor transpose(const Tensor& x);                              // swaps the last two axes
Tensor concat(const Tensors& parts, int axis);
// Consecutive parts of these sizes; where several are used, cheaper to derive than slices.
Tensors split(const Tensor& x, int axis, const std::vector<int64_t>& sizes);
Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end);         // [begin, end)
Tensor pad_zeros(const Tensor& x, int axis, int64_t before, int64_t after);  // transpose of slice
Tensor stack(const Tensors& parts);                                          // new axis 0

// --- reductions ---
Tensor sum(const Tensor& x);  // all elements -> []
Tensor sum(const Tensor& x, int axis, bool keep_axis = false);
Tensor mean(const Tensor& x);
Tensor mean(const Tensor& x, int axis, bool keep_axis = false);
Tensor max(const Tensor& x, int axis, bool keep_axis = false);  // derivative to the first arg-max
Tensor min(const Tensor& x, int axis, bool keep_axis = false);  // derivative to the first arg-min
Tensor logsumexp(const Tensor& x, int axis,
                 bool keep_axis = false);  // ln sum e^x, shifted by the max
Tensor safe_norm(const Tensor& x, int axis,
                 bool keep_axis = false);      // (sum x^2)^(1/2); at x = 0 the
                                               // value and all derivatives are 0
Tensor dot(const Tensor& a, const Tensor& b);  // sum a b over all -> []

// --- linear algebra ---
// op(a) op(b) on the last two axes, op = transpose when asked. Batch axes equal, or one side of
// rank 2 shared by the whole batch.
Tensor matmul(const Tensor& a, const Tensor& b, bool trans_a = false, bool trans_b = false);
// The same plus an addend in one pass: [n], of the shape of the product, or undefined.
Tensor matmul_add(const Tensor& a, const Tensor& b, const Tensor& addend, bool trans_a = false,
                  bool trans_b = false);
// x w^T + bias: x [.., in], w [out, in], bias [out] or undefined -> [.., out]
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias);
// relu(linear(x, w, bias)) with a bias; on the CPU the activation goes over the product while that
// is in cache.
Tensor linear_relu(const Tensor& x, const Tensor& w, const Tensor& bias);

// --- softmax and losses ---
Tensor softmax(const Tensor& x);      // over the last axis
Tensor log_softmax(const Tensor& x);  // over the last axis
// Mean over the batch of -sum_c q_c log p_c; q = 1 - s on the label, s / (C - 1) on the others
// (as the DGCNN authors' code has it: not s / C). logits [B, C], labels [B] i64.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels, double smoothing = 0);
Tensor mse_loss(const Tensor& prediction, const Tensor& target);  // mean (p - t)^2
Tensor l1_loss(const Tensor& prediction, const Tensor& target);   // mean |p - t|
// Mean of softplus(x) - x t, t in [0, 1]. logits, targets: equal shapes.
Tensor bce_with_logits(const Tensor& logits, const Tensor& targets);

// --- indices: constants under differentiation ---
// out[e, ...] = x[index[e], ...]; x [N, ...], index [E] i32 -> [E, ...]
Tensor gather(const Tensor& x, const Tensor& index);
// out[n, ...] = sum over e with index[e] = n of x[e, ...], in order of e; the transpose of gather
Tensor scatter_sum(const Tensor& x, const Tensor& index, int64_t rows);
// CSR segments: offsets [S + 1] i32, segment s is rows offsets[s] .. offsets[s+1] of x [E, ...] ->
// [S, ...]
Tensor segment_sum(const Tensor& x, const Tensor& offsets);
Tensor segment_mean(const Tensor& x, const Tensor& offsets);    // empty segments give 0
Tensor segment_max(const Tensor& x, const Tensor& offsets);     // empty: 0; first arg-max
Tensor segment_expand(const Tensor& x, const Tensor& offsets);  // transpose of segment_sum
// out[o, j, i] = x[o, index[o, j, i], i] along `axis`; index -1 gives 0. index i32, other axes
// equal x's
Tensor take_along(const Tensor& x, const Tensor& index, int axis);
// transpose of take_along: sums into an axis of length `size`
Tensor put_along(const Tensor& x, const Tensor& index, int axis, int64_t size);
Tensor argmax(const Tensor& x, int axis, bool keep_axis = false);  // i32, first; no derivative
// The k nearest points of the same cloud by rising distance, ties by rising number: x [B, N, D] ->
// [B, N, k] i32, numbers within the cloud; no derivative
Tensor knn(const Tensor& x, int64_t k, bool include_self);
Tensor one_hot(const Tensor& labels, int64_t classes,
               DType dtype);  // [B] -> [B, classes]; constant

// --- graphs: constants under differentiation ---
// The positions of an index [E] i32 sorted by the row that they name, stable: row n of 0..rows-1
// has order[offsets[n]] .. order[offsets[n + 1] - 1].
struct Csr {
  Tensor offsets;  // [rows + 1] i32
  Tensor order;    // [E] i32
};
Csr csr(const Tensor& index, int64_t rows);
// Edges j -> i sorted by the receiver i.
struct EdgeList {
  Tensor sender, receiver;  // [E] i32
  Tensor offsets;           // [N + 1] i32: edges of receiver i are offsets[i] .. offsets[i + 1] - 1
  Csr by_sender;            // edges of sender j, by rising number of the edge
  int64_t nodes() const { return offsets.numel() - 1; }
  int64_t edges() const { return sender.numel(); }
};
// All pairs of one example closer than the cutoff (which may be infinite), with `loops` also every
// point itself; senders of a receiver rise. x [N, 3], offsets [B + 1] i32 rows of each example. The
// number of edges is read: on a GPU this waits.
EdgeList radius_graph(const Tensor& x, const Tensor& offsets, double cutoff, bool loops);
// Rows of categories, index [R, F] i64 with 0 <= index[r, f] < sizes[f]: zeros with a one per
// column [R, sum of sizes], a constant; and the number of each row among all combinations, the last
// column counting fastest, [R] i32.
Tensor multi_hot(const Tensor& index, const std::vector<int64_t>& sizes, DType dtype);
Tensor mixed_radix(const Tensor& index, const std::vector<int64_t>& sizes);
// Edges sorted by receiver and by sender, in their order within a node: what gine_message walks.
struct EdgeLists {
  Tensor in_start, in_node, in_kind;     // [V + 1], [E], [E] i32; node: the sender
  Tensor out_start, out_node, out_kind;  // the same by sender; node: the receiver
};
// sender, receiver, kind [E] i32, nodes 0 .. nodes - 1
EdgeLists edge_lists(const Tensor& sender, const Tensor& receiver, const Tensor& kind,
                     int64_t nodes);

// Neighbour lists [B, N, k] i32 as knn gives them, and what a GPU makes of them once for all the
// layers that walk them and their derivatives; on a CPU, which needs none of it, undefined.
struct NeighbourLists {
  Tensor index;   // [B, N, k]: numbers within the cloud
  Tensor sender;  // [B N k] i32: the same as rows of the batch
  Csr by_sender;  // edges of sender j, by rising number of the edge
};
NeighbourLists neighbour_lists(const Tensor& index);

// --- normalisation and regularisation ---
struct BatchNormResult {
  Tensor y;     // [rows, C]
  Tensor mean;  // [C] of this batch; a constant (for the running statistics)
  Tensor var;   // [C] biased; a constant
};
// y = act(gamma (x - mean) / sqrt(var + eps) + beta) with the statistics of the batch, which are
// differentiated through. x [rows, C], gamma, beta [C].
BatchNormResult batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                           double eps = 1e-5, Act act = Act::none, double slope = 0);
// The same with given statistics (constants): evaluation mode.
Tensor batch_norm_frozen(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                         const Tensor& mean, const Tensor& var, double eps = 1e-5,
                         Act act = Act::none, double slope = 0);
// Over the last axis: gamma (x - mean) / sqrt(var + eps) + beta, biased variance. gamma, beta [C].
Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps = 1e-5);
// x m / (1 - p) with a Bernoulli(1 - p) mask that is a pure function of (seed, stream, element).
Tensor dropout(const Tensor& x, double p, uint64_t seed, uint64_t stream);
// The same with the stream stream_id(layer, step), step [] i64 on x's device, read when the mask is
// drawn: a recorded step (core/device_graph.h) draws a new one each time.
Tensor dropout(const Tensor& x, double p, uint64_t seed, std::string_view layer,
               const Tensor& step);

// --- fused ---
// max over points of act(BN(x w^T + bias)) without ever storing [B, N, out]: the max moves before
// the monotone activation, and the statistics come from the Gram matrix of x.
// x [B, N, in], w [out, in], bias, gamma, beta [out] -> y [B, out], mean, var [out].
// Arg-max and batch statistics as in batch_norm; ties go to the lowest point index.
BatchNormResult linear_bn_act_max(const Tensor& x, const Tensor& w, const Tensor& bias,
                                  const Tensor& gamma, const Tensor& beta, double eps = 1e-5,
                                  Act act = Act::relu, double slope = 0);
Tensor linear_bn_act_max_frozen(const Tensor& x, const Tensor& w, const Tensor& bias,
                                const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                                const Tensor& var, double eps = 1e-5, Act act = Act::relu,
                                double slope = 0);

// The maximum and the mean over points of act(BN(x w^T + bias)), y[b] = (max_n, mean_n): y [B, 2
// out], the rest as above; an undefined bias is none. On the CPU in closed form, without [B, N,
// out] and with one bit per point and channel for the derivatives; elsewhere linear, then
// bn_act_max_mean.
BatchNormResult linear_bn_act_max_mean(const Tensor& x, const Tensor& w, const Tensor& bias,
                                       const Tensor& gamma, const Tensor& beta, double eps = 1e-5,
                                       Act act = Act::relu, double slope = 0);
Tensor linear_bn_act_max_mean_frozen(const Tensor& x, const Tensor& w, const Tensor& bias,
                                     const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                                     const Tensor& var, double eps = 1e-5, Act act = Act::relu,
                                     double slope = 0);

// The maximum and the mean over points of act(BN(x)), y[b] = (max_n, mean_n), without ever storing
// act(BN(x)): x [B, N, C], gamma, beta [C] -> y [B, 2 C], mean, var [C]. Arg-max and batch
// statistics as in linear_bn_act_max.
BatchNormResult bn_act_max_mean(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                                double eps = 1e-5, Act act = Act::relu, double slope = 0);
Tensor bn_act_max_mean_frozen(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                              const Tensor& mean, const Tensor& var, double eps = 1e-5,
                              Act act = Act::relu, double slope = 0);

// The linear map of an edge convolution, w [out, 2 in] on (x_j - x_i, x_i), as one map of x_j and
// one of x_i: neighbour = w[:, :in], centre = w[:, in:] - w[:, :in]. And its transpose, the w with
// halves neighbour - centre and centre.
struct EdgeMap {
  Tensor neighbour, centre;  // [out, in]
};
EdgeMap split_edge_map(const Tensor& w);
Tensor join_edge_map(const Tensor& neighbour, const Tensor& centre);

// An edge convolution behind its split linear map (EdgeConv):
//   y[b, i] = max over q of act(BN(u[b, i] + v[b, index[b, i, q]]))
// without ever storing [B, N, k, C]: the max moves before the monotone activation; batch statistics
// run over the B N k edges. u, v [B, N, C], index [B, N, k] i32 within the cloud, k <= 255, gamma,
// beta [C] -> y [B, N, C], mean, var [C] as in batch_norm. Ties go to the lowest q.
BatchNormResult edge_bn_act_max(const Tensor& u, const Tensor& v, const Tensor& index,
                                const Tensor& gamma, const Tensor& beta, double eps = 1e-5,
                                Act act = Act::leaky_relu, double slope = 0.2);
Tensor edge_bn_act_max_frozen(const Tensor& u, const Tensor& v, const Tensor& index,
                              const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                              const Tensor& var, double eps = 1e-5, Act act = Act::leaky_relu,
                              double slope = 0.2);

// Messages of an E(n)-equivariant layer (Satorras et al. 2021) from the k neighbours j of every
// node i, without ever storing anything per edge:
//   s = |x_i - x_j|^2,   e = silu(p_i + r_j + s w_s),   m = silu(w2 e + b2),
//   with attention m <- m sigmoid(w_a . m + b_a),       phi = w_x . silu(w_c m + b_c),
//   sum_i = sum_j m,     shift_i = mean_j (x_i - x_j) phi.
// p, r [R, d] (the node features times the centre's and the neighbour's weights), x [R, 3], R = B
// N; the lists are constants. Smooth everywhere.
struct EnMessageWeights {
  Tensor w_s, w2, b2;    // [d], [d, d], [d]
  Tensor w_a, b_a;       // [d], [1]; undefined: no attention
  Tensor w_c, b_c, w_x;  // [d, d], [d], [d]; undefined: no shift
};
struct EnMessages {
  Tensor sum;    // [R, d]
  Tensor shift;  // [R, 3], or undefined
};
EnMessages en_message_pass(const Tensor& p, const Tensor& r, const Tensor& x,
                           const NeighbourLists& near, const EnMessageWeights& w);

// Messages of GotenNet (Aykent, Xia 2025; models/gotennet.h) along the edges j -> i, without
// storing any of them: with C = cutoff, heads eta of d / heads channels, Y^l the harmonics,
//   A_ij = softmax over j of sum_(c in eta) q_i k_j a_ij,
//   o_ij = f_ij s_j C_ij + A_ij factor_ij v_j / sqrt(d),  [S d]: o_s, o_d and o_t per degree,
//   h_i = sum_j o_s,   X_i^l = sum_j Y_ij^l o_d^l + x_j^l o_t^l.
// A head owns S d / heads consecutive entries of v's row. S = 1 + 2L, or 3: all degrees share o_d
// and o_t.
struct GataInputs {
  Tensor q, k;    // [A, d]
  Tensor s, v;    // [A, S d]
  Tensor x;       // [A, K, d], K = (L + 1)^2 - 1 rows, l = 1 first; undefined: zero
  Tensor a;       // [E, d]
  Tensor f;       // [E, S d]
  Tensor y;       // [E, K]
  Tensor c;       // [E]
  Tensor factor;  // [E, heads] of the attention weights (dropout, scale), constants; undefined: 1
};
struct GataMessages {
  Tensor h;  // [A, d]
  Tensor x;  // [A, K, d]
};
GataMessages gata_message(const GataInputs& in, const EdgeList& edges, int64_t heads);
// Inner products along the edges, per channel: w_ij = sum_l q_i^l . k_j^l, with y [E, K] those of
// the parts that are normal to the harmonics, q_i^l . k_j^l - (y^l . q_i^l) (y^l . k_j^l), where
// |y^l| = 1 or y = 0. q, k [A, K, d] -> [E, d]
Tensor edge_products(const Tensor& q, const Tensor& k, const Tensor& y, const EdgeList& edges);
// Messages of GINE (Hu et al. 2020) without storing anything per edge:
//   out_i = sum over edges j -> i of relu(h_j + table[kind]);   relu has derivative 0 at 0.
// h [V, d], table [K, d], kinds 0 .. K - 1 -> [V, d]. own: h_i + out_i, in the same pass.
Tensor gine_message(const Tensor& h, const Tensor& table, const EdgeLists& edges, bool own = false);
// A network of coordinates, linear layers with phi between them, and its derivatives along the
// coordinates in one pass (nn/jet.h has the rules; kernels/mlp_jet.h). x [B, d], weights [out, in],
// biases [out], orders: the highest derivative per coordinate, 0 to 2. -> [J, B, C]: the value,
// then per coordinate its first and, where asked for, second derivative.
Tensor mlp_jet(const Tensor& x, const Tensors& weights, const Tensors& biases, JetActivation phi,
               const std::vector<int>& orders);

}  // namespace basin
