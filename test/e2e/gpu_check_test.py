"""Tests scripts/gpu-check without a GPU: which results its comparisons with the goldens and with the distribution of
the logits accept and refuse, which steps are kept, the report, and a whole run of the part `correctness` for the cpu
target. A part that passed is kept; a part that failed runs again."""

import collections
import copy
import json
import pathlib
import random
import subprocess
import sys
import time
import types

import tools

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "gpu-check"
FIXTURE = "llama-gqa"
sys.dont_write_bytecode = True
sys.path.insert(0, str(SCRIPT.parent))
from gpu_check import common, correctness, ranks, report, sampling  # noqa: E402


def expect(name: str, condition: bool, found) -> None:
    if not condition:
        tools.fail(f"{name}: found {found}")


def second_best(row) -> tuple[int, float]:
    """The id of the second best logit and its distance to the best one."""
    order = sorted(range(len(row)), key=row.__getitem__)
    return order[-2], row[order[-1]] - row[order[-2]]


def test_comparison() -> None:
    check = correctness
    directory = check.FIXTURES / FIXTURE / "golden"
    golden = json.loads((directory / "golden.json").read_text())
    logits = tools.read_float32(directory / "logits.safetensors", "logits")[:64]
    errors = [row[0] for row in tools.read_float32(directory / "logits.safetensors", "bf16_error")]

    def perfect(logits=logits):
        """The golden results. Beyond their end, the last token and row are repeated."""
        def output(start):
            tokens, rows = golden["greedy_ids"][start:], logits[start:]
            return tokens + tokens[-1:] * start, copy.deepcopy(rows + rows[-1:] * start)

        return {kind: [output(start) for start in check.STARTS] for kind in ("alone", "batch")}

    def verdict(runs, exact=False, logits=logits):
        return check.compare(golden, logits, errors, runs, exact)["verdict"]

    for exact in (False, True):
        result = check.compare(golden, logits, errors, perfect(), exact)
        expect("the golden itself", result["verdict"] == "ok" and result["steps"] == 64, result)

    runs = perfect()
    runs["alone"][0] = (runs["alone"][0][0][:3], runs["alone"][0][1][:3])
    expect("3 tokens of 64", "3 tokens" in verdict(runs), verdict(runs))

    # A wrong token is an error even if it is the best one of the (wrong) logits.
    runs, step = perfect(), 10
    token, margin = second_best(logits[step])
    runs["batch"][0][0][step] = token
    runs["batch"][0][1][step][token] += 1.1 * margin
    expect("a wrong token", f"batch, prompt + 0 tokens: step {step}" in verdict(runs), verdict(runs))

    # If the two best logits differ by less than rounding errors, the tokens may differ, and later steps are not
    # compared.
    near = copy.deepcopy(logits)
    near[step][token] += margin - 0.001
    runs = perfect(near)
    runs["alone"][0][0][step:] = [token] * (64 - step)
    for row in runs["alone"][0][1][step + 1 :]:
        row[:] = [0.0] * len(row)
    result = check.compare(golden, near, errors, runs, exact=False)
    expect("a close call", result["verdict"] == "ok" and result["steps"] == 64, result)
    expect("a close call in float32", "step 10" in verdict(runs, exact=True, logits=near), result)

    # A large error in one step, which is small in the sum over all steps.
    runs = perfect()
    for output in (runs["alone"][1], runs["batch"][1]):
        output[1][5][:] = [value + 0.1 * abs(value) for value in output[1][5]]
    expect("one bad step", "of a step" in verdict(runs), verdict(runs))

    # The same with many sequences in one batch.
    many = [(golden["greedy_ids"][start : start + 16], copy.deepcopy(logits[start : start + 16])) for start in range(48)]
    result = check.compare_many(golden, logits, errors, many, exact=True)
    expect("many sequences", result["verdict"] == "ok" and result["relative_error"] == 0, result)
    wrong = max(range(16), key=lambda step: second_best(logits[7 + step])[1])
    many[7][0][wrong] = second_best(logits[7 + wrong])[0]
    expect("a wrong token of many", f"prompt + 7 tokens: step {wrong}" in check.compare_many(golden, logits, errors, many, False)["verdict"], many[7][0])
    many[7] = ([0], [])
    expect("missing tokens", "1 tokens" in check.compare_many(golden, logits, errors, many, False)["verdict"], many[7])

    runs = perfect()
    for outputs in runs.values():
        for _, rows in outputs:
            for row in rows:
                row[:] = [value * (1 + 2 * golden["bf16_error"]) for value in row]
    expect("twice the error", verdict(runs).startswith("relative error"), verdict(runs))

    runs = perfect()
    runs["batch"][2][1][7][3] = float("nan")
    expect("NaN", "nan" in verdict(runs), verdict(runs))

    runs = perfect()
    runs["batch"][1][1][60][0] += 1e-6
    expect("a batch in float32", "in a batch differ" in verdict(runs, exact=True), verdict(runs, exact=True))
    expect("a batch in bfloat16", verdict(runs) == "ok", verdict(runs))


def test_sampling() -> None:
    """Correct draws pass for each setting. Draws with a wrong temperature, filter or seed do not."""
    generator = random.Random(1)
    logits = [generator.gauss(0, 2) for _ in range(300)]

    def draw(count=2000, **setting):
        probabilities = sampling.distribution(logits, **setting)
        return collections.Counter(generator.choices(list(probabilities), probabilities.values(), k=count))

    for name, setting in sampling.SETTINGS.items():
        expect(name, sampling.verdict_of(draw(**setting), logits, setting) == "ok", name)
    top_k, top_p = sampling.SETTINGS["top-k 8"], sampling.SETTINGS["top-p 0.8"]
    expect("the filter", set(sampling.distribution(logits, **top_k)) ==
           set(sorted(range(300), key=logits.__getitem__)[-8:]), sampling.distribution(logits, **top_k))
    for name, found, setting in (("too warm", draw(temperature=1.3), {"temperature": 1.0}),
                                 ("always the same", collections.Counter({5: 2000}), {"temperature": 1.0}),
                                 ("too narrow", draw(temperature=1.0, **{"top-p": 0.7}), top_p)):
        verdict = sampling.verdict_of(found, logits, setting)
        expect(name, "standard deviations" in verdict or "leave out" in verdict, verdict)
    verdict = sampling.verdict_of(draw(temperature=1.0), logits, top_k)
    expect("no filter", "which the filters leave out" in verdict, verdict)


def test_steps() -> None:
    """Steps that passed are kept, steps that failed run again, and no step starts after the deadline."""
    args, runs, saved = types.SimpleNamespace(deadline=time.monotonic() + 60, target="sm_90a"), [], []
    original, common.read_bandwidth = common.read_bandwidth, lambda args, target: 4e12

    def fails():
        runs.append("b")
        raise SystemExit("broken")

    results = {}
    steps = {"a": lambda: runs.append("a") or {"ms": 1}, "b": fails}
    common.run_steps(args, results, lambda: saved.append(len(results["steps"])), steps)
    expect("a failure", not results["passed"] and results["steps"]["b"] == {"error": "broken"} and saved == [1, 2], results)
    expect("the bandwidth", results["steps"]["a"] == {"ms": 1, "read": 4e12}, results)
    args.deadline = 0
    try:
        common.run_steps(args, results, lambda: None, steps)
        tools.fail("a step started after the deadline")
    except common.OutOfTime:
        pass
    args.deadline = time.monotonic() + 60
    common.run_steps(args, results, lambda: None, steps | {"b": lambda: runs.append("b") or {"ms": 2}})
    expect("steps that passed", results["passed"] and runs == ["a", "b", "b"], (results, runs))
    common.read_bandwidth = original


def test_report() -> None:
    """Tables with the figures of other programs next to ours, relative to the bandwidth of each card."""
    row = {"test": "tg64 @ d512", "batch": 1, "n_depth": 512, "n_context": 544.5, "median_step_ms": 4.0, "avg_ts": 250.0,
           "stddev_ts": 2.5, "bytes": 15e9}
    kernel = {"kernel": "decode_16_o_proj", "origin": "model.layers.*.self_attn.o_proj: linear add", "launches": 32, "us": 320.0,
              "gap_us": 32.0, "overlap_us": 0.0, "bytes": 32 * 33e6, "flops": 32 * 33e6}
    profile = {"kernels": [kernel], "bytes": 32 * 33e6, "untraced_step_us": 400.0, "step_us": 420.0, "gaps_us": 32.0}
    model = {"model": "llama-3.1-8b", "read": 4.5e12}
    text = report.report({
        "environment": {"chip": "GPU", "driver": "1", "date": "today", "version": "v"},
        "decode": {"steps": {"x": model | {"rows": [row], "load_s": 5.0, "weights_s": 4.0}, "y": {"error": "broken"}}},
        "peers": {"steps": {"x": model | {"read": 4.0e12, "work": "compiled 1 512", "ms": 5.0}}},
        "kernels": {"steps": {
            "x": model | {"rows": [{"test": "tg16 @ d512", "batch": batch, "n_context": 520.0, "profile": profile}
                                   for batch in (1, 64)]},
            "y": model | {"rows": {rows: {"o_proj": {"linear_us": 12.1, "unfused_us": 16.5}} for rows in ("1", "64")}}}},
        "ablation": {"steps": {"x": model | {"without": "all", "ms": {"1": 4.0}},
                               "y": model | {"without": "graphs", "ms": {"1": 5.0}}}},
        "attention": {"steps": {"x": model | {"rows": [{"test": "tg16 @ d100:16384", "batch": 16, "us": 150.0, "bytes": 540e6}]}}},
        "prefill": {"steps": {"x": model | {"rows": [{"test": "pp2048", "n_prompt": 2048, "median_step_ms": 50.0, "avg_ts": 40960.0}]}}}})
    for part in ("| 15.00 | 3.333 | 4.000 | 1.0 | **0.833** | 5.00 ms, 1.11× |", "4.95 ms, 1.24×", "12.10 (1.10×) | 16.50 (1.50×)",
                 "| 32 | 33.00 | 7.33 | 11.00 | 0.67 |", "5.000 ms (+25.0%)", "| 16 | 100:16384 | 540.0 | 120.0 | 150.0 | 0.80 |",
                 "| pp2048 | 50.00 | 40960 |",
                 "| llama-3.1-8b, 1 × 512: share of read | at least 0.94 | 0.833 | **missed** |",
                 "| llama-3.1-8b, 1 × 512: times faster than torch.compile | at least 1.5 | 1.111 | **missed** |",
                 "64 rows: the products of a layer, times faster than cuBLASLt alone | at least 1.07 | 1.100 | met |",
                 "a prompt of 2048: ms | at most 47.5 | 50.000 | **missed** |",
                 "cost of a dependency, µs | at most 1.4 | 5.167 | **missed** |"):
        expect("the report", part in text, text)


def test_devices() -> None:
    """Two ranks can share a GPU."""
    for count, gpus, expected in ((2, 2, ()), (2, 4, ()), (2, 1, ("--device", "0,0")), (4, 2, ("--device", "0,1,0,1")),
                                  (4, 3, ("--device", "0,1,2,0")), (4, 1, None)):
        found = ranks.devices_of(count, gpus)
        expect(f"{count} ranks on {gpus} GPUs", found == expected, found)


def test_killed(t: tools.Tools) -> None:
    """A rank of serve-model that is killed, with a bundle for the cpu."""
    model = correctness.FIXTURES / FIXTURE
    bundle = t.compile(model, "--target", "cpu", "-tp", 2)
    prompt = correctness.golden_of(model)[0]["prompt_ids"]
    row = ranks.killed(t.binaries, bundle, "cpu", prompt, 2)
    expect("a rank that is killed", row["verdict"] == "ok" and "rank 1 (id" in row["error"], row)
    print(f"a rank that is killed: {row['seconds']:.2f} s: {row['error']}", flush=True)


def test(t: tools.Tools) -> None:
    test_comparison()
    test_devices()
    test_sampling()
    test_steps()
    test_report()
    test_killed(t)

    def run(*flags):
        return subprocess.run([sys.executable, SCRIPT, "--only", "correctness", "--target", "cpu", "--fixtures", FIXTURE, "--bin",
                               t.binaries, "--bundles", t.scratch / "bundles", "--out", t.scratch / "out", *flags],
                              capture_output=True, text=True, timeout=240)

    first = run()
    expect("correctness on the cpu", first.returncode == 0 and "64 steps" in first.stdout, first)
    again = run()
    expect("a part that passed", again.returncode == 0 and "done before" in again.stdout, again)

    # A failure is recorded, and the part runs again.
    path = t.scratch / "out" / "results.json"
    results = json.loads(path.read_text())
    results["correctness"]["passed"] = False
    path.write_text(json.dumps(results))
    again = run()
    expect("a part that failed", again.returncode == 0 and "64 steps" in again.stdout, again)

    # A broken bundle fails its fixture and the command, each time.
    plan = t.scratch / "bundles" / FIXTURE / "plan.fb"
    plan.write_bytes(plan.read_bytes()[:100])
    for flags in (("--force",), ()):
        broken = run(*flags)
        expect("a broken bundle", broken.returncode == 1 and "correctness failed" in broken.stderr, broken)


tools.main(test)
