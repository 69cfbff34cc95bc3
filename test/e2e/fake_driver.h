// What the fake driver shows to other fake libraries and to tests.
#ifndef INLAY_TEST_E2E_FAKE_DRIVER_H_
#define INLAY_TEST_E2E_FAKE_DRIVER_H_

#include <functional>
#include <string_view>

namespace inlay::fake {

// Does the work now, or whenever the graph is launched that this thread is capturing. Work of a `stream` may run late:
// see FAKE_LATE, which compares its name.
void Enqueue(std::function<void()> work, void *stream = nullptr, std::string_view name = {});

// What is on the stream from now on waits for the GPU: it never ends if what the GPU was given does not.
void WaitFor(void *stream, int gpu);

// How many events exist that this process has shared with others, and of others that it has opened.
int SharedEvents();
// How many events were destroyed while they were open. Here the other process is this one, with another CudaRanks.
int EventsDestroyedTooEarly();

} // namespace inlay::fake

#endif // INLAY_TEST_E2E_FAKE_DRIVER_H_
