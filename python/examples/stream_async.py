"""Generates a continuation of each prompt on the command line at the same time. Prints each token as it is generated.

    python3 stream_async.py BUNDLE PROMPT..."""

import asyncio
import sys

from inlay import LLM, SamplingParams


async def show(llm: LLM, index: int, prompt: str) -> None:
    async for piece in llm.stream(prompt, SamplingParams(temperature=0.7, max_tokens=32)):
        print(f"{index}: {piece.text!r}", flush=True)


async def main(bundle: str, prompts: list[str]) -> None:
    with LLM(bundle) as llm:
        await asyncio.gather(*(show(llm, index, prompt) for index, prompt in enumerate(prompts)))


if len(sys.argv) < 3:
    sys.exit("usage: stream_async.py BUNDLE PROMPT...")
asyncio.run(main(sys.argv[1], sys.argv[2:]))
