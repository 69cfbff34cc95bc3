// Messages over a UNIX socket between processes of one host and one user.
#ifndef INLAY_RUNTIME_DISTRIBUTED_MESSAGE_SOCKET_H_
#define INLAY_RUNTIME_DISTRIBUTED_MESSAGE_SOCKET_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace inlay {

struct Message {
  uint32_t kind = 0;
  std::string payload;
};

// A file descriptor that is closed at the end.
class OwnedFile {
public:
  explicit OwnedFile(int file = -1) : file_(file) {}
  ~OwnedFile();
  OwnedFile(OwnedFile &&other) noexcept : file_(std::exchange(other.file_, -1)) {}
  OwnedFile &operator=(OwnedFile &&other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  int get() const { return file_; }

private:
  int file_;
};

// One thread may send while another one receives. When the other process has ended, both return Unavailable. When the
// deadline has passed, they return DeadlineExceeded.
class MessageSocket {
public:
  using Clock = std::chrono::steady_clock;

  MessageSocket() = default;
  // `name` is that of an abstract socket: it is no file, and is free again when the process ends.
  static absl::StatusOr<MessageSocket> Listen(std::string_view name, int backlog);
  // `ends`: polled ten times a second; if it returns true, returns Cancelled. The same holds for Receive().
  absl::StatusOr<MessageSocket> Accept(Clock::time_point deadline, const std::function<bool()> &ends = nullptr) const;
  // Waits until a process listens.
  static absl::StatusOr<MessageSocket> Connect(std::string_view name, Clock::time_point deadline);

  // How long Send() waits while the other process does not read.
  void SetSendLimit(Clock::duration limit) const;
  absl::Status Send(uint32_t kind, std::string_view payload) const;
  absl::StatusOr<Message> Receive(Clock::time_point deadline, const std::function<bool()> &ends = nullptr) const;

  absl::Status SendFile(int file) const;
  absl::StatusOr<OwnedFile> ReceiveFile(Clock::time_point deadline) const;

  // Waits until the other process has ended or closed the socket. Returns false after the time.
  bool WaitForHangUp(Clock::duration time) const;
  int file() const { return file_.get(); }
  int32_t peer_process() const { return process_; } // its id

private:
  explicit MessageSocket(OwnedFile file) : file_(std::move(file)) {}
  absl::Status CheckPeer();
  absl::Status WaitToRead(Clock::time_point deadline, const std::function<bool()> &ends) const;
  absl::Status ReceiveBytes(char *to, size_t bytes, Clock::time_point deadline,
                            const std::function<bool()> &ends) const;

  OwnedFile file_;
  int32_t process_ = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_MESSAGE_SOCKET_H_
