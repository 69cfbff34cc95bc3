// Memory through which the ranks of a set of communicators on the cpu see what the others send: that of one process, or
// memory that several processes have mapped.
#ifndef INLAY_RUNTIME_DISTRIBUTED_CPU_EXCHANGE_H_
#define INLAY_RUNTIME_DISTRIBUTED_CPU_EXCHANGE_H_

#include "runtime/distributed/rank_group.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>

namespace inlay {

// Of the memory of a rank that its peers read, in bytes: of what it sends, and of the sums that it has added up. Larger
// operations run in parts of this size. Two parts fit in a second-level cache.
inline constexpr uint64_t kWindow = uint64_t{256} << 10;
inline constexpr uint64_t kPage = 4096;

// Identifies a call. It must be the same on all ranks that take part.
struct CallTag {
  CallTag() = default;
  CallTag(int64_t step, std::string_view name, uint64_t bytes) : step(step), bytes(bytes) {
    std::ranges::copy(name.substr(0, op.size() - 1), op.begin());
  }
  bool operator==(const CallTag &) const = default;

  int64_t step = 0;
  uint64_t bytes = 0;
  std::array<char, 16> op{}; // ends with a zero; not a pointer, because processes compare it
};

// A message from one rank to another.
struct Mailbox {
  enum State : int { kEmpty, kFull, kTaken };
  std::atomic<int> state{kEmpty};
  CallTag tag;
};

// What a rank shows to its peers. `tag`, `from` and `sums` change only when no peer reads them: after the last meeting
// of a call and before the first one of the next.
struct alignas(64) RankSlot {
  std::atomic<uint64_t> meetings{0}; // that the rank has come to
  CallTag tag;
  // Pointers are for ranks in one process. In shared memory, windows have fixed places.
  const std::byte *from = nullptr;
  const std::byte *sums = nullptr; // of the part of an all_reduce that this rank adds up
};

// What the members of a set of communicators share. It is constructed by each process; the memory may be shared.
class Exchange {
public:
  // Of threads.
  Exchange(std::shared_ptr<RankGroup> group, std::vector<uint32_t> members)
      : group(std::move(group)), members(std::move(members)), own_slots_(this->members.size()),
        own_mailboxes_(own_slots_.size() * own_slots_.size()), slots_(own_slots_.data()),
        mailboxes_(own_mailboxes_.data()) {}
  // Of processes. A slot or mailbox of zeros is as one that was constructed.
  Exchange(std::shared_ptr<RankGroup> group, std::vector<uint32_t> members, std::shared_ptr<std::byte> memory)
      : group(std::move(group)), members(std::move(members)), memory_(std::move(memory)),
        slots_(reinterpret_cast<RankSlot *>(memory_.get())),
        mailboxes_(reinterpret_cast<Mailbox *>(memory_.get() + this->members.size() * sizeof(RankSlot))),
        windows_(memory_.get() + HeadBytes(size())) {}

  static uint64_t HeadBytes(uint64_t members) {
    return (members * sizeof(RankSlot) + members * members * sizeof(Mailbox) + kPage - 1) / kPage * kPage;
  }
  static uint64_t Bytes(uint64_t members) { return HeadBytes(members) + members * 2 * kWindow; }

  uint32_t size() const { return static_cast<uint32_t>(members.size()); }
  std::span<RankSlot> slots() const { return {slots_, members.size()}; }
  Mailbox &mailbox(uint32_t from, uint32_t to) const { return mailboxes_[size_t{from} * members.size() + to]; }

  // The most bytes that a rank can show at a time.
  uint64_t most_bytes() const { return windows_ ? kWindow : std::numeric_limits<uint64_t>::max(); }
  // Shows memory of this process to the peers. In shared memory it is a copy.
  void Show(uint32_t rank, const std::byte *from, uint64_t bytes) const {
    if (!windows_)
      slots_[rank].from = from;
    else if (bytes > 0)
      std::memcpy(windows_ + 2 * rank * kWindow, from, bytes);
  }
  const std::byte *shown(uint32_t rank) const { return windows_ ? windows_ + 2 * rank * kWindow : slots_[rank].from; }
  // Memory for the sums of a rank, which its peers can read.
  std::byte *RoomForSums(uint32_t rank, uint64_t bytes, std::vector<std::byte> &own) const {
    if (windows_)
      return windows_ + (2 * rank + 1) * kWindow;
    own.resize(std::max<size_t>(own.size(), bytes));
    slots_[rank].sums = own.data();
    return own.data();
  }
  const std::byte *sums(uint32_t rank) const {
    return windows_ ? windows_ + (2 * rank + 1) * kWindow : slots_[rank].sums;
  }

  const std::shared_ptr<RankGroup> group;
  const std::vector<uint32_t> members; // their ranks in the group

private:
  std::vector<RankSlot> own_slots_;
  std::vector<Mailbox> own_mailboxes_;
  std::shared_ptr<std::byte> memory_;
  RankSlot *const slots_;
  Mailbox *const mailboxes_;
  std::byte *const windows_ = nullptr;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_CPU_EXCHANGE_H_
