#include "runtime/bundle/dummy_weights.h"

#include "runtime/bundle/recipe.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numbers>

namespace inlay {
namespace {

constexpr uint64_t kNoiseElements = 4'194'319;

// A number for each counter, without order between neighbours: the finaliser of MurmurHash3 (Appleby, 2011), of 32 bits
// so that the compiler turns loops over it into vectors.
uint32_t Mix(uint32_t z) {
  z = (z ^ (z >> 16)) * 0x85ebca6b;
  z = (z ^ (z >> 13)) * 0xc2b2ae35;
  return z ^ (z >> 16);
}

// The standard deviation of all matrices.
constexpr float kDeviation = 0.02f;

// Bytes of codes that look random: any for integers, numbers of [0.5, 1) of either sign for F8E4M3, which has NaNs too.
void MakeCodes(plan::DataType type, uint64_t first, std::span<std::byte> out) {
  for (uint64_t i = 0; i < out.size(); ++i) {
    uint32_t bits = Mix(static_cast<uint32_t>(first + i)) >> 24;
    out[i] = static_cast<std::byte>(type == plan::DataType_F8E4M3 ? (bits & 0x87) | 0x30 : bits);
  }
}

// The standard deviation of such codes, about: that of all numbers, and 0.75.
float DeviationOfCodes(plan::DataType type) {
  return type == plan::DataType_U4 ? 4.6f : type == plan::DataType_F8E4M3 ? 0.75f : 74;
}

// The first weight whose scales weight `index` holds, or null.
const plan::Weight *ScaledBy(const plan::Target &target, uint32_t index) {
  for (const plan::Weight *weight : *target.weights())
    if (weight->quantization() && weight->quantization()->scales())
      for (const plan::Scale *scale : *weight->quantization()->scales())
        if (scale->weight() == index)
          return weight;
  return nullptr;
}

// Element `i` of noise with this mean and standard deviation, uniform.
void MakeNoise(plan::DataType type, float mean, float deviation, uint32_t seed, uint64_t first,
               std::span<std::byte> out) {
  size_t size = ElementSize(type);
  constexpr size_t kBlock = 1024;
  std::array<float, kBlock> values;
  float scale = deviation * std::numbers::sqrt3_v<float>;
  for (uint64_t at = 0, count = out.size() / size; at < count; at += kBlock) {
    size_t n = std::min<uint64_t>(kBlock, count - at);
    for (size_t i = 0; i < n; ++i) {
      uint32_t bits = Mix(static_cast<uint32_t>(first + at + i) + seed);
      // The upper 24 bits as a number in [-1, 1).
      values[i] = mean + scale * (static_cast<float>(static_cast<int32_t>(bits) >> 8) * 0x1p-23f);
    }
    ConvertElements(reinterpret_cast<const std::byte *>(values.data()), plan::DataType_F32, out.data() + at * size,
                    type, n);
  }
}

} // namespace

std::vector<std::byte> DummyNoise(plan::DataType type, ThreadPool &pool) {
  // Of codes, elements are bytes.
  std::vector<std::byte> noise(kNoiseElements * std::max<size_t>(ElementSize(type), 1));
  constexpr uint64_t kElementsPerJob = 1 << 16;
  pool.Run(static_cast<int64_t>((kNoiseElements + kElementsPerJob - 1) / kElementsPerJob), [&](int64_t job) {
    uint64_t first = static_cast<uint64_t>(job) * kElementsPerJob;
    uint64_t count = std::min(kElementsPerJob, kNoiseElements - first), size = ElementSize(type);
    if (!IsFloat(type))
      return MakeCodes(type, first, std::span(noise).subspan(first, count));
    MakeNoise(type, /*mean=*/0, kDeviation, /*seed=*/0, first, std::span(noise).subspan(first * size, count * size));
  });
  return noise;
}

uint64_t DummyNoiseStart(plan::DataType type, uint64_t number) {
  return Mix(static_cast<uint32_t>(number) + 1) % kNoiseElements * std::max<size_t>(ElementSize(type), 1);
}

bool IsDummyScale(const plan::Target &target, uint32_t index) { return ScaledBy(target, index) != nullptr; }

void FillDummyScale(const plan::Target &target, uint32_t index, std::span<std::byte> out) {
  const float scale = kDeviation / DeviationOfCodes(ScaledBy(target, index)->type());
  for (size_t at = 0; at + sizeof scale <= out.size(); at += sizeof scale)
    std::memcpy(out.data() + at, &scale, sizeof scale);
}

bool IsDummyNorm(const plan::Weight &weight) {
  return weight.recipe()->columns() == 1 && !HasValues(*weight.recipe()) &&
         weight.name()->string_view().find("norm") != std::string_view::npos;
}

void FillDummyNorm(const plan::Weight &weight, uint64_t number, uint64_t first, std::span<std::byte> out) {
  MakeNoise(weight.type(), /*mean=*/1, /*deviation=*/0.1f, Mix(static_cast<uint32_t>(number) + 1),
            first / ElementSize(weight.type()), out);
}

} // namespace inlay
