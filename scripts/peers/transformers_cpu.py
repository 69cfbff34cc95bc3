#!/usr/bin/env python3
"""Measures the tokens per second that transformers generates for one sequence on the cpu.

usage: transformers_cpu.py MODEL_DIR DTYPE THREADS PROMPT TOKENS OUT.json
"""

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

torch.set_grad_enabled(False)


def main() -> None:
    directory, dtype, threads, prompt, tokens, out = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=getattr(torch, dtype)).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    ids = torch.randint(0, model.config.vocab_size, (1, int(prompt)))

    def seconds(count: int) -> float:
        begin = time.perf_counter()
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count, do_sample=False)
        return time.perf_counter() - begin

    seconds(4)
    count = int(tokens)
    times = [(seconds(count + 4) - seconds(4)) / count for _ in range(3)]
    json.dump({"torch": torch.__version__, "tokens_per_s": 1 / min(times)}, open(out, "w"))


if __name__ == "__main__":
    main()
