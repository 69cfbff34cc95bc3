// Random weights for bundles compiled from a configuration alone (--dummy-weights). Shapes are right and bits look
// random, which is enough to measure speed.
#ifndef INLAY_RUNTIME_BUNDLE_DUMMY_WEIGHTS_H_
#define INLAY_RUNTIME_BUNDLE_DUMMY_WEIGHTS_H_

#include "runtime/bundle/plan_generated.h"
#include "runtime/support/thread_pool.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace inlay {

// Noise with a standard deviation of 0.02 that matrices of elements of `type` take, each from a place of its own on and
// over again. A prime number of elements, so that rows of no length repeat soon.
std::vector<std::byte> DummyNoise(plan::DataType type, ThreadPool &pool);

// Where in the noise, in bytes, the matrix with this number begins.
uint64_t DummyNoiseStart(plan::DataType type, uint64_t number);

// True for the scales of a quantised weight of `target`: the same number everywhere, with which the noise of the codes
// has the deviation of other matrices.
bool IsDummyScale(const plan::Target &target, uint32_t index);
void FillDummyScale(const plan::Target &target, uint32_t index, std::span<std::byte> out);

// True for the weight of a norm, which is no noise but numbers near 1.
bool IsDummyNorm(const plan::Weight &weight);
void FillDummyNorm(const plan::Weight &weight, uint64_t number, uint64_t first, std::span<std::byte> out);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_DUMMY_WEIGHTS_H_
