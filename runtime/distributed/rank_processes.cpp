#include "runtime/distributed/rank_processes.h"

#include "fmt/format.h"
#include "runtime/distributed/message.h"

#include <algorithm>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

namespace inlay {
namespace {

using Clock = MessageSocket::Clock;

// How long processes wait for each other before they load the weights: until all have started, which a launcher does at
// about the same time, and until all have opened their devices and connected them.
constexpr std::chrono::seconds kStartLimit{120};
// What a process sends when it has connected.
constexpr std::chrono::seconds kHelloLimit{5};
constexpr std::chrono::milliseconds kPollTime{100};

// Kinds of messages before Start(). Those after it are the caller's.
enum Kind : uint32_t { kHello = 0x1000, kWelcome, kRefused, kTexts };

absl::Status HasEndedError() { return absl::UnavailableError("it has ended"); }

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

absl::Status Prefixed(const std::string &prefix, const absl::Status &status) {
  return absl::Status(status.code(), fmt::format("{}: {}", prefix, std::string(status.message())));
}

} // namespace

absl::StatusOr<std::unique_ptr<RankProcesses>> RankProcesses::Connect(Place place, const std::string &purpose,
                                                                      uint64_t bytes) {
  std::unique_ptr<RankProcesses> result(new RankProcesses(std::move(place)));
  absl::Status status =
      result->rank() == 0 ? result->ConnectFirst(purpose, bytes) : result->ConnectOther(purpose, bytes);
  if (!status.ok())
    return status;
  return result;
}

RankProcesses::~RankProcesses() { StopThread(); }

std::string RankProcesses::DescribeProcess(uint32_t rank) const {
  return fmt::format("the process of rank {} (id {})", rank, sockets_[rank].peer_process());
}

// Whether another process than that of rank `except` has ended, whose rank is then in `ended`. Only rank 0 sees that.
std::function<bool()> RankProcesses::HasEnded(uint32_t *ended, uint32_t except) const {
  return [this, ended, except] {
    for (uint32_t rank = 0; rank < ranks(); ++rank)
      if (rank != except && sockets_[rank].file() >= 0 && sockets_[rank].WaitForHangUp({})) {
        *ended = rank;
        return true;
      }
    return false;
  };
}

absl::Status RankProcesses::Map(const OwnedFile &file, uint64_t bytes) {
  void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED)
    return absl::ResourceExhaustedError(fmt::format("no memory for {} bytes that the ranks share", bytes));
  memory_ = std::shared_ptr<std::byte>(static_cast<std::byte *>(memory), [bytes](std::byte *at) { munmap(at, bytes); });
  return absl::OkStatus();
}

// Rank 0 listens. It sends the memory to the others when all are there.
absl::Status RankProcesses::ConnectFirst(const std::string &purpose, uint64_t bytes) {
  const Clock::time_point deadline = Clock::now() + kStartLimit;
  absl::StatusOr<MessageSocket> listener = MessageSocket::Listen(place_.rendezvous, static_cast<int>(ranks()));
  if (!listener.ok())
    return listener.status();
  for (uint32_t missing = ranks() - 1; missing > 0;) {
    uint32_t ended = 0;
    absl::StatusOr<MessageSocket> socket = listener->Accept(deadline, HasEnded(&ended, 0));
    if (absl::IsCancelled(socket.status()))
      return Prefixed(fmt::format("--rendezvous {}: {}", place_.rendezvous, DescribeProcess(ended)), HasEndedError());
    if (!socket.ok()) {
      std::string absent;
      for (uint32_t rank = 1; rank < ranks(); ++rank)
        if (sockets_[rank].file() < 0)
          absent += fmt::format("{}{}", absent.empty() ? "" : ", ", rank);
      return Prefixed(fmt::format("--rendezvous {}: rank 0 has waited {} s for the processes of ranks {}",
                                  place_.rendezvous, kStartLimit.count(), absent),
                      socket.status());
    }
    absl::StatusOr<Message> hello = socket->Receive(
        std::min<Clock::time_point>(deadline, Clock::now() + std::min<Clock::duration>(place_.timeout, kHelloLimit)));
    if (!hello.ok() || hello->kind != kHello)
      continue; // a process that is no rank
    MessageReader reader(hello->payload);
    const auto rank = reader.Take<uint32_t>(), count = reader.Take<uint32_t>();
    const std::string found = reader.TakeText();
    std::string wrong;
    if (!reader.at_end() || found != purpose)
      wrong =
          fmt::format("runs {}, but rank 0 runs {}; give all processes the same bundle and version", found, purpose);
    else if (count != ranks())
      wrong = fmt::format("is one of {} ranks, but rank 0 of {}", count, ranks());
    else if (rank == 0 || rank >= ranks() || sockets_[rank].file() >= 0)
      wrong = "is there twice, or is none of them";
    if (!wrong.empty()) {
      wrong = fmt::format("--rendezvous {}: rank {} {}", place_.rendezvous, rank, wrong);
      (void)socket->Send(kRefused, wrong);
      return absl::InvalidArgumentError(wrong);
    }
    sockets_[rank] = *std::move(socket);
    --missing;
  }
  OwnedFile file(memfd_create("inlay ranks", MFD_CLOEXEC));
  if (file.get() < 0 || ftruncate(file.get(), static_cast<off_t>(bytes)) != 0)
    return absl::ResourceExhaustedError(fmt::format("no memory for {} bytes that the ranks share", bytes));
  if (absl::Status status = Map(file, bytes); !status.ok())
    return status;
  for (uint32_t rank = 1; rank < ranks(); ++rank) {
    absl::Status status = sockets_[rank].Send(kWelcome, {});
    if (status.ok())
      status = sockets_[rank].SendFile(file.get());
    if (!status.ok())
      return Prefixed(DescribeProcess(rank), status);
  }
  return absl::OkStatus();
}

absl::Status RankProcesses::ConnectOther(const std::string &purpose, uint64_t bytes) {
  const Clock::time_point deadline = Clock::now() + kStartLimit;
  const std::string what =
      fmt::format("--rendezvous {}: rank {} has waited for the process of rank 0", place_.rendezvous, rank());
  absl::StatusOr<MessageSocket> socket = MessageSocket::Connect(place_.rendezvous, deadline);
  if (!socket.ok())
    return Prefixed(what, socket.status());
  MessageWriter hello;
  hello.Put(rank());
  hello.Put(ranks());
  hello.PutText(purpose);
  if (absl::Status status = socket->Send(kHello, hello.Take()); !status.ok())
    return Prefixed(what, status);
  absl::StatusOr<Message> answer = socket->Receive(deadline);
  if (!answer.ok())
    return Prefixed(what, answer.status());
  if (answer->kind == kRefused)
    return absl::InvalidArgumentError(answer->payload);
  if (answer->kind != kWelcome)
    return absl::InternalError(fmt::format("{}: it has sent a message of kind {}", what, answer->kind));
  absl::StatusOr<OwnedFile> file = socket->ReceiveFile(deadline);
  if (!file.ok())
    return Prefixed(what, file.status());
  if (lseek(file->get(), 0, SEEK_END) != static_cast<off_t>(bytes))
    return absl::InternalError(fmt::format("{}: it shares memory of another size, expected {} bytes", what, bytes));
  sockets_[0] = *std::move(socket);
  return Map(*file, bytes);
}

absl::StatusOr<std::vector<std::string>> RankProcesses::ExchangeTexts(const std::string &own) {
  // Rank 0 answers when it has heard from all others, and names the one that is late before they give up. It may itself
  // come later than they do, by as long as it may take.
  const Clock::duration limit = std::max<Clock::duration>(kStartLimit, place_.timeout);
  const Clock::time_point deadline = Clock::now() + (rank() > 0 ? 2 * limit + place_.timeout : limit);
  std::vector<std::string> texts(ranks());
  auto receive = [&](uint32_t rank, std::string &text) {
    uint32_t ended = 0;
    absl::StatusOr<Message> message = sockets_[rank].Receive(deadline, HasEnded(&ended, rank));
    if (absl::IsCancelled(message.status()))
      return Prefixed(DescribeProcess(ended), HasEndedError());
    if (absl::IsDeadlineExceeded(message.status()))
      return absl::DeadlineExceededError(fmt::format(
          "{} has not opened and connected its device within {:.3g} s; a larger --distributed-timeout gives "
          "it more time",
          DescribeProcess(rank), Seconds(limit)));
    if (!message.ok())
      return Prefixed(DescribeProcess(rank), message.status());
    if (message->kind != kTexts)
      return absl::InternalError(
          fmt::format("{}: it has sent a message of kind {}", DescribeProcess(rank), message->kind));
    text = std::move(message->payload);
    return absl::OkStatus();
  };
  if (rank() > 0) {
    std::string all;
    if (absl::Status status = sockets_[0].Send(kTexts, own); !status.ok())
      return Prefixed(DescribeProcess(0), status);
    if (absl::Status status = receive(0, all); !status.ok())
      return status;
    MessageReader reader(all);
    for (std::string &text : texts)
      text = reader.TakeText();
    if (!reader.at_end())
      return absl::InternalError(fmt::format("{}: it has sent a message that ends early", DescribeProcess(0)));
    return texts;
  }
  texts[0] = own;
  MessageWriter all;
  all.PutText(own);
  for (uint32_t rank = 1; rank < ranks(); ++rank) {
    if (absl::Status status = receive(rank, texts[rank]); !status.ok())
      return status;
    all.PutText(texts[rank]);
  }
  const std::string message = all.Take();
  for (uint32_t rank = 1; rank < ranks(); ++rank)
    if (absl::Status status = sockets_[rank].Send(kTexts, message); !status.ok())
      return Prefixed(DescribeProcess(rank), status);
  return texts;
}

absl::StatusOr<std::vector<OwnedFile>> RankProcesses::ExchangeFiles(const OwnedFile &own) {
  absl::StatusOr<std::vector<std::string>> has_file = ExchangeTexts(own.get() >= 0 ? "file" : "");
  if (!has_file.ok())
    return has_file.status();
  const Clock::time_point deadline = Clock::now() + place_.timeout; // all are here
  std::vector<OwnedFile> files(ranks());
  absl::Status failed;
  auto receive = [&](uint32_t of, uint32_t from) {
    absl::StatusOr<OwnedFile> file = sockets_[from].ReceiveFile(deadline);
    if (file.ok())
      files[of] = *std::move(file);
    else if (absl::IsDeadlineExceeded(file.status()))
      failed.Update(absl::DeadlineExceededError(
          fmt::format("{}: it has not sent a file descriptor for {:.3g} s (--distributed-timeout)",
                      DescribeProcess(from), Seconds(place_.timeout))));
    else
      failed.Update(Prefixed(DescribeProcess(from), file.status()));
  };
  auto send = [&](int file, uint32_t to) {
    if (absl::Status status = sockets_[to].SendFile(file); !status.ok())
      failed.Update(Prefixed(DescribeProcess(to), status));
  };
  // Rank 0 collects the files and sends each of them to all others.
  for (uint32_t of = 0; of < ranks() && failed.ok(); ++of) {
    if ((*has_file)[of].empty())
      continue;
    if (of == rank())
      files[of] = OwnedFile(fcntl(own.get(), F_DUPFD_CLOEXEC, 0));
    if (rank() > 0) {
      if (of == rank())
        send(own.get(), 0);
      else
        receive(of, 0);
      continue;
    }
    if (of > 0)
      receive(of, of);
    for (uint32_t to = 1; to < ranks() && failed.ok(); ++to)
      if (to != of)
        send(files[of].get(), to);
  }
  if (!failed.ok())
    return failed;
  return files;
}

absl::Status RankProcesses::Agree(const absl::Status &own) {
  MessageWriter writer;
  writer.Put(static_cast<int32_t>(own.raw_code()));
  writer.PutText(std::string(own.message()));
  absl::StatusOr<std::vector<std::string>> texts = ExchangeTexts(writer.Take());
  if (!texts.ok())
    return own.ok() ? texts.status() : own;
  for (uint32_t of = 0; of < ranks(); ++of) {
    MessageReader reader((*texts)[of]);
    const auto code = static_cast<absl::StatusCode>(reader.Take<int32_t>());
    const std::string message = reader.TakeText();
    if (!reader.at_end())
      return absl::InternalError(fmt::format("rank {} has sent a status that ends early", of));
    if (code != absl::StatusCode::kOk)
      return absl::Status(code, message);
  }
  return absl::OkStatus();
}

void RankProcesses::Start(std::shared_ptr<RankGroup> group, Handler handler) {
  group_ = std::move(group);
  handler_ = std::move(handler);
  for (const MessageSocket &socket : sockets_)
    if (socket.file() >= 0)
      socket.SetSendLimit(group_->timeout());
  thread_ = std::thread([this] { rank() == 0 ? ServeOthers() : WatchFirst(); });
}

// Runs until the group has failed, or all others have left.
void RankProcesses::ServeOthers() {
  std::vector<pollfd> files;
  std::vector<uint32_t> of_file;
  for (uint32_t rank = 1; rank < ranks(); ++rank) {
    files.push_back({sockets_[rank].file(), POLLIN, 0});
    of_file.push_back(rank);
  }
  while (!files.empty() && !stopping_ && !group_->has_failed()) {
    if (poll(files.data(), files.size(), static_cast<int>(kPollTime.count())) <= 0)
      continue;
    for (size_t i = 0; i < files.size(); ++i) {
      if (files[i].revents == 0)
        continue;
      const uint32_t rank = of_file[i];
      absl::StatusOr<Message> message = sockets_[rank].Receive(Clock::now() + group_->timeout());
      absl::Status status = message.status();
      if (absl::IsDeadlineExceeded(status))
        status = absl::DeadlineExceededError(
            fmt::format("it has sent a part of a message, and no more for {:.3g} s (--distributed-timeout)",
                        Seconds(group_->timeout())));
      if (message.ok())
        status = handler_(rank, *std::move(message));
      if (absl::IsUnavailable(status) && is_ending_) {
        files.erase(files.begin() + static_cast<int64_t>(i));
        of_file.erase(of_file.begin() + static_cast<int64_t>(i));
        break;
      }
      if (!status.ok())
        return (void)FailFor(rank, status);
    }
  }
}

void RankProcesses::WatchFirst() {
  while (!stopping_ && !group_->has_failed())
    if (sockets_[0].WaitForHangUp(kPollTime) && !is_ending_)
      return (void)FailFor(0, absl::UnavailableError("it has ended"));
}

// Fails the group because of another process. Returns the failure, which may be an earlier one.
absl::Status RankProcesses::FailFor(uint32_t rank, const absl::Status &status) const {
  group_->Fail(absl::Status(status.code(), fmt::format("{}: {}; the engine cannot continue", DescribeProcess(rank),
                                                       std::string(status.message()))));
  return group_->failure();
}

absl::Status RankProcesses::SendToAll(uint32_t kind, std::string_view payload) {
  for (uint32_t rank = 1; rank < ranks(); ++rank)
    if (absl::Status status = sockets_[rank].Send(kind, payload); !status.ok())
      return FailFor(rank, status);
  return absl::OkStatus();
}

void RankProcesses::End(uint32_t kind) {
  if (!thread_.joinable())
    return;
  is_ending_ = true;
  if (!group_->has_failed())
    (void)SendToAll(kind, {});
  for (const Clock::time_point end = Clock::now() + group_->timeout();
       !group_->has_failed() && Clock::now() < end && !stopping_;) {
    const bool all_left = std::ranges::all_of(
        sockets_, [](const MessageSocket &socket) { return socket.file() < 0 || socket.WaitForHangUp({}); });
    if (all_left)
      break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  StopThread();
}

absl::Status RankProcesses::Send(uint32_t kind, std::string_view payload) {
  absl::Status status = sockets_[0].Send(kind, payload);
  return status.ok() ? status : FailFor(0, status);
}

absl::StatusOr<Message> RankProcesses::Receive() {
  absl::StatusOr<Message> message = sockets_[0].Receive(Clock::time_point::max(), [&] { return group_->has_failed(); });
  if (message.ok())
    return message;
  return FailFor(0, message.status());
}

void RankProcesses::Leave() {
  is_ending_ = true;
  StopThread();
  sockets_[0] = MessageSocket();
}

void RankProcesses::StopThread() {
  stopping_ = true;
  if (thread_.joinable())
    thread_.join();
}

} // namespace inlay
