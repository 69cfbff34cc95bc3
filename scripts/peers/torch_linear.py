#!/usr/bin/env python3
"""Measures the matrix products of a layer and of the head with cuBLASLt (torch's linear), alone and with the ops that
fused kernels include: norm and product; product, rotation and append; product and residual; norm, product and SwiGLU.

usage: torch_linear.py CONFIG.json ROWS,ROWS OUT.json   (bfloat16, random data)

Times are microseconds per call, in a CUDA graph of many calls with copies of the weights that together exceed the
caches.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F

torch.set_grad_enabled(False)
torch.manual_seed(0)
CACHE_BYTES = 400 << 20


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16) * 0.02


def microseconds(call, copies: int) -> float:
    """The time of call(i), which uses copy i of the weights: the best of several replays of a graph of at least 24
    calls."""
    calls = max(24, copies)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for i in range(3):
            call(i % copies)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(calls):
            call(i % copies)
    times = []
    for _ in range(7):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(4):
            graph.replay()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) / 4)
    return min(times) / calls * 1e6


def works(config: dict, rows: int) -> dict:
    """Name -> (rows of the weight, columns, function for the ops before, function for the ops after)."""
    hidden, inner, dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    norm, residual = random(hidden), random(rows, hidden)
    cos, sin = random(rows, 1, dim // 2), random(rows, 1, dim // 2)
    cache = random(2, rows, kv_heads, dim)

    def normed(x):
        return F.rms_norm(x, (hidden,), norm, 1e-5)

    def rotated(x):
        low, high = x.chunk(2, dim=-1)
        return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)

    def append(y):
        q, k, v = y.view(rows, -1, dim).split((heads, kv_heads, kv_heads), dim=1)
        cache[0].copy_(rotated(k))
        cache[1].copy_(v)
        return rotated(q)

    def gated(y):
        gate, up = y.chunk(2, dim=-1)
        return F.silu(gate) * up

    def keep(x):
        return x

    return {"qkv_proj": ((heads + 2 * kv_heads) * dim, hidden, normed, append),
            "o_proj": (hidden, heads * dim, keep, lambda y: residual.add_(y)),
            "gate_up_proj": (2 * inner, hidden, normed, gated),
            "down_proj": (hidden, inner, keep, lambda y: residual.add_(y)),
            "lm_head": (config["vocab_size"], hidden, normed, lambda y: y.float())}


def main() -> None:
    config, out = json.load(open(sys.argv[1])), sys.argv[3]
    result = {"torch": torch.__version__, "rows": {}}
    for rows in map(int, sys.argv[2].split(",")):
        found = {}
        for name, (n, k, before, after) in works(config, rows).items():
            if rows > 256 and name == "lm_head":
                continue  # only the last row of a prompt needs logits
            copies = max(2, -(-CACHE_BYTES // (2 * n * k)))
            weights, x = [random(n, k) for _ in range(copies)], random(rows, k)
            found[name] = {"linear_us": microseconds(lambda i: F.linear(x, weights[i]), copies),
                           "unfused_us": microseconds(lambda i: after(F.linear(before(x), weights[i])), copies)}
            del weights
            torch.cuda.empty_cache()
        result["rows"][rows] = found
    json.dump(result, open(out, "w"))


if __name__ == "__main__":
    main()
