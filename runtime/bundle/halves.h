// Steps that run in two halves of their rows: which launches run in which order, and where a half begins. See Halves
// and Entry.halves_rows in plan.fbs.
#ifndef INLAY_RUNTIME_BUNDLE_HALVES_H_
#define INLAY_RUNTIME_BUNDLE_HALVES_H_

#include "runtime/bundle/plan_generated.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace inlay {

// The least Entry.half_multiple. Rows of that many tokens begin at multiples of 16 bytes, which vector loads and tensor
// maps need.
inline constexpr uint32_t kLeastHalfMultiple = 16;

// Which steps run in halves.
struct HalvesOfSteps {
  int32_t least_rows = 0; // 0: none
  int32_t multiple = 1;   // of the rows of the first half

  bool Has(int32_t rows) const { return least_rows > 0 && rows >= least_rows; }
  // Rows of the first half of a step that runs in halves.
  int32_t FirstRows(int32_t rows) const { return ((rows + 1) / 2 + multiple - 1) / multiple * multiple; }
};

inline HalvesOfSteps HalvesOf(const plan::Entry &entry) {
  return {static_cast<int32_t>(entry.halves_rows()), static_cast<int32_t>(entry.half_multiple())};
}

// A launch of a step: for all rows or for a half of them.
struct LaunchPart {
  enum Rows : uint8_t { kAll, kFirst, kSecond };
  size_t launch = 0; // index among the launches of the step
  Rows rows = kAll;
  bool is_beside = false; // runs on the second stream

  bool operator==(const LaunchPart &) const = default;
};

// All launches, each once for all rows.
inline std::vector<LaunchPart> WholeParts(size_t launches) {
  std::vector<LaunchPart> parts;
  for (size_t i = 0; i < launches; ++i)
    parts.push_back({i});
  return parts;
}

// The launches of a step in halves, in the order in which they are enqueued. Main launches, and the Side launches after
// them, run for the first half and then for the second half. So a Side launch of the first half has the Main launches
// of the second half beside it, and one of the second half has the next Main launches of the first half.
inline std::vector<LaunchPart> PartsInHalves(std::span<const plan::Halves> launches) {
  std::vector<LaunchPart> parts;
  for (size_t i = 0; i < launches.size();) {
    const size_t first = i;
    while (i < launches.size() && launches[i] == plan::Halves_Main)
      ++i;
    while (i < launches.size() && launches[i] == plan::Halves_Side)
      ++i;
    for (LaunchPart::Rows rows : {LaunchPart::kFirst, LaunchPart::kSecond})
      for (size_t launch = first; launch < i; ++launch)
        parts.push_back({launch, rows, launches[launch] == plan::Halves_Side});
    if (i == first)
      parts.push_back({i++});
  }
  return parts;
}

// Bytes from the beginning of an argument to its rows for token `first`, a multiple of the entry's half_multiple.
inline uint64_t BytesBefore(const plan::View &view, int32_t first) {
  const plan::Count &rows = view.rows();
  return rows.extent() == plan::Extent_Tokens
             ? static_cast<uint64_t>(first) / rows.divisor() * rows.multiplier() * view.row_bytes()
             : 0;
}

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_HALVES_H_
