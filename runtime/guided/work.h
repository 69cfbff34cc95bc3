// Limits the compile time of an untrusted schema.
#ifndef INLAY_RUNTIME_GUIDED_WORK_H_
#define INLAY_RUNTIME_GUIDED_WORK_H_

#include "absl/status/status.h"
#include "runtime/guided/limits.h"

#include <fmt/format.h>

#include <ctime>

namespace inlay::guided {

// Measures the CPU time of the current thread, so that the result does not depend on the load of the machine.
class Work {
public:
  explicit Work(const Limits &limits) : limits_(limits), begin_(Now()) {}

  // InvalidArgument if max_compile_time has passed. Cheap: reads the clock at every 64th call.
  absl::Status Check() {
    if (++calls_ % 64 != 0 || Now() - begin_ <= limits_.max_compile_time)
      return absl::OkStatus();
    return absl::InvalidArgumentError(fmt::format(
        "found a schema that takes more than {} ms to compile (max_compile_time), expected a simpler one; fix: combine "
        "fewer alternatives, or use shorter patterns or smaller bounds",
        limits_.max_compile_time.count()));
  }

private:
  static std::chrono::nanoseconds Now() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  }

  const Limits &limits_;
  const std::chrono::nanoseconds begin_;
  uint64_t calls_ = 0;
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_WORK_H_
