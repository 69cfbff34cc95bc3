"""What requests give back."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Logprob:
    """A token's natural log-probability, its rank among all tokens (1: none is likelier) and its text, special tokens
    included. The text is None where the bundle has no tokenizer."""

    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclasses.dataclass(frozen=True)
class Piece:
    """One generated token."""

    index: int
    """Of the sequence, in [0, SamplingParams.n)."""
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
    cumulative_logprob: float | None
    """The sum of the tokens' log-probabilities, if SamplingParams.logprobs asked for them."""
    logprobs: list[dict[int, Logprob]] | None
    """For each token, as in Piece."""
    finish_reason: str | None = None
    """One of "stop", "length", "cancelled", "error"; None while it is not finished."""
    stop_reason: int | str | None = None
    """The stop string or the token of stop_token_ids that ended the answer; None for the end of the sequence and other
    reasons."""
    lora_request: None = None
    """For programs written for vLLM: bundles have no adapters."""

    def finished(self) -> bool:
        """Whether no more tokens come."""
        return self.finish_reason is not None


@dataclasses.dataclass
class RequestOutput:
    """A prompt with its answers."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    prompt_logprobs: list[dict[int, Logprob] | None] | None
    """For each token of the prompt, if SamplingParams.prompt_logprobs asked for them; None for the first."""
    outputs: list[CompletionOutput]
    finished: bool
    num_cached_tokens: int
    """Tokens of the prompt that the prefix cache had."""
    metrics: RequestMetrics
    lora_request: None = None
    """This and what follows is for programs written for vLLM: bundles have no adapters and no encoder."""
    encoder_prompt: None = None
    encoder_prompt_token_ids: None = None
    kv_transfer_params: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class RequestMetrics:
    """Seconds from submitting; None for what has not happened."""

    scheduled: float | None
    first_token: float | None
    finished: float | None


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """What a bundle needs and what then fits."""

    explanation: str
    """For people: what limits it, and which option changes that."""
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
    """All that a speculative model takes, its KV pages too."""


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
