// Tangents of the edge convolution and of its gradient on CUDA (formulas in edge_conv.h). One pass
// over the edges gathers the tangents of v, which settles the tangents of the statistics; the
// gradient's tangent needs one more, over the edges into each point. Sums over all points are taken
// in double, in a fixed order.
#include "basin/kernels/cuda/edge_conv.cuh"

namespace basin {
namespace {

using cuda::EdgeArrays;
using cuda::per_channel;

Tensor or_zero(const Tensor& t, const Tensor& like) {
  return t.defined() ? t : Tensor::zeros(like.shape(), like.dtype(), Device::cuda);
}

// Rows of the channels' values [5, C] f64; scale = gamma inv_std.
enum Row { kMeanT, kInvStd, kInvStdT, kScale, kScaleT };

// Tangents of the inputs, and what follows from them at the winners and for the statistics; their
// memory belongs to a Tensors beside it.
template <class T>
struct Moved {
  const T *ut, *vt;           // [B, N, C]
  const T *gamma_t, *beta_t;  // [C]
  T *zt, *neighbour_sum;      // [B, N, C]: tangent of z at the winner; sum_q vt[j]
  double* channel;            // [5, C]
  int64_t channels;
  __device__ double at(Row row, int64_t c) const { return channel[row * channels + c]; }
};

// The tangents of the statistics and coefficients, from the sums over the edges of zt and zc zt,
// zc = z - centre_u - centre_v.
template <class T>
struct MovedChannels {
  EdgeArrays<T> in;
  double edges;
  const T *var, *gamma_t;
  double* channel;
  __device__ void operator()(int64_t c, const double* s) const {
    const int64_t n = in.channels;
    const double first = s[0], second = s[1] - in.mean_offset(c) * first;  // now with z - mean
    const double inv = cuda::inverse_deviation(var, c, in.eps);
    const double inv_t = -inv * inv * inv * second / edges, gamma = in.gamma[c];
    channel[kMeanT * n + c] = first / edges;
    channel[kInvStd * n + c] = inv;
    channel[kInvStdT * n + c] = inv_t;
    channel[kScale * n + c] = gamma * inv;
    channel[kScaleT * n + c] = gamma_t[c] * inv + gamma * inv_t;
  }
};

// zt, neighbour_sum and the moved channels.
template <class T>
void gather_tangents(const char* name, const EdgeArrays<T>& in, const T* ut, const T* vt, T* zt,
                     T* neighbour_sum, const MovedChannels<T>& finish) {
  cuda::finish_column_sums<2>(
      name, in.rows(), in.channels,
      [=] __device__(int64_t r, int64_t c, double* s) {
        const int64_t at = r * in.channels + c;
        const int32_t* near = in.index + r * in.neighbours;
        const T* other = in.cloud(vt, r, c);
        const T own = ut[at];
        T sum = 0;
        for (int64_t q = 0; q < in.neighbours; ++q) sum += other[near[q] * in.channels];
        neighbour_sum[at] = sum;
        zt[at] = own + other[near[in.argmax[at]] * in.channels];
        if (in.given) return;
        s[0] += static_cast<double>(static_cast<T>(in.neighbours) * own + sum);
        s[1] += static_cast<double>(in.sums[at] * own + (in.u[at] - in.centre_u(c)) * sum +
                                    static_cast<T>(in.degree[r]) * (in.v[at] - in.centre_v(c)) *
                                        vt[at]);
      },
      finish, cuda::kEdgeTileRows);
}

template <class T>
Moved<T> move(const char* name, const EdgeArrays<T>& in, const EdgeConvPoint& point,
              const EdgeConvTensors& t, Tensors& memory) {
  const Shape nodes = point.u.shape();
  memory = {or_zero(t.u, point.u),
            or_zero(t.v, point.u),
            or_zero(t.gamma, point.gamma),
            or_zero(t.beta, point.gamma),
            Tensor::empty(nodes, kDTypeOf<T>, Device::cuda),
            Tensor::empty(nodes, kDTypeOf<T>, Device::cuda),
            per_channel(5, in.channels, DType::f64)};
  const Moved<T> m{cuda::in_ptr<T>(memory[0]),       cuda::in_ptr<T>(memory[1]),
                   cuda::in_ptr<T>(memory[2]),       cuda::in_ptr<T>(memory[3]),
                   cuda::out_ptr<T>(memory[4]),      cuda::out_ptr<T>(memory[5]),
                   cuda::out_ptr<double>(memory[6]), in.channels};
  gather_tangents(
      name, in, m.ut, m.vt, m.zt, m.neighbour_sum,
      MovedChannels<T>{in, in.edges(), cuda::in_ptr<T>(point.var), m.gamma_t, m.channel});
  return m;
}

template <class T>
void push_outputs(const EdgeArrays<T>& in, const Moved<T>& m, const T* y, T* y_t) {
  const int64_t n = in.channels;
  cuda::map_elements(EdgeBnActMaxTangent::name, in.rows(), n, [=] __device__(int64_t r, int64_t c) {
    const int64_t i = r * n + c;
    const T zc = in.winner[i] - static_cast<T>(in.mean_offset(c));
    const T zc_t = m.zt[i] - static_cast<T>(m.at(kMeanT, c));
    const T moved = static_cast<T>(m.at(kScaleT, c)) * zc + static_cast<T>(m.at(kScale, c)) * zc_t;
    y_t[i] = cuda::pull(in.act, moved + m.beta_t[c], y, i, in.slope);
  });
}

// From the sums over the rows of g, g zc, g_t and g_t zc + g zc_t, zc = z - mean at the winner: k
// [4, C], which are k2, its tangent, the constants per edge and per point; and dgamma_t, dbeta_t.
template <class T>
struct SecondCoefficients {
  EdgeArrays<T> in;
  Moved<T> m;
  double edges;
  T *k, *dgamma_t, *dbeta_t;
  __device__ void operator()(int64_t c, const double* s) const {
    const int64_t n = in.channels;
    const double g = s[0], gz = s[1], g_t = s[2], gz_t = s[3];
    const double inv = m.at(kInvStd, c), inv_t = m.at(kInvStdT, c);
    const double a = m.at(kScale, c), a_t = m.at(kScaleT, c);
    dbeta_t[c] = static_cast<T>(g_t);
    dgamma_t[c] = static_cast<T>(inv_t * gz + inv * gz_t);
    const double share = in.given ? 0 : 1 / edges;
    const double k1_t = -(a_t * g + a * g_t) * share;
    const double k2 = -a * inv * inv * gz * share;
    const double k2_t =
        -(a_t * inv * inv * gz + 2 * a * inv * inv_t * gz + a * inv * inv * gz_t) * share;
    const double each = k1_t - k2_t * in.mean_offset(c) - k2 * m.at(kMeanT, c);
    k[c] = static_cast<T>(k2);
    k[n + c] = static_cast<T>(k2_t);
    k[2 * n + c] = static_cast<T>(each);
    k[3 * n + c] = static_cast<T>(each * static_cast<double>(in.neighbours));
  }
};

// g = ct act'(y), g_t = ct_t act'(y): out = (a g)_t, and the coefficients.
template <class T>
void pull_outputs(const EdgeArrays<T>& in, const Moved<T>& m, const T* y, const T* ct,
                  const T* ct_t, T* out, const SecondCoefficients<T>& finish) {
  cuda::finish_column_sums<4>(
      EdgeBnActMaxBackwardTangent::name, in.rows(), in.channels,
      [=] __device__(int64_t r, int64_t c, double* s) {
        const int64_t at = r * in.channels + c;
        const T g = cuda::pull(in.act, ct[at], y, at, in.slope);
        const T g_t = cuda::pull(in.act, ct_t[at], y, at, in.slope);
        const T zc = in.winner[at] - static_cast<T>(in.mean_offset(c));
        const T zc_t = m.zt[at] - static_cast<T>(m.at(kMeanT, c));
        out[at] = static_cast<T>(m.at(kScaleT, c)) * g + static_cast<T>(m.at(kScale, c)) * g_t;
        s[0] += static_cast<double>(g);
        s[1] += static_cast<double>(g * zc);
        s[2] += static_cast<double>(g_t);
        s[3] += static_cast<double>(g_t * zc + g * zc_t);
      },
      finish, cuda::kEdgeTileRows);
}

// du_t holds (a g)_t: dv_t from it, then the constant and low-rank parts join it.
template <class T>
void sweep_edges(const EdgeArrays<T>& in, const Moved<T>& m, const cuda::ByTarget& into, const T* k,
                 T* du_t, T* dv_t) {
  const char* name = EdgeBnActMaxBackwardTangent::name;
  const int32_t *start = cuda::in_ptr<int32_t>(into.start),
                *order = cuda::in_ptr<int32_t>(into.order);
  const int64_t n = in.channels;
  const auto neighbours = static_cast<uint32_t>(in.neighbours);
  const T* sparse = du_t;
  cuda::for_rows(name, in.rows(), n, [=] __device__(int64_t j, int64_t c) {
    const T k2 = k[c], k2_t = k[n + c], centre = in.centre_u(c);
    T sum = 0;
    for (int32_t e = start[j]; e < start[j + 1]; ++e) {
      const auto edge = static_cast<uint32_t>(order[e]);
      const uint32_t i = edge / neighbours, q = edge - i * neighbours;
      const int64_t at = i * n + c;
      if (!in.given) sum += k2_t * (in.u[at] - centre) + k2 * m.ut[at];
      if (in.argmax[at] == q) sum += sparse[at];
    }
    const int64_t at = j * n + c;
    const T each =
        in.given ? T(0) : k[2 * n + c] + k2_t * (in.v[at] - in.centre_v(c)) + k2 * m.vt[at];
    dv_t[at] = sum + static_cast<T>(in.degree[j]) * each;
  });
  if (in.given) return;
  cuda::map_elements(name, in.rows(), n, [=] __device__(int64_t r, int64_t c) {
    const int64_t at = r * n + c;
    const T moved = static_cast<T>(in.neighbours) * m.ut[at] + m.neighbour_sum[at];
    du_t[at] += k[3 * n + c] + k[n + c] * in.sums[at] + k[c] * moved;
  });
}

}  // namespace

void EdgeBnActMaxTangent::cuda(const EdgeConvPoint& at, const EdgeConvTensors& t, const BnAct& how,
                               Tensor& y_t) {
  dispatch_float(at.u.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const EdgeArrays<T> in = cuda::edge_arrays<T>(at, how);
    Tensors memory;
    const Moved<T> m = move(name, in, at, t, memory);
    push_outputs(in, m, how.act == Act::none ? nullptr : cuda::in_ptr<T>(at.y),
                 cuda::out_ptr<T>(y_t));
  });
}

void EdgeBnActMaxBackwardTangent::cuda(const EdgeConvPoint& at, const Tensor& ct,
                                       const EdgeConvTensors& t, const Tensor& ct_t,
                                       const BnAct& how, EdgeConvTensors& grads_t) {
  dispatch_float(at.u.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const EdgeArrays<T> in = cuda::edge_arrays<T>(at, how);
    Tensors memory;
    const Moved<T> m = move(name, in, at, t, memory);
    const Tensor second = or_zero(ct_t, ct);
    T* sparse = cuda::out_ptr<T>(grads_t.u);
    Tensor scratch = per_channel(4, in.channels, kDTypeOf<T>);
    T* k = cuda::out_ptr<T>(scratch);
    pull_outputs(in, m, how.act == Act::none ? nullptr : cuda::in_ptr<T>(at.y), cuda::in_ptr<T>(ct),
                 cuda::in_ptr<T>(second), sparse,
                 SecondCoefficients<T>{in, m, in.edges(), k, cuda::out_ptr<T>(grads_t.gamma),
                                       cuda::out_ptr<T>(grads_t.beta)});
    sweep_edges(in, m, cuda::edges_into(name, at), static_cast<const T*>(k), sparse,
                cuda::out_ptr<T>(grads_t.v));
  });
}

}  // namespace basin
