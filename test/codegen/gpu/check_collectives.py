#!/usr/bin/env python3
"""Kernels of collectives, with one thread for each rank, against numpy.

    check_collectives.py make BIN FOLDER [cubin|cuda]   compiles the programs; needs no GPU
    check_collectives.py emulate FOLDER CXX             runs their text on the CPU (emulation.h), with few rows
    check_collectives.py gpu FOLDER [RANKS]             runs them on 2 or 4 GPUs of one host, with rounds and times

Needs numpy; `gpu` needs libcuda and nvcc. All ranks must have the same bits: sums in float32 in the order of the ranks,
rounded once. What follows a sum in its kernel (tile.receive_sum) must be the same as what its epilogue makes of the sum. A linear layer
that pushes its rows (tile.store ... through) makes no difference to the sum of the rows that it stores.
"""

import ctypes
import json
import pathlib
import shutil
import sys
import tempfile
import threading
from typing import NamedTuple

import emulation
from check_kernels import emulated_maps, from_bf16, np, pack_atoms, tiles_of, to_bf16, translate

POISON, ROUNDS = 0x80008000, 3
LAST_ROUND = 2**32 - 1  # of peers.h


class Case(NamedTuple):
    """One kernel, `step_exchange`: columns of a rank, of a row of the result, and the most rows of a step. `gather_rows`: the most
    that a gather exchanges in a round. `epilogue`: what follows a sum, "residual" or "norm" (a residual, columns scaled by a weight
    plus 1, and sums of the squares of parts), or "product" (a residual, and a linear layer that takes the norm of the new one).
    `family`: of the linear layer that computes and pushes the rows, `step_linear`; without one they are given."""
    ranks: int
    columns: int
    rows: int
    type: str = "bf16"
    gathered: int = 0  # 0: all_reduce
    one_shot_bytes: int = 4096
    gather_rows: int = 1000
    multiprocessors: int = 2
    epilogue: str = ""
    family: str = ""

    def result_columns(self):
        return self.gathered or self.columns

    def gathered_row_words(self):
        """Words of 16 bytes that a row of a gather takes in a buffer."""
        return self.ranks * -(-self.columns * (4 if self.type == "f32" else 2) // 16)

    def norm_part(self):
        """Columns whose squares are summed, as llm-form-groups chooses them."""
        return 256 if self.columns % 256 == 0 else 64

    def is_early(self):
        """Whether the kernel of the sum receives while the launch that pushes the rows runs."""
        return bool(self.family) and self.epilogue != "product"

    def rounds(self, rows):
        """Of the exchange, that the kernel takes for so many rows."""
        return -(-rows // self.gather_rows) if self.gathered else 1

    def exchange_words(self):
        """Words of 16 bytes of one round's buffer, as docs/distributed.md has them."""
        size = 4 if self.type == "f32" else 2
        if self.gathered:
            return min(self.rows, self.gather_rows) * self.gathered_row_words()
        if self.epilogue:
            return self.ranks * self.rows * self.columns * size // 16
        one_shot_rows = self.one_shot_bytes // (self.columns * size)
        words = lambda rows: -(-rows * self.columns * size // 16)
        one_shot = self.ranks * words(min(self.rows, one_shot_rows))
        return one_shot if self.rows <= one_shot_rows else max(one_shot, 2 * self.ranks * -(-words(self.rows) // self.ranks))


# Emulated: sums in one shot (up to 15 rows) and in two, threads that take several words, parts of a word at the end,
# rows of a gather that are no multiple of 16 bytes, and ranks whose columns are cut off.
SMALL = {
    **{f"sum_{ranks}": Case(ranks, 136, 96) for ranks in (2, 4)},
    "sum_3": Case(3, 20, 48, "f32", one_shot_bytes=400),
    "sum_8": Case(8, 72, 8),
    "squares_2": Case(2, 1, 70, "f32", one_shot_bytes=80),
    "gather_2": Case(2, 64, 24, "f32", gathered=101),
    "gather_4": Case(4, 36, 24, "bf16", gathered=144),
    "cut_4": Case(4, 32, 8, "f32", gathered=65),
    # Gathers in rounds of a few rows, the last one of fewer: also with a block and threads that have no words in it.
    "rounds_2": Case(2, 64, 24, "f32", gathered=101, gather_rows=5),
    "rounds_3": Case(3, 512, 8, "f32", gathered=1500, gather_rows=3),
    "rounds_4": Case(4, 36, 19, "bf16", gathered=70, gather_rows=1),
    "rounds_8": Case(8, 520, 9, "bf16", gathered=4100, gather_rows=7),
    # With few and several rows in a tile, parts of tiles at the end, threads that hold the same words, and ranks of f32.
    "residual_2": Case(2, 264, 1, epilogue="residual"),
    "residual_4": Case(4, 1032, 7, epilogue="residual"),
    "residual_3": Case(3, 20, 5, "f32", epilogue="residual"),
    "norm_2": Case(2, 192, 40, epilogue="norm"),
    "norm_8": Case(8, 64, 9, epilogue="norm"),
    # Parts of 256 columns.
    "norm_512": Case(2, 512, 5, epilogue="norm"),
}
# Pushed by the linear layer: in pieces of each of its families, with parts of tiles at the end.
SMALL |= {
    "matvec_2": Case(2, 200, 1, epilogue="residual", family="matvec"),
    "matvec_4": Case(4, 128, 7, epilogue="norm", family="matvec"),
    "swap_ab_2": Case(2, 192, 40, epilogue="norm", family="swap_ab"),
    "swap_ab_8": Case(8, 72, 20, epilogue="residual", family="swap_ab"),
    "swap_ab_512": Case(2, 512, 40, epilogue="norm", family="swap_ab"),
    "generic_3": Case(3, 136, 18, epilogue="residual", family="generic"),
}
# Received by the linear layer behind the sum: with warps that have no part of the row, or the end of it, and several
# tiles of weights for each block.
SMALL |= {
    "product_2": Case(2, 264, 1, epilogue="product", family="matvec"),
    "product_3": Case(3, 2120, 1, epilogue="product", family="matvec"),
    "product_8": Case(8, 264, 1, epilogue="product", family="matvec"),
}
PRODUCT_ROWS = 88  # of the weight of the linear layer behind a sum
LINEAR_COLUMNS = 320  # of the input of a linear layer
# On GPUs: as the compiler makes them for an H200, by bytes of a rank.
LARGE = {
    f"{kib}_KiB_{ranks}": Case(ranks, 4096, kib // 8, one_shot_bytes=(2048 if ranks == 2 else 512) * 1024, multiprocessors=132)
    for ranks in (2, 4) for kib in (8, 64, 512, 2048, 16384)
} | {
    f"{rows}_rows_{epilogue}_{columns}_{ranks}": Case(ranks, columns, rows, one_shot_bytes=(2048 if ranks == 2 else 512) * 1024,
                                                    multiprocessors=132, epilogue=epilogue)
    for ranks in (2, 4) for columns in (4096, 8192)
    for rows, epilogue in ((1, "residual"), (8, "residual"), (16, "norm"), (32, "norm")) + (((64, "norm"),) if ranks * columns < 32768 else ())
} | {
    # Logits of a vocabulary of 128,256: 16 rows fit the 8 MiB of a round.
    f"{rows}_rows_logits_{ranks}": Case(ranks, 128256 // ranks, rows, "f32", gathered=128256, gather_rows=16, multiprocessors=132)
    for ranks in (2, 4) for rows in (1, 16, 64, 256)
} | {
    f"1_rows_{epilogue}_{columns}_{ranks}_pushed": Case(ranks, columns, 1, one_shot_bytes=512 * 1024, multiprocessors=132, epilogue=epilogue,
                                                       family="matvec")
    for ranks in (2, 4) for columns in (4096, 8192) for epilogue in ("residual", "product")
}


def module(case):
    x, y = f"tensor<?x{case.columns}x{case.type}>", f"tensor<?x{case.result_columns()}x{case.type}>"
    op = f"llm.all_gather %x : ({x}) -> {y}" if case.gathered else f"llm.all_reduce %x : {x}"
    body, types = f"%v = {op}\n      llm.yield %v : {y}", y
    product = f"tensor<?x{PRODUCT_ROWS}x{case.type}>"
    if case.epilogue:
        body = f"%sum = {op}\n      %v = llm.add %r, %sum : {x}"
        values = "%v"
        if case.epilogue == "product":
            body += (f"\n      %n = llm.rms_norm %v, @norm {{eps = 1.0e-05 : f64, weight_offset = 1.0 : f64}} : ({x}) -> {x}"
                     f"\n      %p = llm.linear %n, @product : ({x}) -> {product}")
            values, types = "%p, %v", f"{product}, {x}"
        if case.epilogue == "norm":
            parts = f"tensor<?x{case.columns // case.norm_part()}xf32>"
            body += (f"\n      %scaled = llm.scale_columns %v, @norm {{weight_offset = 1.0 : f64}} : {x}"
                     f"\n      %squares = llm.sum_of_squares %v : ({x}) -> {parts}")
            values, types = "%v, %scaled, %squares", f"{x}, {x}, {parts}"
        body += f"\n      llm.yield {values} : {types}"
    rows = f"""%x = llm.group "x" family("rows") -> {x} {{
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> {x}
      llm.yield %v : {x}
    }}"""
    packed = "{packing = #llm<packing atom_8x64>}"
    packing = "" if case.family in ("", "generic") else packed
    is_product = case.epilogue == "product"
    results = {"norm": ":3", "product": ":2"}.get(case.epilogue, "")
    returned = {"norm": "#0", "product": "#1"}.get(case.epilogue, "")
    if case.family:
        given = f"tensor<?x{LINEAR_COLUMNS}x{case.type}>"
        rows = f"""%in = llm.group "x" family("rows") -> {given} {{
      %v = llm.embedding %ids, @inputs : (tensor<?xi32>) -> {given}
      llm.yield %v : {given}
    }}
    %x = llm.group "linear" family("{case.family}") -> {x} {{
      %v = llm.linear %in, @weight : ({given}) -> {x}
      llm.yield %v : {x}
    }}"""
    costs = ("slots = 2, clustered_percent = 88, memory_bytes = 4400, cache_bytes = 5500, products = 2500, round_trip = 2500, "
             "cluster_wait = 500, streaming_rows = 8, scaled_columns = 2048, split_norm_rows = 256, prefill_rows = 128, "
             f"prefill_keys = 128, spread_sequences = 4, one_shot_pair_bytes = {case.one_shot_bytes}, "
             f"one_shot_bytes = {case.one_shot_bytes}, gather_bytes = {case.gather_rows * case.gathered_row_words() * 16}, prologue_sum_rows = 1, sum_kernel = 2300")
    return f"""
#target = #tile.target<sm_90a, multiprocessors = {case.multiprocessors}, shared_bytes = 233472, reserved_shared_bytes = 1024,
                       block_shared_bytes = 232448, cost_model = <{costs}>>
module attributes {{llm.model = {{max_model_len = 64 : i64}}, llm.ranks = {case.ranks} : i64, tile.target = #target}} {{
  llm.weight @table : tensor<8x{case.columns}x{case.type}> from ["table"]
  llm.weight @norm : tensor<{case.columns}x{case.type}> from ["norm"]
  llm.weight @inputs : tensor<8x{LINEAR_COLUMNS}x{case.type}> from ["inputs"]
  llm.weight @weight : tensor<{case.columns}x{LINEAR_COLUMNS}x{case.type}> from ["weight"] {packing}
  llm.weight @product : tensor<{PRODUCT_ROWS}x{case.columns}x{case.type}> from ["product"] {packed}
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> {y}
      attributes {{llm.entry = {{kind = "mixed", max_tokens = {case.rows} : i64, max_sequences = 1 : i64}}}} {{
    %r = llm.group "r" family("rows") -> {x} {{
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> {x}
      llm.yield %v : {x}
    }}
    {rows}
    %y{results} = llm.group "exchange" family("{"matvec" if is_product else "collective"}") -> {types} {{
      {body}
    }}
    return %y{returned} : {y}
  }}
}}
"""


def make(tools, folder, what):
    for name, case in (SMALL | LARGE).items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        pipeline = ("builtin.module(func.func(llm-plan-buffers,llm-push-sums),convert-llm-to-tile{target=sm_90a},"
                    "tile-select-schedule,cse)")
        translate(tools, target, tiles_of(tools, pipeline, module(case)), what)
        for other in target.glob("step_[xr].*"):
            other.unlink()


class PeerTable(ctypes.Structure):
    """Declared in codegen/device/peers.h."""
    _fields_ = [("round", ctypes.c_uint32), ("arrived", ctypes.c_uint32), ("previous_words", ctypes.c_uint32), ("failed", ctypes.c_uint32),
                ("failed_round", ctypes.c_uint32), ("rank", ctypes.c_uint32), ("exchange", ctypes.c_uint64 * 8),
                ("round_bytes", ctypes.c_uint64), ("timeout_ns", ctypes.c_uint64)]


def without_poison(words, type):
    """What a rank sends of the bits `words`."""
    return np.where(words == (POISON if type == "f32" else 0x8000), 0, words).astype(words.dtype)


def to_floats(case, bits):
    return bits.view(np.float32) if case.type == "f32" else from_bf16(bits)


def to_bits(case, floats):
    return np.ascontiguousarray(floats, np.float32).view(np.uint32) if case.type == "f32" else to_bf16(floats)


def reference(case, xs):
    """The bits of the result, of the bits of all ranks."""
    xs = [without_poison(x, case.type) for x in xs]
    if case.gathered:
        return np.concatenate(xs, axis=1)[:, :case.gathered]
    floats = [to_floats(case, x) for x in xs]
    with np.errstate(all="ignore"):
        total = floats[0].copy()
        for x in floats[1:]:
            total = total + x
    return without_poison(to_bits(case, total), case.type)


class Others(NamedTuple):
    """The bits that all ranks have of the residual, of the weight of a norm, and of that of a linear layer."""
    residual: "np.ndarray"
    weight: "np.ndarray"
    product: "np.ndarray"


def results_of(case, xs, others):
    """What each rank must have: the bits of its results; sums of squares and products as numbers."""
    total = reference(case, xs)
    if not case.epilogue:
        return [total]
    with np.errstate(all="ignore"):
        y = to_floats(case, others.residual) + to_floats(case, total)
        if case.epilogue == "residual":
            return [to_bits(case, y)]
        if case.epilogue == "product":
            y = to_floats(case, to_bits(case, y))
            scaled = from_bf16(to_bf16(y * (to_floats(case, others.weight) + np.float32(1))))
            rms = np.sqrt((y.astype(np.float64)**2).mean(axis=1, keepdims=True) + 1e-5)
            return [to_bits(case, y), (scaled.astype(np.float64) @ from_bf16(others.product).T / rms).astype(np.float32)]
        squares = (y.astype(np.float64)**2).reshape(len(y), -1, case.norm_part()).sum(axis=2).astype(np.float32)
        return [to_bits(case, y), to_bits(case, y * (to_floats(case, others.weight) + np.float32(1))), squares]


def bits_like(case, wanted):
    """An array in which a kernel leaves a result."""
    return np.zeros(wanted.shape, np.uint16 if case.epilogue == "product" else wanted.dtype)


def count_wrong(found, wanted):
    """Elements that are not equal in their bits, or sums and products that are not close."""
    if wanted.dtype != found.dtype and found.dtype == np.uint16:
        return int((~np.isclose(from_bf16(found), wanted, rtol=1e-2, atol=1e-3 * np.abs(wanted).max())).sum())
    if wanted.dtype == np.float32:
        return int((~np.isclose(found.view(np.float32), wanted, rtol=1e-5, atol=0)).sum())
    return int((found != wanted).sum())


def random_bits(rng, case, rows):
    """Numbers of different sizes, zeros of both signs, pairs of -0.0 and the float with their bits."""
    most = {"norm": 4, "product": 1}.get(case.epilogue, 20)  # whose squares are numbers
    x = (rng.standard_normal((rows, case.columns)) * 10.0 ** rng.integers(-most, most, (rows, case.columns))).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = 0.0
    x[rng.random(x.shape) < 0.2] *= -0.0
    bits = x.view(np.uint32).copy() if case.type == "f32" else to_bf16(x)
    if case.type == "f32":
        bits[rng.random(x.shape) < 0.1] = POISON
    return bits


def random_others(rng, case, rows):
    if not case.epilogue:
        return None
    return Others(random_bits(rng, case, rows), random_bits(rng, case, 1)[0],
                  to_bf16((rng.standard_normal((PRODUCT_ROWS, case.columns)) * 0.06).astype(np.float32)))


def aligned(bytes, fill):
    raw = np.zeros(bytes + 512, np.uint8)
    start = -raw.ctypes.data % 256
    result = raw[start:start + bytes]
    result[:] = fill
    return result


def random_linear(rng, case, rows):
    """The weight of a linear layer, as its kernel takes it, and rows. Some products are so small that they are stored as
    0.0 and -0.0."""
    x = rng.standard_normal((rows, LINEAR_COLUMNS)).astype(np.float32)
    weight = (rng.standard_normal((case.columns, LINEAR_COLUMNS)) * 0.06).astype(np.float32)
    x[::2] *= 1e-20
    weight[rng.random(case.columns) < 0.3] *= 1e-21
    return to_bf16(weight) if case.family == "generic" else pack_atoms(to_bf16(weight)), to_bf16(x)


class Step(NamedTuple):
    """The rows of each rank, what is added to their sum, and what computes the rows, if a linear layer does."""
    xs: list
    others: Others | None
    linears: list | None


def random_step(rng, case, rows):
    return Step([random_bits(rng, case, rows) for _ in range(case.ranks)], random_others(rng, case, rows),
                [random_linear(rng, case, rows) for _ in range(case.ranks)] if case.family else None)


class EmulatedRanks:
    """A thread and a copy of the kernel's library for each rank, with exchange memory that all of them write."""

    def __init__(self, compiler, folder, case, scratch):
        names = ["step_exchange"] + (["step_exchange_epilogue"] if case.epilogue else []) + (["step_linear"] if case.family else [])
        self.case, self.specs = case, {name: json.loads((folder / f"{name}.json").read_text()) for name in names}
        sources = {name: (folder / f"{name}.cu").read_text() for name in names}
        library = emulation.compile_kernels(compiler, sources, scratch / folder.name)
        self.libraries = []
        for rank in range(case.ranks):
            copy = scratch / f"{folder.name}.rank{rank}.so"
            shutil.copyfile(library, copy)
            self.libraries.append(ctypes.CDLL(str(copy)))
        # Another kernel of the step has a larger buffer.
        self.round_bytes = -(-case.exchange_words() * 16 // 256) * 256 + 512
        self.exchange = [aligned(ROUNDS * self.round_bytes, 0) for _ in range(case.ranks)]
        self.tables = []
        for rank in range(case.ranks):
            self.exchange[rank].view(np.uint32)[:] = POISON
            table = PeerTable(round_bytes=self.round_bytes, rank=rank, timeout_ns=60 * 10**9)
            table.exchange[:case.ranks] = [memory.ctypes.data for memory in self.exchange]
            self.tables.append(table)

    def buffers(self, x, others, in_place):
        """The arguments of the kernel and its results. Results have a row more than the step, filled with 7."""
        rows, case = len(x), self.case

        def filled(columns, like, contents=None):
            y = aligned((rows + 1) * columns * like.itemsize, 7).view(like.dtype).reshape(rows + 1, -1)
            if contents is not None:
                y[:rows] = contents
            return y

        def copied(bits):
            result = aligned(bits.nbytes, 0).view(bits.dtype).reshape(bits.shape)
            result[...] = bits
            return result

        if not case.epilogue:
            y = filled(case.result_columns(), x, x if in_place else None)
            return [y if in_place else copied(x), y], [y]
        if case.epilogue == "product":
            results = [filled(case.columns, x), filled(PRODUCT_ROWS, x)]
            return [copied(x), copied(pack_atoms(others.product)), copied(others.weight), copied(others.residual), *results], results
        results = [filled(case.columns, x, others.residual)]
        if case.epilogue == "residual":
            return [copied(x), *results], results
        results += [filled(case.columns, x), filled(case.columns // case.norm_part(), np.zeros(1, np.uint32))]
        return [copied(x), results[0], copied(others.weight), *results[1:]], results

    def residual_of(self, arguments):
        """The residual, which earlier launches write."""
        return {"": [], "product": arguments[3:4]}.get(self.case.epilogue, arguments[1:2])

    def launch(self, rank, name, arguments, rows, late, peers=None):
        spec = self.specs[name]
        sizes = [rows, 1, 1, 1, 0, 0]
        grid = [multiplier * -(-(sizes[size] if size < len(sizes) else 1) // divisor) for size, divisor, multiplier in spec["grid"]]
        emulation.run(self.libraries[rank], name, [a.ctypes.data for a in arguments], sizes, grid, spec["block"], spec["cluster"],
                      spec["shared_bytes"], emulated_maps(spec, arguments, sizes), [emulation.LateWrite(a.ctypes.data, a.nbytes) for a in late], peers)

    def multiply(self, rank, linear, y, pushes=True):
        """y = the product of the linear layer, which `pushes` it to the other ranks."""
        table, arguments = self.tables[rank], []
        for given in linear:
            arguments.append(aligned(given.nbytes, 0).view(given.dtype).reshape(given.shape))
            arguments[-1][...] = given
        self.launch(rank, "step_linear", [*arguments, y], len(y), [np.frombuffer(table, np.uint8), arguments[1]],
                    ctypes.addressof(table) if pushes else 0)

    def run(self, xs, others=None, in_place=False, absent=(), linears=None):
        """One step, without the ranks `absent`: the results of each rank. `linears`: what computes `xs`."""
        return self.run_steps([Step(xs, others, linears)], in_place, absent)[0]

    def run_steps(self, steps, in_place=False, absent=()):
        """Steps that follow each other on each rank, which waits for the others in its kernels only."""
        buffers = [[self.buffers(x, step.others, in_place) for x in step.xs] for step in steps]

        def run_rank(rank):
            table = self.tables[rank]
            for (xs, _, linears), of_ranks in zip(steps, buffers):
                arguments = of_ranks[rank][0]
                if linears:
                    self.multiply(rank, linears[rank], arguments[0])
                    xs[rank][...] = arguments[0]
                # Earlier launches write the rows, the residual, and the table at its end.
                late = [np.frombuffer(table, np.uint8), arguments[0][:len(xs[rank])], *self.residual_of(arguments)]
                if self.case.is_early():
                    # Only the launch that pushes may run, which writes neither the table nor the residual. The rows that it stores are
                    # not read: they are NaNs. What the kernel stores before it waits is lost.
                    arguments[0].view(np.uint8)[...] = 0xff
                    late = [arguments[0], *of_ranks[rank][1][1:]]
                self.launch(rank, "step_exchange", arguments, len(xs[rank]), late, ctypes.addressof(table))

        threads = [threading.Thread(target=run_rank, args=(rank,)) for rank in range(self.case.ranks) if rank not in absent]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [[results for _, results in of_ranks] for of_ranks in buffers]

    def run_epilogue(self, total, others):
        """The results of the epilogue, where a communicator has computed the sum."""
        arguments, results = self.buffers(total, others, in_place=False)
        self.launch(0, "step_exchange_epilogue", arguments, len(total), [arguments[0], *self.residual_of(arguments)])
        return results

    def is_clear(self, round):
        """Whether all buffers but that of `round` hold nothing but the poison, on all ranks."""
        buffers = [memory.view(np.uint32).reshape(ROUNDS, -1) for memory in self.exchange]
        return all((buffer[(round + i) % ROUNDS] == POISON).all() for buffer in buffers for i in (1, 2))


def check_emulated(compiler, folder):
    with tempfile.TemporaryDirectory() as scratch:
        for name, case in SMALL.items():
            rng, ranks = np.random.default_rng(3), EmulatedRanks(compiler, folder / name, case, pathlib.Path(scratch))
            rounds = 0  # of the exchange
            sizes = [1, case.rows, 2, case.rows // 2, 1, case.rows, case.rows - 1, 3]
            for step, rows in enumerate(max(1, min(rows, case.rows)) for rows in sizes):
                xs, others, linears = random_step(rng, case, rows)
                in_place = step % 2 == 1 and not case.gathered and not case.epilogue
                results = ranks.run(xs, others, in_place, linears=linears)
                wanted = results_of(case, xs, others)
                rounds += case.rounds(rows)
                guards = sum(int((y[rows].view(np.uint8) != 7).sum()) for of_rank in results for y in of_rank)
                yield (f"{name}, step {step}: {rows} rows{' in place' if in_place else ''}",
                       guards + sum(count_wrong(y[:rows], w) for of_rank in results for y, w in zip(of_rank, wanted)))
                if case.epilogue:
                    alone = ranks.run_epilogue(reference(case, xs), others)
                    yield (f"{name}, step {step}: all ranks and the epilogue have the same bits",
                           sum(int((y != z).sum()) for of_rank in results for y, z in zip(of_rank, alone)))
                yield f"{name}, step {step}: buffers of other rounds", int(not ranks.is_clear(rounds - 1))
                yield (f"{name}, step {step}: tables",
                       sum((t.round, t.arrived, t.failed) != (rounds, 0, 0) or 16 * t.previous_words > ranks.round_bytes for t in ranks.tables))
            if case.family:
                yield f"{name}: elements of a linear layer that are -0.0", int(not (xs[0] == 0x8000).any())
                y, before = ranks.buffers(xs[0], others, in_place=False)[0][0], ranks.exchange[1].copy()
                ranks.multiply(0, linears[0], y, pushes=False)
                ranks.tables[0].failed = 1
                ranks.multiply(0, linears[0], y)
                ranks.tables[0].failed = 0
                yield (f"{name}: rows without peers and after a failure",
                       int((y != xs[0]).sum()) + int((ranks.exchange[1] != before).sum()))
            if case.family or case.rounds(case.rows) > 1:
                steps = [random_step(rng, case, int(rng.integers(1, case.rows + 1))) for _ in range(10)]
                found, rounds = ranks.run_steps(steps), rounds + sum(case.rounds(len(step.xs[0])) for step in steps)
                yield (f"{name}: {len(steps)} steps that follow each other",
                       sum(count_wrong(y[:len(w)], w) for step, of_step in zip(steps, found) for of_rank in of_step
                           for y, w in zip(of_rank, results_of(case, step.xs, step.others))))
                yield f"{name}: buffers after these steps", int(not ranks.is_clear(rounds - 1))
            # Numbers of rounds start again at 0, after a round of another kernel that filled its buffer.
            number, wrong = LAST_ROUND - 6 + rounds % ROUNDS, 0
            for table, memory in zip(ranks.tables, ranks.exchange):
                memory.view(np.uint32).reshape(ROUNDS, -1)[(number - 1) % ROUNDS] = 7
                table.round, table.previous_words = number, ranks.round_bytes // 16
            while LAST_ROUND - 6 <= number or number < ROUNDS:
                xs, others, linears = random_step(rng, case, case.rows)
                results = ranks.run(xs, others, linears=linears)
                number = (number + case.rounds(case.rows)) % LAST_ROUND
                wrong += sum(count_wrong(y[:len(w)], w) for of_rank in results for y, w in zip(of_rank, results_of(case, xs, others)))
                wrong += not ranks.is_clear(number - 1) or any(table.round != number for table in ranks.tables)
            yield f"{name}: numbers of rounds start again", wrong
            rounds = number
            # The last rank does not come.
            last = case.ranks - 1
            for table in ranks.tables:
                table.timeout_ns = 20 * 10**6
            ranks.run(xs, others, absent=[last], linears=linears)
            yield (f"{name}: a rank that does not come",
                   sum((t.failed, t.failed_round) != (last + 1, rounds) for t in ranks.tables if t.rank != last))
            ranks.tables[last].failed = 1
            before, results = ranks.buffers(xs[0], others, in_place=False)[1], ranks.run(xs, others, linears=linears)
            yield (f"{name}: rounds after a failure write nothing",
                   sum(int((y != b).sum()) for of_rank in results for y, b in zip(of_rank, before)))


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
