// Collective operations and messages that NCCL runs in the order of a stream: a communicator for each rank of this
// process. The other ranks may be in other processes. The library is loaded when ranks need it. nccl.cpp declares the
// few functions it uses, so building needs no header.
#ifndef INLAY_RUNTIME_DEVICE_NCCL_H_
#define INLAY_RUNTIME_DEVICE_NCCL_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/device/cuda_peer_memory.h"

#include <chrono>
#include <memory>
#include <span>
#include <string>

namespace inlay {

// The sums of NCCL are in an order that it chooses. All ranks get the same bits, but a row can depend on how many rows
// the step has.
class Nccl {
public:
  virtual ~Nccl() = default;

  // `path` is libnccl.so.2 or its directory; empty: the usual directories of CUDA's libraries are searched.
  static absl::StatusOr<std::unique_ptr<Nccl>> Open(const std::string &path);

  virtual std::string Version() const = 0; // "2.28.9"

  // An id of ranks that connect: kIdBytes bytes. One of them makes it.
  static constexpr size_t kIdBytes = 128;
  virtual absl::StatusOr<std::string> MakeId() = 0;
  // Makes the communicators of the ranks of this process, from one thread. `gpus` are those of all ranks. Fails if that
  // takes longer than `to_connect`, and later if a call does not return within `of_call`.
  using Duration = std::chrono::steady_clock::duration;
  virtual absl::Status Connect(const cuda_driver::Api &api, std::span<const RankGpu> gpus, const std::string &id,
                               Duration to_connect, Duration of_call) = 0;
  // Make the connections of AllReduce() and AllGather(), and of Send() from each rank r to r + `hop`, and check them
  // with a number of each rank.
  virtual absl::Status CheckCollectives(const cuda_driver::Api &api) = 0;
  virtual absl::Status CheckMessages(const cuda_driver::Api &api, uint32_t hop) = 0;

  // Enqueue an operation on a stream of the rank, or add it to the graph that is captured there. All ranks call the
  // same ones in the same order, each on its thread, with the context of its GPU. `to` of AllGather() has `bytes` of
  // each rank.
  virtual absl::Status AllReduce(uint32_t rank, const void *from, void *to, uint64_t elements, plan::DataType type,
                                 cuda_driver::Stream stream) = 0;
  virtual absl::Status AllGather(uint32_t rank, const void *from, void *to, uint64_t bytes,
                                 cuda_driver::Stream stream) = 0;
  // Enqueue a message on the stream of the rank's launches, where it waits for the operation of the peer.
  virtual absl::Status Send(uint32_t rank, const void *from, uint64_t bytes, uint32_t to) = 0;
  virtual absl::Status Receive(uint32_t rank, void *to, uint64_t bytes, uint32_t from) = 0;

  // An error of operations that run. Any thread may call these two.
  virtual absl::Status AsyncError(uint32_t rank) = 0;
  // Ends operations that run; no more are accepted.
  virtual void Abort() = 0;
  // Releases the communicators. Graphs with their operations must have been destroyed, and the contexts
  // not yet.
  virtual void Close(const cuda_driver::Api &api) = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_NCCL_H_
