#include "runtime/distributed/cpu_communicator.h"

#include "fmt/format.h"
#include "runtime/bundle/elements.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <string>

namespace inlay {
namespace {

// Identifies a call. It must be the same on all ranks that take part.
struct CallTag {
  int64_t step = 0;
  const char *op = "";
  uint64_t bytes = 0;

  bool operator==(const CallTag &other) const {
    return step == other.step && std::string_view(op) == other.op && bytes == other.bytes;
  }
};

std::string Describe(const CallTag &tag) {
  return fmt::format("{} of {} bytes in step {}", tag.op, tag.bytes, tag.step);
}

// A message from one rank to another.
struct Mailbox {
  enum State : int { kEmpty, kFull, kTaken };
  std::atomic<int> state{kEmpty};
  CallTag tag;
  const void *from = nullptr;
};

// What a rank shows to its peers. `tag` and `from` change only when no peer reads them: after the last meeting of a
// call and before the first one of the next.
struct alignas(64) RankSlot {
  std::atomic<uint64_t> meetings{0}; // that the rank has come to
  CallTag tag;
  const std::byte *from = nullptr;
  std::vector<std::byte> sums; // of the part of an all_reduce that this rank adds up
};

struct SharedState {
  SharedState(std::shared_ptr<RankGroup> group, std::vector<uint32_t> members)
      : group(std::move(group)), members(std::move(members)), slots(this->members.size()),
        mailboxes(slots.size() * slots.size()) {}

  Mailbox &mailbox(uint32_t from, uint32_t to) { return mailboxes[size_t{from} * slots.size() + to]; }

  const std::shared_ptr<RankGroup> group;
  const std::vector<uint32_t> members; // their ranks in the group
  std::vector<RankSlot> slots;
  std::vector<Mailbox> mailboxes;
};

class CpuCommunicator : public Communicator {
public:
  CpuCommunicator(uint32_t rank, std::shared_ptr<SharedState> shared)
      : rank_(rank), in_group_(shared->members[rank]), shared_(std::move(shared)), group_(*shared_->group),
        own_(shared_->slots[rank]) {}

  uint32_t rank() const override { return rank_; }
  uint32_t size() const override { return static_cast<uint32_t>(shared_->members.size()); }
  void BeginStep(int64_t step) override { group_.SetStep(in_group_, step); }
  void Abort(const absl::Status &status) override { group_.Fail(status); }

  absl::Status AllReduce(const void *from, void *to, uint64_t elements, plan::DataType type) override;
  absl::Status AllGather(const void *from, void *to, const GatheredRows &shape) override;
  absl::Status ReduceScatter(const void *from, void *to, uint64_t elements, plan::DataType type) override;
  absl::Status Send(const void *from, uint64_t bytes, uint32_t peer) override;
  absl::Status Receive(void *to, uint64_t bytes, uint32_t peer) override;
  absl::Status Barrier() override;

private:
  absl::Status CheckSum(const char *op, plan::DataType type) const;
  absl::Status CheckPeer(const char *op, uint32_t peer) const;
  absl::Status Begin(const CallTag &tag, const void *from);
  absl::Status Meet();
  absl::Status End(absl::Status status);
  absl::Status FailOrder(uint32_t rank, const CallTag &tag, uint32_t other_rank, const CallTag &other) const;
  void Sum(uint64_t first, uint64_t count, plan::DataType type, std::byte *to) const;
  CallTag Tag(const char *op, uint64_t bytes) const { return {group_.step(in_group_), op, bytes}; }
  std::string DescribeRank(uint32_t rank) const { return group_.Describe(shared_->members[rank]); }

  const uint32_t rank_;
  const uint32_t in_group_; // the rank in the group, which messages name
  const std::shared_ptr<SharedState> shared_;
  RankGroup &group_;
  RankSlot &own_;
};

absl::Status CpuCommunicator::CheckSum(const char *op, plan::DataType type) const {
  if (IsFloat(type))
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: cannot sum elements {}, expected F32, BF16 or F16", op, plan::EnumNameDataType(type)));
}

absl::Status CpuCommunicator::CheckPeer(const char *op, uint32_t peer) const {
  if (peer < size() && peer != rank_)
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: rank {} has no peer {}, expected another one of {} ranks", op, rank_, peer, size()));
}

// Waits until all ranks have come to as many meetings as this one.
absl::Status CpuCommunicator::Meet() {
  const uint64_t meeting = own_.meetings.fetch_add(1) + 1;
  group_.Notify();
  auto is_there = [&](const RankSlot &slot) { return slot.meetings.load() >= meeting; };
  return group_.Wait([&] { return std::ranges::all_of(shared_->slots, is_there); },
                     [&] {
                       std::string missing;
                       for (uint32_t rank = 0; rank < size(); ++rank)
                         if (!is_there(shared_->slots[rank]))
                           missing += (missing.empty() ? "" : " and ") + DescribeRank(rank);
                       return fmt::format(
                           "rank {} has waited {:.3g} s (--distributed-timeout) in {} for {}; the engine "
                           "cannot continue",
                           in_group_, std::chrono::duration<double>(group_.timeout()).count(), Describe(own_.tag),
                           missing);
                     });
}

// Waits for all ranks, whose calls must be the same. Then their `from` can be read until the last meeting of the call.
absl::Status CpuCommunicator::Begin(const CallTag &tag, const void *from) {
  if (group_.has_failed())
    return group_.failure();
  group_.BeginCall(in_group_, tag.op, tag.bytes);
  own_.tag = tag;
  own_.from = static_cast<const std::byte *>(from);
  if (absl::Status status = Meet(); !status.ok())
    return status;
  const CallTag &first = shared_->slots[0].tag;
  for (uint32_t rank = 1; rank < size(); ++rank)
    if (const CallTag &other = shared_->slots[rank].tag; !(other == first))
      return FailOrder(0, first, rank, other);
  return absl::OkStatus();
}

// Fails the group because two ranks are at different calls.
absl::Status CpuCommunicator::FailOrder(uint32_t rank, const CallTag &tag, uint32_t other_rank,
                                        const CallTag &other) const {
  group_.Fail(absl::InternalError(
      fmt::format("the ranks do not run the same step: rank {} is at {}, rank {} is at {}; the engine cannot continue",
                  shared_->members[rank], Describe(tag), shared_->members[other_rank], Describe(other))));
  return group_.failure();
}

absl::Status CpuCommunicator::End(absl::Status status) {
  group_.SetWork(in_group_, "computing");
  return status;
}

// Sums elements [first, first + count) of all ranks in their order.
void CpuCommunicator::Sum(uint64_t first, uint64_t count, plan::DataType type, std::byte *to) const {
  constexpr uint64_t kPart = 512;
  std::array<float, kPart> sums, addends;
  const uint64_t element = ElementSize(type);
  for (uint64_t at = 0; at < count; at += kPart) {
    const uint64_t part = std::min(kPart, count - at);
    auto read = [&](const RankSlot &slot, std::array<float, kPart> &values) {
      ConvertElements(slot.from + (first + at) * element, type, reinterpret_cast<std::byte *>(values.data()),
                      plan::DataType_F32, part);
    };
    read(shared_->slots[0], sums);
    for (uint32_t rank = 1; rank < size(); ++rank) {
      read(shared_->slots[rank], addends);
      for (uint64_t i = 0; i < part; ++i)
        sums[i] += addends[i];
    }
    ConvertElements(reinterpret_cast<const std::byte *>(sums.data()), plan::DataType_F32, to + at * element, type,
                    part);
  }
}

// Each rank sums a part of the elements. Then all copy the parts of all.
absl::Status CpuCommunicator::AllReduce(const void *from, void *to, uint64_t elements, plan::DataType type) {
  if (absl::Status status = CheckSum("all_reduce", type); !status.ok())
    return status;
  const uint64_t element = ElementSize(type);
  auto begin = [&](uint32_t rank) { return elements / size() * rank + std::min<uint64_t>(rank, elements % size()); };
  if (absl::Status status = Begin(Tag("all_reduce", elements * element), from); !status.ok())
    return status;
  const uint64_t count = begin(rank_ + 1) - begin(rank_);
  own_.sums.resize(std::max<size_t>(own_.sums.size(), count * element));
  Sum(begin(rank_), count, type, own_.sums.data());
  if (absl::Status status = Meet(); !status.ok())
    return status;
  for (uint32_t rank = 0; rank < size(); ++rank)
    if (const uint64_t bytes = (begin(rank + 1) - begin(rank)) * element; bytes > 0)
      std::memcpy(static_cast<std::byte *>(to) + begin(rank) * element, shared_->slots[rank].sums.data(), bytes);
  // No rank changes its sums before all ranks have come to their next call.
  return End(absl::OkStatus());
}

absl::Status CpuCommunicator::AllGather(const void *from, void *to, const GatheredRows &shape) {
  if (shape.result_row_bytes > size() * shape.row_bytes)
    return absl::InvalidArgumentError(fmt::format("all_gather: makes rows of {} bytes from {} ranks' {}, expected {}",
                                                  shape.result_row_bytes, size(), shape.row_bytes,
                                                  size() * shape.row_bytes));
  if (absl::Status status = Begin(Tag("all_gather", shape.rows * shape.row_bytes), from); !status.ok())
    return status;
  for (uint32_t rank = 0; rank < size(); ++rank) {
    const uint64_t first = rank * shape.row_bytes;
    const uint64_t bytes = std::min(shape.row_bytes, shape.result_row_bytes - std::min(first, shape.result_row_bytes));
    for (uint64_t row = 0; row < shape.rows && bytes > 0; ++row)
      std::memcpy(static_cast<std::byte *>(to) + row * shape.result_row_bytes + first,
                  shared_->slots[rank].from + row * shape.row_bytes, bytes);
  }
  return End(Meet());
}

absl::Status CpuCommunicator::ReduceScatter(const void *from, void *to, uint64_t elements, plan::DataType type) {
  if (absl::Status status = CheckSum("reduce_scatter", type); !status.ok())
    return status;
  if (absl::Status status = Begin(Tag("reduce_scatter", elements * ElementSize(type)), from); !status.ok())
    return status;
  Sum(rank_ * elements, elements, type, static_cast<std::byte *>(to));
  return End(Meet());
}

absl::Status CpuCommunicator::Barrier() {
  if (absl::Status status = Begin(Tag("barrier", 0), nullptr); !status.ok())
    return status;
  return End(Meet());
}

absl::Status CpuCommunicator::Send(const void *from, uint64_t bytes, uint32_t peer) {
  if (absl::Status status = CheckPeer("send", peer); !status.ok())
    return status;
  if (group_.has_failed())
    return group_.failure();
  group_.BeginCall(in_group_, "send", bytes);
  Mailbox &mailbox = shared_->mailbox(rank_, peer);
  mailbox.tag = Tag("message", bytes);
  mailbox.from = from;
  mailbox.state = Mailbox::kFull;
  group_.Notify();
  absl::Status status =
      group_.Wait([&] { return mailbox.state == Mailbox::kTaken; },
                  [&] {
                    return fmt::format("{} has waited {:.3g} s (--distributed-timeout) for {} to receive {} bytes; the "
                                       "engine cannot continue",
                                       DescribeRank(rank_), std::chrono::duration<double>(group_.timeout()).count(),
                                       DescribeRank(peer), bytes);
                  });
  if (status.ok())
    mailbox.state = Mailbox::kEmpty;
  return End(std::move(status));
}

absl::Status CpuCommunicator::Receive(void *to, uint64_t bytes, uint32_t peer) {
  if (absl::Status status = CheckPeer("receive", peer); !status.ok())
    return status;
  if (group_.has_failed())
    return group_.failure();
  group_.BeginCall(in_group_, "receive", bytes);
  Mailbox &mailbox = shared_->mailbox(peer, rank_);
  absl::Status status =
      group_.Wait([&] { return mailbox.state == Mailbox::kFull; },
                  [&] {
                    return fmt::format("{} has waited {:.3g} s (--distributed-timeout) for {} bytes from {}; the "
                                       "engine cannot continue",
                                       DescribeRank(rank_), std::chrono::duration<double>(group_.timeout()).count(),
                                       bytes, DescribeRank(peer));
                  });
  if (!status.ok())
    return status;
  if (CallTag expected = Tag("message", bytes); !(mailbox.tag == expected))
    return FailOrder(peer, mailbox.tag, rank_, expected);
  std::memcpy(to, mailbox.from, bytes);
  mailbox.state = Mailbox::kTaken;
  group_.Notify();
  return End(absl::OkStatus());
}

} // namespace

std::vector<std::unique_ptr<Communicator>> MakeCpuCommunicators(const std::shared_ptr<RankGroup> &group,
                                                                std::vector<uint32_t> members) {
  auto shared = std::make_shared<SharedState>(group, std::move(members));
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (uint32_t rank = 0; rank < shared->members.size(); ++rank)
    communicators.push_back(std::make_unique<CpuCommunicator>(rank, shared));
  return communicators;
}

std::vector<std::unique_ptr<Communicator>> MakeCpuCommunicators(const std::shared_ptr<RankGroup> &group) {
  std::vector<uint32_t> members(group->size());
  std::iota(members.begin(), members.end(), 0u);
  return MakeCpuCommunicators(group, std::move(members));
}

} // namespace inlay
