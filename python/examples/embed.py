"""Generates a continuation of each prompt on the command line. All prompts run in one batch.

    python3 embed.py BUNDLE PROMPT..."""

import dataclasses
import sys

from inlay import LLM, InlayError

if len(sys.argv) < 3:
    sys.exit("usage: embed.py BUNDLE PROMPT...")
try:
    with LLM(sys.argv[1]) as llm:
        sampling = dataclasses.replace(llm.get_default_sampling_params(), max_tokens=64, seed=1)
        for output in llm.generate(sys.argv[2:], sampling):
            print(f"--- {output.prompt}{output.outputs[0].text}")
except InlayError as error:
    sys.exit(f"embed.py: {error}")
