"""Results of requests."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Logprob:
    """A token's natural log-probability, its rank among all tokens (1: the most likely) and its text, including special
    tokens. The text is None if the bundle has no tokenizer."""

    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclasses.dataclass(frozen=True)
class Piece:
    """One generated token."""

    index: int
    """Index of the answer, in [0, SamplingParams.n)."""
    token_id: int
    text: str
    """Text that this token completes. Empty if the token ends in the middle of a character."""
    logprobs: dict[int, Logprob] | None = None
    """Log-probabilities by token id: of this token and of the most likely ones, if SamplingParams.logprobs is set."""


@dataclasses.dataclass
class CompletionOutput:
    """One answer to a prompt."""

    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    """The sum of the tokens' log-probabilities, if SamplingParams.logprobs is set."""
    logprobs: list[dict[int, Logprob]] | None
    """For each token, as in Piece."""
    finish_reason: str | None = None
    """One of "stop", "length", "cancelled", "error"; None while it is not finished."""
    stop_reason: int | str | None = None
    """The stop string, or the token of stop_token_ids, that ended the answer; None for an end-of-sequence token and
    other reasons."""
    lora_request: None = None
    """Always None, for compatibility with vLLM: bundles have no adapters."""

    def finished(self) -> bool:
        """Whether the answer is finished."""
        return self.finish_reason is not None


@dataclasses.dataclass
class RequestOutput:
    """A prompt with its answers."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    prompt_logprobs: list[dict[int, Logprob] | None] | None
    """For each token of the prompt, if SamplingParams.prompt_logprobs is set; None for the first."""
    outputs: list[CompletionOutput]
    finished: bool
    num_cached_tokens: int
    """Number of prompt tokens that were found in the prefix cache."""
    metrics: RequestMetrics
    lora_request: None = None
    """This field and the following ones are for compatibility with vLLM: bundles have no adapters and no encoder."""
    encoder_prompt: None = None
    encoder_prompt_token_ids: None = None
    kv_transfer_params: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class RequestMetrics:
    """Times in seconds since the request was submitted; None for events that have not happened."""

    scheduled: float | None
    first_token: float | None
    finished: float | None


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """Memory that a bundle needs, and how many KV pages and tokens then fit."""

    explanation: str
    """A text for users: what limits the plan, and which option changes it."""
    free_bytes: int
    usable_bytes: int
    weights_bytes: int
    workspace_bytes: int
    buffers_bytes: int
    kv_cache_bytes: int
    bytes_per_page: int
    page_size: int
    total_pages: int
    kv_cache_tokens: int
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    full_length_sequences: int
    draft_bytes: int
    """All memory of a speculative model, including its KV pages."""
    ranks: int
    """Ranks that run the bundle. Sizes in bytes are those of the first one."""


@dataclasses.dataclass(frozen=True)
class Stats:
    """An engine's sizes, current state and counters."""

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
    total_pages: int
    free_pages: int
    cached_pages: int
    steps: int
    prompt_tokens: int
    generation_tokens: int
    preemptions: int
    draft_tokens: int
    accepted_draft_tokens: int
    prefix_cache_queries: int
    prefix_cache_hits: int
    swapped_out_pages: int
    swapped_in_pages: int
    finished_stop: int
    finished_length: int
    finished_cancelled: int
    finished_error: int
