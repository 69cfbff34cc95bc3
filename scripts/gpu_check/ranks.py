"""Ranks on several GPUs: fixtures divided among ranks and stages, compared with goldens of transformers as in the part
`correctness`. Divisions that need more GPUs than there are do not run. Rows between stages go through peer memory or
NCCL, with and without CUDA graphs, in one process and in a process for each rank."""

import argparse
import itertools
import json

from . import correctness
from .common import bundle_of, checked, sh

# Ranks of each stage, and stages.
DIVISIONS = {"two stages": (1, 2), "two ranks": (2, 1), "two stages of two ranks": (2, 2), "four stages": (1, 4)}
MODELS = ("llama-gqa", "gemma2")
RUNS = (("--distributed-backend", "peer"), ("--distributed-backend", "peer", "--enforce-eager"), ("--distributed-backend", "nccl"))
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


def division(args, model, name: str, flags, in_processes: bool) -> dict:
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
    return result if result["verdict"] != "ok" else result | {"verdict": found["verdict"]}


def ranks(args, results: dict, save) -> None:
    gpus = len(sh("nvidia-smi", "-L").splitlines())
    results["runs"] = []
    for model, name in models_of(args):
        needed = DIVISIONS[name][0] * DIVISIONS[name][1]
        if needed > gpus:
            print(f"  {model.name:12} {name}: not run, because it needs {needed} GPUs and there are {gpus}", flush=True)
            continue
        for flags, in_processes in itertools.product(RUNS, (False, True)):
            where = "processes" if in_processes else "threads"
            row = {"fixture": model.name, "division": name, "flags": " ".join(flags), "ranks": where, "relative_error": float("nan")}
            row |= checked(division, args, model, name, flags, in_processes)
            results["runs"].append(row)
            print("  {fixture:12} {division} in {ranks}, {flags}: relative error {relative_error:.2e}: {verdict}".format(**row), flush=True)
            save()
    results["passed"] = bool(results["runs"]) and all(row["verdict"] == "ok" for row in results["runs"])
