//===- ScheduleCombinations.h - combinations of a schedule's numbers -------===//
//
// How ScheduleSpace.cpp and AttentionSpace.cpp make schedules around a chosen one:
// some numbers are varied, the others follow from them, and the attribute's verifier
// decides.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_SCHEDULECOMBINATIONS_H
#define INLAY_PASSES_TILE_SCHEDULECOMBINATIONS_H

#include "mlir/IR/Diagnostics.h"
#include "passes/tile/AttentionTuning.h"
#include "passes/tile/ScheduleSpace.h"
#include "passes/tile/ScheduleTuning.h"

#include <cmath>
#include <functional>
#include <tuple>

namespace inlay {
/// The numbers of a schedule by their names.
template <typename Attr> struct Numbers {
  llvm::SmallVector<int64_t> values;

  int64_t &operator[](llvm::StringRef name) {
    const auto *found = llvm::find(Attr::kNames, name);
    assert(found != std::end(Attr::kNames) && "a number that the family does not have");
    return values[found - std::begin(Attr::kNames)];
  }
};

/// A number that is varied, and its values.
struct Axis {
  llvm::StringRef name;
  llvm::SmallVector<int64_t> values;
};

/// The schedules around one that are made of all combinations of some numbers; the others follow from these.
template <typename Attr> class Combinations {
public:
  Combinations(Attr start, std::function<void(Numbers<Attr> &)> complete)
      : start(start), complete(std::move(complete)) {}

  /// Varies `name` over those of `tried` that the verifier takes with the other numbers of the start.
  void vary(llvm::StringRef name, llvm::ArrayRef<int64_t> tried) {
    Axis axis{name, {}};
    for (int64_t value : tried) {
      Numbers<Attr> numbers{numbersOf(start)};
      numbers[name] = value;
      if (make(numbers))
        axis.values.push_back(value);
    }
    axes.push_back(std::move(axis));
  }

  /// Those that the verifier takes.
  llvm::SmallVector<Attr> all() const {
    llvm::SmallVector<Attr> result;
    Numbers<Attr> numbers{numbersOf(start)};
    addAll(axes, numbers, result);
    return result;
  }

private:
  Attr make(Numbers<Attr> numbers) const {
    complete(numbers);
    mlir::MLIRContext *context = start.getContext();
    return Attr::ofNumbers([&] { return mlir::emitError(mlir::UnknownLoc::get(context)); }, context, numbers.values);
  }

  void addAll(llvm::ArrayRef<Axis> rest, Numbers<Attr> &numbers, llvm::SmallVector<Attr> &result) const {
    if (rest.empty()) {
      if (Attr schedule = make(numbers))
        result.push_back(schedule);
      return;
    }
    for (int64_t value : rest.front().values) {
      numbers[rest.front().name] = value;
      addAll(rest.drop_front(), numbers, result);
    }
  }

  Attr start;
  std::function<void(Numbers<Attr> &)> complete;
  llvm::SmallVector<Axis> axes;
};

/// 1 to `most`, one by one.
inline llvm::SmallVector<int64_t> each(int64_t most) {
  return llvm::to_vector(llvm::map_range(llvm::seq<int64_t>(1, most + 1), [](int64_t value) { return value; }));
}

/// 1, 2, 4, ... to `most`.
inline llvm::SmallVector<int64_t> doubled(int64_t most) {
  llvm::SmallVector<int64_t> values;
  for (int64_t value = 1; value <= most; value *= 2)
    values.push_back(value);
  return values;
}

/// How far two schedules are apart: a doubled number is one step.
template <typename Attr> double distance(Attr a, Attr b) {
  double sum = 0;
  for (auto [x, y] : llvm::zip_equal(numbersOf(a), numbersOf(b)))
    sum += std::abs(std::log2(static_cast<double>(x + 1) / static_cast<double>(y + 1)));
  return sum;
}

/// `chosen` and those of `schedules` for which `isLegal` holds, ordered by their expected times.
template <typename Attr>
ScheduleSpace rateSchedules(Attr chosen, llvm::ArrayRef<Attr> schedules, llvm::function_ref<int64_t(Attr)> estimate,
                            llvm::function_ref<bool(Attr)> isLegal) {
  /// In the order in which they are measured; what nothing tells apart stays in the order of the combinations.
  struct Rated {
    int64_t nanoseconds;
    double distance;
    size_t place;
    Attr schedule;
    bool operator<(const Rated &other) const {
      return std::tie(nanoseconds, distance, place) < std::tie(other.nanoseconds, other.distance, other.place);
    }
  };
  llvm::SmallVector<Rated> rated{{estimate(chosen), 0, 0, chosen}};
  llvm::SmallDenseSet<Attr> seen{chosen};
  for (Attr schedule : schedules)
    if (seen.insert(schedule).second && isLegal(schedule))
      rated.push_back({estimate(schedule), distance(schedule, chosen), rated.size(), schedule});
  llvm::sort(rated);
  ScheduleSpace space{chosen, {}};
  for (const Rated &one : rated)
    space.schedules.push_back({one.schedule, one.nanoseconds});
  return space;
}
} // namespace inlay

#endif // INLAY_PASSES_TILE_SCHEDULECOMBINATIONS_H
