// Elements of tensors and weights: their sizes, and the conversion between types of floats.
#ifndef INLAY_RUNTIME_BUNDLE_ELEMENTS_H_
#define INLAY_RUNTIME_BUNDLE_ELEMENTS_H_

#include "runtime/bundle/plan_generated.h"

#include <cstddef>

namespace inlay {

// Bytes of an element; 0 for a type of 4 bits and for one that plan.fbs does not have.
size_t ElementSize(plan::DataType type);

// Whether it is a type that kernels compute with.
constexpr bool IsFloat(plan::DataType type) { return type >= plan::DataType_F32 && type <= plan::DataType_F16; }

// Converts `count` elements of the types F32, BF16 and F16, to nearest, ties to even.
void ConvertElements(const std::byte *from, plan::DataType from_type, std::byte *to, plan::DataType to_type,
                     size_t count);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_ELEMENTS_H_
