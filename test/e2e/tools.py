"""Shared by the end-to-end tests: runs the tools and reads safetensors. Uses only Python's standard library."""

import array
import argparse
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile
from typing import NoReturn


class Tools:
    """The programs in one bin directory, and a temporary directory for their output."""

    def __init__(self, binaries: pathlib.Path, scratch: pathlib.Path):
        self.binaries, self.scratch = binaries, scratch

    def run(self, tool: str, *arguments, timeout: float = 240) -> subprocess.CompletedProcess:
        return subprocess.run([self.binaries / tool, *map(str, arguments)], capture_output=True, text=True,
                              timeout=timeout, errors="replace", stdin=subprocess.DEVNULL)

    def checked(self, tool: str, *arguments) -> str:
        result = self.run(tool, *arguments)
        if result.returncode != 0:
            fail(f"{tool} {' '.join(map(str, arguments))}\nexit code {result.returncode}\n{result.stderr}")
        return result.stdout

    def compile(self, model: pathlib.Path, *options) -> pathlib.Path:
        bundle = self.scratch / f"{model.name}.inlay"
        self.checked("compile-model", model, "-o", bundle, "-q", *options)
        return bundle

    def generate(self, bundle: pathlib.Path, *options) -> dict:
        """The JSON output of run-model."""
        return json.loads(self.checked("run-model", bundle, "--json", *options))


def fail(message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(1)


def skipped(reason: str) -> None:
    """Reports that a part of the test did not run. scripts/test lists these lines at its end, and fails if CI=true."""
    print(f"SKIPPED: {pathlib.Path(sys.argv[0]).stem}: {reason}", flush=True)


def skip(reason: str) -> NoReturn:
    """Ends the test as skipped (SKIP_RETURN_CODE of ctest)."""
    skipped(reason)
    sys.exit(77)


def compiled_for_gpu(result: subprocess.CompletedProcess, what: str) -> bool:
    """Whether compile-model wrote a bundle for a GPU. Without NVRTC `what` is skipped; any other failure fails the test."""
    if result.returncode == 0:
        return True
    if "nvrtc" not in result.stderr.lower():
        fail(result.stderr)
    skipped(f"{what}: {result.stderr.strip()}")
    return False


def main(test) -> None:
    """Calls test(tools, ARGUMENTS...) with the command line `--bin DIRECTORY ARGUMENT...`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="where the tools are, build/bin")
    parser.add_argument("paths", type=pathlib.Path, nargs="*")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="inlay-e2e-") as scratch:
        test(Tools(arguments.bin, pathlib.Path(scratch)), *arguments.paths)


def read_float32(path: pathlib.Path, name: str) -> list[list[float]]:
    """A rank-2 float32 tensor of a safetensors file, as rows. Each value of a rank-1 tensor is a row."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        entry, data = header[name], file.read()
    begin, end = entry["data_offsets"]
    assert entry["dtype"] == "F32" and len(entry["shape"]) in (1, 2), entry
    values, columns = array.array("f", data[begin:end]), (*entry["shape"], 1)[1]
    return [values[i : i + columns].tolist() for i in range(0, len(values), columns)]


def log_softmax(row: list[float]) -> list[float]:
    largest = max(row)
    total = largest + math.log(math.fsum(math.exp(value - largest) for value in row))
    return [value - total for value in row]


def norm(values) -> float:
    return math.sqrt(math.fsum(value * value for value in values))
