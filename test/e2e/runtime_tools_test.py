"""The runtime's tools: the errors for wrong input (exit code 1 and one line) and, if a bundle of the example model is
given, the output of run-model, bench-model and inspect-bundle."""

import array
import json
import pathlib
import re
import signal
import subprocess
import time

import tools

complaints = []


def expect(name: str, found, expected) -> None:
    if found != expected:
        complaints.append(f"{name}: expected {expected!r}, found {found!r}")


def expect_error(t: tools.Tools, words: str, tool: str, *arguments) -> None:
    """Expects exit code 1, no standard output, and one line of error with `words`."""
    result = t.run(tool, *arguments)
    name = f"{tool} {' '.join(map(str, arguments))}"
    expect(f"{name}: exit code", result.returncode, 1)
    expect(f"{name}: output", result.stdout, "")
    if result.stderr.count("\n") != 1 or not result.stderr.startswith(f"{tool}: ") or words not in result.stderr:
        complaints.append(f"{name}: expected one line with {words!r}, found {result.stderr!r}")


def without_bundle(t: tools.Tools) -> None:
    empty = t.scratch / "empty"
    empty.mkdir()
    for tool, options in (("run-model", ["--prompt", "x"]), ("bench-model", []), ("inspect-bundle", [])):
        expect_error(t, "is not a directory", tool, t.scratch / "none", *options)
        expect_error(t, "has no readable manifest.json", tool, empty, *options)
        expect_error(t, "bundle is required", tool, *options)
        expect_error(t, "--no-such-flag", tool, empty, *options, "--no-such-flag")
        expect(f"{tool} --version", t.checked(tool, "--version").split()[0], tool)
        if "Examples:" not in t.checked(tool, "--help"):
            complaints.append(f"{tool} --help shows no examples")
    expect_error(t, "no prompt; give --prompt", "run-model", empty)
    expect_error(t, "found 'a'", "run-model", empty, "--prompt-ids", "1,a,2")
    expect_error(t, "found ''", "run-model", empty, "--prompt-ids", "1,")
    expect_error(t, "the prompt is empty", "run-model", empty, "--prompt", "")
    expect_error(t, "--prompt-file", "run-model", empty, "--prompt-file", t.scratch / "none")
    expect_error(t, "--system has no effect without --chat", "run-model", empty, "--prompt", "x", "--system", "y")
    expect_error(t, "--temperature", "run-model", empty, "--prompt", "x", "--temperature", "warm")
    expect_error(t, "select no test", "bench-model", empty, "-p", 0, "-n", 0)
    expect_error(t, "--repetitions", "bench-model", empty, "-r", 0)


def guided(t: tools.Tools, bundle: pathlib.Path) -> None:
    """Each kind of constraint, as an argument and from a file, and invalid constraints."""
    options = ("--prompt", "x = ", "--max-tokens", 100, "--seed", 1)
    schema = {"type": "object", "properties": {"id": {"type": "integer", "maximum": 99, "minimum": 0}}, "required": ["id"],
              "additionalProperties": False}
    file = t.scratch / "form"
    file.write_text(json.dumps(schema))
    for form in (json.dumps(schema), f"@{file}"):
        answer = t.generate(bundle, *options, "--guided-json", form)
        expect("--guided-json", list(json.loads(answer["text"])), ["id"])
        expect("--guided-json: finish_reason", answer["finish_reason"], "stop")
    found = t.generate(bundle, *options, "--guided-regex", "[a-f]{3}[0-9]{2,4}")["text"]
    expect("--guided-regex", bool(re.fullmatch("[a-f]{3}[0-9]{2,4}", found)), True)
    file.write_text('root ::= "(" root ")" | [0-9]')
    found = t.generate(bundle, *options, "--temperature", 0, "--guided-grammar", f"@{file}")["text"]
    inner = found.strip("()")
    expect("--guided-grammar", (found.count("(") == found.count(")"), inner.isdigit(), len(inner)), (True, True, 1))
    found = t.generate(bundle, *options, "--guided_choice", "left", "--guided-choice", "right")["text"]
    expect("--guided-choice", found in ("left", "right"), True)
    expect_error(t, "json schema: ", "run-model", bundle, *options, "--guided-json", "{")
    expect_error(t, "regex: ", "run-model", bundle, *options, "--guided-regex", "(")
    expect_error(t, "has 2 constraints", "run-model", bundle, *options, "--guided-regex", "a", "--guided-choice", "b")
    expect_error(t, "--guided-grammar", "run-model", bundle, *options, "--guided-grammar", f"@{t.scratch / 'none'}")


def run_model(t: tools.Tools, bundle: pathlib.Path) -> None:
    options = ("--max-tokens", 8, "--temperature", 0, "--ignore-eos")
    logits = t.scratch / "logits"
    alone = t.generate(bundle, "--prompt", "def f", *options, "--logprobs", 2, "--logits-out", logits)
    expect("tokens", len(alone["token_ids"]), 8)
    expect("finish_reason", alone["finish_reason"], "length")
    # Log-probabilities and raw logits agree that the token is the most likely one of its row.
    values = array.array("f", logits.read_bytes())
    columns = len(values) // 8
    for step, (token, entry) in enumerate(zip(alone["token_ids"], alone["logprobs"])):
        row = values[step * columns : (step + 1) * columns]
        expect(f"logprobs[{step}].id", entry["id"], token)
        expect(f"logprobs[{step}].top[0]", entry["top"][0], {"id": token, "logprob": entry["logprob"]})
        expect(f"logits[{step}]", row.index(max(row)), token)
        if abs(tools.log_softmax(row)[token] - entry["logprob"]) > 1e-4:
            complaints.append(f"logprobs[{step}]: {entry['logprob']} is not the logarithm of softmax(logits)")

    # Several prompts form one batch, and each gives the same tokens as alone. Flags may be spelled with _ instead of -.
    ids = ",".join(map(str, alone["prompt_token_ids"]))
    batch = t.generate(bundle, "--prompt", "def f", "--prompt", "{}", "--prompt_ids", ids, "--max_tokens", 8,
                       "--temperature=0", "--ignore_eos")["outputs"]
    expect("outputs", len(batch), 3)
    expect("batch[0]", batch[0]["token_ids"], alone["token_ids"])
    expect("batch[2]", batch[2]["token_ids"], alone["token_ids"])

    # Output as text equals that in JSON. A stop string ends it.
    expect("text", t.checked("run-model", bundle, "--prompt", "def f", *options), alone["text"] + "\n")
    stop = alone["text"][2:4]
    stopped = t.generate(bundle, "--prompt", "def f", *options, "--stop", stop)
    guided(t, bundle)
    expect("--stop", (stopped["text"], stopped["finish_reason"]), (alone["text"].split(stop)[0], "stop"))

    # Invalid UTF-8 is replaced by U+FFFD, as with Python's errors="replace".
    broken = t.scratch / "broken"
    broken.write_bytes(b"def \xff\xfe(")
    expect("invalid UTF-8", t.generate(bundle, "--prompt-file", broken, *options)["prompt_token_ids"],
           t.generate(bundle, "--prompt", "def \ufffd\ufffd(", *options)["prompt_token_ids"])

    tokenized = t.generate(bundle, "--prompt", "-x [1,2]", "--tokenize", "--no-special-tokens")
    expect("--tokenize", tokenized["text"], "-x [1,2]")
    expect_error(t, "temperature is nan", "run-model", bundle, "--prompt", "x", "--temperature", "nan")
    expect_error(t, "has no target 'sm_00'", "run-model", bundle, "--prompt", "x", "--target", "sm_00")
    expect_error(t, "--max-model-len is 999999", "run-model", bundle, "--prompt", "x", "--max-model-len", 999999)
    expect_error(t, "has no chat template", "run-model", bundle, "--chat")

    # Ctrl-C ends the generation, and the text so far is printed completely.
    process = subprocess.Popen([t.binaries / "run-model", bundle, "--prompt", "def f", "--max-tokens", "100000",
                                "--ignore-eos", "-q"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = process.stdout.read(1)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    rest, stderr = process.communicate(timeout=60)
    expect("Ctrl-C", (process.returncode, stderr, (first + rest)[-1:]), (130, b"", b"\n"))


def profiled(t: tools.Tools, bundle: pathlib.Path) -> None:
    """The times of kernels and gaps add up to the step, the bytes of the head are those of its weights, and the trace
    has every launch of every step."""
    trace = t.scratch / "trace.json"
    report = json.loads(t.checked("bench-model", bundle, "-p", 0, "-n", 8, "-d", 16, "-r", 1, "--profile", "--profile-trace",
                                  trace, "--json"))
    profile = report["rows"][0]["profile"]
    kernels = profile["kernels"]
    expect("steps profiled", profile["steps"] in range(6, 9), True)
    times = sum(kernel["us"] + kernel["gap_us"] for kernel in kernels) + profile["between_us"]
    expect("kernels and gaps add up", abs(times - profile["step_us"]) < 1e-6 * profile["step_us"], True)
    expect("overlaps", [kernel["overlap_us"] for kernel in kernels], [0] * len(kernels))
    config = json.loads((bundle / "tokenizer" / "config.json").read_text())
    head = config["vocab_size"] * config["hidden_size"] * 2
    [of_head] = [kernel["bytes"] for kernel in kernels if kernel["origin"].startswith("lm_head")]
    expect("bytes of the head", head <= of_head <= 1.1 * head, True)
    # All weights once, and the keys and values of the one sequence. The remaining bytes are activations.
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    rows = (2 * config["num_attention_heads"] + 2 * config["num_key_value_heads"]) * dim
    layer = rows * hidden + 3 * hidden * config["intermediate_size"]
    cache = 2 * config["num_key_value_heads"] * dim * report["rows"][0]["n_context"]
    least = 2 * (layers * (layer + cache) + config["vocab_size"] * hidden)
    expect("bytes of a step", least <= profile["bytes"] <= 1.05 * least, True)
    expect("bandwidth measured", report["read_bytes_per_s"] > 1e8, True)
    launches = [event for event in json.loads(trace.read_text())["traceEvents"] if event.get("cat") == "kernel"]
    expect("launches traced", len(launches), round(sum(kernel["launches"] for kernel in kernels) * profile["steps"]))
    expect_error(t, "needs exactly one test", "bench-model", bundle, "--profile", "--profile-trace", trace)
    expect_error(t, "fits in one step of", "bench-model", bundle, "-p", 512, "-b", 8, "-n", 0, "--profile")
    expect_error(t, "--profile-rank is 1, but ", "bench-model", bundle, "--profile", "--profile-rank", 1)
    expect_error(t, "names a GPU for several ranks", "bench-model", bundle, "--profile", "--device", "0,0")
    expect_error(t, "requires --profile", "bench-model", bundle, "--profile-trace", trace)
    expect_error(t, "is unknown; expected cpu or sm_90a", "bench-model", "bandwidth", "--target", "x")
    if "B/s" not in t.checked("bench-model", "bandwidth"):
        complaints.append("bench-model bandwidth prints no B/s")


def bench_model(t: tools.Tools, bundle: pathlib.Path) -> None:
    report = json.loads(t.checked("bench-model", bundle, "-p", "8,16", "-n", 4, "-b", "1,2", "-d", "0,8", "-r", 2, "--json"))
    expect("rows", [(row["test"], row["batch"]) for row in report["rows"]],
           [(test, batch) for batch in (1, 2) for test in ("pp8", "pp16", "tg4", "tg4 @ d8")])
    for row in report["rows"]:
        speeds = [row["batch"] * (row["n_prompt"] or row["n_gen"]) / seconds for seconds in row["seconds"]]
        expect(f"{row['test']}: repetitions", len(speeds), 2)
        if abs(sum(speeds) / 2 - row["avg_ts"]) > 1e-6 * row["avg_ts"]:
            complaints.append(f"{row['test']}: avg_ts is {row['avg_ts']}, the repetitions have {speeds}")
    table = t.checked("bench-model", bundle, "-p", 0, "-n", 2, "-r", 1).splitlines()
    expect("lines of the table", len(table), 5)
    profiled(t, bundle)
    # When the measurement starts, all sequences have the requested depth, although their prompts end at different
    # times.
    report = json.loads(t.checked("bench-model", bundle, "-p", 0, "-n", 8, "-b", "1,8", "-d", "24,16:48", "-r", 1, "--json"))
    expect("contexts", [abs(row["n_context"] - depth - 4.5) < 1 for row, depth in zip(report["rows"], (24, 16, 24, 32))], [True] * 4)
    expect_error(t, "found '48:16'", "bench-model", bundle, "-d", "48:16")
    expect_error(t, "the engine runs at most", "bench-model", bundle, "-b", 10000)
    expect_error(t, "positions per sequence, but the engine", "bench-model", bundle, "-p", 0, "-d", 1000000)


def inspect_bundle(t: tools.Tools, bundle: pathlib.Path) -> None:
    facts = json.loads(t.checked("inspect-bundle", bundle, "--json", "--verify-weights"))
    target = facts["targets"][0]
    expect("target", target["name"], "cpu")
    kernels = {kernel["name"] for kernel in target["kernels"]}
    used = {launch["kernel"] for entry in target["entries"] for part in ("launches", "penalties", "sampling")
            for launch in entry[part]}
    expect("kernels that are launched", used, kernels)
    expect("weights_bytes", target["weights_bytes"], sum(weight["bytes"] for weight in target["weights"]))
    text = t.checked("inspect-bundle", bundle)
    complaints.extend(f"inspect-bundle does not show {name}" for name in sorted(kernels) if name not in text)


def test(t: tools.Tools, *bundles: pathlib.Path) -> None:
    without_bundle(t)
    for bundle in bundles:
        run_model(t, bundle)
        bench_model(t, bundle)
        inspect_bundle(t, bundle)
    if complaints:
        tools.fail("\n".join(complaints))


tools.main(test)
