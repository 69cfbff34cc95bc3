// Helpers for all calls of the C interface: they catch exceptions, store error messages per thread, and read and write
// structures of programs that were compiled with other versions.
#ifndef INLAY_RUNTIME_C_SUPPORT_H_
#define INLAY_RUNTIME_C_SUPPORT_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "runtime/c/inlay.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

namespace inlay::c {

// Stores the message of the status for inlay_last_error and returns its code.
inlay_status Report(const absl::Status &status);

// Runs the body of a call. It returns absl::Status, or inlay_status if it needs codes that Abseil does not have.
template <typename Body> inlay_status Call(const Body &body) {
  try {
    if constexpr (std::is_same_v<decltype(body()), inlay_status>)
      return body();
    else
      return Report(body());
  } catch (const std::bad_alloc &) {
    return Report(absl::ResourceExhaustedError("out of host memory"));
  } catch (const std::exception &error) {
    return Report(absl::InternalError(error.what()));
  }
}

// An error if `argument` is null.
absl::Status NotNull(const void *argument, std::string_view name);

// The same for the first of several that is null.
absl::Status NotNull(std::initializer_list<std::pair<const void *, std::string_view>> arguments);

using Deadline = std::chrono::steady_clock::time_point;

// Returns the time `seconds` from now. Negative: no deadline, which is a time in the far future. NaN is an error.
absl::StatusOr<Deadline> DeadlineIn(double seconds);

absl::Status CheckVersion(int32_t program_version);

// New versions append fields to structures. `kFirstSize<T>` is the size of T in its first version.
template <typename T> inline constexpr size_t kFirstSize = sizeof(T);
template <> inline constexpr size_t kFirstSize<inlay_piece> = offsetof(inlay_piece, rank);
template <>
inline constexpr size_t kFirstSize<inlay_engine_options> = offsetof(inlay_engine_options, speculative_model);
template <> inline constexpr size_t kFirstSize<inlay_memory_plan> = offsetof(inlay_memory_plan, draft_bytes);
template <>
inline constexpr size_t kFirstSize<inlay_sampling_params> = offsetof(inlay_sampling_params, include_stop_str_in_output);

absl::Status CheckSize(std::string_view type, size_t found, size_t first, size_t now);

// Copies the fields that the program's version of T has to `*value`. The other fields of `*value` are not changed.
template <typename T> absl::Status Read(std::string_view type, const T *given, T *value) {
  if (absl::Status status = NotNull(given, type); !status.ok())
    return status;
  if (absl::Status status = CheckSize(type, given->struct_size, kFirstSize<T>, sizeof(T)); !status.ok())
    return status;
  std::memcpy(value, given, given->struct_size);
  return absl::OkStatus();
}

// Copies the fields that the program's version of T has to `*result`, except for struct_size.
template <typename T> absl::Status Write(std::string_view type, const T &value, T *result) {
  if (absl::Status status = NotNull(result, type); !status.ok())
    return status;
  size_t size = result->struct_size;
  if (absl::Status status = CheckSize(type, size, kFirstSize<T>, sizeof(T)); !status.ok())
    return status;
  std::memcpy(result, &value, size);
  result->struct_size = size;
  return absl::OkStatus();
}

// Copies values to memory that the program releases with inlay_free.
template <typename T> absl::Status Give(const T *values, size_t count, T **result, size_t *result_count) {
  // One more element, so that texts end with a zero byte and the size is never 0.
  auto *memory = static_cast<T *>(std::malloc((count + 1) * sizeof(T)));
  if (!memory)
    return absl::ResourceExhaustedError(
        fmt::format("out of host memory: {} bytes are needed", (count + 1) * sizeof(T)));
  std::copy_n(values, count, memory);
  memory[count] = 0;
  *result = memory;
  *result_count = count;
  return absl::OkStatus();
}

// Implements the calls whose names end in _init.
template <typename T>
inlay_status Init(std::string_view type, const T &defaults, T *result, size_t struct_size, int32_t program_version) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = CheckVersion(program_version); !status.ok())
      return status;
    if (absl::Status status = NotNull(result, type); !status.ok())
      return status;
    result->struct_size = struct_size;
    return Write(type, defaults, result);
  });
}

} // namespace inlay::c

#endif // INLAY_RUNTIME_C_SUPPORT_H_
