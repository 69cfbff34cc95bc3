"""docs/performance.md from the results of gpu-check: tables, each beside its peers, then the notes kept by hand."""

import json

from .common import ROOT

NOTES = ROOT / "docs" / "performance-notes.md"
REFERENCES = ROOT / "test" / "bench" / "references.json"
MICRO = 1e6


def table(header: list[str], rows: list[list[str]], left: int = 1) -> list[str]:
    """Markdown; the first `left` columns are text."""
    rule = "|" + "|".join("---" if i < left else "---:" for i in range(len(header))) + "|"
    return ["| " + " | ".join(header) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows), ""]


def steps_of(results: dict, part: str) -> list[dict]:
    return [step for step in results.get(part, {}).get("steps", {}).values() if "error" not in step]


def peer_of(results: dict, model: str, work: str) -> dict | None:
    """The peer's step with the read bandwidth of its run."""
    return next((step for step in steps_of(results, "peers") if step["model"] == model and step["work"] == work), None)


def speedup(ours_ms: float, ours_read: float, other_ms: float, other_read: float) -> str:
    """How much faster we are, each side in units of the bandwidth of its own card."""
    return f"{other_ms * other_read / (ours_ms * ours_read):.2f}×"


def decode_tables(results: dict) -> list[str]:
    references = json.loads(REFERENCES.read_text())["engines"]
    header = ["model", "sequences", "context", "GB", "floor ms", "ms", "±%", "share of read", "torch.compile", "transformers eager",
              *references]
    rows = []
    for step in steps_of(results, "decode"):
        read = step["read"]
        for row in step["rows"]:
            ms, depth = row["median_step_ms"], row["n_depth"]
            floor = row["bytes"] / read * 1e3
            line = [step["model"], str(row["batch"]), str(depth), f"{row['bytes'] / 1e9:.2f}", f"{floor:.3f}", f"{ms:.3f}",
                    f"{row['stddev_ts'] / row['avg_ts'] * 100:.1f}", f"**{floor / ms:.3f}**"]
            for work in ("compiled", "eager"):
                peer = peer_of(results, step["model"], f"{work} {row['batch']} {depth}")
                line.append(f"{peer['ms']:.2f} ms, {speedup(ms, read, peer['ms'], peer['read'])}" if peer else "")
            for engine in references.values():
                other = engine["ms"].get(step["model"], {}).get(f"{row['batch']}@{depth}")
                line.append(f"{other:.2f} ms, {speedup(ms, read, other, engine['read'] * 1e12)}" if other else "")
            rows.append((step["model"], depth, row["batch"], line))
    if not rows:
        return []
    reads = [step["read"] / 1e12 for step in steps_of(results, "decode")]
    lines = [f"## Decode (read: {min(reads):.2f} to {max(reads):.2f} TB/s)", "",
             "*Share of read* is the time in which the bytes that a step must read (weights once, keys and values of every "
             "sequence) could be read at the bandwidth measured in the same run, over the time of the whole step, sampling and "
             "the host's part included; the floor is that time. Context is that before the first of the steps measured. Behind a "
             "peer's time stands how much faster Inlay is, each side in units of the bandwidth measured on its own card.", ""]
    lines += table(header, [line for *_, line in sorted(rows, key=lambda row: row[:3])])
    for name, engine in references.items():
        lines.append(f"- {name}: {engine['source']}")
    seen = {}
    for step in steps_of(results, "decode"):
        seen.setdefault(step["model"], f"{step['model']}: loaded in {step['load_s']:.2f} s, of which weights "
                                       f"{step['weights_s']:.2f} s.")
    return [*lines, "", *(line + "\n" for line in seen.values())]


def family_of(kernel: dict) -> str | None:
    """The product that a kernel computes, by the model's op behind it."""
    for name in ("qkv_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head"):
        if f".{name}:" in "." + kernel["origin"] and " linear" in kernel["origin"]:
            return name
    return None


def kernel_tables(results: dict) -> list[str]:
    lines, steps = [], steps_of(results, "kernels")
    for step in steps:
        peer = next((s["rows"] for s in steps if s["model"] == step["model"] and isinstance(s["rows"], dict)), {})
        if not isinstance(step["rows"], list):
            continue
        for row in step["rows"]:
            profile, read = row["profile"], step["read"]
            is_prompt = row["test"].startswith("pp")
            count = row["test"][2:] if is_prompt else str(row["batch"])
            others = peer.get(count, {})
            body = []
            for kernel in profile["kernels"]:
                n = kernel["launches"]
                us, bytes_moved = (kernel["us"] + kernel["gap_us"]) / n, kernel["bytes"] / n
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
                cost = (profile["untraced_step_us"] - profile["bytes"] / read * MICRO) / launches
                lines += [f"Cost of a dependency: ({profile['untraced_step_us']:.0f} µs − {profile['bytes'] / read * MICRO:.0f}) ÷ "
                          f"{launches:.0f} kernels = {cost:.2f} µs; traced, the step took {profile['step_us']:.0f} µs, of which "
                          f"{profile['gaps_us']:.0f} between kernels.", ""]
    if not lines:
        return []
    return ["## Kernels of a step", "",
            "From `bench-model --profile`: a kernel's time is from the end of the one before it to its own end, the gap between them "
            "included. MB is what it must move. cuBLASLt (through torch, in a graph, weights out of cache) computes the product alone, "
            "and with the norm, rotation, append, residual or SwiGLU that our kernel has taken in; in brackets how much longer it "
            "takes.", "", *lines]


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
            "One launch of a layer's attention, 32 query and 8 KV heads, in a decode step of a model that is little else. 100:16384 "
            "is a ragged batch, its lengths evenly between.", "",
            *table(["shapes", "sequences", "context", "MB", "floor µs", "µs", "share of read"], rows)]


def ablation_table(results: dict) -> list[str]:
    steps = steps_of(results, "ablation")
    lines = []
    for model in dict.fromkeys(step["model"] for step in steps):
        of_model = [step for step in steps if step["model"] == model]
        full = next((step for step in of_model if step["without"] == "all"), None)
        if not full:
            continue
        rows = [["everything on", *(f"{ms:.3f} ms" for ms in full["ms"].values())]]
        for step in of_model:
            if step is not full:
                # In units of each run's bandwidth, as always.
                rows.append([f"without {step['without']}",
                             *(f"{ms:.3f} ms ({(ms * step['read'] / (full['ms'][n] * full['read']) - 1) * 100:+.1f}%)"
                               for n, ms in step["ms"].items())])
        lines += [f"### {model}", "", *table(["step", *(f"{n} rows" for n in full["ms"])], rows)]
    if not lines:
        return []
    return ["## What each mechanism is worth", "",
            "Decode steps at context 512 with one mechanism left out (`compile-model --without`, `--enforce-eager` for graphs).", "",
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
             "Logits of the prompt and of each greedy step against transformers' float32, beside the error of transformers' "
             "own bfloat16 run, alone and in a ragged batch of three. Steps are compared until the tokens part, which they "
             "may only where the two best logits are closer than the rounding of bfloat16; of 64, those are counted that "
             "one of the three prompts reached.", "",
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
    for part in (decode_tables, kernel_tables, attention_table, ablation_table, prefill_table, cpu_table,
                 correctness_tables, sanitizer_lines):
        lines += part(results)
    if NOTES.exists():
        lines.append(NOTES.read_text())
    return "\n".join(lines)
