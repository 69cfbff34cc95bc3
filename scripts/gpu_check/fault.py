"""Repeats runs of one model under each setting that could show or exclude the cause of a sporadic fault (docs/debugging.md),
with and without compute-sanitizer, and counts the failures. The messages of failed runs are saved. This part searches
for failures, so they do not make it fail."""

import collections
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import time

from .common import EXAMPLE, FIXTURES, OutOfTime, bundle_of
from .sanitizer import SEQUENCES, program

RUN_SECONDS = 240
AT_ONCE = 8
FLAGS = ("--dtype", "bfloat16", "--max-num-seqs", SEQUENCES, "--max-num-batched-tokens", 256)
PROBE_WORDS = ("", "graph", "graph cluster", "graph dependent", "graph mbarrier", "graph bulk", "graph cluster bulk")

# name, bundle, tool, INLAY_DEBUG, flags of run-model, number of runs, number of parallel runs
EXPERIMENTS = [
    ("no tool", "odd", None, "", (), 64, AT_ONCE),
    ("no tool, guard-end poison check-steps", "odd", None, "guard-end,poison,check-steps", (), 64, AT_ONCE),
    ("no tool, guard-begin poison check-steps", "odd", None, "guard-begin,poison,check-steps", (), 64, AT_ONCE),
    ("no tool, guard-end, without graphs", "odd", None, "guard-end,poison", ("--enforce-eager",), 64, AT_ONCE),
    ("no tool, guard-end, example", "example", None, "guard-end,poison,check-steps", (), 32, AT_ONCE),
    ("no tool, guard-begin, example", "example", None, "guard-begin,poison,check-steps", (), 32, AT_ONCE),
    ("synccheck", "odd", "synccheck", "", (), 120, AT_ONCE),
    ("synccheck, one at a time", "odd", "synccheck", "", (), 12, 1),
    ("synccheck, without graphs", "odd", "synccheck", "", ("--enforce-eager",), 120, AT_ONCE),
    ("synccheck, without dependent launch", "independent", "synccheck", "", (), 80, AT_ONCE),
    ("synccheck, a graph for each kernel", "odd", "synccheck", "graph-launches", (), 80, AT_ONCE),
    ("synccheck, waiting after each kernel", "odd", "synccheck", "sync-launches", (), 80, AT_ONCE),
    ("synccheck, guard-end poison check-steps", "odd", "synccheck", "guard-end,poison,check-steps", (), 80, AT_ONCE),
    ("synccheck, example", "example", "synccheck", "", (), 40, AT_ONCE),
    ("synccheck, guard-begin poison check-steps", "odd", "synccheck", "guard-begin,poison,check-steps", (), 80, AT_ONCE),
    ("initcheck", "odd", "initcheck", "", (), 16, AT_ONCE),
    ("racecheck", "odd", "racecheck", "", (), 16, AT_ONCE),
    ("memcheck", "odd", "memcheck", "", (), 32, AT_ONCE),
]


def bundles(args) -> dict:
    odd = FIXTURES / "llama-odd-sizes"
    return {"odd": bundle_of(args, "sanitizer.llama-odd-sizes", odd, *FLAGS),
            "independent": bundle_of(args, "fault.independent", odd, *FLAGS, "--without", "dependent-launch"),
            "example": bundle_of(args, "sanitizer.example", EXAMPLE, *FLAGS)}


def prepare(args) -> None:
    bundles(args)


def run_once(command: list[str], environment: dict, work: pathlib.Path) -> str:
    """Returns "" on success, else a description of the failure."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=RUN_SECONDS, env=environment, cwd=work)
    except subprocess.TimeoutExpired:
        return f"not finished within {RUN_SECONDS} s"
    if result.returncode == 0:
        return ""
    # The generated tokens are one long line.
    lines = [line for line in (result.stdout + result.stderr).splitlines() if len(line) < 400]
    return f"exit code {result.returncode}: " + " | ".join(lines[-40:])


def repeat(name: str, command: list[str], debug: str, runs: int, at_once: int, work: pathlib.Path) -> dict:
    environment = os.environ | {"INLAY_DEBUG": debug, "CUDA_ENABLE_COREDUMP_ON_EXCEPTION": "1", "CUDA_ENABLE_LIGHTWEIGHT_COREDUMP": "1",
                                "CUDA_COREDUMP_FILE": str(work / "core.%p")}
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        ends = list(pool.map(lambda _: run_once(command, environment, work), range(runs)))
    failures = collections.Counter(end for end in ends if end)
    found = {"runs": runs, "failed": sum(failures.values()), "seconds": time.monotonic() - begin,
             "messages": [{"count": count, "message": message[-5000:]} for message, count in failures.most_common(4)]}
    print(f"  {name}: {found['failed']} of {runs} failed, {found['seconds']:.0f} s", flush=True)
    for one in found["messages"]:
        print(f"    {one['count']} x {one['message'][-600:]}", flush=True)
    return found


def build_probe(args, name: str) -> pathlib.Path | None:
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    probe, source = args.out / name, pathlib.Path(__file__).with_name(f"{name}.cu")
    try:
        subprocess.run([nvcc, "-gencode=arch=compute_90a,code=sm_90a", "-o", probe, source], check=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"  {name} was not built: {error}", flush=True)
        return None
    return probe


def fault(args, results: dict, save) -> None:
    found, work, tool = bundles(args), args.out / "cores", program()
    work.mkdir(parents=True, exist_ok=True)
    done = results.setdefault("steps", {})

    def step(name: str, command: list, debug: str, runs: int, at_once: int) -> None:
        if name in done:
            return
        if time.monotonic() > args.deadline:
            raise OutOfTime(f"{len(done)} experiments are done")
        done[name] = repeat(name, [str(part) for part in command], debug, runs, at_once, work)
        save()

    ids = [flag for i in range(SEQUENCES) for flag in ("--prompt-ids", ",".join(map(str, range(1, 4 + i % 7))))]
    for name, bundle, under, debug, flags, runs, at_once in EXPERIMENTS:
        if under and not tool:
            print(f"  {name}: not run, compute-sanitizer was not found", flush=True)
            continue
        quiet = ("--report-api-errors", "no") if under == "memcheck" else ()
        prefix = (tool, "--tool", under, *quiet, "--error-exitcode", 9) if under else ()
        step(name, [*prefix, args.bin / "run-model", found[bundle], "--target", args.target, *ids, "--max-tokens", 3, "--ignore-eos", "--json",
                    "--kv-cache-memory-bytes", "64MiB", "--temperature", 0, *flags], debug, runs * args.repeat, at_once)
    if tool and (probe := build_probe(args, "cluster_probe")):
        for cluster in (2, 4, 8, 16):
            for blocks in (32, 64, 96, 128):
                shape = (cluster, blocks, 100_000)
                step(f"cluster probe {shape}", [probe, *shape], "", 4, 4)
                step(f"cluster probe {shape}, synccheck", [tool, "--tool", "synccheck", "--error-exitcode", 9, probe, *shape], "", 4, 4)
    if tool and (probe := build_probe(args, "fault_probe")):
        for words in PROBE_WORDS:
            step(f"probe {words or 'with everything'}, synccheck",
                 [tool, "--tool", "synccheck", "--error-exitcode", 9, probe, *words.split()], "", 64 * args.repeat, AT_ONCE)
    results["cores"] = sorted(path.name for path in work.glob("core.*"))
    results["passed"] = True
