"""What calls raise: one exception for each status of the C interface, with the status' text."""

from __future__ import annotations


class InlayError(Exception):
    """Base of all errors of Inlay; `status` names the kind, such as "INVALID_ARGUMENT"."""

    status = "INTERNAL"


class InvalidArgumentError(InlayError, ValueError):
    """Wrong whatever the engine's state: a sampling parameter, a prompt, an option."""

    status = "INVALID_ARGUMENT"


class NotFoundError(InlayError):
    """A bundle, a file of it or libinlay.so is not where it should be."""

    status = "NOT_FOUND"


class ResourceExhaustedError(InlayError):
    """Memory, KV pages or places in the queue are used up."""

    status = "RESOURCE_EXHAUSTED"


class FailedPreconditionError(InlayError):
    """The bundle or the engine cannot do this: no tokenizer, no chat template, another version of libinlay.so."""

    status = "FAILED_PRECONDITION"


class DeadlineExceededError(InlayError, TimeoutError):
    """Not done in the time that was given."""

    status = "DEADLINE_EXCEEDED"


class CancelledError(InlayError):
    """The engine was shut down while the request ran. A request that was cancelled by itself just ends."""

    status = "CANCELLED"


class UnimplementedError(InlayError):
    """This build or target does not have it."""

    status = "UNIMPLEMENTED"


class UnavailableError(InlayError):
    """The device or its driver is missing or has stopped answering."""

    status = "UNAVAILABLE"


class DataLossError(InlayError):
    """A file of the bundle is not what the bundle's manifest says."""

    status = "DATA_LOSS"


class InternalError(InlayError):
    """A fault of Inlay's."""


_KINDS = (InvalidArgumentError, NotFoundError, ResourceExhaustedError, FailedPreconditionError, DeadlineExceededError,
          CancelledError, UnimplementedError, UnavailableError, DataLossError)
BY_STATUS: dict[str, type[InlayError]] = {kind.status: kind for kind in _KINDS}
