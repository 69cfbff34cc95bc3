// A libnccl.so.2 for tests with the fake driver. The ranks are threads of this process, or one thread between
// ncclGroupStart() and ncclGroupEnd(). An operation runs when it is enqueued, or when its graph is launched, and waits
// for those of the other ranks; a message is kept until it is received. Sums are of F32 and BF16. With FAKE_NCCL=wrong
// sums are wrong, with FAKE_NCCL=lost messages are zeros. The end of the process writes to the file FAKE_NCCL_LOG how
// many operations ran.
#include "fake_driver.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

namespace {

namespace fake = inlay::fake;

using Result = int;
constexpr Result kOk = 0, kInvalidArgument = 4, kInProgress = 7;
constexpr int kBytes = 1, kFloat32 = 7, kBFloat16 = 9;

struct UniqueId {
  char bytes[128];
};
struct Config {
  size_t size;
  unsigned magic, version;
  int blocking;
};

bool Is(std::string_view mode) {
  const char *text = std::getenv("FAKE_NCCL");
  return text && text == mode;
}

// What the ranks share. Operation n of all ranks is one exchange.
struct Clique {
  explicit Clique(int ranks) : from(static_cast<size_t>(ranks)) {}
  std::mutex mutex; // guards all members
  std::condition_variable changed;
  std::vector<const std::byte *> from;                                             // of the exchange that runs
  uint64_t arrived = 0, computed = 0, written = 0;                                 // ranks, of all exchanges
  std::map<std::pair<int, int>, std::deque<std::vector<std::byte>>> messages = {}; // by sender and receiver
  bool is_aborted = false;
};

struct Communicator {
  std::shared_ptr<Clique> clique;
  int rank = 0;
  uint64_t operations = 0;
  bool is_settled = false; // whether it was asked for its state, which says kInProgress at first
};

struct Operation {
  Communicator *communicator = nullptr;
  const void *from = nullptr;
  void *to = nullptr;
  size_t bytes = 0;
  int type = kBytes; // kBytes: all_gather
  int peer = -1;     // of a message: `from` is null where it is received
  std::vector<std::byte> result = {};
};

std::mutex cliques_mutex;
std::vector<std::pair<UniqueId, std::shared_ptr<Clique>>> cliques;
std::atomic<int> ids{0};
std::atomic<int64_t> all_operations{0};

struct Log {
  ~Log() {
    const char *path = std::getenv("FAKE_NCCL_LOG");
    std::FILE *file = path ? std::fopen(path, "w") : nullptr;
    if (!file)
      return;
    std::fprintf(file, "%lld", static_cast<long long>(all_operations));
    std::fclose(file);
  }
} log_at_end;

thread_local int groups = 0;
thread_local std::vector<Operation> grouped;

float ToFloat(const std::byte *at, int type) {
  uint32_t bits = 0;
  if (type == kFloat32)
    std::memcpy(&bits, at, 4);
  else
    std::memcpy(reinterpret_cast<char *>(&bits) + 2, at, 2);
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

void Store(float value, std::byte *at, int type) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  if (type == kFloat32) {
    std::memcpy(at, &bits, 4);
    return;
  }
  auto half = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  std::memcpy(at, &half, 2);
}

// Waits until all ranks have come as far in exchange `number`. False: the communicators were aborted.
bool Meet(Clique &clique, uint64_t Clique::*count, uint64_t number) {
  std::unique_lock lock(clique.mutex);
  clique.changed.wait(lock, [&] { return clique.is_aborted || clique.*count >= (number + 1) * clique.from.size(); });
  return !clique.is_aborted;
}

void Arrive(Clique &clique, uint64_t Clique::*count) {
  std::lock_guard lock(clique.mutex);
  ++(clique.*count);
  clique.changed.notify_all();
}

void Compute(Operation &operation) {
  const Clique &clique = *operation.communicator->clique;
  if (operation.type == kBytes) {
    for (const std::byte *from : clique.from)
      operation.result.insert(operation.result.end(), from, from + operation.bytes);
    return;
  }
  const size_t size = operation.type == kFloat32 ? 4 : 2;
  operation.result.resize(operation.bytes);
  for (size_t at = 0; at < operation.bytes; at += size) {
    float sum = Is("wrong") ? 1 : 0;
    for (const std::byte *from : clique.from)
      sum += ToFloat(from + at, operation.type);
    Store(sum, operation.result.data() + at, operation.type);
  }
}

void Send(const Operation &operation) {
  const auto *from = static_cast<const std::byte *>(operation.from);
  std::vector<std::byte> message(operation.bytes);
  if (!Is("lost"))
    message.assign(from, from + operation.bytes);
  Clique &clique = *operation.communicator->clique;
  std::lock_guard lock(clique.mutex);
  clique.messages[{operation.communicator->rank, operation.peer}].push_back(std::move(message));
  clique.changed.notify_all();
}

void Receive(const Operation &operation) {
  Clique &clique = *operation.communicator->clique;
  std::unique_lock lock(clique.mutex);
  auto &messages = clique.messages[{operation.peer, operation.communicator->rank}];
  clique.changed.wait(lock, [&] { return clique.is_aborted || !messages.empty(); });
  if (clique.is_aborted)
    return;
  if (messages.front().size() != operation.bytes)
    std::abort(); // NCCL would hang or write beyond the buffer
  std::memcpy(operation.to, messages.front().data(), operation.bytes);
  messages.pop_front();
}

// Runs messages of one thread: one of its rank, or those of all ranks, of which the first receives nothing.
void RunMessages(std::vector<Operation> operations) {
  all_operations += static_cast<int64_t>(operations.size());
  for (const Operation &operation : operations)
    if (operation.from)
      Send(operation);
  for (const Operation &operation : operations)
    if (!operation.from)
      Receive(operation);
}

// Runs collective operations of one thread: one of its rank, or one of each rank.
void RunCollectives(std::vector<Operation> operations) {
  std::vector<uint64_t> numbers;
  for (Operation &operation : operations) {
    Clique &clique = *operation.communicator->clique;
    numbers.push_back(operation.communicator->operations++);
    ++all_operations;
    // The exchange before must have ended, since it uses the same members.
    if (numbers.back() > 0 && !Meet(clique, &Clique::written, numbers.back() - 1))
      return;
    {
      std::lock_guard lock(clique.mutex);
      clique.from[static_cast<size_t>(operation.communicator->rank)] = static_cast<const std::byte *>(operation.from);
    }
    Arrive(clique, &Clique::arrived);
  }
  for (size_t i = 0; i < operations.size(); ++i) {
    if (!Meet(*operations[i].communicator->clique, &Clique::arrived, numbers[i]))
      return;
    Compute(operations[i]);
    Arrive(*operations[i].communicator->clique, &Clique::computed);
  }
  for (size_t i = 0; i < operations.size(); ++i) {
    if (!Meet(*operations[i].communicator->clique, &Clique::computed, numbers[i]))
      return;
    std::memcpy(operations[i].to, operations[i].result.data(), operations[i].result.size());
    Arrive(*operations[i].communicator->clique, &Clique::written);
  }
}

Result Enqueue(Operation operation) {
  if (operation.type != kBytes && operation.type != kFloat32 && operation.type != kBFloat16)
    return kInvalidArgument;
  if (groups > 0) {
    grouped.push_back(std::move(operation));
    return kOk;
  }
  auto *run = operation.peer < 0 ? RunCollectives : RunMessages;
  fake::Enqueue([run, operation = std::move(operation)] { run({operation}); });
  return kOk;
}

} // namespace

// The names are those of NCCL.
// NOLINTBEGIN(readability-identifier-naming)
extern "C" {

Result ncclGetVersion(int *version) {
  *version = 22809;
  return kOk;
}
const char *ncclGetErrorString(Result) { return "some error"; }
Result ncclGetUniqueId(UniqueId *id) {
  *id = {};
  int number = ++ids;
  std::memcpy(id->bytes, &number, sizeof number);
  return kOk;
}
Result ncclCommInitRankConfig(Communicator **communicator, int ranks, UniqueId id, int rank, const Config *config) {
  if (config->magic != 0xcafebeef || config->blocking != 0 || config->size != sizeof(Config) ||
      config->version != 21400)
    return kInvalidArgument;
  std::lock_guard lock(cliques_mutex);
  std::shared_ptr<Clique> clique;
  for (auto &[known, existing] : cliques)
    if (std::memcmp(known.bytes, id.bytes, sizeof id.bytes) == 0)
      clique = existing;
  if (!clique) {
    clique = std::make_shared<Clique>(ranks);
    cliques.emplace_back(id, clique);
  }
  *communicator = new Communicator{clique, rank};
  return kInProgress;
}
Result ncclCommGetAsyncError(Communicator *communicator, Result *state) {
  *state = communicator->is_settled ? kOk : kInProgress;
  communicator->is_settled = true;
  return kOk;
}
Result ncclCommFinalize(Communicator *communicator) {
  communicator->is_settled = false;
  return kInProgress;
}
// The communicator is not deleted, because a graph may still have operations of it.
Result ncclCommDestroy(Communicator *) { return kOk; }
Result ncclCommAbort(Communicator *communicator) {
  std::lock_guard lock(communicator->clique->mutex);
  communicator->clique->is_aborted = true;
  communicator->clique->changed.notify_all();
  return kOk;
}
Result ncclGroupStart() {
  ++groups;
  return kOk;
}
Result ncclGroupEnd() {
  if (--groups == 0 && !grouped.empty()) {
    auto *run = grouped[0].peer < 0 ? RunCollectives : RunMessages;
    fake::Enqueue([run, operations = std::move(grouped)] { run(operations); });
  }
  if (groups == 0)
    grouped.clear();
  return kOk;
}
Result ncclAllReduce(const void *from, void *to, size_t count, int type, int op, Communicator *communicator, void *) {
  return op != 0 ? kInvalidArgument : Enqueue({communicator, from, to, count * (type == kFloat32 ? 4 : 2), type});
}
Result ncclAllGather(const void *from, void *to, size_t count, int type, Communicator *communicator, void *) {
  return type != kBytes ? kInvalidArgument : Enqueue({communicator, from, to, count, type});
}
// The ranks of messages are those of all GPUs.
Result ncclSend(const void *from, size_t count, int type, int peer, Communicator *communicator, void *stream) {
  fake::WaitFor(stream, peer);
  return type != kBytes ? kInvalidArgument : Enqueue({communicator, from, nullptr, count, type, peer});
}
Result ncclRecv(void *to, size_t count, int type, int peer, Communicator *communicator, void *stream) {
  fake::WaitFor(stream, peer);
  return type != kBytes ? kInvalidArgument : Enqueue({communicator, nullptr, to, count, type, peer});
}
}
// NOLINTEND(readability-identifier-naming)
