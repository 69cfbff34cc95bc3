"""How tokens are chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(kw_only=True)
class SamplingParams:
    """How tokens are chosen; names and defaults are those of vLLM."""

    n: int = 1
    """Answers to return; pieces name theirs by `index`."""
    best_of: int = 0
    """Of so many answers the `n` likeliest are returned; 0: n."""
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
    min_tokens: int = 0
    """No end of the sequence and no stop token before so many."""
    ignore_eos: bool = False
    """Go on after the end of the sequence."""
    stop: str | Sequence[str] | None = None
    """End before the first of these in the text."""
    stop_token_ids: Sequence[int] | None = None
    """End with one of these tokens."""
    logprobs: int | None = None
    """Give the log-probability of each token and of this many most likely ones."""
    prompt_logprobs: int | None = None
    """The same for each token of the prompt."""
    logit_bias: Mapping[int, float] | None = None
    """What is added to the logit of a token, by its id, in [-100, 100]."""
    guided_json: str | Mapping[str, Any] | None = None
    """The text is JSON of this JSON Schema. At most one of the guided_ parameters may be given."""
    guided_regex: str | None = None
    """The text as a whole matches this regular expression."""
    guided_grammar: str | None = None
    """The text follows this EBNF grammar, from its rule `root`."""
    guided_choice: Sequence[str] | None = None
    """The text is one of these."""
