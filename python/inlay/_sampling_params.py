"""Sampling parameters: how the next token is chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from inlay._errors import InvalidArgumentError, UnimplementedError


@dataclasses.dataclass(kw_only=True)
class StructuredOutputsParams:
    """A format that the generated text must have. Exactly one of the first five fields is set."""

    json: str | Mapping[str, Any] | None = None
    """The text is JSON that matches this JSON Schema."""
    regex: str | None = None
    """The whole text matches this regular expression."""
    choice: Sequence[str] | None = None
    """The text is one of these."""
    grammar: str | None = None
    """The text matches the rule `root` of this EBNF grammar."""
    json_object: bool | None = None
    """The text is a JSON object."""
    disable_any_whitespace: bool = False
    disable_additional_properties: bool = False
    whitespace_pattern: str | None = None
    structural_tag: str | None = None
    """vLLM has this field and the three before it. They are not supported here."""

    def __post_init__(self) -> None:
        for name in ("disable_any_whitespace", "disable_additional_properties", "whitespace_pattern", "structural_tag"):
            if getattr(self, name):
                raise UnimplementedError(f"structured_outputs.{name}: this option is not supported; remove it, or "
                                         "write the format as a regex or grammar")
        given = [name for name in ("json", "regex", "choice", "grammar", "json_object")
                 if getattr(self, name) is not None]
        if len(given) != 1 or self.json_object is False:
            raise InvalidArgumentError(f"structured_outputs has {' and '.join(given) or 'no format'}"
                                       f"{' = False' if self.json_object is False else ''}, expected exactly one of "
                                       "json, regex, choice, grammar and json_object=True")


# vLLM's fields that are not supported: the values that are accepted because they change nothing, and the reason why
# others are rejected.
_UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    "prompt_logprob_token_ids": ((None,), "log-probabilities are returned only for the most likely tokens"),
    "prompt_logprob_start": ((None, 0), "prompt_logprobs start at the first token"),
    "logprob_token_ids": ((None,), "log-probabilities are returned only for the most likely tokens"),
    "flat_logprobs": ((False,), "logprobs are always lists of dictionaries"),
    "output_kind": ((None,), "generate() returns whole answers, stream() each token as it is generated"),
    "stream_interval": ((None, 1), "stream() returns each token as it is generated"),
    "extra_args": ((None, {}), "there are no extensions that read them"),
    "logits_processors": ((None, [], ()), "Python code cannot run between steps"),
    "skip_reading_prefix_cache": ((None, False), "use submit(..., enable_prefix_caching=False) instead"),
    "thinking_token_budget": ((None, -1), "reasoning is not separated from other text"),
    "repetition_detection": ((None,), "stopping at repetitions is not supported"),
    "routed_experts_prompt_start": ((0,), "the routing of experts is not returned"),
    "trace_decode_token_ids": ((None,), "tokens are always sampled"),
}


@dataclasses.dataclass(kw_only=True)
class SamplingParams:
    """How tokens are chosen. Names, defaults and meanings are those of vLLM.

    A field that vLLM does not have raises TypeError. A field that vLLM has but Inlay does not support raises
    UnimplementedError with the reason, unless its value would change nothing."""

    n: int = 1
    """Number of answers to return. The `index` of a piece says to which answer it belongs."""
    best_of: int | None = None
    """Number of answers to generate, of which the `n` most likely are returned; None or 0: n."""
    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens that were already generated, in [-2, 2]."""
    frequency_penalty: float = 0.0
    """Subtracted from a token's logit for each time it was generated, in [-2, 2]."""
    repetition_penalty: float = 1.0
    """Values above 1 make tokens of the prompt and of the answer less likely; 1 is off."""
    temperature: float = 1.0
    """0: always choose the most likely token."""
    top_p: float = 1.0
    """Choose among the most likely tokens whose probabilities add up to this, in (0, 1]; 1 is off."""
    top_k: int = 0
    """Choose among this many most likely tokens; 0 and -1 are off."""
    min_p: float = 0.0
    """Exclude tokens less likely than this fraction of the highest probability, in [0, 1]; 0 is off."""
    seed: int | None = None
    """The same seed gives the same tokens, whatever other requests run; None and -1: a random seed."""
    stop: str | Sequence[str] | None = None
    """The answer ends before the first of these strings in the text."""
    stop_token_ids: Sequence[int] | None = None
    """The answer ends at one of these tokens."""
    ignore_eos: bool = False
    """Continue after an end-of-sequence token."""
    max_tokens: int | None = 16
    """Maximum number of tokens to generate; None: as many as fit in the context."""
    min_tokens: int = 0
    """The answer does not end at an end-of-sequence token, stop string or stop token before this many tokens."""
    logprobs: int | None = None
    """Return the log-probability of each generated token and of this many most likely tokens. They are computed from
    the model's logits, before temperature, penalties and masks."""
    prompt_logprobs: int | None = None
    """The same for each token of the prompt."""
    detokenize: bool = True
    """False: answers are token ids, and their text is empty."""
    skip_special_tokens: bool = True
    """Remove special tokens from the text."""
    spaces_between_special_tokens: bool = True
    """Special tokens in the text are always written as the tokenizer's decoder writes them, so False is not supported
    with skip_special_tokens=False."""
    include_stop_str_in_output: bool = False
    """Include the stop string or the stop token's text at the end of the text."""
    truncate_prompt_tokens: int | None = None
    """Keep only this many last tokens of the prompt; -1: as many as leave room for max_tokens; None: all."""
    logit_bias: Mapping[int, float] | None = None
    """Values to add to the logits of tokens, by token id, each in [-100, 100]."""
    allowed_token_ids: Sequence[int] | None = None
    """Generate only these tokens."""
    bad_words: Sequence[str] | None = None
    """Texts that are not generated at the beginning of the text or after a space."""
    structured_outputs: StructuredOutputsParams | None = None
    """A format that the text must have. At most one of this field and the guided_ fields may be set."""
    guided_json: str | Mapping[str, Any] | None = None
    """The text is JSON that matches this JSON Schema."""
    guided_regex: str | None = None
    """The whole text matches this regular expression."""
    guided_grammar: str | None = None
    """The text matches the rule `root` of this EBNF grammar."""
    guided_choice: Sequence[str] | None = None
    """The text is one of these."""

    # Not supported, see _UNSUPPORTED.
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
        """Raises if a value is wrong for every model. It is called again when a prompt is submitted, because fields may
        have changed."""
        for name, (values, why) in _UNSUPPORTED.items():
            if getattr(self, name) not in values:
                raise UnimplementedError(f"SamplingParams.{name} is {getattr(self, name)!r}, which is not supported: "
                                         f"{why}; remove it")
        for name in ("logprobs", "prompt_logprobs"):
            count = getattr(self, name)
            if count == -1:
                raise UnimplementedError(f"SamplingParams.{name} is -1, which is not supported: at most 1024 "
                                         "log-probabilities are returned per token; set a number")
            if count is not None and count < 0:
                raise InvalidArgumentError(f"{name} is {count}, expected None or 0 or more")
        if self.top_k < -1:
            raise InvalidArgumentError(f"top_k is {self.top_k}, expected 0 or -1 (off) or 1 or more")
        if not self.spaces_between_special_tokens and not self.skip_special_tokens:
            raise UnimplementedError("SamplingParams.spaces_between_special_tokens is False, which is not supported: "
                                     "special tokens are written as the tokenizer's decoder writes them; remove it")
        if not self.detokenize and self.stop:
            raise InvalidArgumentError("stop strings need the text, which detokenize=False does not produce; "
                                       "use stop_token_ids, or remove detokenize")
        if self.truncate_prompt_tokens is not None and (self.truncate_prompt_tokens < -1
                                                        or self.truncate_prompt_tokens == 0):
            raise InvalidArgumentError(f"truncate_prompt_tokens is {self.truncate_prompt_tokens}, expected -1 (as "
                                       "many as fit), 1 or more, or None")
        if self.allowed_token_ids is not None and not self.allowed_token_ids:
            raise InvalidArgumentError("allowed_token_ids is empty, which allows no token; add ids, or set it to None")
