"""Bundles of several ranks for a GPU: collectives are kernels, with the memory that they need. The kernels' text needs no NVRTC; the
plan of a bundle does. emulated_collectives and scripts/gpu-check run such kernels."""

import json
import pathlib
import re

import tools

# Fixtures with the ranks of a bundle, and the collectives of the text of its kernels.
ONE_SHOT, GATHER = "all_reduce_one_shot", "all_gather"
FIXTURES = [
    ("llama-gqa", 2, {ONE_SHOT, GATHER}),
    ("llama-mqa", 4, {ONE_SHOT, GATHER}),
    ("cohere", 2, {ONE_SHOT, GATHER}),
    ("gemma2", 2, {ONE_SHOT, GATHER}),
    ("olmo2", 2, {ONE_SHOT, GATHER}),
    ("qwen2", 2, {ONE_SHOT, GATHER}),
]


def test(t: tools.Tools, fixtures: pathlib.Path) -> None:
    for name, ranks, expected in FIXTURES:
        text = t.checked("compile-model", fixtures / name, "--emit", "cuda", "--target", "sm_90a", "--dtype", "bfloat16", "-tp", ranks,
                         "-o", t.scratch / "unused", "-q")
        found = set(re.findall(r"^ *(all_\w+)<%d>\(output1, activation0, peers, " % ranks, text, re.MULTILINE))
        if found != expected:
            tools.fail(f"{name} on {ranks} ranks: expected calls of {expected}, found {found}")
        print(f"{name} on {ranks} ranks: {len(re.findall('PeerTable', text))} kernels of collectives")

    bundle = t.scratch / "bundle"
    # Decode steps of one and of two sequences, and steps of 32 tokens.
    result = t.run("compile-model", fixtures / "llama-gqa", "-o", bundle, "--target", "sm_90a", "--dtype", "bfloat16", "-tp", 2,
                   "--max-num-seqs", 2, "--max-num-batched-tokens", 32, "-q")
    if not tools.compiled_for_gpu(result, "the plan of a bundle for two GPUs"):
        return
    config = json.loads((fixtures / "llama-gqa" / "config.json").read_text())
    facts = json.loads(t.checked("inspect-bundle", bundle, "--json"))
    bytes_of = {}
    for kernel in facts["targets"][0]["kernels"]:
        if "collective" not in kernel:
            continue
        bytes_of.setdefault(kernel["collective"], set()).add(kernel["exchange_bytes"])
        if not (bundle / f"kernels/sm_90a/{kernel['name']}.cubin").exists():
            tools.fail(f"{kernel['name']} has no cubin")
    # Two ranks, each with all columns of a row in bfloat16.
    sums = {2 * rows * config["hidden_size"] * 2 for rows in (1, 2, 32)}
    if facts["ranks"] != 2 or bytes_of.get("AllReduce") != sums or "AllGather" not in bytes_of:
        tools.fail(f"expected 2 ranks and sums that exchange {sums} bytes, found {facts['ranks']} and {bytes_of}")
    print(f"exchange memory by collective: {bytes_of}")


tools.main(test)
