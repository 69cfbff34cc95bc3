#include "runtime/bundle/weight_loader.h"

#include "fmt/format.h"
#include "runtime/bundle/dummy_weights.h"
#include "runtime/bundle/hash.h"
#include "runtime/bundle/stages.h"
#include "runtime/bundle/weight_files.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

namespace inlay {
namespace {

// Parts of a weight that one thread makes, and of a table, each element of which takes a cosine.
constexpr uint64_t kRangeBytes = uint64_t{8} << 20, kTableRangeBytes = uint64_t{1} << 18;

// The parts of weights that recipes or norms fill.
struct WeightRanges {
  std::vector<WeightSink::Range> ranges;
  struct Place {
    uint32_t weight;
    uint64_t first;
  };
  std::vector<Place> places; // of each range

  void Add(const plan::Target &target, uint32_t index, std::byte *memory) {
    const plan::Weight &weight = *target.weights()->Get(index);
    uint64_t step = IsRopeTable(*weight.recipe()) ? kTableRangeBytes : kRangeBytes;
    for (uint64_t at = 0; at < weight.bytes(); at += step) {
      ranges.push_back({memory + weight.offset() + at, std::min(step, weight.bytes() - at)});
      places.push_back({index, at});
    }
  }
};

absl::Status LoadPacked(const WeightFiles::Packed &packed, uint64_t bytes, std::byte *memory, WeightSink &sink) {
  std::vector<WeightSink::Range> ranges;
  for (uint64_t at = 0; at < bytes; at += packed.chunk_bytes)
    ranges.push_back({memory + at, std::min(packed.chunk_bytes, bytes - at)});
  std::vector<ChunkHash> hashes(ranges.size());
  return sink.Write(ranges, [&](size_t chunk, uint64_t first, std::span<std::byte> out) -> absl::Status {
    if (absl::Status status = packed.file.Read(chunk * packed.chunk_bytes + first, out); !status.ok())
      return status;
    hashes[chunk].Add(out);
    if (first + out.size() == ranges[chunk].bytes && hashes[chunk].Finish() != packed.chunk_hashes[chunk])
      return absl::DataLossError(fmt::format("{}: chunk {} does not match its hash in manifest.json; the file was "
                                             "changed or damaged, compile the model again",
                                             packed.file.path(), chunk));
    return absl::OkStatus();
  });
}

absl::Status LoadLinked(const CheckpointReader &checkpoint, const plan::Target &target, std::byte *memory,
                        WeightSink &sink, const RankPlace &place) {
  std::vector<WeightRecipe> recipes; // of the weights of the rank's stage
  WeightRanges ranges;
  // What kernels pack, and which stored rows of which weight each part is.
  std::vector<WeightSink::PackedRange> packed;
  std::vector<WeightRanges::Place> packed_places;
  std::vector<size_t> recipe_of(target.weights()->size());
  for (uint32_t i = 0; i < target.weights()->size(); ++i) {
    if (target.weights()->Get(i)->stage() != place.stage)
      continue;
    recipe_of[i] = recipes.size();
    absl::StatusOr<WeightRecipe> recipe = WeightRecipe::Open(
        *target.weights()->Get(i), [&](std::string_view name) { return checkpoint.Find(name); }, place.of_stage);
    if (!recipe.ok())
      return recipe.status();
    recipes.push_back(*std::move(recipe));
    const plan::Weight &weight = *target.weights()->Get(i);
    uint64_t unit = recipes.back().PartRows(), row_bytes = recipes.back().SourceRowBytes();
    if (unit == 0 || sink.MaxPackedBytes() / row_bytes < unit) {
      ranges.Add(target, i, memory);
      continue;
    }
    uint64_t rows = weight.recipe()->rows(), step = sink.MaxPackedBytes() / row_bytes / unit * unit;
    uint64_t stored_bytes = weight.bytes() / ((rows + 7) / 8); // of 8 rows
    for (uint64_t at = 0; at < rows; at += step) {
      uint64_t count = std::min(step, rows - at);
      packed.push_back({memory + weight.offset() + at / 8 * stored_bytes, weight.pack(), static_cast<uint32_t>(count),
                        count * row_bytes});
      packed_places.push_back({i, at});
    }
  }
  if (!packed.empty())
    if (absl::Status status = sink.Pack(packed,
                                        [&](size_t part, uint64_t, std::span<std::byte> out) {
                                          auto [weight, row] = packed_places[part];
                                          return recipes[recipe_of[weight]].ReadSources(row, packed[part].rows, out);
                                        });
        !status.ok())
      return status;
  return sink.Write(ranges.ranges, [&](size_t range, uint64_t first, std::span<std::byte> out) {
    return recipes[recipe_of[ranges.places[range].weight]].Make(ranges.places[range].first + first, out);
  });
}

absl::Status LoadDummy(const plan::Target &target, std::byte *memory, WeightSink &sink, uint32_t stage) {
  WeightRanges ranges;
  std::map<plan::DataType, std::vector<WeightSink::Repetition>> matrices;
  for (uint32_t i = 0; i < target.weights()->size(); ++i) {
    const plan::Weight &weight = *target.weights()->Get(i);
    if (weight.stage() != stage)
      continue;
    if (IsRopeTable(*weight.recipe()) || HasValues(*weight.recipe()) || IsDummyNorm(weight) || IsDummyScale(target, i))
      ranges.Add(target, i, memory);
    else
      matrices[weight.type()].push_back({memory + weight.offset(), weight.bytes(), DummyNoiseStart(weight.type(), i)});
  }
  for (const auto &[type, parts] : matrices)
    if (absl::Status status = sink.Repeat(parts, DummyNoise(type, sink.host_pool())); !status.ok())
      return status;
  return sink.Write(ranges.ranges, [&](size_t range, uint64_t first, std::span<std::byte> out) -> absl::Status {
    auto [index, begin] = ranges.places[range];
    const plan::Weight &weight = *target.weights()->Get(index);
    if (IsDummyScale(target, index)) {
      FillDummyScale(target, index, out);
      return absl::OkStatus();
    }
    if (IsDummyNorm(weight)) {
      FillDummyNorm(weight, index, begin + first, out);
      return absl::OkStatus();
    }
    absl::StatusOr<WeightRecipe> known = WeightRecipe::Open(weight, {});
    return known.ok() ? known->Make(begin + first, out) : known.status();
  });
}

} // namespace

uint64_t WeightsBytes(const plan::Target &target, uint32_t stage) {
  uint64_t bytes = 0;
  if (target.weights())
    for (const plan::Weight *weight : *target.weights())
      if (weight->stage() == stage)
        bytes = weight->offset() + weight->bytes();
  return bytes;
}

absl::Status LoadWeights(const Bundle &bundle, const plan::Target &target, std::byte *memory, WeightSink &sink,
                         uint32_t rank) {
  const RankPlace place = PlaceOfRank(bundle.plan(), rank);
  const uint64_t bytes = WeightsBytes(target, place.stage);
  if (bytes == 0)
    return absl::OkStatus();
  if (bundle.weights_mode() == "dummy")
    return LoadDummy(target, memory, sink, place.stage);
  const WeightFiles &files = bundle.weight_files();
  if (files.checkpoint)
    return LoadLinked(*files.checkpoint, target, memory, sink, place);
  return LoadPacked(files.packed.at(PackedName(target.name()->string_view(), {rank, bundle.plan().ranks()})), bytes,
                    memory, sink);
}

// --- Host memory ------------------------------------------------------------

absl::Status HostSink::Write(std::span<const Range> ranges, const FillRange &fill) {
  // What stays in a core's cache between being read and being hashed.
  constexpr uint64_t kPartBytes = uint64_t{1} << 20;
  std::mutex mutex;
  absl::Status first_error;
  std::atomic<bool> failed = false;
  pool_.Run(static_cast<int64_t>(ranges.size()), [&](int64_t i) {
    auto index = static_cast<size_t>(i);
    std::span<std::byte> range(static_cast<std::byte *>(ranges[index].to), ranges[index].bytes);
    for (uint64_t at = 0; at < range.size() && !failed; at += kPartBytes) {
      absl::Status status = fill(index, at, range.subspan(at, std::min(kPartBytes, range.size() - at)));
      if (status.ok())
        continue;
      failed = true;
      std::lock_guard lock(mutex);
      first_error.Update(status);
    }
  });
  return first_error;
}

absl::Status HostSink::Repeat(std::span<const Repetition> parts, std::span<const std::byte> pattern) {
  for (const Repetition &part : parts)
    pool_.Run(static_cast<int64_t>((part.bytes + kRangeBytes - 1) / kRangeBytes), [&](int64_t i) {
      uint64_t at = static_cast<uint64_t>(i) * kRangeBytes, end = std::min(part.bytes, at + kRangeBytes);
      while (at < end) {
        uint64_t from = (part.start + at) % pattern.size(), count = std::min(end - at, pattern.size() - from);
        std::memcpy(static_cast<std::byte *>(part.to) + at, pattern.data() + from, count);
        at += count;
      }
    });
  return absl::OkStatus();
}

} // namespace inlay
