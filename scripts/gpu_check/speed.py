"""Speed: whole steps, kernels and attention alone as a share of memory bandwidth, steps without one optimization, and
other engines in the same run.

Each part is a table of steps of at most a few minutes, whose results are saved one by one (common.run_steps)."""

import itertools
import json
import os
import pathlib
import sys

from .common import ATTENTION, ROOT, SHAPES, bench_json, bundle_of, run_steps, sh

# (sequences, context, tokens) of decode steps, with one bench-model run per group.
DECODE = {
    "llama-3.1-8b": {"few": ("1,8,16,32,64", 512, 64), "many": ("128,256", 512, 32), "long": ("1", 2048, 64),
                     "long-64": ("64", 2048, 32)},
    "llama-3.2-1b": {"few": ("1,8,64", 512, 64), "long": ("1,8", 2048, 64)},
    "gemma-3-12b": {"few": ("1,8,64", 512, 32)},
    "phi-4": {"few": ("1,8,64", 512, 32)},
    "qwen3-8b": {"few": ("1,8,64", 512, 32)},
}
# The same with quantized weights: flags of the compiler, bytes of an element of the layers' weights and of the cache, and
# steps. int4 has a float32 for the scale of 128 codes.
CODES = {
    "llama-3.1-8b": {
        "fp8 weights": (("--quantization", "fp8"), 1, 2, {"few": ("1,4,8,16,64", 512, 32), "long-64": ("64", 2048, 32)}),
        "fp8 weights and cache": (("--quantization", "fp8", "--kv-cache-dtype", "fp8"), 1, 1, {"long-64": ("64", 2048, 32)}),
        "int4 weights": (("--quantization", "int4"), 0.5 + 4 / 128, 2, {"few": ("1,4,8,16,64", 512, 32)}),
    },
    "llama-3.1-70b": {
        "fp8 weights": (("--quantization", "fp8"), 1, 2, {"few": ("1", 512, 16)}),
        "int4 weights": (("--quantization", "int4"), 0.5 + 4 / 128, 2, {"few": ("1", 512, 16)}),
    },
}
CODES_SEQUENCES = 64
# Tensor parallel ranks and the decode steps that are measured with them.
RANKS = {
    "llama-3.1-8b": {2: ("1,8,64", 512, 32), 4: ("1,8,64", 512, 32)},
    "llama-3.1-70b": {2: ("1,64", 512, 16), 4: ("1,64", 512, 16)},
}
# The models whose kernels, optimizations and peers are measured too.
PEERS = {
    "llama-3.1-8b": ("compiled 1 512", "compiled 64 512", "compiled 64 2048", "compiled-prefill 1 2048", "eager 1 512",
                     "eager-prefill 1 2048"),
    "llama-3.2-1b": ("compiled 1 512", "compiled 8 512", "compiled-prefill 1 2048", "eager 1 512", "eager-prefill 1 2048"),
}
# (sequences, context) for attention alone: one launch for the keys and values of one layer.
ALONE = {
    "one sequence": ("1", "8192,32768"),
    "batches": ("8,64", "2048"),
    "ragged": ("16", "100:16384"),
}
CACHES = ("auto", "fp8")
VARIANTS = ("dependent-launch", "early-fill", "norm-prologues")
ROWS = "1,8,64,256"
PEER_SECONDS = 420


def shapes_of(args, names=DECODE):
    return [SHAPES / name for name in names if not args.models or name in args.models.split(",")]


def shape_bundle(args, model, without: str = ""):
    flags = ("--without", without) if without else ()
    return bundle_of(args, model.name + (f".without-{without}" if without else ""), model, "--dummy-weights", "--max-num-seqs",
                     256, *flags)


def codes_bundle(args, model, kind: str):
    flags, *_ = CODES[model.name][kind]
    return bundle_of(args, f"{model.name}.{kind.replace(' ', '-')}", model, "--dummy-weights", "--max-num-seqs", CODES_SEQUENCES,
                     *flags)


def ranks_bundle(args, model, ranks: int):
    return bundle_of(args, f"{model.name}.tp{ranks}", model, "--dummy-weights", "--max-num-seqs", CODES_SEQUENCES, "-tp", ranks)


def attention_bundle(args, model, cache: str = "auto"):
    name = model.name if cache == "auto" else f"{model.name}.{cache}-cache"
    return bundle_of(args, name, model, "--dummy-weights", "--max-num-seqs", 64, "--max-model-len", 40960, "--kv-cache-dtype", cache)


def prepare(args, parts) -> None:
    """Compiles all bundles of these parts."""
    for model in shapes_of(args):
        for without in ("", *VARIANTS) if "ablation" in parts and model.name in PEERS else ("",):
            shape_bundle(args, model, without)
    for model in shapes_of(args, CODES) if set(parts) & {"decode", "prefill"} else ():
        for kind in CODES[model.name]:
            codes_bundle(args, model, kind)
    for model in shapes_of(args, RANKS) if "distributed" in parts else ():
        for ranks in RANKS[model.name]:
            ranks_bundle(args, model, ranks)
    if "attention" in parts:
        for model in sorted(ATTENTION.iterdir()):
            for cache in CACHES:
                attention_bundle(args, model, cache)


def config_of(model) -> dict:
    return json.loads((model / "config.json").read_text())


def bytes_of(config: dict, context: float, batch: int, weight_bytes: float = 2, cache_bytes: int = 2) -> float:
    """Bytes that a decode step must read: weights once, keys and values of each sequence. The head has 16 bits."""
    hidden, inner, dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    layer = (heads + 2 * kv_heads) * dim * hidden + heads * dim * hidden + 3 * hidden * inner
    cache = 2 * kv_heads * dim * context * batch
    layers = config["num_hidden_layers"] * (weight_bytes * layer + cache_bytes * cache)
    return layers + 2.0 * config["vocab_size"] * hidden


def bench(args, bundle, *flags) -> dict:
    return bench_json(args, bundle, args.target, *flags)


def decode_step(args, model, label: str, work: tuple, bundle, element_bytes: tuple = (), ranks: int = 1):
    """A step that measures the decode steps `work`. Bytes are those of one rank."""
    def step():
        batches, depth, tokens = work
        run = bench(args, bundle(), "-p", 0, "-n", tokens, "-b", batches, "-d", depth, "-r", 3)
        for row in run["rows"]:
            row["bytes"] = bytes_of(config_of(model), row["n_context"], row["batch"], *element_bytes) / ranks
            print(f"  {label} {row['batch']:3} x {row['test']}: {row['median_step_ms']:.3f} ms", flush=True)
        return {"model": label, "rows": run["rows"], "device": run["device"], "load_s": run["load_s"], "weights_s": run["weights_s"]}
    return step


def decode(args, results: dict, save) -> None:
    steps = {}
    for model in shapes_of(args):
        for name, work in DECODE[model.name].items():
            steps[f"{model.name} {name}"] = decode_step(args, model, model.name, work, lambda model=model: shape_bundle(args, model))
    for model in shapes_of(args, CODES):
        for kind, (_, *element_bytes, works) in CODES[model.name].items():
            label = f"{model.name}, {kind}"
            for name, work in works.items():
                steps[f"{label} {name}"] = decode_step(args, model, label, work,
                                                       lambda model=model, kind=kind: codes_bundle(args, model, kind), tuple(element_bytes))
    run_steps(args, results, save, steps)


def distributed(args, results: dict, save) -> None:
    """Decode steps on several GPUs, with as many ranks as there are GPUs for."""
    gpus = len(sh("nvidia-smi", "-L").splitlines())
    steps = {}
    for model in shapes_of(args, RANKS):
        for ranks, work in RANKS[model.name].items():
            label = f"{model.name}, {ranks} GPUs"
            if ranks > gpus:
                print(f"  {label}: not run, because there are {gpus} GPUs", flush=True)
                continue
            steps[label] = decode_step(args, model, label, work, lambda model=model, ranks=ranks: ranks_bundle(args, model, ranks),
                                       ranks=ranks)
    if not steps:
        raise SystemExit(f"gpu-check: distributed: there are {gpus} GPUs, expected at least 2")
    run_steps(args, results, save, steps)


def prefill(args, results: dict, save) -> None:
    bundles = {model.name: lambda model=model: shape_bundle(args, model) for model in shapes_of(args)}
    for model in shapes_of(args, CODES):
        if model.name in DECODE:
            for kind in CODES[model.name]:
                bundles[f"{model.name}, {kind}"] = lambda model=model, kind=kind: codes_bundle(args, model, kind)
    steps = {}
    for label, bundle in bundles.items():
        def step(label=label, bundle=bundle):
            run = bench(args, bundle(), "-p", "512,2048", "-n", 0, "-b", 1, "-r", 5)
            for row in run["rows"]:
                print(f"  {label} {row['test']}: {row['median_step_ms']:.2f} ms, {row['avg_ts']:.0f} tokens/s", flush=True)
            return {"model": label, "rows": run["rows"]}
        steps[label] = step
    run_steps(args, results, save, steps)


def cupti_flags() -> tuple:
    """The flag with the path of CUPTI in this Python's CUDA wheels, for a machine without a CUDA toolkit."""
    if any(pathlib.Path("/usr/local/cuda").glob("**/libcupti.so*")) or "CUDA_HOME" in os.environ:
        return ()
    for folder in map(pathlib.Path, sys.path):
        for library in sorted(folder.glob("nvidia/*/lib/libcupti.so*"), reverse=True):
            return ("--cupti", library)
    return ()


def profiled(args, bundle, *flags) -> list[dict]:
    """Rows of bench-model with their profiles. Times are in microseconds."""
    run = bench(args, bundle, "-r", 1, "--profile", *cupti_flags(), *flags)
    return [{key: row[key] for key in ("test", "batch", "n_context", "profile")} for row in run["rows"]]


def kernels(args, results: dict, save) -> None:
    """Profiles the kernels of decode steps with several numbers of rows, and measures the same products with cuBLASLt,
    with and without the ops that Inlay's kernels fuse."""
    steps = {}
    for model in shapes_of(args, PEERS):
        def ours(model=model):
            rows = profiled(args, shape_bundle(args, model), "-p", 0, "-n", 16, "-b", ROWS, "-d", 512)
            print(f"  {model.name}: kernels at {ROWS} rows", flush=True)
            return {"model": model.name, "rows": rows}

        def prompt(model=model):
            rows = profiled(args, shape_bundle(args, model), "-p", 2048, "-n", 0)
            print(f"  {model.name}: kernels of a prompt of 2048", flush=True)
            return {"model": model.name, "rows": rows}

        def cublas(model=model):
            out = args.out / "peer.json"
            sh(sys.executable, ROOT / "scripts" / "peers" / "torch_linear.py", model / "config.json", ROWS + ",2048", out,
               timeout=PEER_SECONDS)
            print(f"  {model.name}: cuBLASLt at {ROWS},2048 rows", flush=True)
            return {"model": model.name, **json.loads(out.read_text())}

        steps |= {f"{model.name} decode": ours, f"{model.name} prompt": prompt, f"{model.name} cublas": cublas}
    run_steps(args, results, save, steps)


def attention(args, results: dict, save) -> None:
    """Measures decode attention alone, in the profile of a model of two layers with almost no other work."""
    steps = {}
    for model in sorted(ATTENTION.iterdir()):
        for cache, (name, (batches, depths)) in itertools.product(CACHES, ALONE.items()):
            label = model.name if cache == "auto" else f"{model.name}, {cache} cache"

            def step(model=model, label=label, cache=cache, batches=batches, depths=depths):
                rows = profiled(args, attention_bundle(args, model, cache), "-p", 0, "-n", 16, "-b", batches, "-d", depths)
                found = []
                for row in rows:
                    [kernel] = [k for k in row["profile"]["kernels"] if "paged_attention" in k["origin"]]
                    found.append({"test": row["test"], "batch": row["batch"], "n_context": row["n_context"],
                                  "us": kernel["us"] / kernel["launches"], "bytes": kernel["bytes"] / kernel["launches"]})
                    print("  {0} {batch:3} x {test}: {us:.1f} us".format(label, **found[-1]), flush=True)
                return {"model": label, "rows": found}
            steps[f"{label} {name}"] = step
    run_steps(args, results, save, steps)


def ablation(args, results: dict, save) -> None:
    """Measures steps with one optimization disabled: at compile time, or graphs at run time."""
    steps = {}
    for model in shapes_of(args, PEERS):
        for name in ("all", "graphs", *VARIANTS):
            def step(model=model, name=name):
                bundle = shape_bundle(args, model, name if name in VARIANTS else "")
                flags = ("--enforce-eager",) if name == "graphs" else ()
                run = bench(args, bundle, "-p", 0, "-n", 32, "-b", ROWS, "-d", 512, "-r", 3, *flags)
                times = {str(row["batch"]): row["median_step_ms"] for row in run["rows"]}
                print(f"  {model.name} without {name}: {times}" if name != "all" else f"  {model.name}: {times}", flush=True)
                return {"model": model.name, "without": name, "ms": times}
            steps[f"{model.name} {name}"] = step
    run_steps(args, results, save, steps)


def peers(args, results: dict, save) -> None:
    steps = {}
    for model in shapes_of(args, PEERS):
        for work in PEERS[model.name]:
            def step(model=model, work=work):
                out = args.out / "peer.json"
                sh(sys.executable, ROOT / "scripts" / "peers" / "torch_llama.py", model / "config.json", *work.split(), out,
                   timeout=PEER_SECONDS)
                found = json.loads(out.read_text())
                print(f"  {model.name} {work}: {found['ms']:.3f} ms", flush=True)
                return {"model": model.name, "work": work, **found}
            steps[f"{model.name} {work}"] = step
    run_steps(args, results, save, steps)
