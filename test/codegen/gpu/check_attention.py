#!/usr/bin/env python3
"""Compares attention kernels of many shapes, for decode steps and for prompts, with numpy, and measures their time.

    check_attention.py make BIN FOLDER [cubin|cuda]   writes and compiles a program for each case; needs no GPU
    check_attention.py emulate FOLDER CXX             compiles small cases for the CPU and runs them (emulation.h)
    check_attention.py gpu FOLDER                     runs all cases on a GPU
    check_attention.py time FOLDER                    prints µs per launch in a chain of dependent launches, and TB/s

Needs numpy, and libcuda for the last two.
"""

import ctypes
import json
import pathlib
import subprocess
import sys

from check_kernels import Emulator, Gpu, Pages, from_bf16, map_of, np, random_bf16, relative_error, to_bf16
from check_quantized import e4m3

# name: heads, kv heads, head_dim, page size, window, maximum sequences of the entry point, lengths of the sequences
CASES = {
    "llama": (8, 2, 128, 16, None, 1, [300]),
    "llama_small_heads": (8, 2, 64, 16, None, 4, [1, 65, 16, 130]),
    "page_64": (4, 2, 96, 64, None, 2, [127, 33]),
    "page_128_wide": (4, 2, 256, 128, None, 40, [1, 140, 17]),
    "window": (6, 2, 64, 32, 40, 2, [10, 150]),
    "all_in_one_group": (16, 1, 64, 16, None, 8, [47, 16, 18]),
    "narrow": (4, 4, 32, 16, None, 3, [5, 31, 32]),
    "odd_width": (2, 1, 80, 16, 100, 1, [119]),
    "softcap": (8, 2, 64, 16, None, 2, [1, 75]),
    "alibi": (4, 2, 32, 16, None, 2, [1, 75]),
    "sinks": (4, 2, 32, 16, 40, 2, [3, 70]),
    "fp8": (8, 2, 128, 16, None, 2, [1, 150]),  # keys and values in e4m3, also of the next
    "fp8_small_heads": (6, 2, 64, 32, 40, 2, [10, 150]),
    "fp8_softcap": (4, 2, 96, 16, None, 2, [33, 70]),
    "fp8_wide": (2, 1, 256, 16, None, 1, [45]),
}
# The same for steps of many rows. Instead of lengths: (length, rows) of each sequence, where the rows are its last
# positions.
PREFILL = {
    "prefill": (8, 2, 128, 16, None, 256, [(150, 150), (40, 3), (300, 1), (129, 66)]),
    "prefill_small_heads": (4, 2, 64, 64, None, 512, [(260, 130), (64, 64)]),
    "prefill_wide": (4, 4, 256, 128, None, 256, [(140, 140), (70, 5)]),
    "prefill_window": (6, 2, 96, 16, 100, 512, [(400, 180), (16, 16), (250, 20)]),
    "prefill_seven_heads": (14, 2, 80, 32, None, 128, [(75, 40), (33, 33)]),
    "prefill_one_head": (16, 1, 32, 16, 30, 128, [(90, 50)]),
    "prefill_softcap": (4, 2, 64, 16, None, 128, [(70, 20), (9, 9)]),
    "prefill_wide_softcap": (2, 2, 256, 16, 40, 128, [(50, 20)]),
    "prefill_alibi_sinks": (4, 2, 32, 16, None, 128, [(70, 20), (9, 9)]),
    "prefill_fp8": (4, 2, 128, 16, None, 256, [(150, 32), (40, 3), (9, 9)]),
    "prefill_fp8_window": (6, 2, 64, 32, 40, 128, [(70, 20), (129, 21)]),
    "prefill_fp8_wide": (2, 2, 256, 16, None, 128, [(45, 10)]),
}
PREFILL_TIMED = {
    "prefill_8b": (32, 8, 128, 16, None, 8192, [[(2048, 2048)], [(2048, 2048)] * 4, [(8192, 8192)],
                                               [(1024, 1)] * 64 + [(1984, 1984)]]),
    "prefill_8b_fp8": (32, 8, 128, 16, None, 8192, [[(2048, 2048)], [(8192, 8192)]]),
    "prefill_1b": (32, 8, 64, 16, None, 8192, [[(2048, 2048)], [(8192, 8192)]]),
}
# Scores have a standard deviation of 1, so these caps change most of them.
SOFTCAPS = {"fp8_softcap": 1.5, "softcap": 1.5, "prefill_softcap": 1.5, "prefill_wide_softcap": 1.5}
# Slopes of each head: of the order of the scores over a few dozen positions.
SLOPES = {"alibi": [0.25, 0.0625, 0.015625, 0.5], "prefill_alibi_sinks": [0.25, 0.0625, 0.015625, 0.5]}
SINKS = {"sinks": [2.0, -1.0, 0.5, 40.0], "prefill_alibi_sinks": [2.0, -1.0, 0.5, 40.0]}  # exact in bfloat16
EMULATED = ("llama", *[name for name in (*CASES, *PREFILL) if "fp8" in name], "page_128_wide", "window", "all_in_one_group", "odd_width", "prefill_window", "prefill_seven_heads",
            "softcap", "prefill_softcap", "prefill_wide_softcap", *SLOPES, "sinks")  # the other cases are similar to these
TIMED = {  # the same, with a list of lengths for each measurement
    "8b_1": (32, 8, 128, 16, None, 1, [[512], [2048], [8192]]),
    "8b_8": (32, 8, 128, 16, None, 8, [[512] * 8, [2048] * 8, [200, 8000, 100, 700, 3000, 512, 512, 512]]),
    "8b_16": (32, 8, 128, 16, None, 16, [[512] * 16]),
    "8b_64": (32, 8, 128, 16, None, 64, [[512] * 64, [2048] * 64, "ragged"]),
    "1b_1": (32, 8, 64, 16, None, 1, [[512], [2048], [8192]]),
    "1b_8": (32, 8, 64, 16, None, 8, [[2048] * 8]),
    "8b_1_fp8": (32, 8, 128, 16, None, 1, [[512], [8192]]),
    "8b_64_fp8": (32, 8, 128, 16, None, 64, [[512] * 64, [2048] * 64, "ragged"]),
}
FP8 = [name for name in {**CASES, **PREFILL, **TIMED, **PREFILL_TIMED} if "fp8" in name]
MOST = 16384  # positions of a page table


def program(heads, kv_heads, d, page, window, rows, kind="decode", softcap=None, slopes=None, sinks=None, fp8=False):
    columns = heads * d
    cache = "!llm.kv_cache<f8E4M3FN>" if fp8 else "!llm.kv_cache"
    options = {"window": f"{window} : i64" if window else None, "softcap": f"{softcap} : f64" if softcap else None,
               "alibi": f"array<f64: {', '.join(map(str, slopes))}>" if slopes else None, "sinks": "@sinks" if sinks else None,
               "key_scale": "@key_scale" if fp8 else None, "value_scale": "@value_scale" if fp8 else None}
    given = "".join(f", {name} = {value}" for name, value in options.items() if value)
    sequences = rows if kind == "decode" else min(rows, 128)
    return f"""
module attributes {{llm.model = {{architecture = "llama", vocab_size = 64 : i64, hidden_size = {columns} : i64, layers = 1 : i64,
    heads = {heads} : i64, kv_heads = {kv_heads} : i64, head_dim = {d} : i64, max_model_len = {MOST} : i64}}}} {{
  llm.weight @embed : tensor<64x{columns}xbf16> from ["embed"]
  llm.weight @sinks : tensor<{heads}xbf16> from ["sinks"]
  llm.weight @key_scale : tensor<{kv_heads}xf32> from ["key_scale"]
  llm.weight @value_scale : tensor<{kv_heads}xf32> from ["value_scale"]
  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: {cache}) -> (tensor<?x{columns}xbf16>, {cache})
      attributes {{llm.entry = {{kind = "{kind}", max_tokens = {rows} : i64, max_sequences = {sequences} : i64}}}} {{
    %q = llm.group "embed" family("rows") -> tensor<?x{columns}xbf16> {{
      %0 = llm.embedding %tokens, @embed : (tensor<?xi32>) -> tensor<?x{columns}xbf16>
      llm.yield %0 : tensor<?x{columns}xbf16>
    }}
    %a = llm.group "attention" family("attention") -> tensor<?x{columns}xbf16> {{
      %0 = llm.paged_attention %q, %kv, %batch {{layer = 0 : i64, heads = {heads} : i64, kv_heads = {kv_heads} : i64,
          head_dim = {d} : i64, scale = {d ** -0.5:.17f} : f64{given}}}
          : (tensor<?x{columns}xbf16>, {cache}, !llm.batch) -> tensor<?x{columns}xbf16>
      llm.yield %0 : tensor<?x{columns}xbf16>
    }}
    return %a, %kv : tensor<?x{columns}xbf16>, {cache}
  }}
}}
"""


def make(tools, folder, what):
    checked = {**CASES, **PREFILL}
    for name, case in ({**checked, **TIMED, **PREFILL_TIMED} if what == "cubin" else checked).items():
        kind = "mixed" if name.startswith("prefill") else "decode"
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        pipeline = f"builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{{target=sm_90a page-size={case[3]}}})"
        tiles = subprocess.run([tools / "inlay-opt", f"--pass-pipeline={pipeline}"], text=True, check=True, capture_output=True,
                               input=program(*case[:6], kind, SOFTCAPS.get(name), SLOPES.get(name), SINKS.get(name), name in FP8)).stdout
        (target / "tile.mlir").write_text(tiles)
        print(subprocess.run([tools / "inlay-translate", f"--tile-to-{what}", f"--kernels-to={target}", target / "tile.mlir"],
                             check=True, capture_output=True, text=True).stdout if what == "cubin" else name, flush=True)
        if what != "cubin":
            subprocess.run([tools / "inlay-translate", "--tile-to-cuda", f"--kernels-to={target}", target / "tile.mlir"],
                           check=True, capture_output=True)


def arguments(rng, case, lengths, padded=0):
    """Returns the arrays of the kernel in order, the sizes of the step, and the pages and rows of sequences for the
    check. The order of rows differs from that of sequences. Positions that no sequence has hold NaN."""
    heads, kv_heads, d, page, _, _ = case[:6]
    pages = Pages(rng, lengths, kv_heads, d, page, MOST // page, spare=False)
    held = np.zeros(pages.rows, bool)
    for s, length in enumerate(lengths):
        position = np.arange(length)
        for head in range(kv_heads):
            held[(pages.table[s, position // page] * kv_heads + head) * page + position % page] = True
    pages.keys[~held] = pages.values[~held] = 0x7FC0
    n = len(lengths)
    row_of = rng.permutation(n).astype(np.int32)  # of each sequence
    positions = np.empty(n, np.int32)
    positions[row_of] = np.array(lengths, np.int32) - 1
    q = random_bf16(rng, n * heads, d)
    tiles = [np.append(column, np.full(padded, filler)).astype(np.int32)
             for column, filler in ((np.arange(n), -1), (row_of, 0), (row_of + 1, 0), (np.array(lengths), 0))]
    arrays = [q, *tiles, positions, pages.keys, pages.values, np.zeros((n * heads, d), np.uint16), pages.table]
    return arrays, [n, n, n + padded, n, 0, pages.rows], pages, row_of


def with_codes(name, arrays, pages):
    """The arrays of a case whose name has fp8: keys and values become codes with a scale for each head, before the page
    table. `pages` gets the numbers that they stand for, as bfloat16."""
    if name not in FP8:
        return arrays
    result, rng, kv_heads = list(arrays), np.random.default_rng(2), pages.kv_heads
    table = e4m3(np.arange(0x7F, dtype=np.uint8))
    head = np.arange(pages.rows) // pages.page_size % kv_heads
    scales = [rng.uniform(0.01, 2, kv_heads).astype(np.float32) for _ in range(2)]
    for i, (floats, scale) in enumerate(((pages.keys, scales[0]), (pages.values, scales[1]))):
        numbers = from_bf16(floats) / scale[head, None]
        codes = np.abs(np.abs(numbers)[..., None] - table).argmin(-1).astype(np.uint8) | np.signbit(numbers) * np.uint8(0x80)
        codes[np.isnan(numbers)] = 0x7F
        result[6 + i] = codes
        floats[...] = to_bf16(e4m3(codes) * scale[head, None])
        floats[codes & 0x7F == 0x7F] = 0x7FC0
    return result[:9] + scales + result[9:]


def with_random_codes(name, given):
    """The same for measurements, where numbers are of no interest."""
    arrays, sizes, pages, rest = given
    if name in FP8:
        rng = np.random.default_rng(2)
        pages.keys, pages.values = (rng.integers(0, 0x7F, floats.shape, np.uint8) for floats in (pages.keys, pages.values))
        scales = [np.ones(pages.kv_heads, np.float32)] * 2
        arrays = [*arrays[:6], pages.keys, pages.values, arrays[8], *scales, *arrays[9:]]
    return arrays, sizes, pages, rest


def with_sinks(name, arrays):
    """Arrays of a kernel; the logits of sinks come last."""
    return arrays + [to_bf16(np.array(SINKS[name], np.float32))] if name in SINKS else arrays


def reference(name, case, q, pages, row_of, lengths):
    heads, kv_heads, d, page, window = case[:5]
    softcap = SOFTCAPS.get(name)
    out = np.zeros((len(lengths), heads, d))
    for s, length in enumerate(lengths):
        position = np.arange(max(0, length - window) if window else 0, length)
        for head in range(heads):
            rows = (pages.table[s, position // page] * kv_heads + head // (heads // kv_heads)) * page + position % page
            k, v = from_bf16(pages.keys[rows]).astype(np.float64), from_bf16(pages.values[rows]).astype(np.float64)
            scores = k @ from_bf16(q[row_of[s] * heads + head]).astype(np.float64) / np.sqrt(d)
            if softcap:
                scores = softcap * np.tanh(scores / softcap)
            if name in SLOPES:
                scores += SLOPES[name][head] * (position - (length - 1))
            top = max(scores.max(), SINKS[name][head] if name in SINKS else -np.inf)
            p = np.exp(scores - top)
            out[row_of[s], head] = p @ v / (p.sum() + (np.exp(SINKS[name][head] - top) if name in SINKS else 0))
    return out


def prefill_arguments(rng, case, parts):
    """The same as arguments() for sequences given as (length, rows). Tiles with the most keys come first, as in the
    runtime."""
    heads, kv_heads, d, page, _, _ = case[:6]
    lengths, counts = [length for length, _ in parts], [rows for _, rows in parts]
    pages = Pages(rng, lengths, kv_heads, d, page, MOST // page, spare=False)
    for s, length in enumerate(lengths):  # positions after the end of a sequence hold NaN
        for position in range(length, -(-length // page) * page):
            for head in range(kv_heads):
                row = pages.row(s, position, head)
                pages.keys[row] = pages.values[row] = 0x7FC0
    share, n = heads // kv_heads, sum(counts)
    tile_rows = 128  # heads of a group times rows of the step
    step, tiles, first = max(1, tile_rows // share), [], 0
    positions, firsts = np.empty(n, np.int32), []
    for s, (length, rows) in enumerate(parts):
        positions[first:first + rows] = np.arange(length - rows, length)
        for at in range(0, rows, step):
            end = min(rows, at + step)
            tiles.append((length - rows + end, s, first + at, first + end))
        firsts.append(first)
        first += rows
    tiles.sort(key=lambda tile: -tile[0])
    column = lambda i: np.array([tile[i] for tile in tiles], np.int32)
    q = random_bf16(rng, n * heads, d)
    arrays = [q, column(1), column(2), column(3), column(0), positions, pages.keys, pages.values,
              np.zeros((n * heads, d), np.uint16), pages.table]
    return arrays, [n, len(parts), len(tiles), len(parts), 0, pages.rows], pages, firsts


def check_prefill(device, folder, cases):
    failures = 0
    for name, case in cases.items():
        heads, kv_heads, d, page, window, _, parts = case
        arrays, sizes, pages, firsts = prefill_arguments(np.random.default_rng(1), case, parts)
        arrays = with_codes(name, arrays, pages)
        newest = [pages.row(s, position, head) for s, (length, rows) in enumerate(parts)
                  for position in range(length - rows, length) for head in range(kv_heads)]
        results, _ = device.launch(folder / name, "step_attention", with_sinks(name, arrays), sizes,
                                   late=[(array, row) for array in (6, 7) for row in newest])
        got = from_bf16(results[8]).reshape(sizes[0], heads, d)
        wanted = np.zeros(got.shape)
        for s, (length, rows) in enumerate(parts):
            for row in range(rows):
                one = length - rows + row + 1
                # A row attends to the same positions as the last row of a sequence that ends with it.
                table = pages.table
                pages.table = table[s:s + 1]
                wanted[firsts[s] + row] = reference(name, case, arrays[0][(firsts[s] + row) * heads:], pages, [0], [one])[0]
                pages.table = table
        error = relative_error(got, wanted)
        failures += not error <= 1e-2
        print(f"{'ok  ' if error <= 1e-2 else 'FAIL'} {name}: {error:.3g} (at most 0.01)", flush=True)
    return failures


def check(device, folder, cases):
    failures = 0
    for name, case in cases.items():
        rng = np.random.default_rng(1)
        arrays, sizes, pages, row_of = arguments(rng, case, case[6], padded=1)
        arrays = with_codes(name, arrays, pages)
        newest = [pages.row(s, length - 1, head) for s, length in enumerate(case[6]) for head in range(case[1])]
        results, _ = device.launch(folder / name, "step_attention", with_sinks(name, arrays), sizes,
                                   late=[(array, row) for array in (6, 7) for row in newest])
        wanted = reference(name, case, arrays[0], pages, row_of, case[6])
        error = relative_error(from_bf16(results[8]).reshape(wanted.shape), wanted)
        good = error <= 1e-2
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {name}: {error:.3g} (at most 0.01)", flush=True)
    return failures


class Attribute(ctypes.Structure):
    """CUlaunchAttribute: an id and 64 bytes of value."""
    _fields_ = [("id", ctypes.c_int), ("pad", ctypes.c_int), ("value", ctypes.c_int * 16)]


class Config(ctypes.Structure):
    """CUlaunchConfig."""
    _fields_ = [("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("shared", ctypes.c_uint),
                ("stream", ctypes.c_void_p), ("attributes", ctypes.POINTER(Attribute)), ("count", ctypes.c_uint)]


def time_chain(gpu, folder, given, layers):
    """Returns the µs per launch in a graph of `layers` dependent launches, each with separate keys and values."""
    cuda, check = gpu.cuda, gpu.check
    arrays, sizes, pages, _ = given
    spec = json.loads((folder / "step_attention.json").read_text())
    module, function, stream = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    check(cuda.cuModuleLoadData(ctypes.byref(module), (folder / "step_attention.cubin").read_bytes()))
    check(cuda.cuModuleGetFunction(ctypes.byref(function), module, b"step_attention"))
    check(cuda.cuFuncSetAttribute(function, 8, spec["shared_bytes"]))
    check(cuda.cuFuncSetAttribute(function, 9, 100))
    if spec["cluster"] > 8:
        check(cuda.cuFuncSetAttribute(function, 14, 1))
    check(cuda.cuStreamCreate(ctypes.byref(stream), 1))
    keep, memory = [], []

    def upload(array):
        pointer = ctypes.c_uint64()
        check(cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(max(array.nbytes, 16))))
        array = np.ascontiguousarray(array)
        check(cuda.cuMemcpyHtoD_v2(pointer, array.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(array.nbytes)))
        memory.append(pointer)
        return pointer

    shared = {i: upload(array) for i, array in enumerate(arrays) if array is not pages.keys and array is not pages.values}
    one = list(sizes) + [1]
    grid = ([multiplier * -(-one[extent] // divisor) for extent, divisor, multiplier in spec["grid"]] + [1, 1])[:3]
    step = (ctypes.c_int * 6)(*sizes)
    attribute = Attribute(6, 0)  # programmatic stream serialization
    attribute.value[0] = 1
    launches = []
    for _ in range(layers):
        pointers = [shared.get(i) or upload(array) for i, array in enumerate(arrays)]
        maps = [gpu.encode(pointers[map[0]], *map_of(map, sizes)) for map in spec["maps"]]
        keep.append((pointers, maps))
        launches.append((ctypes.c_void_p * (len(pointers) + len(maps) + 1))(
            *[ctypes.cast(ctypes.byref(p), ctypes.c_void_p) for p in pointers],
            *[ctypes.cast(map, ctypes.c_void_p) for map in maps], ctypes.cast(step, ctypes.c_void_p)))
    config = Config((ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(spec["block"], 1, 1), spec["shared_bytes"], stream,
                    ctypes.pointer(attribute), 1)
    graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
    check(cuda.cuStreamBeginCapture_v2(stream, 1))
    for given in launches:
        check(cuda.cuLaunchKernelEx(ctypes.byref(config), function, given, None))
    check(cuda.cuStreamEndCapture(stream, ctypes.byref(graph)))
    check(cuda.cuGraphInstantiateWithFlags(ctypes.byref(executable), graph, ctypes.c_ulonglong(0)))
    begin, end, elapsed, best = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_float(), 1e9
    check(cuda.cuEventCreate(ctypes.byref(begin), 0))
    check(cuda.cuEventCreate(ctypes.byref(end), 0))
    for _ in range(6):
        check(cuda.cuEventRecord(begin, stream))
        for _ in range(10):
            check(cuda.cuGraphLaunch(executable, stream))
        check(cuda.cuEventRecord(end, stream))
        check(cuda.cuEventSynchronize(end))
        check(cuda.cuEventElapsedTime(ctypes.byref(elapsed), begin, end))
        best = min(best, elapsed.value * 1000 / 10 / layers)
    for pointer in memory:
        check(cuda.cuMemFree_v2(pointer))
    check(cuda.cuGraphExecDestroy(executable))
    check(cuda.cuModuleUnload(module))
    return best


def time(gpu, folder):
    for name, case in TIMED.items():
        for lengths in case[6]:
            text = f"{len(lengths)} x {lengths[0]}" if lengths != "ragged" and len(set(lengths)) == 1 else "ragged"
            if lengths == "ragged":
                rng = np.random.default_rng(3)
                lengths = [int(n) for n in np.exp(rng.uniform(np.log(100), np.log(16000), case[5]))]
            bytes_moved = sum(lengths) * case[1] * case[2] * (2 if name in FP8 else 4)
            layers = max(2, min(32, int(8e9 / bytes_moved)))
            given = with_random_codes(name, arguments(np.random.default_rng(1), case, lengths))
            microseconds = time_chain(gpu, folder / name, given, layers)
            print(f"{name} {text} ({sum(lengths)} tokens): {microseconds:.2f} us, {bytes_moved / microseconds / 1e6:.2f} TB/s",
                  flush=True)
    for name, case in PREFILL_TIMED.items():
        for parts in case[6]:
            # Two products, each with two flops per element, for each pair of a query and a key that it attends to.
            flops = 4 * case[0] * case[2] * sum(rows * (length - rows) + rows * (rows + 1) / 2 for length, rows in parts)
            given = with_random_codes(name, prefill_arguments(np.random.default_rng(1), case, parts))
            microseconds = time_chain(gpu, folder / name, given, 4)
            print(f"{name} {len(parts)} sequences, the last {parts[-1][1]} of {parts[-1][0]}: {microseconds:.1f} us, "
                  f"{flops / microseconds / 1e6:.0f} TFLOP/s", flush=True)


def main():
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "make":
        make(pathlib.Path(rest[0]), pathlib.Path(rest[1]), rest[2] if len(rest) > 2 else "cubin")
        return 0
    folder = pathlib.Path(rest[0])
    if what == "time":
        time(Gpu(), folder)
        return 0
    if what == "emulate":
        device = Emulator(rest[1])
        failures = check(device, folder, {name: CASES[name] for name in EMULATED if name in CASES})
        return 1 if failures + check_prefill(device, folder, {name: PREFILL[name] for name in EMULATED if name in PREFILL}) else 0
    return 1 if check(Gpu(), folder, CASES) + check_prefill(Gpu(), folder, PREFILL) else 0


if __name__ == "__main__":
    sys.exit(main())
