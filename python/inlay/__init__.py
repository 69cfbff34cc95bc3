"""Runs language models that compile-model compiled ahead of time into fused GPU kernels.

    from inlay import LLM, SamplingParams

    with LLM("llama.inlay") as llm:
        for output in llm.generate(["Once upon a time"], SamplingParams(temperature=0, max_tokens=64)):
            print(output.outputs[0].text)
        for piece in llm.stream("Once upon a time"):
            print(piece.text, end="", flush=True)
"""

from inlay._errors import (CancelledError, DataLossError, DeadlineExceededError, FailedPreconditionError, InlayError,
                           InternalError, InvalidArgumentError, NotFoundError, ResourceExhaustedError, UnavailableError,
                           UnimplementedError)
from inlay._llm import LLM, Prompt
from inlay._outputs import CompletionOutput, Logprob, MemoryPlan, Piece, RequestMetrics, RequestOutput, Stats
from inlay._request import Request
from inlay._sampling_params import SamplingParams, StructuredOutputsParams
from inlay._tokenizer import Message, Tokenizer
from inlay._version import __version__

__all__ = [
    "LLM", "SamplingParams", "StructuredOutputsParams", "Tokenizer", "Request", "Piece", "Logprob", "RequestOutput",
    "CompletionOutput", "RequestMetrics", "Stats", "MemoryPlan", "Prompt", "Message", "InlayError", "InvalidArgumentError", "NotFoundError", "ResourceExhaustedError",
    "FailedPreconditionError", "DeadlineExceededError", "CancelledError", "UnimplementedError", "UnavailableError",
    "DataLossError", "InternalError", "__version__",
]
