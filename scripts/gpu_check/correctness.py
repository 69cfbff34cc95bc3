"""Correctness: compares greedy tokens and logits with goldens of transformers and with the cpu target, and sampled
tokens with the probabilities of the logits."""

import array
import json
import pathlib
import shutil

from .common import EXAMPLE, FIXTURES, QUANTIZED, RUN_SECONDS, bundle_of, checked, sh, tools, write_json
from .sampling import sampling

# Each prompt of a fixture's batch is the golden prompt plus this many of its greedy tokens. So the lengths differ, and
# steps after a step at which a run may diverge from the golden are compared too. The longest prompt leaves room for 64
# tokens.
STARTS = (0, 16, 32)
STEPS = 64
# The same model in other configurations: numbers of sequences that select other kernels, other page sizes, separate
# norm kernels. Each runs on the listed fixtures, or on all. The prompts are the golden prompt plus 0, 1, 2 ... of its
# greedy tokens.
MANY_STEPS, MANY_SEQUENCES = 16, 48
SOME = ("llama-head-dim-96", "llama-odd-sizes", "llama-tied", "mistral-window", "qwen3")
LINKED = "linked weights"
VARIANTS = {  # fixtures, sequences, flags of the compiler
    "48 sequences": (None, MANY_SEQUENCES, ()),
    "24 sequences": (SOME, 24, ()),
    "10 sequences": (SOME, 10, ()),
    "pages of 64": (SOME, 48, ("--block-size", 64)),
    "pages of 128": (SOME, 48, ("--block-size", 128)),
    "norms apart": (SOME, 10, ("--without", "norm-prologues")),
    "cuBLASLt": (SOME, 10, ("--library", "always")),
    LINKED: (SOME, 10, ("--weights", "link")),
}


# Fixtures that also run with an fp8 cache: heads of 128 without scales, heads of 64 with scales of the checkpoint. They
# are compared with the cpu target, because what rounding keys and values costs is no question here.
FP8_CACHE = ("llama-head-dim-128", "modelopt-fp8")
FP8_CACHE_FLAGS = ("--dtype", "bfloat16", "--kv-cache-dtype", "fp8", "--activation-quantization", "none")

# A fixture as large as those of QUANTIZED, of the same architecture. Its errors of transformers in bfloat16 are taken
# for theirs: with quantized weights, transformers ran in float32 only.
AS_LARGE = "llama-gqa"


def fixtures(args) -> list[pathlib.Path]:
    everything = sorted(FIXTURES.iterdir()) + sorted(QUANTIZED.iterdir())
    if not args.fixtures:
        return everything
    models = []
    for name in args.fixtures.split(","):
        found = [model for model in everything if name in (model.name, model.parent.name) and (model / "golden").is_dir()]
        if not found:
            raise SystemExit(f"gpu-check: --fixtures {name}: no such directory of {FIXTURES} or {QUANTIZED} with a golden")
        models += found
    return models


def golden_of(model: pathlib.Path) -> tuple[dict, list[list[float]], list[float]]:
    """What transformers computes: golden.json, rows of logits in float32, and the error of each step in bfloat16."""
    golden = json.loads((model / "golden" / "golden.json").read_text())
    rounded = FIXTURES / AS_LARGE if model.parent == QUANTIZED else model
    golden["bf16_error"] = json.loads((rounded / "golden" / "golden.json").read_text())["bf16_error"]
    row_errors = tools.read_float32(rounded / "golden" / "logits.safetensors", "bf16_error")
    return golden, tools.read_float32(model / "golden" / "logits.safetensors", "logits"), [row[0] for row in row_errors]


def types_of(args) -> list[str]:
    """Goldens have floats for activations, keys and values, also those of checkpoints that quantize them."""
    if args.target == "cpu":
        return ["--dtype", "float32"]
    return ["--dtype", "bfloat16", "--kv-cache-dtype", "bfloat16", "--activation-quantization", "none"]


def fixture_bundle(args, model):
    return bundle_of(args, model.name, model, *types_of(args), "--max-num-seqs", "4", "--max-num-batched-tokens", "256")


def variant_bundle(args, model, variant: str):
    *_, flags = VARIANTS[variant]
    name = variant.replace(" ", "-") if flags else "many"
    return bundle_of(args, f"{model.name}.{name}", model, *types_of(args), "--max-num-seqs", 64, "--max-num-batched-tokens", 512, *flags)


def fp8_cache_bundle(args, model):
    return bundle_of(args, f"{model.name}.fp8-cache", model, *FP8_CACHE_FLAGS, "--max-num-seqs", 64, "--max-num-batched-tokens", 512)


def fp8_cache_reference(args, model) -> pathlib.Path:
    """The greedy tokens and logits of the cpu target with an fp8 cache, computed on the machine with the compiler."""
    path = args.bundles / f"{model.name}.fp8-cache.reference.json"
    if not path.exists() and (args.bin / "compile-model").exists():
        golden, logits, _ = golden_of(model)
        bundle = args.out / f"{model.name}.fp8-cache.cpu"
        sh(args.bin / "compile-model", model, "-o", bundle, "--target", "cpu", *FP8_CACHE_FLAGS, "-q", "--overwrite")
        [(tokens, rows)] = generate(args, bundle, "cpu", len(logits[0]), [golden["prompt_ids"]], steps=len(golden["greedy_ids"]))
        shutil.rmtree(bundle)
        write_json(path, {"greedy_ids": tokens, "logits": rows})
    return path


def variants_of(args, model) -> list[str]:
    wanted = list(VARIANTS) if args.variants is None else [name for name in args.variants.split(",") if name != "none"]
    for name in wanted:
        if name not in VARIANTS:
            raise SystemExit(f"gpu-check: --variants {name}: expected none or some of {', '.join(VARIANTS)}")
    return [name for name in wanted if not VARIANTS[name][0] or model.name in VARIANTS[name][0]]


def example_bundle(args):
    return bundle_of(args, EXAMPLE.parent.name, EXAMPLE, "--dtype", "float32" if args.target == "cpu" else "bfloat16")


class Mismatch(Exception):
    pass


def part_of_tokens(expected, found, expected_rows, bf16_error: float, label: str) -> int:
    """The number of steps up to the first different token, including that step. Tokens may differ only because of
    rounding: if the two best logits are closer than four times the root mean square error of transformers' bfloat16
    logits, which is about three standard deviations of the difference of two such logits. The error of Inlay's logits
    does not extend this limit."""
    for step, (token, other) in enumerate(zip(expected, found)):
        if token == other:
            continue
        row = expected_rows[step]
        best = sorted(row)[-2:]
        margin, rounding = best[1] - best[0], 4 * bf16_error * tools.norm(row) / len(row) ** 0.5
        if not margin <= rounding:
            raise Mismatch(f"{label}: step {step}: token {other}, expected {token}: margin {margin:.3f}, rounding {rounding:.3f}")
        return step + 1
    return min(len(expected), len(found))


def compare_rows(expected, found) -> list[tuple[float, float]]:
    """For each pair of rows: (norm of the difference, norm of the expected row)."""
    return [(tools.norm(a - b for a, b in zip(e, f)), tools.norm(e)) for e, f in zip(expected, found)]


def relative(pairs) -> float:
    return tools.norm(difference for difference, _ in pairs) / tools.norm(size for _, size in pairs)


def compare(golden: dict, logits, row_errors, runs, exact: bool) -> dict:
    """Compares the runs of one fixture with its golden. `runs` is {"alone": outputs, "batch": outputs}, with one output
    (tokens, rows of logits) per entry of STARTS. `exact`: the cpu target in float32, where a batch is bitwise equal to
    single runs.

    In bfloat16, the error over all steps must be at most 1.5 times that of transformers' bfloat16 run, and the error of
    each step at most 1.5 times the largest error of a step of that run. (The errors of a single step are independent in
    the two runs, so their ratio may be near 2 by chance.)
    """
    tokens, error = golden["greedy_ids"], golden["bf16_error"]
    result = {"steps": 0, "relative_error": float("nan"), "transformers_bf16_error": error, "worst_step": float("nan"),
              "verdict": "ok"}
    pairs, covered = [], set()
    try:
        for kind, outputs in runs.items():
            for start, (found, rows) in zip(STARTS, outputs, strict=True):
                label = f"{kind}, prompt + {start} tokens"
                if len(found) != STEPS or len(rows) != STEPS or any(len(row) != len(logits[0]) for row in rows):
                    raise Mismatch(f"{label}: {len(found)} tokens and {len(rows)} rows of logits, expected {STEPS}")
                steps = part_of_tokens(tokens[start:], found, logits[start:], error, label)
                if exact and steps < len(tokens) - start:
                    raise Mismatch(f"{label}: step {steps - 1}: token {found[steps - 1]}, expected {tokens[start + steps - 1]}")
                pairs += compare_rows(logits[start : start + steps], rows)
                covered |= set(range(start, start + steps))
        for start, (found, rows), (other, others) in zip(STARTS, runs["alone"], runs["batch"], strict=True):
            if exact and (found, rows) != (other, others):
                raise Mismatch(f"prompt + {start} tokens: logits in a batch differ from those alone")
            part_of_tokens(found, other, rows, error, f"batch against alone, prompt + {start} tokens")
    except Mismatch as mismatch:
        result["verdict"] = str(mismatch)
    if pairs:
        result |= {"relative_error": relative(pairs), "worst_step": max(relative([pair]) for pair in pairs)}
    result["steps"] = len(covered)
    limit, step_limit = (1e-5, 1e-4) if exact else (1.5 * error, 1.5 * max(row_errors))
    if result["verdict"] == "ok" and not result["relative_error"] <= limit:
        result["verdict"] = f"relative error {result['relative_error']:.2e}, at most {limit:.2e}"
    if result["verdict"] == "ok" and not all(relative([pair]) <= step_limit for pair in pairs):
        result["verdict"] = f"relative error of a step {result['worst_step']:.2e}, at most {step_limit:.2e}"
    return result


def generate(args, bundle, target: str, width: int, prompts, *flags, steps: int = STEPS, temperature: float = 0) -> list:
    """Generates `steps` tokens for each prompt. Returns (token ids, rows of logits) per prompt."""
    out = args.out / "logits.bin"
    ids = [flag for prompt in prompts for flag in ("--prompt-ids", ",".join(map(str, prompt)))]
    run = json.loads(sh(args.bin / "run-model", bundle, "--target", target, *ids, "--max-tokens", steps, "--temperature", temperature,
                        "--ignore-eos", "--json", "--logits-out", out, *flags, timeout=RUN_SECONDS))
    values = array.array("f", out.read_bytes())
    out.unlink()
    rows = [values[i : i + width].tolist() for i in range(0, len(values), width)]
    result = []
    for output in run["outputs"] if len(prompts) > 1 else [run]:
        count = len(output["token_ids"])
        result.append((output["token_ids"], rows[:count]))
        rows = rows[count:]
    return result


def fixture(args, model) -> dict:
    golden, logits, row_errors = golden_of(model)
    prompts = [golden["prompt_ids"] + golden["greedy_ids"][:start] for start in STARTS]
    bundle = fixture_bundle(args, model)
    runs = {"alone": generate(args, bundle, args.target, len(logits[0]), prompts, "--max-num-seqs", 1),
            "batch": generate(args, bundle, args.target, len(logits[0]), prompts)}
    return compare(golden, logits, row_errors, runs, exact=args.target == "cpu")


def compare_many(golden: dict, logits, row_errors, outputs, exact: bool) -> dict:
    """Compares outputs (tokens, rows of logits) for the golden prompt plus 0, 1, 2 ... of its greedy tokens with the
    golden. Of so many steps some have errors like the largest of transformers, by which tokens may differ."""
    tokens, error, pairs = golden["greedy_ids"], golden["bf16_error"], []
    result = {"relative_error": float("nan"), "transformers_bf16_error": error, "verdict": "ok"}
    try:
        for start, (found, rows) in enumerate(outputs):
            label = f"prompt + {start} tokens"
            if len(found) != MANY_STEPS or len(rows) != MANY_STEPS:
                raise Mismatch(f"{label}: {len(found)} tokens and {len(rows)} rows of logits, expected {MANY_STEPS}")
            steps = part_of_tokens(tokens[start:], found, logits[start:], max(row_errors), label)
            if exact and steps < MANY_STEPS:
                raise Mismatch(f"{label}: step {steps - 1}: token {found[steps - 1]}, expected {tokens[start + steps - 1]}")
            pairs += compare_rows(logits[start : start + steps], rows)
    except Mismatch as mismatch:
        result["verdict"] = str(mismatch)
    if pairs:
        result["relative_error"] = relative(pairs)
    limit = 1e-5 if exact else 1.5 * error
    if result["verdict"] == "ok" and not result["relative_error"] <= limit:
        result["verdict"] = f"relative error {result['relative_error']:.2e}, at most {limit:.2e}"
    return result


def variant_of(args, model, variant: str) -> dict:
    golden, logits, row_errors = golden_of(model)
    prompts = [golden["prompt_ids"] + golden["greedy_ids"][:start] for start in range(VARIANTS[variant][1])]
    bundle, width = variant_bundle(args, model, variant), len(logits[0])
    # The bundle may have been compiled on another machine, where the checkpoint has another path and modification time.
    where = ("--weights-source", model) if variant == LINKED else ()
    outputs = generate(args, bundle, args.target, width, prompts, *where, steps=MANY_STEPS)
    result = compare_many(golden, logits, row_errors, outputs, exact=args.target == "cpu")
    if variant == LINKED and result["verdict"] == "ok":
        # The weights that the runtime packs while loading must be bitwise equal to those that the compiler packs.
        packed = variant_bundle(args, model, "10 sequences")
        alone = [generate(args, which, args.target, width, prompts[:1], "--max-num-seqs", 1, *flags, steps=MANY_STEPS)
                 for which, flags in ((packed, ()), (bundle, where))]
        if alone[0] != alone[1]:
            result["verdict"] = "tokens or logits with --weights=link differ from those with --weights=pack"
    return result


def fp8_cache(args, model) -> dict:
    """Decode steps of many sequences and their prompts with an fp8 cache."""
    path = fp8_cache_reference(args, model)
    if not path.exists():
        return {"verdict": f"not run: {path} is missing; run scripts/gpu-check --prepare on a machine with compile-model"}
    golden, _, row_errors = golden_of(model)
    reference = json.loads(path.read_text())
    golden["greedy_ids"] = reference["greedy_ids"]
    # Both targets round to bfloat16, and a difference of that size moves a key or value in twenty to the code beside it.
    golden["bf16_error"] *= 2
    prompts = [golden["prompt_ids"] + golden["greedy_ids"][:start] for start in range(MANY_SEQUENCES)]
    outputs = generate(args, fp8_cache_bundle(args, model), args.target, len(reference["logits"][0]), prompts, steps=MANY_STEPS)
    return compare_many(golden, reference["logits"], [2 * error for error in row_errors], outputs, exact=False)


def example_reference(args) -> pathlib.Path:
    """The output of the cpu target for the example model in float32. It is computed on the machine with the compiler,
    because a bundle for one cpu may not run on another."""
    path = args.bundles / "stdlib_model.reference.json"
    if not path.exists() and (args.bin / "compile-model").exists():
        bundle = args.out / "stdlib_model.cpu"
        sh(args.bin / "compile-model", EXAMPLE, "-o", bundle, "--target", "cpu", "--dtype", "float32", "-q", "--overwrite")
        prompt = json.loads(sh(args.bin / "run-model", bundle, "--prompt", "class Server", "--tokenize", "--json"))
        width = json.loads((EXAMPLE / "config.json").read_text())["vocab_size"]
        [(tokens, rows)] = generate(args, bundle, "cpu", width, [prompt["prompt_token_ids"]])
        shutil.rmtree(bundle)
        write_json(path, {"prompt_ids": prompt["prompt_token_ids"], "token_ids": tokens, "logits": rows})
    return path


def example(args, bf16_error: float) -> dict:
    """Compares the example model's greedy tokens with those of the cpu target. `bf16_error` is transformers' largest
    error on the fixtures."""
    path = example_reference(args)
    if not path.exists():
        hint = "run scripts/gpu-check --prepare on a machine with compile-model"
        return {"verdict": f"not run: {path} is missing; {hint}"}
    reference = json.loads(path.read_text())
    expected = reference["logits"]
    bundle = example_bundle(args)
    [(tokens, rows)] = generate(args, bundle, args.target, len(expected[0]), [reference["prompt_ids"]])
    result = {"verdict": "ok"}
    try:
        if len(tokens) != STEPS or len(rows) != STEPS:
            raise Mismatch(f"{len(tokens)} tokens and {len(rows)} rows of logits, expected {STEPS}")
        result["steps"] = part_of_tokens(reference["token_ids"], tokens, expected, bf16_error, "example model")
        result["relative_error"] = relative(compare_rows(expected[: result["steps"]], rows))
        if not result["relative_error"] <= 1.5 * bf16_error:
            raise Mismatch(f"relative error {result['relative_error']:.2e}, at most {1.5 * bf16_error:.2e}")
    except Mismatch as mismatch:
        result["verdict"] = str(mismatch)
    return result


def prepare(args) -> None:
    """Compiles all bundles of this part and computes the reference, which needs the compiler."""
    for model in fixtures(args):
        fixture_bundle(args, model)
        for variant in variants_of(args, model):
            variant_bundle(args, model, variant)
        if args.target != "cpu" and model.name in FP8_CACHE:
            fp8_cache_bundle(args, model)
            fp8_cache_reference(args, model)
    example_bundle(args)
    if args.target != "cpu":
        example_reference(args)


def correctness(args, result: dict, save) -> None:
    result["fixtures"] = []
    for model in fixtures(args):
        row = {"fixture": model.name, "steps": 0, "relative_error": float("nan"), "transformers_bf16_error": float("nan")}
        row |= checked(fixture, args, model)
        result["fixtures"].append(row)
        print("  {fixture:22} {steps:3} steps, relative error {relative_error:.2e} (transformers bf16 "
              "{transformers_bf16_error:.2e}): {verdict}".format(**row), flush=True)
    result["variants"] = []
    for model in fixtures(args):
        for variant in variants_of(args, model):
            row = {"fixture": model.name, "variant": variant, "relative_error": float("nan")}
            row |= checked(variant_of, args, model, variant)
            result["variants"].append(row)
            print("  {fixture:22} {variant}, relative error {relative_error:.2e}: {verdict}".format(**row), flush=True)
        if args.target != "cpu" and model.name in FP8_CACHE:
            row = {"fixture": model.name, "variant": "fp8 cache", "relative_error": float("nan")} | checked(fp8_cache, args, model)
            result["variants"].append(row)
            print("  {fixture:22} {variant}, relative error {relative_error:.2e}: {verdict}".format(**row), flush=True)
    verdicts = [row["verdict"] for row in result["fixtures"] + result["variants"]]
    if args.target != "cpu":
        errors = [golden_of(model)[0]["bf16_error"] for model in fixtures(args)]
        result["example"] = checked(example, args, max(errors))
        print(f"  example model: {result['example']['verdict']}", flush=True)
        if not result["example"]["verdict"].startswith("not run"):
            verdicts.append(result["example"]["verdict"])
    # Many draws are cheap on a GPU. On the cpu target, fewer draws keep the test short.
    result["sampling"] = checked(sampling, args, example_bundle(args), 1 if args.target == "cpu" else 16)
    verdicts.append(result["sampling"]["verdict"])
    result["passed"] = all(verdict == "ok" for verdict in verdicts)
