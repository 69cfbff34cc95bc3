#include "runtime/distributed/cpu_communicator.h"

#include "fmt/format.h"
#include "runtime/bundle/elements.h"
#include "runtime/distributed/cpu_exchange.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <string>

namespace inlay {
namespace {

std::string Describe(const CallTag &tag) {
  return fmt::format("{} of {} bytes in step {}", tag.op.data(), tag.bytes, tag.step);
}

class CpuCommunicator : public Communicator {
public:
  CpuCommunicator(uint32_t rank, std::shared_ptr<Exchange> shared)
      : rank_(rank), in_group_(shared->members[rank]), shared_(std::move(shared)), group_(*shared_->group),
        own_(shared_->slots()[rank]) {}

  uint32_t rank() const override { return rank_; }
  uint32_t size() const override { return shared_->size(); }
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
  absl::Status Begin(const char *op, uint64_t bytes);
  absl::Status Show(const CallTag &tag, const void *from, uint64_t bytes);
  absl::Status Meet();
  absl::Status End(absl::Status status);
  absl::Status FailOrder(uint32_t rank, const CallTag &tag, uint32_t other_rank, const CallTag &other) const;
  void Sum(uint64_t first, uint64_t count, plan::DataType type, std::byte *to) const;
  template <class Body> absl::Status InParts(uint64_t elements, uint64_t element, const Body &body) const;
  CallTag Tag(const char *op, uint64_t bytes) const { return {group_.step(in_group_), op, bytes}; }
  std::string DescribeRank(uint32_t rank) const { return group_.Describe(shared_->members[rank]); }

  const uint32_t rank_;
  const uint32_t in_group_; // the rank in the group, which messages name
  const std::shared_ptr<Exchange> shared_;
  RankGroup &group_;
  RankSlot &own_;
  std::vector<std::byte> sums_; // of a rank that is a thread
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
  return group_.Wait([&] { return std::ranges::all_of(shared_->slots(), is_there); },
                     [&] {
                       std::string missing;
                       for (uint32_t rank = 0; rank < size(); ++rank)
                         if (!is_there(shared_->slots()[rank]))
                           missing += (missing.empty() ? "" : " and ") + DescribeRank(rank);
                       return fmt::format(
                           "rank {} has waited {:.3g} s (--distributed-timeout) in {} for {}; the engine "
                           "cannot continue",
                           in_group_, std::chrono::duration<double>(group_.timeout()).count(), Describe(own_.tag),
                           missing);
                     });
}

absl::Status CpuCommunicator::Begin(const char *op, uint64_t bytes) {
  if (group_.has_failed())
    return group_.failure();
  group_.BeginCall(in_group_, op, bytes);
  return absl::OkStatus();
}

// Shows `from` to the other ranks and waits for them. Their calls must be the same. Then what they show can be read
// until the next meeting.
absl::Status CpuCommunicator::Show(const CallTag &tag, const void *from, uint64_t bytes) {
  own_.tag = tag;
  shared_->Show(rank_, static_cast<const std::byte *>(from), bytes);
  if (absl::Status status = Meet(); !status.ok())
    return status;
  const CallTag &first = shared_->slots()[0].tag;
  for (uint32_t rank = 1; rank < size(); ++rank)
    if (const CallTag &other = shared_->slots()[rank].tag; !(other == first))
      return FailOrder(0, first, rank, other);
  return absl::OkStatus();
}

// Calls body(first, count) for parts of the elements that ranks can show at a time, at least once.
template <class Body>
absl::Status CpuCommunicator::InParts(uint64_t elements, uint64_t element, const Body &body) const {
  const uint64_t most = shared_->most_bytes() / element;
  uint64_t first = 0;
  do {
    const uint64_t count = std::min(most, elements - first);
    if (absl::Status status = body(first, count); !status.ok())
      return status;
    first += count;
  } while (first < elements);
  return absl::OkStatus();
}

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

// Sums elements [first, first + count) of what all ranks show, in their order.
void CpuCommunicator::Sum(uint64_t first, uint64_t count, plan::DataType type, std::byte *to) const {
  constexpr uint64_t kPart = 512;
  std::array<float, kPart> sums, addends;
  const uint64_t element = ElementSize(type);
  for (uint64_t at = 0; at < count; at += kPart) {
    const uint64_t part = std::min(kPart, count - at);
    auto read = [&](uint32_t rank, std::array<float, kPart> &values) {
      ConvertElements(shared_->shown(rank) + (first + at) * element, type, reinterpret_cast<std::byte *>(values.data()),
                      plan::DataType_F32, part);
    };
    read(0, sums);
    for (uint32_t rank = 1; rank < size(); ++rank) {
      read(rank, addends);
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
  const CallTag tag = Tag("all_reduce", elements * element);
  if (absl::Status status = Begin("all_reduce", tag.bytes); !status.ok())
    return status;
  return End(InParts(elements, element, [&](uint64_t first, uint64_t count) {
    auto begin = [&](uint32_t rank) { return count / size() * rank + std::min<uint64_t>(rank, count % size()); };
    if (absl::Status status = Show(tag, static_cast<const std::byte *>(from) + first * element, count * element);
        !status.ok())
      return status;
    const uint64_t own = begin(rank_ + 1) - begin(rank_);
    Sum(begin(rank_), own, type, shared_->RoomForSums(rank_, own * element, sums_));
    if (absl::Status status = Meet(); !status.ok())
      return status;
    for (uint32_t rank = 0; rank < size(); ++rank)
      if (const uint64_t bytes = (begin(rank + 1) - begin(rank)) * element; bytes > 0)
        std::memcpy(static_cast<std::byte *>(to) + (first + begin(rank)) * element, shared_->sums(rank), bytes);
    // No rank changes its sums before all ranks have come to their next call or part.
    return absl::OkStatus();
  }));
}

absl::Status CpuCommunicator::AllGather(const void *from, void *to, const GatheredRows &shape) {
  if (shape.result_row_bytes > size() * shape.row_bytes)
    return absl::InvalidArgumentError(fmt::format("all_gather: makes rows of {} bytes from {} ranks' {}, expected {}",
                                                  shape.result_row_bytes, size(), shape.row_bytes,
                                                  size() * shape.row_bytes));
  const CallTag tag = Tag("all_gather", shape.rows * shape.row_bytes);
  if (absl::Status status = Begin("all_gather", tag.bytes); !status.ok())
    return status;
  return End(InParts(tag.bytes, 1, [&](uint64_t first, uint64_t count) {
    if (absl::Status status = Show(tag, static_cast<const std::byte *>(from) + first, count); !status.ok())
      return status;
    for (uint32_t rank = 0; rank < size(); ++rank)
      for (uint64_t at = 0, bytes = 0; at < count; at += bytes) {
        const uint64_t row = (first + at) / shape.row_bytes, column = (first + at) % shape.row_bytes;
        bytes = std::min(shape.row_bytes - column, count - at);
        const uint64_t place = rank * shape.row_bytes + column;
        if (place < shape.result_row_bytes)
          std::memcpy(static_cast<std::byte *>(to) + row * shape.result_row_bytes + place, shared_->shown(rank) + at,
                      std::min(bytes, shape.result_row_bytes - place));
      }
    return Meet();
  }));
}

absl::Status CpuCommunicator::ReduceScatter(const void *from, void *to, uint64_t elements, plan::DataType type) {
  if (absl::Status status = CheckSum("reduce_scatter", type); !status.ok())
    return status;
  const uint64_t element = ElementSize(type), begin = rank_ * elements, end = begin + elements;
  const CallTag tag = Tag("reduce_scatter", elements * element);
  if (absl::Status status = Begin("reduce_scatter", tag.bytes); !status.ok())
    return status;
  return End(InParts(size() * elements, element, [&](uint64_t first, uint64_t count) {
    if (absl::Status status = Show(tag, static_cast<const std::byte *>(from) + first * element, count * element);
        !status.ok())
      return status;
    const uint64_t own = std::max(begin, first), own_end = std::min(end, first + count);
    if (own < own_end)
      Sum(own - first, own_end - own, type, static_cast<std::byte *>(to) + (own - begin) * element);
    return Meet();
  }));
}

absl::Status CpuCommunicator::Barrier() {
  if (absl::Status status = Begin("barrier", 0); !status.ok())
    return status;
  if (absl::Status status = Show(Tag("barrier", 0), nullptr, 0); !status.ok())
    return status;
  return End(Meet());
}

absl::Status CpuCommunicator::Send(const void *from, uint64_t bytes, uint32_t peer) {
  if (absl::Status status = CheckPeer("send", peer); !status.ok())
    return status;
  if (absl::Status status = Begin("send", bytes); !status.ok())
    return status;
  Mailbox &mailbox = shared_->mailbox(rank_, peer);
  return End(InParts(bytes, 1, [&](uint64_t first, uint64_t count) {
    shared_->Show(rank_, static_cast<const std::byte *>(from) + first, count);
    mailbox.tag = Tag("message", bytes);
    mailbox.state = Mailbox::kFull;
    group_.Notify();
    absl::Status status = group_.Wait(
        [&] { return mailbox.state == Mailbox::kTaken; },
        [&] {
          return fmt::format("{} has waited {:.3g} s (--distributed-timeout) for {} to receive {} bytes; the "
                             "engine cannot continue",
                             DescribeRank(rank_), std::chrono::duration<double>(group_.timeout()).count(),
                             DescribeRank(peer), bytes);
        });
    if (status.ok())
      mailbox.state = Mailbox::kEmpty;
    return status;
  }));
}

absl::Status CpuCommunicator::Receive(void *to, uint64_t bytes, uint32_t peer) {
  if (absl::Status status = CheckPeer("receive", peer); !status.ok())
    return status;
  if (absl::Status status = Begin("receive", bytes); !status.ok())
    return status;
  Mailbox &mailbox = shared_->mailbox(peer, rank_);
  return End(InParts(bytes, 1, [&](uint64_t first, uint64_t count) {
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
    if (count > 0)
      std::memcpy(static_cast<std::byte *>(to) + first, shared_->shown(peer), count);
    mailbox.state = Mailbox::kTaken;
    group_.Notify();
    return absl::OkStatus();
  }));
}

} // namespace

std::vector<std::unique_ptr<Communicator>> MakeCpuCommunicators(const std::shared_ptr<RankGroup> &group,
                                                                std::vector<uint32_t> members) {
  auto shared = std::make_shared<Exchange>(group, std::move(members));
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (uint32_t rank = 0; rank < shared->size(); ++rank)
    communicators.push_back(std::make_unique<CpuCommunicator>(rank, shared));
  return communicators;
}

std::vector<std::unique_ptr<Communicator>> MakeCpuCommunicators(const std::shared_ptr<RankGroup> &group) {
  std::vector<uint32_t> members(group->size());
  std::iota(members.begin(), members.end(), 0u);
  return MakeCpuCommunicators(group, std::move(members));
}

uint64_t CpuExchangeBytes(uint32_t members) { return Exchange::Bytes(members); }

std::unique_ptr<Communicator> MakeSharedCommunicator(const std::shared_ptr<RankGroup> &group,
                                                     std::vector<uint32_t> members, uint32_t index,
                                                     std::shared_ptr<std::byte> memory) {
  return std::make_unique<CpuCommunicator>(index,
                                           std::make_shared<Exchange>(group, std::move(members), std::move(memory)));
}

} // namespace inlay
