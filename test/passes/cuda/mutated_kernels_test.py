"""Removes a synchronization op from each kernel of a real model, and checks that cuda-verify-async rejects the result.

    mutated_kernels_test.py BIN MODEL FOLDER

BIN is the directory of compile-model, inlay-translate and inlay-opt. Their output goes to FOLDER. Each mutant is a
kernel without one op, or without all ops of one kind.
"""

import collections
import re
import subprocess
import sys
from pathlib import Path

# Ops or calls to delete, one at a time. Every such mutant must be rejected.
ALWAYS = {
    "cp_async_commit": r'cuda\.call "cp_async_commit"',
    "cp_async_wait": r'cuda\.call "cp_async_wait<',
    "cluster_wait": r'cuda\.call "cluster_wait"',
    "fence_mbarrier_init": r'cuda\.call "fence_mbarrier_init"',
    "mbarrier_arrive_expect": r'cuda\.call "mbarrier_arrive_expect"',
    "mbarrier_init": r'cuda\.call "mbarrier_init"',
    "mbarrier_wait": r'cuda\.call "mbarrier_wait"',
    "wgmma_commit": r'cuda\.call "wgmma_commit"',
    "wgmma_wait": r'cuda\.call "wgmma_wait<',
}
# Some of these ops are redundant if another one follows, so all ops of a kind are deleted from a kernel together.
TOGETHER = {
    "wgmma_fence": r'cuda\.call "wgmma_fence"',
    "depend": r"cuda\.depend",
    "cluster_barrier": r'cuda\.call "cluster_barrier"',
    "cluster_leave": r'cuda\.call "cluster_leave"',
}
# The same in kernels whose warpgroups multiply what other warps fetch to slots that are filled again: releases of slots,
# and what orders the memory that products read before its next use.
OF_WARPGROUPS = {
    "mbarrier_arrive": r'cuda\.call "mbarrier_arrive" ',
    "named_barrier": r"cuda\.barrier \d",
}
# The same in kernels whose warps fetch for themselves.
OF_WARPS = {"sync_warp": r"cuda\.sync_warp"}
OLDER = " {cuda.provenance = #cuda.provenance<older_kv>}"


def kernels_of(text):
    """The kernels of a printed module, each as a list of lines. The first line has the name."""
    kernels, current = [], None
    for line in text.splitlines():
        if line.startswith("  cuda.kernel @"):
            current = []
            kernels.append(current)
        if current is not None:
            current.append(line)
        if line == "  }":
            current = None
    return kernels


def mutants_of(kernel):
    """(kind, lines) of each mutant."""
    for kind, pattern in ALWAYS.items():
        for i, line in enumerate(kernel):
            if re.match(r"\s*" + pattern, line):
                yield kind, kernel[:i] + kernel[i + 1 :]
    multiplies = any("wgmma_commit" in line for line in kernel)
    fills_again = sum('"mbarrier_wait"' in line for line in kernel) > 1  # one wait for full slots, one for empty ones
    fetches_in_warps = any('"bulk_copy"' in line for line in kernel)
    together = TOGETHER | (OF_WARPGROUPS if multiplies and fills_again else {}) | (OF_WARPS if fetches_in_warps else {})
    for kind, pattern in together.items():
        rest = [line for line in kernel if not re.match(r"\s*" + pattern, line)]
        if len(rest) < len(kernel):
            yield kind, rest
    for i, line in enumerate(kernel):
        if OLDER in line and "tma_load" in line:
            yield "older_kv", kernel[:i] + [line.replace(OLDER, "")] + kernel[i + 1 :]


def main():
    tools, model, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)

    def run(tool, *arguments):
        return subprocess.run([tools / tool, *map(str, arguments)], capture_output=True, text=True)

    def lowered(*options):
        programs = run("compile-model", model, "--target", "sm_90a", "--dummy-weights", "--max-num-seqs", 64, "--emit=tile", "-q", *options)
        assert programs.returncode == 0, programs.stderr
        (folder / "tile.mlir").write_text(programs.stdout)
        result = run("inlay-translate", "--tile-to-cuda", f"--saved-ir={folder / 'cuda.mlir'}", folder / "tile.mlir", "-o", "/dev/null")
        assert result.returncode == 0, result.stderr[-2000:]
        return (folder / "cuda.mlir").read_text()

    counts = check(run, folder, lowered(), "")
    counts += check(run, folder, lowered("--quantization", "int4"), "wgmma_m64k16_registers")
    # The generic lowering decides whether kernels use cp.async, so there may be none.
    known = ALWAYS.keys() | TOGETHER.keys() | OF_WARPGROUPS.keys() | OF_WARPS.keys() | {"older_kv"}
    missing = known - counts.keys() - {"cp_async_commit", "cp_async_wait"}
    assert not missing, f"no kernel of {model} has {', '.join(sorted(missing))}"


def check(run, folder, text, needed):
    """Counts the mutants of each kind of the kernels of `text` that call `needed`; fails if one is accepted."""
    kinds, lines = {}, [line for line in text.splitlines() if line.startswith(("#", "!"))] + ["module {"]
    for kernel in kernels_of(text):
        if needed not in "\n".join(kernel):
            continue
        name = re.match(r"  cuda\.kernel @(\w+)", kernel[0]).group(1)
        lines += kernel  # the unchanged kernel must not be rejected
        for number, (kind, mutant) in enumerate(mutants_of(kernel)):
            mutant_name = f"{name}_without_{kind}_{number}"
            kinds[mutant_name] = kind
            lines += [mutant[0].replace(f"@{name}(", f"@{mutant_name}(", 1), *mutant[1:]]
    (folder / "mutants.mlir").write_text("\n".join(lines + ["}", ""]))

    verified = run("inlay-opt", "--pass-pipeline=builtin.module(cuda.kernel(cuda-verify-async))", folder / "mutants.mlir", "-o", "/dev/null")
    refused = set(re.findall(r"error: (\w+)", verified.stderr))
    wrong = sorted(refused - kinds.keys())
    accepted = sorted(kinds.keys() - refused)
    counts = collections.Counter(kinds.values())
    for kind in sorted(counts):
        left = sum(kinds[name] == kind for name in accepted)
        print(f"{kind}: {counts[kind] - left} of {counts[kind]} rejected")
    assert kinds, f"no kernel calls {needed}"
    assert not wrong, f"unchanged kernels were rejected: {wrong}\n{verified.stderr[:2000]}"
    assert not accepted, f"mutants were accepted: {accepted}"
    return counts


if __name__ == "__main__":
    main()
