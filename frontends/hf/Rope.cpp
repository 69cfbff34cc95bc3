#include "frontends/hf/Rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace inlay::hf {
namespace {

// base^(2i/dim) for i in [0, dim/2). Su et al., 2021.
std::vector<float> PositionFrequencies(double base, int64_t dim) {
  std::vector<float> powers(dim / 2);
  for (int64_t i = 0; i < dim / 2; ++i) {
    float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
    powers[i] = static_cast<float>(std::pow(static_cast<double>(static_cast<float>(base)), exponent));
  }
  return powers;
}

// Llama 3.1: long waves are slowed down by `factor`, short ones kept, those in
// between interpolated.
float ScaleLlama3(const RopeParameters &p, float inv_freq) {
  float factor = static_cast<float>(p.factor);
  float wavelength = 1.0f / inv_freq * static_cast<float>(2 * std::numbers::pi);
  if (wavelength > static_cast<float>(p.original_length / p.low_freq_factor))
    return inv_freq / factor;
  if (wavelength < static_cast<float>(p.original_length / p.high_freq_factor))
    return inv_freq;
  float smooth = (1.0f / wavelength * static_cast<float>(p.original_length) - static_cast<float>(p.low_freq_factor)) /
                 static_cast<float>(p.high_freq_factor - p.low_freq_factor);
  return (1 - smooth) * inv_freq / factor + smooth * inv_freq;
}

// YaRN (Peng et al., 2023): the share of each frequency that is interpolated
// rises linearly between two dimensions, found from numbers of rotations.
std::vector<float> YarnInterpolatedShare(const RopeParameters &p, int64_t dim) {
  auto correction_dim = [&](double rotations) {
    return dim * std::log(p.original_length / (rotations * 2 * std::numbers::pi)) / (2 * std::log(p.theta));
  };
  double low = correction_dim(p.beta_fast), high = correction_dim(p.beta_slow);
  if (p.truncate)
    low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high)
    high += 0.001;
  std::vector<float> share(dim / 2);
  for (int64_t i = 0; i < dim / 2; ++i)
    share[i] =
        std::clamp((static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f, 1.0f);
  return share;
}

double YarnAttentionFactor(const RopeParameters &p) {
  if (p.attention_factor)
    return *p.attention_factor;
  auto magnitude = [&](double mscale) { return p.factor <= 1 ? 1.0 : 0.1 * mscale * std::log(p.factor) + 1.0; };
  return p.mscale != 0 && p.mscale_all_dim != 0 ? magnitude(p.mscale) / magnitude(p.mscale_all_dim) : magnitude(1.0);
}

// Ding et al., 2024.
double LongRopeAttentionFactor(const RopeParameters &p) {
  if (p.attention_factor)
    return *p.attention_factor;
  return p.factor <= 1 ? 1.0 : std::sqrt(1 + std::log(p.factor) / std::log(p.original_length));
}

// The frequencies of one length of the sequence. The base of dynamic scaling (bloc97, 2023) and the factors of longrope
// depend on it.
std::vector<double> FrequenciesOf(const RopeParameters &p, int64_t head_dim, double length) {
  double base = p.theta;
  const double stretch = p.kind == RopeKind::kDynamic    ? p.factor * length / p.original_length - (p.factor - 1)
                         : p.kind == RopeKind::kNtkAlpha ? p.alpha
                                                         : 1.0;
  if (stretch != 1.0)
    base *= std::pow(stretch, static_cast<double>(head_dim) / static_cast<double>(head_dim - 2));
  std::vector<float> powers = PositionFrequencies(base, head_dim);
  std::vector<float> share;
  if (p.kind == RopeKind::kYarn)
    share = YarnInterpolatedShare(p, head_dim);

  std::vector<double> result;
  for (size_t i = 0; i < powers.size(); ++i) {
    float inv_freq = 1.0f / powers[i];
    if (p.kind == RopeKind::kLongRope) {
      const std::vector<double> &factors = length > p.original_length ? p.long_factors : p.short_factors;
      inv_freq = 1.0f / (static_cast<float>(factors[i]) * powers[i]);
    }
    if (p.kind == RopeKind::kLinear)
      inv_freq /= static_cast<float>(p.factor);
    if (p.kind == RopeKind::kLlama3)
      inv_freq = ScaleLlama3(p, inv_freq);
    if (p.kind == RopeKind::kYarn) {
      float kept = 1 - share[i];
      inv_freq = 1.0f / (static_cast<float>(p.factor) * powers[i]) * (1 - kept) + inv_freq * kept;
    }
    result.push_back(inv_freq);
  }
  return result;
}

} // namespace

RopeFrequencies ComputeRope(const RopeParameters &p, int64_t head_dim, int64_t max_length) {
  RopeFrequencies result;
  result.inv_freq = FrequenciesOf(p, head_dim, p.original_length);
  const auto original = static_cast<int64_t>(p.original_length);
  const int64_t last = p.kind == RopeKind::kDynamic                             ? max_length
                       : p.kind == RopeKind::kLongRope && max_length > original ? original + 1
                                                                                : original;
  for (int64_t length = original + 1; length <= last; ++length) {
    std::vector<double> longer = FrequenciesOf(p, head_dim, static_cast<double>(length));
    result.inv_freq.insert(result.inv_freq.end(), longer.begin(), longer.end());
  }
  if (p.kind == RopeKind::kLongRope && max_length > original)
    result.short_length = original;
  if (p.kind == RopeKind::kYarn)
    result.attention_factor = YarnAttentionFactor(p);
  if (p.kind == RopeKind::kLongRope)
    result.attention_factor = LongRopeAttentionFactor(p);
  return result;
}

} // namespace inlay::hf
