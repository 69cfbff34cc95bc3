"""Compiles the source of generated CUDA kernels for the CPU (emulation.h): whole bundles or single kernels."""

import concurrent.futures
import ctypes
import json
import os
import pathlib
import shlex
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
DEVICE = HERE.parents[2] / "codegen/device"
SIZES = {"StepSizes": 24, "CUtensorMap": 128}  # bytes of a parameter; others are pointers


class LateWrite(ctypes.Structure):
    """Declared in emulated_launch.h, like the next two structures."""
    _fields_ = [("to", ctypes.c_void_p), ("bytes", ctypes.c_longlong)]


class Launch(ctypes.Structure):
    _fields_ = [("grid", ctypes.c_uint * 3), ("threads", ctypes.c_int), ("cluster", ctypes.c_int), ("shared_bytes", ctypes.c_int),
                ("late", ctypes.POINTER(LateWrite)), ("late_count", ctypes.c_int)]


class TensorMap(ctypes.Structure):
    _fields_ = [("memory", ctypes.c_void_p), ("dims", ctypes.c_longlong * 4), ("strides", ctypes.c_longlong * 4),
                ("box", ctypes.c_int * 4), ("rank", ctypes.c_int), ("swizzle", ctypes.c_int), ("padding", ctypes.c_int * 6)]


def adapted(name: str, source: str) -> str:
    """Converts the source of a kernel to C++ with a function `bool run_NAME(void **parameters, const EmulatedLaunch *)` and
    an array `parameters_NAME` of the sizes of its parameters."""
    text = "\n".join(line for line in source.splitlines()
                     if not line.startswith(("#include", "#line")) and "extern __shared__" not in line)
    parameters = text[text.index(name + "(") + len(name) + 1 :].split(") {", 1)[0].split(", ")
    types = [p.split()[-2] if p.split()[-2] in SIZES else p[: p.rindex("*") + 1] for p in parameters]
    values = [f"*static_cast<{type} *>(given_{name}[{i}])" for i, type in enumerate(types)]
    return f"""{text}
static void **given_{name};
extern "C" bool run_{name}(void **given, const EmulatedLaunch *launch) {{
  given_{name} = given;
  return runGrid([] {{ {name}({", ".join(values)}); }}, *launch);
}}
extern "C" const int parameters_{name}[] = {{{", ".join(str(SIZES.get(type, 8)) for type in types)}, 0}};
"""


def precompiled_header(flags: list[str], folder: pathlib.Path) -> pathlib.Path:
    """The header of all kernels in FOLDER. It is precompiled, because parsing it takes longer than compiling a kernel.
    Clang and GCC find HEADER.gch when they are given `-include HEADER`."""
    header = folder / "emulated_kernels.h"
    if not header.exists():
        # These use only functions that the emulation defines, so they are compiled unchanged.
        text = "\n".join(line for name in ("unpack.h", "unpack_pairs.h", "mma_codes.h", "grid.h", "peers.h", "all_gather.h", "peer_rows.h") for line in (DEVICE / name).read_text().splitlines()
                         if not line.startswith("#"))
        header.write_text(f'#include "{HERE / "emulation_peers.h"}"\n{text}\n')
        subprocess.run([*flags, "-x", "c++-header", header, "-o", f"{header}.gch"], check=True)
    return header


def compile_kernels(compiler: str, sources: dict[str, str], stem: pathlib.Path, optimization: str = "-O0") -> pathlib.Path:
    """Builds STEM.so with all kernels of `sources` (name -> text), compiled in as many parts as there are
    processors. Most kernels run so briefly that -O0 is the fastest."""
    flags = [compiler, "-std=c++20", optimization, "-w", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing",
             *shlex.split(os.environ.get("CXXFLAGS", ""))]
    header = precompiled_header(flags, stem.parent)
    jobs = min(len(os.sched_getaffinity(0)), len(sources))
    names = sorted(sources, key=lambda name: -len(sources[name]))

    def compile_part(part: int) -> pathlib.Path:
        file = stem.with_name(f"{stem.name}_{part}.cpp")
        file.write_text("".join(adapted(name, sources[name]) for name in names[part::jobs]))
        subprocess.run([*flags, "-include", header, "-c", file, "-o", file.with_suffix(".o")], check=True)
        return file.with_suffix(".o")

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        objects = list(pool.map(compile_part, range(jobs)))
    library = stem.with_name(stem.name + ".so")
    subprocess.run([*flags, "-shared", *objects, "-o", library], check=True)
    return library


def compile_bundle(compiler: str, bundle: pathlib.Path, stem: pathlib.Path, names: list[str] | None = None,
                   optimization: str = "-O0") -> pathlib.Path:
    """The same for the sm_90a kernels of a bundle: those in `names`, or all."""
    sources = {file.stem: file.read_text() for file in (bundle / "kernels/sm_90a").glob("*.cu")}
    return compile_kernels(compiler, {name: sources[name] for name in names or sources}, stem, optimization)


def facts_of(bundle: pathlib.Path) -> dict[str, dict]:
    """Kernel -> its entry in the manifest: threads, cluster, shared_bytes and so on."""
    return {kernel["name"]: kernel for kernel in json.loads((bundle / "manifest.json").read_text())["kernels"]["sm_90a"]}


def run(library: ctypes.CDLL, name: str, pointers: list[int], sizes: list[int], grid: list[int], threads: int, cluster: int,
        shared_bytes: int, maps: list[TensorMap] = (), late: list[LateWrite] = (), peers: int | None = None) -> None:
    """Runs a kernel. `pointers` are the addresses of its arguments, `sizes` are the sizes of the step, `peers` is the
    address of the PeerTable of a collective."""
    values = [*map(ctypes.c_void_p, pointers), *maps, (ctypes.c_int * 6)(*sizes)]
    if peers is not None:
        values.append(ctypes.c_void_p(peers))
    given = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
    launch = Launch((ctypes.c_uint * 3)(*grid, *[1] * (3 - len(grid))), threads, cluster, shared_bytes,
                    (LateWrite * len(late))(*late), len(late))
    getattr(library, f"run_{name}")(given, ctypes.byref(launch))
