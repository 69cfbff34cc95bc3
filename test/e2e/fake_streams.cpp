// Streams and events of the fake driver (fake_driver.cpp).
#include "fake_driver.h"
#include "fake_driver_state.h"

#include <atomic>
#include <deque>
#include <mutex>
#include <unistd.h>

namespace {

using namespace inlay::fake;
namespace fake = inlay::fake;

// Handles live to the end of the process. The runtime leaves those of a GPU that does not answer.
Handles &MakeHandleOf(int gpu) {
  static std::deque<Handles> made;
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  return made.emplace_back(gpu);
}

Result MakeHandle(Handle *handle) {
  if (!current)
    return kInvalidContext;
  *handle = &MakeHandleOf(current->gpu);
  return kOk;
}

std::atomic<int> shared_events{0}, events_destroyed_too_early{0};

Result FreeHandle(Handle) { return kOk; }

// Whether what a stream was given, or what it was given before an event, never ends.
bool NeverEnds(Handle handle) {
  bool never = IsStuck(GpuOf(handle));
  for (int gpu = 0; gpu < kMaxGpus; ++gpu)
    never |= (Get(handle).waits_for >> gpu & 1) != 0 && IsStuck(gpu);
  return never;
}

void RunLateBefore(Handles &event) {
  if (event.stream)
    RunLate(*event.stream, event.before);
}

} // namespace

void fake::WaitFor(void *stream, int gpu) {
  if (IsStuck(gpu))
    Get(stream).waits_for |= 1u << gpu;
}

int fake::SharedEvents() { return shared_events; }
int fake::EventsDestroyedTooEarly() { return events_destroyed_too_early; }

// The names are those of the CUDA driver API.
// NOLINTBEGIN(readability-identifier-naming)
extern "C" {

Result cuStreamCreate(Handle *stream, unsigned) { return MakeHandle(stream); }
Result cuStreamCreateWithPriority(Handle *stream, unsigned, int) { return MakeHandle(stream); }
Result cuStreamDestroy_v2(Handle stream) { return FreeHandle(stream); }
// An event of another GPU that was not recorded would not be waited for. That of another rank is waited for only after
// its thread has recorded it.
Result cuStreamWaitEvent(Handle stream, Handle event, unsigned) {
  if (Result result = CheckStream(stream))
    return result;
  if (GpuOf(stream) != GpuOf(event) && !Get(event).is_recorded)
    return kInvalidHandle;
  RunLateBefore(Get(event));
  if (NeverEnds(event))
    Get(stream).waits_for |= Get(event).waits_for | 1u << GpuOf(event);
  return kOk;
}
Result cuStreamSynchronize(Handle stream) {
  RunLate(Get(stream));
  return kOk;
}
Result cuStreamQuery(Handle stream) {
  RunLate(Get(stream));
  return NeverEnds(stream) ? kNotReady : kOk;
}
Result cuEventCreate(Handle *event, unsigned) { return MakeHandle(event); }
Result cuEventDestroy_v2(Handle event) {
  shared_events -= Get(event).is_shared;
  events_destroyed_too_early += Get(event).opened > 0;
  if (Handles *original = Get(event).original)
    --original->opened;
  return FreeHandle(event);
}
// An event of another process is recorded there. The runtime waits for it only afterwards.
struct IpcEventHandle {
  int gpu, process;
  Handles *event; // of that process
  char unused[48];
};
Result cuIpcGetEventHandle(IpcEventHandle *handle, Handle event) {
  shared_events += !Get(event).is_shared.exchange(true);
  *handle = {GpuOf(event), getpid(), &Get(event), {}};
  return kOk;
}
Result cuIpcOpenEventHandle(Handle *event, IpcEventHandle handle) {
  if (!current)
    return kInvalidContext;
  Handles &opened = MakeHandleOf(handle.gpu);
  opened.is_recorded = true;
  if (handle.process == getpid()) {
    opened.original = handle.event;
    ++handle.event->opened;
  }
  opened.is_shared = true;
  ++shared_events;
  *event = &opened;
  return kOk;
}
Result cuEventRecord(Handle event, Handle stream) {
  if (Result result = CheckStream(stream); result || GpuOf(event) != GpuOf(stream))
    return result ? result : kInvalidHandle;
  Get(event).waits_for = Get(stream).waits_for.load();
  std::lock_guard lock(Get(stream).running);
  Get(event).stream = &Get(stream);
  Get(event).before = Get(stream).has_run + Get(stream).late.size();
  Get(event).is_recorded = true;
  return kOk;
}
Result cuEventSynchronize(Handle event) {
  RunLateBefore(Get(event));
  return kOk;
}
Result cuEventQuery(Handle event) {
  RunLateBefore(Get(event));
  return NeverEnds(event) ? kNotReady : kOk;
}
}
// NOLINTEND(readability-identifier-naming)
