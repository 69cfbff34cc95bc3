"""The progress bar of LLM.generate, its option use_tqdm."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any, cast


@contextlib.contextmanager
def progress_bar(use_tqdm: bool | Callable[..., Any], total: int) -> Iterator[Callable[[int], object]]:
    """Yields a function to call with the number of newly finished prompts. It shows a bar if `use_tqdm` is
    True and tqdm is installed, or if it is a function like tqdm.tqdm."""
    make = use_tqdm if callable(use_tqdm) else _find_tqdm() if use_tqdm else None
    if make is None:
        yield lambda count: None
        return
    bar = make(total=total, desc="Processed prompts", dynamic_ncols=True)
    try:
        yield bar.update
    finally:
        bar.close()


def _find_tqdm() -> Callable[..., Any] | None:
    try:
        found = importlib.import_module("tqdm.auto")
    except ImportError:
        return None
    return cast(Callable[..., Any], found.tqdm)
