"""Bundles of several ranks for a GPU: collectives are kernels, with the memory that they need. The kernels' text needs no NVRTC; the
plan of a bundle does. emulated_collectives and scripts/gpu-check run such kernels."""

import json
import pathlib
import re

import tools

# Fixtures with the ranks of a bundle, and what the kernels call that exchange. In gemma2 and olmo2 a norm comes between a sum and
# the residual; in the others the residual is added in the kernel of the sum, and linear layers push their rows to it. In steps of one row, the product behind the sum
# receives it, but not behind the layer_norm of cohere.
ONE_SHOT, GATHER, FUSED, PUSHED, RECEIVED = "all_reduce_one_shot", "all_gather", "receive_pushed", "push_elements", "receive_pieces"
FIXTURES = [
    ("llama-gqa", 2, {FUSED, PUSHED, RECEIVED, GATHER}),
    ("llama-mqa", 4, {FUSED, PUSHED, RECEIVED, GATHER}),
    ("cohere", 2, {FUSED, PUSHED, GATHER}),
    ("gemma2", 2, {ONE_SHOT, GATHER}),
    ("olmo2", 2, {ONE_SHOT, GATHER}),
    ("qwen2", 2, {FUSED, PUSHED, RECEIVED, GATHER}),
]


def test(t: tools.Tools, fixtures: pathlib.Path) -> None:
    for name, ranks, expected in FIXTURES:
        text = t.checked("compile-model", fixtures / name, "--emit", "cuda", "--target", "sm_90a", "--dtype", "bfloat16", "-tp", ranks, "--sum-prologues",
                         "-o", t.scratch / "unused", "-q")
        found = set(re.findall(r"^ *(all_\w+)<%d>\(output1, activation0, peers, " % ranks, text, re.MULTILINE))
        if re.search(r"begin_round<%d>\(peers\)" % ranks, text):
            found |= set(re.findall(r"^ *(receive_p[a-z]*)[(<]", text, re.MULTILINE))
        if re.search(r"begin_pushes<%d>\(peers, " % ranks, text):
            found |= set(re.findall(r"^ *(push_elements)<", text, re.MULTILINE))
        if found != expected:
            tools.fail(f"{name} on {ranks} ranks: expected calls of {expected}, found {found}")
        print(f"{name} on {ranks} ranks: {len(re.findall('PeerTable', text))} kernels of collectives")

    # A vocabulary that is so large that the logits of two rows do not fit the 8 MiB of a round of the exchange.
    config = json.loads((fixtures / "llama-gqa" / "config.json").read_text()) | {"vocab_size": 1_200_000}
    bundle, model = t.scratch / "bundle", t.scratch / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(config))
    # Decode steps of one and of two sequences, and steps of 32 tokens.
    result = t.run("compile-model", model, "-o", bundle, "--dummy-weights", "--target", "sm_90a", "--dtype", "bfloat16", "-tp", 2,
                   "--max-num-seqs", 2, "--max-num-batched-tokens", 32, "-q")
    if not tools.compiled_for_gpu(result, "the plan of a bundle for two GPUs"):
        return
    facts = json.loads(t.checked("inspect-bundle", bundle, "--json"))
    bytes_of = {}
    for kernel in facts["targets"][0]["kernels"]:
        if "collective" not in kernel:
            continue
        bytes_of.setdefault(kernel["collective"], set()).add(kernel["exchange_bytes"])
        for name in [kernel["name"]] + ([kernel["epilogue"]["name"]] if "epilogue" in kernel else []):
            if not (bundle / f"kernels/sm_90a/{name}.cubin").exists():
                tools.fail(f"{name} has no cubin")
        if (kernel["collective"] == "AllReduce") != ("epilogue" in kernel):
            tools.fail(f"{kernel['name']}: expected that the residual follows each sum, found {kernel}")
    # Two ranks, each with all columns of a row in bfloat16, and with half of the logits of a row in float32, however many rows
    # there are. The best token of each row is in a word of 16 bytes.
    expected = {"AllReduce": {2 * rows * config["hidden_size"] * 2 for rows in (1, 2, 32)},
                "AllGather": {config["vocab_size"] * 4} | {2 * rows * 16 for rows in (1, 2)}}
    if facts["ranks"] != 2 or bytes_of != expected:
        tools.fail(f"expected 2 ranks that exchange {expected} bytes, found {facts['ranks']} and {bytes_of}")
    print(f"exchange memory by collective: {bytes_of}")

    # Kernels that unpack codes have few registers left for the memory of eight ranks. Spills are errors.
    config = json.loads((pathlib.Path(__file__).parents[1] / "bench/models/llama-3.1-8b/config.json").read_text()) | {"num_hidden_layers": 1}
    (model / "config.json").write_text(json.dumps(config))
    t.checked("compile-model", model, "-o", t.scratch / "codes", "--dummy-weights", "--target", "sm_90a", "--dtype", "bfloat16", "-tp", 8,
              "--quantization", "int4", "--max-num-seqs", 16, "--max-num-batched-tokens", 16, "-q")

    # Codes by codes: the kernel of a sum norms the new rows and quantizes them, except for the last one, whose rows are gathered. Products
    # of more than 128 rows have two tiles of sums, each of which is pushed.
    t.checked("compile-model", model, "-o", bundle, "--overwrite", "--dummy-weights", "--target", "sm_90a", "--dtype", "bfloat16", "-tp", 2,
              "--quantization", "fp8", "--max-num-seqs", 16, "--max-num-batched-tokens", 256, "-q")
    entries = {entry["name"]: [launch["origin"].split(": ") for launch in entry["launches"]]
               for entry in json.loads(t.checked("inspect-bundle", bundle, "--json"))["targets"][0]["entries"]}
    sums = {name: [ops for _, ops in launches if "all_reduce" in ops] for name, launches in entries.items()}
    expected = {name: ["all_reduce add rms_norm quantize" if name in ("decode_16", "mixed") else "all_reduce add", "all_reduce add"] for name in sums}
    if sums != expected or not {"decode_16", "mixed"} <= sums.keys():
        tools.fail(f"fp8 on 2 ranks: expected sums {expected}, found {sums}")
    pushes = (bundle / "kernels/sm_90a/mixed_o_proj.cu").read_text()
    if (pushes.count("begin_pushes<2>("), pushes.count("push_elements<")) != (1, 2):
        tools.fail(f"fp8 on 2 ranks: expected that mixed_o_proj reads the table once and pushes two tiles, found\n{pushes}")
    print(f"fp8 on 2 ranks: sums {sums}")


tools.main(test)
