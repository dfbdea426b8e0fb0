// One launch over a list of tensors: a table of pointers and numbers travels as the kernel's
// argument (at most 4 KiB), blocks are dealt out by tiles of fixed size, and a block finds its
// tensor from the table. No memory of the device is written to say what is to be done.
#pragma once
#include <span>

#include "basin/kernels/cuda/grid.cuh"

namespace basin::cuda {

template <class T>
struct Slot {
  T *a = nullptr, *b = nullptr, *c = nullptr, *d = nullptr;
  const T* g = nullptr;
  int64_t n = 0;
  T p = 0, q = 0, r = 0, x = 0;
  const double* live = nullptr;  // p, q, r, x when the kernel runs; null: those above
};

template <class T>
struct SlotTable {
  static constexpr int kSlots = 40;
  Slot<T> slot[kSlots];
  int first_block[kSlots + 1] = {};  // of each tensor, and the number of blocks
  int count = 0;

  bool full() const { return count == kSlots; }
  void add(const Slot<T>& s, int64_t tile) {
    if (s.n == 0) return;
    slot[count] = s;
    first_block[count + 1] = first_block[count] + static_cast<int>((s.n + tile - 1) / tile);
    ++count;
  }
  // The tensor that a block works on, and its first element there.
  __device__ int find(int block) const {
    int low = 0, high = count;
    while (low + 1 < high) {
      const int middle = (low + high) / 2;
      if (first_block[middle] <= block) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return low;
  }
};
static_assert(sizeof(SlotTable<double>) <= 4000, "the table must fit a kernel's arguments");

inline constexpr int64_t kSlotTile = 2048;  // elements of a block
inline constexpr int kSlotThreads = 256;

template <class T, class Body>
__global__ void slots_kernel(SlotTable<T> table, Body body) {
  const int at = table.find(static_cast<int>(blockIdx.x));
  Slot<T> s = table.slot[at];
  if (s.live != nullptr) {
    s.p = static_cast<T>(s.live[0]);
    s.q = static_cast<T>(s.live[1]);
    s.r = static_cast<T>(s.live[2]);
    s.x = static_cast<T>(s.live[3]);
  }
  const int64_t begin = (static_cast<int64_t>(blockIdx.x) - table.first_block[at]) * kSlotTile;
  const int64_t end = begin + kSlotTile < s.n ? begin + kSlotTile : s.n;
  for (int64_t i = begin + threadIdx.x; i < end; i += kSlotThreads) body(s, i);
}

// body(slot, i) for the elements of all items whose tensor `key` is of dtype T; slot_of(item) is
// the item's Slot.
template <class T, class Item, class SlotOf, class Body>
void for_slots(const char* name, std::span<Item> items, Tensor Item::*key, const SlotOf& slot_of,
               const Body& body) {
  SlotTable<T> table;
  const auto flush = [&] {
    if (table.count == 0) return;
    run(name, {dim3(static_cast<unsigned>(table.first_block[table.count])), dim3(kSlotThreads)},
        slots_kernel<T, Body>, table, body);
    table = {};
  };
  for (Item& item : items) {
    if ((item.*key).dtype() != kDTypeOf<T>) continue;
    table.add(slot_of(item), kSlotTile);
    if (table.full()) flush();
  }
  flush();
}

}  // namespace basin::cuda
