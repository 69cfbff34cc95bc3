// Creates an engine on a given device: for tests with a device that fails, and for benchmarks with a device that does
// nothing.
#ifndef INLAY_RUNTIME_API_ENGINE_INTERNAL_H_
#define INLAY_RUNTIME_API_ENGINE_INTERNAL_H_

#include "runtime/api/loaded_model.h"

namespace inlay {

// Engine::Load() with a device in front of the real one. With `checks_invariants` the accounts of pages are checked
// after each step; an error there ends the engine.
absl::StatusOr<std::unique_ptr<Engine>> LoadEngine(const std::string &bundle, const EngineOptions &options,
                                                   const DeviceWrapper &wrap, bool checks_invariants);

} // namespace inlay

#endif // INLAY_RUNTIME_API_ENGINE_INTERNAL_H_
