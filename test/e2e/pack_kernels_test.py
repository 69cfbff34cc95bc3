"""Kernels of the bundle pack linked weights. Each of them, compiled for the CPU from its source, gives the same bytes
as packing on the host. Needs NVRTC, but no GPU."""

import ctypes
import json
import pathlib
import struct
import sys

import tools

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "codegen/gpu"))
import emulation  # noqa: E402

ROWS_OF_A_LAUNCH = 96  # whole heads and groups of 8 rows; a weight takes several launches


def tensors(model: pathlib.Path) -> dict:
    """Name -> (bytes of an element, contents) of the tensors of a checkpoint in one or several files."""
    found = {}
    for file in model.glob("*.safetensors"):
        data = file.read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        for name, tensor in json.loads(data[8 : 8 + length]).items():
            if name != "__metadata__":
                begin, end = tensor["data_offsets"]
                found[name] = ({"F32": 4, "BF16": 2, "F16": 2}[tensor["dtype"]], data[8 + length + begin : 8 + length + end])
    return found


def aligned(size: int):
    """Zeroed memory at a multiple of 256 bytes, and its address."""
    memory = ctypes.create_string_buffer(size + 256)
    return memory, ctypes.addressof(memory) + -ctypes.addressof(memory) % 256


def pack(library: ctypes.CDLL, facts: dict, weight: dict, sources: bytes, element: int, columns_of_grid: int) -> bytes:
    """Packs a weight a few rows at a time, as the loader does, with the kernel that `facts` describes."""
    rows, row = weight["rows"], weight["columns"] * element
    memory, address = aligned(weight["bytes"])
    per_group = weight["bytes"] // -(-rows // 8)
    for first in range(0, rows, ROWS_OF_A_LAUNCH):
        count = min(ROWS_OF_A_LAUNCH, rows - first)
        if weight["row_order"] == "Alternate":
            half = rows // 2
            part = (sources[first // 2 * row : (first + count) // 2 * row]
                    + sources[(half + first // 2) * row : (half + (first + count) // 2) * row])
        else:
            part = sources[first * row : (first + count) * row]
        from_memory, from_address = aligned(len(part))
        ctypes.memmove(from_address, part, len(part))
        emulation.run(library, weight["packed_by"], [from_address, address + first // 8 * per_group], [count, 0, 0, 0, 0, 0],
                      [-(-count // 8), columns_of_grid], facts["threads"], facts["cluster"], facts["shared_bytes"])
    return ctypes.string_at(address, weight["bytes"])


def test(t: tools.Tools, compiler: pathlib.Path, *models: pathlib.Path) -> None:
    checked = set()
    for model in models:
        bundles = {}
        for mode in ("pack", "link"):
            bundles[mode] = t.scratch / f"{model.name}-{mode}"
            result = t.run("compile-model", model, "-o", bundles[mode], "--target", "sm_90a", "--dtype", "bfloat16",
                           "--weights", mode, "--max-num-seqs", 1, "--max-num-batched-tokens", 16, "-q")
            if not tools.compiled_for_gpu(result, "kernels that pack weights"):
                return
        weights = json.loads(t.checked("inspect-bundle", bundles["link"], "--json"))["targets"][0]["weights"]
        packed = [weight for weight in weights if weight["packed_by"]]
        if len(packed) < 5:
            tools.fail(f"{model.name}: expected the matrices to be packed by kernels, found {len(packed)}")
        facts = emulation.facts_of(bundles["link"])
        library = ctypes.CDLL(str(emulation.compile_bundle(str(compiler), bundles["link"], t.scratch / model.name,
                                                           sorted({weight["packed_by"] for weight in packed}))))
        expected = (bundles["pack"] / "weights/sm_90a.bin").read_bytes()
        contents = tensors(model)
        for weight in packed:
            padded = -(-weight["columns"] // 64) * 64
            step = next(step for step in (512, 256, 128, 64) if padded % step == 0)
            source = b"".join(contents[name][1] for name in weight["sources"])
            element = contents[weight["sources"][0]][0]
            found = pack(library, facts[weight["packed_by"]], weight, source, element, padded // step)
            if found != expected[weight["offset"] : weight["offset"] + weight["bytes"]]:
                tools.fail(f"{model.name}: {weight['packed_by']} packs {weight['name']} differently from the host")
            checked.add(weight["row_order"])
    if checked != {"Plain", "HalfPairs", "Alternate"}:
        tools.fail(f"expected weights of each row order, found {checked}")


tools.main(test)
