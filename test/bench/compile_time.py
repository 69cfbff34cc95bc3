#!/usr/bin/env python3
"""Measures how long compile-model takes for a model's shapes on idle cores, without a GPU.

usage: compile_time.py [BIN] [MODEL_DIR]     (build/bin, test/bench/models/llama-3.1-8b)

All entry points up to 256 sequences, for sm_90a, with weights of the model's type and quantized. The better of two runs."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KINDS = {"weights as published": (), "--quantization fp8": ("--quantization", "fp8"), "--quantization int4": ("--quantization", "int4")}


def main() -> None:
    tools = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "bin"
    model = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "test" / "bench" / "models" / "llama-3.1-8b"
    print(f"{model.name} on {len(os.sched_getaffinity(0))} cores")
    for kind, flags in KINDS.items():
        times = []
        for _ in range(2):
            with tempfile.TemporaryDirectory() as scratch:
                begin = time.perf_counter()
                subprocess.run([tools / "compile-model", model, "-o", f"{scratch}/bundle", "--target", "sm_90a", "--dummy-weights",
                                "--max-num-seqs", "256", "-q", *flags], check=True)
                times.append(time.perf_counter() - begin)
                kernels = len(list(pathlib.Path(scratch).glob("bundle/kernels/sm_90a/*.cubin")))
        print(f"{kind}: {min(times):.1f} s, {kernels} kernels", flush=True)


if __name__ == "__main__":
    main()
