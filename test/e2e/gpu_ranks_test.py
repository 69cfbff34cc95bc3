"""Ranks of a bundle for sm_90a, each on a GPU of its own, on a machine without a GPU: the fake driver has two. The kernels are
emulated as in emulated_model_test.py, those that exchange through peer memory too, or fake_nccl.cpp sums and gathers, with and
without CUDA graphs. The tokens and logits must be those of transformers. Tokens that are sampled from the parts of the ranks must be
those of all logits. Then the errors: too few GPUs, no NCCL, GPUs and ranks that do not answer. Needs NVRTC."""

import json
import os
import pathlib
import sys

import tools

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "codegen/gpu"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import emulation  # noqa: E402
from gpu_check import correctness  # noqa: E402

FLAGS = ("--target", "sm_90a", "--dtype", "bfloat16", "--max-num-seqs", 4, "--max-num-batched-tokens", 64, "-q")
STARTS, STEPS = (0, 9, 17), 4


class Machine:
    """Two fake GPUs. Environment variables are those of fake_driver.cpp and fake_nccl.cpp."""

    def __init__(self, t: tools.Tools, driver: pathlib.Path, nccl: pathlib.Path, bundle: pathlib.Path):
        self.t, self.driver, self.nccl, self.bundle = t, driver, nccl, bundle

    def __call__(self, run, **environment):
        """Calls `run` with the environment."""
        before = dict(os.environ)
        os.environ.update({"LD_LIBRARY_PATH": f"{self.driver.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}", "FAKE_GPUS": "2",
                           "FAKE_MEMORY": str(256 << 20), **environment})
        try:
            return run()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def fails(self, what: str, expected: list[str], *flags, bundle: pathlib.Path | None = None, nccl: pathlib.Path | None = None,
              **environment) -> None:
        """Expects that run-model ends with an error. Without FAKE_KERNELS, kernels do nothing."""
        result = self(lambda: self.t.run("run-model", bundle or self.bundle, "--prompt-ids", "3,4", "--max-tokens", 4, "-q", "--nccl",
                                         nccl or self.nccl, "--distributed-timeout", 3, *flags), **environment)
        missing = [text for text in expected if text not in result.stderr]
        if result.returncode != 1 or missing:
            tools.fail(f"{what}: expected exit code 1 and {missing}, found {result.returncode}: {result.stderr}")
        print(f"{what}: {result.stderr.splitlines()[0]}", flush=True)


def compare(t: tools.Tools, machine: Machine, model: pathlib.Path, library: pathlib.Path, backend: str, *flags) -> None:
    golden, logits, row_errors = correctness.golden_of(model)
    prompts = [golden["prompt_ids"] + golden["greedy_ids"][:start] for start in STARTS]
    arguments = type("Arguments", (), {"out": t.scratch, "bin": t.binaries})
    log = t.scratch / "operations"
    log.unlink(missing_ok=True)
    outputs = machine(lambda: correctness.generate(
        arguments, machine.bundle, "sm_90a", len(logits[0]), prompts, "--kv-cache-memory-bytes", 3 << 20, "--nccl", machine.nccl,
        "--distributed-backend", backend, "--distributed-timeout", 200, *flags, steps=STEPS),
        FAKE_KERNELS=str(library), FAKE_NCCL_LOG=str(log))
    pairs = []
    for start, (tokens, rows) in zip(STARTS, outputs, strict=True):
        where = f"two GPUs, {backend}, prompt + {start} tokens"
        try:
            equal = correctness.part_of_tokens(golden["greedy_ids"][start:], tokens, logits[start:], golden["bf16_error"], where)
        except correctness.Mismatch as mismatch:
            tools.fail(str(mismatch))
        pairs += correctness.compare_rows(logits[start : start + equal], rows[:equal])
    error, worst = correctness.relative(pairs), max(correctness.relative([pair]) for pair in pairs)
    operations = int(log.read_text()) if log.exists() else 0
    print(f"two GPUs, {backend} {' '.join(flags)}: {len(pairs)} rows of logits, relative error {error:.1e}, of the worst row {worst:.1e}, "
          f"{operations} operations of NCCL", flush=True)
    if not error <= 1.5 * golden["bf16_error"] or not worst <= 1.5 * max(row_errors):
        tools.fail(f"{backend}: expected at most {1.5 * golden['bf16_error']:.1e} and {1.5 * max(row_errors):.1e}")
    # NCCL is checked with two operations of each rank when it is connected.
    if operations <= 4 if backend == "nccl" else operations > 0:
        tools.fail(f"{backend}: expected {'more than 4' if backend == 'nccl' else 'no'} operations of NCCL, found {operations}")


def compare_parts(t: tools.Tools, machine: Machine, model: pathlib.Path, library: pathlib.Path, backend: str) -> None:
    """Log-probabilities need the logits of all ranks. Without them, ranks compare the best token of each."""
    prompt = ",".join(map(str, correctness.golden_of(model)[0]["prompt_ids"]))

    def tokens(*flags) -> list[int]:
        run = machine(lambda: t.checked("run-model", machine.bundle, "--prompt-ids", prompt, "--max-tokens", 2 * STEPS, "--ignore-eos", "--json",
                                        "--top-p", 1, "--top-k", 0, "--kv-cache-memory-bytes", 3 << 20, "--nccl", machine.nccl,
                                        "--distributed-backend", backend, "--distributed-timeout", 200, *flags),
                      FAKE_KERNELS=str(library))
        return json.loads(run)["token_ids"]

    for sampling in (("--temperature", 0), ("--temperature", 0.8, "--seed", 5)):
        parts, whole = tokens(*sampling), tokens(*sampling, "--logprobs", 0)
        if parts != whole or len(parts) != 2 * STEPS:
            tools.fail(f"{backend}, {sampling}: expected the same tokens with and without logits of all ranks, found {whole} and {parts}")
        print(f"two GPUs, {backend}, {sampling}: {parts} from the parts of the ranks", flush=True)


def errors(t: tools.Tools, machine: Machine, model: pathlib.Path) -> None:
    machine.fails("one GPU", ["the bundle is for 2 ranks, each on a GPU for sm_90a of its own, but this machine has 1",
                              "CUDA_VISIBLE_DEVICES", "--tensor-parallel-size 1"], FAKE_GPUS="1")
    machine.fails("no NCCL", ["the ranks need NCCL because --distributed-backend is nccl", "none.so", "--nccl", "nvidia-nccl-cu13"],
                  "--distributed-backend", "nccl", nccl=t.scratch / "none.so")
    machine.fails("no peer access", ["--distributed-backend peer: GPU 0 cannot access the memory of GPU 1"], "--distributed-backend", "peer",
                  FAKE_NO_PEER="0:1")
    machine.fails("wrong sums", ["rank 0 has a wrong sum of a number of each rank"], "--distributed-backend", "nccl", FAKE_NCCL="wrong")
    machine.fails("a GPU that does not answer", ["rank 1: GPU 1 has not finished the step after 3 s (--distributed-timeout)"],
                  "--distributed-backend", "nccl", FAKE_STUCK="1:kernel")
    machine.fails("a rank that does not deliver", ["rank 1: rank 0 has not delivered its part of '", "in round 1 of the exchange"],
                  "--distributed-backend", "peer", FAKE_FAILED="1:0:1")
    machine.fails("wrong bytes", ["GPU 1 writes to the memory of GPU 0: byte 0 of", "ACS"], "--distributed-backend", "peer",
                  FAKE_BROKEN="1:0")
    four = t.scratch / "four.inlay"
    t.checked("compile-model", model, "-o", four, *FLAGS, "-tp", 4)
    machine.fails("sums whose order depends on the step", ["--deterministic: 4 ranks exchange with NCCL", "--distributed-backend peer"],
                  "--deterministic", "--distributed-backend", "nccl", bundle=four, FAKE_GPUS="4")


def tools_name_gpus(t: tools.Tools, machine: Machine) -> None:
    """bench-model says where the ranks run. Kernels do nothing here."""
    flags = ("-p", 0, "-n", 2, "-r", 1, "--nccl", machine.nccl, "--distributed-backend", "nccl")
    where = "GPUs 0, 1 through NCCL 2.28.9"
    text = machine(lambda: t.checked("bench-model", machine.bundle, *flags))
    report = json.loads(machine(lambda: t.checked("bench-model", machine.bundle, *flags, "--json")))
    if f"2 ranks: {where}" not in text or (report["ranks"], report["distributed"]) != (2, where):
        tools.fail(f"bench-model: expected 2 ranks: {where}, found {text} and {report}")


def test(t: tools.Tools, compiler: pathlib.Path, driver: pathlib.Path, nccl: pathlib.Path, fixtures: pathlib.Path) -> None:
    model, bundle = fixtures / "llama-gqa", t.scratch / "ranks.inlay"
    if not tools.compiled_for_gpu(t.run("compile-model", model, "-o", bundle, *FLAGS, "-tp", 2), "ranks on GPUs"):
        sys.exit(77)
    machine = Machine(t, driver, nccl, bundle)
    errors(t, machine, model)
    tools_name_gpus(t, machine)
    library = emulation.compile_bundle(str(compiler), bundle, t.scratch / model.name, None, optimization="-O1")
    for backend in ("peer", "nccl"):
        compare(t, machine, model, library, backend)
        compare(t, machine, model, library, backend, "--enforce-eager")
        compare_parts(t, machine, model, library, backend)


tools.main(test)
