"""Checks that an engine is used only in the process that loaded it: a forked child has none of its threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from inlay._errors import FailedPreconditionError


class Owner:
    """The process that created an object of the C interface."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def is_here(self) -> bool:
        """Whether the current process is that process and not a forked child."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Raises in a forked child. Call it before taking a lock: the child has no thread that releases the lock."""
        if not self.is_here():
            raise FailedPreconditionError(
                f"the LLM was loaded in process {self._pid} and cannot be used in its forked child {os.getpid()}, which "
                "has none of the engine's threads; load the LLM in the child, or start processes with "
                "multiprocessing.get_context('spawn')")

    def free(self, function: Callable[[Any], None], pointer: Any) -> None:
        """Calls `function(pointer)`, except in a forked child, where it could wait forever."""
        if self.is_here():
            function(pointer)
