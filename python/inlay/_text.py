"""Converts Python strings to UTF-8 for the C interface. Errors name the text and the position."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from inlay._errors import InvalidArgumentError


def utf8(text: str, name: str) -> bytes:
    """`text` in UTF-8. Lone surrogates are rejected, because UTF-8 cannot represent them. `name` is used in errors."""
    if not isinstance(text, str):
        raise InvalidArgumentError(f"{name} is of type {type(text).__name__}, expected a string")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(
            f"{name} holds the lone surrogate U+{ord(text[error.start]):04X} at position {error.start}, expected "
            "Unicode text; decode its bytes with errors='replace', or JSON escapes in pairs") from None


def c_string(text: str, name: str) -> bytes:
    """The same for a text that C reads up to the first zero byte: zero characters are rejected."""
    data = utf8(text, name)
    if b"\0" in data:
        raise InvalidArgumentError(f"{name} holds a zero character at position {text.index(chr(0))}, expected a text "
                                   "without zero characters")
    return data


def to_json(value: Any, name: str) -> bytes:
    """`value` as JSON in UTF-8. An error names the part that cannot be written as JSON."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain).encode()
    except UnicodeEncodeError:
        _check_texts(value, name)
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{name} cannot be written as JSON: {error}; expected dictionaries, lists, strings, "
                                   "finite numbers, booleans and None") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return list(value)
    raise TypeError(f"found an object of type {type(value).__name__}")


def _check_texts(value: Any, path: str) -> None:
    if isinstance(value, str):
        utf8(value, path)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            _check_texts(key, f"a key of {path}")
            _check_texts(one, f"{path}.{key}")
    elif isinstance(value, Sequence):
        for index, one in enumerate(value):
            _check_texts(one, f"{path}[{index}]")
