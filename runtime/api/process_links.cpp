#include "runtime/api/process_links.h"

#include "fmt/format.h"
#include "runtime/bundle/hash.h"
#include "runtime/distributed/cpu_communicator.h"
#include "runtime/distributed/message.h"
#include "runtime/support/version.h"

#include <algorithm>
#include <span>
#include <utility>

namespace inlay {
namespace {

constexpr uint64_t kBoardBytes = (sizeof(RankBoard) + 4095) / 4096 * 4096;

// The ranks of a stage, or those at one place in all stages.
std::vector<uint32_t> MembersOf(uint32_t first, uint32_t count, uint32_t step) {
  std::vector<uint32_t> members(count);
  for (uint32_t i = 0; i < count; ++i)
    members[i] = first + i * step;
  return members;
}

// The memory holds the board, what the ranks of each stage exchange, and what those at each place exchange.
struct SharedLayout {
  explicit SharedLayout(const plan::Plan &plan)
      : stages(StageCount(*plan.model())), of_stage(RanksOfStage(plan)),
        places(kBoardBytes + stages * CpuExchangeBytes(of_stage)),
        bytes(places + (stages > 1 ? of_stage * CpuExchangeBytes(stages) : 0)) {}
  uint64_t stage(uint32_t index) const { return kBoardBytes + index * CpuExchangeBytes(of_stage); }
  uint64_t place(uint32_t index) const { return places + index * CpuExchangeBytes(stages); }

  uint32_t stages, of_stage;
  uint64_t places, bytes;
};

// What a rank says of its memory and its options.
struct SharedPlan {
  uint64_t bytes_per_page = 0, swap_space_bytes = 0; // 0: no swap
  int64_t kv_cache_tokens = 0, full_length_sequences = 0;
  int32_t total_pages = 0, max_model_len = 0, max_num_seqs = 0, max_num_batched_tokens = 0;
};

absl::Status CheckOption(const char *option, uint32_t rank, int64_t found, int64_t expected) {
  if (found == expected)
    return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{} is {} on rank {}, but {} on rank 0; give all processes the same options", option, found, rank, expected));
}

} // namespace

absl::StatusOr<std::unique_ptr<RankProcesses>> ConnectProcesses(const Bundle &bundle, const ProcessOptions &options,
                                                                RankGroup::Clock::duration timeout) {
  const plan::Plan &plan = bundle.plan();
  if (static_cast<uint32_t>(options.ranks) != plan.ranks())
    return absl::InvalidArgumentError(
        fmt::format("{} processes run {}, but it was compiled for {} ranks (--tensor-parallel-size times "
                    "--pipeline-parallel-size); start {} processes, or compile the model for {} ranks",
                    options.ranks, bundle.path(), plan.ranks(), plan.ranks(), options.ranks));
  if (options.rank < 0 || options.rank >= options.ranks)
    return absl::InvalidArgumentError(
        fmt::format("the rank of this process is {}, expected 0 to {}", options.rank, options.ranks - 1));
  const std::string purpose = fmt::format("Inlay {} {} with bundle {}", Version(), Revision(),
                                          HashBytes(std::as_bytes(std::span(bundle.manifest()))));
  return RankProcesses::Connect({static_cast<uint32_t>(options.rank), plan.ranks(), options.rendezvous, timeout},
                                purpose, SharedLayout(plan).bytes);
}

std::shared_ptr<RankGroup> GroupOfProcesses(const RankProcesses &processes, RankGroup::Clock::duration timeout) {
  const std::shared_ptr<std::byte> &memory = processes.memory();
  // A board of zeros is as one that was constructed.
  return std::make_shared<RankGroup>(processes.ranks(), timeout,
                                     std::shared_ptr<RankBoard>(memory, reinterpret_cast<RankBoard *>(memory.get())),
                                     processes.rank());
}

RankLinks LinksOfProcess(const plan::Plan &plan, const RankProcesses &processes,
                         const std::shared_ptr<RankGroup> &group) {
  const SharedLayout layout(plan);
  const RankPlace place = PlaceOfRank(plan, processes.rank());
  auto at = [&](uint64_t offset) {
    return std::shared_ptr<std::byte>(processes.memory(), processes.memory().get() + offset);
  };
  const uint32_t in_stage = place.of_stage.index;
  RankLinks links;
  links.rank = processes.rank();
  links.stage = MakeSharedCommunicator(group, MembersOf(place.stage * layout.of_stage, layout.of_stage, 1), in_stage,
                                       at(layout.stage(place.stage)));
  if (layout.stages > 1)
    links.pipeline = MakeCpuStageLink(MakeSharedCommunicator(group, MembersOf(in_stage, layout.stages, layout.of_stage),
                                                             place.stage, at(layout.place(in_stage))));
  return links;
}

absl::Status CheckEqual(RankProcesses &processes, const std::vector<SharedValue> &own) {
  MessageWriter writer;
  for (const SharedValue &value : own)
    writer.PutText(value.value);
  absl::StatusOr<std::vector<std::string>> texts = processes.ExchangeTexts(writer.Take());
  if (!texts.ok())
    return texts.status();
  MessageReader first((*texts)[0]);
  std::vector<std::string> expected;
  for (size_t i = 0; i < own.size(); ++i)
    expected.push_back(first.TakeText());
  for (uint32_t rank = 0; rank < texts->size(); ++rank) {
    MessageReader reader((*texts)[rank]);
    for (size_t i = 0; i < own.size(); ++i)
      if (std::string found = reader.TakeText(); found != expected[i])
        return absl::InvalidArgumentError(
            fmt::format("{} is {} on rank {}, but {} on rank 0; give all processes the same options", own[i].name,
                        found, rank, expected[i]));
    if (!reader.at_end())
      return absl::InternalError(fmt::format("rank {} has sent a message that is not valid", rank));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> ShareMemoryPlan(RankProcesses &processes, const EngineOptions &options, MemoryPlan &plan) {
  MessageWriter writer;
  writer.Put(SharedPlan{.bytes_per_page = plan.bytes_per_page,
                        .swap_space_bytes = options.preemption_mode == "swap" ? options.swap_space_bytes : 0,
                        .kv_cache_tokens = plan.kv_cache_tokens,
                        .full_length_sequences = plan.full_length_sequences,
                        .total_pages = plan.total_pages,
                        .max_model_len = plan.max_model_len,
                        .max_num_seqs = plan.max_num_seqs,
                        .max_num_batched_tokens = plan.max_num_batched_tokens});
  absl::StatusOr<std::vector<std::string>> texts = processes.ExchangeTexts(writer.Take());
  if (!texts.ok())
    return texts.status();
  std::vector<SharedPlan> plans;
  for (const std::string &text : *texts) {
    MessageReader reader(text);
    plans.push_back(reader.Take<SharedPlan>());
    if (!reader.at_end() || plans.back().total_pages < 1 || plans.back().bytes_per_page < 1)
      return absl::InternalError(fmt::format("rank {} has sent a memory plan that is not valid", plans.size() - 1));
  }
  uint64_t largest_page = 0;
  for (uint32_t rank = 0; rank < plans.size(); ++rank) {
    const SharedPlan &of_rank = plans[rank];
    largest_page = std::max(largest_page, of_rank.bytes_per_page);
    for (auto [option, member] : {std::pair{"--max-model-len", &SharedPlan::max_model_len},
                                  {"--max-num-seqs", &SharedPlan::max_num_seqs},
                                  {"--max-num-batched-tokens", &SharedPlan::max_num_batched_tokens}})
      if (absl::Status status = CheckOption(option, rank, of_rank.*member, plans[0].*member); !status.ok())
        return status;
    if (absl::Status status = CheckOption("--swap-space (with --preemption-mode swap)", rank,
                                          static_cast<int64_t>(of_rank.swap_space_bytes),
                                          static_cast<int64_t>(plans[0].swap_space_bytes));
        !status.ok())
      return status;
  }
  const SharedPlan &least = *std::ranges::min_element(plans, {}, &SharedPlan::total_pages);
  plan.total_pages = least.total_pages;
  plan.kv_cache_bytes = static_cast<uint64_t>(least.total_pages) * plan.bytes_per_page;
  plan.kv_cache_tokens = least.kv_cache_tokens;
  plan.full_length_sequences = least.full_length_sequences;
  return largest_page;
}

} // namespace inlay
