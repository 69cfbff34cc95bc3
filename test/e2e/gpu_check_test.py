"""scripts/gpu-check without a GPU: what its comparison with the goldens accepts and refuses, and a whole run of the part
`correctness` for the cpu target, which is kept when it passed and run again when it did not."""

import copy
import importlib.machinery
import importlib.util
import json
import pathlib
import subprocess
import sys

import tools

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "gpu-check"
FIXTURE = "llama-gqa"


def load():
    loader = importlib.machinery.SourceFileLoader("gpu_check", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


def expect(name: str, condition: bool, found) -> None:
    if not condition:
        tools.fail(f"{name}: found {found}")


def second_best(row) -> tuple[int, float]:
    """The id of the second best logit and its distance to the best one."""
    order = sorted(range(len(row)), key=row.__getitem__)
    return order[-2], row[order[-1]] - row[order[-2]]


def test_comparison(check) -> None:
    directory = check.FIXTURES / FIXTURE / "golden"
    golden = json.loads((directory / "golden.json").read_text())
    logits = tools.read_float32(directory / "logits.safetensors", "logits")[:64]
    errors = [row[0] for row in tools.read_float32(directory / "logits.safetensors", "bf16_error")]

    def perfect(logits=logits):
        """What the golden says; past its end a prompt goes on with the last row."""
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

    # A wrong token is wrong however wrong the logits are that chose it.
    runs, step = perfect(), 10
    token, margin = second_best(logits[step])
    runs["batch"][0][0][step] = token
    runs["batch"][0][1][step][token] += 1.1 * margin
    expect("a wrong token", f"batch, prompt + 0 tokens: step {step}" in verdict(runs), verdict(runs))

    # Where the two best are closer than rounding the tokens may part, and what follows is another text.
    near = copy.deepcopy(logits)
    near[step][token] += margin - 0.001
    runs = perfect(near)
    runs["alone"][0][0][step:] = [token] * (64 - step)
    for row in runs["alone"][0][1][step + 1 :]:
        row[:] = [0.0] * len(row)
    result = check.compare(golden, near, errors, runs, exact=False)
    expect("a close call", result["verdict"] == "ok" and result["steps"] == 64, result)
    expect("a close call in float32", "step 10" in verdict(runs, exact=True, logits=near), result)

    # An error that the sum over all steps would hide.
    runs = perfect()
    for output in (runs["alone"][1], runs["batch"][1]):
        output[1][5][:] = [value + 0.1 * abs(value) for value in output[1][5]]
    expect("one bad step", "of a step" in verdict(runs), verdict(runs))

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


def test(t: tools.Tools) -> None:
    test_comparison(load())

    def run(*flags):
        return subprocess.run([sys.executable, SCRIPT, "--only", "correctness", "--target", "cpu", "--fixtures", FIXTURE, "--bin",
                               t.binaries, "--bundles", t.scratch / "bundles", "--out", t.scratch / "out", *flags],
                              capture_output=True, text=True, timeout=240)

    first = run()
    expect("correctness on the cpu", first.returncode == 0 and "64 steps" in first.stdout, first)
    again = run()
    expect("a part that passed", again.returncode == 0 and "done before" in again.stdout, again)

    # A failure is kept as one, and the part runs again.
    path = t.scratch / "out" / "results.json"
    results = json.loads(path.read_text())
    results["correctness"]["passed"] = False
    path.write_text(json.dumps(results))
    again = run()
    expect("a part that failed", again.returncode == 0 and "64 steps" in again.stdout, again)

    # A bundle that does not run fails its fixture and the command, also when asked again.
    plan = t.scratch / "bundles" / FIXTURE / "plan.fb"
    plan.write_bytes(plan.read_bytes()[:100])
    for flags in (("--force",), ()):
        broken = run(*flags)
        expect("a broken bundle", broken.returncode == 1 and "correctness failed" in broken.stderr, broken)


tools.main(test)
