"""How tokens are chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from inlay._errors import InvalidArgumentError, UnimplementedError


@dataclasses.dataclass(kw_only=True)
class StructuredOutputsParams:
    """A form that the text must take; exactly one of the first five is given."""

    json: str | Mapping[str, Any] | None = None
    """JSON of this JSON Schema."""
    regex: str | None = None
    """The text as a whole matches this regular expression."""
    choice: Sequence[str] | None = None
    """One of these texts."""
    grammar: str | None = None
    """This EBNF grammar, from its rule `root`."""
    json_object: bool | None = None
    """Any JSON object."""
    disable_any_whitespace: bool = False
    disable_additional_properties: bool = False
    whitespace_pattern: str | None = None
    structural_tag: str | None = None
    """These four are vLLM's and are not carried out here."""

    def __post_init__(self) -> None:
        for name in ("disable_any_whitespace", "disable_additional_properties", "whitespace_pattern", "structural_tag"):
            if getattr(self, name):
                raise UnimplementedError(f"structured_outputs.{name}: forms have no such option here; leave it out, or "
                                         "write the form as a regex or grammar")
        given = [name for name in ("json", "regex", "choice", "grammar", "json_object")
                 if getattr(self, name) is not None]
        if len(given) != 1 or self.json_object is False:
            raise InvalidArgumentError(f"structured_outputs has {' and '.join(given) or 'no form'}"
                                       f"{' = False' if self.json_object is False else ''}, expected exactly one of "
                                       "json, regex, choice, grammar and json_object=True")


# Fields of vLLM's that are not carried out: values that change nothing, and why others are refused.
_UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    "prompt_logprob_token_ids": ((None,), "log-probabilities are those of the likeliest tokens"),
    "prompt_logprob_start": ((None, 0), "prompt_logprobs start at the first token"),
    "logprob_token_ids": ((None,), "log-probabilities are those of the likeliest tokens"),
    "flat_logprobs": ((False,), "logprobs are lists of dictionaries"),
    "output_kind": ((None,), "generate() gives whole answers, stream() tokens as they come"),
    "stream_interval": ((None, 1), "stream() gives each token as it comes"),
    "extra_args": ((None, {}), "there are no extensions that could read them"),
    "logits_processors": ((None, [], ()), "no Python code runs between steps"),
    "skip_reading_prefix_cache": ((None, False), "submit(..., enable_prefix_caching=False) leaves the cache alone"),
    "thinking_token_budget": ((None, -1), "reasoning is not told apart from other text"),
    "repetition_detection": ((None,), "answers that repeat themselves are not ended"),
    "routed_experts_prompt_start": ((0,), "the routing of experts is not returned"),
    "trace_decode_token_ids": ((None,), "tokens are always sampled"),
}


@dataclasses.dataclass(kw_only=True)
class SamplingParams:
    """How tokens are chosen; names, defaults and meanings are those of vLLM.

    A field that vLLM does not have either is a TypeError. One that vLLM has and that is not carried out here raises
    UnimplementedError with the reason, unless its value changes nothing."""

    n: int = 1
    """Answers to return; pieces name theirs by `index`."""
    best_of: int | None = None
    """Of so many answers the `n` likeliest are returned; None or 0: n."""
    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens that were generated, in [-2, 2]."""
    frequency_penalty: float = 0.0
    """The same for each time a token was generated, in [-2, 2]."""
    repetition_penalty: float = 1.0
    """Above 1: against tokens seen before; 1 is off."""
    temperature: float = 1.0
    """0 takes the most likely token."""
    top_p: float = 1.0
    """Choose among the tokens that make up this probability, in (0, 1]; 1 is off."""
    top_k: int = 0
    """Choose among this many tokens; 0 and -1 are off."""
    min_p: float = 0.0
    """Leave out tokens below this share of the likeliest one's probability, in [0, 1]; 0 is off."""
    seed: int | None = None
    """The same seed gives the same tokens, whatever else runs; None and -1: at random."""
    stop: str | Sequence[str] | None = None
    """End before the first of these in the text."""
    stop_token_ids: Sequence[int] | None = None
    """End with one of these tokens."""
    ignore_eos: bool = False
    """Go on after the end of the sequence."""
    max_tokens: int | None = 16
    """Tokens to generate at most; None: to the end of the context."""
    min_tokens: int = 0
    """No end of the sequence, stop string or stop token before so many."""
    logprobs: int | None = None
    """Give the log-probability of each token and of this many most likely ones: those of the model's own logits, before
    temperature, penalties and masks."""
    prompt_logprobs: int | None = None
    """The same for each token of the prompt."""
    detokenize: bool = True
    """False: answers are token ids, and their text is empty."""
    skip_special_tokens: bool = True
    """Special tokens are no part of the text."""
    spaces_between_special_tokens: bool = True
    """Special tokens in the text are written as the tokenizer's decoder writes them: False is refused beside
    skip_special_tokens=False."""
    include_stop_str_in_output: bool = False
    """The text ends after the stop string, or with the stop token's text."""
    truncate_prompt_tokens: int | None = None
    """Keep only the last so many tokens of the prompt; -1: as many as leave room for max_tokens; None: all."""
    logit_bias: Mapping[int, float] | None = None
    """What is added to the logit of a token, by its id, in [-100, 100]."""
    allowed_token_ids: Sequence[int] | None = None
    """No other token is generated."""
    bad_words: Sequence[str] | None = None
    """Texts that are not generated, at the beginning of a text or after a space."""
    structured_outputs: StructuredOutputsParams | None = None
    """A form that the text must take. At most one of this and the guided_ parameters may be given."""
    guided_json: str | Mapping[str, Any] | None = None
    """The text is JSON of this JSON Schema."""
    guided_regex: str | None = None
    """The text as a whole matches this regular expression."""
    guided_grammar: str | None = None
    """The text follows this EBNF grammar, from its rule `root`."""
    guided_choice: Sequence[str] | None = None
    """The text is one of these."""

    # Not carried out, see _UNSUPPORTED.
    prompt_logprob_token_ids: Sequence[int] | None = None
    prompt_logprob_start: int | None = None
    logprob_token_ids: Sequence[int] | None = None
    flat_logprobs: bool = False
    output_kind: Any = None
    stream_interval: int | None = None
    extra_args: Mapping[str, Any] | None = None
    logits_processors: Sequence[Any] | None = None
    skip_reading_prefix_cache: bool | None = None
    thinking_token_budget: int | None = None
    repetition_detection: Any = None
    routed_experts_prompt_start: int = 0
    trace_decode_token_ids: Sequence[int] | None = None

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raises for what can be seen to be wrong without a model. Called again when a prompt is submitted, as fields
        may have been changed."""
        for name, (values, why) in _UNSUPPORTED.items():
            if getattr(self, name) not in values:
                raise UnimplementedError(f"SamplingParams.{name} is {getattr(self, name)!r}, which is not supported: "
                                         f"{why}; leave it out")
        for name in ("logprobs", "prompt_logprobs"):
            count = getattr(self, name)
            if count == -1:
                raise UnimplementedError(f"SamplingParams.{name} is -1, which is not supported: at most 1024 of the "
                                         "vocabulary's log-probabilities are given; name how many")
            if count is not None and count < 0:
                raise InvalidArgumentError(f"{name} is {count}, expected None or 0 and more")
        if self.top_k < -1:
            raise InvalidArgumentError(f"top_k is {self.top_k}, expected 0 or -1 (off) or 1 and more")
        if not self.spaces_between_special_tokens and not self.skip_special_tokens:
            raise UnimplementedError("SamplingParams.spaces_between_special_tokens is False, which is not supported: "
                                     "special tokens are written as the tokenizer's decoder writes them; leave it out")
        if not self.detokenize and self.stop:
            raise InvalidArgumentError("stop strings are looked for in the text, which detokenize=False leaves out; "
                                       "use stop_token_ids, or leave out detokenize")
        if self.truncate_prompt_tokens is not None and (self.truncate_prompt_tokens < -1
                                                        or self.truncate_prompt_tokens == 0):
            raise InvalidArgumentError(f"truncate_prompt_tokens is {self.truncate_prompt_tokens}, expected -1 (what "
                                       "fits), 1 and more, or None")
        if self.allowed_token_ids is not None and not self.allowed_token_ids:
            raise InvalidArgumentError("allowed_token_ids is empty, which allows nothing; give some, or None")
