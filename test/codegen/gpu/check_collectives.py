#!/usr/bin/env python3
"""Kernels of collectives, with one thread for each rank, against numpy.

    check_collectives.py make BIN FOLDER [cubin|cuda]   compiles the programs; needs no GPU
    check_collectives.py emulate FOLDER CXX             runs their text on the CPU (emulation.h), with few rows
    check_collectives.py gpu FOLDER [RANKS]             runs them on 2 or 4 GPUs of one host, with rounds and times

Needs numpy; `gpu` needs libcuda and nvcc. The kernels are listed in collective_cases.py, what ranks must have in
collective_references.py. What follows a sum in its kernel (tile.receive_sum) must be the same as what its epilogue makes of the sum. A
linear layer that pushes its rows (tile.store ... through) makes no difference to the sum of the rows that it stores.
"""

import pathlib
import sys

from check_collectives_emulated import check_emulated
from check_kernels import tiles_of, translate
from collective_cases import LARGE, SMALL, module


def make(tools, folder, what):
    for name, case in (SMALL | LARGE).items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        pipeline = ("builtin.module(func.func(llm-plan-buffers,llm-push-sums),convert-llm-to-tile{target=sm_90a},"
                    "tile-select-schedule,cse)")
        translate(tools, target, tiles_of(tools, pipeline, module(case)), what)
        for other in target.glob("step_[xr].*"):
            other.unlink()


def main():
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "make":
        make(pathlib.Path(rest[0]), pathlib.Path(rest[1]), rest[2] if len(rest) > 2 else "cubin")
        return 0
    if what == "gpu":
        from check_collectives_gpu import check_gpu  # needs libcuda and nvcc
        checks = check_gpu(pathlib.Path(rest[0]), int(rest[1]) if len(rest) > 1 else None)
    else:
        checks = check_emulated(rest[1], pathlib.Path(rest[0]))
    failures = 0
    for name, wrong in checks:
        failures += wrong != 0
        print(f"{'FAIL' if wrong else 'ok  '} {name}" + (f": {wrong} wrong" if wrong else ""), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
