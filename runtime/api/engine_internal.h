// Creates an engine on a given device: for tests with a device that fails, and for benchmarks with a device that does
// nothing.
#ifndef INLAY_RUNTIME_API_ENGINE_INTERNAL_H_
#define INLAY_RUNTIME_API_ENGINE_INTERNAL_H_

#include "runtime/api/loaded_model.h"

namespace inlay {

// Like Engine::Load(), but with a device that wraps the real one. With `checks_invariants` the scheduler's page tables
// and reference counts are checked after each step; an error there stops the engine.
absl::StatusOr<std::unique_ptr<Engine>> LoadEngine(const std::string &bundle, const EngineOptions &options,
                                                   const DeviceWrapper &wrap, bool checks_invariants);

// Like Engine::RunRank().
absl::Status RunRank(const std::string &bundle, const EngineOptions &options, const DeviceWrapper &wrap);

// Checks the values that do not depend on a bundle.
absl::Status CheckOptions(const EngineOptions &options);

} // namespace inlay

#endif // INLAY_RUNTIME_API_ENGINE_INTERNAL_H_
