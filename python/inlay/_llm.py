"""A compiled model, ready to generate."""

from __future__ import annotations

import collections
import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, cast

from inlay import _library as c
from inlay._errors import InlayError, InvalidArgumentError, ResourceExhaustedError, UnimplementedError
from inlay._outputs import MemoryPlan, RequestOutput, Stats
from inlay._progress import progress_bar
from inlay._request import EngineHandle, Request, RequestHandle
from inlay._sampling_params import SamplingParams
from inlay._sampling_to_c import sampling_to_c
from inlay._text import c_string, utf8
from inlay._tokenizer import Message, Tokenizer
from inlay._vllm_options import check_vllm_options

Prompt = str | Sequence[int] | Mapping[str, Any]
"""A text, token ids, or a dictionary as in vLLM: {"prompt": TEXT} or {"prompt_token_ids": IDS}, optionally with
"cache_salt"."""


class LLM:
    """A compiled model, ready to generate.

        with LLM("llama.inlay") as llm:
            for output in llm.generate(["Once upon a time", "In 1969"], SamplingParams(max_tokens=64)):
                print(output.prompt, output.outputs[0].text)

    All requests of an engine run in one batch, whichever thread or task submits them. Every method may be called from
    any thread. Errors are InlayError and its subclasses. Only the process that loaded an LLM can use it: in a forked
    child its methods raise FailedPreconditionError, and nothing is freed when the child exits."""

    def __init__(self, model: str | os.PathLike[str], *, target: str = "", threads: int = 0,
                 enforce_eager: bool = False, gpu_memory_utilization: float = 0.9, kv_cache_memory_bytes: int = 0,
                 max_model_len: int = 0, max_num_seqs: int = 0, max_num_batched_tokens: int = 0, max_waiting: int = 0,
                 enable_prefix_caching: bool = True, deterministic: bool = False,
                 async_scheduling: bool | None = None, num_speculative_tokens: int = 0, scheduling_policy: str = "fcfs",
                 preemption_mode: str = "recompute", swap_space_bytes: int = 4 << 30, watchdog_seconds: float = 0,
                 trace_path: str | os.PathLike[str] = "", speculative_model: str | os.PathLike[str] = "",
                 weights_source: str | os.PathLike[str] = "", tensor_parallel_size: int = 0,
                 pipeline_parallel_size: int = 0, distributed_timeout: float = 10,
                 distributed_backend: str = "auto", devices: Sequence[int] = (), **vllm_options: Any):
        """Loads a model.

        model: path of the bundle that compile-model wrote.
        target: "cpu" or "sm_90a"; by default the GPU's target if the bundle has it, else cpu.
        threads: number of host threads; 0: one per core.
        enforce_eager: do not use CUDA graphs.
        gpu_memory_utilization: fraction of the GPU's memory for weights, workspace and KV pages, in (0, 1].
        kv_cache_memory_bytes: size of the KV pages in bytes; 0: as much as fits in memory.
        max_model_len, max_num_seqs, max_num_batched_tokens: lower the bundle's limits; 0: use the bundle's limits.
        max_waiting: maximum number of waiting requests; submit() raises ResourceExhaustedError above it; 0: no limit.
        enable_prefix_caching: prompts with a common prefix share its keys and values.
        deterministic: results are bit-identical whatever other requests run; always true on the cpu target.
        async_scheduling: plan the next step while the current one runs; by default only on a GPU.
        num_speculative_tokens: number of draft tokens per step; they are copied from the request's own text and
            verified in one step. The generated tokens do not change.
        scheduling_policy: "fcfs" or "priority".
        preemption_mode: "recompute" or "swap", which moves pages to host memory (at most `swap_space_bytes`) and back.
        watchdog_seconds: all requests fail if a step takes longer; 0: no limit.
        trace_path: file for a Chrome trace of the scheduler.
        speculative_model: bundle of a smaller model with the same vocabulary, which generates the draft tokens.
        weights_source: for a bundle with linked weights: path of the checkpoint, if it was moved since compiling.
        tensor_parallel_size, pipeline_parallel_size: ranks that run each layer, and stages. The bundle was compiled for
            them, and other numbers are an error; 0: use the bundle's.
        distributed_timeout: seconds that a rank of such a bundle waits while no rank does anything, before all requests fail.
        distributed_backend: how the ranks of such a bundle exchange values on GPUs: "peer" (GPUs access each other's memory),
            "nccl", or "auto": peer where the GPUs can and the bundle has code for it; where not, nccl in a stage and host
            memory between stages.
        devices: the GPU of each rank, as indices among those that CUDA_VISIBLE_DEVICES leaves. Ranks with the same one
            share it, which is slow and for checks. By default the first GPUs that can run the target.
        vllm_options: options of vLLM's LLM that are fixed when the model is compiled, such as dtype="auto"; only values
            that change nothing are accepted."""
        options = {name: value for name, value in locals().items() if name not in ("self", "model", "vllm_options")}
        check_vllm_options(vllm_options)
        pointer = ctypes.c_void_p()
        c.check(c.lib.inlay_engine_load(_path(model, "model"), _options_to_c(options), ctypes.byref(pointer)))
        self._engine = EngineHandle(pointer)
        self._tokenizer = Tokenizer(self._engine)

    @staticmethod
    def plan(model: str | os.PathLike[str], **options: Any) -> MemoryPlan:
        """Memory that the bundle needs, and what fits with these options of LLM(). Allocates none of it."""
        plan, text = c.MemoryPlan(), ctypes.c_void_p()
        plan.struct_size = ctypes.sizeof(plan)
        c.check(c.lib.inlay_engine_plan(_path(model, "model"), _options_to_c(options), plan, ctypes.byref(text)))
        explanation = c.take_text(text, ctypes.c_size_t(len(ctypes.string_at(text.value or 0))))
        return MemoryPlan(explanation=explanation, **_fields(plan))

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def shutdown(self, timeout: float) -> None:
        """Accepts no more requests and waits for the submitted ones. Cancels those that still run after `timeout`
        seconds and raises DeadlineExceededError."""
        with self._engine as engine:
            c.check(c.lib.inlay_engine_shutdown(engine, float(timeout)))

    def close(self) -> None:
        """Cancels running requests and frees the engine's memory."""
        try:
            self.shutdown(0)
        except InlayError:  # requests were cancelled, or the engine was already closed
            pass
        self._engine.close()

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("an LLM cannot be pickled, as it belongs to the process that loaded it; send the bundle's path "
                        "and load it in the other process")

    # --- Generating -------------------------------------------------------------------------------------------------

    def submit(self, prompt: Prompt, sampling_params: SamplingParams | None = None, *,
               add_special_tokens: bool = True, priority: int = 0, deadline: float | None = None,
               cache_salt: str = "", enable_prefix_caching: bool = True) -> Request:
        """Queues a prompt and returns without waiting.

        sampling_params: by default those that the checkpoint recommends.
        priority: requests with a lower value run earlier, with scheduling_policy="priority".
        deadline: seconds from now after which the request fails with DeadlineExceededError.
        cache_salt: only requests with the same salt share prefixes.
        enable_prefix_caching: False: the request neither reads the prefix cache nor adds to it."""
        given = self.get_default_sampling_params() if sampling_params is None else sampling_params
        sampling = sampling_to_c(given)
        params = c.initialised(c.RequestParams, c.lib.inlay_request_params_init)
        text, ids, salt = _read_prompt(prompt)
        if given.truncate_prompt_tokens is not None or given.max_tokens is None:
            ids = self.tokenize(text or "", add_special_tokens=add_special_tokens) if ids is None else ids
            context = self._context()
            ids = _truncated(ids, given, context)
            if given.max_tokens is None:
                sampling.max_tokens = max(context - len(ids), 1)
        if ids is not None:
            params.prompt_token_ids = c.int32_array(ids, "the prompt's token id")
            params.prompt_token_id_count = len(ids)
        elif text is not None:
            data = utf8(text, "the prompt")
            params.prompt, params.prompt_size = data, len(data)
        params.add_special_tokens = add_special_tokens
        params.priority = c.int32(priority, "priority")
        params.enable_prefix_caching = enable_prefix_caching
        params.cache_salt = c_string(salt if cache_salt == "" else cache_salt, "cache_salt")
        if deadline is not None:
            if not deadline > 0:
                raise InvalidArgumentError(f"deadline is {deadline}, expected more than 0 seconds")
            params.deadline_seconds = deadline
        params.sampling = ctypes.pointer(sampling)
        pointer = ctypes.c_void_p()
        with self._engine as engine:
            c.check(c.lib.inlay_submit(engine, params, ctypes.byref(pointer)))
            handle = RequestHandle(self._engine, pointer)
        return Request(handle, text, max(1, given.n), sampling.logprobs >= 0, sampling.prompt_logprobs >= 0,
                       given.detokenize)

    def stream(self, prompt: Prompt, sampling_params: SamplingParams | None = None, **options: Any) -> Request:
        """The same as submit(), for use in a loop: `for piece in llm.stream("Once")`, or
        `async for`."""
        return self.submit(prompt, sampling_params, **options)

    def generate(self, prompts: Prompt | Sequence[Prompt],
                 sampling_params: SamplingParams | Sequence[SamplingParams] | None = None, *,
                 use_tqdm: bool | Callable[..., Any] = True, lora_request: None = None,
                 priority: int | Sequence[int] | None = None, add_special_tokens: bool = True) -> list[RequestOutput]:
        """Generates answers to one prompt or to a list of prompts in one batch and waits for them. Outputs are in the
        order of the prompts.

        sampling_params: one for all prompts, or a list with one for each; by default those that the checkpoint
            recommends.
        use_tqdm: show a progress bar if the package tqdm is installed; a function is called instead of tqdm.
        lora_request: must be None, because bundles have no adapters.
        priority: one for all prompts, or a list with one for each; prompts with a lower value run earlier, with
            scheduling_policy="priority"."""
        # Check before importing tqdm: a thread of the parent process may have held the import lock at the fork.
        self._engine.owner.check()
        if lora_request is not None:
            raise UnimplementedError("lora_request is given, but bundles have no adapters; compile the merged checkpoint")
        batch: list[Prompt] = [cast(Prompt, prompts)] if _is_one(prompts) else list(cast(Sequence[Prompt], prompts))
        each = _one_for_each(sampling_params, SamplingParams, len(batch), "sampling_params")
        priorities = _one_for_each(priority, int, len(batch), "priority")
        outputs: list[RequestOutput] = []
        running: collections.deque[Request] = collections.deque()
        with progress_bar(use_tqdm, len(batch)) as progress:

            def take_first() -> None:
                outputs.append(running.popleft().result())
                progress(1)

            try:
                for prompt, params, urgency in zip(batch, each, priorities):
                    while True:
                        try:
                            running.append(self.submit(prompt, params, add_special_tokens=add_special_tokens,
                                                       priority=urgency or 0))
                            break
                        except ResourceExhaustedError:
                            if not running:  # the queue was not filled by these requests, so this one can never run
                                raise
                            take_first()
                while running:
                    take_first()
            finally:
                for request in running:
                    request.cancel()
        return outputs

    def chat(self, messages: Sequence[Message] | Sequence[Sequence[Message]],
             sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
             use_tqdm: bool | Callable[..., Any] = True, lora_request: None = None, chat_template: None = None, *,
             add_generation_prompt: bool = True, continue_final_message: bool = False,
             tools: Sequence[Mapping[str, Any]] | None = None,
             chat_template_kwargs: Mapping[str, Any] | None = None) -> list[RequestOutput]:
        """Generates the assistant's answer to one conversation, or to each of a list. Messages and tools are read in
        the same way as in serve-model, so both make the same prompt.

        sampling_params, use_tqdm, lora_request: as in generate().
        chat_template: must be None, because the bundle's template is used.
        add_generation_prompt: append the beginning of an assistant message to the prompt.
        continue_final_message: continue the last message instead; requires add_generation_prompt=False.
        chat_template_kwargs: additional variables for the template, such as enable_thinking."""
        if chat_template is not None:
            raise UnimplementedError("chat_template is given, but the template is the bundle's; render the text yourself "
                                     "and give it to generate(..., add_special_tokens=False)")
        is_batch = (isinstance(messages, Sequence) and not isinstance(messages, (str, bytes)) and len(messages) > 0
                    and isinstance(messages[0], Sequence) and not isinstance(messages[0], (str, bytes)))
        conversations = cast(Sequence[Sequence[Message]], messages if is_batch else [messages])
        prompts = [self._tokenizer.render(one, tools, add_generation_prompt, continue_final_message, chat_template_kwargs)
                   for one in conversations]
        return self.generate(prompts, sampling_params, use_tqdm=use_tqdm, add_special_tokens=False)

    def get_default_sampling_params(self) -> SamplingParams:
        """The sampling parameters that the checkpoint recommends (generation_config.json), with SamplingParams'
        defaults for the others. Its max_new_tokens becomes max_tokens."""
        params = c.initialised(c.SamplingParams, c.lib.inlay_sampling_params_init)
        with self._engine as engine:
            c.check(c.lib.inlay_engine_default_sampling(engine, params))
        names = ("temperature", "top_p", "min_p", "repetition_penalty")
        # Round to 7 digits: 0.7 stays 0.7, instead of the double that equals the float.
        values: dict[str, Any] = {name: float(f"{getattr(params, name):.7g}") for name in names}
        return SamplingParams(top_k=params.top_k, max_tokens=params.max_tokens, **values)

    # --- Text -------------------------------------------------------------------------------------------------------

    def get_tokenizer(self) -> Tokenizer:
        """The bundle's tokenizer, with the method names of transformers: encode, decode, apply_chat_template."""
        return self._tokenizer

    def tokenize(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text, from the bundle's tokenizer."""
        return self._tokenizer.encode(text, add_special_tokens)

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        return self._tokenizer.decode(ids, skip_special_tokens=True)

    def apply_chat_template(self, messages: Sequence[Message], *, add_generation_prompt: bool = True,
                            continue_final_message: bool = False, tools: Sequence[Mapping[str, Any]] | None = None,
                            **variables: Any) -> str:
        """Renders a conversation with the bundle's chat template, as chat() does. The template writes the special
        tokens, so submit the text with add_special_tokens=False. `variables` are additional variables for the template,
        such as enable_thinking."""
        return self._tokenizer.render(messages, tools, add_generation_prompt, continue_final_message, variables)

    def _context(self) -> int:
        """Maximum number of tokens of a sequence: the model's limit or the capacity of the KV pages, whichever is
        smaller."""
        stats = self.stats()
        return min(stats.max_model_len, max(stats.kv_cache_tokens, 1))

    # --- State ------------------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """The engine's sizes, current state and counters."""
        stats = c.Stats()
        stats.struct_size = ctypes.sizeof(stats)
        with self._engine as engine:
            c.check(c.lib.inlay_engine_stats(engine, stats))
            return Stats(target=c.lib.inlay_engine_target(engine).decode(),
                         device=c.lib.inlay_engine_device(engine).decode(), **_fields(stats))

    def check_health(self) -> None:
        """Raises an error if the engine has failed, for example because the device does not respond or a step did not
        end."""
        with self._engine as engine:
            c.check(c.lib.inlay_engine_health(engine))


def _fields(structure: ctypes.Structure) -> dict[str, Any]:
    return {name: getattr(structure, name) for name, *_ in structure._fields_ if name != "struct_size"}


def _options_to_c(given: Mapping[str, Any]) -> Any:
    """The C structure for LLM()'s arguments."""
    options = c.initialised(c.EngineOptions, c.lib.inlay_engine_options_init)
    types = dict((name, kind) for name, kind, *_ in c.EngineOptions._fields_)
    for name, value in given.items():
        field = {"kv_cache_memory_bytes": "kv_cache_bytes"}.get(name, name)
        if field not in types or field in ("struct_size", "device_count"):
            raise TypeError(f"LLM has no option {name!r}; see help(inlay.LLM)")
        kind = types[field]
        if field == "async_scheduling":
            value = -1 if value is None else int(value)
        if field == "devices":
            options.device_count = len(value)
            value = c.int32_array(value, "an index of devices") if value else None
        elif kind is ctypes.c_char_p:
            value = _path(value, name) or None
        elif kind is ctypes.c_int32:
            value = c.int32(value, name)
        elif kind is ctypes.c_uint64 and not 0 <= value < 1 << 64:
            raise InvalidArgumentError(f"{name} is {value}, expected 0 or more")
        setattr(options, field, value)
    return options


def _is_one(prompts: Any) -> bool:
    return isinstance(prompts, (str, Mapping)) or (len(prompts) > 0 and isinstance(prompts[0], int))


def _read_prompt(prompt: Prompt) -> tuple[str | None, Sequence[int] | None, str]:
    """Returns text, token ids and cache_salt. If both text and ids are given, the ids are the prompt and the text is
    only returned in outputs, as in vLLM."""
    if isinstance(prompt, str):
        return prompt, None, ""
    if not isinstance(prompt, Mapping):
        if not hasattr(prompt, "__len__") or isinstance(prompt, bytes):
            raise InvalidArgumentError(f"a prompt is of type {type(prompt).__name__}, expected a string, token ids or a "
                                       "dictionary of one of them")
        return None, prompt, ""
    text, ids, salt = (prompt.get(name) for name in ("prompt", "prompt_token_ids", "cache_salt"))
    unknown = [name for name, value in prompt.items()
               if name not in ("prompt", "prompt_token_ids", "cache_salt") and value is not None]
    if (text is None and ids is None) or unknown:
        raise InvalidArgumentError(f"a prompt with the keys {list(prompt)}, expected either prompt or prompt_token_ids, "
                                   "and optionally cache_salt")
    return text, ids, salt or ""


def _truncated(ids: Sequence[int], params: SamplingParams, context: int) -> Sequence[int]:
    """Keeps only the last tokens of a prompt if truncate_prompt_tokens is set."""
    most = params.truncate_prompt_tokens
    if most is None:
        return ids
    return ids[-max(context - (params.max_tokens or 1), 1) if most < 0 else -most :]


def _one_for_each(given: Any, kind: type[Any], count: int, name: str) -> list[Any]:
    """A list of `count` values: `given` itself if it is a list, else `given` for each prompt."""
    if given is None or isinstance(given, kind):
        return [given] * count
    each = list(given)
    if len(each) != count:
        raise InvalidArgumentError(f"found {len(each)} {name} for {count} prompts, expected one for each prompt or one "
                                   "for all")
    return each


def _path(path: str | os.PathLike[str], name: str) -> bytes:
    """A path as bytes. Paths with a zero are rejected, because C would end them there."""
    try:
        data = os.fsencode(path)
    except UnicodeEncodeError:
        data = b"\0"
    if b"\0" in data:
        raise InvalidArgumentError(f"{name} is {path!r}, expected a path without zero characters and lone surrogates")
    return data
