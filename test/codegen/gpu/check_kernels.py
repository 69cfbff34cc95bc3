#!/usr/bin/env python3
"""Runs the kernels of test/codegen/programs on a GPU and compares them with numpy.

    check_kernels.py FOLDER [--emulate CXX]

FOLDER has one sub-folder for each program file, as `make_cubins.sh` writes them: NAME.cubin and NAME.json (block,
cluster, shared memory, grid). Needs only numpy and the driver (libcuda). With --emulate, the C++ compiler CXX compiles
the kernels for the CPU (emulation.h), where they run slowly. Emulation finds wrong addresses, wrong layouts and missing
barriers, but no errors that need the memory model of a GPU.
"""

import ctypes
import json
import pathlib
import subprocess
import sys
import tempfile

import emulation

try:
    import numpy as np
except ImportError:
    sys.exit("numpy was not found; run scripts/setup, which installs it in .deps/python, and source scripts/env.sh")

TOKENS, SEQUENCES, QUERY_TILES, LOGIT_ROWS, PENALTY_ENTRIES, KV_ROWS = range(6)


def to_bf16(x):
    """Rounds to the nearest bfloat16 (even on ties), as uint16."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(x):
    return (x.astype(np.uint32) << 16).view(np.float32)


def random_bf16(rng, *shape, scale=1.0):
    return to_bf16(rng.standard_normal(shape, np.float32) * scale)


def tiles_of(tools, pipeline, module):
    """The text of tile programs that the passes `pipeline` make of `module`."""
    return subprocess.run([tools / "inlay-opt", f"--pass-pipeline={pipeline}"], text=True, check=True, stdout=subprocess.PIPE,
                          input=module).stdout


def translate(tools, folder, tiles, what):
    """Writes the tile programs `tiles` to `folder`, and their kernels as `what` and as CUDA C++."""
    (folder / "tile.mlir").write_text(tiles)
    for kind in {what, "cuda"}:
        subprocess.run([tools / "inlay-translate", f"--tile-to-{kind}", f"--kernels-to={folder}", folder / "tile.mlir"], check=True,
                       stdout=subprocess.DEVNULL)


def pack_atoms(w):
    """Packs a matrix [N][K] into [N/8][K/64] atoms of 8 x 64. Chunk c (8 elements) of row r is at chunk c ^ r."""
    n, k = w.shape
    padded = np.zeros((-(-n // 8) * 8, -(-k // 64) * 64), w.dtype)
    padded[:n, :k] = w
    atoms = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 64, 8, 8).transpose(0, 2, 1, 3, 4)
    result = np.empty_like(atoms)
    for row in range(8):
        for chunk in range(8):
            result[:, :, row, chunk ^ row] = atoms[:, :, row, chunk]
    return np.ascontiguousarray(result)


def map_of(spec, sizes):
    """Dims, strides, box and swizzle of a tensor map in a kernel's JSON, for a step of `sizes`."""
    _, dims, strides, box, swizzle, extent = spec
    return dims[:-1] + [dims[-1] * (sizes[extent] if extent >= 0 else 1)], strides, box, swizzle


def emulated_maps(spec, arrays, sizes):
    """The tensor maps of a kernel on `arrays`, its arguments, for emulation.run."""
    maps = []
    for described in spec["maps"]:
        dims, strides, box, swizzle = map_of(described, sizes)
        map = emulation.TensorMap(arrays[described[0]].ctypes.data, rank=len(dims), swizzle=swizzle)
        map.dims[:len(dims)], map.strides[:len(dims)], map.box[:len(dims)] = dims, [2, *strides], box
        maps.append(map)
    return maps


def encode_map(cuda, check, pointer, dims, strides, box, swizzle):
    """A tensor map of 16-bit elements (bfloat16), 64 bytes aligned. `check` takes the status of a call of `cuda`."""
    raw = ctypes.create_string_buffer(192)
    map = (ctypes.c_char * 128).from_buffer(raw, -ctypes.addressof(raw) % 64)
    rank = len(dims)
    check(cuda.cuTensorMapEncodeTiled(
        map, 9, ctypes.c_uint(rank), pointer, (ctypes.c_uint64 * rank)(*dims), (ctypes.c_uint64 * max(rank - 1, 1))(*strides),
        (ctypes.c_uint32 * rank)(*box), (ctypes.c_uint32 * rank)(*[1] * rank), 0, {0: 0, 32: 1, 64: 2, 128: 3}[swizzle], 3, 0))
    return map


class Gpu:
    def __init__(self):
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.check(self.cuda.cuInit(0))
        device, self.context = ctypes.c_int(), ctypes.c_void_p()
        self.check(self.cuda.cuDeviceGet(ctypes.byref(device), 0))
        self.check(self.cuda.cuDevicePrimaryCtxRetain(ctypes.byref(self.context), device))
        self.check(self.cuda.cuCtxSetCurrent(self.context))

    def check(self, status):
        if status != 0:
            name = ctypes.c_char_p()
            self.cuda.cuGetErrorName(status, ctypes.byref(name))
            raise RuntimeError(f"CUDA driver: {name.value.decode() if name.value else status}")

    def encode(self, pointer, *described):
        return encode_map(self.cuda, self.check, pointer, *described)

    def launch(self, folder, name, arrays, sizes, repeat=0, late=()):
        """Launches a kernel on copies of `arrays`; returns them as they are afterwards, and the time in µs."""
        spec = json.loads((folder / f"{name}.json").read_text())
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        image = (folder / f"{name}.cubin").read_bytes()
        self.check(self.cuda.cuModuleLoadData(ctypes.byref(module), image))
        self.check(self.cuda.cuModuleGetFunction(ctypes.byref(function), module, name.encode()))
        self.check(self.cuda.cuFuncSetAttribute(function, 8, spec["shared_bytes"]))  # MAX_DYNAMIC_SHARED_SIZE_BYTES
        self.check(self.cuda.cuFuncSetAttribute(function, 9, 100))  # PREFERRED_SHARED_MEMORY_CARVEOUT
        if spec["cluster"] > 8:
            self.check(self.cuda.cuFuncSetAttribute(function, 14, 1))  # NON_PORTABLE_CLUSTER_SIZE_ALLOWED
        arrays = [np.ascontiguousarray(a) for a in arrays]
        pointers = []
        for array in arrays:
            pointer = ctypes.c_uint64()
            self.check(self.cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(max(array.nbytes, 16))))
            self.check(self.cuda.cuMemcpyHtoD_v2(pointer, array.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(array.nbytes)))
            pointers.append(pointer)
        step = (ctypes.c_int * 6)(*sizes)
        maps = [self.encode(pointers[map[0]], *map_of(map, sizes)) for map in spec["maps"]]
        arguments = (ctypes.c_void_p * (len(pointers) + len(maps) + 1))(
            *[ctypes.cast(ctypes.byref(p), ctypes.c_void_p) for p in pointers],
            *[ctypes.cast(map, ctypes.c_void_p) for map in maps], ctypes.cast(step, ctypes.c_void_p))
        one = list(sizes) + [1]
        grid = [multiplier * -(-one[extent] // divisor) for extent, divisor, multiplier in spec["grid"]] + [1, 1]
        def run():
            self.check(self.cuda.cuLaunchKernel(function, *grid[:3], spec["block"], 1, 1, spec["shared_bytes"], None, arguments, None))
        run()
        self.check(self.cuda.cuCtxSynchronize())
        results = []
        for array, pointer in zip(arrays, pointers):
            result = np.empty_like(array)
            self.check(self.cuda.cuMemcpyDtoH_v2(result.ctypes.data_as(ctypes.c_void_p), pointer, ctypes.c_size_t(array.nbytes)))
            results.append(result)
        microseconds = 0.0
        if repeat:
            begin, end, elapsed = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_float()
            self.check(self.cuda.cuEventCreate(ctypes.byref(begin), 0))
            self.check(self.cuda.cuEventCreate(ctypes.byref(end), 0))
            self.check(self.cuda.cuEventRecord(begin, None))
            for _ in range(repeat):
                run()
            self.check(self.cuda.cuEventRecord(end, None))
            self.check(self.cuda.cuEventSynchronize(end))
            self.check(self.cuda.cuEventElapsedTime(ctypes.byref(elapsed), begin, end))
            microseconds = elapsed.value * 1000 / repeat
        for pointer in pointers:
            self.check(self.cuda.cuMemFree_v2(pointer))
        self.check(self.cuda.cuModuleUnload(module))
        return results, microseconds


class Emulator:
    """Runs kernels on the CPU, with the same launch() as Gpu."""

    def __init__(self, compiler):
        self.compiler = compiler
        self.scratch = tempfile.TemporaryDirectory()
        self.libraries = {}

    def library(self, folder):
        """The library with all kernels of a folder."""
        if folder not in self.libraries:
            sources = {file.stem: file.read_text() for file in folder.glob("*.cu")}
            stem = pathlib.Path(self.scratch.name) / folder.name
            self.libraries[folder] = ctypes.CDLL(str(emulation.compile_kernels(self.compiler, sources, stem)))
        return self.libraries[folder]

    def launch(self, folder, name, arrays, sizes, repeat=0, late=()):
        """`late` lists (array, row) that the previous launch writes. They hold NaNs until the kernel waits for it."""
        spec = json.loads((folder / f"{name}.json").read_text())
        one = list(sizes) + [1]
        grid = [multiplier * -(-one[extent] // divisor) for extent, divisor, multiplier in spec["grid"]]
        results = []
        for array in arrays:  # at multiples of 256 bytes, as the runtime places buffers
            raw = np.zeros(array.nbytes + 512, np.uint8)
            start = -raw.ctypes.data % 256
            result = raw[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
            result[...] = array
            results.append(result)
        writes = [emulation.LateWrite(results[array][row].ctypes.data, results[array][row].nbytes) for array, row in late]
        emulation.run(self.library(folder), name, [r.ctypes.data for r in results], sizes, grid, spec["block"], spec["cluster"],
                      spec["shared_bytes"], emulated_maps(spec, results, sizes), writes)
        self.library(folder).releaseMemory()  # there are many libraries
        return results, 0.0


def relative_error(got, wanted):
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    return float(np.linalg.norm(got - wanted) / max(np.linalg.norm(wanted), 1e-30)) if np.isfinite(got).all() else np.inf


class Pages:
    """A paged cache. Sequence s has lengths[s] positions, in pages in random order."""

    def __init__(self, rng, lengths, kv_heads, d, page_size=16, pages_per_sequence=8, spare=True):
        self.kv_heads, self.d, self.page_size = kv_heads, d, page_size
        self.pages_per_sequence = pages_per_sequence
        # Without spare pages, there are only the pages that the sequences need.
        pages = len(lengths) * pages_per_sequence if spare else sum(-(-n // page_size) for n in lengths)
        self.table = np.full((len(lengths), pages_per_sequence), -1, np.int32)
        free = list(rng.permutation(pages))
        for s, length in enumerate(lengths):
            for i in range(-(-length // page_size)):
                self.table[s, i] = free.pop()
        self.rows = pages * kv_heads * page_size
        self.keys = random_bf16(rng, self.rows, d)
        self.values = random_bf16(rng, self.rows, d)

    def row(self, sequence, position, head):
        page = self.table[sequence, position // self.page_size]
        return (page * self.kv_heads + head) * self.page_size + position % self.page_size


def attention_reference(q, q_row, pages, rows, positions, heads):
    """Softmax attention in double precision; rows is a list of (row, sequence)."""
    out = {}
    share = heads // pages.kv_heads
    for row, sequence in rows:
        for head in range(heads):
            index = [pages.row(sequence, p, head // share) for p in range(positions[row] + 1)]
            k, v = from_bf16(pages.keys[index]).astype(np.float64), from_bf16(pages.values[index]).astype(np.float64)
            s = k @ from_bf16(q[q_row(row, head)]).astype(np.float64) / np.sqrt(pages.d)
            p = np.exp(s - s.max())
            out[row, head] = (p / p.sum()) @ v
    return out


def check_embedding(gpu, folder, rng):
    ids = np.array([3, 999, 0, 512, 7], np.int32)
    table = random_bf16(rng, 1000, 256)
    results, _ = gpu.launch(folder / "embedding", "embedding", [ids, table, np.zeros((5, 256), np.uint16)], [5, 1, 1, 1, 0, 0])
    yield "embedding", float((results[2] != table[ids]).sum()), 0.0
    results, _ = gpu.launch(folder / "llama_decode", "step_embed_tokens",
                            [ids, pack_atoms(table), np.zeros((5, 256), np.uint16)], [5, 1, 1, 1, 0, 0])
    yield "embedding from atoms", float((results[2] != table[ids]).sum()), 0.0


def norm_rows(x, g):
    x = from_bf16(x).astype(np.float64)
    return x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-5) * from_bf16(g).astype(np.float64)


def check_swiglu(gpu, folder, rng):
    for m in (1, 16, 21):
        x, g, w = random_bf16(rng, m, 256), random_bf16(rng, 256), random_bf16(rng, 1024, 256, scale=0.06)
        results, _ = gpu.launch(folder / "swiglu", "swiglu", [x, g, w, np.zeros((m, 512), np.uint16)], [m, 1, 1, 1, 0, 0])
        h = norm_rows(x, g) @ from_bf16(w).astype(np.float64).T
        gate, up = h[:, 0::2], h[:, 1::2]
        yield f"swiglu of {m} rows", relative_error(from_bf16(results[3]), gate / (1 + np.exp(-gate)) * up), 1e-2


def check_layer_norm(gpu, folder, rng):
    """Rows whose mean is far above their deviation; the last of several has equal elements."""
    mean = np.array([7, 30, -3, 0.1, 100, 0, 1, -20])[:, None]

    def rows_of(m, k):
        x = to_bf16(rng.standard_normal((m, k), np.float32) + mean[:m])
        if m > 1:
            x[-1] = to_bf16(np.float32(3.0))
        return x

    def product(x, w, scale=1.0, shift=0.0):
        x = from_bf16(x).astype(np.float64)
        left = x - x.mean(1, keepdims=True)
        return (left / np.sqrt((left * left).mean(1, keepdims=True) + 1e-5) * scale + shift) @ from_bf16(w).astype(np.float64).T

    for m in (1, 2, 8):
        programs, none, sizes = folder / ("layer_norm_1" if m == 1 else "layer_norm"), np.full((m, 48), np.nan, np.float32), [m, m, m, m, 0, 0]
        x, w, g, b = rows_of(m, 4160), random_bf16(rng, 48, 4160, scale=0.02), random_bf16(rng, 4160), random_bf16(rng, 4160)
        results, _ = gpu.launch(programs, "step_streamed", [pack_atoms(w), x, g, b, none], sizes)
        yield f"layer norm of {m} rows", relative_error(results[4], product(x, w, from_bf16(g), from_bf16(b))), 5e-3
        x, w, g, rows = rows_of(m, 200), random_bf16(rng, 48, 200, scale=0.06), random_bf16(rng, 200), rng.permutation(m).astype(np.int32)
        results, _ = gpu.launch(programs, "step_gathered", [pack_atoms(w), x, rows, none], sizes)
        yield f"layer norm of {m} gathered rows", relative_error(results[3], product(x, w)[rows]), 5e-3
        results, _ = gpu.launch(programs, "step_generic", [pack_atoms(w), x, g, none], sizes)
        yield f"layer norm of {m} rows, generic", relative_error(results[3], product(x, w, 1 + from_bf16(g))), 5e-3


def check_residual(gpu, folder, rng):
    for m in (1, 17):
        x, w, b, r = (random_bf16(rng, m, 512), random_bf16(rng, 256, 512, scale=0.04), random_bf16(rng, 256),
                      random_bf16(rng, m, 256))
        results, _ = gpu.launch(folder / "residual", "residual", [x, w, b, r], [m, 1, 1, 1, 0, 0])
        wanted = from_bf16(x).astype(np.float64) @ from_bf16(w).astype(np.float64).T + from_bf16(b) + from_bf16(r)
        yield f"residual of {m} rows", relative_error(from_bf16(results[3]), wanted), 5e-3


def check_warpgroups(gpu, folder, rng):
    for m in (1, 40, 70):
        x, w = random_bf16(rng, m, 320), random_bf16(rng, 1000, 320, scale=0.06)
        results, _ = gpu.launch(folder / "swap_ab", "swap_ab_swiglu", [x, pack_atoms(w), np.zeros((m, 500), np.uint16)],
                                [m, 1, 1, 1, 0, 0])
        h = from_bf16(x).astype(np.float64) @ from_bf16(w).astype(np.float64).T
        gate, up = h[:, 0::2], h[:, 1::2]
        yield f"swap-AB swiglu of {m} rows", relative_error(from_bf16(results[2]), gate / (1 + np.exp(-gate)) * up), 5e-3
    for family, m, n in (("matvec", 1, 256), ("matvec", 13, 256), ("stream_right", 13, 256), ("stream_left", 35, 256),
                         ("swap_ab_split", 5, 256), ("swap_ab_split", 41, 256),
                         ("swap_ab_96", 110, 256), ("swap_ab_three", 20, 256), ("swap_ab_seven", 61, 528), ("gemm", 150, 256),
                         ("gemm_272", 150, 272)):
        x, w, b, r = (random_bf16(rng, m, 512), random_bf16(rng, n, 512, scale=0.04), random_bf16(rng, n),
                      random_bf16(rng, m, n))
        results, _ = gpu.launch(folder / family, "residual", [x, pack_atoms(w), b, r], [m, 1, 1, 1, 0, 0])
        wanted = from_bf16(x).astype(np.float64) @ from_bf16(w).astype(np.float64).T + from_bf16(b) + from_bf16(r)
        yield f"residual of {m} rows, {family}", relative_error(from_bf16(results[3]), wanted), 5e-3


def check_few_rows(gpu, folder, rng):
    folder = folder / "llama_decode"
    for m in (1, 4):
        sizes = [m, m, m, m, 0, 0]
        for name, k in (("o_proj", 256), ("down_proj", 512)):
            x, w, r = random_bf16(rng, m, k), random_bf16(rng, 256, k, scale=0.06), random_bf16(rng, m, 256)
            results, _ = gpu.launch(folder, f"step_{name}", [pack_atoms(w), x, r], sizes)
            wanted = from_bf16(x).astype(np.float64) @ from_bf16(w).astype(np.float64).T + from_bf16(r)
            yield f"few rows, {name} of {m} rows", relative_error(from_bf16(results[2]), wanted), 5e-3
        x, g, w = random_bf16(rng, m, 256), random_bf16(rng, 256), random_bf16(rng, 1024, 256, scale=0.06)
        results, _ = gpu.launch(folder, "step_gate_up", [pack_atoms(w), x, g, np.zeros((m, 512), np.uint16)], sizes)
        h = norm_rows(x, g) @ from_bf16(w).astype(np.float64).T
        gate, up = h[:, 0::2], h[:, 1::2]
        yield f"few rows, swiglu of {m} rows", relative_error(from_bf16(results[3]), gate / (1 + np.exp(-gate)) * up), 1e-2
        x, rows, w = random_bf16(rng, 6, 256), rng.permutation(6)[:m].astype(np.int32), random_bf16(rng, 1000, 256, scale=0.06)
        results, _ = gpu.launch(folder, "step_lm_head", [pack_atoms(w), x, rows, g, np.full((m, 1000), np.nan, np.float32)],
                                [6, 6, 6, m, 0, 0])
        yield (f"few rows, logits of {m} rows", relative_error(results[4], norm_rows(x, g)[rows] @ from_bf16(w).astype(np.float64).T),
               5e-3)


def qkv_of(gpu, rng, heads, kv_heads, d, rows, lengths, launch):
    """Compares a launch of norm, QKV, rope and append with numpy. A row is (sequence, position), or None for padding.
    `launch` takes the arguments by name and returns queries, keys and values."""
    positions = np.array([-1 if row is None else row[1] for row in rows], np.int32)
    sequences = np.array([-1 if row is None else row[0] for row in rows], np.int32)
    m, columns = len(rows), (heads + 2 * kv_heads) * d
    pages = Pages(rng, lengths, kv_heads, d)
    x, g, w = random_bf16(rng, m, 256), random_bf16(rng, 256), random_bf16(rng, columns, 256, scale=0.06)
    angles = np.arange(128)[:, None] * 10000.0 ** (-np.arange(d // 2) / (d // 2))[None]
    rope = np.concatenate([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    queries, found_keys, found_values = launch(x=x, g=g, w=w, rope=rope, positions=positions, sequences=sequences, pages=pages,
                                               queries=np.zeros((m, heads * d), np.uint16))
    h = (norm_rows(x, g) @ from_bf16(w).astype(np.float64).T).reshape(m, heads + 2 * kv_heads, d)
    low, high = h[:, :, 0::2], h[:, :, 1::2]  # half pairs
    cos, sin = np.cos(angles[positions])[:, None], np.sin(angles[positions])[:, None]
    rotated = np.concatenate([low * cos - high * sin, high * cos + low * sin], 2)
    plain = np.concatenate([low, high], 2)
    real = positions >= 0
    yield "queries", relative_error(from_bf16(queries)[real], rotated[real, :heads].reshape(-1, heads * d)), 1e-2
    keys, values = pages.keys.copy(), pages.values.copy()
    touched = []
    for row in np.flatnonzero(real):
        for head in range(kv_heads):
            target = pages.row(sequences[row], positions[row], head)
            touched.append(target)
            keys[target] = to_bf16(rotated[row, heads + head])
            values[target] = to_bf16(plain[row, heads + kv_heads + head])
    rest = np.setdiff1d(np.arange(pages.rows), touched)
    yield "keys", relative_error(from_bf16(found_keys)[touched], from_bf16(keys)[touched]), 1e-2
    yield "values", relative_error(from_bf16(found_values)[touched], from_bf16(values)[touched]), 1e-2
    yield "rows of others", float((found_keys[rest] != keys[rest]).sum() + (found_values[rest] != values[rest]).sum()), 0.0


def check_qkv_rope(gpu, folder, rng):
    def generic(x, g, w, rope, positions, sequences, pages, queries):
        results, _ = gpu.launch(folder / "qkv_rope", "qkv_rope",
                                [x, g, w, rope, positions, sequences, pages.table, queries, pages.keys, pages.values],
                                [16, 2, 1, 1, 0, pages.rows])
        return results[7:10]
    # Steps are padded to whole tiles of 16 rows.
    rows = [(1, 5), (1, 6), (1, 7), (0, 40)] + [None] * 12
    for name, error, bound in qkv_of(gpu, rng, 4, 2, 32, rows, [41, 8], generic):
        yield f"qkv: {name}", error, bound

    def few_rows(x, g, w, rope, positions, sequences, pages, queries):
        m = len(positions)
        results, _ = gpu.launch(folder / "llama_decode", "step_qkv",
                                [pack_atoms(w), x, g, positions, rope, queries, sequences, pages.table, pages.keys, pages.values],
                                [m, m, m, m, 0, pages.rows])
        return results[5], results[8], results[9]
    for rows in ([(0, 40)], [(1, 7), (0, 40), None, (2, 0)]):
        for name, error, bound in qkv_of(gpu, rng, 8, 2, 32, rows, [41, 8, 1], few_rows):
            yield f"few rows, qkv of {len(rows)} rows: {name}", error, bound


def check_argmax(gpu, folder, rng):
    logits = rng.standard_normal((3, 1000), np.float32)
    logits[1, [17, 600]] = 9.0  # equal: the first one is selected
    results, _ = gpu.launch(folder / "argmax", "argmax", [logits, np.zeros(3, np.int32)], [3, 3, 3, 3, 0, 0])
    yield "argmax", float((results[1] != logits.argmax(1)).sum()), 0.0


def check_attention(gpu, folder, rng):
    # The hand-written program: query tiles of 4 rows, 4 heads over 2.
    heads, kv_heads, d = 4, 2, 32
    lengths = [70, 128, 3]
    pages = Pages(rng, lengths, kv_heads, d)
    positions = np.array([66, 67, 68, 69, 127, 1, 2], np.int32)
    tiles = [(0, 0, 4), (1, 4, 5), (2, 5, 7), (-1, 0, 0)]
    q = random_bf16(rng, 7 * heads, d)
    columns = [np.array(c, np.int32) for c in zip(*tiles)]
    results, _ = gpu.launch(folder / "attention", "attention",
                            [q, *columns, positions, pages.table, pages.keys, pages.values, np.zeros((7 * heads, d), np.uint16)],
                            [7, 3, 4, 3, 0, pages.rows])
    rows = [(row, s) for s, first, end in tiles for row in range(first, end)]
    wanted = attention_reference(q, lambda row, head: row * heads + head, pages, rows, positions, heads)
    got = from_bf16(results[8]).reshape(7, heads, d)
    yield "attention", relative_error(got, [[wanted[row, h] for h in range(heads)] for row in range(7)]), 1e-2


def check_sampling(gpu, folder, rng):
    folder = folder / "llama_decode"
    logits = rng.standard_normal((4, 1000), np.float32) * 3
    def sample(temperature, top_k, top_p, min_p, seed):
        full = lambda v, t: np.full(4, v, t)
        results, _ = gpu.launch(folder, "step_sample",
                                [logits, np.zeros(4, np.int32), full(temperature, np.float32), full(top_k, np.int32),
                                 full(top_p, np.float32), full(min_p, np.float32), full(seed, np.int32),
                                 np.arange(4, dtype=np.int32), np.arange(4, dtype=np.int32)], [4, 4, 4, 4, 0, 0])
        return results[1]
    yield "greedy", float((sample(0.0, 0, 1.0, 0.0, 1) != logits.argmax(1)).sum()), 0.0
    yield "top-k of 1", float((sample(1.0, 1, 1.0, 0.0, 2) != logits.argmax(1)).sum()), 0.0
    best5 = np.argsort(-logits, 1)[:, :5]
    draws = np.array([sample(1.0, 5, 1.0, 0.0, seed) for seed in range(40)])
    yield "top-k of 5", float(sum((draws[:, r:r + 1] != best5[r]).all(1).sum() for r in range(4))), 0.0
    yield "draws differ", float((draws == draws[0]).all()), 0.0
    yield "seeds repeat", float((sample(1.0, 5, 1.0, 0.0, 7) != draws[7]).sum()), 0.0
    # Penalties.
    rows = np.array([0, 0, 2, 3, 3], np.int32)
    tokens = np.array([5, 999, 0, 17, 18], np.int32)
    counts = np.array([0, 2, 1, 3, 0], np.int32)
    repetition, presence, frequency = (np.array(v, np.float32) for v in ([1.3, 1, 1.1, 2], [0, 0, .5, .25], [0, 0, .1, .2]))
    results, _ = gpu.launch(folder, "step_penalties", [rows, tokens, counts, repetition, presence, frequency, logits], [4, 4, 4, 4, 5, 0])
    wanted = logits.copy()
    for row, token, count in zip(rows, tokens, counts):
        x = wanted[row, token]
        x = x / repetition[row] if x > 0 else x * repetition[row]
        wanted[row, token] = x - (presence[row] + frequency[row] * count if count > 0 else 0)
    yield "penalties", relative_error(results[6], wanted), 1e-6


def main():
    folder = pathlib.Path(sys.argv[1])
    gpu, failures = Emulator(sys.argv[3]) if sys.argv[2:3] == ["--emulate"] else Gpu(), 0
    for check in (check_embedding, check_argmax, check_residual, check_layer_norm, check_swiglu, check_few_rows, check_warpgroups, check_qkv_rope, check_attention,
                  check_sampling):
        try:
            for name, error, bound in check(gpu, folder, np.random.default_rng(1)):
                good = error <= bound
                failures += not good
                print(f"{'ok  ' if good else 'FAIL'} {name}: {error:.3g} (at most {bound:g})", flush=True)
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            failures += 1
            print(f"FAIL {check.__name__}: {error}", flush=True)
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
