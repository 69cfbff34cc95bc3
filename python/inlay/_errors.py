"""The exceptions that calls raise: one for each status of the C interface, with the message of the failed call."""

from __future__ import annotations


class InlayError(Exception):
    """Base class of all Inlay errors. `status` is the name of the kind, such as "INVALID_ARGUMENT"."""

    status = "INTERNAL"


class InvalidArgumentError(InlayError, ValueError):
    """A sampling parameter, a prompt or an option is invalid, whatever the engine's state."""

    status = "INVALID_ARGUMENT"


class NotFoundError(InlayError):
    """A bundle, one of its files or libinlay.so was not found."""

    status = "NOT_FOUND"


class ResourceExhaustedError(InlayError):
    """There is not enough memory or KV pages, or the queue is full."""

    status = "RESOURCE_EXHAUSTED"


class FailedPreconditionError(InlayError):
    """The bundle or the engine cannot do this: no tokenizer, no chat template, a wrong version of libinlay.so."""

    status = "FAILED_PRECONDITION"


class DeadlineExceededError(InlayError, TimeoutError):
    """The call or request did not finish in the given time."""

    status = "DEADLINE_EXCEEDED"


class CancelledError(InlayError):
    """The engine was shut down while the request ran. Cancelling a single request raises no error."""

    status = "CANCELLED"


class UnimplementedError(InlayError):
    """This build or target does not support it."""

    status = "UNIMPLEMENTED"


class UnavailableError(InlayError):
    """The device or its driver is missing or does not respond."""

    status = "UNAVAILABLE"


class DataLossError(InlayError):
    """A file of the bundle does not match the bundle's manifest."""

    status = "DATA_LOSS"


class InternalError(InlayError):
    """A bug in Inlay."""


_KINDS = (InvalidArgumentError, NotFoundError, ResourceExhaustedError, FailedPreconditionError, DeadlineExceededError,
          CancelledError, UnimplementedError, UnavailableError, DataLossError)
BY_STATUS: dict[str, type[InlayError]] = {kind.status: kind for kind in _KINDS}
