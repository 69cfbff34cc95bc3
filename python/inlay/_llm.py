"""A compiled model, ready to generate."""

from __future__ import annotations

import collections
import ctypes
import json
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, cast

from inlay import _library as c
from inlay._errors import InlayError, InvalidArgumentError, ResourceExhaustedError
from inlay._outputs import MemoryPlan, RequestOutput, Stats
from inlay._request import EngineHandle, Request, RequestHandle
from inlay._sampling_params import SamplingParams

Prompt = str | Sequence[int] | Mapping[str, Any]
"""A text, token ids, or {"prompt": TEXT} or {"prompt_token_ids": IDS} as vLLM has them."""
Message = Mapping[str, Any]
"""{"role": "user", "content": "Hi"}, as OpenAI's API has it."""


class LLM:
    """A compiled model, ready to generate.

        with LLM("llama.inlay") as llm:
            for output in llm.generate(["Once upon a time", "In 1969"], SamplingParams(max_tokens=64)):
                print(output.prompt, output.outputs[0].text)

    All requests of an engine run in one batch, whichever thread or task they come from; every method may be called from
    any thread. Errors are InlayError and its subclasses."""

    def __init__(self, bundle: str | os.PathLike[str], *, target: str = "", threads: int = 0,
                 enforce_eager: bool = False, gpu_memory_utilization: float = 0.9, kv_cache_memory_bytes: int = 0,
                 max_model_len: int = 0, max_num_seqs: int = 0, max_num_batched_tokens: int = 0, max_waiting: int = 0,
                 enable_prefix_caching: bool = True, deterministic: bool = False,
                 async_scheduling: bool | None = None, num_speculative_tokens: int = 0, scheduling_policy: str = "fcfs",
                 preemption_mode: str = "recompute", swap_space_bytes: int = 4 << 30, watchdog_seconds: float = 0,
                 trace_path: str | os.PathLike[str] = "", speculative_model: str | os.PathLike[str] = "",
                 weights_source: str | os.PathLike[str] = ""):
        """Loads a bundle that compile-model wrote.

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
        weights_source: of a bundle with linked weights: where a copy of the checkpoint is, if not where it was."""
        options = {name: value for name, value in locals().items() if name not in ("self", "bundle")}
        pointer = ctypes.c_void_p()
        c.check(c.lib.inlay_engine_load(os.fsencode(bundle), _options_to_c(options), ctypes.byref(pointer)))
        self._engine = EngineHandle(pointer)

    @staticmethod
    def plan(bundle: str | os.PathLike[str], **options: Any) -> MemoryPlan:
        """What the bundle needs and what fits with these options of LLM(), found without allocating any of it."""
        plan, text = c.MemoryPlan(), ctypes.c_void_p()
        plan.struct_size = ctypes.sizeof(plan)
        c.check(c.lib.inlay_engine_plan(os.fsencode(bundle), _options_to_c(options), plan, ctypes.byref(text)))
        explanation = _take_text(text, ctypes.c_size_t(len(ctypes.string_at(text.value or 0))))
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
        params = c.initialised(c.RequestParams, c.lib.inlay_request_params_init)
        text, ids = _text_or_ids(prompt)
        if text is not None:
            data = text.encode(errors="replace")
            params.prompt, params.prompt_size = data, len(data)
        if ids is not None:
            params.prompt_token_ids = c.int32_array(ids, "the prompt's token id")
            params.prompt_token_id_count = len(ids)
        params.add_special_tokens = add_special_tokens
        params.priority = c.int32(priority, "priority")
        params.enable_prefix_caching = enable_prefix_caching
        params.cache_salt = cache_salt.encode(errors="replace")
        if deadline is not None:
            if not deadline > 0:
                raise InvalidArgumentError(f"deadline is {deadline}, expected more than 0 seconds")
            params.deadline_seconds = deadline
        given = self.get_default_sampling_params() if sampling_params is None else sampling_params
        sampling = _sampling_to_c(given)
        params.sampling = ctypes.pointer(sampling)
        pointer = ctypes.c_void_p()
        with self._engine as engine:
            c.check(c.lib.inlay_submit(engine, params, ctypes.byref(pointer)))
            handle = RequestHandle(self._engine, pointer)
        return Request(handle, text, max(1, given.n), sampling.logprobs >= 0, sampling.prompt_logprobs >= 0)

    def stream(self, prompt: Prompt, sampling_params: SamplingParams | None = None, **options: Any) -> Request:
        """The same as submit, by the name under which one looks for it: `for piece in llm.stream("Once")`, or
        `async for`."""
        return self.submit(prompt, sampling_params, **options)

    def generate(self, prompts: Prompt | Sequence[Prompt],
                 sampling_params: SamplingParams | Sequence[SamplingParams] | None = None, *,
                 add_special_tokens: bool = True) -> list[RequestOutput]:
        """Continues one prompt or all of a list, in one batch, and waits for all of them; outputs come in the order of
        the prompts. sampling_params: for all prompts, or one for each."""
        batch: list[Prompt] = [cast(Prompt, prompts)] if _is_one(prompts) else list(cast(Sequence[Prompt], prompts))
        each = ([sampling_params] * len(batch) if sampling_params is None or isinstance(sampling_params, SamplingParams)
                else list(sampling_params))
        if len(each) != len(batch):
            raise InvalidArgumentError(f"found {len(each)} sampling_params for {len(batch)} prompts, expected one for "
                                       "each prompt or one for all")
        outputs: list[RequestOutput] = []
        running: collections.deque[Request] = collections.deque()
        try:
            for prompt, params in zip(batch, each):
                while True:
                    try:
                        running.append(self.submit(prompt, params, add_special_tokens=add_special_tokens))
                        break
                    except ResourceExhaustedError:
                        if not running:  # not the queue, which these requests fill: it can never run
                            raise
                        outputs.append(running.popleft().result())
            while running:
                outputs.append(running.popleft().result())
        finally:
            for request in running:
                request.cancel()
        return outputs

    def chat(self, messages: Sequence[Message] | Sequence[Sequence[Message]],
             sampling_params: SamplingParams | Sequence[SamplingParams] | None = None, *,
             tools: Sequence[Mapping[str, Any]] | None = None,
             chat_template_kwargs: Mapping[str, Any] | None = None) -> list[RequestOutput]:
        """The assistant's answer to one conversation, or to each of a list."""
        conversations: Any = [messages] if not messages or isinstance(messages[0], Mapping) else messages
        prompts = [self.apply_chat_template(one, tools=tools, **(chat_template_kwargs or {})) for one in conversations]
        return self.generate(prompts, sampling_params, add_special_tokens=False)

    def get_default_sampling_params(self) -> SamplingParams:
        """What the checkpoint recommends (generation_config.json), on top of SamplingParams' defaults."""
        params = c.initialised(c.SamplingParams, c.lib.inlay_sampling_params_init)
        with self._engine as engine:
            c.check(c.lib.inlay_engine_default_sampling(engine, params))
        names = ("temperature", "top_p", "min_p", "repetition_penalty")
        # 0.7 as it was written, not as the double next to the float.
        values: dict[str, Any] = {name: float(f"{getattr(params, name):.7g}") for name in names}
        return SamplingParams(top_k=params.top_k, **values)

    # --- Text -------------------------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text, by the bundle's tokenizer."""
        data = text.encode(errors="replace")
        ids, count = ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t()
        with self._engine as engine:
            c.check(c.lib.inlay_tokenize(engine, data, len(data), add_special_tokens, ctypes.byref(ids),
                                         ctypes.byref(count)))
        try:
            return ids[: count.value]
        finally:
            c.lib.inlay_free(ctypes.cast(ids, ctypes.c_void_p))

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        text, size = ctypes.c_void_p(), ctypes.c_size_t()
        with self._engine as engine:
            c.check(c.lib.inlay_detokenize(engine, c.int32_array(ids, "a token id"), len(ids), ctypes.byref(text),
                                           ctypes.byref(size)))
        return _take_text(text, size)

    def apply_chat_template(self, messages: Sequence[Message], *, add_generation_prompt: bool = True,
                            tools: Sequence[Mapping[str, Any]] | None = None, **variables: Any) -> str:
        """A conversation as the prompt that the model was trained on. The template writes special tokens itself: submit
        the text with add_special_tokens=False. `variables` are more names for the template, such as
        enable_thinking."""
        if tools is not None:
            variables["tools"] = list(tools)
        text, size = ctypes.c_void_p(), ctypes.c_size_t()
        with self._engine as engine:
            c.check(c.lib.inlay_apply_chat_template(engine, json.dumps(list(messages)).encode(),
                                                    json.dumps(variables).encode() if variables else None,
                                                    add_generation_prompt, ctypes.byref(text), ctypes.byref(size)))
        return _take_text(text, size)

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
            value = os.fsencode(value) or None
        elif kind is ctypes.c_int32:
            value = c.int32(value, name)
        elif kind is ctypes.c_uint64 and not 0 <= value < 1 << 64:
            raise InvalidArgumentError(f"{name} is {value}, expected 0 or more")
        setattr(options, field, value)
    return options


def _is_one(prompts: Any) -> bool:
    return isinstance(prompts, (str, Mapping)) or (len(prompts) > 0 and isinstance(prompts[0], int))


def _text_or_ids(prompt: Prompt) -> tuple[str | None, Sequence[int] | None]:
    if isinstance(prompt, Mapping):
        text, ids = prompt.get("prompt"), prompt.get("prompt_token_ids")
        if (text is None) == (ids is None):
            raise InvalidArgumentError(f"a prompt with the keys {list(prompt)}, expected either prompt or "
                                       "prompt_token_ids")
        return text, ids
    if isinstance(prompt, str):
        return prompt, None
    return None, prompt


def _sampling_to_c(params: SamplingParams) -> Any:
    """The C structure; ctypes keeps what its pointers point to alive with it."""
    result = c.initialised(c.SamplingParams, c.lib.inlay_sampling_params_init)
    for field in ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"):
        setattr(result, field, getattr(params, field))
    for field in ("n", "best_of", "top_k", "max_tokens", "min_tokens"):
        setattr(result, field, c.int32(getattr(params, field), field))
    result.ignore_eos = params.ignore_eos
    for field in ("logprobs", "prompt_logprobs"):
        count = getattr(params, field)
        setattr(result, field, -1 if count is None else c.int32(count, field))
    if params.seed is not None:
        if not 0 <= params.seed < 1 << 32:
            raise InvalidArgumentError(f"seed is {params.seed}, expected an integer in [0, 2**32)")
        result.has_seed, result.seed = 1, params.seed
    if params.stop_token_ids:
        result.stop_token_ids = c.int32_array(params.stop_token_ids, "a stop token id")
        result.stop_token_id_count = len(params.stop_token_ids)
    if params.stop:
        texts = [params.stop] if isinstance(params.stop, str) else list(params.stop)
        result.stop, result.stop_count = _texts_to_c(texts)
    if params.logit_bias:
        biases = [c.LogitBias(c.int32(id, "a token id of logit_bias"), bias) for id, bias in params.logit_bias.items()]
        result.logit_bias, result.logit_bias_count = (c.LogitBias * len(biases))(*biases), len(biases)
    if params.guided_json is not None:
        schema = params.guided_json if isinstance(params.guided_json, str) else json.dumps(params.guided_json)
        result.guided_json = schema.encode(errors="replace")
    if params.guided_regex is not None:
        result.guided_regex = params.guided_regex.encode(errors="replace")
    if params.guided_grammar is not None:
        result.guided_grammar = params.guided_grammar.encode(errors="replace")
    if params.guided_choice is not None:
        if not params.guided_choice:
            raise InvalidArgumentError("guided_choice is empty, expected texts to choose from; give some, or None")
        result.guided_choice, result.guided_choice_count = _texts_to_c(params.guided_choice)
    return result


def _texts_to_c(texts: Sequence[str]) -> tuple[Any, int]:
    return (ctypes.c_char_p * len(texts))(*(text.encode(errors="replace") for text in texts)), len(texts)


def _take_text(text: ctypes.c_void_p, size: ctypes.c_size_t) -> str:
    try:
        return ctypes.string_at(text.value or 0, size.value).decode(errors="replace")
    finally:
        c.lib.inlay_free(text)
