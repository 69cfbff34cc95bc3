#include "runtime/bundle/verify_halves.h"

#include "runtime/bundle/halves.h"
#include "runtime/bundle/plan_errors.h"
#include "runtime/bundle/verify_launch.h"

#include <algorithm>
#include <bit>

namespace inlay {
namespace {

std::string_view NameOf(const plan::Kernel &kernel) { return kernel.name()->string_view(); }

// What a kernel computes must not need other rows than those of its half, and sums over ranks alone run beside others.
absl::Status VerifyBody(const plan::Launch &launch, const plan::Kernel &kernel) {
  const plan::Collective *collective = kernel.body_as_Collective();
  const bool is_side = launch.halves() == plan::Halves_Side;
  const bool is_sum = collective && collective->op() == plan::CollectiveOp_AllReduce && !collective->epilogue() &&
                      collective->rows() == plan::Extent_Tokens;
  if (is_side && !is_sum)
    return BadPlan("a launch of '{}' runs beside others, expected a sum over ranks of rows of the step without an "
                   "epilogue",
                   NameOf(kernel));
  if (!is_side && (collective || (kernel.body_as_Code() && kernel.body_as_Code()->peers())))
    return BadPlan("a launch of '{}' exchanges rows in halves of a step, expected it to run beside others (Side)",
                   NameOf(kernel));
  if (launch.half_grid() && (launch.half_grid()->size() < 1 || launch.half_grid()->size() > 3))
    return BadPlan("a launch of '{}' has a grid of {} dimensions in halves of a step, expected 1 to 3", NameOf(kernel),
                   launch.half_grid()->size());
  for (const auto *grid : {launch.grid(), launch.half_grid()})
    for (uint32_t i = 0; grid && i < grid->size(); ++i)
      if (const plan::Count &count = *grid->Get(i);
          !IsCount(count) || (count.extent() != plan::Extent_Tokens && count.extent() != plan::Extent_One))
        return BadPlan("a launch of '{}' runs in halves of a step, but {} has {} * ceil({} / {}) blocks, expected a "
                       "number for its Tokens, or for One",
                       NameOf(kernel), grid == launch.grid() ? "its grid" : "half_grid", count.multiplier(),
                       NameOrNumber(count.extent(), plan::EnumNameExtent(count.extent())), count.divisor());
  return absl::OkStatus();
}

// The rows of the second half must begin where an argument may.
absl::Status VerifyView(const plan::View &view, const plan::Argument &argument, uint32_t index,
                        const plan::Kernel &kernel, uint32_t multiple) {
  constexpr uint64_t kAlignment = 16;
  const plan::Count &rows = view.rows();
  switch (rows.extent()) {
  case plan::Extent_Tokens:
    if (multiple % rows.divisor() != 0 || BytesBefore(view, static_cast<int32_t>(multiple)) % kAlignment != 0)
      return BadPlan("argument {} of '{}' has {} rows of {} bytes for each {} tokens, so that {} of them do not end at "
                     "a multiple of {} bytes",
                     index, NameOf(kernel), rows.multiplier(), view.row_bytes(), rows.divisor(), multiple, kAlignment);
    return absl::OkStatus();
  case plan::Extent_One:
  case plan::Extent_KvRows:
    return absl::OkStatus();
  default:
    if (argument.kind() == plan::BufferKind_Metadata && argument.metadata() == plan::Metadata_PageTable)
      return absl::OkStatus();
    return BadPlan("argument {} of '{}', which runs in halves of a step, has rows for its {}, expected its Tokens",
                   index, NameOf(kernel), plan::EnumNameExtent(rows.extent()));
  }
}

// The last dimension of a map of rows of the step must be these rows: the second half begins behind the first one's.
absl::Status VerifyMap(const plan::TensorMap &map, const plan::Kernel &kernel, const plan::Entry &entry) {
  const plan::View &view = *kernel.views()->Get(map.argument());
  if (view.rows().extent() != plan::Extent_Tokens)
    return absl::OkStatus();
  const auto *strides = map.strides();
  const uint64_t stride = strides->size() > 0 ? strides->Get(strides->size() - 1) : 0;
  if (stride == view.row_bytes() && view.rows().divisor() == 1 && view.rows().multiplier() == 1 &&
      map.dims()->Get(map.dims()->size() - 1) == entry.max_tokens())
    return absl::OkStatus();
  return BadPlan(
      "a launch of '{}' runs in halves of a step, but the last dimension of a tensor map is not the {} rows of "
      "{} bytes of argument {}",
      NameOf(kernel), entry.max_tokens(), view.row_bytes(), map.argument());
}

absl::Status VerifyHalfOf(const plan::Launch &launch, const plan::Entry &entry, const plan::Target &target) {
  const plan::Kernel &kernel = *target.kernels()->Get(launch.kernel());
  if (launch.halves() < 0 || launch.halves() > plan::Halves_MAX)
    return UnsupportedPlan("a launch of '{}' has halves of the kind {}", NameOf(kernel),
                           static_cast<int>(launch.halves()));
  if (launch.halves() == plan::Halves_Whole)
    return absl::OkStatus();
  if (entry.halves_rows() == 0)
    return BadPlan("a launch of '{}' runs in halves of a step, but entry '{}' has no steps in halves", NameOf(kernel),
                   entry.name()->string_view());
  if (absl::Status status = VerifyBody(launch, kernel); !status.ok())
    return status;
  for (uint32_t i = 0; i < launch.arguments()->size(); ++i)
    if (absl::Status status =
            VerifyView(*kernel.views()->Get(i), *launch.arguments()->Get(i), i, kernel, entry.half_multiple());
        !status.ok())
      return status;
  if (launch.tensor_maps())
    for (const plan::TensorMap *map : *launch.tensor_maps())
      if (absl::Status status = VerifyMap(*map, kernel, entry); !status.ok())
        return status;
  return absl::OkStatus();
}

} // namespace

absl::Status VerifyHalves(const plan::Entry &entry, const plan::Target &target) {
  const std::string_view name = entry.name()->string_view();
  const uint64_t rows = entry.halves_rows(), multiple = entry.half_multiple();
  if (rows > 0 && (!std::has_single_bit(multiple) || multiple < kLeastHalfMultiple || rows < 2 * multiple ||
                   rows > entry.max_tokens()))
    return BadPlan(
        "entry '{}' runs steps of {} rows in halves of a multiple of {}, expected a power of two from {} on, "
        "and at least two of them in at most {} rows",
        name, rows, multiple, kLeastHalfMultiple, entry.max_tokens());
  if (rows > 0 && target.name()->string_view() == "cpu")
    return BadPlan("entry '{}' runs steps in halves, which the target cpu does not do", name);
  for (const auto *launches : {entry.gathers(), entry.penalties(), entry.sampling(), entry.part_sampling()})
    if (launches && std::any_of(launches->begin(), launches->end(),
                                [](const plan::Launch *launch) { return launch->halves() != plan::Halves_Whole; }))
      return BadPlan("entry '{}' samples in halves of a step, expected launches of the model", name);
  if (entry.launches())
    for (const plan::Launch *launch : *entry.launches())
      if (absl::Status status = VerifyHalfOf(*launch, entry, target); !status.ok())
        return status;
  return absl::OkStatus();
}

} // namespace inlay
