// The switch between stacks. On x86-64 the callee-saved registers go to the old stack and come from
// the new one (System V ABI); the floating-point control words are the same everywhere and stay.
#include "basin/tests/emulation/fibre.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(BASIN_EMULATION_RACES)
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__x86_64__) && !defined(BASIN_EMULATION_UCONTEXT)
extern "C" void basin_emulation_switch(void** save, void* load);
asm(R"(
  .text
  .globl basin_emulation_switch
  .type basin_emulation_switch, @function
basin_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size basin_emulation_switch, . - basin_emulation_switch
)");
#else
#include <ucontext.h>
#endif

namespace basin::emu {
namespace {

constexpr size_t kGuard = 64 << 10;
constexpr size_t kStack = 128 << 10;

Fibre* current = nullptr;
void* home_context = nullptr;
#if defined(__SANITIZE_ADDRESS__)
const void* home_stack = nullptr;
size_t home_size = 0;
void* home_fake_stack = nullptr;
#endif
#if defined(BASIN_EMULATION_RACES)
void* home_race_fibre = nullptr;
#endif

#if defined(__x86_64__) && !defined(BASIN_EMULATION_UCONTEXT)
// What the first switch pops: six registers, then the address to return to. The stack pointer is
// then 8 below a multiple of 16, as after a call.
void* prepare(void* stack, void (*entry)()) {
  auto* top = reinterpret_cast<void**>(static_cast<char*>(stack) + kStack);
  *--top = nullptr;
  *--top = nullptr;
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  return top;
}
void switch_context(void** from, void** to) { basin_emulation_switch(from, *to); }
void forget(void*) {}
#else
void* prepare(void* stack, void (*entry)()) {
  auto* context = new ucontext_t;
  getcontext(context);
  context->uc_stack.ss_sp = stack;
  context->uc_stack.ss_size = kStack;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}
void switch_context(void** from, void** to) {
  if (*from == nullptr) *from = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(*from), static_cast<ucontext_t*>(*to));
}
void forget(void* context) { delete static_cast<ucontext_t*>(context); }
#endif

}  // namespace

Fibre::Fibre(void (*main)()) : main_(main) {
  map_ = mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map_ == MAP_FAILED) throw std::bad_alloc();
  mprotect(map_, kGuard, PROT_NONE);
  stack_ = static_cast<char*>(map_) + kGuard;
  context_ = prepare(stack_, &Fibre::start);
#if defined(BASIN_EMULATION_RACES)
  race_fibre_ = __tsan_create_fiber(0);
#endif
}

Fibre::~Fibre() {
  forget(context_);
#if defined(BASIN_EMULATION_RACES)
  __tsan_destroy_fiber(race_fibre_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  // An abandoned fibre leaves the red zones of its frames behind.
  __asan_unpoison_memory_region(stack_, kStack);
#endif
  munmap(map_, kGuard + kStack);
}

void Fibre::start() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &home_stack, &home_size);
#endif
  current->main_();
}

void Fibre::enter() {
  current = this;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&home_fake_stack, stack_, kStack);
#endif
#if defined(BASIN_EMULATION_RACES)
  home_race_fibre = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(race_fibre_, __tsan_switch_to_fiber_no_sync);
#endif
  switch_context(&home_context, &context_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(home_fake_stack, nullptr, nullptr);
#endif
}

void Fibre::leave() {
  Fibre* const self = current;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&self->fake_stack_, home_stack, home_size);
#endif
#if defined(BASIN_EMULATION_RACES)
  __tsan_switch_to_fiber(home_race_fibre, __tsan_switch_to_fiber_no_sync);
#endif
  switch_context(&self->context_, &home_context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(self->fake_stack_, &home_stack, &home_size);
#endif
}

}  // namespace basin::emu
