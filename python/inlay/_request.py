"""Submitted requests. Their tokens are read with an iterator, an asynchronous iterator, or all at once."""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import enum
import itertools
import os
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType

from inlay import _library as c
from inlay._errors import DeadlineExceededError, FailedPreconditionError, InlayError
from inlay._outputs import CompletionOutput, Logprob, Piece, RequestMetrics, RequestOutput
from inlay._process import Owner

FINISH_REASONS = (None, "stop", "length", "cancelled", "error")

# Waits are split into slices, so that Python can handle signals such as Ctrl-C between them.
_SLICE_SECONDS = 0.1

_ids = itertools.count()


class EngineHandle:
    """An engine of the C interface. It is freed with this object or, after close(), when the last call in it returns.
    A forked child cannot use it and does not free it."""

    def __init__(self, pointer: ctypes.c_void_p):
        self.owner = Owner()
        self._pointer = pointer
        self._lock = threading.Lock()
        self._calls, self._closed = 0, False
        self._texts: dict[int, str | None] = {}  # texts of single tokens
        self._free = weakref.finalize(self, self.owner.free, c.lib.inlay_engine_free, pointer)

    def __enter__(self) -> ctypes.c_void_p:
        self.owner.check()
        with self._lock:
            if self._closed:
                raise FailedPreconditionError("the LLM was closed; create a new one")
            self._calls += 1
        return self._pointer

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._calls -= 1
            last = self._closed and self._calls == 0
        if last:
            self._free()

    def close(self) -> None:
        if not self.owner.is_here():
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            last = self._calls == 0
        if last:
            self._free()

    def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The text of token ids."""
        text, size = ctypes.c_void_p(), ctypes.c_size_t()
        with self as engine:
            c.check(c.lib.inlay_decode(engine, c.int32_array(ids, "a token id"), len(ids), skip_special_tokens,
                                       ctypes.byref(text), ctypes.byref(size)))
        return c.take_text(text, size)

    def text_of(self, id: int) -> str | None:
        """The text of one token; None if there is no tokenizer or the engine was closed."""
        if id not in self._texts:
            try:
                self._texts[id] = self.decode([id], skip_special_tokens=False) or None
            except InlayError:
                return None
        return self._texts[id]


class End(enum.Enum):
    """Results of RequestHandle.next other than a token."""

    TIMEOUT = enum.auto()
    LAST = enum.auto()


class RequestHandle:
    """A request of the C interface. It is freed with this object."""

    def __init__(self, engine: EngineHandle, pointer: ctypes.c_void_p):
        self.engine, self._pointer = engine, pointer  # keeps the engine alive, unless it is closed
        self._lock = threading.Lock()  # pointers in a piece are valid until the next call
        self._piece = c.Piece()
        self._piece.struct_size = ctypes.sizeof(c.Piece)
        # Not freed at interpreter exit: a thread may still wait for the request, until freeing the engine wakes it up.
        # (typeshed does not declare `atexit` in finalize.)
        weakref.finalize(self, engine.owner.free, c.lib.inlay_request_free,
                         pointer).atexit = False  # type: ignore[misc]

    @property
    def pointer(self) -> ctypes.c_void_p:
        self.engine.owner.check()
        return self._pointer

    def next(self, timeout: float, logprobs: bool) -> Piece | End:
        pointer = self.pointer
        with self._lock:
            status = c.lib.inlay_request_next(pointer, timeout, ctypes.byref(self._piece))
            if status == c.TIMEOUT:
                return End.TIMEOUT
            if status == c.END:
                return End.LAST
            c.check(status)
            piece = self._piece
            text = ctypes.string_at(piece.text, piece.text_size).decode(errors="replace") if piece.text_size else ""
            top = (self._logprobs(piece.token_id, piece.logprob, piece.rank, piece.top, piece.top_count)
                   if logprobs else None)
            return Piece(piece.index, piece.token_id, text, top)

    def cancel(self) -> None:
        if self.engine.owner.is_here():
            c.lib.inlay_request_cancel(self._pointer)

    def finish_reason(self, index: int) -> str | None:
        return FINISH_REASONS[c.lib.inlay_request_finish_reason(self.pointer, index)]

    def stop_reason(self, index: int) -> int | str | None:
        token, text = ctypes.c_int32(), ctypes.c_char_p()
        pointer = self.pointer
        with self._lock:
            c.check(c.lib.inlay_request_stop_reason(pointer, index, token, text))
            if text.value is not None:
                return text.value.decode(errors="replace")
            return token.value if token.value >= 0 else None

    def prompt_logprobs(self, count: int) -> list[dict[int, Logprob] | None]:
        result: list[dict[int, Logprob] | None] = [None]
        token, size, rank = c.TokenLogprob(), ctypes.c_size_t(), ctypes.c_int32()
        top = ctypes.POINTER(c.TokenLogprob)()
        pointer = self.pointer
        with self._lock:
            for position in range(1, count):
                c.check(c.lib.inlay_request_prompt_logprob(pointer, position, token, ctypes.byref(top), size))
                c.check(c.lib.inlay_request_prompt_rank(pointer, position, rank))
                result.append(self._logprobs(token.id, token.logprob, rank.value, top, size.value))
        return result

    def _logprobs(self, id: int, logprob: float, rank: int, top: ctypes._Pointer[c.TokenLogprob],
                  count: int) -> dict[int, Logprob]:
        result = {id: Logprob(logprob, rank, self.engine.text_of(id))}
        for place, one in enumerate(top[:count], 1):
            result[one.id] = Logprob(one.logprob, place, self.engine.text_of(one.id))
        return result


class _Answer:
    """The tokens that one of a request's sequences has generated so far."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.token_ids: list[int] = []
        self.logprobs: list[dict[int, Logprob]] = []


class Request:
    """A submitted prompt, from LLM.submit or LLM.stream.

    Iterate over it with `for` or `async for` to get the tokens as they are generated, or call `result()`. The request
    is cancelled, without an error, when the object is deleted, when its `with` block ends, or by `cancel()`."""

    def __init__(self, handle: RequestHandle, prompt: str | None, n: int = 1, logprobs: bool = False,
                 prompt_logprobs: bool = False, detokenize: bool = True):
        self._handle = handle
        self._detokenize = detokenize
        self._has_logprobs, self._has_prompt_logprobs = logprobs, prompt_logprobs
        self._answers = [_Answer() for _ in range(n)]
        self.prompt = prompt
        self.request_id = str(next(_ids))
        count = ctypes.c_size_t()
        ids = c.lib.inlay_request_prompt_token_ids(handle.pointer, ctypes.byref(count))
        self.prompt_token_ids: list[int] = ids[: count.value]

    def __del__(self) -> None:
        if hasattr(self, "_handle"):  # not set if the constructor failed
            self._handle.cancel()

    def __enter__(self) -> Request:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Cancels the request. Tokens generated before can still be read. May be called from any thread."""
        self._handle.cancel()

    @property
    def finish_reason(self) -> str | None:
        """Finish reason of the first answer: "stop", "length", "cancelled" or "error"; None while it runs."""
        return self._handle.finish_reason(0)

    def next(self, timeout: float | None = None) -> Piece | None:
        """The next token, or None after the last one. Raises DeadlineExceededError after `timeout` seconds without a
        token."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _SLICE_SECONDS if end is None else end - time.monotonic()
            piece = self._handle.next(max(0.0, min(left, _SLICE_SECONDS)), self._has_logprobs)
            if isinstance(piece, Piece):
                return self._take(piece)
            if piece is End.LAST:
                return None
            if left <= 0:
                raise DeadlineExceededError(f"no token came in {timeout} seconds; the request still runs")

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        piece = self.next()
        if piece is None:
            raise StopIteration
        return piece

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """The tokens as they are generated. Other tasks run meanwhile. Leaving the loop early cancels the request."""
        arrived: asyncio.Queue[Piece | InlayError | None] = asyncio.Queue()
        tag = _dispatcher.add(_Consumer(self._handle, self._has_logprobs, asyncio.get_running_loop(), arrived))
        try:
            while (piece := await arrived.get()) is not None:
                if isinstance(piece, InlayError):
                    raise piece
                yield self._take(piece)
        finally:
            _dispatcher.remove(tag)
            self.cancel()

    def result(self) -> RequestOutput:
        """Waits until the request is finished and returns its complete output."""
        while self.next() is not None:
            pass
        return self.output()

    async def wait(self) -> RequestOutput:
        """The same as result(), for asyncio: `output = await llm.submit(prompt).wait()`."""
        async for _ in self:
            pass
        return self.output()

    def output(self) -> RequestOutput:
        """The output of the tokens that were read so far."""
        answers = []
        for index, answer in enumerate(self._answers):
            logprobs = answer.logprobs if self._has_logprobs else None
            total = sum(at[id].logprob for at, id in zip(answer.logprobs, answer.token_ids)) if logprobs else None
            answers.append(CompletionOutput(index, "".join(answer.text), list(answer.token_ids), total, logprobs,
                                            self._handle.finish_reason(index), self._handle.stop_reason(index)))
        stats = c.RequestStats()
        stats.struct_size = ctypes.sizeof(stats)
        c.check(c.lib.inlay_request_get_stats(self._handle.pointer, stats))
        times = (stats.scheduled_seconds, stats.first_token_seconds, stats.finished_seconds)
        started = any(answer.token_ids for answer in self._answers)
        prompt_logprobs = (self._handle.prompt_logprobs(len(self.prompt_token_ids))
                           if self._has_prompt_logprobs and started else None)
        return RequestOutput(self.request_id, self.prompt, self.prompt_token_ids, prompt_logprobs, answers,
                             all(answer.finish_reason is not None for answer in answers), stats.cached_prompt_tokens,
                             RequestMetrics(*(time if time >= 0 else None for time in times)))

    def _take(self, piece: Piece) -> Piece:
        if not self._detokenize:
            piece = dataclasses.replace(piece, text="")
        answer = self._answers[piece.index]
        answer.text.append(piece.text)
        answer.token_ids.append(piece.token_id)
        if piece.logprobs is not None:
            answer.logprobs.append(piece.logprobs)
        return piece


class _Consumer:
    """An event loop that waits for a request's tokens. It refers to the handle and not to the Request, so that deleting
    the Request still cancels it."""

    def __init__(self, handle: RequestHandle, logprobs: bool, loop: asyncio.AbstractEventLoop,
                 arrived: asyncio.Queue[Piece | InlayError | None]):
        self.handle, self.logprobs, self.loop, self.arrived = handle, logprobs, loop, arrived

    def forward(self) -> bool:
        """Passes the available tokens to the event loop. Returns whether the request is finished."""
        items: list[Piece | InlayError | None] = []
        piece: Piece | End = End.TIMEOUT
        try:
            while isinstance(piece := self.handle.next(0.0, self.logprobs), Piece):
                items.append(piece)
            if piece is End.LAST:
                items.append(None)
        except InlayError as error:
            items.append(error)
            piece = End.LAST
        try:
            self.loop.call_soon_threadsafe(self._arrive, items)
        except RuntimeError:  # the loop was closed
            return True
        return piece is End.LAST

    def _arrive(self, items: list[Piece | InlayError | None]) -> None:
        for item in items:
            self.arrived.put_nowait(item)


class _Dispatcher:
    """One thread for the requests of all event loops. The engine reports requests with new tokens through a queue."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._consumers: dict[int, _Consumer] = {}
        self._tags = itertools.count()
        self._queue: ctypes.c_void_p | None = None

    def add(self, consumer: _Consumer) -> int:
        with self._lock:
            if self._queue is None:
                self._queue = ctypes.c_void_p()
                c.check(c.lib.inlay_queue_create(ctypes.byref(self._queue)))
                threading.Thread(target=self._run, args=(self._queue,), daemon=True, name="inlay-dispatcher").start()
            tag = next(self._tags)
            self._consumers[tag] = consumer
        c.check(c.lib.inlay_request_report(consumer.handle.pointer, self._queue, tag))
        return tag

    def remove(self, tag: int) -> None:
        with self._lock:
            self._consumers.pop(tag, None)

    def forget(self) -> None:
        """Resets the dispatcher in a forked child, which has no such thread and cannot use the parent's requests."""
        self._lock = threading.Lock()
        self._consumers = {}
        self._queue = None

    def _run(self, queue: ctypes.c_void_p) -> None:
        tags = (ctypes.c_uint64 * 64)()
        count = ctypes.c_size_t()
        while True:
            c.check(c.lib.inlay_queue_wait(queue, -1.0, tags, len(tags), ctypes.byref(count)))
            for tag in tags[: count.value]:
                with self._lock:
                    consumer = self._consumers.get(tag)
                if consumer and consumer.forward():
                    self.remove(tag)
                del consumer  # so that a request can be deleted while this thread waits


_dispatcher = _Dispatcher()
os.register_at_fork(after_in_child=_dispatcher.forget)
