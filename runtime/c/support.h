// What every call of the C interface needs: no exception leaves it, failures leave their text with the thread, and
// structures of programs compiled with other versions are read and written by their size.
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

// Keeps the status' text for inlay_last_error and returns its code.
inlay_status Report(const absl::Status &status);

// Runs the body of a call: a function that returns absl::Status, or inlay_status where there are codes of our own.
template <typename Body> inlay_status Call(const Body &body) {
  try {
    if constexpr (std::is_same_v<decltype(body()), inlay_status>)
      return body();
    else
      return Report(body());
  } catch (const std::bad_alloc &) {
    return Report(absl::ResourceExhaustedError("the host has no memory left"));
  } catch (const std::exception &error) {
    return Report(absl::InternalError(error.what()));
  }
}

// An error if `argument` is null.
absl::Status NotNull(const void *argument, std::string_view name);

// The same for the first of several that is null.
absl::Status NotNull(std::initializer_list<std::pair<const void *, std::string_view>> arguments);

using Deadline = std::chrono::steady_clock::time_point;

// So many seconds from now; the far future if they are negative.
absl::StatusOr<Deadline> DeadlineIn(double seconds);

absl::Status CheckVersion(int32_t program_version);

// Structures grow at their end. `kFirstSize<T>` is the size that T had in its first version; what is appended later
// does not change it.
template <typename T> inline constexpr size_t kFirstSize = sizeof(T);
template <> inline constexpr size_t kFirstSize<inlay_piece> = offsetof(inlay_piece, rank);
template <>
inline constexpr size_t kFirstSize<inlay_engine_options> = offsetof(inlay_engine_options, speculative_model);
template <> inline constexpr size_t kFirstSize<inlay_memory_plan> = offsetof(inlay_memory_plan, draft_bytes);
template <>
inline constexpr size_t kFirstSize<inlay_sampling_params> = offsetof(inlay_sampling_params, include_stop_str_in_output);

absl::Status CheckSize(std::string_view type, size_t found, size_t first, size_t now);

// The fields that the program knows, the others as `*value` holds them.
template <typename T> absl::Status Read(std::string_view type, const T *given, T *value) {
  if (absl::Status status = NotNull(given, type); !status.ok())
    return status;
  if (absl::Status status = CheckSize(type, given->struct_size, kFirstSize<T>, sizeof(T)); !status.ok())
    return status;
  std::memcpy(value, given, given->struct_size);
  return absl::OkStatus();
}

// Fills in the fields that the program knows, but for struct_size.
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

// Memory that a program of any language can release with inlay_free.
template <typename T> absl::Status Give(const T *values, size_t count, T **result, size_t *result_count) {
  // One more, so that texts end with a zero and malloc is never asked for nothing.
  auto *memory = static_cast<T *>(std::malloc((count + 1) * sizeof(T)));
  if (!memory)
    return absl::ResourceExhaustedError(fmt::format("the host has no {} bytes left", (count + 1) * sizeof(T)));
  std::copy_n(values, count, memory);
  memory[count] = 0;
  *result = memory;
  *result_count = count;
  return absl::OkStatus();
}

// The body of a call that ends in _init.
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
