"""Errors of the machine: a wrong GPU, too little memory, a full disk. Each gives exit code 1 and one line that says
what is needed and what is available, and leaves no files behind. fake_driver.cpp replaces the CUDA driver, and
full_disk.cpp makes writes fail as on a full disk."""

import json
import os
import pathlib
import re
import subprocess

import tools

complaints = []
# Few kernels: NVRTC takes most of the time of this test.
SMALL = ("--max-num-seqs", 1, "--max-num-batched-tokens", 16)


def run(t: tools.Tools, environment: dict, tool: str, *arguments):
    return subprocess.run([t.binaries / tool, *map(str, arguments)], capture_output=True, text=True, errors="replace",
                          env=os.environ | environment, stdin=subprocess.DEVNULL, timeout=240)


def expect_error(name: str, result, *words: str) -> None:
    if result.returncode != 1 or result.stderr.count("\n") != 1:
        complaints.append(f"{name}: expected exit code 1 and one line, found {result.returncode} and {result.stderr!r}")
    complaints.extend(f"{name}: expected {word!r} in {result.stderr!r}" for word in words if word not in result.stderr)


def full_disk(t: tools.Tools, shim: pathlib.Path, model: pathlib.Path, whole: pathlib.Path) -> None:
    """Compiles with less disk space than the bundle `whole` needs. Whichever file does not fit, no files are left
    behind."""
    out, temporary = t.scratch / "full", t.scratch / "temporary"
    out.mkdir()
    temporary.mkdir()
    size = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file())
    for room in (0, size // 2, size - 1000):
        result = run(t, {"LD_PRELOAD": str(shim), "FULL_DISK_AFTER": str(room), "TMPDIR": str(temporary)}, "compile-model",
                     model, "-o", out / "bundle", "--target", "cpu", "-q", *SMALL)
        expect_error(f"full disk after {room} bytes", result, "free some space or")
        for directory in (out, temporary):
            if left := list(directory.iterdir()):
                complaints.append(f"full disk after {room} bytes: left behind: {left}")


def small_memory(t: tools.Tools, bundle: pathlib.Path) -> None:
    """On the cpu: --kv-cache-memory-bytes is too small for the KV pages."""
    expect_error("no room for a page", t.run("run-model", bundle, "--prompt-ids", "3", "--kv-cache-memory-bytes", 1),
                 "KV pages need at least", "1 are left", "--max-num-batched-tokens")


def gpu(t: tools.Tools, driver: pathlib.Path, model: pathlib.Path) -> None:
    compiled = t.run("compile-model", model, "-o", t.scratch / "gpu.inlay", "--target", "sm_90a", "--dtype", "bfloat16", "-q", *SMALL)
    if not tools.compiled_for_gpu(compiled, "errors of a GPU's machine"):
        return
    bundle = t.scratch / "gpu.inlay"

    def load(*flags, **environment):
        return run(t, {"LD_LIBRARY_PATH": f"{driver.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}", **environment},
                   "run-model", bundle, "--prompt-ids", "3,4", "--max-tokens", 2, "-q", *flags)

    # The fake kernels write nothing. The test is that everything is loaded, launched and read back.
    result = load()
    if result.returncode != 0:
        complaints.append(f"a GPU that computes nothing: expected exit code 0, found {result.returncode}, {result.stderr!r}")
    # The cost of --deterministic is measured and reported, though here it is only that of launches.
    result = load("--deterministic", "--preemption-mode", "swap", "--swap-space", 0.01)
    if result.returncode != 0 or not re.search(r"--deterministic: a step of one token takes \d", result.stderr):
        complaints.append(f"deterministic, with pages in pinned memory: {result.returncode}, {result.stderr!r}")

    expect_error("wrong chip", load(FAKE_CHIPS="80"), "the code is for sm_90a", "Fake GPU (sm_80)", "--target")

    weights = sum(weight["bytes"] for target in json.loads(t.checked("inspect-bundle", bundle, "--json"))["targets"]
                  for weight in target["weights"])
    for memory in (weights // 2, weights + 10_000):
        expect_error(f"a GPU of {memory} bytes", load(FAKE_MEMORY=str(memory)), "weights (", "activations (", "MiB that are free",
                     "--gpu-memory-utilization", "--max-num-batched-tokens")

    # The hash detects damaged kernels. A kernel that the driver refuses is named.
    kernel = sorted(bundle.rglob("*.cubin"))[0]
    good, manifest_file = kernel.read_bytes(), bundle / "manifest.json"
    kernel.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    expect_error("flipped byte in a kernel", load(), kernel.name, "hash")
    ptx = kernel.with_suffix(".ptx")
    text = ptx.read_text()
    ptx.write_text(text.replace(".version", ".verse", 1))
    kernel.write_bytes(good)
    expect_error("corrupt PTX", load(), ptx.name, "hash")
    ptx.write_text(text)

    # A kernel of another compilation, with the correct hash: it has the same name but takes other parameters.
    other = t.scratch / "other.inlay"
    t.checked("compile-model", model, "-o", other, "--target", "sm_90a", "--dtype", "bfloat16", "--without", "norm-prologues", "-q",
              *SMALL)
    shared = "kernels/sm_90a/decode_1_lm_head.cubin"
    good = (bundle / shared).read_bytes()
    (bundle / shared).write_bytes((other / shared).read_bytes())
    manifest = json.loads(manifest_file.read_text())
    own = manifest["files"][shared]
    manifest["files"][shared] = json.loads((other / "manifest.json").read_text())["files"][shared]
    manifest_file.write_text(json.dumps(manifest))
    expect_error("a kernel of another compilation", load(), "decode_1_lm_head.cubin: found parameters of 8,",
                 "expected 8,", "as in plan.fb", "compile the model again")
    (bundle / shared).write_bytes(good)
    manifest["files"][shared] = own
    manifest_file.write_text(json.dumps(manifest))

    # A file that is not a kernel, with the correct hash, as a compiler bug could write it: the driver refuses it.
    manifest = json.loads(manifest_file.read_text())
    others = [name for name in manifest["files"] if name.endswith(".cu")]
    source = (bundle / others[0]).read_bytes()
    kernel.write_bytes(source)
    name = str(kernel.relative_to(bundle))
    manifest["files"][name] = manifest["files"][others[0]]
    manifest_file.write_text(json.dumps(manifest))
    expect_error("a file that is not a kernel", load(), kernel.name, "device kernel image is invalid",
                 "compile the model again")


def library(t: tools.Tools, driver: pathlib.Path, cublaslt: pathlib.Path, model: pathlib.Path) -> None:
    """A bundle with products that cuBLASLt computes: the error without the library, and a run with it
    (fake_cublaslt.cpp)."""
    bundle = t.scratch / "library.inlay"
    compiled = t.run("compile-model", model, "-o", bundle, "--target", "sm_90a", "--dtype", "bfloat16", "--library", "always", *SMALL)
    if not tools.compiled_for_gpu(compiled, "products that cuBLASLt computes"):
        return
    if "left to cublaslt" not in compiled.stderr:
        tools.fail(compiled.stderr)
    target = json.loads(t.checked("inspect-bundle", bundle, "--json"))["targets"][0]
    products = {kernel["name"] for kernel in target["kernels"] if kernel.get("library") == "cublaslt"}
    packings = {weight["name"]: weight["packing"] for weight in target["weights"]}
    launched = [launch["kernel"] for entry in target["entries"] for launch in entry["launches"]]
    # The bundle has no packed copy of a weight that no kernel reads in packed form.
    if not any(name in products for name in launched) or packings["model.layers.0.mlp.down_proj.weight.row_major"] != "RowMajor" \
            or "model.layers.0.mlp.down_proj.weight" in packings:
        complaints.append(f"library: products {products}, packings {packings}")
    if any((bundle / "kernels" / "sm_90a" / f"{name}.cubin").exists() for name in products):
        complaints.append(f"library: the bundle has kernels for {products}")

    def load(where: pathlib.Path | str, **environment):
        return run(t, {"LD_LIBRARY_PATH": f"{driver.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}", **environment},
                   "run-model", bundle, "--prompt-ids", "3,4", "--max-tokens", 2, "-q", "--cublaslt", where)

    result = load(cublaslt)
    if result.returncode != 0:
        complaints.append(f"library: expected exit code 0, found {result.returncode}, {result.stderr!r}")
    expect_error("no library", load(t.scratch / "none.so"), "none.so", "--cublaslt", "--library never")
    expect_error("no algorithm", load(cublaslt, FAKE_CUBLASLT="none"), "no algorithm for the product", "--library never")


def test(t: tools.Tools, driver: pathlib.Path, shim: pathlib.Path, cublaslt: pathlib.Path, model: pathlib.Path) -> None:
    whole = t.compile(model, "--target", "cpu", *SMALL)
    full_disk(t, shim, model, whole)
    small_memory(t, whole)
    gpu(t, driver, model)
    library(t, driver, cublaslt, model)
    if complaints:
        tools.fail("\n".join(complaints))


tools.main(test)
