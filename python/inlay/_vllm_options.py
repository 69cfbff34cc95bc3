"""Options of vLLM's LLM that Inlay does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay._errors import UnimplementedError

_COMPILED = "it is decided when the model is compiled, see compile-model --help"

# Values that change nothing, and why others are refused.
_OPTIONS: dict[str, tuple[tuple[Any, ...], str]] = {
    "tokenizer": ((None,), "the tokenizer is the bundle's"),
    "tokenizer_mode": (("auto",), "the tokenizer is the bundle's"),
    "skip_tokenizer_init": ((False,), "the tokenizer is the bundle's; SamplingParams.detokenize=False leaves texts out"),
    "trust_remote_code": ((False, True), ""),  # a bundle has no Python code
    "dtype": (("auto",), _COMPILED),
    "quantization": ((None,), _COMPILED),
    "kv_cache_dtype": (("auto",), _COMPILED),
    "hf_overrides": ((None, {}), _COMPILED),
    "revision": ((None,), "a bundle has one revision"),
    "tokenizer_revision": ((None,), "a bundle has one revision"),
    "load_format": (("auto",), "a bundle has its own form"),
    "tensor_parallel_size": ((1,), "a bundle runs on one device"),
    "pipeline_parallel_size": ((1,), "a bundle runs on one device"),
    "data_parallel_size": ((1,), "start a process for each device"),
    "seed": ((None, 0), "requests have a seed of their own, SamplingParams.seed"),
    "swap_space": ((0, 4), "swap_space_bytes says how many bytes"),
    "cpu_offload_gb": ((0,), "weights stay on the device"),
    "enable_chunked_prefill": ((None, True), "prompts are always processed in parts"),
    "enable_lora": ((False,), "bundles have no adapters"),
    "disable_log_stats": ((False, True), ""),  # nothing is logged; stats() has the numbers
    "disable_custom_all_reduce": ((False, True), ""),
}


def check_vllm_options(given: Mapping[str, Any]) -> None:
    """TypeError for an option that neither has; UnimplementedError for one whose value means something in vLLM."""
    for name, value in given.items():
        if name not in _OPTIONS:
            raise TypeError(f"LLM has no option {name!r}; see help(inlay.LLM)")
        values, why = _OPTIONS[name]
        if value not in values:
            raise UnimplementedError(f"LLM({name}={value!r}) is not supported: {why}; leave it out")
