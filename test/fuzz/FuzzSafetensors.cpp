// Arbitrary bytes as the header of a safetensors file: the tensors of an accepted header are inside the file and in
// order, without gaps or overlaps.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/safetensors/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  constexpr uint64_t kStart = 4096, kBytes = 16;
  std::string_view header(reinterpret_cast<const char *>(data), size);
  auto tensors = inlay::ParseSafetensorsHeader(header, kStart, kBytes, "model.safetensors");
  if (!tensors.ok())
    return 0;
  uint64_t end = kStart;
  for (const inlay::TensorInfo &tensor : *tensors) {
    if (tensor.offset != end)
      __builtin_trap();
    end += tensor.bytes;
  }
  if (end != kStart + kBytes)
    __builtin_trap();
  return 0;
}
