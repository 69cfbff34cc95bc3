"""Bundles for several ranks generate what the golden files of transformers have: one fixture for each way in which weights,
ops and layers are divided. All are compiled for the cpu target in float32. Other families are checked by ShardTest with the reference
evaluator."""

import json
import pathlib

import tools

# Fixtures with the ranks of each stage, the stages, what they have that others do not, and options of compile-model.
FIXTURES = [
    ("llama-gqa", 2, 1, "grouped heads"),
    ("llama-mqa", 2, 1, "one kv head, which both ranks have"),
    ("gpt2", 2, 1, "transposed weights, biases, learned positions"),
    ("cohere", 2, 1, "attention beside the MLP, whose sum is reduced once"),
    ("gemma2", 2, 1, "soft caps, windows, tied head"),
    ("olmo2", 2, 1, "norms of whole rows, whose squares are summed over ranks"),
    ("phi3", 2, 1, "fused tensors that are divided before they are joined"),
    ("qwen2", 2, 1, "biases of q, k and v"),
    ("llama-gqa", 1, 2, "rope tables in both stages"),
    ("gpt2", 1, 2, "a tied head with a copy of the embedding", "--weights=link"),
    ("gemma2", 2, 2, "cache groups whose layers are in different stages"),
    ("olmo2", 2, 2, "rows that a product reads without a norm"),
    ("../quantized/ct-fp8-dynamic", 2, 1, "fp8 codes, scales of rows"),
    ("../quantized/fp8-tensor", 2, 2, "fp8 codes, scales of tensors"),
]


def test(t: tools.Tools, fixtures: pathlib.Path) -> None:
    for name, ranks, stages, what, *options in FIXTURES:
        model = fixtures / name
        golden = json.loads((model / "golden" / "golden.json").read_text())
        sizes = ("-tp", ranks, "-pp", stages)
        bundle = t.compile(model, "--overwrite", "--target", "cpu", "--dtype", "float32", *sizes, *options)
        result = t.generate(bundle, "--prompt-ids", ",".join(map(str, golden["prompt_ids"])), "--max-tokens",
                            len(golden["greedy_ids"]), "--temperature", 0, "--ignore-eos", *sizes)
        layers = [stage["layers"] for stage in json.loads(t.checked("inspect-bundle", bundle, "--json"))["stages"]]
        if len(layers) != stages or sum(layers) != json.loads((model / "config.json").read_text()).get("num_hidden_layers", 2):
            tools.fail(f"{name}: expected all layers in {stages} stages, found {layers}")
        title = f"{name} on {ranks * stages} ranks, {stages} stages ({what})"
        if result["token_ids"] != golden["greedy_ids"]:
            tools.fail(f"{title}: expected {golden['greedy_ids']}, found {result['token_ids']}")
        print(f"{title}: {len(result['token_ids'])} tokens equal")


tools.main(test)
