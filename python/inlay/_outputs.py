"""What requests give back."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Logprob:
    """A token's natural log-probability, and its rank among all tokens (from 1) where that is known."""

    logprob: float
    rank: int | None = None


@dataclasses.dataclass(frozen=True)
class Piece:
    """One generated token."""

    token_id: int
    text: str
    """What the token completes; may be empty in the middle of a character."""
    logprobs: dict[int, Logprob] | None = None
    """The token's and the most likely ones' log-probabilities by id, if SamplingParams.logprobs asked for them."""


@dataclasses.dataclass
class CompletionOutput:
    """An answer."""

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None
    """For each token, as in Piece."""
    cumulative_logprob: float | None
    finish_reason: str | None
    """"stop", "length", "cancelled", or None while it is not finished."""


@dataclasses.dataclass
class RequestOutput:
    """A prompt with its answers."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool


@dataclasses.dataclass(frozen=True)
class Stats:
    """What an engine holds and has done."""

    target: str
    device: str
    load_seconds: float
    weights_seconds: float
    weights_bytes: int
    workspace_bytes: int
    kv_cache_bytes: int
    kv_cache_tokens: int
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    running: int
    waiting: int
    free_pages: int
    total_pages: int
    steps: int
    prompt_tokens: int
    generation_tokens: int
