"""Options of vLLM's LLM that Inlay does not support."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay._errors import UnimplementedError

_COMPILED = "it is fixed when the model is compiled, see compile-model --help"

# For each option, the values that are accepted because they change nothing, and why others are rejected.
_OPTIONS: dict[str, tuple[tuple[Any, ...], str]] = {
    "tokenizer": ((None,), "the bundle's tokenizer is used"),
    "tokenizer_mode": (("auto",), "the bundle's tokenizer is used"),
    "skip_tokenizer_init": ((False,), "the bundle's tokenizer is used; SamplingParams.detokenize=False returns no text"),
    "trust_remote_code": ((False, True), ""),  # a bundle has no Python code
    "dtype": (("auto",), _COMPILED),
    "quantization": ((None,), _COMPILED),
    "kv_cache_dtype": (("auto",), _COMPILED),
    "hf_overrides": ((None, {}), _COMPILED),
    "revision": ((None,), "a bundle has one revision"),
    "tokenizer_revision": ((None,), "a bundle has one revision"),
    "load_format": (("auto",), "bundles have their own format"),
    "data_parallel_size": ((1,), "start a process for each device"),
    "seed": ((None, 0), "each request has its own seed, SamplingParams.seed"),
    "swap_space": ((0, 4), "use swap_space_bytes"),
    "cpu_offload_gb": ((0,), "weights are always on the device"),
    "enable_chunked_prefill": ((None, True), "prompts are always processed in parts"),
    "enable_lora": ((False,), "bundles have no adapters"),
    "disable_log_stats": ((False, True), ""),  # nothing is logged; stats() has the numbers
    "disable_custom_all_reduce": ((False, True), ""),
}


def check_vllm_options(given: Mapping[str, Any]) -> None:
    """Raises TypeError for an option that vLLM does not have either, and UnimplementedError for a value that is not
    supported."""
    for name, value in given.items():
        if name not in _OPTIONS:
            raise TypeError(f"LLM has no option {name!r}; see help(inlay.LLM)")
        values, why = _OPTIONS[name]
        if value not in values:
            raise UnimplementedError(f"LLM({name}={value!r}) is not supported: {why}; remove it")
