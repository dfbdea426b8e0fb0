// Signal handlers: see signals.h. The handler touches one atomic and nothing else.
#include "basin/tools/shell/signals.h"

#include <atomic>
#include <csignal>

#include "basin/core/error.h"

namespace basin::tools {
namespace {

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void note_signal(int signal) { received = signal; }

}  // namespace

void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = note_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGUSR1, &action, nullptr);
  action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
}

int stop_signal() { return received; }

int exit_code_of(int signal) { return signal == SIGINT ? kExitInterrupted : kExitStopped; }

std::string signal_name(int signal) {
  switch (signal) {
    case SIGINT: return "SIGINT";
    case SIGTERM: return "SIGTERM";
    case SIGUSR1: return "SIGUSR1";
    default: return "signal " + str(signal);
  }
}

}  // namespace basin::tools
