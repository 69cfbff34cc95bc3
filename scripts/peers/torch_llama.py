#!/usr/bin/env python3
"""Measures PyTorch on the same shapes: transformers in eager mode, and a small model with a static cache and
torch.compile.

usage: torch_llama.py CONFIG.json WORK SEQUENCES CONTEXT OUT.json   (bfloat16, random weights)
WORK is `compiled` or `eager` (milliseconds per decode step at that context), or `compiled-prefill` or `eager-prefill`
(milliseconds for a prompt of CONTEXT tokens).

The compiled model follows gpt-fast: a static cache, masked scaled_dot_product_attention, CUDA graphs (mode
"reduce-overhead") and coordinate descent tuning.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F

torch.set_grad_enabled(False)
torch.manual_seed(0)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


class StaticLlama(torch.nn.Module):
    """Maps tokens [b, n] at positions [n] to the next tokens [b, 1]."""

    def __init__(self, config: dict, batch: int, capacity: int):
        super().__init__()
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        self.heads, self.kv_heads, self.dim = (config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"])
        self.layers, self.capacity = config["num_hidden_layers"], capacity

        def matrix(rows: int, columns: int) -> torch.nn.Parameter:
            return torch.nn.Parameter(torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16) * 0.02)

        self.embedding = matrix(config["vocab_size"], hidden)
        self.head = self.embedding if config["tie_word_embeddings"] else matrix(config["vocab_size"], hidden)
        layers = range(self.layers)
        self.qkv = torch.nn.ParameterList(matrix((self.heads + 2 * self.kv_heads) * self.dim, hidden) for _ in layers)
        self.out = torch.nn.ParameterList(matrix(hidden, self.heads * self.dim) for _ in layers)
        self.gate_up = torch.nn.ParameterList(matrix(2 * inner, hidden) for _ in layers)
        self.down = torch.nn.ParameterList(matrix(hidden, inner) for _ in layers)
        self.norm = torch.nn.Parameter(torch.ones(hidden, device="cuda", dtype=torch.bfloat16))
        frequencies = 500000.0 ** (-torch.arange(0, self.dim, 2, device="cuda").float() / self.dim)
        angles = torch.arange(capacity, device="cuda").float()[:, None] * frequencies
        self.cos, self.sin = angles.cos().bfloat16(), angles.sin().bfloat16()
        self.cache = [torch.randn(2, batch, self.kv_heads, capacity, self.dim, device="cuda", dtype=torch.bfloat16)
                      for _ in layers]
        self.mask = torch.tril(torch.ones(capacity, capacity, device="cuda", dtype=torch.bool))

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        b, n = tokens.shape
        x = F.embedding(tokens, self.embedding)
        cos, sin, mask = self.cos[positions], self.sin[positions], self.mask[None, None, positions]
        for i in range(self.layers):
            h = F.rms_norm(x, (x.shape[-1],), self.norm, 1e-5)
            qkv = (h @ self.qkv[i].T).view(b, n, -1, self.dim).transpose(1, 2)
            q, k, v = qkv.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
            self.cache[i][0].index_copy_(2, positions, rotate(k, cos, sin))
            self.cache[i][1].index_copy_(2, positions, v)
            if n == 1:
                a = F.scaled_dot_product_attention(rotate(q, cos, sin), self.cache[i][0], self.cache[i][1], attn_mask=mask,
                                                   enable_gqa=True)
            else:  # a prompt from its beginning
                a = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True, enable_gqa=True)
            x = x + a.transpose(1, 2).reshape(b, n, -1) @ self.out[i].T
            gate, up = (F.rms_norm(x, (x.shape[-1],), self.norm, 1e-5) @ self.gate_up[i].T).chunk(2, dim=-1)
            x = x + (F.silu(gate) * up) @ self.down[i].T
        return (F.rms_norm(x[:, -1:], (x.shape[-1],), self.norm, 1e-5) @ self.head.T).argmax(dim=-1)


def milliseconds(run, repeat: int) -> float:
    """The median time of repeated calls, with device synchronization."""
    times = []
    for _ in range(repeat):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) * 1e3)
    return sorted(times)[len(times) // 2]


def compiled(config: dict, batch: int, context: int) -> dict:
    torch._inductor.config.coordinate_descent_tuning = True
    model = StaticLlama(config, batch, context + 64)
    step = torch.compile(model, mode="reduce-overhead", fullgraph=True, dynamic=False)
    position, token = torch.tensor([context], device="cuda"), torch.zeros(batch, 1, dtype=torch.long, device="cuda")
    begin = time.perf_counter()
    for _ in range(4):
        step(token, position)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - begin

    def decode() -> None:
        nonlocal token
        for _ in range(32):
            torch.compiler.cudagraph_mark_step_begin()
            token = step(token, position).clone()

    return {"ms": milliseconds(decode, 7) / 32, "compile_s": seconds}


def compiled_prefill(config: dict, batch: int, context: int) -> dict:
    torch._inductor.config.coordinate_descent_tuning = True
    model = StaticLlama(config, batch, context + 64)
    prompt = torch.compile(model, fullgraph=True, dynamic=False)
    positions = torch.arange(context, device="cuda")
    tokens = torch.randint(0, config["vocab_size"], (batch, context), device="cuda")
    begin = time.perf_counter()
    for _ in range(3):
        prompt(tokens, positions)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    return {"ms": milliseconds(lambda: prompt(tokens, positions), 9), "compile_s": seconds}


def transformers_model(config: dict):
    from transformers import LlamaConfig, LlamaForCausalLM

    keys = ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads",
            "num_key_value_heads", "head_dim", "rms_norm_eps", "tie_word_embeddings")
    settings = LlamaConfig(**{k: config[k] for k in keys}, max_position_embeddings=131072)
    torch.set_default_device("cuda")
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(settings).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def eager(config: dict, batch: int, context: int) -> dict:
    model = transformers_model(config)
    ids = torch.randint(0, config["vocab_size"], (batch, context))

    def generate(tokens: int):
        return lambda: model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens,
                                      min_new_tokens=tokens, do_sample=False)

    generate(4)()
    return {"ms": (milliseconds(generate(36), 3) - milliseconds(generate(4), 3)) / 32}


def eager_prefill(config: dict, batch: int, context: int) -> dict:
    model = transformers_model(config)
    prompt = torch.randint(0, config["vocab_size"], (batch, context))
    model(prompt, logits_to_keep=1)
    return {"ms": milliseconds(lambda: model(prompt, logits_to_keep=1), 7)}


WORK = {"compiled": compiled, "compiled-prefill": compiled_prefill, "eager": eager, "eager-prefill": eager_prefill}


def main() -> None:
    path, work, batch, context, out = sys.argv[1:]
    result = WORK[work](json.load(open(path)), int(batch), int(context))
    json.dump({"torch": torch.__version__, **result}, open(out, "w"))


if __name__ == "__main__":
    main()
