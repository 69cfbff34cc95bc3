"""Ranks of a bundle for sm_90a, each on a GPU of its own, on a machine without a GPU: the fake driver has two or four. The kernels are
emulated as in emulated_model_test.py, those that exchange through peer memory too, or fake_nccl.cpp sums, gathers and sends, with and
without CUDA graphs. Rows between two stages go through peer memory, host memory or NCCL. The tokens and logits must be those of
transformers. So must those of ranks in processes that mpirun starts, and of ranks that share a GPU (--device 0,0). Tokens that are sampled from the parts of the ranks must be those of all logits. Then the errors: too few GPUs, no NCCL, GPUs, ranks and stages that do not answer, a process that is killed. Needs NVRTC."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import sys
import time

import tools
from processes_support import MPI_ENVIRONMENT, MPIRUN, ended, expect, ranks

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "codegen/gpu"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import emulation  # noqa: E402
from gpu_check import correctness  # noqa: E402

TARGET = ("--target", "sm_90a", "--dtype", "bfloat16", "-q")
FLAGS = (*TARGET, "--max-num-seqs", 4)
ROWS = ("--max-num-batched-tokens", 64)
STARTS, STEPS = (0, 9, 17), 4
# Ranks of each stage, stages, the operations of NCCL that check its connections, and options of compile-model.
HALVES, HALVES_ROWS, HALF_MULTIPLE = "two ranks in halves", 32, 16
DIVISIONS = {"two ranks": (2, 1, 4, ROWS), "two stages": (1, 2, 2, ROWS), "two stages of two ranks": (2, 2, 12, (*ROWS, "--sum-prologues")),
             HALVES: (2, 1, 4, ("--max-num-batched-tokens", 512, f"--overlap-collectives={HALVES_ROWS}"))}
# Sums over ranks run when something waits for them.
LATE = {"FAKE_LATE": "all_reduce"}
ONE_GPU = {"FAKE_GPUS": "1"}
# How each of them runs: the division, what exchanges values, options of run-model and environment variables.
RUNS = [
    ("two ranks", "peer memory", ("--distributed-backend", "peer"), {}),
    ("two ranks", "peer memory", ("--distributed-backend", "peer", "--enforce-eager"), {}),
    ("two ranks", "NCCL 2.28.9", ("--distributed-backend", "nccl"), {}),
    ("two ranks", "NCCL 2.28.9", ("--distributed-backend", "nccl", "--enforce-eager"), {}),
    ("two stages", "peer memory", (), {}),
    ("two stages", "host memory", ("--enforce-eager",), {"FAKE_NO_PEER": "0:1"}),
    ("two stages of two ranks", "peer memory", ("--distributed-backend", "peer"), {}),
    ("two stages of two ranks", "NCCL 2.28.9", ("--distributed-backend", "nccl"), {}),
    ("two ranks", "peer memory", ("-dev", "0,0"), ONE_GPU),
    ("two stages", "peer memory", ("--device", "0,0"), ONE_GPU),
    ("two stages of two ranks", "peer memory", ("--device", "1,1,0,0"), {"FAKE_GPUS": "2"}),
    (HALVES, "peer memory", ("--device", "0,0"), ONE_GPU),
    (HALVES, "peer memory", ("--distributed-backend", "peer"), {}),
    (HALVES, "peer memory", ("--distributed-backend", "peer"), LATE),
    (HALVES, "NCCL 2.28.9", ("--distributed-backend", "nccl"), LATE),
]
# The same with a process for each rank.
RUNS_OF_PROCESSES = [
    ("two ranks", "peer memory", ("--distributed-backend", "peer"), {}),
    ("two ranks", "NCCL 2.28.9", ("--distributed-backend", "nccl"), {}),
    ("two stages", "peer memory", (), {}),
    ("two stages", "host memory", (), {"FAKE_NO_PEER": "0:1"}),
    ("two stages of two ranks", "NCCL 2.28.9", ("--distributed-backend", "nccl"), {}),
    ("two ranks", "peer memory", ("--device", "0,0"), ONE_GPU),
    ("two stages", "peer memory", ("--device", "0,0"), ONE_GPU),
]


class Machine:
    """Two fake GPUs, unless the environment has another number. Environment variables are those of fake_driver.cpp and fake_nccl.cpp."""

    def __init__(self, t: tools.Tools, driver: pathlib.Path, nccl: pathlib.Path, bundle: pathlib.Path):
        self.t, self.driver, self.nccl, self.bundle = t, driver, nccl, bundle

    def __call__(self, run, **environment):
        """Calls `run` with the environment."""
        changes = {"LD_LIBRARY_PATH": f"{self.driver.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}", "FAKE_GPUS": "2",
                   "FAKE_MEMORY": str(256 << 20), **environment}
        before = {name: os.environ.get(name) for name in changes}
        # Other variables stay, because compilers run at the same time.
        os.environ.update(changes)
        try:
            return run()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def fails(self, what: str, expected: list[str], *flags, bundle: pathlib.Path | None = None, nccl: pathlib.Path | None = None,
              timeout: int = 3, **environment) -> None:
        """Expects that run-model ends with an error. Without FAKE_KERNELS, kernels do nothing."""
        result = self(lambda: self.t.run("run-model", bundle or self.bundle, "--prompt-ids", "3,4", "--max-tokens", 4, "-q", "--nccl",
                                         nccl or self.nccl, "--distributed-timeout", timeout, *flags), **environment)
        missing = [text for text in expected if text not in result.stderr]
        if result.returncode != 1 or missing:
            tools.fail(f"{what}: expected exit code 1 and {missing}, found {result.returncode}: {result.stderr}")
        print(f"{what}: {result.stderr.splitlines()[0]}", flush=True)


def compare(t: tools.Tools, machine: Machine, model: pathlib.Path, bundle: pathlib.Path, library: pathlib.Path, division: str, way: str,
            flags: tuple, environment: dict, mpirun: pathlib.Path | None = None) -> None:
    """`mpirun`: a directory with a run-model that starts processes."""
    of_stage, stages, checks, _ = DIVISIONS[division]
    title = f"{division}, {way} {' '.join(flags)}{' in processes' if mpirun else ''}"
    golden, logits, row_errors = correctness.golden_of(model)
    prompts = [golden["prompt_ids"] + golden["greedy_ids"][:start] for start in STARTS]
    arguments = type("Arguments", (), {"out": t.scratch, "bin": mpirun or t.binaries})
    log, launches = t.scratch / "operations", t.scratch / "launches"

    def generate(prompts: list, *more) -> list:
        for file in (log, launches):
            file.unlink(missing_ok=True)
        return machine(lambda: correctness.generate(
            arguments, bundle, "sm_90a", len(logits[0]), prompts, "--kv-cache-memory-bytes", 3 << 20, "--nccl", machine.nccl,
            "--distributed-timeout", 200, *flags, *more, steps=STEPS),
            **{"FAKE_KERNELS": str(library), "FAKE_NCCL_LOG": str(log), "FAKE_LOG": str(launches), "FAKE_GPUS": str(of_stage * stages),
               **environment})

    if division == HALVES:
        check_halves(title, prompts[-1], generate, launches, shares_gpu="--device" in flags)
    outputs = generate(prompts)
    pairs = []
    for start, (tokens, rows) in zip(STARTS, outputs, strict=True):
        where = f"{title}, prompt + {start} tokens"
        try:
            equal = correctness.part_of_tokens(golden["greedy_ids"][start:], tokens, logits[start:], golden["bf16_error"], where)
        except correctness.Mismatch as mismatch:
            tools.fail(str(mismatch))
        pairs += correctness.compare_rows(logits[start : start + equal], rows[:equal])
    error, worst = correctness.relative(pairs), max(correctness.relative([pair]) for pair in pairs)
    operations = int(log.read_text()) if log.exists() else 0
    print(f"{title}: {len(pairs)} rows of logits, relative error {error:.1e}, of the worst row {worst:.1e}, "
          f"{operations} operations of NCCL", flush=True)
    if not error <= 1.5 * golden["bf16_error"] or not worst <= 1.5 * max(row_errors):
        tools.fail(f"{title}: expected at most {1.5 * golden['bf16_error']:.1e} and {1.5 * max(row_errors):.1e}")
    uses_nccl = way.startswith("NCCL")
    if operations <= checks if uses_nccl else operations > 0:
        tools.fail(f"{title}: expected {f'more than {checks}' if uses_nccl else 'no'} operations of NCCL, found {operations}")


def rows_of_launches(log: pathlib.Path) -> list[int]:
    """The numbers of rows that products of steps with prompts were launched for."""
    lines = [line.split() for line in log.read_text().splitlines()]
    return sorted({int(words[4]) for words in lines if words[0].startswith("mixed_") and "_proj" in words[0]})


def check_halves(title: str, prompt: list[int], generate, launches: pathlib.Path, shares_gpu: bool) -> None:
    """A prompt is a step in halves (if the ranks share a GPU, a whole one), or several whole steps of fewer rows. Its logits do not depend
    on that."""
    most = HALVES_ROWS // 2
    [(_, whole)] = generate([prompt], "--max-num-batched-tokens", most)
    rows = rows_of_launches(launches)
    expect(max(rows) == most, f"{title}: expected whole steps of at most {most} rows, found launches of {rows} rows")
    [(_, halves)] = generate([prompt])
    rows, first = rows_of_launches(launches), -(-len(prompt) // (2 * HALF_MULTIPLE)) * HALF_MULTIPLE
    parts = {len(prompt)} if shares_gpu else {first, len(prompt) - first}
    expect(len(prompt) >= HALVES_ROWS and parts <= set(rows) and (not shares_gpu or first not in rows),
           f"{title}: expected launches of {sorted(parts)} rows, found launches of {rows} rows")
    expect(whole[0] == halves[0], f"{title}: the logits of a prompt differ in halves")


def stages_fail(machine: Machine, bundle: pathlib.Path) -> None:
    machine.fails("one GPU for two stages", ["the bundle is for 2 ranks, each on a GPU"], bundle=bundle, FAKE_GPUS="1")
    machine.fails("stages without peer access", ["--distributed-backend peer: GPU 0 cannot access the memory of GPU 1"],
                  "--distributed-backend", "peer", bundle=bundle, FAKE_NO_PEER="0:1")
    machine.fails("a stage that does not send", ["step 1 has failed: rank 0: GPU 0 of stage 0 has not finished step 1 after 2 s",
                                                 "rank 1: rank 0 of stage 0 has not delivered its rows of step 1 after 2 s"],
                  bundle=bundle, timeout=2, FAKE_STUCK="0:kernel")


def compare_parts(t: tools.Tools, machine: Machine, model: pathlib.Path, library: pathlib.Path, backend: str,
                  mpirun: pathlib.Path | None) -> None:
    """Log-probabilities need the logits of all ranks. Without them, ranks compare the best token of each."""
    prompt = ",".join(map(str, correctness.golden_of(model)[0]["prompt_ids"]))
    binaries = tools.Tools(mpirun or t.binaries, t.scratch)

    def tokens(*flags) -> list[int]:
        run = machine(lambda: binaries.checked("run-model", machine.bundle, "--prompt-ids", prompt, "--max-tokens", 2 * STEPS, "--ignore-eos", "--json",
                                        "--top-p", 1, "--top-k", 0, "--kv-cache-memory-bytes", 3 << 20, "--nccl", machine.nccl,
                                        "--distributed-backend", backend, "--distributed-timeout", 200, *flags),
                      FAKE_KERNELS=str(library), **MPI_ENVIRONMENT)
        return json.loads(run)["token_ids"]

    for sampling in (("--temperature", 0), ("--temperature", 0.8, "--seed", 5)):
        parts, whole = tokens(*sampling), tokens(*sampling, "--logprobs", 0)
        if parts != whole or len(parts) != 2 * STEPS:
            tools.fail(f"{backend}, {sampling}: expected the same tokens with and without logits of all ranks, found {whole} and {parts}")
        print(f"two GPUs, {backend}{' in processes' if mpirun else ''}, {sampling}: {parts} from the parts of the ranks", flush=True)


def errors(t: tools.Tools, machine: Machine, model: pathlib.Path) -> None:
    machine.fails("one GPU", ["the bundle is for 2 ranks, each on a GPU for sm_90a of its own, but this machine has 1",
                              "CUDA_VISIBLE_DEVICES", "for at most 1 (--tensor-parallel-size", "ranks can share GPUs (--device)"], FAKE_GPUS="1")
    machine.fails("NCCL on one GPU", ["the ranks need NCCL because --distributed-backend is nccl, but ranks 0 and 1 share GPU 0, which NCCL refuses"],
                  "--device", "0,0", "--distributed-backend", "nccl")
    machine.fails("a GPU that is not there", ["--device names GPU 2, but this machine has 2: Fake GPU (sm_90), Fake GPU (sm_90)"],
                  "--device", "0,2")
    machine.fails("too few GPUs for the ranks", ["--device names 1 GPU, but ", " was compiled for 2 ranks (--tensor-parallel-size times "],
                  "--device", "1")
    machine.fails("memory that ranks share", ["of the 128.0 MiB that are free on Fake GPU (sm_90a) for each of the 2 ranks that share it"], "--device", "0,0",
                  "--gpu-memory-utilization", 0.0001)
    machine.fails("sums that do not fit beside each other", [" exchanges rows with ", "of the 2 ranks that share GPU 0, which runs 1 of them",
                  "expected at most 0", "Name more GPUs (--device)"], "--device", "0,0", FAKE_BLOCKS="1")
    machine.fails("no index", ["--device: expected indices of GPUs separated by commas, as in 1,2,3; found 'x'"], "--device", "0,x")
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
    t.checked("compile-model", model, "-o", four, *TARGET, *ROWS, "--max-num-seqs", 1, "-tp", 4)
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


def tool_of_processes(t: tools.Tools, count: int) -> pathlib.Path | None:
    """A directory with a run-model that starts `count` processes."""
    if not shutil.which("mpirun"):
        tools.skipped("no mpirun (Debian package openmpi-bin)")
        return None
    directory = t.scratch / f"mpirun-{count}"
    directory.mkdir(exist_ok=True)
    (directory / "run-model").write_text(f'#!/bin/sh\nexec {" ".join(MPIRUN)} -n {count} {t.binaries}/run-model "$@"\n')
    (directory / "run-model").chmod(0o755)
    return directory


def processes_fail(t: tools.Tools, machine: Machine, bundle: pathlib.Path, library: pathlib.Path) -> None:
    """All processes end with the same error. When one is killed, the others end."""
    arguments = (bundle, "--prompt-ids", "3,4", "--max-tokens", 40, "--ignore-eos", "-q", "--kv-cache-memory-bytes", 3 << 20)
    for what, expected, flags, environment, of_rank1 in [
        ("wrong bytes", "GPU 1 writes to the memory of GPU 0: byte 0 of", ("--distributed-backend", "peer"), {"FAKE_BROKEN": "1:0"}, {}),
        ("memory that is not shared", "cannot be shared with other processes; use --distributed-backend auto or nccl",
         ("--distributed-backend", "peer"), {"FAKE_NO_EXPORT": "1"}, {}),
        ("no NCCL", "the ranks need NCCL because --distributed-backend is nccl", ("--distributed-backend", "nccl", "--nccl", t.scratch / "no"),
         {}, {}),
        ("a rank that does not deliver", "step 1 has failed: rank 1: rank 0 has not delivered its part of '", ("--distributed-backend", "peer"),
         {"FAKE_FAILED": "1:0:1"}, {}),
        ("other GPUs", "the list of GPUs (--device, CUDA_VISIBLE_DEVICES) is 0000:03:00.0, 0000:04:00.0 on rank 1, but 0000:01:00.0, 0000:02:00.0 on rank 0",
         (), {}, {1: {"FAKE_FIRST_GPU": "2"}}),
        ("NCCL on one GPU", "but ranks 0 and 1 share GPU 0, which NCCL refuses", ("--distributed-backend", "nccl", "--device", "0,0"), ONE_GPU, {}),
    ]:
        with machine(lambda: ranks(t, "run-model", 2, *arguments, *flags, environment={**os.environ, **environment},
                                   environment_of_rank=of_rank1)) as processes:
            for process in processes:
                code, errors = ended(process, 60)
                expect(code == 1 and expected in errors, f"{what} in processes: exit code {code}: {errors}")
    timeout, log = 5, t.scratch / "kernels"
    with machine(lambda: ranks(t, "run-model", 2, *arguments, "--distributed-timeout", timeout, environment=dict(os.environ)),
                 FAKE_KERNELS=str(library), FAKE_LOG=str(log)) as processes:
        while not log.exists() or log.read_text().count("\n") < 100:
            time.sleep(0.01)
            expect(processes[0].poll() is None, "the processes have ended before one was killed")
        processes[1].kill()
        code, errors = ended(processes[0], 2 * timeout)
        expect(code == 1 and "the process of rank 1 (id " in errors and "it has ended; the engine cannot continue" in errors,
               f"a process that is killed: exit code {code}: {errors}")
        print(f"a process that is killed: {errors.splitlines()[0]}", flush=True)


def test(t: tools.Tools, compiler: pathlib.Path, driver: pathlib.Path, nccl: pathlib.Path, fixtures: pathlib.Path) -> None:
    model = fixtures / "llama-gqa"
    bundles = {division: t.scratch / f"{division.replace(' ', '_')}.inlay" for division in DIVISIONS}

    def compiled(division: str):
        of_stage, stages, _, options = DIVISIONS[division]
        return t.run("compile-model", model, "-o", bundles[division], *FLAGS, *options, "-tp", of_stage, "-pp", stages)

    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        if not all(tools.compiled_for_gpu(result, "ranks on GPUs") for result in pool.map(compiled, DIVISIONS)):
            sys.exit(77)
    machine = Machine(t, driver, nccl, bundles["two ranks"])

    def compile_kernels() -> dict[str, pathlib.Path]:
        return {division: emulation.compile_bundle(str(compiler), bundle, bundle.with_suffix(""), None, optimization="-O1")
                for division, bundle in bundles.items()}

    # The first errors need no kernels, and wait for GPUs that do not answer.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        compiled_kernels = pool.submit(compile_kernels)
        errors(t, machine, model)
        stages_fail(machine, bundles["two stages"])
        tools_name_gpus(t, machine)
        libraries = compiled_kernels.result()
    for division, *how in RUNS:
        compare(t, machine, model, bundles[division], libraries[division], division, *how)
    for division, way, flags, environment in RUNS_OF_PROCESSES:
        of_stage, stages, *_ = DIVISIONS[division]
        if mpirun := tool_of_processes(t, of_stage * stages):
            compare(t, machine, model, bundles[division], libraries[division], division, way, flags, {**MPI_ENVIRONMENT, **environment}, mpirun)
    processes_fail(t, machine, bundles["two ranks"], libraries["two ranks"])
    compare_parts(t, machine, model, libraries["two ranks"], "peer", None)
    for backend in ("peer", "nccl"):
        compare_parts(t, machine, model, libraries["two ranks"], backend, tool_of_processes(t, 2))


tools.main(test)
