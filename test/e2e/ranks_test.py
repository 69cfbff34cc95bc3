"""Bundles for several ranks generate what the golden files of transformers have: one fixture for each way in which weights and
ops are divided. All are compiled for the cpu target in float32. Other families are checked by ShardTest with the reference
evaluator."""

import json
import pathlib

import tools

# Fixtures with the number of ranks and what they have that others do not.
FIXTURES = {
    "llama-gqa": (2, "grouped heads"),
    "llama-mqa": (2, "one kv head, which both ranks have"),
    "gpt2": (2, "transposed weights, biases, learned positions"),
    "cohere": (2, "attention beside the MLP, whose sum is reduced once"),
    "gemma2": (2, "soft caps, windows, tied head"),
    "olmo2": (2, "norms of whole rows, whose squares are summed over ranks"),
    "phi3": (2, "fused tensors that are divided before they are joined"),
    "qwen2": (2, "biases of q, k and v"),
}


def test(t: tools.Tools, fixtures: pathlib.Path) -> None:
    for name, (ranks, what) in FIXTURES.items():
        model = fixtures / name
        golden = json.loads((model / "golden" / "golden.json").read_text())
        bundle = t.compile(model, "--target", "cpu", "--dtype", "float32", "--tensor-parallel-size", ranks)
        result = t.generate(bundle, "--prompt-ids", ",".join(map(str, golden["prompt_ids"])), "--max-tokens",
                            len(golden["greedy_ids"]), "--temperature", 0, "--ignore-eos", "-tp", ranks)
        if result["token_ids"] != golden["greedy_ids"]:
            tools.fail(f"{name} on {ranks} ranks ({what}): expected {golden['greedy_ids']}, found {result['token_ids']}")
        print(f"{name} on {ranks} ranks ({what}): {len(result['token_ids'])} tokens equal")


tools.main(test)
