// A fibre: a stack of its own that runs until it gives the processor back. The emulator runs each
// CUDA thread that has to wait on one. Switching is a few instructions on x86-64 and ucontext
// elsewhere; the sanitizers are told about every switch. One scheduler, one operating-system
// thread.
#pragma once
#include <cstddef>

namespace basin::emu {

class Fibre {
 public:
  // `main` runs on the first enter(); it must never return, but leave() for good.
  explicit Fibre(void (*main)());
  ~Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  void enter();         // from the scheduler: runs the fibre until it leaves
  static void leave();  // from inside the fibre: back to the scheduler

 private:
  static void start();
  void* map_ = nullptr;    // guard page, then the stack
  void* stack_ = nullptr;  // lowest address
  void* context_ = nullptr;
  void* fake_stack_ = nullptr;  // of AddressSanitizer
  void* race_fibre_ = nullptr;  // of ThreadSanitizer
  void (*main_)();
};

}  // namespace basin::emu
