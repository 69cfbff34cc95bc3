"""Functions shared by the parts of gpu-check: running the tools, compiling bundles, and steps whose results are
saved."""

import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "e2e"))
import tools  # noqa: E402, F401

FIXTURES = ROOT / "test" / "fixtures" / "models"
QUANTIZED = ROOT / "test" / "fixtures" / "quantized"
SHAPES = ROOT / "test" / "bench" / "models"
ATTENTION = ROOT / "test" / "bench" / "attention"
EXAMPLE = ROOT / "examples" / "stdlib_model" / "model"
RUN_SECONDS = 120  # limit for a run in seconds, in case a kernel hangs


class OutOfTime(Exception):
    pass


def sh(*command, **options) -> str:
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if result.returncode != 0:
        raise SystemExit(f"gpu-check: {' '.join(map(str, command))}: exit code {result.returncode}\n{result.stderr}")
    return result.stdout


def write_json(path: pathlib.Path, value) -> None:
    """Writes the file atomically."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2))
    temporary.replace(path)


def bundle_of(args, name: str, source: pathlib.Path, *flags, target: str | None = None) -> pathlib.Path:
    """Returns the bundle `name`. Compiles it from `source` if it is missing."""
    bundle = args.bundles / name
    if not (bundle / "manifest.json").exists():
        compiler = args.bin / "compile-model"
        if not compiler.exists():
            raise SystemExit(f"gpu-check: {bundle}: no such bundle and no {compiler}; compile it elsewhere with --prepare")
        args.bundles.mkdir(parents=True, exist_ok=True)
        print(f"compiling {name}", flush=True)
        begin = time.perf_counter()
        sh(compiler, source, "-o", bundle, "--target", target or args.target, "-q", *flags)
        write_json(args.bundles / f"{name}.compile.json", {"compile_s": time.perf_counter() - begin})
    return bundle


def bench_json(args, bundle: pathlib.Path, target: str, *flags) -> dict:
    return json.loads(sh(args.bin / "bench-model", bundle, "--target", target, "--json", *flags))


def read_bandwidth(args, target: str) -> float:
    """The bandwidth of a read-only stream in bytes per second, measured again for each part."""
    return json.loads(sh(args.bin / "bench-model", "bandwidth", "--target", target, "--json"))["read_bytes_per_s"]


def checked(check, *arguments) -> dict:
    """The result of a check. A tool that fails or hangs becomes the verdict, so that the next checks still run."""
    try:
        return check(*arguments)
    except (SystemExit, subprocess.TimeoutExpired) as error:
        return {"verdict": str(error)}


def run_steps(args, results: dict, save, steps: dict, target: str | None = None) -> None:
    """Runs the steps (name -> function that returns a dictionary) that are missing in `results["steps"]`. Saves each
    result with the read bandwidth, which is measured before the first step of this run. Raises OutOfTime after the
    deadline."""
    done = results.setdefault("steps", {})
    read = None
    for name, step in steps.items():
        if name in done and "error" not in done[name]:
            continue
        if time.monotonic() > args.deadline:
            raise OutOfTime(f"{len(done)} of {len(steps)} steps are done")
        if read is None:
            read = read_bandwidth(args, target or args.target)
            print(f"  read {read / 1e12:.3f} TB/s", flush=True)
        try:
            done[name] = step() | {"read": read}
        except (SystemExit, subprocess.TimeoutExpired) as error:
            done[name] = {"error": str(error)[-2000:]}
            print(f"  {name}: {error}", flush=True)
        save()
    results["passed"] = all("error" not in done[name] for name in steps)
