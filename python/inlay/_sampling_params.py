"""How tokens are chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(kw_only=True)
class SamplingParams:
    """How tokens are chosen; names and defaults are those of vLLM."""

    temperature: float = 1.0
    """0 takes the most likely token."""
    top_k: int = 0
    """Choose among this many tokens; 0 is off."""
    top_p: float = 1.0
    """Choose among the tokens that make up this probability, in (0, 1]; 1 is off."""
    min_p: float = 0.0
    """Leave out tokens below this share of the likeliest one's probability, in [0, 1]; 0 is off."""
    repetition_penalty: float = 1.0
    """Above 1: against tokens seen before; 1 is off."""
    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens that were generated, in [-2, 2]."""
    frequency_penalty: float = 0.0
    """The same for each time a token was generated, in [-2, 2]."""
    seed: int | None = None
    """The same seed gives the same tokens, whatever else runs; None: at random."""
    max_tokens: int = 16
    """Tokens to generate at most."""
    ignore_eos: bool = False
    """Go on after the end of the sequence."""
    stop: str | Sequence[str] | None = None
    """End before the first of these in the text."""
    stop_token_ids: Sequence[int] | None = None
    """End with one of these tokens."""
    logprobs: int | None = None
    """Give the log-probability of each token and of this many most likely ones."""
