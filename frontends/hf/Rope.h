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
  kLongRope, // Sequences beyond `original_length` have other factors for all positions.
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
  std::vector<double> long_factors;       // kLongRope
  double alpha = 1.0;                     // kNtkAlpha
  // Queries at position p are multiplied by 1 + query_beta * ln(1 + floor(p / original_length)): the attention
  // temperature of Llama 4 and Ministral 3.
  double query_beta = 0.0;
};

// The frequencies in radians a position, and what cosines and sines are multiplied by.
struct RopeFrequencies {
  // head_dim / 2 of them for all positions. Dynamic scaling has as many more for each position from the trained length
  // on, in order. With `short_length` there are as many more for longer sequences.
  std::vector<double> inv_freq;
  double attention_factor = 1.0;
  int64_t short_length = 0;       // The most tokens of a sequence that uses the first frequencies; 0: all do.
  double temperature_beta = 0.0;  // `query_beta` in the table of the queries.
  int64_t temperature_length = 1; // `original_length` there.
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
//
// Longrope has two sets of frequencies where `max_length` is above the original
// length, and the short set otherwise.
RopeFrequencies ComputeRope(const RopeParameters &parameters, int64_t head_dim, int64_t max_length);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_ROPE_H
