"""Each rank of a bundle in a process of its own, as mpirun starts them: the tokens of one process, and how all processes end
when one fails. Most tests set mpirun's variables themselves; the last ones use mpirun. Takes the bundles of the example model
for one rank, two ranks, two stages, and two stages of two ranks."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import tools
from processes_support import MPI_ENVIRONMENT, MPIRUN, ended, expect, ranks, serving_ranks

TIMEOUT = 3  # --distributed-timeout
PROMPT = ("--prompt", "def main(argv):\n", "--temperature", "0", "--max-tokens", "24", "--ignore-eos", "--json", "-q")
def test_tokens(t: tools.Tools, whole: pathlib.Path, bundles: dict[pathlib.Path, int]) -> list[int]:
    expected = t.generate(whole, *PROMPT)["token_ids"]
    for bundle, count in bundles.items():
        with ranks(t, "run-model", count, bundle, *PROMPT) as processes:
            output, errors = processes[0].communicate(timeout=240)
            expect(processes[0].returncode == 0, errors)
            found = json.loads(output)["token_ids"]
            expect(found == expected, f"{bundle.name}: expected {expected}, found {found}")
            for process in processes[1:]:
                expect(ended(process, 30) == (0, ""), f"{bundle.name}: {process.args}")
        print(f"{bundle.name}: {count} processes, {len(found)} tokens equal")
    return expected


def test_errors(t: tools.Tools, two: pathlib.Path) -> None:
    """What cannot run is refused by all processes."""
    for what, count, arguments, environment, message in [
        ("three processes of two ranks", 3, {}, {},
         r"3 processes run \S+, but it was compiled for 2 ranks .*; start 2 processes, or compile the model for 3 ranks"),
        ("other options", 2, {1: (two, "--max-num-seqs", 2)}, {},
         r"--max-num-seqs is 2 on rank 1, but \d+ on rank 0; give all processes the same options"),
        ("several hosts", 2, {}, {"OMPI_COMM_WORLD_LOCAL_SIZE": "1"},
         "mpirun has started 2 processes, 1 of them on this host; .* start all of them on one host"),
        ("no number", 2, {}, {"OMPI_COMM_WORLD_RANK": "x"}, "OMPI_COMM_WORLD_RANK is 'x', expected 0 to 1: "),
    ]:
        with ranks(t, "run-model", count, two, *PROMPT, of_rank=arguments, environment=environment) as processes:
            for process in processes:
                code, errors = ended(process, 60)
                expect(code == 1 and re.search(message, errors) is not None, f"{what}: exit code {code}: {errors}")
    result = t.run("run-model", two, *PROMPT, "--rendezvous", "x")
    expect(result.returncode == 1 and "--rendezvous has no effect without mpirun" in result.stderr, result.stderr)


def test_failures(t: tools.Tools, bundle: pathlib.Path, count: int) -> None:
    """A process that is killed or stopped ends all requests with one status. No process and no memory is left."""
    shared = sorted(os.listdir("/dev/shm"))
    body = {"prompt": "import os\n", "max_tokens": 400, "temperature": 0, "ignore_eos": True}
    for number in (signal.SIGKILL, signal.SIGSTOP):
        with serving_ranks(t, bundle, count, TIMEOUT) as (server, processes), concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(server.post, "/v1/completions", body) for _ in range(4)]
            while server.metric("generation_tokens_total") == 0 and not any(answer.done() for answer in answers):
                time.sleep(0.01)
            begin = time.monotonic()
            processes[-1].send_signal(number)
            results = [answer.result() for answer in answers]
            seconds = time.monotonic() - begin
            expect(seconds < 2 * TIMEOUT, f"{number.name}: requests took {seconds:.1f} s to end")
            messages = {(status, answer["error"]["message"]) for status, answer in results if status >= 500}
            expect(len(messages) == 1 and all(status >= 500 for status, _ in results), f"{number.name}: {results}")
            expected = "has ended; the engine cannot continue" if number == signal.SIGKILL else "(--distributed-timeout)"
            expect(expected in next(iter(messages))[1], f"{number.name}: {messages}")
            expect(server.get("/health")[0] == 503, f"{number.name}: /health")
            for process in processes[1:-1]:
                expect(ended(process, 10)[0] == 1, f"{number.name}: {process.args}")
            if number == signal.SIGSTOP:  # it ends when it goes on
                processes[-1].send_signal(signal.SIGCONT)
                expect(ended(processes[-1], 10)[0] == 1, "SIGSTOP: the process that was stopped")
            expect(server.stop() == 0, f"{number.name}: rank 0")
        print(f"{bundle.name}: {number.name}: {next(iter(messages))[1]}")
    with serving_ranks(t, bundle, count, TIMEOUT) as (server, processes):
        processes[0].kill()
        for process in processes[1:]:
            code, errors = ended(process, 10)
            expect(code == 1 and "the process of rank 0" in errors, f"rank 0 was killed: exit code {code}: {errors}")
    expect(sorted(os.listdir("/dev/shm")) == shared, "/dev/shm has other files than before")


def test_profile(t: tools.Tools, both: pathlib.Path) -> None:
    """bench-model --profile-rank shows the kernels of the rank's stage, in the process that runs them."""
    options = ("-p", 0, "-n", 8, "-d", 16, "-r", 1, "--profile", "--profile-rank")
    for rank, first, last in (0, True, False), (1, True, False), (3, False, True):
        report = json.loads(t.checked("bench-model", both, *options, rank, "--json"))
        expect(report["profile_rank"] == rank, f"--profile-rank {rank}: {report['profile_rank']}")
        origins = " ".join(kernel["origin"] for kernel in report["rows"][0]["profile"]["kernels"])
        for name, expected in ("embed_tokens", first), ("lm_head", last):
            expect((name in origins) == expected, f"--profile-rank {rank}: kernels of {origins}")
    result = t.run("bench-model", both, *options, 4)
    expect(result.returncode == 1 and "has 4 ranks; expected 0 to 3" in result.stderr, result.stderr)
    with ranks(t, "bench-model", 4, both, *options, 1) as processes:
        code, errors = ended(processes[0], 60)
        expect(code == 1 and "the process of rank 0 traces its own kernels only" in errors, errors)


def processes_of(bundle: pathlib.Path) -> dict[int, int]:
    """The ids of the processes that run a bundle, by rank."""
    found = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(bundle).encode() in (process / "cmdline").read_bytes():
                rank = re.search(rb"OMPI_COMM_WORLD_RANK=(\d+)", (process / "environ").read_bytes())
                if rank:
                    found[int(rank[1])] = int(process.name)
    return found


def test_mpirun(t: tools.Tools, bundles: dict[pathlib.Path, int], expected: list[int]) -> None:
    if not shutil.which("mpirun"):
        tools.skipped("no mpirun (Debian package openmpi-bin)")
        return
    for bundle, count in bundles.items():
        command = [*MPIRUN, "-n", str(count), str(t.binaries / "run-model"), str(bundle)]
        result = subprocess.run([*command, *PROMPT], env=MPI_ENVIRONMENT, capture_output=True, text=True, timeout=240)
        expect(result.returncode == 0, result.stderr)
        found = json.loads(result.stdout)["token_ids"]
        expect(found == expected, f"{bundle.name}: expected {expected}, found {found}")
        # A rank that is stopped, and one that is killed: mpirun ends with an error, and no process is left.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            # A copy of the bundle has a path of its own, by which its processes are found.
            own = t.scratch / f"{bundle.stem}-{number.name}"
            own.symlink_to(bundle.resolve())
            command = [*MPIRUN, "-n", str(count), str(t.binaries / "run-model"), str(own), "--prompt", "import os\n",
                       "--max-tokens", "400", "--ignore-eos", "--distributed-timeout", str(TIMEOUT)]
            with subprocess.Popen(command, env=MPI_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                if not process.stdout.read(1):  # the first token
                    tools.fail(f"mpirun, {number.name}: {process.communicate()[1]}")
                os.kill(processes_of(own)[1], number)
                begin = time.monotonic()
                _, errors = process.communicate(timeout=60)
                seconds = time.monotonic() - begin
            expect(process.returncode != 0, f"mpirun, {number.name}: {errors}")
            left = processes_of(own)
            expect(not left, f"mpirun, {number.name}: processes {left} are left")
            print(f"{bundle.name}: mpirun -n {count}, {number.name}: ended after {seconds:.1f} s")


def test(t: tools.Tools, whole: pathlib.Path, two: pathlib.Path, stages: pathlib.Path, both: pathlib.Path) -> None:
    expected = test_tokens(t, whole, {two: 2, stages: 2, both: 4})
    test_errors(t, two)
    test_profile(t, both)
    test_failures(t, two, 2)
    test_failures(t, both, 4)
    test_mpirun(t, {two: 2, stages: 2}, expected)


tools.main(test)
