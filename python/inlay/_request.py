"""Requests on their way: tokens as an iterator, as an asynchronous iterator, or all at once."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from types import TracebackType

from inlay import _library as c
from inlay._errors import DeadlineExceededError, InlayError
from inlay._outputs import CompletionOutput, Logprob, Piece, RequestOutput

FINISH_REASONS = (None, "stop", "length", "cancelled", "error")

# Waits are cut into pieces, between which Python handles signals such as Ctrl-C.
_SLICE_SECONDS = 0.1

_ids = itertools.count()


class EngineHandle:
    """An engine of the C interface. All that uses it holds it, and the last to go frees it."""

    def __init__(self, pointer: ctypes.c_void_p):
        self.pointer = pointer
        weakref.finalize(self, c.lib.inlay_engine_free, pointer)


class RequestHandle:
    """A request of the C interface, freed with the object."""

    def __init__(self, engine: EngineHandle, pointer: ctypes.c_void_p, logprobs: bool):
        self.engine, self.pointer, self.has_logprobs = engine, pointer, logprobs
        self._lock = threading.Lock()  # what a piece points to is valid until the next call
        self._piece = c.Piece()
        self._piece.struct_size = ctypes.sizeof(c.Piece)
        # Not when the interpreter ends: a thread may still be waiting in it, which the end of the engine wakes up.
        weakref.finalize(self, c.lib.inlay_request_free, pointer).atexit = False

    def next(self, timeout: float) -> Piece | None:
        """The next token, None after the last one; DeadlineExceededError if there was none in `timeout` seconds."""
        with self._lock:
            status = c.lib.inlay_request_next(self.pointer, timeout, ctypes.byref(self._piece))
            if status == c.END:
                return None
            c.check(status)
            piece = self._piece
            text = ctypes.string_at(piece.text, piece.text_size).decode(errors="replace") if piece.text_size else ""
            return Piece(piece.token_id, text, self._logprobs() if self.has_logprobs else None)

    def _logprobs(self) -> dict[int, Logprob]:
        piece = self._piece
        result = {piece.token_id: Logprob(piece.logprob)}
        for rank, one in enumerate(piece.top[: piece.top_count], 1):
            result[one.id] = Logprob(one.logprob, rank)
        return result

    def cancel(self) -> None:
        c.lib.inlay_request_cancel(self.pointer)

    def finish_reason(self) -> str | None:
        return FINISH_REASONS[c.lib.inlay_request_finish_reason(self.pointer)]


class Request:
    """One prompt on its way, from LLM.submit or LLM.stream.

    Iterate over it for its tokens as they come, with `for` or `async for`, or take `result()`. Dropping it, leaving its
    `with` block or `cancel()` ends it; no error is raised then."""

    def __init__(self, handle: RequestHandle, prompt: str | None):
        self._handle = handle
        self.prompt = prompt
        self.request_id = str(next(_ids))
        count = ctypes.c_size_t()
        ids = c.lib.inlay_request_prompt_token_ids(handle.pointer, ctypes.byref(count))
        self.prompt_token_ids: list[int] = ids[: count.value]
        self._text: list[str] = []
        self._token_ids: list[int] = []
        self._logprobs: list[dict[int, Logprob]] = []

    def __del__(self) -> None:
        if hasattr(self, "_handle"):  # also where the constructor failed
            self._handle.cancel()

    def __enter__(self) -> Request:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Ends the request; what it generated before can still be read. May be called from any thread."""
        self._handle.cancel()

    @property
    def finish_reason(self) -> str | None:
        """ "stop", "length", "cancelled", "error", or None while it runs."""
        return self._handle.finish_reason()

    def next(self, timeout: float | None = None) -> Piece | None:
        """The next token, or None after the last one; DeadlineExceededError if none came in `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _SLICE_SECONDS if end is None else end - time.monotonic()
            try:
                return self._take(self._handle.next(max(0.0, min(left, _SLICE_SECONDS))))
            except DeadlineExceededError:
                if left <= 0:
                    raise

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        piece = self.next()
        if piece is None:
            raise StopIteration
        return piece

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """The tokens as they come; other tasks run meanwhile. Ending the loop early cancels the request."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Piece | InlayError | None] = asyncio.Queue()
        thread = threading.Thread(target=_forward, args=(self._handle, loop, arrived), daemon=True, name="inlay-stream")
        thread.start()
        try:
            while (piece := await arrived.get()) is not None:
                if isinstance(piece, InlayError):
                    raise piece
                self._take(piece)
                yield piece
        finally:
            self.cancel()

    def result(self) -> RequestOutput:
        """Waits for the end and gives all of it."""
        while self.next() is not None:
            pass
        return self.output()

    async def wait(self) -> RequestOutput:
        """The same for asyncio: `output = await llm.submit(prompt).wait()`."""
        async for _ in self:
            pass
        return self.output()

    def output(self) -> RequestOutput:
        """What was taken so far."""
        reason = self.finish_reason
        logprobs = self._logprobs if self._handle.has_logprobs else None
        total = sum(at[id].logprob for at, id in zip(logprobs, self._token_ids)) if logprobs is not None else None
        answer = CompletionOutput(0, "".join(self._text), list(self._token_ids), logprobs, total, reason)
        return RequestOutput(self.request_id, self.prompt, self.prompt_token_ids, [answer], reason is not None)

    def _take(self, piece: Piece | None) -> Piece | None:
        if piece is not None:
            self._text.append(piece.text)
            self._token_ids.append(piece.token_id)
            if piece.logprobs is not None:
                self._logprobs.append(piece.logprobs)
        return piece


def _forward(handle: RequestHandle, loop: asyncio.AbstractEventLoop,
             arrived: asyncio.Queue[Piece | InlayError | None]) -> None:
    """Hands a request's tokens to an event loop. It holds the handle and not the Request, so that dropping the Request
    cancels it, which ends this thread."""
    end = False
    while not end:
        item: Piece | InlayError | None
        try:
            item = handle.next(-1.0)
            end = item is None
        except InlayError as error:
            item, end = error, True
        with contextlib.suppress(RuntimeError):  # the loop was closed
            loop.call_soon_threadsafe(arrived.put_nowait, item)
