// A libnccl.so.2 for tests with the fake driver. The ranks are processes, threads, or one thread between
// ncclGroupStart() and ncclGroupEnd(). An operation runs when it is enqueued, or when its graph is launched, and waits
// for those of the other ranks; a message is kept until it is received. Sums are of F32 and BF16. With FAKE_NCCL=wrong
// sums are wrong, with FAKE_NCCL=lost messages are zeros. The end of the process writes to the file FAKE_NCCL_LOG how
// many operations ran.
#include "fake_driver.h"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <string_view>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

namespace fake = inlay::fake;

using Result = int;
constexpr Result kOk = 0, kSystemError = 2, kInvalidArgument = 4, kInProgress = 7;
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

constexpr int kMostRanks = 8;
constexpr size_t kMostBytes = size_t{1} << 20; // of an operation
constexpr uint64_t kMostMessages = 8;          // that were sent to a rank and not received

// What the ranks share: a file in memory, which reads as zeros at first. Operation n of all ranks is one exchange.
struct Clique {
  struct Messages {
    std::atomic<uint64_t> sent, received;
    size_t bytes[kMostMessages];
    std::byte data[kMostMessages][kMostBytes];
  };
  std::atomic<uint64_t> arrived, computed; // ranks, of all exchanges
  std::atomic<bool> is_aborted;
  std::byte from[kMostRanks][kMostBytes];    // of the exchange that runs
  Messages messages[kMostRanks][kMostRanks]; // by sender and receiver
};

struct Communicator {
  Clique *clique = nullptr;
  int rank = 0;
  uint64_t ranks = 0;
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
};

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

// Waits until `count` is at least `expected`. False: the communicators were aborted.
bool WaitFor(const Clique &clique, const std::atomic<uint64_t> &count, uint64_t expected) {
  while (count < expected && !clique.is_aborted)
    std::this_thread::yield();
  return !clique.is_aborted;
}

void CheckSize(size_t bytes) {
  if (bytes > kMostBytes)
    std::abort(); // make kMostBytes larger
}

// Writes what an exchange makes of the values of all ranks.
void Compute(const Operation &operation) {
  const Communicator &communicator = *operation.communicator;
  auto *to = static_cast<std::byte *>(operation.to);
  const size_t size = operation.type == kFloat32 ? 4 : 2;
  for (uint64_t rank = 0; rank < communicator.ranks && operation.type == kBytes; ++rank)
    std::memcpy(to + rank * operation.bytes, communicator.clique->from[rank], operation.bytes);
  for (size_t at = 0; at < operation.bytes && operation.type != kBytes; at += size) {
    float sum = Is("wrong") ? 1 : 0;
    for (uint64_t rank = 0; rank < communicator.ranks; ++rank)
      sum += ToFloat(communicator.clique->from[rank] + at, operation.type);
    Store(sum, to + at, operation.type);
  }
}

void Send(const Operation &operation) {
  CheckSize(operation.bytes);
  Clique &clique = *operation.communicator->clique;
  Clique::Messages &messages = clique.messages[operation.communicator->rank][operation.peer];
  const uint64_t number = messages.sent, place = number % kMostMessages;
  if (number >= kMostMessages && !WaitFor(clique, messages.received, number - kMostMessages + 1))
    return;
  if (Is("lost"))
    std::memset(messages.data[place], 0, operation.bytes);
  else
    std::memcpy(messages.data[place], operation.from, operation.bytes);
  messages.bytes[place] = operation.bytes;
  messages.sent = number + 1;
}

void Receive(const Operation &operation) {
  Clique &clique = *operation.communicator->clique;
  Clique::Messages &messages = clique.messages[operation.peer][operation.communicator->rank];
  const uint64_t number = messages.received, place = number % kMostMessages;
  if (!WaitFor(clique, messages.sent, number + 1))
    return;
  if (messages.bytes[place] != operation.bytes)
    std::abort(); // NCCL would hang or write beyond the buffer
  std::memcpy(operation.to, messages.data[place], operation.bytes);
  messages.received = number + 1;
}

// Runs messages of one thread: one of its rank, or those of all ranks, of which the first receives nothing.
void RunMessages(const std::vector<Operation> &operations) {
  all_operations += static_cast<int64_t>(operations.size());
  for (const Operation &operation : operations)
    if (operation.from)
      Send(operation);
  for (const Operation &operation : operations)
    if (!operation.from)
      Receive(operation);
}

// Runs collective operations of one thread: one of its rank, or one of each rank.
void RunCollectives(const std::vector<Operation> &operations) {
  std::vector<uint64_t> before; // ranks that took part in the exchanges before
  for (const Operation &operation : operations) {
    Communicator &communicator = *operation.communicator;
    Clique &clique = *communicator.clique;
    before.push_back(communicator.operations++ * communicator.ranks);
    ++all_operations;
    CheckSize(operation.bytes);
    // The exchange before must have ended, since it uses the same memory.
    if (!WaitFor(clique, clique.computed, before.back()))
      return;
    std::memcpy(clique.from[communicator.rank], operation.from, operation.bytes);
    ++clique.arrived;
  }
  for (size_t i = 0; i < operations.size(); ++i) {
    const Communicator &communicator = *operations[i].communicator;
    if (!WaitFor(*communicator.clique, communicator.clique->arrived, before[i] + communicator.ranks))
      return;
    Compute(operations[i]);
    ++communicator.clique->computed;
  }
}

// `name` is that of FAKE_LATE.
Result Enqueue(const Operation &operation, void *stream = nullptr, std::string_view name = {}) {
  if (operation.type != kBytes && operation.type != kFloat32 && operation.type != kBFloat16)
    return kInvalidArgument;
  if (groups > 0) {
    grouped.push_back(operation);
    return kOk;
  }
  auto *run = operation.peer < 0 ? RunCollectives : RunMessages;
  fake::Enqueue([run, operation] { run({operation}); }, stream, name);
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
  const int file = memfd_create("fake NCCL", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, sizeof(Clique)) != 0)
    return kSystemError;
  *id = {};
  // Other processes open the file, which this one has open to its end.
  std::snprintf(id->bytes, sizeof id->bytes, "/proc/%d/fd/%d", getpid(), file);
  return kOk;
}
Result ncclCommInitRankConfig(Communicator **communicator, int ranks, UniqueId id, int rank, const Config *config) {
  if (config->magic != 0xcafebeef || config->blocking != 0 || config->size != sizeof(Config) ||
      config->version != 21400)
    return kInvalidArgument;
  const int file = ranks <= kMostRanks ? open(id.bytes, O_RDWR | O_CLOEXEC) : -1;
  void *memory = mmap(nullptr, sizeof(Clique), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED)
    return kSystemError;
  *communicator = new Communicator{static_cast<Clique *>(memory), rank, static_cast<uint64_t>(ranks)};
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
  communicator->clique->is_aborted = true;
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
Result ncclAllReduce(const void *from, void *to, size_t count, int type, int op, Communicator *communicator,
                     void *stream) {
  return op != 0 ? kInvalidArgument
                 : Enqueue({communicator, from, to, count * (type == kFloat32 ? 4 : 2), type}, stream, "all_reduce");
}
Result ncclAllGather(const void *from, void *to, size_t count, int type, Communicator *communicator, void *stream) {
  return type != kBytes ? kInvalidArgument : Enqueue({communicator, from, to, count, type}, stream);
}
// The ranks of messages are those of all GPUs.
Result ncclSend(const void *from, size_t count, int type, int peer, Communicator *communicator, void *stream) {
  fake::WaitFor(stream, peer);
  return type != kBytes ? kInvalidArgument : Enqueue({communicator, from, nullptr, count, type, peer}, stream);
}
Result ncclRecv(void *to, size_t count, int type, int peer, Communicator *communicator, void *stream) {
  fake::WaitFor(stream, peer);
  return type != kBytes ? kInvalidArgument : Enqueue({communicator, nullptr, to, count, type, peer}, stream);
}
}
// NOLINTEND(readability-identifier-naming)
