// The loops of the edge convolution over the edges of one cloud, for one slice of its channels. The
// slice of the gathered (or scattered) array is packed [N, width], so that k random rows per point
// come from L2. Channels are independent: no result depends on how they are sliced.
#pragma once
#include <cstdint>

namespace basin {

inline constexpr int64_t kEdgeWidth = 64;  // the widest slice, channels

// The edges of one cloud and the channels first .. first + count of its rows.
struct EdgeTile {
  int64_t points, neighbours, channels;
  int64_t first, count;
  const int32_t* index;  // [N, k]
};

template <class T>
struct EdgeLoops {
  int64_t width;  // channels of a slice, at most kEdgeWidth

  // packed = sign (x - centre), padded with zeros; x [N, C] of the cloud.
  void (*pack)(const EdgeTile& t, const T* x, const T* centre, const T* sign, T* packed);

  // With z = u - centre + v of each edge: winner = extreme z, argmax = its q, sums = sum_q z (if
  // not null), and over the points total += sum z, square += sum z^2. sign is -1 for channels that
  // want the minimum; v is packed with it. tied: the first edge wins.
  void (*reduce)(const EdgeTile& t, const T* u, const T* packed, const T* centre, const T* sign,
                 const bool* tied, T* winner, uint8_t* argmax, T* sums, double* total,
                 double* square);

  // packed[j] = sum over edges (i, q) into j of slope (x[i] - centre) + slope2 x2[i], and of
  // sparse_scale sparse[i] where argmax[i] = q. x and x2 may be null.
  struct Sources {
    const T *sparse, *x, *x2;                         // [N, C] of the cloud
    const T *sparse_scale, *centre, *slope, *slope2;  // [width]
  };
  void (*scatter)(const EdgeTile& t, const Sources& from, const uint8_t* argmax, T* packed);

  // Of the tangents ut and vt (packed): neighbour_sum = sum_q vt[j], moved = ut + vt at the winner,
  // and over the edges of all points first += sum (ut + vt), second += sum zc (ut + vt), where zc =
  // (u
  // - centre_u) + (v - centre_v) and sums its sums over q. u null: no sums over the points.
  struct Tangents {
    const T *ut, *u, *v, *sums;    // [N, C] of the cloud
    const T *centre_u, *centre_v;  // [width]
    const int32_t* degree;         // [N]
  };
  void (*gather)(const EdgeTile& t, const Tangents& from, const T* packed, const uint8_t* argmax,
                 T* neighbour_sum, T* moved, double* first, double* second);
};

// The loops for this machine and these sizes.
template <class T>
const EdgeLoops<T>& edge_loops(int64_t batch, int64_t points, int64_t channels);

}  // namespace basin
