"""Finds libinlay.so and declares its C interface (runtime/c/inlay.h) to ctypes.

The package uses ctypes so that installing it compiles nothing and adds no dependency. ctypes releases the GIL during a
call, so other Python threads run while a call waits."""

from __future__ import annotations

import ctypes
import os
import pathlib
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from ctypes import POINTER, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

from inlay._errors import (BY_STATUS, FailedPreconditionError, InlayError, InternalError, InvalidArgumentError,
                           NotFoundError)

ABI_VERSION = 1006
"""INLAY_ABI_VERSION of the inlay.h that the declarations below match."""

OK, END, TIMEOUT = 0, 100, 101


class EngineOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("target", c_char_p),
        ("threads", c_int32),
        ("enforce_eager", c_int32),
        ("gpu_memory_utilization", c_double),
        ("kv_cache_bytes", c_uint64),
        ("max_model_len", c_int32),
        ("max_num_seqs", c_int32),
        ("max_num_batched_tokens", c_int32),
        ("max_waiting", c_int32),
        ("enable_prefix_caching", c_int32),
        ("deterministic", c_int32),
        ("async_scheduling", c_int32),
        ("num_speculative_tokens", c_int32),
        ("scheduling_policy", c_char_p),
        ("preemption_mode", c_char_p),
        ("swap_space_bytes", c_uint64),
        ("watchdog_seconds", c_double),
        ("trace_path", c_char_p),
        ("speculative_model", c_char_p),
        ("weights_source", c_char_p),
        ("tensor_parallel_size", c_int32),
        ("pipeline_parallel_size", c_int32),
        ("distributed_timeout", c_double),
        ("distributed_backend", c_char_p),
        ("devices", POINTER(c_int32)),
        ("device_count", c_size_t),
    ]


class MemoryPlan(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("free_bytes", c_uint64),
        ("usable_bytes", c_uint64),
        ("weights_bytes", c_uint64),
        ("workspace_bytes", c_uint64),
        ("buffers_bytes", c_uint64),
        ("kv_cache_bytes", c_uint64),
        ("bytes_per_page", c_uint64),
        ("page_size", c_int32),
        ("total_pages", c_int32),
        ("kv_cache_tokens", c_int64),
        ("max_model_len", c_int32),
        ("max_num_seqs", c_int32),
        ("max_num_batched_tokens", c_int32),
        ("full_length_sequences", c_int64),
        ("draft_bytes", c_uint64),
        ("ranks", c_int32),
    ]


class Stats(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("load_seconds", c_double),
        ("weights_seconds", c_double),
        ("weights_bytes", c_uint64),
        ("workspace_bytes", c_uint64),
        ("kv_cache_bytes", c_uint64),
        ("kv_cache_tokens", c_int64),
        ("max_model_len", c_int32),
        ("max_num_seqs", c_int32),
        ("max_num_batched_tokens", c_int32),
        ("running", c_int32),
        ("waiting", c_int32),
        ("total_pages", c_int32),
        ("free_pages", c_int32),
        ("cached_pages", c_int32),
        ("steps", c_int64),
        ("prompt_tokens", c_int64),
        ("generation_tokens", c_int64),
        ("preemptions", c_int64),
        ("draft_tokens", c_int64),
        ("accepted_draft_tokens", c_int64),
        ("prefix_cache_queries", c_int64),
        ("prefix_cache_hits", c_int64),
        ("swapped_out_pages", c_int64),
        ("swapped_in_pages", c_int64),
        ("finished_stop", c_int64),
        ("finished_length", c_int64),
        ("finished_cancelled", c_int64),
        ("finished_error", c_int64),
    ]


class LogitBias(ctypes.Structure):
    _fields_ = [("id", c_int32), ("bias", c_float)]


class SamplingParams(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("n", c_int32),
        ("best_of", c_int32),
        ("temperature", c_float),
        ("top_k", c_int32),
        ("top_p", c_float),
        ("min_p", c_float),
        ("repetition_penalty", c_float),
        ("presence_penalty", c_float),
        ("frequency_penalty", c_float),
        ("has_seed", c_int32),
        ("seed", c_uint32),
        ("max_tokens", c_int32),
        ("min_tokens", c_int32),
        ("ignore_eos", c_int32),
        ("logprobs", c_int32),
        ("prompt_logprobs", c_int32),
        ("stop_token_ids", POINTER(c_int32)),
        ("stop_token_id_count", c_size_t),
        ("stop", POINTER(c_char_p)),
        ("stop_count", c_size_t),
        ("logit_bias", POINTER(LogitBias)),
        ("logit_bias_count", c_size_t),
        ("guided_json", c_char_p),
        ("guided_regex", c_char_p),
        ("guided_grammar", c_char_p),
        ("guided_choice", POINTER(c_char_p)),
        ("guided_choice_count", c_size_t),
        ("include_stop_str_in_output", c_int32),
        ("skip_special_tokens", c_int32),
        ("allowed_token_ids", POINTER(c_int32)),
        ("allowed_token_id_count", c_size_t),
        ("bad_words", POINTER(c_char_p)),
        ("bad_word_count", c_size_t),
    ]


Callback = ctypes.CFUNCTYPE(None, c_void_p)


class RequestParams(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("prompt", c_char_p),
        ("prompt_size", c_size_t),
        ("prompt_token_ids", POINTER(c_int32)),
        ("prompt_token_id_count", c_size_t),
        ("add_special_tokens", c_int32),
        ("sampling", POINTER(SamplingParams)),
        ("priority", c_int32),
        ("enable_prefix_caching", c_int32),
        ("cache_salt", c_char_p),
        ("deadline_seconds", c_double),
        ("on_progress", Callback),
        ("user_data", c_void_p),
    ]


class TokenLogprob(ctypes.Structure):
    _fields_ = [("id", c_int32), ("logprob", c_float)]


class Piece(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("index", c_int32),
        ("token_id", c_int32),
        ("logprob", c_float),
        ("text", c_void_p),
        ("text_size", c_size_t),
        ("top", POINTER(TokenLogprob)),
        ("top_count", c_size_t),
        ("rank", c_int32),
    ]


class RequestStats(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("scheduled_seconds", c_double),
        ("first_token_seconds", c_double),
        ("finished_seconds", c_double),
        ("cached_prompt_tokens", c_int32),
    ]


_Size = POINTER(c_size_t)
# Function name: result type, argument types. Handles are void pointers.
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "inlay_abi_version": (c_int32, []),
    "inlay_version": (c_char_p, []),
    "inlay_status_name": (c_char_p, [c_int32]),
    "inlay_last_error": (c_char_p, []),
    "inlay_check_abi": (c_int32, [c_int32]),
    "inlay_engine_options_init": (c_int32, [POINTER(EngineOptions), c_size_t, c_int32]),
    "inlay_engine_load": (c_int32, [c_char_p, POINTER(EngineOptions), POINTER(c_void_p)]),
    "inlay_engine_plan": (c_int32, [c_char_p, POINTER(EngineOptions), POINTER(MemoryPlan), POINTER(c_void_p)]),
    "inlay_engine_shutdown": (c_int32, [c_void_p, c_double]),
    "inlay_engine_health": (c_int32, [c_void_p]),
    "inlay_engine_free": (None, [c_void_p]),
    "inlay_engine_stats": (c_int32, [c_void_p, POINTER(Stats)]),
    "inlay_engine_target": (c_char_p, [c_void_p]),
    "inlay_engine_device": (c_char_p, [c_void_p]),
    "inlay_free": (None, [c_void_p]),
    "inlay_tokenize": (c_int32, [c_void_p, c_char_p, c_size_t, c_int32, POINTER(POINTER(c_int32)), _Size]),
    "inlay_detokenize": (c_int32, [c_void_p, POINTER(c_int32), c_size_t, POINTER(c_void_p), _Size]),
    "inlay_decode": (c_int32, [c_void_p, POINTER(c_int32), c_size_t, c_int32, POINTER(c_void_p), _Size]),
    "inlay_render_chat": (c_int32, [c_void_p, c_char_p, c_size_t, POINTER(c_void_p), _Size]),
    "inlay_apply_chat_template": (c_int32, [c_void_p, c_char_p, c_char_p, c_int32, POINTER(c_void_p), _Size]),
    "inlay_sampling_params_init": (c_int32, [POINTER(SamplingParams), c_size_t, c_int32]),
    "inlay_engine_default_sampling": (c_int32, [c_void_p, POINTER(SamplingParams)]),
    "inlay_request_params_init": (c_int32, [POINTER(RequestParams), c_size_t, c_int32]),
    "inlay_submit": (c_int32, [c_void_p, POINTER(RequestParams), POINTER(c_void_p)]),
    "inlay_request_free": (None, [c_void_p]),
    "inlay_request_cancel": (None, [c_void_p]),
    "inlay_request_next": (c_int32, [c_void_p, c_double, POINTER(Piece)]),
    "inlay_request_finish_reason": (c_int32, [c_void_p, c_int32]),
    "inlay_request_prompt_token_ids": (POINTER(c_int32), [c_void_p, _Size]),
    "inlay_request_prompt_logprob": (c_int32, [c_void_p, c_size_t, POINTER(TokenLogprob),
                                               POINTER(POINTER(TokenLogprob)), _Size]),
    "inlay_request_stop_reason": (c_int32, [c_void_p, c_int32, POINTER(c_int32), POINTER(c_char_p)]),
    "inlay_request_get_stats": (c_int32, [c_void_p, POINTER(RequestStats)]),
    "inlay_request_prompt_rank": (c_int32, [c_void_p, c_size_t, POINTER(c_int32)]),
    "inlay_queue_create": (c_int32, [POINTER(c_void_p)]),
    "inlay_queue_free": (None, [c_void_p]),
    "inlay_request_report": (c_int32, [c_void_p, c_void_p, c_uint64]),
    "inlay_queue_push": (c_int32, [c_void_p, c_uint64]),
    "inlay_queue_wait": (c_int32, [c_void_p, c_double, POINTER(c_uint64), c_size_t, _Size]),
}

_NAME = f"libinlay.so.{ABI_VERSION // 1000}"


def _places() -> Iterator[tuple[str, str]]:
    """The paths where the library may be, each with its description for error messages."""
    package = pathlib.Path(__file__).resolve().parent
    yield str(package / _NAME), "beside the package"
    root = package.parent.parent
    if (root / "runtime" / "c" / "inlay.h").exists():
        yield str(root / "build" / "lib" / _NAME), "the build tree"
    # `cmake --install` puts the package into PREFIX/lib/python3/site-packages/inlay. PREFIX may be a virtual
    # environment.
    for prefix in dict.fromkeys((*map(str, package.parents[3:4]), sys.prefix)):
        for directory in ("lib", f"lib/{sysconfig.get_config_var('MULTIARCH')}", "lib64"):
            yield str(pathlib.Path(prefix) / directory / _NAME), f"the prefix {prefix}"


def _open() -> ctypes.CDLL:
    given = os.environ.get("INLAY_LIBRARY")
    if given:
        try:
            return ctypes.CDLL(given)
        except OSError as error:
            raise NotFoundError(f"INLAY_LIBRARY={given}: cannot be loaded ({error}); set it to the path of "
                                f"{_NAME}, such as build/lib/{_NAME}") from None
    for path, place in _places():
        if os.path.exists(path):
            try:
                return ctypes.CDLL(path)
            except OSError as error:
                raise NotFoundError(f"{path} ({place}): cannot be loaded ({error})") from None
    try:
        return ctypes.CDLL(_NAME)  # LD_LIBRARY_PATH and the system's directories
    except OSError:
        places = ", ".join(dict.fromkeys(place for _, place in _places()))
        raise NotFoundError(f"{_NAME} was not found in {places} or the system's directories; build it (ninja -C build "
                            f"inlay_c) and set INLAY_LIBRARY to its path, or install it with cmake --install build "
                            f"--prefix {sys.prefix}") from None


def load() -> ctypes.CDLL:
    """The library with its functions declared. Raises FailedPreconditionError if its version does not match."""
    opened = _open()

    def declare(name: str) -> None:
        function = getattr(opened, name)
        function.restype, function.argtypes = _FUNCTIONS[name]

    try:
        declare("inlay_check_abi")
        declare("inlay_last_error")
    except AttributeError as error:
        raise FailedPreconditionError(f"{opened._name}: is not libinlay.so ({error}); set INLAY_LIBRARY to the path of "
                                      f"{_NAME}") from None
    if opened.inlay_check_abi(ABI_VERSION) != OK:
        raise FailedPreconditionError(f"{opened._name}: {opened.inlay_last_error().decode()} (the program is the Python "
                                      f"package in {pathlib.Path(__file__).parent})")
    for name in _FUNCTIONS:
        declare(name)
    return opened


lib = load()


def error_of(status: int) -> InlayError:
    """The exception for the call of this thread that just failed with `status`."""
    name = lib.inlay_status_name(status).decode()
    return BY_STATUS.get(name, InternalError)(lib.inlay_last_error().decode(errors="replace"))


def check(status: int) -> None:
    """Raises the matching exception if a call failed."""
    if status != OK:
        raise error_of(status)


def initialised(structure: type[Any], init: Any) -> Any:
    """A new structure with its default values."""
    result = structure()
    check(init(result, ctypes.sizeof(structure), ABI_VERSION))
    return result


def take_text(text: c_void_p, size: c_size_t) -> str:
    """Converts a text that a C call returned, and frees it."""
    try:
        return ctypes.string_at(text.value or 0, size.value).decode(errors="replace")
    finally:
        lib.inlay_free(text)


def int32(value: int, name: str) -> int:
    """Checks that `value` fits into 32 bits, because ctypes would cut off the upper bits. `name` is used in errors."""
    if not isinstance(value, int):
        raise InvalidArgumentError(f"{name} is {value!r}, expected an integer")
    if not -(1 << 31) <= value < 1 << 31:
        raise InvalidArgumentError(f"{name} is {value}, expected a 32-bit integer")
    return value


def int32_array(values: Sequence[int], name: str) -> Any:
    """A C array of ints."""
    return (c_int32 * len(values))(*(int32(value, name) for value in values))
