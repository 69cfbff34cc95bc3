// The 16 codes of e2m1, floats of 4 bits (OCP Microscaling Formats, 2023), as those codes of e4m3 that stand for the
// same numbers: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and a sign.
#ifndef INLAY_FORMATS_QUANTIZATION_E2M1_H_
#define INLAY_FORMATS_QUANTIZATION_E2M1_H_

#include <array>
#include <cstdint>

namespace inlay {

inline constexpr std::array<uint8_t, 16> kE4M3OfE2M1 = {0x00, 0x30, 0x38, 0x3c, 0x40, 0x44, 0x48, 0x4c,
                                                        0x80, 0xb0, 0xb8, 0xbc, 0xc0, 0xc4, 0xc8, 0xcc};

} // namespace inlay

#endif // INLAY_FORMATS_QUANTIZATION_E2M1_H_
