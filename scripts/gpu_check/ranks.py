"""Ranks on several GPUs: fixtures divided among ranks and stages, compared with goldens of transformers as in the part
`correctness`. If there are fewer GPUs than ranks, two ranks share a GPU (--device 0,0). Divisions that need still more do
not run. Rows between stages go through peer memory or NCCL, with and without CUDA graphs, in one process and in a process
for each rank. One sequence at a time must have the same tokens in both. Then the process of a rank of serve-model is
killed while it answers requests."""

import argparse
import concurrent.futures
import itertools
import json
import pathlib
import signal
import time

from . import correctness
from .common import bundle_of, checked, sh, tools
from processes_support import serving_ranks  # of test/e2e

# Ranks of each stage, and stages.
DIVISIONS = {"two stages": (1, 2), "two ranks": (2, 1), "two stages of two ranks": (2, 2), "four stages": (1, 4)}
MODELS = ("llama-gqa", "gemma2")
RUNS = (("--distributed-backend", "peer"), ("--distributed-backend", "peer", "--enforce-eager"), ("--distributed-backend", "nccl"))
RANKS_OF_GPU = 2  # that share it
KILLED = "two ranks"  # the division of which a process is killed
TIMEOUT = 5  # --distributed-timeout of serve-model in seconds
# Starts a process for each rank as mpirun does, which need not be installed.
RUN_MODEL_IN_PROCESSES = """#!/bin/sh
export OMPI_COMM_WORLD_SIZE={count} OMPI_COMM_WORLD_LOCAL_SIZE={count}
for rank in $(seq 1 $(({count} - 1))); do
  OMPI_COMM_WORLD_RANK=$rank {tool} "$@" --rendezvous gpu-check-$$ > /dev/null &
done
OMPI_COMM_WORLD_RANK=0 {tool} "$@" --rendezvous gpu-check-$$
code=$?
wait
exit $code
"""
FLAGS = ("--max-num-seqs", 64, "--max-num-batched-tokens", 512)


def bundle_for(args, model, division: str):
    ranks, stages = DIVISIONS[division]
    return bundle_of(args, f"{model.name}.tp{ranks}pp{stages}", model, *correctness.types_of(args), *FLAGS, "-tp", ranks, "-pp", stages)


def models_of(args):
    """The chosen fixtures, or two, with the divisions that their layers allow."""
    for model in correctness.fixtures(args):
        if args.fixtures or model.name in MODELS:
            for division, (_, stages) in DIVISIONS.items():
                if stages <= layers_of(model):
                    yield model, division


def layers_of(model) -> int:
    config = json.loads((model / "config.json").read_text())
    return config.get("num_hidden_layers") or config.get("n_layer") or config["num_layers"]


def prepare(args) -> None:
    for model, division in models_of(args):
        bundle_for(args, model, division)


def with_processes(args, count: int):
    """The arguments with a run-model that starts a process for each rank."""
    directory = (args.out / f"processes{count}").resolve()
    directory.mkdir(parents=True, exist_ok=True)
    tool = directory / "run-model"
    tool.write_text(RUN_MODEL_IN_PROCESSES.format(count=count, tool=(args.bin / "run-model").resolve()))
    tool.chmod(0o755)
    return argparse.Namespace(**{**vars(args), "bin": directory})


def devices_of(ranks: int, gpus: int) -> tuple | None:
    """Options of the tools that give each rank a GPU. Ranks share GPUs if there are fewer; None if there are too few."""
    if ranks <= gpus:
        return ()
    return ("--device", ",".join(str(rank % gpus) for rank in range(ranks))) if ranks <= RANKS_OF_GPU * gpus else None


def division(args, model, name: str, flags, in_processes: bool, tokens_alone: dict) -> dict:
    """`tokens_alone`: of one sequence at a time, by the flags, from the run with threads."""
    golden, logits, row_errors = correctness.golden_of(model)
    bundle, width = bundle_for(args, model, name), len(logits[0])
    if in_processes:
        args = with_processes(args, DIVISIONS[name][0] * DIVISIONS[name][1])
    prompts = [golden["prompt_ids"] + golden["greedy_ids"][:start] for start in range(correctness.MANY_SEQUENCES)]
    # Many sequences fill the pipeline. Alone, one stage runs at a time.
    outputs = correctness.generate(args, bundle, args.target, width, prompts, *flags, steps=correctness.MANY_STEPS)
    result = correctness.compare_many(golden, logits, row_errors, outputs, exact=False)
    alone = correctness.generate(args, bundle, args.target, width, prompts[:2], "--max-num-seqs", 1, *flags, steps=correctness.MANY_STEPS)
    found = correctness.compare_many(golden, logits, row_errors, alone, exact=False)
    tokens = [tokens for tokens, _ in alone]
    expected = tokens_alone.setdefault(flags, tokens)
    if found["verdict"] == "ok" and tokens != expected:
        found["verdict"] = f"one sequence at a time: tokens {tokens} in processes, expected {expected} as in threads"
    return result if result["verdict"] != "ok" else result | {"verdict": found["verdict"]}


def ask_until_it_fails(server, prompt: list[int], tokens: int) -> tuple[int, str]:
    """Sends requests until one is answered with an error. Returns its status and message."""
    while True:
        status, answer = server.post("/v1/completions", {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True})
        if status != 200:
            return status, answer["error"]["message"]


def killed(binaries: pathlib.Path, bundle: pathlib.Path, target: str, prompt: list[int], ranks: int, *flags, clients: int = 4) -> dict:
    """Kills the process of the last rank of serve-model while it answers requests. All of them must end with one error within
    twice the timeout, and /health must report it."""
    with (serving_ranks(tools.Tools(binaries, pathlib.Path()), bundle, ranks, TIMEOUT, "--target", target, *flags) as (server, processes),
          concurrent.futures.ThreadPoolExecutor(clients) as pool):
        answers = [pool.submit(ask_until_it_fails, server, prompt, correctness.MANY_STEPS) for _ in range(clients)]
        while server.metric("generation_tokens_total") == 0 and not any(answer.done() for answer in answers):
            time.sleep(0.01)
        begin = time.monotonic()
        processes[-1].send_signal(signal.SIGKILL)
        errors = {answer.result() for answer in answers}
        seconds, health = time.monotonic() - begin, server.get("/health")[0]
    status, message = next(iter(errors))
    row = {"error": message, "seconds": seconds, "verdict": "ok"}
    if len(errors) > 1 or status < 500 or "has ended; the engine cannot continue" not in message:
        row["verdict"] = f"expected one error that says that the process of a rank has ended, found {errors}"
    elif seconds >= 2 * TIMEOUT:
        row["verdict"] = f"the requests ended after {seconds:.1f} s, expected less than {2 * TIMEOUT} s"
    elif health != 503:
        row["verdict"] = f"/health: status {health}, expected 503"
    return row


def check_killed(args, model, devices: tuple) -> dict:
    of_stage, stages = DIVISIONS[KILLED]
    prompt = correctness.golden_of(model)[0]["prompt_ids"]
    return killed(args.bin, bundle_for(args, model, KILLED), args.target, prompt, of_stage * stages, *devices)


def ranks(args, results: dict, save) -> None:
    gpus = len(sh("nvidia-smi", "-L").splitlines())
    results["runs"] = []

    def add(row: dict, text: str, found: dict) -> None:
        row |= found
        results["runs"].append(row)
        print(f"  {row['fixture']:12} {row['division']} in {row['ranks']}{text}".format(**row) + f": {row['verdict']}", flush=True)
        save()

    for model, name in models_of(args):
        needed = DIVISIONS[name][0] * DIVISIONS[name][1]
        devices, tokens_alone = devices_of(needed, gpus), {}
        if devices is None:
            print(f"  {model.name:12} {name}: not run, because it needs {needed} GPUs and there are {gpus}", flush=True)
            continue
        shared = {"shared_gpus": devices[1]} if devices else {}
        where = f" on GPUs {devices[1]}, which ranks share" if devices else ""
        for flags, in_processes in itertools.product(RUNS, (False, True)):
            if devices and "nccl" in flags:  # it refuses ranks that share a GPU
                continue
            row = {"fixture": model.name, "division": name, "flags": " ".join(flags), "ranks": "processes" if in_processes else "threads",
                   "relative_error": float("nan"), **shared}
            add(row, where + ", {flags}: relative error {relative_error:.2e}",
                checked(division, args, model, name, flags + devices, in_processes, tokens_alone))
        if name == KILLED:
            row = {"fixture": model.name, "division": name, "ranks": "processes", "seconds": float("nan"), **shared}
            add(row, where + ", one killed under serve-model: requests end after {seconds:.1f} s", checked(check_killed, args, model, devices))
    results["passed"] = bool(results["runs"]) and all(row["verdict"] == "ok" for row in results["runs"])
