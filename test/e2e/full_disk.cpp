// A library for LD_PRELOAD that simulates a full disk: write() fails with ENOSPC after FULL_DISK_AFTER bytes in total.
// Bytes written to standard output and standard error do not count.
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <sys/syscall.h>
#include <unistd.h>

extern "C" ssize_t write(int file, const void *bytes, size_t size) {
  static const long limit = [] {
    const char *text = std::getenv("FULL_DISK_AFTER");
    return text ? std::strtol(text, nullptr, 10) : 1L << 62;
  }();
  static std::atomic<long> written = 0;
  if (file > 2 && written.fetch_add(static_cast<long>(size)) + static_cast<long>(size) > limit) {
    errno = ENOSPC;
    return -1;
  }
  return syscall(SYS_write, file, bytes, size);
}
