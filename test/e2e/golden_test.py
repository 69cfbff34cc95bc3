"""A fixture of test/fixtures/models or test/fixtures/quantized, compiled for the cpu target in float32, computes the same results as transformers.

The 64 greedy tokens are equal. Log-probabilities over the whole vocabulary are compared instead of logits, because
logits are only defined up to a constant per row. The norm of their difference to the golden ones is at most 1e-5 of the
norm of the golden logits. With linked weights, all results are bitwise equal. Only the first bundle of a fixture has
steps of several rows, whose kernels take most of the compilation: a row has the same bits in any step.
"""

import json
import pathlib
import shutil

import tools

TOLERANCE = 1e-5
ONE_ROW = ("--max-num-seqs", 1, "--max-num-batched-tokens", 1)
# Fixtures whose weights are parts of tensors, or in another order.
PARTS_OF_TENSORS = ("cohere-qk-norm", "glm", "gpt-neox", "gpt2", "phi3", "stablelm-qk-norm")


def compare(model: pathlib.Path, result: dict, golden: dict, logits: list[list[float]]) -> float:
    """Checks that `result` has the golden tokens, and returns the relative error of its log-probabilities."""
    if result["prompt_token_ids"] != golden["prompt_ids"]:
        tools.fail(f"prompt: expected {golden['prompt_ids']}, found {result['prompt_token_ids']}")
    if result["token_ids"] != golden["greedy_ids"]:
        tools.fail(f"greedy tokens: expected {golden['greedy_ids']}, found {result['token_ids']}")
    vocabulary = len(logits[0])
    difference, reference = [], []
    for step, (row, found) in enumerate(zip(logits, result["logprobs"])):
        probabilities = {entry["id"]: entry["logprob"] for entry in found["top"]}
        if len(probabilities) != vocabulary:
            tools.fail(f"step {step}: --logprobs {vocabulary} gave {len(probabilities)} tokens")
        difference += [probabilities[i] - value for i, value in enumerate(tools.log_softmax(row))]
        reference += row
    error = tools.norm(difference) / tools.norm(reference)
    if error > TOLERANCE:
        tools.fail(f"{model.name}: log-probabilities: expected a relative error of at most {TOLERANCE}, found {error:.2e}")
    return error


def test_dynamic_rope(t: tools.Tools, model: pathlib.Path, golden: dict, logits: list[list[float]], prompt: list) -> None:
    """Within the trained length, results do not depend on the --max-model-len of the bundle (vllm-project/vllm issue
    3488). Generation may continue beyond the trained length. A longer prompt is refused, because it would need other
    rotations for all of its tokens."""
    trained = json.loads((model / "config.json").read_text())["max_position_embeddings"]
    for length in (len(golden["prompt_ids"]) + len(golden["greedy_ids"]), trained * 8):
        bundle = t.compile(model, "--target", "cpu", "--dtype", "float32", "--max-model-len", length, "--overwrite", *ONE_ROW)
        compare(model, t.generate(bundle, *prompt), golden, logits)
    # The golden tokens are from make_dynamic_rope_golden.py.
    beyond = json.loads((model / "golden" / "beyond.json").read_text())["greedy_ids"]
    grown = t.generate(bundle, *prompt[:2], "--max-tokens", len(beyond), "--temperature", 0, "--ignore-eos")["token_ids"]
    if grown != beyond:
        tools.fail(f"{model.name}: beyond the trained length: expected {beyond}, found {grown}")
    refused = t.run("run-model", bundle, "--prompt-ids", ",".join(["3"] * (trained + 1)), "--max-tokens", 1)
    if refused.returncode != 1 or f"expected at most {trained}" not in refused.stderr:
        tools.fail(f"{model.name}: expected a prompt of {trained + 1} tokens to be refused, found {refused.stderr!r}")


def check_tokens(t: tools.Tools, model: pathlib.Path, bundle: pathlib.Path, ids: list[int], first: int, end: int, *options) -> None:
    """After `first` tokens of `ids`, the next ones up to `end` are generated."""
    found = t.generate(bundle, "--prompt-ids", ",".join(map(str, ids[:first])), "--max-tokens", end - first,
                       "--temperature", 0, "--ignore-eos", *options)["token_ids"]
    if found != ids[first:end]:
        tools.fail(f"{model.name}: after {first} tokens {' '.join(map(str, options))}: expected {ids[first:end]}, found {found}")


def test_long_rope(t: tools.Tools, model: pathlib.Path, bundle: pathlib.Path, golden: dict) -> None:
    """The golden tokens cross the original length. A sequence that starts as a longer prompt continues with the same tokens,
    and a bundle for short sequences alone computes those up to the original length."""
    original = json.loads((model / "config.json").read_text())["original_max_position_embeddings"]
    ids = golden["prompt_ids"] + golden["greedy_ids"]
    if not len(golden["prompt_ids"]) < original < len(ids) - 8:
        tools.fail(f"{model.name}: {len(ids)} golden tokens do not cross the original length of {original}")
    # Draft tokens end where the rotations change.
    check_tokens(t, model, bundle, ids, len(golden["prompt_ids"]), len(ids), "--num-speculative-tokens", 4)
    for first, end in ((original + 4, len(ids)), (original - 4, original)):
        if end == original:
            t.compile(model, "--target", "cpu", "--dtype", "float32", "--max-model-len", original, "--overwrite", *ONE_ROW)
        check_tokens(t, model, bundle, ids, first, end)


def test_without_fusion(t: tools.Tools, model: pathlib.Path, golden: dict, logits: list[list[float]], prompt: list) -> float:
    """Each op lowers alone, and fusion changes no more than the order of sums. kernels_test has steps of several rows."""
    bundle = t.scratch / "unfused.inlay"
    t.checked("compile-model", model, "-o", bundle, "-q", "--target", "cpu", "--dtype", "float32", "--without", "fusion",
              *ONE_ROW)
    entries = json.loads(t.checked("inspect-bundle", bundle, "--json"))["targets"][0]["entries"]
    fused = {launch["origin"] for entry in entries for launch in entry["launches"] if len(launch["origin"].partition(": ")[2].split()) > 1}
    if fused:
        tools.fail(f"{model.name}: --without fusion: expected kernels of one op, found {sorted(fused)}")
    return compare(model, t.generate(bundle, *prompt), golden, logits)


def test(t: tools.Tools, model: pathlib.Path) -> None:
    golden = json.loads((model / "golden" / "golden.json").read_text())
    logits = tools.read_float32(model / "golden" / "logits.safetensors", "logits")
    vocabulary, steps = len(logits[0]), len(golden["greedy_ids"])
    bundle = t.compile(model, "--target", "cpu", "--dtype", "float32")
    prompt = ["--prompt-ids", ",".join(map(str, golden["prompt_ids"])), "--max-tokens", steps, "--temperature", 0,
              "--ignore-eos", "--logprobs", vocabulary]
    result = t.generate(bundle, *prompt)
    print(f"{model.name}: {steps} tokens equal, relative error {compare(model, result, golden, logits):.1e}")
    print(f"without fusion: relative error {test_without_fusion(t, model, golden, logits, prompt):.1e}")
    if model.name == "llama-rope-dynamic":
        test_dynamic_rope(t, model, golden, logits, prompt)
    if model.name == "phi3-longrope":
        test_long_rope(t, model, bundle, golden)

    if vocabulary < 256 and model.name not in PARTS_OF_TENSORS and model.parent.name != "quantized":
        return  # The small fixtures read whole tensors, as those before them do.
    linked = t.scratch / "linked.inlay"
    t.checked("compile-model", model, "-o", linked, "-q", "--target", "cpu", "--dtype", "float32", "--weights", "link", *ONE_ROW)
    if any(file.suffix == ".bin" for file in linked.rglob("*")):
        tools.fail(f"{model.name}: --weights=link copied weights")
    copy = t.scratch / "elsewhere"
    shutil.copytree(model, copy, copy_function=shutil.copyfile)  # with new file times, as on another machine
    for where in ((), ("--weights-source", copy)):
        again = t.generate(linked, *prompt, *where)
        for part in ("token_ids", "logprobs"):
            if again[part] != result[part]:
                tools.fail(f"{model.name}: {part} with --weights=link {' '.join(map(str, where))} differ from those with --weights=pack")


tools.main(test)
