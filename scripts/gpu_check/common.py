"""What the parts of gpu-check share: running the tools, bundles, steps that are kept when they are done."""

import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "e2e"))
import tools  # noqa: E402, F401

FIXTURES = ROOT / "test" / "fixtures" / "models"
SHAPES = ROOT / "test" / "bench" / "models"
ATTENTION = ROOT / "test" / "bench" / "attention"
EXAMPLE = ROOT / "examples" / "stdlib_model" / "model"
RUN_SECONDS = 120  # A kernel that hangs must not use up the machine's time.


class OutOfTime(Exception):
    pass


def sh(*command, **options) -> str:
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if result.returncode != 0:
        raise SystemExit(f"gpu-check: {' '.join(map(str, command))}: exit code {result.returncode}\n{result.stderr}")
    return result.stdout


def write_json(path: pathlib.Path, value) -> None:
    """The whole file or none of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2))
    temporary.replace(path)


def bundle_of(args, name: str, source: pathlib.Path, *flags, target: str | None = None) -> pathlib.Path:
    """The bundle of that name, compiled from `source` if it is missing."""
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
    """Bytes a second of a read-only stream, measured anew for each part."""
    return json.loads(sh(args.bin / "bench-model", "bandwidth", "--target", target, "--json"))["read_bytes_per_s"]


def checked(check, *arguments) -> dict:
    """A check's result; a tool that fails or hangs is a verdict too, and the next check runs."""
    try:
        return check(*arguments)
    except (SystemExit, subprocess.TimeoutExpired) as error:
        return {"verdict": str(error)}


def run_steps(args, results: dict, save, steps: dict, target: str | None = None) -> None:
    """Runs the steps (name -> function to a dictionary) that `results["steps"]` lacks and keeps each as it is done, with the
    read bandwidth measured before the first of this run. Raises OutOfTime where no new step may begin any more."""
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
