"""Writes docs/performance.md from the results of gpu-check: tables that include other engines, then the handwritten
notes."""

import json

from .common import ROOT

NOTES = ROOT / "docs" / "performance-notes.md"
REFERENCES = ROOT / "test" / "bench" / "references.json"
GOALS = ROOT / "test" / "bench" / "goals.json"
MICRO = 1e6
GOALS_READ = 4.55e12  # bytes per second of the card that the times of GOALS are for


def table(header: list[str], rows: list[list[str]], left: int = 1) -> list[str]:
    """A Markdown table. The first `left` columns are left-aligned."""
    rule = "|" + "|".join("---" if i < left else "---:" for i in range(len(header))) + "|"
    return ["| " + " | ".join(header) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows), ""]


def steps_of(results: dict, part: str) -> list[dict]:
    return [step for step in results.get(part, {}).get("steps", {}).values() if "error" not in step]


def decode_steps(results: dict) -> list[dict]:
    """Those of one GPU, then those of several."""
    return steps_of(results, "decode") + steps_of(results, "distributed")


def peer_of(results: dict, model: str, work: str) -> dict | None:
    """The step of another engine, with the read bandwidth of its run."""
    return next((step for step in steps_of(results, "peers") if step["model"] == model and step["work"] == work), None)


def speedup(ours_ms: float, ours_read: float, other_ms: float, other_read: float) -> float:
    """Speedup over another engine; each side is measured in units of the bandwidth of its own card."""
    return other_ms * other_read / (ours_ms * ours_read)


PEER_WORK = {"torch.compile": "compiled", "transformers eager": "eager"}


def others_of(results: dict, model: str, sequences: int, context: int) -> dict[str, tuple[float, float]]:
    """Milliseconds and read bandwidth of each other engine that was measured on this decode step."""
    found = {}
    for name, work in PEER_WORK.items():
        if peer := peer_of(results, model, f"{work} {sequences} {context}"):
            found[name] = peer["ms"], peer["read"]
    for name, engine in json.loads(REFERENCES.read_text())["engines"].items():
        if ms := engine["ms"].get(model, {}).get(f"{sequences}@{context}"):
            found[name] = ms, engine["read"] * 1e12
    return found


def dependency_us(row: dict, read: float) -> float:
    """Cost of a kernel of a step in microseconds, in addition to the time to read its bytes."""
    profile = row["profile"]
    launches = sum(kernel["launches"] for kernel in profile["kernels"])
    return (profile["untraced_step_us"] - profile["bytes"] / read * MICRO) / launches


def goals_table(results: dict) -> list[str]:
    """Each goal with the measured value. Goals that were not measured are left out."""
    goals, rows = json.loads(GOALS.read_text()), []

    def add(what: str, found: float, wanted: float, most: bool = False) -> None:
        met = found <= wanted if most else found >= wanted
        rows.append([what, f"{'at most' if most else 'at least'} {wanted:g}", f"{found:.3f}", "met" if met else "**missed**"])

    for step in decode_steps(results):
        for row in step["rows"]:
            model, key = step["model"], f"{row['batch']}@{row['n_depth']}"
            ms, read = row["median_step_ms"], step["read"]
            name = f"{model}, {row['batch']} × {row['n_depth']}"
            if wanted := goals["step_ms"].get(model, {}).get(key):
                add(f"{name}: ms, of a card that reads 4.55 TB/s", ms * read / GOALS_READ, wanted, True)
            if wanted := goals["share_of_read"].get(model, {}).get(key):
                add(f"{name}: share of read", row["bytes"] / read / ms * 1e3, wanted)
            for other, found in others_of(results, model, row["batch"], row["n_depth"]).items():
                if wanted := goals["times_faster"].get(other, {}).get(model, {}).get(key):
                    add(f"{name}: times faster than {other}", speedup(ms, read, *found), wanted)
    # Steps with codes of 8 bits in the cache against those with bfloat16 there, in units of the bandwidth of each run.
    times = {(step["model"], f"{row['batch']}@{row['n_depth']}"): (row["median_step_ms"], step["read"])
             for step in steps_of(results, "decode") for row in step["rows"]}
    for model, wanted_of in goals["fp8_cache_times_faster"].items():
        for key, wanted in wanted_of.items():
            codes, floats = (times.get((f"{model}, fp8 weights{cache}", key)) for cache in (" and cache", ""))
            if codes and floats:
                add(f"{model}, fp8 weights, {key.replace('@', ' × ')}: an fp8 cache, times faster than bfloat16", speedup(*codes, *floats),
                    wanted)
    kernels = steps_of(results, "kernels")
    for step in kernels:
        for row in step["rows"] if isinstance(step["rows"], list) else []:
            if row["batch"] == 1 and not row["test"].startswith("pp"):
                add(f"{step['model']}, 1 row: cost of a dependency, µs", dependency_us(row, step["read"]), goals["dependency_us"], True)
    layers = {}  # of (model, rows): our microseconds, and cuBLASLt's of each kind
    for model, count, kernel, us, other in compared_kernels(results):
        if "lm_head" not in kernel:
            sums = layers.setdefault((model, count), {"us": 0, "alone": 0, "with_ops": 0})
            for key, part in (("us", us), ("alone", other["linear_us"]), ("with_ops", other["unfused_us"])):
                sums[key] += part
    for (model, count), sums in layers.items():
        for kind in ("alone", "with_ops"):
            if wanted := goals["cublas"][kind].get(model, {}).get(str(count)):
                add(f"{model}, {count} rows: the products of a layer, times faster than cuBLASLt {kind.replace('_', ' ')}",
                    sums[kind] / sums["us"], wanted)
    for step in steps_of(results, "prefill"):
        for row in step["rows"]:
            if wanted := goals["prompt_ms"].get(step["model"], {}).get(str(row["n_prompt"])):
                add(f"{step['model']}, a prompt of {row['n_prompt']}: ms", row["median_step_ms"], wanted, True)
    for step in steps_of(results, "attention"):
        for row in step["rows"]:
            context = row["test"].split("@ d")[-1]
            share = row["bytes"] / step["read"] * MICRO / row["us"]
            name = f"attention, {step['model']}, {row['batch']} × {context}"
            if ":" in context:
                add(f"{name}: share of read", share, goals["attention"]["ragged"])
            elif row["bytes"] >= goals["attention"]["least_bytes"]:
                add(f"{name}: share of read", share, goals["attention"]["share_of_read"])
            if step["model"].endswith("d128") and row["batch"] == 1 and context == "8192":
                add(f"{name}: µs", row["us"], goals["attention"]["d128_8192_us"], True)
    if not rows:
        return []
    met = sum(row[-1] == "met" for row in rows)
    return ["## Goals", "", f"{met} of {len(rows)} are met.", "", *table(["what", "wanted", "measured", ""], rows)]


def decode_tables(results: dict) -> list[str]:
    references = json.loads(REFERENCES.read_text())["engines"]
    header = ["model", "sequences", "context", "GB", "floor ms", "ms", "±%", "share of read", *PEER_WORK, *references]
    rows = []
    for step in decode_steps(results):
        read = step["read"]
        for row in step["rows"]:
            ms, depth = row["median_step_ms"], row["n_depth"]
            floor = row["bytes"] / read * 1e3
            line = [step["model"], str(row["batch"]), str(depth), f"{row['bytes'] / 1e9:.2f}", f"{floor:.3f}", f"{ms:.3f}",
                    f"{row['stddev_ts'] / row['avg_ts'] * 100:.1f}", f"**{floor / ms:.3f}**"]
            others = others_of(results, step["model"], row["batch"], depth)
            for name in (*PEER_WORK, *references):
                line.append(f"{others[name][0]:.2f} ms, {speedup(ms, read, *others[name]):.2f}×" if name in others else "")
            rows.append((step["model"], depth, row["batch"], line))
    if not rows:
        return []
    reads = [step["read"] / 1e12 for step in decode_steps(results)]
    lines = [f"## Decode (read: {min(reads):.2f} to {max(reads):.2f} TB/s)", "",
             "The floor is the time to read the bytes of a step (weights once, keys and values of every sequence) at the "
             "bandwidth measured in the same run; with several GPUs, those of one rank. *Share of read* is the floor divided by the "
             "time of the whole step, "
             "including sampling and the host's part. Context is the number of tokens before the first measured step. Each "
             "comparison gives the time of the other engine and how much faster Inlay is, where each side is measured in "
             "units of the bandwidth of its own card.", ""]
    lines += table(header, [line for *_, line in sorted(rows, key=lambda row: row[:3])])
    for name, engine in references.items():
        lines.append(f"- {name}: {engine['source']}")
    seen = {}
    for step in decode_steps(results):
        seen.setdefault(step["model"], f"{step['model']}: loaded in {step['load_s']:.2f} s, of which weights "
                                       f"{step['weights_s']:.2f} s.")
    return [*lines, "", *(line + "\n" for line in seen.values())]


def family_of(kernel: dict) -> str | None:
    """The matrix product that a kernel computes, from the op in its origin."""
    for name in ("qkv_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head"):
        if f".{name}:" in "." + kernel["origin"] and " linear" in kernel["origin"]:
            return name
    return None


def products_of(results: dict, model: str) -> dict:
    """Times of cuBLASLt in microseconds: rows -> product -> times."""
    steps = steps_of(results, "kernels")
    return next((step["rows"] for step in steps if step["model"] == model and isinstance(step["rows"], dict)), {})


def rows_of(row: dict) -> str:
    """Rows of a product in a profiled step, in the form of the keys of products_of."""
    return row["test"][2:] if row["test"].startswith("pp") else str(row["batch"])


def launch_us(kernel: dict) -> float:
    return (kernel["us"] + kernel["gap_us"]) / kernel["launches"]


def compared_kernels(results: dict):
    """Yields (model, rows, kernel, its time in microseconds, times of cuBLASLt) for each product of the profiled decode
    steps."""
    for step in steps_of(results, "kernels"):
        for row in step["rows"] if isinstance(step["rows"], list) else []:
            others = products_of(results, step["model"]).get(rows_of(row), {})
            for kernel in row["profile"]["kernels"]:
                if other := others.get(family_of(kernel) or ""):
                    yield step["model"], rows_of(row), kernel["kernel"], launch_us(kernel), other


def kernel_tables(results: dict) -> list[str]:
    lines, steps = [], steps_of(results, "kernels")
    for step in steps:
        peer = products_of(results, step["model"])
        if not isinstance(step["rows"], list):
            continue
        for row in step["rows"]:
            profile, read = row["profile"], step["read"]
            is_prompt = row["test"].startswith("pp")
            count = rows_of(row)
            others = peer.get(count, {})
            body = []
            for kernel in profile["kernels"]:
                n = kernel["launches"]
                us, bytes_moved = launch_us(kernel), kernel["bytes"] / n
                line = [kernel["kernel"], f"{n:g}", f"{bytes_moved / 1e6:.2f}", f"{bytes_moved / read * MICRO:.2f}", f"{us:.2f}",
                        f"{bytes_moved / read * MICRO / us:.2f}" if us > 0 else ""]
                line.append(f"{kernel['flops'] / n / us / 1e6:.0f}" if us > 0 and kernel["flops"] else "")
                other = others.get(family_of(kernel) or "")
                line += [f"{other['linear_us']:.2f} ({other['linear_us'] / us:.2f}×)",
                         f"{other['unfused_us']:.2f} ({other['unfused_us'] / us:.2f}×)"] if other else ["", ""]
                body.append(line)
            work = f"a prompt of {count} tokens" if is_prompt else f"{count} rows at {row['n_context']:.0f} tokens"
            lines += [f"### {step['model']}, {work}", ""]
            lines += table(["kernel", "launches", "MB", "floor µs", "µs", "share of read", "TFLOP/s", "cuBLASLt µs",
                            "cuBLASLt + ops µs"], body)
            if not is_prompt:
                launches = sum(kernel["launches"] for kernel in profile["kernels"])
                lines += [f"Cost of a dependency: ({profile['untraced_step_us']:.0f} µs − {profile['bytes'] / read * MICRO:.0f}) ÷ "
                          f"{launches:.0f} kernels = {dependency_us(row, read):.2f} µs; traced, the step took {profile['step_us']:.0f} µs, of which "
                          f"{profile['gaps_us']:.0f} between kernels.", ""]
    if not lines:
        return []
    return ["## Kernels of a step", "",
            "From `bench-model --profile`. The time of a kernel is from the end of its predecessor to its own end, "
            "including the gap between them. MB is the data that the kernel must move. The cuBLASLt columns (called by "
            "torch, in a graph, with weights not in cache) give the time of the product alone, and of the product with the "
            "norm, rotation, append, residual or SwiGLU that Inlay's kernel includes. The factor in brackets is how much "
            "longer cuBLASLt takes.", "", *lines]


def attention_table(results: dict) -> list[str]:
    rows = []
    for step in steps_of(results, "attention"):
        for row in step["rows"]:
            floor = row["bytes"] / step["read"] * MICRO
            rows.append([step["model"], str(row["batch"]), row["test"].split("@ d")[-1], f"{row['bytes'] / 1e6:.1f}", f"{floor:.1f}",
                         f"{row['us']:.1f}", f"{floor / row['us']:.2f}"])
    if not rows:
        return []
    return ["## Decode attention alone", "",
            "One launch of a layer's attention with 32 query heads and 8 KV heads, in a decode step of a model with almost "
            "no other work. 100:16384 is a ragged batch whose lengths are spread evenly over this range.", "",
            *table(["shapes", "sequences", "context", "MB", "floor µs", "µs", "share of read"], rows)]


def ablation_table(results: dict) -> list[str]:
    steps = steps_of(results, "ablation")
    lines = []
    for model in dict.fromkeys(step["model"] for step in steps):
        of_model = [step for step in steps if step["model"] == model]
        full = next((step for step in of_model if step["without"] == "all"), None)
        if not full:
            continue
        rows = [["all enabled", *(f"{ms:.3f} ms" for ms in full["ms"].values())]]
        for step in of_model:
            if step is not full:
                # In units of the bandwidth of each run.
                rows.append([f"without {step['without']}",
                             *(f"{ms:.3f} ms ({(ms * step['read'] / (full['ms'][n] * full['read']) - 1) * 100:+.1f}%)"
                               for n, ms in step["ms"].items())])
        lines += [f"### {model}", "", *table(["step", *(f"{n} rows" for n in full["ms"])], rows)]
    if not lines:
        return []
    return ["## Effect of each optimization", "",
            "Decode steps at context 512 with one optimization disabled (`compile-model --without`, `--enforce-eager` for graphs).", "",
            *lines]


def prefill_table(results: dict) -> list[str]:
    rows = []
    for step in steps_of(results, "prefill"):
        for row in step["rows"]:
            peers = [peer_of(results, step["model"], f"{work} 1 {row['n_prompt']}") for work in ("compiled-prefill", "eager-prefill")]
            rows.append([step["model"], row["test"], f"{row['median_step_ms']:.2f}", f"{row['avg_ts']:.0f}",
                         *(f"{peer['ms']:.1f} ms" if peer else "" for peer in peers)])
    if not rows:
        return []
    return ["## Prefill, one prompt, to the first token", "",
            *table(["model", "test", "ms", "tokens/s", "torch.compile", "transformers eager"], rows, left=2)]


def correctness_tables(results: dict) -> list[str]:
    found = results.get("correctness", {})
    if "fixtures" not in found:
        return []
    lines = ["## Correctness in bfloat16", "",
             "The relative error of the logits of the prompt and of each greedy step against transformers in float32, next "
             "to the error of transformers in bfloat16. Prompts run alone and in a ragged batch of three. Steps are "
             "compared until the tokens differ. They may differ only where the two best logits are closer than the rounding "
             "of bfloat16. The steps column counts the steps, of 64, that at least one of the three prompts reached.", "",
             "| fixture | steps | relative error | transformers bf16 | |", "|---|---:|---:|---:|---|"]
    lines += ["| {fixture} | {steps} | {relative_error:.2e} | {transformers_bf16_error:.2e} | {verdict} |".format(**f)
              for f in found["fixtures"]]
    lines.append("")
    by_variant = {}
    for row in found.get("variants", []):
        by_variant.setdefault(row["variant"], []).append(row)
    for variant, rows in by_variant.items():
        wrong = [f"{row['fixture']}: {row['verdict']}" for row in rows if row["verdict"] != "ok"]
        worst = max(row["relative_error"] / row["transformers_bf16_error"] for row in rows if "transformers_bf16_error" in row)
        lines.append(f"- {variant}, {len(rows)} fixtures, prompts of different lengths: "
                     + ("; ".join(wrong) if wrong else f"ok, error at most {worst:.2f} of transformers' bfloat16"))
    lines.append("")
    if "example" in found:
        lines += [f"Example model, greedy tokens against the cpu target's: {found['example']['verdict']}.", ""]
    if "draws" in found.get("sampling", {}):
        sampling = found["sampling"]
        lines += [f"Sampling, {sampling['draws']} draws of one token under each setting against the probabilities that its logits "
                  f"give ({', '.join(sampling['settings'])}): {sampling['verdict']}.", ""]
    return lines


def cpu_table(results: dict) -> list[str]:
    rows = []
    for step in steps_of(results, "cpu"):
        peer = step.get("transformers")
        rows.append([step["model"], step["dtype"], str(step["threads"]), f"{step['tokens_per_s']:.1f}",
                     f"{step['share_of_read']:.2f} of {step['cpu_read'] / 1e9:.1f} GB/s" if "cpu_read" in step else "",
                     f"{peer:.1f} ({step['tokens_per_s'] / peer:.1f}×)" if peer else ""])
    if not rows:
        return []
    return ["## The cpu target, one sequence", "",
            *table(["model", "type", "threads", "tokens/s", "share of read", "transformers tokens/s"], rows, left=2)]


def sanitizer_lines(results: dict) -> list[str]:
    found = results.get("sanitizer", {})
    steps = steps_of(results, "sanitizer")
    if not steps:
        return [f"compute-sanitizer: not run, {found['skipped']}.", ""] if "skipped" in found else []
    failed = [name for name, step in found["steps"].items() if "error" in step]
    clean = ", ".join(dict.fromkeys(step["tool"] for step in steps))
    return [f"compute-sanitizer ({clean}) over prefill, decode and sampling of {len({s['model'] for s in steps})} models: "
            + (f"errors in {', '.join(failed)}." if failed else "no error, no hazard."), ""]


def report(results: dict) -> str:
    env = results["environment"]
    chip = f"an {env['chip']} (driver {env['driver']})" if "chip" in env else "a cpu"
    lines = ["# Performance", "",
             f"Measured by `scripts/gpu-check` on {chip} on {env['date']} with {env['version']}. Weights are random bfloat16.", ""]
    for part in (goals_table, decode_tables, kernel_tables, attention_table, ablation_table, prefill_table, cpu_table,
                 correctness_tables, sanitizer_lines):
        lines += part(results)
    if NOTES.exists():
        lines.append(NOTES.read_text())
    return "\n".join(lines)
