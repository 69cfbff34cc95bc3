"""Streaming linear layers with a short K read no byte past their weights.

K of 448 columns is 7 chunks for the 8 warps of a block, so one warp has no chunk and must not copy one. The kernel is
compiled for the CPU from its source (test/codegen/gpu/emulation_async.h). The last byte of the weight is before a page
that cannot be read, so a read past it ends the process. Needs NVRTC, but no GPU."""

import ctypes
import json
import mmap
import multiprocessing
import pathlib
import struct
import sys

import tools

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "codegen/gpu"))
import emulation  # noqa: E402

KERNEL, WEIGHT, SOURCE = "decode_1_down_proj", "model.layers.0.mlp.down_proj.weight", "model.layers.0.mlp.down_proj.weight"


def bfloat16(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def before_a_hole(contents: bytes) -> int:
    """The address of a copy of `contents` that ends directly before an inaccessible page."""
    page = mmap.PAGESIZE
    size = -(-len(contents) // page) * page
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    memory = libc.mmap(None, size + page, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if memory in (None, ctypes.c_void_p(-1).value) or libc.mprotect(memory + size, page, 0) != 0:
        raise OSError(ctypes.get_errno(), "no memory with a hole")
    address = memory + size - len(contents)
    ctypes.memmove(address, contents, len(contents))
    return address


def run(library: pathlib.Path, facts: dict, weight: bytes, activation: bytes, rows: int, blocks: int, results) -> None:
    # Copies need addresses that are multiples of 16, which all operands here have.
    state = before_a_hole(bytes(2 * rows))
    emulation.run(ctypes.CDLL(str(library)), KERNEL, [before_a_hole(weight), before_a_hole(activation), state],
                  [1, 1, 1, 1, 0, 0], [blocks], facts["threads"], facts["cluster"], facts["shared_bytes"])
    results.put(ctypes.string_at(state, 2 * rows))


def test(t: tools.Tools, compiler: pathlib.Path, model: pathlib.Path) -> None:
    bundle = t.scratch / "short.inlay"
    compiled = t.run("compile-model", model, "-o", bundle, "--target", "sm_90a", "--dtype", "bfloat16", "--max-num-seqs", 1,
                     "--max-num-batched-tokens", 1, "-q")
    if not tools.compiled_for_gpu(compiled, "a short K"):
        return
    target = json.loads(t.checked("inspect-bundle", bundle, "--json"))["targets"][0]
    weight = next(weight for weight in target["weights"] if weight["name"] == WEIGHT)
    launch = next(launch for entry in target["entries"] for launch in entry["launches"] if launch["kernel"] == KERNEL)
    rows, columns = weight["rows"], weight["columns"]
    if -(-columns // 64) >= 8 or columns % 64 != 0:
        tools.fail(f"{WEIGHT} has {columns} columns, expected whole chunks for fewer than 8 warps")
    packed = (bundle / "weights/sm_90a.bin").read_bytes()[weight["offset"] :][: weight["bytes"]]
    activation = [(i % 7 - 3) / 4 for i in range(columns)]  # exact in bfloat16
    bits = b"".join(struct.pack("<f", value)[2:] for value in activation)
    queue = multiprocessing.Queue()
    library = emulation.compile_bundle(str(compiler), bundle, t.scratch / "kernel", [KERNEL])
    blocks = launch["grid"][0]["multiplier"]  # depends on the rows of the weight, not on the size of the step
    process = multiprocessing.Process(target=run, args=(library, emulation.facts_of(bundle)[KERNEL], packed, bits, rows, blocks, queue))
    process.start()
    process.join(60)
    if process.exitcode != 0:
        tools.fail(f"{KERNEL} reads past the end of an operand: its process ended with exit code {process.exitcode}")
    found = [bfloat16(bits) for bits in struct.unpack(f"<{rows}H", queue.get(timeout=5))]

    data = (model / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    begin, end = json.loads(data[8 : 8 + length])[SOURCE]["data_offsets"]
    matrix = struct.unpack(f"<{rows * columns}H", data[8 + length + begin : 8 + length + end])
    wanted = [sum(bfloat16(matrix[row * columns + k]) * activation[k] for k in range(columns)) for row in range(rows)]
    error = tools.norm([a - b for a, b in zip(found, wanted)]) / tools.norm(wanted)
    if error > 5e-3:
        tools.fail(f"{KERNEL}: expected a relative error of at most 5e-3, found {error:.2e}")
    print(f"{KERNEL}: {columns} columns, relative error {error:.1e}")


tools.main(test)
