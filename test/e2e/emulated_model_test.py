"""The kernels of a bundle for sm_90a, emulated on a machine without a GPU, give the results of transformers.

run-model executes the plan of the bundle: launches, grids, tensor maps, graphs and dependent launches. The driver is
fake_driver.cpp. Each kernel is compiled for the CPU from its source in the bundle (test/codegen/gpu/emulation.h).
Device memory is filled with NaNs, and each buffer is between pages that cannot be accessed. Results of earlier launches
of a step read as NaN until a kernel waits for them. The bounds for logits are those of scripts/gpu-check. Needs
NVRTC."""

import json
import os
import pathlib
import re
import shutil
import sys

import tools

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "codegen/gpu"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import emulation  # noqa: E402
from gpu_check import correctness  # noqa: E402

# Runs: (name, starts, steps, flags of run-model). For each start there is a prompt: the golden prompt followed by that
# many of its greedy tokens.
ALONE = ("alone", (0,), 4, ())
# Prompt chunks of at most 40 rows, in steps that also have rows of decoding sequences.
FEW = ("few", (0, 9, 17, 30), 4, ("--max-num-batched-tokens", 40, "--no-enable-prefix-caching"))
# All sequences decode at the same time before the first one ends.
MANY = ("many", tuple(range(36)), 5, ())
EAGER = ("eager", (0, 20), 3, ("--enforce-eager",))
# Cases: name -> (fixture, flags of compile-model, runs, kernel families and kernels that must have run)
KERNELS = ("sample", "embed_tokens")
FAMILIES = {"stream", "decode_attention", "prefill_attention", "generic", *KERNELS}
CASES = {
    "decode_1 to decode_64, gemm": ("llama-gqa", ("--max-num-seqs", 64, "--max-num-batched-tokens", 512), (ALONE, FEW, MANY),
                                    FAMILIES | {"swap_ab", "gemm"}),
    "layer norms in kernels of one row": ("starcoder2", ("--max-num-seqs", 4, "--max-num-batched-tokens", 64), (ALONE, FEW),
                                          FAMILIES | {"swap_ab"}),
    "codes of 4 bits with zero points": ("awq", ("--max-num-seqs", 4, "--max-num-batched-tokens", 64), (ALONE, FEW), FAMILIES),
    "columns in the order of their groups, linked weights": (
        "gptq-desc-act", ("--max-num-seqs", 4, "--max-num-batched-tokens", 64, "--weights", "link"), (ALONE, FEW), FAMILIES | {"swap_ab"}),
    # What quantizing activations costs is no question here: emulated_codes compares these products.
    "fp8 in blocks, linked weights": ("fp8-block", ("--max-num-seqs", 4, "--max-num-batched-tokens", 64, "--weights", "link",
                                                    "--activation-quantization", "none"), (FEW,),
                                      FAMILIES),
    # Compared with the cpu target: what rounding keys and values costs is no question here, and neither are activations.
    "fp8 weights and cache": ("modelopt-fp8", ("--max-num-seqs", 4, "--max-num-batched-tokens", 64, "--kv-cache-dtype", "fp8",
                                               "--activation-quantization", "none"), (FEW,), FAMILIES),
    "window, norms of heads, linked weights": ("qwen3-window", ("--max-num-seqs", 4, "--max-num-batched-tokens", 64, "--weights", "link"),
                                               (FEW, EAGER), FAMILIES | {"swap_ab", "pack"}),
}


# Prompts of check_calibration: the text less this many tokens, each in one step.
EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples/stdlib_model/model"
EXAMPLE_TEXT, EXAMPLE_VOCABULARY = EXAMPLE.parent / "train.py", 2048
CALIBRATED_ENDS, ALONE_FLAGS = (0, 9, 17), ("--no-enable-prefix-caching",)


def families_of(t: tools.Tools, model: pathlib.Path, flags) -> dict[str, str]:
    """Kernel -> its kernel family."""
    text = t.checked("compile-model", model, "--emit", "tile", "--target", "sm_90a", "--dtype", "bfloat16", "-o",
                     t.scratch / "unused", "-q", *flags)
    programs = re.findall(r"^ *tile\.program @(\w+)\((.*)", text, re.MULTILINE)
    schedules = {name: re.search(r" schedule #tile\.(\w+)<", rest) for name, rest in programs}
    return {name: schedule[1] if schedule else "generic" for name, schedule in schedules.items()}


class Emulated:
    """The bundle of a fixture, and its kernels compiled as a library for the CPU: all, or those of steps with prompts."""

    def __init__(self, t: tools.Tools, compiler: pathlib.Path, driver: pathlib.Path, model: pathlib.Path, flags,
                 only_prompts: bool = False):
        self.t, self.driver = t, driver
        self.bundle, self.log = t.scratch / "emulated.inlay", t.scratch / "launches"
        shutil.rmtree(self.bundle, ignore_errors=True)
        result = t.run("compile-model", model, "-o", self.bundle, "--target", "sm_90a", "--dtype", "bfloat16", "-q", *flags)
        if not tools.compiled_for_gpu(result, "kernels of whole models"):
            sys.exit(77)
        names = None
        if only_prompts:
            target = json.loads(t.checked("inspect-bundle", self.bundle, "--json"))["targets"][0]
            names = sorted({launch["kernel"] for entry in target["entries"] if entry["kind"] == "mixed"
                            for launch in entry["launches"]})
        self.library = emulation.compile_bundle(str(compiler), self.bundle, t.scratch / model.name, names, optimization="-O1")
        if (model / "golden").is_dir():
            self.golden, self.logits, self.row_errors = correctness.golden_of(model)
        if "--kv-cache-dtype" in flags:
            self.refer_to_cpu(model, flags)

    def refer_to_cpu(self, model: pathlib.Path, flags) -> None:
        """Takes the tokens and logits of the cpu target for the golden ones. Both targets round to bfloat16 then, and a
        difference of that size moves a key or value in twenty to the code beside it, so the bounds are doubled."""
        bundle = self.t.scratch / "reference.inlay"
        self.t.checked("compile-model", model, "-o", bundle, "--target", "cpu", "--dtype", "bfloat16", "-q", "--overwrite", *flags)
        arguments = type("Arguments", (), {"out": self.t.scratch, "bin": self.t.binaries})
        [(self.golden["greedy_ids"], self.logits)] = correctness.generate(
            arguments, bundle, "cpu", len(self.logits[0]), [self.golden["prompt_ids"]], steps=len(self.golden["greedy_ids"]))
        self.golden["bf16_error"] *= 2
        self.row_errors = [2 * error for error in self.row_errors]

    def generate(self, starts, steps: int, *flags, temperature: float = 0) -> tuple[list, list[list]]:
        """Returns (tokens, rows of logits) of each prompt, and the launches: [kernel, [grid], [sizes of the step]]."""
        self.log.unlink(missing_ok=True)
        environment = {"LD_LIBRARY_PATH": f"{self.driver.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}",
                       "FAKE_KERNELS": str(self.library), "FAKE_LOG": str(self.log),
                       "FAKE_MEMORY": str(256 << 20)}
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            prompts = [self.golden["prompt_ids"] + self.golden["greedy_ids"][:start] for start in starts]
            arguments = type("Arguments", (), {"out": self.t.scratch, "bin": self.t.binaries})
            outputs = correctness.generate(arguments, self.bundle, "sm_90a", len(self.logits[0]), prompts,
                                           "--kv-cache-memory-bytes", 3 << 20, *flags, steps=steps, temperature=temperature)
        finally:
            os.environ.clear()
            os.environ.update(before)
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return outputs, [[line[0], [int(n) for n in line[1:4]], [int(n) for n in line[4:10]]] for line in lines]

    def compare(self, label: str, starts, steps: int, outputs) -> None:
        pairs = []
        for start, (tokens, rows) in zip(starts, outputs, strict=True):
            where = f"{label}, prompt + {start} tokens"
            if len(tokens) != steps or len(rows) != steps:
                tools.fail(f"{where}: {len(tokens)} tokens and {len(rows)} rows of logits, expected {steps}")
            try:
                equal = correctness.part_of_tokens(self.golden["greedy_ids"][start:], tokens, self.logits[start:],
                                                   self.golden["bf16_error"], where)
            except correctness.Mismatch as mismatch:
                tools.fail(str(mismatch))
            pairs += correctness.compare_rows(self.logits[start : start + equal], rows[:equal])
        error, worst = correctness.relative(pairs), max(correctness.relative([pair]) for pair in pairs)
        print(f"{label}: {len(pairs)} rows of logits, relative error {error:.1e}, of the worst row {worst:.1e}", flush=True)
        # As in correctness.compare, the bound is 1.5 times the error of transformers in bfloat16. Here the mean is over
        # fewer rows.
        if not error <= 1.5 * self.golden["bf16_error"] or not worst <= 1.5 * max(self.row_errors):
            tools.fail(f"{label}: expected at most {1.5 * self.golden['bf16_error']:.1e} and {1.5 * max(self.row_errors):.1e}")


def check(t: tools.Tools, name: str, emulated: Emulated, families: dict[str, str], runs, wanted: set[str]) -> None:
    launched = []
    for run, starts, steps, flags in runs:
        outputs, launches = emulated.generate(starts, steps, *flags)
        emulated.compare(f"{name}, {run}", starts, steps, outputs)
        launched += launches
        if run == "few":
            # At most two prompts end in a step of 40 rows, so of three rows of logits at least one is of a decoding
            # sequence.
            if not any(sequences > 1 and tokens > sequences and logit_rows >= 3
                       for _, _, (tokens, sequences, _, logit_rows, _, _) in launches):
                tools.fail(f"{name}, {run}: no step had chunks of prompts and decoding sequences")
        if run == "many" and not any(kernel.startswith("decode_64_") for kernel, _, _ in launches):
            tools.fail(f"{name}, {run}: no kernel of decode_64 ran")
    kernels = {kernel for kernel, _, _ in launched}
    ran = {"pack" if kernel.startswith("pack_") else families[kernel] for kernel in kernels}
    ran |= {name for name in KERNELS if any(kernel.endswith(f"_{name}") for kernel in kernels)}
    if not wanted <= ran:
        tools.fail(f"{name}: expected kernels of the families {sorted(wanted)}, found {sorted(ran)}")
    print(f"{name}: {len(launched)} launches of {len(kernels)} kernels, families {', '.join(sorted(ran))}", flush=True)


def check_codes(t: tools.Tools, compiler: pathlib.Path, driver: pathlib.Path) -> None:
    """Checks steps with prompts that quantize activations to int8. That costs 1.8 times the error of transformers in
    bfloat16; codes at wrong places cost 30 times as much. A prompt ends after one token, before the first decode step."""
    model = correctness.QUANTIZED / "ct-int8"
    emulated = Emulated(t, compiler, driver, model, ("--max-num-seqs", 1, "--max-num-batched-tokens", 512), only_prompts=True)
    outputs, launches = emulated.generate((0,), 1)
    error = correctness.relative(correctness.compare_rows(emulated.logits[:1], outputs[0][1]))
    quantizers = {kernel for kernel, _, _ in launches if "quantize" in kernel}
    print(f"int8 activations: relative error {error:.1e}, kernels {', '.join(sorted(quantizers))}", flush=True)
    bound = 3 * emulated.golden["bf16_error"]
    if not error <= bound or not quantizers:
        tools.fail(f"int8 activations: expected at most {bound:.1e}, and kernels that quantize")


def check_calibration(t: tools.Tools, compiler: pathlib.Path, driver: pathlib.Path) -> None:
    """Checks steps with prompts that quantize activations to fp8 by the scales of a calibration, which are numbers of the
    plan. The text is that of the prompts. On the cpu, the same weights with scales of tokens say what codes cost."""
    text, out = t.scratch / "calibration.txt", type("Arguments", (), {"out": t.scratch, "bin": t.binaries})
    text.write_text(EXAMPLE_TEXT.read_text()[:240])
    flags = ("--quantization", "fp8", "--max-num-seqs", 1, "--max-num-batched-tokens", 512)
    emulated = Emulated(t, compiler, driver, EXAMPLE, (*flags, "--calibration-file", text), only_prompts=True)
    rows = {}
    for name in ("none", "dynamic"):
        bundle = t.scratch / "reference.inlay"
        t.checked("compile-model", EXAMPLE, "-o", bundle, "--dtype", "bfloat16", "-q", "--overwrite", "--activation-quantization",
                  name, *flags)
        ids = json.loads(t.checked("run-model", bundle, "--prompt-file", text, "--max-tokens", 1, "--json"))["prompt_token_ids"]
        prompts = [ids[: len(ids) - end] for end in CALIBRATED_ENDS]
        rows[name] = [row for _, [row] in correctness.generate(out, bundle, "cpu", EXAMPLE_VOCABULARY, prompts, *ALONE_FLAGS, steps=1)]
    emulated.golden, emulated.logits = {"prompt_ids": [], "greedy_ids": ids}, rows["none"]
    outputs, launches = emulated.generate([len(ids) - end for end in CALIBRATED_ENDS], 1, *ALONE_FLAGS)
    errors = {name: correctness.relative(correctness.compare_rows(rows["none"], found))
              for name, found in (("tokens", rows["dynamic"]), ("calibration", [row for _, [row] in outputs]))}
    quantizers = {kernel for kernel, _, _ in launches if "quantize" in kernel}
    print(f"fp8 activations: relative error {errors['calibration']:.1e} with scales of a calibration, {errors['tokens']:.1e} with "
          f"those of tokens, kernels {', '.join(sorted(quantizers))}", flush=True)
    if not 0 < errors["calibration"] <= 1.5 * errors["tokens"] or not quantizers:
        tools.fail("fp8 activations: expected an error as with scales of tokens, and kernels that quantize")


def check_sampling(emulated: Emulated) -> None:
    """Checks the kernels of penalties and of sampling filters. The reported logits are before penalties, so the effect
    of penalties shows only in the tokens."""
    [(tokens, rows)], launches = emulated.generate((0,), 5, "--repetition-penalty", 1.5, "--presence-penalty", 2)
    prompt, best = set(emulated.golden["prompt_ids"]), []
    for i, row in enumerate(rows):
        said = set(tokens[:i])
        changed = [(x if k not in prompt | said else x / 1.5 if x > 0 else x * 1.5) - (2 if k in said else 0)
                   for k, x in enumerate(row)]
        best.append(max(range(len(row)), key=changed.__getitem__))
    if tokens != best:
        tools.fail(f"sampling: penalties at temperature 0: expected the tokens {best}, found {tokens}")
    if tokens == [max(range(len(row)), key=row.__getitem__) for row in rows]:
        tools.fail(f"sampling: expected penalties to change at least one of the tokens {tokens}")
    if not any(kernel.endswith("_penalties") for kernel, _, _ in launches):
        tools.fail("sampling: no kernel for penalties ran")
    drawn = [emulated.generate((0,), 5, "--top-k", 20, "--seed", seed, temperature=1.3)[0][0] for seed in (5, 5, 6)]
    if drawn[0] != drawn[1] or drawn[0][0] == drawn[2][0]:
        tools.fail("sampling: seeds 5, 5 and 6: expected equal tokens for the first two and different ones for the "
                   f"third, found {[d[0] for d in drawn]}")
    for tokens, rows in drawn:
        if any(sum(x > row[token] for x in row) >= 20 for token, row in zip(tokens, rows)):
            tools.fail(f"sampling: {tokens}: expected tokens among the 20 best of their rows")
    print("sampling: penalties, top-k and seeds", flush=True)


def test(t: tools.Tools, compiler: pathlib.Path, driver: pathlib.Path, fixtures: pathlib.Path) -> None:
    for name, (fixture, flags, runs, wanted) in CASES.items():
        model = fixtures / fixture if (fixtures / fixture).exists() else correctness.QUANTIZED / fixture
        emulated = Emulated(t, compiler, driver, model, flags)
        check(t, name, emulated, families_of(t, model, flags), runs, wanted)
    check_sampling(emulated)
    check_codes(t, compiler, driver)
    check_calibration(t, compiler, driver)


tools.main(test)
