// MPI behind the interface of train/communicator.h: messages in pieces that an int can count, and
// one sentence for a failure of any rank.
#include "basin/tools/shell/processes.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/signals.h"

#ifdef BASIN_HAS_MPI
#include <mpi.h>
#endif

namespace basin::tools {
namespace {

constexpr std::chrono::seconds kLastWords{3};

#ifdef BASIN_HAS_MPI

constexpr size_t kLongest = size_t{1} << 30;  // bytes of one message: MPI counts them in an int

void require(int code, const char* call) {
  if (code != MPI_SUCCESS) fail(ErrorKind::resource, "mpi: ", call, " failed with code ", code);
}

class MpiProcesses : public Communicator {
 public:
  MpiProcesses() {
    int threads = 0;
    require(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &threads), "MPI_Init_thread");
    require(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    require(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
    require(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  }
  ~MpiProcesses() override { MPI_Finalize(); }
  MpiProcesses(const MpiProcesses&) = delete;
  MpiProcesses& operator=(const MpiProcesses&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void send(std::span<const uint8_t> bytes, int to) override {
    in_pieces(bytes, [&](std::span<const uint8_t> part) {
      require(MPI_Send(part.data(), static_cast<int>(part.size()), MPI_BYTE, to, 0, MPI_COMM_WORLD),
              "MPI_Send");
    });
  }
  void receive(std::span<uint8_t> bytes, int from) override {
    in_pieces(bytes, [&](std::span<uint8_t> part) {
      require(MPI_Recv(part.data(), static_cast<int>(part.size()), MPI_BYTE, from, 0,
                       MPI_COMM_WORLD, MPI_STATUS_IGNORE),
              "MPI_Recv");
    });
  }
  void broadcast(std::span<uint8_t> bytes, int from) override {
    in_pieces(bytes, [&](std::span<uint8_t> part) {
      require(MPI_Bcast(part.data(), static_cast<int>(part.size()), MPI_BYTE, from, MPI_COMM_WORLD),
              "MPI_Bcast");
    });
  }

 private:
  template <class T, class Each>
  static void in_pieces(std::span<T> bytes, const Each& each) {
    for (size_t begin = 0; begin < bytes.size(); begin += kLongest) {
      each(bytes.subspan(begin, std::min(kLongest, bytes.size() - begin)));
    }
  }

  int rank_ = 0, size_ = 1;
};

void end_all(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

std::shared_ptr<Communicator> all_processes(int64_t ranks) {
  auto out = std::make_shared<MpiProcesses>();
  check(out->size() == ranks, "--ranks ", ranks, ": MPI started ", out->size(),
        out->size() == 1 ? " process" : " processes", "; start the program by mpirun -n ", ranks);
  return out;
}

#else

void end_all(int) {}

std::shared_ptr<Communicator> all_processes(int64_t ranks) {
  fail(ErrorKind::usage, "--ranks ", ranks,
       ": this Basin was built without MPI; install it (Debian: libopenmpi-dev openmpi-bin) and "
       "configure again, or use --microbatches ",
       ranks, " on one process, for the same result");
}

#endif

}  // namespace

int64_t asked_ranks(const Config& config) {
  if (config.integer("ranks") > 0) return config.integer("ranks");
  const char* started = std::getenv("OMPI_COMM_WORLD_SIZE");
  int64_t count = 1;
  return started != nullptr && parse_int64(started, count) && count > 0 ? count : 1;
}

std::shared_ptr<Communicator> start_processes(int64_t ranks) {
  return ranks <= 1 ? one_process() : all_processes(ranks);
}

int run_together(const std::string& program, const std::shared_ptr<Communicator>& processes,
                 const std::function<int()>& body) {
  if (processes->size() == 1) return body();
  const int rank = processes->rank();
  const std::string name = rank == 0 ? program : str(program, " (rank ", rank, ")");
  bool failed = false;
  const int code = run_program(name, [&] {
    try {
      const int done = body();
      wait_for_all(*processes);  // mpirun ends a job whose first process ended with another code
      return done;
    } catch (...) {
      failed = true;
      if (rank > 0) std::this_thread::sleep_for(kLastWords);
      throw;
    }
  });
  if (failed) end_all(code);
  return code;
}

}  // namespace basin::tools
