#include "runtime/distributed/message_socket.h"

#include "fmt/format.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

namespace inlay {
namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 32; // of a message: logits of a step with stages
constexpr size_t kPart = size_t{1} << 20;          // a wrong length allocates no more than what has arrived
constexpr std::chrono::milliseconds kLookAround{100};

struct Header {
  uint32_t kind = 0, unused = 0;
  uint64_t bytes = 0;
};

absl::Status SystemError(std::string_view what) {
  return absl::UnavailableError(fmt::format("{}: {}", what, std::strerror(errno)));
}

struct Address {
  sockaddr_un address{};
  socklen_t size = 0;
};

absl::StatusOr<Address> AddressOf(std::string_view name) {
  Address result;
  result.address.sun_family = AF_UNIX;
  // The first byte of the path is zero: an abstract socket.
  if (name.empty() || name.size() >= sizeof result.address.sun_path)
    return absl::InvalidArgumentError(fmt::format("--rendezvous is '{}', expected a name of 1 to {} characters",
                                                  std::string(name), sizeof result.address.sun_path - 1));
  std::memcpy(result.address.sun_path + 1, name.data(), name.size());
  result.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return result;
}

absl::StatusOr<OwnedFile> OpenSocket() {
  OwnedFile file(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (file.get() < 0)
    return SystemError("no socket can be opened");
  return file;
}

// The data of a message with a file descriptor: one byte, and the descriptor beside it.
struct FileMessage {
  FileMessage() {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  FileMessage(const FileMessage &) = delete;
  FileMessage &operator=(const FileMessage &) = delete;

  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
};

} // namespace

OwnedFile::~OwnedFile() {
  if (file_ >= 0)
    close(file_);
}

absl::StatusOr<MessageSocket> MessageSocket::Listen(std::string_view name, int backlog) {
  absl::StatusOr<Address> address = AddressOf(name);
  if (!address.ok())
    return address.status();
  absl::StatusOr<OwnedFile> file = OpenSocket();
  if (!file.ok())
    return file.status();
  if (bind(file->get(), reinterpret_cast<const sockaddr *>(&address->address), address->size) != 0)
    return errno == EADDRINUSE
               ? absl::AlreadyExistsError(fmt::format("another process is rank 0 of --rendezvous {}; give each engine "
                                                      "its own name",
                                                      std::string(name)))
               : SystemError(fmt::format("--rendezvous {}", std::string(name)));
  if (listen(file->get(), backlog) != 0)
    return SystemError(fmt::format("--rendezvous {}", std::string(name)));
  return MessageSocket(*std::move(file));
}

// Any process of the host can connect to an abstract socket, so the user is compared.
absl::Status MessageSocket::CheckPeer() {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(file_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return SystemError("the other process is unknown");
  if (peer.uid != geteuid())
    return absl::PermissionDeniedError(
        fmt::format("process {} of user {} has the name of --rendezvous, expected a process of user {}", peer.pid,
                    peer.uid, geteuid()));
  process_ = peer.pid;
  return absl::OkStatus();
}

absl::StatusOr<MessageSocket> MessageSocket::Accept(Clock::time_point deadline,
                                                    const std::function<bool()> &ends) const {
  while (true) {
    if (absl::Status status = WaitToRead(deadline, ends); !status.ok())
      return status;
    OwnedFile file(accept4(file_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (file.get() < 0) {
      if (errno == EINTR || errno == ECONNABORTED)
        continue;
      return SystemError("no connection can be accepted");
    }
    MessageSocket accepted(std::move(file));
    if (accepted.CheckPeer().ok()) // others are ignored, so that they cannot end the engine
      return accepted;
  }
}

absl::StatusOr<MessageSocket> MessageSocket::Connect(std::string_view name, Clock::time_point deadline) {
  absl::StatusOr<Address> address = AddressOf(name);
  if (!address.ok())
    return address.status();
  while (true) {
    absl::StatusOr<OwnedFile> file = OpenSocket();
    if (!file.ok())
      return file.status();
    if (connect(file->get(), reinterpret_cast<const sockaddr *>(&address->address), address->size) == 0) {
      MessageSocket connected(*std::move(file));
      if (absl::Status status = connected.CheckPeer(); !status.ok())
        return status;
      return connected;
    }
    if (errno != ECONNREFUSED && errno != EAGAIN && errno != EINTR)
      return SystemError(fmt::format("--rendezvous {}", std::string(name)));
    if (Clock::now() >= deadline)
      return absl::DeadlineExceededError("it does not listen");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void MessageSocket::SetSendLimit(Clock::duration limit) const {
  const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(limit).count();
  timeval time{microseconds / 1000000, microseconds % 1000000};
  setsockopt(file_.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

absl::Status MessageSocket::Send(uint32_t kind, std::string_view payload) const {
  const Header header{.kind = kind, .bytes = payload.size()};
  for (std::string_view part : {std::string_view(reinterpret_cast<const char *>(&header), sizeof header), payload})
    while (!part.empty()) {
      const ssize_t sent = send(file_.get(), part.data(), part.size(), MSG_NOSIGNAL);
      if (sent > 0)
        part.remove_prefix(static_cast<size_t>(sent));
      else if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return absl::DeadlineExceededError("it does not read its messages");
      else if (sent < 0 && errno != EINTR)
        return absl::UnavailableError("it has ended");
    }
  return absl::OkStatus();
}

absl::Status MessageSocket::WaitToRead(Clock::time_point deadline, const std::function<bool()> &ends) const {
  while (true) {
    if (ends && ends())
      return absl::CancelledError("no longer wanted");
    const Clock::time_point now = Clock::now();
    if (now >= deadline)
      return absl::DeadlineExceededError("it has not sent a message");
    const Clock::duration left = std::min<Clock::duration>(deadline - now, kLookAround);
    pollfd one{file_.get(), POLLIN, 0};
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(left).count() + 1;
    if (poll(&one, 1, static_cast<int>(milliseconds)) > 0)
      return absl::OkStatus();
  }
}

absl::Status MessageSocket::ReceiveBytes(char *to, size_t bytes, Clock::time_point deadline,
                                         const std::function<bool()> &ends) const {
  while (bytes > 0) {
    if (absl::Status status = WaitToRead(deadline, ends); !status.ok())
      return status;
    const ssize_t received = recv(file_.get(), to, bytes, MSG_DONTWAIT);
    if (received > 0) {
      to += received;
      bytes -= static_cast<size_t>(received);
    } else if (received == 0 || (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)) {
      return absl::UnavailableError("it has ended");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Message> MessageSocket::Receive(Clock::time_point deadline, const std::function<bool()> &ends) const {
  Header header;
  if (absl::Status status = ReceiveBytes(reinterpret_cast<char *>(&header), sizeof header, deadline, ends);
      !status.ok())
    return status;
  if (header.bytes > kMostBytes)
    return absl::InternalError(
        fmt::format("it has sent a message of {} bytes, expected at most {}", header.bytes, kMostBytes));
  Message message{header.kind, {}};
  while (message.payload.size() < header.bytes) {
    const size_t first = message.payload.size(), part = std::min<size_t>(header.bytes - first, kPart);
    message.payload.resize(first + part);
    if (absl::Status status = ReceiveBytes(message.payload.data() + first, part, deadline, ends); !status.ok())
      return status;
  }
  return message;
}

absl::Status MessageSocket::SendFile(int file) const {
  FileMessage message;
  cmsghdr *control = CMSG_FIRSTHDR(&message.header);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof file);
  std::memcpy(CMSG_DATA(control), &file, sizeof file);
  if (sendmsg(file_.get(), &message.header, MSG_NOSIGNAL) != 1)
    return absl::UnavailableError("it has ended");
  return absl::OkStatus();
}

absl::StatusOr<OwnedFile> MessageSocket::ReceiveFile(Clock::time_point deadline) const {
  if (absl::Status status = WaitToRead(deadline, nullptr); !status.ok())
    return status;
  FileMessage message;
  if (recvmsg(file_.get(), &message.header, MSG_CMSG_CLOEXEC) != 1)
    return absl::UnavailableError("it has ended");
  const cmsghdr *control = CMSG_FIRSTHDR(&message.header);
  int file = -1;
  if (!control || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS ||
      control->cmsg_len != CMSG_LEN(sizeof file))
    return absl::InternalError("it has sent no file descriptor");
  std::memcpy(&file, CMSG_DATA(control), sizeof file);
  return OwnedFile(file);
}

bool MessageSocket::WaitForHangUp(Clock::duration time) const {
  pollfd one{file_.get(), POLLRDHUP, 0};
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  return poll(&one, 1, static_cast<int>(milliseconds)) > 0;
}

} // namespace inlay
