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
"""A text, token ids, or {"prompt": TEXT} or {"prompt_token_ids": IDS} as vLLM has them, also with "cache_salt"."""


class LLM:
    """A compiled model, ready to generate.

        with LLM("llama.inlay") as llm:
            for output in llm.generate(["Once upon a time", "In 1969"], SamplingParams(max_tokens=64)):
                print(output.prompt, output.outputs[0].text)

    All requests of an engine run in one batch, whichever thread or task they come from; every method may be called from
    any thread. Errors are InlayError and its subclasses. An LLM belongs to the process that loaded it: in a forked child
    its methods raise FailedPreconditionError, and nothing is freed when the child ends."""

    def __init__(self, model: str | os.PathLike[str], *, target: str = "", threads: int = 0,
                 enforce_eager: bool = False, gpu_memory_utilization: float = 0.9, kv_cache_memory_bytes: int = 0,
                 max_model_len: int = 0, max_num_seqs: int = 0, max_num_batched_tokens: int = 0, max_waiting: int = 0,
                 enable_prefix_caching: bool = True, deterministic: bool = False,
                 async_scheduling: bool | None = None, num_speculative_tokens: int = 0, scheduling_policy: str = "fcfs",
                 preemption_mode: str = "recompute", swap_space_bytes: int = 4 << 30, watchdog_seconds: float = 0,
                 trace_path: str | os.PathLike[str] = "", speculative_model: str | os.PathLike[str] = "",
                 weights_source: str | os.PathLike[str] = "", **vllm_options: Any):
        """Loads a model.

        model: the bundle that compile-model wrote.
        target: "cpu", "sm_90a"; by default a GPU's if there is one that fits, else cpu.
        threads: of the host; 0: one a core.
        enforce_eager: no CUDA graphs.
        gpu_memory_utilization: share of the GPU's memory for weights, workspace and KV pages, in (0, 1].
        kv_cache_memory_bytes: of the KV pages; 0: what memory allows.
        max_model_len, max_num_seqs, max_num_batched_tokens: lower the bundle's bounds; 0: those.
        max_waiting: requests that may wait; beyond them submit() raises ResourceExhaustedError; 0: no limit.
        enable_prefix_caching: prompts with a common beginning share its keys and values.
        deterministic: the same bits whatever runs beside a request; on the cpu it is always so.
        async_scheduling: the next step is planned while one runs; by default on a GPU.
        num_speculative_tokens: guessed from a prompt's own text and verified in one step; the tokens stay the same.
        scheduling_policy: "fcfs" or "priority".
        preemption_mode: "recompute" or "swap", which brings pages to `swap_space_bytes` of the host's memory and back.
        watchdog_seconds: a step that takes longer fails all requests; 0: no limit.
        trace_path: a Chrome trace of the scheduler is written here.
        speculative_model: bundle of a smaller model of the same vocabulary that guesses num_speculative_tokens.
        weights_source: of a bundle with linked weights: where a copy of the checkpoint is, if not where it was.
        vllm_options: options of vLLM's LLM that compiling has decided, such as dtype="auto"; other values are refused."""
        options = {name: value for name, value in locals().items() if name not in ("self", "model", "vllm_options")}
        check_vllm_options(vllm_options)
        pointer = ctypes.c_void_p()
        c.check(c.lib.inlay_engine_load(_path(model, "model"), _options_to_c(options), ctypes.byref(pointer)))
        self._engine = EngineHandle(pointer)
        self._tokenizer = Tokenizer(self._engine)

    @staticmethod
    def plan(model: str | os.PathLike[str], **options: Any) -> MemoryPlan:
        """What the bundle needs and what fits with these options of LLM(), found without allocating any of it."""
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
        """Takes no more requests and waits for those that it has; those that are left after `timeout` seconds are
        cancelled, and DeadlineExceededError says so."""
        with self._engine as engine:
            c.check(c.lib.inlay_engine_shutdown(engine, float(timeout)))

    def close(self) -> None:
        """Ends what runs and releases the engine's memory."""
        try:
            self.shutdown(0)
        except InlayError:  # requests were cancelled, or it was closed before
            pass
        self._engine.close()

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("an LLM cannot be pickled, as it belongs to the process that loaded it; send the bundle's path "
                        "and load it in the other process")

    # --- Generating -------------------------------------------------------------------------------------------------

    def submit(self, prompt: Prompt, sampling_params: SamplingParams | None = None, *,
               add_special_tokens: bool = True, priority: int = 0, deadline: float | None = None,
               cache_salt: str = "", enable_prefix_caching: bool = True) -> Request:
        """Queues a prompt and returns at once.

        sampling_params: by default what the checkpoint recommends.
        priority: lower runs earlier, with scheduling_policy="priority".
        deadline: seconds from now after which the request fails with DeadlineExceededError.
        cache_salt: only requests of the same salt share prefixes.
        enable_prefix_caching: False: neither uses what others computed nor leaves it to them."""
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
        """The same as submit, by the name under which one looks for it: `for piece in llm.stream("Once")`, or
        `async for`."""
        return self.submit(prompt, sampling_params, **options)

    def generate(self, prompts: Prompt | Sequence[Prompt],
                 sampling_params: SamplingParams | Sequence[SamplingParams] | None = None, *,
                 use_tqdm: bool | Callable[..., Any] = True, lora_request: None = None,
                 priority: int | Sequence[int] | None = None, add_special_tokens: bool = True) -> list[RequestOutput]:
        """Continues one prompt or all of a list, in one batch, and waits for all of them; outputs come in the order of
        the prompts.

        sampling_params: for all prompts, or one for each; by default what the checkpoint recommends.
        use_tqdm: show a progress bar if the package tqdm is installed; a function is called in place of tqdm.
        lora_request: None, as bundles have no adapters.
        priority: lower runs earlier, for all prompts or one for each, with scheduling_policy="priority"."""
        # Before tqdm is imported: a thread of the parent may have held the import's lock when it forked.
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
                            if not running:  # not the queue, which these requests fill: it can never run
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
        """The assistant's answer to one conversation, or to each of a list. Messages and tools are read as serve-model
        reads them, so that both make the same prompt.

        sampling_params, use_tqdm, lora_request: as in generate().
        chat_template: None, as the template is the bundle's.
        add_generation_prompt: end the prompt where the assistant's answer begins.
        continue_final_message: go on with the last message instead; needs add_generation_prompt=False.
        chat_template_kwargs: more names for the template, such as enable_thinking."""
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
        """What the checkpoint recommends (generation_config.json), on top of SamplingParams' defaults; its
        max_new_tokens are max_tokens."""
        params = c.initialised(c.SamplingParams, c.lib.inlay_sampling_params_init)
        with self._engine as engine:
            c.check(c.lib.inlay_engine_default_sampling(engine, params))
        names = ("temperature", "top_p", "min_p", "repetition_penalty")
        # 0.7 as it was written, not as the double next to the float.
        values: dict[str, Any] = {name: float(f"{getattr(params, name):.7g}") for name in names}
        return SamplingParams(top_k=params.top_k, max_tokens=params.max_tokens, **values)

    # --- Text -------------------------------------------------------------------------------------------------------

    def get_tokenizer(self) -> Tokenizer:
        """The bundle's tokenizer, by the names of transformers: encode, decode, apply_chat_template."""
        return self._tokenizer

    def tokenize(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text, by the bundle's tokenizer."""
        return self._tokenizer.encode(text, add_special_tokens)

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        return self._tokenizer.decode(ids, skip_special_tokens=True)

    def apply_chat_template(self, messages: Sequence[Message], *, add_generation_prompt: bool = True,
                            continue_final_message: bool = False, tools: Sequence[Mapping[str, Any]] | None = None,
                            **variables: Any) -> str:
        """A conversation as the prompt that the model was trained on, as chat() makes it. The template writes special
        tokens itself: submit the text with add_special_tokens=False. `variables` are more names for the template, such
        as enable_thinking."""
        return self._tokenizer.render(messages, tools, add_generation_prompt, continue_final_message, variables)

    def _context(self) -> int:
        """Tokens that a sequence can have: the model's bound, or what the KV pages hold if that is less."""
        stats = self.stats()
        return min(stats.max_model_len, max(stats.kv_cache_tokens, 1))

    # --- State ------------------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """What the engine holds and has done so far."""
        stats = c.Stats()
        stats.struct_size = ctypes.sizeof(stats)
        with self._engine as engine:
            c.check(c.lib.inlay_engine_stats(engine, stats))
            return Stats(target=c.lib.inlay_engine_target(engine).decode(),
                         device=c.lib.inlay_engine_device(engine).decode(), **_fields(stats))

    def check_health(self) -> None:
        """Raises the reason if nothing runs any more: a device that stopped answering, a step that never ended."""
        with self._engine as engine:
            c.check(c.lib.inlay_engine_health(engine))


def _fields(structure: ctypes.Structure) -> dict[str, Any]:
    return {name: getattr(structure, name) for name, *_ in structure._fields_ if name != "struct_size"}


def _options_to_c(given: Mapping[str, Any]) -> Any:
    """The C structure of LLM()'s arguments."""
    options = c.initialised(c.EngineOptions, c.lib.inlay_engine_options_init)
    types = dict((name, kind) for name, kind, *_ in c.EngineOptions._fields_)
    for name, value in given.items():
        field = {"kv_cache_memory_bytes": "kv_cache_bytes"}.get(name, name)
        if field not in types or field == "struct_size":
            raise TypeError(f"LLM has no option {name!r}; see help(inlay.LLM)")
        kind = types[field]
        if field == "async_scheduling":
            value = -1 if value is None else int(value)
        if kind is ctypes.c_char_p:
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
    """Text, token ids and cache_salt. Where both of the first are given, the ids are the prompt and the text is shown,
    as in vLLM."""
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
                                   "and cache_salt if need be")
    return text, ids, salt or ""


def _truncated(ids: Sequence[int], params: SamplingParams, context: int) -> Sequence[int]:
    """The last tokens of a prompt, as truncate_prompt_tokens asks for them."""
    most = params.truncate_prompt_tokens
    if most is None:
        return ids
    return ids[-max(context - (params.max_tokens or 1), 1) if most < 0 else -most :]


def _one_for_each(given: Any, kind: type[Any], count: int, name: str) -> list[Any]:
    """`given` for each of `count` prompts, if it is not a list of them."""
    if given is None or isinstance(given, kind):
        return [given] * count
    each = list(given)
    if len(each) != count:
        raise InvalidArgumentError(f"found {len(each)} {name} for {count} prompts, expected one for each prompt or one "
                                   "for all")
    return each


def _path(path: str | os.PathLike[str], name: str) -> bytes:
    """A path as bytes; a zero would end it early."""
    try:
        data = os.fsencode(path)
    except UnicodeEncodeError:
        data = b"\0"
    if b"\0" in data:
        raise InvalidArgumentError(f"{name} is {path!r}, expected a path without zero characters and lone surrogates")
    return data
