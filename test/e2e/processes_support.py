"""Starts the ranks of a bundle as processes: with mpirun, or with the variables that it sets."""

import contextlib
import os
import re
import subprocess

import tools
from serve_support import Server

# As root, mpirun wants to be asked twice. The machine may have fewer cores than ranks.
MPIRUN = ("mpirun", "--oversubscribe", "--bind-to", "none")
MPI_ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

names = iter(range(1000000))


@contextlib.contextmanager
def ranks(t: tools.Tools, tool: str, count: int, *arguments, of_rank=None, environment=None, environment_of_rank=None):
    """Starts the processes of all ranks, which are killed at the end of the block. `of_rank`: other arguments by rank."""
    name = f"inlay-test-{os.getpid()}-{next(names)}"
    processes = []
    for rank in range(count):
        variables = {**os.environ, "OMPI_COMM_WORLD_SIZE": str(count), "OMPI_COMM_WORLD_LOCAL_SIZE": str(count),
                     "OMPI_COMM_WORLD_RANK": str(rank), **(environment or {}), **(environment_of_rank or {}).get(rank, {})}
        own = (of_rank or {}).get(rank, arguments)
        processes.append(subprocess.Popen([t.binaries / tool, *map(str, own), "--rendezvous", name], env=variables, text=True,
                                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@contextlib.contextmanager
def serving_ranks(t: tools.Tools, bundle, count: int, timeout: float, *options):
    """serve-model with a process for each rank: the server of rank 0, and all processes. `timeout`: --distributed-timeout."""
    with ranks(t, "serve-model", count, bundle, "--port", 0, "--distributed-timeout", timeout, *options) as processes:
        line = processes[0].stdout.readline()
        match = re.search(r"://.*:(\d+)$", line.strip())
        if not match:
            tools.fail(f"serve-model did not start: {line!r} {processes[0].communicate()[1]}")
        yield Server(processes[0], int(match[1])), processes


def expect(condition: bool, what: str) -> None:
    if not condition:
        tools.fail(what)


def ended(process: subprocess.Popen, seconds: float) -> tuple[int, str]:
    """The exit code and the messages of a process that ends within the time."""
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        tools.fail(f"{process.args} still runs after {seconds} s")
    return process.returncode, errors
