"""Engines belong to the process that loaded them: a forked child has their memory and none of their threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from inlay._errors import FailedPreconditionError


class Owner:
    """The process that made an object of the C interface."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def is_here(self) -> bool:
        """Whether this is that process, and not a forked child."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Raises in a forked child. Called before any lock is taken: the child has no thread that releases it."""
        if not self.is_here():
            raise FailedPreconditionError(
                f"the LLM was loaded in process {self._pid} and cannot be used in its forked child {os.getpid()}, which "
                "has none of the engine's threads; load the LLM in the child, or start processes with "
                "multiprocessing.get_context('spawn')")

    def free(self, function: Callable[[Any], None], pointer: Any) -> None:
        """Calls `function(pointer)`, but not in a forked child, where it could wait for ever."""
        if self.is_here():
            function(pointer)
