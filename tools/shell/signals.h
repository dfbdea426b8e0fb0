// Requests to stop. The handler only notes the signal; the training loop finishes its step, writes
// a checkpoint and leaves with 75 (SIGTERM, SIGUSR1: safe to requeue) or 130 (SIGINT). A second
// SIGINT ends the program at once.
#pragma once
#include <string>

namespace basin::tools {

inline constexpr int kExitStopped = 75;
inline constexpr int kExitInterrupted = 130;

void install_signal_handlers();
int stop_signal();  // 0: none so far
int exit_code_of(int signal);
std::string signal_name(int signal);

}  // namespace basin::tools
