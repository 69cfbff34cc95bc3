"""Converts SamplingParams to the C interface's structure."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

from inlay import _library as c
from inlay._errors import InvalidArgumentError
from inlay._sampling_params import SamplingParams
from inlay._text import c_string, to_json

def sampling_to_c(params: SamplingParams) -> Any:
    """The C structure. ctypes keeps the data of its pointers alive with it. If `max_tokens` is None, the field keeps
    its default, and the caller sets it from the prompt's length."""
    params.check()
    result = c.initialised(c.SamplingParams, c.lib.inlay_sampling_params_init)
    for field in ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"):
        value = getattr(params, field)
        if not isinstance(value, (int, float)):
            raise InvalidArgumentError(f"{field} is {value!r}, expected a number")
        setattr(result, field, value)
    for field in ("n", "min_tokens"):
        setattr(result, field, c.int32(getattr(params, field), field))
    result.best_of = c.int32(params.best_of or 0, "best_of")
    result.top_k = c.int32(max(params.top_k, 0), "top_k")
    if params.max_tokens is not None:
        result.max_tokens = c.int32(params.max_tokens, "max_tokens")
    for field in ("ignore_eos", "include_stop_str_in_output", "skip_special_tokens"):
        setattr(result, field, bool(getattr(params, field)))
    for field in ("logprobs", "prompt_logprobs"):
        count = getattr(params, field)
        setattr(result, field, -1 if count is None else c.int32(count, field))
    if params.seed is not None and params.seed != -1:
        result.has_seed, result.seed = 1, _seed(params.seed)
    for field in ("stop_token_ids", "allowed_token_ids"):
        ids = getattr(params, field)
        if ids:
            setattr(result, field, c.int32_array(ids, f"a token id of {field}"))
            setattr(result, f"{field.removesuffix('s')}_count", len(ids))
    if params.stop:
        texts = [params.stop] if isinstance(params.stop, str) else list(params.stop)
        result.stop, result.stop_count = _texts_to_c(texts, "stop")
    if params.bad_words:
        if isinstance(params.bad_words, str):
            raise InvalidArgumentError(f"bad_words is {params.bad_words!r}, expected a list of texts")
        result.bad_words, result.bad_word_count = _texts_to_c(params.bad_words, "bad_words")
    if params.logit_bias:
        biases = [c.LogitBias(c.int32(int(id), "a token id of logit_bias"), bias)
                  for id, bias in params.logit_bias.items()]
        result.logit_bias, result.logit_bias_count = (c.LogitBias * len(biases))(*biases), len(biases)
    _form_to_c(params, result)
    return result


def _form_to_c(params: SamplingParams, result: Any) -> None:
    forms = {name: getattr(params, f"guided_{name}") for name in ("json", "regex", "grammar", "choice")}
    if params.structured_outputs is not None:
        if given := [f"guided_{name}" for name, form in forms.items() if form is not None]:
            raise InvalidArgumentError(f"structured_outputs is given beside {given[0]}; remove one of them")
        forms = {name: getattr(params.structured_outputs, name) for name in forms}
        if params.structured_outputs.json_object:
            forms["json"] = {"type": "object"}
    if forms["json"] is not None:
        schema = forms["json"]
        result.guided_json = (to_json(schema, "the JSON Schema") if isinstance(schema, (Mapping, bool))
                              else c_string(schema, "the JSON Schema"))
    for name in ("regex", "grammar"):
        if forms[name] is not None:
            setattr(result, f"guided_{name}", c_string(forms[name], f"the {name}"))
    if forms["choice"] is not None:
        if isinstance(forms["choice"], str) or not forms["choice"]:
            raise InvalidArgumentError(f"the choice is {forms['choice']!r}, expected a list of texts to choose from")
        result.guided_choice, result.guided_choice_count = _texts_to_c(forms["choice"], "choice")


def _seed(seed: int) -> int:
    """The seed reduced to 32 bits, in the same way as in serve-model."""
    if not -(1 << 63) <= seed < 1 << 63:
        raise InvalidArgumentError(f"seed is {seed}, expected a 64-bit integer")
    bits = seed & 0xFFFF_FFFF_FFFF_FFFF
    return (bits ^ (bits >> 32)) & 0xFFFF_FFFF


def _texts_to_c(texts: Sequence[str], name: str) -> tuple[Any, int]:
    encoded = [c_string(text, f"{name}[{index}]") for index, text in enumerate(texts)]
    return (ctypes.c_char_p * len(texts))(*encoded), len(texts)
