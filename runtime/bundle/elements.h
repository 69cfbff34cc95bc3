// Elements of tensors and weights: their sizes, and the conversion between types of floats.
#ifndef INLAY_RUNTIME_BUNDLE_ELEMENTS_H_
#define INLAY_RUNTIME_BUNDLE_ELEMENTS_H_

#include "runtime/bundle/plan_generated.h"

#include <cstddef>
#include <cstdint>

namespace inlay {

// Bits of an element; 0 for a type that plan.fbs does not have.
size_t ElementBits(plan::DataType type);

// Bytes of an element; 0 for a type of 4 bits and for one that plan.fbs does not have.
inline size_t ElementSize(plan::DataType type) { return ElementBits(type) / 8; }

// Whether it is a type that kernels compute with.
constexpr bool IsFloat(plan::DataType type) { return type >= plan::DataType_F32 && type <= plan::DataType_F16; }

// Whether it is a type that this runtime stores quantised weights in.
constexpr bool IsCode(plan::DataType type) {
  return type == plan::DataType_F8E4M3 || type == plan::DataType_I8 || type == plan::DataType_U8 ||
         type == plan::DataType_U4;
}

// Whether elements of a checkpoint's type can become those of a weight: floats other floats, codes themselves, and
// those of U8 the halves of bytes.
constexpr bool IsConvertible(plan::DataType from, plan::DataType to) {
  return IsFloat(from) ? IsFloat(to) : from == to || (from == plan::DataType_U8 && to == plan::DataType_U4);
}

// What an exponent of 8 bits stands for: 2^(code - 127), NaN for 255.
float DecodeF8E8M0(uint8_t code);

// Converts `count` elements (an even number of U4) between two types for which IsConvertible() holds.
void ConvertToStored(const std::byte *from, plan::DataType from_type, std::byte *to, plan::DataType to_type,
                     size_t count);

// Converts `count` elements of the types F32, BF16 and F16, to nearest, ties to even.
void ConvertElements(const std::byte *from, plan::DataType from_type, std::byte *to, plan::DataType to_type,
                     size_t count);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_ELEMENTS_H_
