// Memory that several ranks write, for emulation.h: peer_access.h in plain C++. Each rank is a thread of the host with
// a copy of the library of its own, because the state of the emulation is static. Words of up to 16 bytes arrive in
// pieces, in any order and late.
#include "emulation_async.h"

#include <chrono>
#include <random>
#include <thread>

/// A thread's stream of random numbers.
static unsigned randomNumber() {
  static std::minstd_rand generator(std::random_device{}());
  return static_cast<unsigned>(generator());
}
/// Lets the other threads of the block run, and now and then the other ranks.
static void letOthersRun() {
  ++progress;
  if (randomNumber() % 64 == 0)
    std::this_thread::yield();
  yield();
}
template <int count> static void push_words(void *to, const unsigned (&words)[count]) {
  if (reinterpret_cast<uintptr_t>(to) % sizeof words != 0)
    fail("a push that is not aligned");
  unsigned first = randomNumber();
  for (unsigned i = 0; i < count; ++i) {
    unsigned word = (first + i) % count;
    __atomic_store_n(static_cast<unsigned *>(to) + word, words[word], __ATOMIC_RELAXED);
    if (randomNumber() % 32 == 0)
      letOthersRun();
  }
}
static void push_words(void *to, uint4 words) { push_words(to, {words.x, words.y, words.z, words.w}); }
static uint4 poll_words(const void *from) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0)
    fail("a poll that is not aligned");
  letOthersRun();
  auto word = [&](int i) { return __atomic_load_n(static_cast<const unsigned *>(from) + i, __ATOMIC_RELAXED); };
  return {word(0), word(1), word(2), word(3)};
}
static void fence_of_all_gpus() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
template <typename T> static T read_now(const T *p) { return *static_cast<const volatile T *>(p); }
static unsigned take_ticket(unsigned *tickets) { return (*tickets)++; }
static bool claim(unsigned *p, unsigned value) { return *p == 0 && (*p = value) != 0; }
static unsigned long long global_time() {
  return static_cast<unsigned long long>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}
