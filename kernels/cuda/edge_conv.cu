// Edge convolution with batch norm, activation and maximum on CUDA (formulas in edge_conv.h).
// Forward: the edges are sorted by the point that they lead to, for the passes to come; one pass
// over them leaves the extreme value, its place and the sums for the statistics; then the affine
// map and the activation. Backward: a pass over [B, N, C] for the sums over the batch, then each
// point sums over the edges into it, in the order of the edges: no float atomics, same bits from
// run to run.
#include "basin/kernels/cuda/edge_conv.cuh"
#include "basin/kernels/index.h"

namespace basin {
namespace {

using cuda::EdgeArrays;
using cuda::per_channel;

constexpr int64_t kSampleRows = 128;

// Rows 0 and 1 of centre: about the means of u and v from evenly spaced rows, x[0] + mean of
// (x - x[0]), exact for a constant channel; a few deviations off would do. Given statistics: mean
// and zero. Row 2: zero, until the statistics are known.
template <class T>
void choose_centres(const char* name, const EdgeArrays<T>& in, const T* mean, double* centre) {
  const int64_t channels = in.channels;
  if (in.given) {
    cuda::for_items(name, channels, [=] __device__(int64_t c) {
      centre[c] = static_cast<double>(mean[c]);
      centre[channels + c] = centre[2 * channels + c] = 0;
    });
    return;
  }
  const int64_t step = std::max<int64_t>(1, in.rows() / kSampleRows);
  const int64_t count = (in.rows() + step - 1) / step;
  const double n = static_cast<double>(count);
  cuda::finish_column_sums<2>(
      name, count, channels,
      [=] __device__(int64_t r, int64_t c, double* s) {
        const int64_t at = r * step * channels + c;
        s[0] += static_cast<double>(in.u[at]) - static_cast<double>(in.u[c]);
        s[1] += static_cast<double>(in.v[at]) - static_cast<double>(in.v[c]);
      },
      [=] __device__(int64_t c, const double* s) {
        centre[c] = static_cast<T>(in.u[c] + s[0] / n);
        centre[channels + c] = static_cast<T>(in.v[c] + s[1] / n);
        centre[2 * channels + c] = 0;
      },
      cuda::kEdgeTileRows);
}

// Per channel, from the sums over all edges of z and z^2, z less the centres: the statistics unless
// they are given, and k [2, C], what the map over the winners takes of them.
template <class T>
struct Statistics {
  EdgeArrays<T> in;
  double edges;
  double* centre;
  T *mean, *var, *k;
  __device__ void operator()(int64_t c, const double* s) const {
    double mean_offset = in.mean_offset(c);
    if (!in.given) {
      mean_offset = s[0] / edges;
      const double v = s[1] / edges - mean_offset * mean_offset;
      centre[2 * in.channels + c] = mean_offset;
      mean[c] = static_cast<T>(centre[c] + centre[in.channels + c] + mean_offset);
      var[c] = static_cast<T>(v < 0 ? 0 : v);
    }
    k[c] = static_cast<T>(mean_offset);
    k[in.channels + c] = static_cast<T>(in.gamma[c] * cuda::inverse_deviation(var, c, in.eps));
  }
};

// winner, argmax and sums of every point; finish: Statistics.
template <class T>
void reduce_edges(const EdgeArrays<T>& in, T* winner, uint8_t* argmax, T* sums,
                  const Statistics<T>& finish) {
  cuda::finish_column_sums<2>(
      EdgeBnActMaxForward::name, in.rows(), in.channels,
      [=] __device__(int64_t r, int64_t c, double* s) {
        const int64_t at = r * in.channels + c;
        const int32_t* near = in.index + r * in.neighbours;
        const T* other = in.cloud(in.v, r, c);
        const T sign = in.gamma[c] < T(0) ? T(-1) : T(1), centre = in.centre_v(c);
        const T own = sign * (in.u[at] - in.centre_u(c));
        const T first = own + sign * (other[near[0] * in.channels] - centre);
        T best = first, sum = 0, square = 0;
        int where = 0;
        for (int q = 0; q < in.neighbours; ++q) {
          const T z = own + sign * (other[near[q] * in.channels] - centre);
          sum += z;
          square += z * z;
          if (z > best) {
            best = z;
            where = q;
          }
        }
        if (in.gamma[c] == T(0)) {  // all edges tie: the first one wins
          best = first;
          where = 0;
        }
        if (sum != sum) best = sum;
        winner[at] = sign * best;
        argmax[at] = static_cast<uint8_t>(where);
        if (sums) sums[at] = sign * sum;
        s[0] += static_cast<double>(sign * sum);
        s[1] += static_cast<double>(square);
      },
      finish, cuda::kEdgeTileRows);
}

template <class T>
void normalise(const EdgeArrays<T>& in, const T* k, const T* beta, T* y) {
  const int64_t n = in.channels;
  cuda::map_elements(EdgeBnActMaxForward::name, in.rows(), n, [=] __device__(int64_t r, int64_t c) {
    const int64_t i = r * n + c;
    y[i] = cuda::activate(in.act, (in.winner[i] - k[c]) * k[n + c] + beta[c], in.slope);
  });
}

// From the sums over the rows of g and g (z - mean) at the winner: k [4, C], which are a, k2, the
// constants per edge and per point; and dgamma, dbeta.
template <class T>
struct BackwardCoefficients {
  EdgeArrays<T> in;
  double edges;
  const T* var;
  T *k, *dgamma, *dbeta;
  __device__ void operator()(int64_t c, const double* s) const {
    const int64_t n = in.channels;
    const double inv_std = cuda::inverse_deviation(var, c, in.eps);
    const double scale = in.gamma[c] * inv_std;
    const double sum_g = s[0], sum_ghat = s[1] * inv_std;
    dbeta[c] = static_cast<T>(sum_g);
    dgamma[c] = static_cast<T>(sum_ghat);
    const double k2 = in.given ? 0 : -scale * inv_std * sum_ghat / edges;
    const double each = in.given ? 0 : -scale * sum_g / edges - k2 * in.mean_offset(c);
    k[c] = static_cast<T>(scale);
    k[n + c] = static_cast<T>(k2);
    k[2 * n + c] = static_cast<T>(each);
    k[3 * n + c] = static_cast<T>(each * static_cast<double>(in.neighbours));
  }
};

// g = ct act'(y), into du, and the coefficients.
template <class T>
void pull_activations(const EdgeArrays<T>& in, const T* y, const T* ct, T* g,
                      const BackwardCoefficients<T>& finish) {
  cuda::finish_column_sums<2>(
      EdgeBnActMaxBackward::name, in.rows(), in.channels,
      [=] __device__(int64_t r, int64_t c, double* s) {
        const int64_t at = r * in.channels + c;
        const T pulled = cuda::pull(in.act, ct[at], y, at, in.slope);
        g[at] = pulled;
        s[0] += static_cast<double>(pulled);
        s[1] += static_cast<double>(pulled * (in.winner[at] - static_cast<T>(in.mean_offset(c))));
      },
      finish, cuda::kEdgeTileRows);
}

// dv from g, then du in place of g.
template <class T>
void sweep_edges(const EdgeArrays<T>& in, const cuda::ByTarget& into, const T* k, T* du, T* dv) {
  const char* name = EdgeBnActMaxBackward::name;
  const int32_t *start = cuda::in_ptr<int32_t>(into.start),
                *order = cuda::in_ptr<int32_t>(into.order);
  const int64_t n = in.channels;
  const auto neighbours = static_cast<uint32_t>(in.neighbours);
  const T* g = du;
  cuda::for_rows(name, in.rows(), n, [=] __device__(int64_t j, int64_t c) {
    const T a = k[c], k2 = k[n + c], centre = in.centre_u(c);
    T sum = 0;
    for (int32_t e = start[j]; e < start[j + 1]; ++e) {
      const auto edge = static_cast<uint32_t>(order[e]);
      const uint32_t i = edge / neighbours, q = edge - i * neighbours;
      const int64_t at = i * n + c;
      if (!in.given) sum += k2 * (in.u[at] - centre);
      if (in.argmax[at] == q) sum += a * g[at];
    }
    const int64_t at = j * n + c;
    const T each = in.given ? T(0) : k[2 * n + c] + k2 * (in.v[at] - in.centre_v(c));
    dv[at] = sum + static_cast<T>(in.degree[j]) * each;
  });
  cuda::map_elements(name, in.rows(), n, [=] __device__(int64_t r, int64_t c) {
    const int64_t at = r * n + c;
    const T spread = in.given ? T(0) : k[n + c] * in.sums[at];
    du[at] = k[c] * du[at] + (k[3 * n + c] + spread);
  });
}

}  // namespace

void EdgeBnActMaxForward::cuda(const Tensor& u, const Tensor& v, const Tensor& index,
                               const Tensor& gamma, const Tensor& beta, const BnAct& how, Tensor& y,
                               Tensor& mean, Tensor& var, EdgeConvSaved& saved) {
  check_index(index, u.size(1), 0, name);
  const cuda::ByTarget into = cuda::sort_edges(name, index, saved.degree);
  saved.start = into.start;
  saved.order = into.order;
  dispatch_float(u.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const EdgeArrays<T> in = cuda::edge_arrays<T>({u, v, index, gamma, var, saved, y}, how);
    double* centre = cuda::out_ptr<double>(saved.centre);
    choose_centres(name, in, cuda::in_ptr<T>(mean), centre);
    Tensor scratch = per_channel(2, in.channels, kDTypeOf<T>);
    T* k = cuda::out_ptr<T>(scratch);
    reduce_edges(
        in, cuda::out_ptr<T>(saved.winner), cuda::out_ptr<uint8_t>(saved.argmax),
        how.given_stats ? nullptr : cuda::out_ptr<T>(saved.sums),
        Statistics<T>{in, in.edges(), centre, cuda::out_ptr<T>(mean), cuda::out_ptr<T>(var), k});
    normalise(in, static_cast<const T*>(k), cuda::in_ptr<T>(beta), cuda::out_ptr<T>(y));
  });
}

void EdgeBnActMaxBackward::cuda(const EdgeConvPoint& at, const Tensor& ct, const BnAct& how,
                                EdgeConvTensors& grads) {
  dispatch_float(at.u.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const EdgeArrays<T> in = cuda::edge_arrays<T>(at, how);
    const T* signs = how.act == Act::none ? nullptr : cuda::in_ptr<T>(at.y);
    T* g = cuda::out_ptr<T>(grads.u);
    Tensor scratch = per_channel(4, in.channels, kDTypeOf<T>);
    T* k = cuda::out_ptr<T>(scratch);
    pull_activations(
        in, signs, cuda::in_ptr<T>(ct), g,
        BackwardCoefficients<T>{in, in.edges(), cuda::in_ptr<T>(at.var), k,
                                cuda::out_ptr<T>(grads.gamma), cuda::out_ptr<T>(grads.beta)});
    sweep_edges(in, cuda::edges_into(name, at), static_cast<const T*>(k), g,
                cuda::out_ptr<T>(grads.v));
  });
}

}  // namespace basin
