// Rotary position embeddings: every kind of scaling as the frequencies and the
// factor that `llm.rope_table` holds.

#ifndef INLAY_FRONTENDS_HF_ROPE_H
#define INLAY_FRONTENDS_HF_ROPE_H

#include <cstdint>
#include <optional>
#include <vector>

namespace inlay::hf {

enum class RopeKind {
  kDefault,
  kLinear,
  kDynamic,
  kLlama3,
  kYarn,
  kLongRope, // Up to `original_length`: beyond it other factors hold for a whole sequence.
  kNtkAlpha, // A base that `alpha` stretches once and for all.
};

// What config.json says about the rotary embedding, with transformers' defaults.
struct RopeParameters {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000.0;
  double factor = 1.0;           // All kinds but kDefault.
  double original_length = 0.0;  // Positions the model was first trained on: kDynamic, kLlama3, kYarn, kLongRope.
  double low_freq_factor = 1.0;  // kLlama3
  double high_freq_factor = 4.0; // kLlama3
  double beta_fast = 32.0;       // kYarn
  double beta_slow = 1.0;        // kYarn
  bool truncate = true;          // kYarn
  double mscale = 0.0;           // kYarn; 0 is absent, as transformers reads it.
  double mscale_all_dim = 0.0;   // kYarn
  std::optional<double> attention_factor; // kYarn, kLongRope
  std::vector<double> short_factors;      // kLongRope; one a frequency.
  double alpha = 1.0;                     // kNtkAlpha
};

// The frequencies in radians a position, and what cosines and sines are multiplied by.
struct RopeFrequencies {
  // head_dim / 2 of them for all positions. Dynamic scaling has as many more for each position from the trained length
  // on, in order.
  std::vector<double> inv_freq;
  double attention_factor = 1.0;
  bool operator==(const RopeFrequencies &) const = default;
};

// The frequencies as transformers 5 computes them (modeling_rope_utils.py), in
// single precision where it does, so that far positions agree with the model's
// training. The parameters must be finite and positive and `head_dim` even and
// above 2.
//
// Dynamic scaling, in transformers: a prompt within the trained length uses the
// unscaled base. A token that is generated at position p beyond it is rotated
// with the base of length p + 1, while the keys before it keep theirs. Rows up
// to `max_length` follow that. Prompts beyond the trained length, whose rows all
// take the base of the prompt's length, are not covered.
RopeFrequencies ComputeRope(const RopeParameters &parameters, int64_t head_dim, int64_t max_length);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_ROPE_H
