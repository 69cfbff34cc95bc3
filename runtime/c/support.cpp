// Versions, errors and memory of the C interface.
#include "runtime/c/support.h"

#include "runtime/support/version.h"

#include <cmath>
#include <cstdlib>
#include <string>

namespace inlay::c {
namespace {

thread_local std::string last_error;

std::string Dotted(int32_t version) { return fmt::format("{}.{}", version / 1000, version % 1000); }

} // namespace

inlay_status Report(const absl::Status &status) {
  if (status.ok())
    return INLAY_OK;
  last_error = std::string(status.message());
  // Codes that the header does not have, and kUnknown, can only come from a bug in Inlay.
  const char *name = inlay_status_name(static_cast<inlay_status>(status.code()));
  return std::string_view(name) == "UNKNOWN" ? INLAY_INTERNAL : static_cast<inlay_status>(status.code());
}

absl::Status NotNull(const void *argument, std::string_view name) {
  if (argument)
    return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{} is NULL, expected a pointer", name));
}

absl::Status NotNull(std::initializer_list<std::pair<const void *, std::string_view>> arguments) {
  for (const auto &[argument, name] : arguments)
    if (absl::Status status = NotNull(argument, name); !status.ok())
      return status;
  return absl::OkStatus();
}

absl::StatusOr<Deadline> DeadlineIn(double seconds) {
  if (std::isnan(seconds))
    return absl::InvalidArgumentError("timeout_seconds is NaN, expected seconds, or -1 for no timeout");
  // About 30 years, which do not overflow the clock.
  constexpr double kForEver = 1e9;
  double bounded = seconds < 0 ? kForEver : std::min(seconds, kForEver);
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<Deadline::duration>(std::chrono::duration<double>(bounded));
}

absl::Status CheckVersion(int32_t program_version) {
  constexpr int32_t kLibrary = INLAY_ABI_VERSION;
  if (program_version / 1000 == kLibrary / 1000 && program_version <= kLibrary)
    return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "the program was compiled for version {} of Inlay's C interface, libinlay.so has {}; {}", Dotted(program_version),
      Dotted(kLibrary),
      program_version > kLibrary ? "update libinlay.so" : "compile the program with the inlay.h of this libinlay.so"));
}

absl::Status CheckSize(std::string_view type, size_t found, size_t first, size_t now) {
  if (found >= first && found <= now)
    return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: struct_size is {}, expected {} to {}; {}", type, found, first, now,
                                                found > now
                                                    ? "update libinlay.so, which is older than the program's inlay.h"
                                                    : "set it to sizeof(the structure)"));
}

} // namespace inlay::c

int32_t inlay_abi_version(void) { return INLAY_ABI_VERSION; }

const char *inlay_version(void) {
  static const std::string version = fmt::format("{} ({})", inlay::Version(), inlay::Revision());
  return version.c_str();
}

const char *inlay_status_name(inlay_status status) {
  switch (status) {
  case INLAY_OK:
    return "OK";
  case INLAY_CANCELLED:
    return "CANCELLED";
  case INLAY_INVALID_ARGUMENT:
    return "INVALID_ARGUMENT";
  case INLAY_DEADLINE_EXCEEDED:
    return "DEADLINE_EXCEEDED";
  case INLAY_NOT_FOUND:
    return "NOT_FOUND";
  case INLAY_RESOURCE_EXHAUSTED:
    return "RESOURCE_EXHAUSTED";
  case INLAY_FAILED_PRECONDITION:
    return "FAILED_PRECONDITION";
  case INLAY_UNIMPLEMENTED:
    return "UNIMPLEMENTED";
  case INLAY_INTERNAL:
    return "INTERNAL";
  case INLAY_UNAVAILABLE:
    return "UNAVAILABLE";
  case INLAY_DATA_LOSS:
    return "DATA_LOSS";
  case INLAY_END:
    return "END";
  case INLAY_TIMEOUT:
    return "TIMEOUT";
  default:
    return "UNKNOWN";
  }
}

const char *inlay_last_error(void) { return inlay::c::last_error.c_str(); }

inlay_status inlay_check_abi(int32_t program_version) {
  return inlay::c::Call([&] { return inlay::c::CheckVersion(program_version); });
}

void inlay_free(void *memory) { std::free(memory); }
