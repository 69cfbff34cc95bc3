#include "runtime/tools/launch_timer.h"

#include "fmt/format.h"
#include "runtime/bundle/cache_groups.h"
#include "runtime/bundle/dummy_weights.h"
#include "runtime/tools/launch_results.h"

#include <algorithm>
#include <chrono>
#include <limits>

namespace inlay::tools {
namespace {

// Launches of a chain: enough for the start of the first one not to matter, few enough to be captured quickly.
constexpr uint64_t kLeastChain = 32, kMostChain = 256;
// Where copies of a weight begin.
constexpr uint64_t kAlignment = 256;
// After so many rounds, alternatives that take this much longer than the fastest are not measured further.
constexpr int kRoundsOfAll = 3;
constexpr double kFarSlower = 1.25;

uint64_t AlignUp(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

double SteadySeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool IsCache(const plan::Argument &argument) {
  return argument.kind() == plan::BufferKind_KeyCache || argument.kind() == plan::BufferKind_ValueCache;
}

// Of an ascending list that is not empty, interpolated.
double Quantile(const std::vector<double> &sorted, double part) {
  double at = part * static_cast<double>(sorted.size() - 1);
  auto below = static_cast<size_t>(at);
  size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

LaunchTime TimeOf(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return {Quantile(samples, .5), (Quantile(samples, .75) - Quantile(samples, .25)) / 2};
}

} // namespace

LaunchTimer::LaunchTimer(Device &device, const Bundle &bundle, const plan::Target &target,
                         const LaunchTimerOptions &options)
    : device_(device), bundle_(bundle), target_(target), options_(options),
      layout_(CapacityOf(*bundle.plan().model())) {
  if (!options_.now)
    options_.now = SteadySeconds;
}

LaunchTimer::~LaunchTimer() {
  for (void *memory : allocated_)
    device_.Free(memory);
  if (host_block_)
    device_.FreeHost(host_block_);
}

absl::StatusOr<std::unique_ptr<LaunchTimer>>
LaunchTimer::Open(Device &device, const Bundle &bundle, const plan::Target &target, const LaunchTimerOptions &options) {
  std::unique_ptr<LaunchTimer> timer(new LaunchTimer(device, bundle, target, options));
  if (absl::Status status = device.LoadKernels(bundle, target); !status.ok())
    return status;
  if (absl::Status status = timer->Allocate(); !status.ok())
    return status;
  return timer;
}

// Decode: one row of each sequence, after `context` positions. Mixed: prompts from their beginning.
LaunchTimer::Step LaunchTimer::MakeStep(const plan::Entry &entry) const {
  Step step;
  auto most = static_cast<int32_t>(model().max_model_len());
  bool is_decode = entry.kind() == plan::EntryKind_Decode;
  int32_t rows = static_cast<int32_t>(entry.max_tokens()),
          before = is_decode ? std::min(options_.context, most - 1) : 0;
  int32_t of_sequence = is_decode ? 1 : most;
  int32_t page_size = layout_.capacity.page_size, groups = layout_.capacity.cache_groups;
  while (step.tokens < rows && step.rows.size() < entry.max_sequences()) {
    auto sequence = std::make_unique<Sequence>();
    int32_t count = std::min(of_sequence, rows - step.tokens);
    sequence->tokens.resize(static_cast<size_t>(before) + static_cast<size_t>(count));
    sequence->prompt_size = before + count;
    for (int32_t page = 0; page < (before + count + page_size - 1) / page_size * groups; ++page)
      sequence->cache.pages.push_back(step.pages++);
    step.rows.push_back({.sequence = sequence.get(), .first = before, .count = count});
    step.tokens += count;
    step.sequences.push_back(std::move(sequence));
  }
  return step;
}

const std::vector<std::byte> &LaunchTimer::NoiseOf(plan::DataType type) {
  std::vector<std::byte> &noise = noise_[type];
  if (noise.empty())
    noise = DummyNoise(type, device_.host_pool());
  return noise;
}

absl::StatusOr<std::byte *> LaunchTimer::AllocateNoise(plan::DataType type, uint64_t bytes, std::string_view what) {
  absl::StatusOr<void *> memory = device_.Allocate(bytes, what);
  if (!memory.ok())
    return memory.status();
  allocated_.push_back(*memory);
  WeightSink::Repetition all{*memory, bytes, 0};
  if (absl::Status status = device_.Repeat({&all, 1}, NoiseOf(type)); !status.ok())
    return status;
  return static_cast<std::byte *>(*memory);
}

absl::Status LaunchTimer::Allocate() {
  uint64_t workspace = kAlignment;
  int32_t pages = 1;
  for (const plan::Entry *entry : *target_.entries()) {
    workspace = std::max(workspace, entry->workspace_bytes());
    pages = std::max(pages, MakeStep(*entry).pages);
  }
  // One matrix of this size is not in the cache when its next copy has been read.
  if (target_.weights())
    for (const plan::Weight *weight : *target_.weights()) {
      uint64_t &bytes = weights_[weight->type()].bytes;
      bytes = std::max({bytes, options_.cold_bytes, 2 * AlignUp(weight->bytes())});
    }
  for (auto &[type, weights] : weights_) {
    absl::StatusOr<std::byte *> memory = AllocateNoise(type, weights.bytes, "weights to measure with");
    if (!memory.ok())
      return memory.status();
    weights.memory = *memory;
  }
  caches_bytes_ = std::max(options_.cold_bytes, 2 * CacheBytes(pages));
  uint64_t sequences = model().max_num_seqs();
  plan::DataType cached = model().cache_groups()->Get(0)->type();
  struct {
    plan::DataType type;
    uint64_t bytes;
    const char *what;
    std::byte *&memory;
  } parts[] = {{cached, caches_bytes_, "keys and values to measure with", caches_},
               {plan::DataType_BF16, workspace, "activations (--max-num-batched-tokens lowers it)", workspace_},
               {plan::DataType_F32, layout_.bytes + layout_.penalty_bytes, "step metadata", block_},
               {plan::DataType_F32, sequences * model().vocab_size() * sizeof(float),
                "logits (--max-num-seqs lowers it)", logits_},
               {plan::DataType_F32, sequences * sizeof(int32_t), "tokens", tokens_},
               {plan::DataType_F32, sizeof(int32_t), "the number of the rank", rank_}};
  for (auto &part : parts) {
    absl::StatusOr<std::byte *> memory = AllocateNoise(part.type, part.bytes, part.what);
    if (!memory.ok())
      return memory.status();
    part.memory = *memory;
  }
  absl::StatusOr<void *> host = device_.AllocateHost(layout_.bytes, "step metadata");
  if (!host.ok())
    return host.status();
  host_block_ = *host;
  metadata_ = std::make_unique<StepMetadata>(layout_, host_block_);
  if (absl::Status status = device_.Clear(rank_, sizeof(int32_t)); !status.ok())
    return status;
  return device_.Clear(block_ + layout_.bytes, layout_.penalty_bytes);
}

// Of a layer's keys in so many pages; of its values as many.
uint64_t LaunchTimer::CacheBytes(int32_t pages) const {
  return AlignUp(LayerPageBytes(*model().cache_groups()->Get(0)) * static_cast<uint64_t>(pages));
}

absl::Status LaunchTimer::WriteStep(const plan::Entry &entry, StepSizes &sizes) {
  Step step = MakeStep(entry);
  absl::StatusOr<StepSizes> filled =
      metadata_->Fill(step.rows, step.tokens, static_cast<int32_t>(entry.query_tile_rows()));
  if (!filled.ok())
    return filled.status();
  sizes = *filled;
  sizes[plan::Extent_KvRows] = step.pages * static_cast<int32_t>(RowsOfPage(model()));
  cache_bytes_ = CacheBytes(step.pages);
  return device_.CopyToDevice(block_, host_block_, layout_.bytes);
}

// Bytes that a launch reads from memory, about: those of its largest weight, or of its caches if it has no weight.
uint64_t LaunchTimer::ColdBytes(const plan::Launch &launch) const {
  uint64_t bytes = 0;
  bool has_cache = false;
  for (const plan::Argument *argument : *launch.arguments()) {
    if (argument->kind() == plan::BufferKind_Weight)
      bytes = std::max(bytes, target_.weights()->Get(argument->index())->bytes());
    has_cache |= IsCache(*argument);
  }
  return bytes ? AlignUp(bytes) : has_cache ? 2 * cache_bytes_ : kAlignment;
}

// The launch with copy number `copy` of what it reads from memory. Its activations stay the same, as in a step.
BoundLaunch LaunchTimer::Bind(const plan::Launch &launch, uint64_t copy) const {
  uint64_t caches = caches_bytes_ / (2 * cache_bytes_);
  BoundLaunch bound{&launch, {}, cache_bytes_};
  for (const plan::Argument *argument : *launch.arguments()) {
    std::byte *address = nullptr;
    switch (argument->kind()) {
    case plan::BufferKind_Workspace:
      address = workspace_ + argument->offset();
      break;
    case plan::BufferKind_Weight: {
      const plan::Weight &weight = *target_.weights()->Get(argument->index());
      const Weights &copies = weights_.at(weight.type());
      uint64_t bytes = AlignUp(weight.bytes());
      address = copies.memory + copy % (copies.bytes / bytes) * bytes;
      break;
    }
    case plan::BufferKind_KeyCache:
    case plan::BufferKind_ValueCache:
      address = caches_ + (copy % caches * 2 + (argument->kind() == plan::BufferKind_ValueCache)) * cache_bytes_;
      break;
    case plan::BufferKind_Metadata:
      address = argument->metadata() == plan::Metadata_PageTable
                    ? block_ + layout_.OffsetOfPageTable(argument->index())
                    : block_ + (MetadataLayout::IsPenalty(argument->metadata()) ? layout_.bytes : 0) +
                          layout_.OffsetOf(argument->metadata());
      break;
    case plan::BufferKind_Logits:
      address = logits_;
      break;
    case plan::BufferKind_Tokens:
      address = tokens_;
      break;
    case plan::BufferKind_Rank:
      address = rank_;
      break;
    case plan::BufferKind_Source: // only used by the kernels that pack weights
      break;
    }
    bound.arguments.push_back(address);
  }
  return bound;
}

// What one launch computes from the same activations as all others.
absl::StatusOr<Results> LaunchTimer::Compute(const plan::Launch &launch, std::span<const plan::DataType> types,
                                             const StepSizes &sizes) {
  BoundLaunch bound = Bind(launch, /*copy=*/0);
  std::vector<ResultRange> ranges = ResultsOf(bound, *target_.kernels()->Get(launch.kernel()), sizes, types);
  // Floats of 32 bits are scales or sums of squares, which are positive.
  for (const ResultRange &range : ranges) {
    WeightSink::Repetition part{range.address, range.bytes, 0};
    std::span<const std::byte> pattern = std::as_bytes(std::span(ones_));
    if (range.type != plan::DataType_F32)
      pattern = NoiseOf(range.type);
    if (absl::Status status = device_.Repeat({&part, 1}, pattern); !status.ok())
      return status;
  }
  absl::StatusOr<LaunchList> list = device_.Prepare({&bound, 1});
  if (!list.ok())
    return list.status();
  if (absl::Status status = device_.Run(*list, sizes, /*reuse=*/false); !status.ok())
    return status;
  return ReadResults(device_, ranges);
}

absl::StatusOr<LaunchList> LaunchTimer::PrepareChain(const plan::Launch &launch, int &length) {
  uint64_t copies = std::max<uint64_t>(1, options_.cold_bytes / ColdBytes(launch));
  length = static_cast<int>(std::clamp(copies, kLeastChain, kMostChain));
  std::vector<BoundLaunch> launches;
  for (uint64_t i = 0; i < static_cast<uint64_t>(length); ++i)
    launches.push_back(Bind(launch, i));
  return device_.Prepare(launches);
}

// Seconds of `runs` runs of a chain.
absl::StatusOr<double> LaunchTimer::Sample(LaunchList chain, const StepSizes &sizes, int runs) {
  double begin = options_.now();
  for (int i = 0; i < runs; ++i)
    if (absl::Status status = device_.Run(chain, sizes, /*reuse=*/true); !status.ok())
      return status;
  if (absl::Status status = device_.Synchronize(); !status.ok())
    return status;
  return options_.now() - begin;
}

absl::StatusOr<std::vector<LaunchTime>> LaunchTimer::Time(const plan::Entry &entry,
                                                          std::span<const plan::DataType> types, size_t reference) {
  struct Chain {
    const plan::Launch *launch;
    LaunchList list = 0;
    int length = 0;
    std::vector<double> samples = {};
    bool is_active = true, differs = false;
  };
  auto naming = [&](const plan::Launch &launch, const absl::Status &status) {
    std::string_view kernel = target_.kernels()->Get(launch.kernel())->name()->string_view();
    return absl::Status(status.code(), fmt::format("measuring '{}': {}", kernel, std::string(status.message())));
  };
  StepSizes sizes{};
  if (absl::Status status = WriteStep(entry, sizes); !status.ok())
    return status;
  const plan::Launch &first = *entry.launches()->Get(static_cast<uint32_t>(reference));
  absl::StatusOr<Results> expected = Compute(first, types, sizes);
  if (!expected.ok())
    return naming(first, expected.status());
  std::vector<Chain> chains;
  int runs = 0;
  for (const plan::Launch *launch : *entry.launches()) {
    if (options_.stop && options_.stop())
      return absl::CancelledError("the measurement was interrupted");
    Chain &chain = chains.emplace_back(Chain{launch});
    absl::StatusOr<Results> results = Compute(*launch, types, sizes);
    if (!results.ok())
      return naming(*launch, results.status());
    chain.differs = RelativeSquaredError(*results, *expected, device_.host_pool()) > kSameResults;
    chain.is_active = !chain.differs;
    if (chain.differs)
      continue;
    absl::StatusOr<LaunchList> list = PrepareChain(*launch, chain.length);
    if (!list.ok())
      return naming(*launch, list.status());
    chain.list = *list;
    // The first run captures a graph and warms the GPU up, the second one says how many runs a sample takes.
    absl::StatusOr<double> seconds;
    for (int i = 0; i < 2; ++i)
      if (seconds = Sample(chain.list, sizes, 1); !seconds.ok())
        return naming(*launch, seconds.status());
    if (runs == 0)
      runs = static_cast<int>(std::clamp(options_.sample_seconds / std::max(*seconds, 1e-6), 1.0, 1000.0) + .999);
  }
  for (int round = 0; round < options_.rounds; ++round) {
    for (size_t i = 0; i < chains.size(); ++i) {
      // Every second round goes backwards, so that no alternative always follows the same one.
      Chain &chain = chains[round % 2 == 0 ? i : chains.size() - 1 - i];
      if (!chain.is_active)
        continue;
      if (options_.stop && options_.stop())
        return absl::CancelledError("the measurement was interrupted");
      absl::StatusOr<double> seconds = Sample(chain.list, sizes, runs);
      if (!seconds.ok())
        return naming(*chain.launch, seconds.status());
      chain.samples.push_back(*seconds / (runs * chain.length) * 1e6);
    }
    if (round + 1 != kRoundsOfAll)
      continue;
    double best = std::numeric_limits<double>::infinity();
    for (const Chain &chain : chains)
      if (chain.is_active)
        best = std::min(best, TimeOf(chain.samples).microseconds);
    for (Chain &chain : chains)
      chain.is_active = chain.is_active && TimeOf(chain.samples).microseconds <= kFarSlower * best;
  }
  std::vector<LaunchTime> times;
  for (Chain &chain : chains)
    times.push_back(chain.differs ? LaunchTime{.differs = true} : TimeOf(std::move(chain.samples)));
  return times;
}

} // namespace inlay::tools
