#!/usr/bin/env python3
"""Products with quantized weights, of the generic lowering and of warpgroups, against numpy.

    check_quantized.py make BIN FOLDER [cubin|cuda]   writes and compiles a program for each case; needs no GPU
    check_quantized.py emulate FOLDER CXX             runs their text on the CPU (emulation.h)
    check_quantized.py gpu FOLDER                     runs them on a GPU

Needs numpy, and libcuda for the last. The kernels round a dequantized weight to bfloat16 and sum in float32, scales of groups are rounded first. So does
the reference, except that it sums in float64: what is left is the order of the sums.
"""

import pathlib
import re
import sys
from typing import NamedTuple

from check_kernels import Emulator, Gpu, from_bf16, np, random_bf16, relative_error, tiles_of, to_bf16, translate
from check_rows import arguments_of

MOST_ERROR = 2e-6
EPS = 1.0e-5
NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
                -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], np.float32)
TYPES = {"u4": "i4", "nf4": "i4", "u8": "i8", "i8": "i8", "f8e4m3": "f8E4M3FN"}


class Case(NamedTuple):
    codes: str
    n: int
    k: int
    group: int  # columns of a scale
    zeros: bool = False  # zero points of groups
    zero_point: int = 0  # of all
    rows: int = 1
    most: int = 1  # rows that the step may have
    packed: bool = False  # in units of 16 x 128
    family: str = "generic"
    schedule: str = ""  # of swap_ab: consumers, split, stages; the chosen one where it is empty
    norm: bool = False  # rms_norm before the product


CASES = {
    # A scale for each row, for less than a step, for a step, and for more.
    "f8e4m3_rows": Case("f8e4m3", 40, 192, 192),
    "f8e4m3_blocks": Case("f8e4m3", 96, 320, 128, rows=3, most=4),
    "i8_rows": Case("i8", 96, 80, 80, rows=17, most=32),
    "i8_groups": Case("i8", 64, 128, 32, rows=70, most=128),
    "u8_zeros": Case("u8", 33, 96, 16, zeros=True, rows=5, most=8),
    "u8_zero_point": Case("u8", 64, 64, 64, zero_point=128, rows=64, most=64),
    "u4_zeros": Case("u4", 72, 384, 128, zeros=True, rows=2, most=2),
    "u4_zero_point": Case("u4", 130, 192, 32, zero_point=8, rows=66, most=128),
    "u4_odd_groups": Case("u4", 32, 144, 48, zeros=True),
    "nf4": Case("nf4", 64, 128, 64, rows=9, most=16),
    "f8e4m3_packed": Case("f8e4m3", 40, 192, 192, rows=3, most=4, packed=True),
    "i8_packed_groups": Case("i8", 64, 96, 32, rows=70, most=128, packed=True),
    "u8_packed_zeros": Case("u8", 33, 96, 16, zeros=True, packed=True),
    "u4_packed": Case("u4", 72, 384, 128, zero_point=8, rows=2, most=2, packed=True),
    "u4_packed_zeros": Case("u4", 130, 192, 32, zeros=True, rows=66, most=128, packed=True),
    "nf4_packed": Case("nf4", 64, 128, 64, rows=9, most=16, packed=True),
    # Products of warpgroups: one unit and several, K that ends within one, and blocks that end within the rows of a matrix.
    "wide_f8e4m3": Case("f8e4m3", 256, 384, 384, rows=9, most=16, packed=True, family="swap_ab"),
    "wide_f8e4m3_blocks": Case("f8e4m3", 144, 320, 128, rows=200, most=256, packed=True, family="swap_ab"),
    "wide_i8_groups": Case("i8", 72, 160, 32, rows=20, most=32, packed=True, family="swap_ab"),
    "wide_u8_zeros": Case("u8", 128, 128, 64, zeros=True, rows=16, most=16, packed=True, family="swap_ab"),
    "wide_u4": Case("u4", 320, 384, 128, zero_point=8, rows=61, most=64, packed=True, family="swap_ab"),
    "wide_f8e4m3_four": Case("f8e4m3", 336, 640, 640, rows=50, most=64, packed=True, family="swap_ab", schedule="4 2 3"),
    "wide_u4_four": Case("u4", 320, 640, 64, zeros=True, rows=9, most=16, packed=True, family="swap_ab", schedule="4 3 2"),
    "wide_f8e4m3_tall": Case("f8e4m3", 144, 512, 128, rows=201, most=256, packed=True, family="swap_ab", schedule="2 1 2"),
    "wide_i8_two": Case("i8", 192, 768, 768, rows=128, most=128, packed=True, family="swap_ab", schedule="2 3 2"),
    # Few rows: one unit and several steps, K that ends within a unit, weight rows that are no multiple of 16, warps without a step.
    "few_f8e4m3": Case("f8e4m3", 88, 1152, 1152, rows=5, most=8, packed=True, family="matvec"),
    "few_f8e4m3_blocks": Case("f8e4m3", 96, 512, 128, packed=True, family="matvec"),
    "few_i8": Case("i8", 40, 160, 160, packed=True, family="matvec"),
    "few_i8_groups": Case("i8", 64, 512, 64, rows=8, most=8, packed=True, family="matvec"),
    "few_i8_norm": Case("i8", 48, 2304, 2304, rows=6, most=8, packed=True, family="matvec", norm=True),
    "few_u8_zeros": Case("u8", 64, 256, 128, zeros=True, rows=2, most=2, packed=True, family="matvec"),
    "few_u4": Case("u4", 48, 1792, 256, zero_point=8, packed=True, family="matvec"),
    "few_u4_norm": Case("u4", 72, 2304, 128, zeros=True, rows=3, most=4, packed=True, family="matvec", norm=True),
    "wide_u4_zeros": Case("u4", 130, 192, 32, zeros=True, rows=70, most=96, packed=True, family="swap_ab"),
}


def is_by_rows16(case):
    return case.packed and not scales_sums(case)


def scales_sums(case):
    """A scale of rows multiplies sums, unless the numbers need more than 16 bits without it."""
    return case.group >= case.k and not case.zeros and case.codes != "nf4"


def module(case):
    x, groups = f"tensor<?x{case.k}xbf16>", -(-case.k // case.group)
    packing = "packing = #llm<packing codes_16x128>, " if case.packed else ""
    of_groups = " {packing = #llm<packing rows_16>}" if is_by_rows16(case) else ""
    zeros = ", zero_points = @z" if case.zeros else f", zero_point = {case.zero_point}" if case.zero_point else ""
    norm = f"%n = llm.rms_norm %x, @g {{eps = {EPS:.5f} : f64}} : ({x}) -> {x}" if case.norm else ""
    symbols = f"""
  llm.weight @g : tensor<{case.k}xbf16> from ["g"]
  llm.weight @table : tensor<8x{case.k}xbf16> from ["table"]
  llm.weight @s : tensor<{case.n}x{groups}xf32> from ["s"]{of_groups}
  llm.weight @w : tensor<{case.n}x{case.k}x{TYPES[case.codes]}> from ["w"]
      {{{packing}quantized = #llm.quantized<{case.codes}, scales = @s{zeros}, group = {case.group}>}}"""
    if case.zeros:
        symbols += f"""
  llm.weight @z : tensor<{case.n}x{groups}xf32> from ["z"]{of_groups}"""
    return f"""
module attributes {{llm.model = {{max_model_len = 64 : i64}}}} {{{symbols}
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> tensor<?x{case.n}xf32>
      attributes {{llm.entry = {{kind = "decode", max_tokens = {case.most} : i64, max_sequences = {case.most} : i64}}}} {{
    %x = llm.group "x" family("rows") -> {x} {{
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> {x}
      llm.yield %v : {x}
    }}
    %y = llm.group "checked" family("{case.family}") -> tensor<?x{case.n}xf32> {{
      {norm}
      %v = llm.linear {"%n" if case.norm else "%x"}, @w : ({x}) -> tensor<?x{case.n}xf32>
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
        pipeline = "builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a},tile-select-schedule,cse)"
        tiles = tiles_of(tools, pipeline, module(case))
        if case.schedule:
            consumers, split, stages = map(int, case.schedule.split())
            rows = 16 if case.most <= 16 else -(-case.most // 32) * 32
            numbers = f"tile_rows = {rows}, tile_columns = {64 * consumers}, tile_k = 128, consumers = {consumers}, split = {split}, slots = 1"
            tiles = re.sub("#tile.swap_ab<[^>]*>", f"#tile.swap_ab<{numbers}, stages = {stages}, shared_bytes = 232448>", tiles)
        translate(tools, target, tiles, what)
        for other in target.glob("step_*.cu"):
            if other.stem != "step_checked":
                other.unlink()


def e4m3(codes):
    """The numbers of e4m3 codes that are no NaN."""
    sign, exponent, fraction = codes >> 7, codes >> 3 & 15, (codes & 7).astype(np.float32)
    magnitude = np.where(exponent > 0, (8 + fraction) * 2.0 ** (exponent.astype(np.float32) - 10), fraction / 512)
    return np.where(sign, -magnitude, magnitude).astype(np.float32)


def pack_codes(codes, bits):
    """Packs codes in the order of docs/quantization.md: units of 16 rows x 128 columns."""
    n, k = codes.shape
    padded = np.zeros((-(-n // 16) * 16, -(-k // 128) * 128), np.uint8)
    padded[:n, :k] = codes
    width = 128 // bits  # of a piece
    field = np.arange(width)
    t = field * bits // 32
    i = field % (32 // bits)
    columns = 2 * t + 8 * (i % 2) + i // 2 if bits == 8 else 16 * (i // 2 % 2) + 2 * t + 8 * (i % 2) + i // 4
    pieces = padded.reshape(len(padded) // 16, 16, -1, 128 // width, width).transpose(0, 2, 1, 3, 4)[..., columns]
    if bits == 4:
        pieces = pieces[..., 0::2] | pieces[..., 1::2] << 4
    packed = np.empty_like(pieces)
    for row in range(16):
        for piece in range(128 // width):
            packed[:, :, row, piece ^ (row % 8 if bits == 8 else row // 2 % 4)] = pieces[:, :, row, piece]
    return np.ascontiguousarray(packed).reshape(-1)


def pack_rows16(numbers):
    padded = np.zeros((-(-numbers.shape[0] // 16) * 16, numbers.shape[1]), numbers.dtype)
    padded[:len(numbers)] = numbers
    return np.ascontiguousarray(padded.reshape(-1, 16, numbers.shape[1]).transpose(0, 2, 1))


def weight_of(case, rng):
    """Bytes of codes, scales, zero points, and the numbers as bfloat16."""
    groups = -(-case.k // case.group)
    codes = rng.integers(0, 16 if TYPES[case.codes] == "i4" else 256, (case.n, case.k)).astype(np.uint8)
    if case.codes == "f8e4m3":
        codes[codes & 0x7F == 0x7F] = 0  # no NaN
    scales = rng.uniform(0.5, 2, (case.n, groups)).astype(np.float32)
    zeros = rng.integers(0, 16, (case.n, groups)).astype(np.float32)
    zeros[0, 0], zeros[1, 0] = 0, 15
    numbers = {"u4": codes, "u8": codes, "i8": codes.view(np.int8)}.get(case.codes)
    numbers = NF4[codes] if case.codes == "nf4" else e4m3(codes) if numbers is None else numbers.astype(np.float32)
    spread = lambda x: np.repeat(x, case.group, 1)[:, :case.k]
    zero = spread(zeros) if case.zeros else np.float32(case.zero_point)
    if scales_sums(case):
        numbers, of_sums = to_bf16(numbers - zero), scales[:, 0]
    elif case.family == "matvec":  # sums of groups are scaled in float32
        numbers, of_sums = ((numbers - zero).astype(np.float64) * spread(scales)), None
    else:
        numbers, of_sums = to_bf16((numbers - zero) * spread(from_bf16(to_bf16(scales)))), np.float32(1)
    packed = codes[:, 0::2] | codes[:, 1::2] << 4 if TYPES[case.codes] == "i4" else codes
    if case.packed:
        packed = pack_codes(codes, 4 if TYPES[case.codes] == "i4" else 8)
    packed_scales, packed_zeros = (pack_rows16(scales), pack_rows16(zeros)) if is_by_rows16(case) else (scales, zeros)
    if of_sums is not None:
        numbers = from_bf16(numbers).astype(np.float64) * np.reshape(of_sums, (-1, 1))
    return np.ascontiguousarray(packed), packed_scales, packed_zeros, numbers


def check(device, folder):
    for name, case in CASES.items():
        rng = np.random.default_rng(3)
        x = random_bf16(rng, case.rows, case.k)
        packed, scales, zeros, numbers = weight_of(case, rng)
        scale = random_bf16(rng, case.k)
        weights = {"w": packed, "s": scales, "z": zeros, "g": scale}
        # Rows past the step's end are not written.
        written = np.full((case.rows + 1, case.n), 7, np.float32)
        places = arguments_of(folder / name)
        arrays = [weights[value] if kind == "weight" else x if value == 0 else written for kind, value in places]
        results, _ = device.launch(folder / name, "step_checked", arrays, [case.rows, case.rows, 1, case.rows, 0, 0])
        found = next(result for result, array in zip(results, arrays) if array is written)
        rows, inverse = from_bf16(x).astype(np.float64), np.float64(1)
        if case.norm:  # 1 / rms is applied to sums
            inverse = 1 / np.sqrt((rows**2).mean(-1, keepdims=True) + EPS)
            rows = from_bf16(to_bf16(from_bf16(x) * from_bf16(scale))).astype(np.float64)
        yield name, relative_error(found[:-1], rows @ numbers.T * inverse)
        yield f"{name}, rows past the end", float((found[-1] != 7).sum())


def main():
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "make":
        make(pathlib.Path(rest[0]), pathlib.Path(rest[1]), rest[2] if len(rest) > 2 else "cubin")
        return 0
    folder, failures = pathlib.Path(rest[0]), 0
    for name, error in check(Emulator(rest[1]) if what == "emulate" else Gpu(), folder):
        good = error <= MOST_ERROR
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {name}: {error:.3g} (at most {MOST_ERROR})", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
