// Sums, numbers and tensors between processes, in a fixed order.
#include "basin/train/communicator.h"

#include <algorithm>
#include <cstring>

#include "basin/autograd/ops.h"
#include "basin/core/safetensors.h"

namespace basin {
namespace {

constexpr int64_t kChunk = int64_t{1} << 18;  // elements that are under way at once

template <class T>
std::span<uint8_t> bytes_of(std::vector<T>& values, int64_t count) {
  return {reinterpret_cast<uint8_t*>(values.data()), static_cast<size_t>(count) * sizeof(T)};
}

// visit(first element within the tensor, its index, position within the range, count) for the
// pieces of [begin, begin + count) of the tensors laid end to end.
template <class Visit>
void pieces(const Tensors& tensors, int64_t begin, int64_t count, const Visit& visit) {
  int64_t start = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const int64_t n = tensors[i].numel();
    const int64_t low = std::max(begin, start), high = std::min(begin + count, start + n);
    if (low < high) visit(low - start, i, low - begin, high - low);
    start += n;
  }
}

template <class T>
void sum_over_ranks(Communicator& processes, const std::vector<Tensors>& parts, Tensors& out) {
  const int rank = processes.rank(), last = processes.size() - 1;
  int64_t total = 0;
  for (const Tensor& t : out) total += t.numel();
  std::vector<T> chunk(static_cast<size_t>(std::min(total, kChunk)));
  const auto put = [&](size_t i, int64_t from, int64_t at, int64_t n) {
    std::copy_n(chunk.data() + at, n, out[i].mutable_data<T>() + from);
  };
  for (int64_t begin = 0; begin < total; begin += kChunk) {
    const int64_t count = std::min(kChunk, total - begin);
    size_t next = 0;
    if (rank == 0) {
      pieces(parts[next], begin, count, [&](int64_t from, size_t i, int64_t at, int64_t n) {
        std::copy_n(parts[next][i].template data<T>() + from, n, chunk.data() + at);
      });
      ++next;
    } else {
      processes.receive(bytes_of(chunk, count), rank - 1);
    }
    for (; next < parts.size(); ++next) {
      pieces(parts[next], begin, count, [&](int64_t from, size_t i, int64_t at, int64_t n) {
        const T* x = parts[next][i].template data<T>() + from;
        for (int64_t e = 0; e < n; ++e) chunk[static_cast<size_t>(at + e)] += x[e];
      });
    }
    if (rank < last) {
      processes.send(bytes_of(chunk, count), rank + 1);
    } else {
      pieces(out, begin, count,
             [&](int64_t from, size_t i, int64_t at, int64_t n) { put(i, from, at, n); });
    }
  }
  for (int64_t begin = 0; begin < total; begin += kChunk) {
    const int64_t count = std::min(kChunk, total - begin);
    if (rank == last) {
      pieces(out, begin, count, [&](int64_t from, size_t i, int64_t at, int64_t n) {
        std::copy_n(out[i].data<T>() + from, n, chunk.data() + at);
      });
    }
    processes.broadcast(bytes_of(chunk, count), last);
    if (rank == last) continue;
    pieces(out, begin, count,
           [&](int64_t from, size_t i, int64_t at, int64_t n) { put(i, from, at, n); });
  }
}

}  // namespace

void OneProcess::send(std::span<const uint8_t>, int to) {
  fail(ErrorKind::internal, "one process: there is no rank ", to, " to send to");
}

void OneProcess::receive(std::span<uint8_t>, int from) {
  fail(ErrorKind::internal, "one process: there is no rank ", from, " to receive from");
}

std::shared_ptr<Communicator> one_process() { return std::make_shared<OneProcess>(); }

void OrderedSum::add(Tensors part) {
  // The sum begins with rank 0, which therefore needs no more than the sum so far.
  if (processes_.rank() > 0 || parts_.empty()) {
    parts_.push_back(std::move(part));
    return;
  }
  for (size_t i = 0; i < part.size(); ++i) parts_.front()[i] = parts_.front()[i] + part[i];
}

Tensors OrderedSum::result() {
  check(!parts_.empty(), "sum over microbatches: there is none");
  if (processes_.size() == 1) return std::move(parts_.front());
  const Tensors& like = parts_.front();
  if (like.empty()) return {};
  const Device device = like.front().device();
  const DType dtype = like.front().dtype();
  Tensors out;
  for (const Tensor& t : like) {
    check(t.dtype() == dtype, "sum over microbatches: expects tensors of one dtype, got ", t);
    out.push_back(Tensor::empty(t.shape(), dtype));
  }
  std::vector<Tensors> here;
  for (const Tensors& part : parts_) {
    Tensors& on_host = here.emplace_back();
    for (const Tensor& t : part) on_host.push_back(t.to(Device::cpu));
  }
  dispatch_float(dtype, "sum over microbatches",
                 [&](auto z) { sum_over_ranks<decltype(z)>(processes_, here, out); });
  for (Tensor& t : out) t = t.to(device);
  return out;
}

std::vector<double> gathered(Communicator& processes, const std::vector<double>& own) {
  if (processes.size() == 1) return own;
  const size_t each = own.size();
  std::vector<double> all(each * static_cast<size_t>(processes.size()));
  std::vector<double> from(own);
  const auto count = static_cast<int64_t>(each);
  if (processes.rank() > 0) {
    processes.send(bytes_of(from, count), 0);
  } else {
    std::copy(own.begin(), own.end(), all.begin());
    for (int rank = 1; rank < processes.size(); ++rank) {
      processes.receive(bytes_of(from, count), rank);
      std::copy(from.begin(), from.end(), all.begin() + static_cast<std::ptrdiff_t>(each) * rank);
    }
  }
  processes.broadcast(bytes_of(all, static_cast<int64_t>(all.size())), 0);
  return all;
}

int largest(Communicator& processes, int own) {
  if (processes.size() == 1) return own;
  const std::vector<double> all = gathered(processes, {static_cast<double>(own)});
  return static_cast<int>(*std::max_element(all.begin(), all.end()));
}

void wait_for_all(Communicator& processes) { largest(processes, 0); }

void send_tensors(Communicator& processes, const Tensors& tensors, int to) {
  SafetensorsFile file;
  for (size_t i = 0; i < tensors.size(); ++i) file.tensors.emplace_back(str(i), tensors[i]);
  const std::vector<uint8_t> bytes = serialize_safetensors(file);
  std::vector<uint64_t> length{bytes.size()};
  processes.send(bytes_of(length, 1), to);
  processes.send(bytes, to);
}

Tensors receive_tensors(Communicator& processes, int from) {
  std::vector<uint64_t> length{0};
  processes.receive(bytes_of(length, 1), from);
  std::vector<uint8_t> bytes(length.front());
  processes.receive(bytes, from);
  const SafetensorsFile file = parse_safetensors(bytes, str("tensors of rank ", from));
  Tensors out;
  for (size_t i = 0; i < file.tensors.size(); ++i) out.push_back(*file.find(str(i)));
  return out;
}

}  // namespace basin
