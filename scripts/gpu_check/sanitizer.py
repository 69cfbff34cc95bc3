"""Runs compute-sanitizer over prefill, decode and sampling and expects no error. If it is not installed, the part is
skipped."""

import os
import pathlib
import shutil

from .common import EXAMPLE, FIXTURES, bundle_of, run_steps, sh

TOOLS = ("memcheck", "racecheck", "synccheck")
# The example model's steps have up to 40 rows, so that each kernel family runs. The fixtures cover its missing
# features.
MODELS = ("example", "llama-odd-sizes", "llama-head-dim-96", "llama-head-dim-128", "mistral-window", "qwen3")
SEQUENCES = 40
SANITIZER_SECONDS = 300


def program() -> str | None:
    folders = [pathlib.Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    for folder in [*folders, pathlib.Path("/usr/local/cuda")]:
        for path in (folder / "bin" / "compute-sanitizer", folder / "compute-sanitizer" / "compute-sanitizer"):
            if path.exists():
                return str(path)
    return shutil.which("compute-sanitizer")


def bundle(args, model: str):
    flags = ("--dtype", "bfloat16", "--max-num-seqs", SEQUENCES, "--max-num-batched-tokens", 256)
    return bundle_of(args, f"sanitizer.{model}", EXAMPLE if model == "example" else FIXTURES / model, *flags)


def prepare(args) -> None:
    for model in MODELS:
        bundle(args, model)


def sanitizer(args, results: dict, save) -> None:
    found = program()
    if not found:
        print("  not run: compute-sanitizer is neither in CUDA_HOME nor on PATH", flush=True)
        results["passed"] = True
        results["skipped"] = "compute-sanitizer was not found"
        return
    steps = {}
    for model in MODELS:
        for tool in TOOLS:
            # The runtime queries kernel parameters until the driver returns an error, because there is no function for
            # their number. It checks the status of all calls, so API errors need not be reported.
            quiet = ("--report-api-errors", "no") if tool == "memcheck" else ()
            def step(model=model, tool=tool, quiet=quiet):
                ids = [flag for i in range(SEQUENCES) for flag in ("--prompt-ids", ",".join(map(str, range(1, 4 + i % 7))))]
                sampled = ("--temperature", 0.8, "--top-k", 20, "--top-p", 0.9, "--repetition-penalty", 1.1, "--seed", 1)
                for flags in (("--temperature", 0), sampled):
                    sh(found, "--tool", tool, *quiet, "--error-exitcode", 9, args.bin / "run-model", bundle(args, model), "--target",
                       args.target, *ids, "--max-tokens", 3, "--ignore-eos", "--json", "--kv-cache-memory-bytes", "64MiB", *flags,
                       timeout=SANITIZER_SECONDS)
                print(f"  {model}, {tool}: ok", flush=True)
                return {"model": model, "tool": tool}
            steps[f"{model} {tool}"] = step
    run_steps(args, results, save, steps)
