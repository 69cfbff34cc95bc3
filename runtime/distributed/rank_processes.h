// The processes of one engine, each of which runs one rank: how they find each other, share memory and talk.
#ifndef INLAY_RUNTIME_DISTRIBUTED_RANK_PROCESSES_H_
#define INLAY_RUNTIME_DISTRIBUTED_RANK_PROCESSES_H_

#include "runtime/distributed/message_socket.h"
#include "runtime/distributed/rank_group.h"

#include <cstddef>
#include <thread>

namespace inlay {

// Rank 0 has a socket to each other rank. It sends them steps, which they answer. Everything else goes through the
// shared memory, which has no name: the system frees it when the last process has ended, however it ends.
class RankProcesses {
public:
  struct Place {
    uint32_t rank = 0, ranks = 1;
    std::string rendezvous; // the same name in all processes, and in no other engine of the host
    // How long it waits for a process that has nothing to load (--distributed-timeout).
    RankGroup::Clock::duration timeout = {};
  };
  // Waits until the processes of all ranks are there. `purpose`, which says what they run, must be the same in all.
  // They share `bytes` bytes of memory, which are zero.
  static absl::StatusOr<std::unique_ptr<RankProcesses>> Connect(Place place, const std::string &purpose,
                                                                uint64_t bytes);
  ~RankProcesses();
  RankProcesses(const RankProcesses &) = delete;
  RankProcesses &operator=(const RankProcesses &) = delete;

  uint32_t rank() const { return place_.rank; }
  uint32_t ranks() const { return place_.ranks; }
  const std::shared_ptr<std::byte> &memory() const { return memory_; }

  // All ranks call these three in the same order, before Start(). A process that has come here waits for those that
  // still open their devices or connect, for 2 minutes or the timeout, whichever is longer. It returns an error at once
  // if one of them has ended.
  // Returns the texts of all ranks.
  absl::StatusOr<std::vector<std::string>> ExchangeTexts(const std::string &own);
  // Returns the file descriptors of all ranks: of the same open files. A rank may have none (-1).
  absl::StatusOr<std::vector<OwnedFile>> ExchangeFiles(const OwnedFile &own);
  // Returns the same status on all ranks: the error of the first rank that has one. All ranks have then come this far.
  absl::Status Agree(const absl::Status &own);

  // Takes a message of another rank. An error fails the group.
  using Handler = std::function<absl::Status(uint32_t rank, Message message)>;
  // Starts a thread. It fails the group when another process ends, on rank 0 also that of any other rank, and gives
  // rank 0 the messages of the others.
  void Start(std::shared_ptr<RankGroup> group, Handler handler = nullptr);

  // Of rank 0: sends to all others. An error fails the group.
  absl::Status SendToAll(uint32_t kind, std::string_view payload);
  // Of rank 0: sends `kind` to all others, which then call Leave(), and waits for that. After a failure of the group,
  // only ends the thread.
  void End(uint32_t kind);

  // Of other ranks: to and from rank 0. Receive() has no limit, but returns the failure of the group.
  absl::Status Send(uint32_t kind, std::string_view payload);
  absl::StatusOr<Message> Receive();
  // Ends the thread and closes the socket.
  void Leave();
  // Of other ranks: waits until rank 0 has ended.
  bool WaitForEndOfFirst(std::chrono::milliseconds time) const { return sockets_[0].WaitForHangUp(time); }

private:
  explicit RankProcesses(Place place) : place_(std::move(place)), sockets_(place_.ranks) {}
  absl::Status ConnectFirst(const std::string &purpose, uint64_t bytes);
  absl::Status ConnectOther(const std::string &purpose, uint64_t bytes);
  absl::Status Map(const OwnedFile &file, uint64_t bytes);
  std::function<bool()> HasEnded(uint32_t *ended, uint32_t except) const;
  absl::Status FailFor(uint32_t rank, const absl::Status &status) const;
  std::string DescribeProcess(uint32_t rank) const;
  void ServeOthers();
  void WatchFirst();
  void StopThread();

  const Place place_;
  std::vector<MessageSocket> sockets_; // by rank; only rank 0 has more than that of rank 0
  std::shared_ptr<std::byte> memory_;
  std::shared_ptr<RankGroup> group_;
  Handler handler_;
  std::atomic<bool> is_ending_{false}; // the others may end
  std::atomic<bool> stopping_{false};  // the thread ends
  std::thread thread_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_RANK_PROCESSES_H_
