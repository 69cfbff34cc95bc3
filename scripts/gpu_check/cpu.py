"""The cpu target on this machine: the example model compared with transformers on the same cores, and a model of 110 M
parameters compared with the memory bandwidth."""

import importlib.util
import json
import os
import sys

from .common import EXAMPLE, ROOT, bench_json, bundle_of, run_steps, sh

MODEL = ROOT / "test" / "bench" / "cpu" / "llama-110m"
PEER_SECONDS = 300


def cpu(args, results: dict, save) -> None:
    threads = len(os.sched_getaffinity(0))
    steps = {}

    def example(dtype):
        bundle = bundle_of(args, f"cpu.stdlib_model.{dtype}", EXAMPLE, "--dtype", dtype, target="cpu")
        [row] = bench_json(args, bundle, "cpu", "-p", 0, "-n", 128, "-d", 16, "-r", 5)["rows"]
        print(f"  example model, {dtype}: {row['avg_ts']:.0f} tokens/s", flush=True)
        found = {"model": "example model", "dtype": dtype, "threads": threads, "tokens_per_s": row["avg_ts"]}
        if importlib.util.find_spec("transformers"):
            out = args.out / "peer.json"
            sh(sys.executable, ROOT / "scripts" / "peers" / "transformers_cpu.py", EXAMPLE, dtype, threads, 16, 64, out,
               timeout=PEER_SECONDS)
            found["transformers"] = json.loads(out.read_text())["tokens_per_s"]
            print(f"  transformers, {dtype}: {found['transformers']:.0f} tokens/s", flush=True)
        return found

    def shapes(dtype):
        bundle = bundle_of(args, f"cpu.{MODEL.name}.{dtype}", MODEL, "--dtype", dtype, "--dummy-weights", target="cpu")
        run = bench_json(args, bundle, "cpu", "-p", 0, "-n", 32, "-d", 16, "-r", 3, "--profile")
        profile = run["rows"][0]["profile"]
        print(f"  {MODEL.name}, {dtype}: {run['rows'][0]['avg_ts']:.1f} tokens/s, {profile['share_of_read']:.2f} of read", flush=True)
        return {"model": MODEL.name, "dtype": dtype, "threads": threads, "tokens_per_s": run["rows"][0]["avg_ts"],
                "share_of_read": profile["share_of_read"], "cpu_read": run["read_bytes_per_s"]}

    for dtype in ("float32", "bfloat16"):
        steps[f"example {dtype}"] = lambda dtype=dtype: example(dtype)
        steps[f"{MODEL.name} {dtype}"] = lambda dtype=dtype: shapes(dtype)
    run_steps(args, results, save, steps, target="cpu")
