#!/usr/bin/env python3
"""Kernels that quantize rows, and products of their codes with the schedules gemm and swap_ab, against numpy.

    check_codes.py make BIN FOLDER [cubin|cuda]   writes and compiles two programs for each case; needs no GPU
    check_codes.py emulate FOLDER CXX             runs their text on the CPU (emulation.h)
    check_codes.py gpu FOLDER                     runs them on a GPU

Needs numpy, and libcuda for the last. Codes and scales must be equal to the reference, which computes in float32 as the kernel does. The product
is compared with the sums of the same codes in float64. Tensor cores keep about 14 bits of sums of e4m3, the emulator all bits of float32.
"""

import pathlib
import sys
from typing import NamedTuple

from check_kernels import Emulator, Gpu, from_bf16, np, random_bf16, relative_error, tiles_of, translate
from check_quantized import e4m3
from check_rows import arguments_of

MOST_ERROR, MOST_OF_TENSOR_CORES = 2e-6, 5e-4
ROWS, MOST = 130, 512  # two tiles of rows, the second with two
SCHEDULE = ("#tile.gemm<blocks = 2, tile_rows = 128, tile_columns = 256, tile_k = 128, stages = 3, consumers = 2, "
            "producer_registers = 40, consumer_registers = 232>")


class Case(NamedTuple):
    codes: str
    n: int
    k: int
    is_given: bool = False  # the scale is that of the checkpoint
    is_packed: bool = False  # weights and rows in the order codes_16x128
    rows: int = ROWS
    most: int = MOST  # rows of a step; up to 128 the schedule is swap_ab
    group: int = 0  # columns of a row that share a scale; 0: all
    weight_group: int = 0  # the same of the weight

    @property
    def family(self):
        return "swap_ab" if self.most <= 128 else "gemm"

    @property
    def groups(self):
        """Scales of a row, those of a row in its buffer, and those of a row of the weight."""
        count = self.k // (self.group or self.k)
        return count, -(-count // 4) * 4 if count > 1 else 1, self.k // (self.weight_group or self.k)


CASES = {
    # Columns and steps along K that end within a tile.
    "f8e4m3": Case("f8e4m3", 272, 320),
    "f8e4m3_given": Case("f8e4m3", 128, 128, is_given=True),
    "i8": Case("i8", 144, 208),
    "f8e4m3_packed": Case("f8e4m3", 264, 208, is_packed=True),
    "i8_packed": Case("i8", 144, 384, is_packed=True),
    # Rows of 12, 16 and 28 pieces: less than a tile, all of one, and one and a part of the next.
    "f8e4m3_packed_192": Case("f8e4m3", 128, 192, is_packed=True),
    "f8e4m3_packed_256": Case("f8e4m3", 128, 256, is_packed=True),
    "f8e4m3_packed_448": Case("f8e4m3", 192, 448, is_packed=True),
    "f8e4m3_16": Case("f8e4m3", 272, 1280, is_packed=True, rows=13, most=16),
    "f8e4m3_64": Case("f8e4m3", 272, 640, is_packed=True, rows=61, most=64),
    "f8e4m3_128": Case("f8e4m3", 144, 384, is_packed=True, rows=100, most=128),
    "i8_32": Case("i8", 144, 640, is_packed=True, rows=32, most=32),
    # Scales for each 128 columns: 5 of a row in a buffer of 8, tiles of rows and columns that end within the matrix.
    "groups": Case("f8e4m3", 272, 640, is_packed=True, group=128, weight_group=128),
    "groups_of_weight": Case("f8e4m3", 272, 512, is_packed=True, weight_group=256),
    "groups_16": Case("f8e4m3", 272, 1280, is_packed=True, rows=13, most=16, group=128, weight_group=128),
    "groups_64": Case("f8e4m3", 144, 640, is_packed=True, rows=61, most=64, group=128, weight_group=128),
    "groups_128": Case("f8e4m3", 144, 896, is_packed=True, rows=100, most=128, group=128, weight_group=128),
    "i8_96": Case("i8", 272, 320, is_packed=True, rows=70, most=96),
}
TYPES = {"f8e4m3": "f8E4M3FN", "i8": "i8"}


def module(case):
    groups, _, weight_groups = case.groups
    x, c, s = f"tensor<?x{case.k}xbf16>", f"tensor<?x{case.k}x{TYPES[case.codes]}>", f"tensor<?x{groups}xf32>"
    given = " scale @given" if case.is_given else ""
    packing = "packing = #llm<packing codes_16x128>" if case.is_packed else ""
    group = f"group = {case.group} : i64, " if case.group else ""
    scales_packing = " {packing = #llm<packing rows_16>}" if case.weight_group else ""
    return f"""
module attributes {{llm.model = {{max_model_len = 64 : i64}}}} {{
  llm.weight @table : tensor<8x{case.k}xbf16> from ["table"]
  llm.weight @given : tensor<2x1xf32> from ["given"]
  llm.weight @s : tensor<{case.n}x{weight_groups}xf32> from ["s"]{scales_packing}
  llm.weight @w : tensor<{case.n}x{case.k}x{TYPES[case.codes]}> from ["w"]
      {{quantized = #llm.quantized<{case.codes}, scales = @s, group = {case.weight_group or case.k}>{packing and ", " + packing}}}
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x{case.n}xf32>
      attributes {{llm.entry = {{kind = "mixed", max_tokens = {case.most} : i64, max_sequences = 1 : i64}}}} {{
    %x = llm.group "x" family("rows") -> {x} {{
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> {x}
      llm.yield %v : {x}
    }}
    %c, %r = llm.group "codes" family("rows") -> {c}, {s} {{
      %codes, %scales = llm.quantize {case.codes} %x{given} {{{group}{packing}}} : {x} -> {c}, {s}
      llm.yield %codes, %scales : {c}, {s}
    }}
    %y = llm.group "product" family("{case.family}") -> tensor<?x{case.n}xf32> {{
      %v = llm.linear %c scales %r, @w : ({c}, {s}) -> tensor<?x{case.n}xf32>
      llm.yield %v : tensor<?x{case.n}xf32>
    }}
    return %y : tensor<?x{case.n}xf32>
  }}
}}
"""


def make(tools, folder, what):
    for name, case in CASES.items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        pipeline = "builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},cse)"
        tiles = tiles_of(tools, pipeline, module(case)).replace("#tile.family<gemm>", SCHEDULE)
        translate(tools, target, tiles, what)
        (target / "step_x.cu").unlink()


def to_e4m3(x):
    """The codes of numbers of at most 448: the nearest, ties to even."""
    values, magnitude = e4m3(np.arange(127)), np.abs(x)
    low = np.searchsorted(values, magnitude, "right") - 1
    high = np.minimum(low + 1, 126)
    down, up = magnitude - values[low], values[high] - magnitude
    return (np.where((up < down) | ((up == down) & (low % 2 == 1)), high, low) | np.signbit(x) * 128).astype(np.uint8)


# The column of 16 that byte i of a piece of packed codes holds.
PIECE = np.array([2 * (i // 4) + (0, 8, 1, 9)[i % 4] for i in range(16)])


def packed_rows(codes):
    return np.ascontiguousarray(codes.reshape(len(codes), -1, 16)[:, :, PIECE].reshape(codes.shape))


def packed_weight(codes):
    """Units of 16 rows x 128 columns, whose pieces of 16 bytes are swizzled (docs/quantization.md)."""
    n, k = codes.shape
    padded = np.zeros((-(-n // 16) * 16, -(-k // 128) * 128), np.uint8)
    padded[:n, :k] = codes
    units = padded.reshape(-1, 16, padded.shape[1] // 128, 8, 16)[..., PIECE].transpose(0, 2, 1, 3, 4)
    result = np.empty_like(units)
    for row in range(16):
        for piece in range(8):
            result[:, :, row, piece ^ (row % 8)] = units[:, :, row, piece]
    return np.ascontiguousarray(result)


def packed_scales(scales):
    """16 rows of a column follow each other (docs/quantization.md)."""
    padded = np.zeros((-(-len(scales) // 16) * 16, scales.shape[1]), np.float32)
    padded[: len(scales)] = scales
    return np.ascontiguousarray(padded.reshape(-1, 16, scales.shape[1]).swapaxes(1, 2))


def quantized(case, x, given):
    """Codes of rows, and a scale for each row and group of its columns, in float32."""
    most = np.float32(448 if case.codes == "f8e4m3" else 127)
    least = 1 / (448 * 512) if case.codes == "f8e4m3" and not case.group else 1e-10 / float(most)
    grouped = x.reshape(len(x), case.groups[0], -1)
    scales = np.maximum(np.abs(grouped).max(2) * np.float32(1 / most), np.float32(least))
    if case.is_given:
        scales[:] = given.max()
    t = np.clip(grouped * (np.float32(1) / scales)[:, :, None], -most, most).reshape(x.shape)
    return to_e4m3(t) if case.codes == "f8e4m3" else np.rint(t).astype(np.int8).view(np.uint8), scales


def check(device, folder):
    for name, case in CASES.items():
        rng = np.random.default_rng(5)
        x = random_bf16(rng, case.rows, case.k)
        x[3] = 0  # has the smallest scale
        weights = {"given": np.array([[0.001], [0.002]], np.float32), "s": rng.uniform(0.5, 2, (case.n, case.groups[2])).astype(np.float32),
                   "w": rng.integers(0, 256, (case.n, case.k)).astype(np.uint8)}
        if case.codes == "f8e4m3":
            weights["w"][weights["w"] & 0x7F == 0x7F] = 0  # no NaN
        weight, weight_scales = weights["w"], weights["s"]
        if case.weight_group:
            weights["s"] = packed_scales(weight_scales)
        if case.is_packed:
            weights["w"] = packed_weight(weight)
        numbers = e4m3 if case.codes == "f8e4m3" else lambda codes: codes.view(np.int8).astype(np.float32)
        sizes = [case.rows, 1, 1, 1, 0, 0]

        def run(kernel, own):
            """`own` are the arrays of the workspace, in the order of the arguments."""
            left, arguments = list(own), arguments_of(folder / name, kernel)
            arrays = [weights[value] if kind == "weight" else left.pop(0) for kind, value in arguments]
            results, _ = device.launch(folder / name, kernel, arrays, sizes)
            return [next(result for result, array in zip(results, arrays) if array is one) for one in own]

        groups, pitch, _ = case.groups
        codes, scales = quantized(case, from_bf16(x).astype(np.float32), weights["given"])
        stored = packed_rows(codes) if case.is_packed else codes
        # Rows past the step's end are not written.
        found = run("step_codes", [x, np.full((case.rows + 1, case.k), 7, np.uint8), np.full((case.rows + 1, pitch), 7, np.float32)])
        yield f"{name}, codes", float((found[1][:-1] != stored).sum() + (found[1][-1] != 7).sum())
        yield f"{name}, scales", float((found[2][:-1, :groups] != scales).sum() + (found[2][-1] != 7).sum())
        stored_scales = np.full((case.rows, pitch), np.nan, np.float32)  # what lies between rows is not read
        stored_scales[:, :groups] = scales
        product = run("step_product", [stored, stored_scales, np.full((case.rows + 1, case.n), 7, np.float32)])[2]
        scaled = [numbers(of).astype(np.float64) * by.repeat(case.k // by.shape[1], 1) for of, by in ((codes, scales), (weight, weight_scales))]
        yield f"{name}, product of {case.codes}", relative_error(product[:-1], scaled[0] @ scaled[1].T)
        yield f"{name}, rows past the end", float((product[-1] != 7).sum())


def main():
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "make":
        make(pathlib.Path(rest[0]), pathlib.Path(rest[1]), rest[2] if len(rest) > 2 else "cubin")
        return 0
    failures = 0
    for name, error in check(Emulator(rest[1]) if what == "emulate" else Gpu(), pathlib.Path(rest[0])):
        most = MOST_OF_TENSOR_CORES if what == "gpu" and name.endswith("product of f8e4m3") else MOST_ERROR
        good = error <= most
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {name}: {error:.3g} (at most {most})", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
