#!/usr/bin/env python3
"""Trains the example model of this directory: a small Llama on CPython's standard library.

The training text is the standard library of the running interpreter. The result is a Hugging Face
directory (configuration, bfloat16 weights, tokenizer) of less than 4 MB that `compile-model` and
`transformers` can read. Training takes one or two minutes on a data-centre GPU:

    python3 examples/stdlib_model/train.py --out examples/stdlib_model/model
"""

import argparse
import json
import math
import os
import platform
import sysconfig
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"

# The pre-tokenizer of Llama 3.
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Tests, bundled data and generated tables: Python files that are not useful as training text.
SKIPPED_DIRECTORIES = {
    "test", "tests", "idle_test", "idlelib", "encodings", "pydoc_data", "turtledemo", "ensurepip", "__phello__",
    "site-packages", "dist-packages", "__pycache__", "lib-dynload", "msilib",
}


# --- Text -----------------------------------------------------------------------------------------


def is_code(text: str) -> bool:
    """Whether a file is code and not a table: it has few digits and few characters outside of ASCII."""
    digits = sum(c.isdigit() for c in text)
    foreign = sum(ord(c) > 127 for c in text)
    return len(text) > 500 and digits < 0.1 * len(text) and foreign < 0.01 * len(text)


def read_library() -> list[str]:
    """The sources of the standard library, one string per file, in a fixed order."""
    root = Path(sysconfig.get_paths()["stdlib"])
    texts = []
    for directory, subdirectories, files in os.walk(root):
        subdirectories[:] = sorted(d for d in subdirectories if d not in SKIPPED_DIRECTORIES)
        for name in sorted(files):
            if not name.endswith(".py") or name.startswith("_sysconfigdata"):
                continue
            text = Path(directory, name).read_text(encoding="utf-8", errors="ignore").replace("\r\n", "\n")
            if is_code(text.expandtabs(4)):
                texts.append(text.expandtabs(4))
    if not texts:
        raise SystemExit(f"{root}: expected the standard library's .py files, found none; use a full Python")
    return texts


def train_tokenizer(texts: list[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer in the style of Llama 3 with `vocab_size` ids, including special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab_size - 2, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_special_tokens([AddedToken(BOS, special=True), AddedToken(EOS, special=True)])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B",
                                      special_tokens=[(BOS, tokenizer.token_to_id(BOS))]),
    ])
    return tokenizer


class Windows:
    """Random windows of the token stream. Like a prompt, each window starts with BOS and the beginning of a line. A
    part of the windows is tokenized with BPE dropout, so that the model also learns prompts that end in the middle of a
    usual token ("def ")."""

    def __init__(self, tokenizer: Tokenizer, texts: list[str], context: int, device: str, dropout_share: float):
        self.context, self.dropout_share = context, dropout_share
        self.bos = tokenizer.token_to_id(BOS)
        line_ends = torch.tensor([token.endswith("\u010a") for token in  # a newline in byte-level BPE
                                  (tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size()))])
        self.streams, self.starts = [], []
        for dropout in (None, 0.1):
            if dropout and not dropout_share:
                continue
            tokenizer.model.dropout = dropout
            ids = []
            for encoding in tokenizer.encode_batch([text + EOS for text in texts]):
                ids += encoding.ids
            tokenizer.model.dropout = None
            stream = torch.tensor(ids)
            # Short streams (of a tiny run) are repeated, so that there is at least one window.
            stream = stream.repeat(-(-(context + 1) * 2 // len(stream)))
            starts = torch.nonzero(line_ends[stream]).squeeze(1) + 1
            self.starts.append(starts[starts + context <= len(stream)].to(device))
            self.streams.append(stream.to(device))

    def __len__(self) -> int:
        return len(self.streams[0])

    def sample(self, rows: int, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets, both [rows, context]."""
        which = int(len(self.streams) > 1 and torch.rand((), generator=generator) < self.dropout_share)
        stream, starts = self.streams[which], self.starts[which]
        first = starts[torch.randint(len(starts), (rows, 1), generator=generator).to(stream.device)]
        targets = stream[first + torch.arange(self.context, device=stream.device)]
        return F.pad(targets[:, :-1], (1, 0), value=self.bos), targets


# --- Model: modules have the names of the checkpoint -----------------------------------------------


class Attention(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        hidden = c["hidden_size"]
        self.q_proj = nn.Linear(hidden, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(hidden, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(hidden, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, hidden, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape

        def split(y: torch.Tensor, heads: int) -> torch.Tensor:
            return y.view(batch, length, heads, self.head_dim).transpose(1, 2)

        def rotate(y: torch.Tensor) -> torch.Tensor:
            low, high = y.chunk(2, dim=-1)
            return y * cos + torch.cat((-high, low), dim=-1) * sin

        q, k = rotate(split(self.q_proj(x), self.heads)), rotate(split(self.k_proj(x), self.kv_heads))
        v = split(self.v_proj(x), self.kv_heads)
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=True, enable_gqa=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))


class Mlp(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        hidden, intermediate = c["hidden_size"], c["intermediate_size"]
        self.gate_proj = nn.Linear(hidden, intermediate, bias=False)
        self.up_proj = nn.Linear(hidden, intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c: dict, dropout: float):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(c["hidden_size"], eps=c["rms_norm_eps"])
        self.self_attn = Attention(c)
        self.post_attention_layernorm = nn.RMSNorm(c["hidden_size"], eps=c["rms_norm_eps"])
        self.mlp = Mlp(c)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), cos, sin))
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))


class Llama(nn.Module):
    def __init__(self, c: dict, dropout: float):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.model.layers = nn.ModuleList(Layer(c, dropout) for _ in range(c["num_hidden_layers"]))
        self.model.norm = nn.RMSNorm(c["hidden_size"], eps=c["rms_norm_eps"])
        theta, dim = c["rope_parameters"]["rope_theta"], c["head_dim"]
        angles = torch.outer(torch.arange(c["max_position_embeddings"]), theta ** (-torch.arange(0, dim, 2) / dim))
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        # GPT-2's initialization: matrices that add to the residual stream are scaled down by the number of additions.
        residual = 0.02 / math.sqrt(2 * c["num_hidden_layers"])
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=residual if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.02)

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        """Logits [rows, length, vocabulary] of tokens [rows, length]; with targets the mean loss in nats."""
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            x = layer(x, self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]])
        logits = F.linear(self.model.norm(x), self.model.embed_tokens.weight)
        if targets is None:
            return logits
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


# --- Training -------------------------------------------------------------------------------------


def autocast(device: str) -> torch.autocast:
    return torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda")


def train(model: Llama, data: Windows, held_out: Windows, args: argparse.Namespace) -> tuple[float, float]:
    """Trains with AdamW until `args.epochs` or `args.minutes` is reached. The cosine schedule follows the one that is
    closer to its end, so that the learning rate is always zero at the end. Returns the held-out loss and the
    minutes."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() != 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=args.learning_rate, betas=(0.9, 0.95), fused=args.device == "cuda")
    forward = torch.compile(model) if args.compile else model

    def step() -> torch.Tensor:
        tokens, targets = data.sample(args.batch)
        with autocast(args.device):
            loss = forward(tokens, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    def evaluate() -> float:
        generator = torch.Generator().manual_seed(1)
        batches = 1 if args.tiny else 16
        model.eval()
        with torch.no_grad(), autocast(args.device):
            loss = sum(model(*held_out.sample(8, generator)).item() for _ in range(batches)) / batches
        model.train()
        return loss

    def set_rate(rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate

    # The first step includes compilation, which does not count towards the time limit.
    set_rate(0.0)
    begin = time.monotonic()
    try:
        loss = step()
    except RuntimeError as error:
        if not args.compile:
            raise
        print(f"torch.compile failed, continuing without it: {str(error).splitlines()[0]}")
        forward = model
        loss = step()
    print(f"first step: loss {loss.item():.3f}, {time.monotonic() - begin:.1f} s", flush=True)

    budget, begin, steps, reported = 60.0 * args.minutes, time.monotonic(), 0, 0.0
    warm_up = 0.02
    epochs_of_step = args.batch * data.context / len(data)
    while (progress := max((time.monotonic() - begin) / budget, steps * epochs_of_step / args.epochs)) < 1.0:
        set_rate(args.learning_rate * min(progress / warm_up, 0.5 * (1.0 + math.cos(math.pi * progress))))
        loss = step()
        steps += 1
        # Reading the loss waits for the device, so the progress above is measured correctly.
        if steps % 20 == 0 or args.device == "cpu":
            value = loss.item()
            if progress - reported >= 0.05:
                reported = progress
                tokens = steps * args.batch * data.context
                print(f"{progress:4.0%}  step {steps:6d}  {tokens / 1e6:7.1f} M tokens "
                      f"({tokens / len(data):5.1f} epochs)  loss {value:.3f}  held out {evaluate():.3f}", flush=True)
    loss, minutes = evaluate(), (time.monotonic() - begin) / 60
    print(f"done: {steps} steps in {minutes:.1f} minutes, held-out loss {loss:.3f} nats per token", flush=True)
    model.eval()
    return loss, minutes


@torch.no_grad()
def generate(model: Llama, tokenizer: Tokenizer, prompt: str, count: int, context: int) -> str:
    """A greedy continuation to inspect the result. Recomputes the whole sequence for each token."""
    device = model.cos.device
    ids = tokenizer.encode(prompt).ids
    for _ in range(min(count, context - len(ids))):
        ids.append(model(torch.tensor([ids], device=device))[0, -1].argmax().item())
        if ids[-1] == tokenizer.token_to_id(EOS):
            break
    return tokenizer.decode(ids)


# --- The checkpoint -------------------------------------------------------------------------------

README = """\
---
license: psf-2.0
language: [code]
library_name: transformers
---
# A {parameters:.1f} M parameter Llama trained on Python's standard library

The example model of Inlay, small enough to be part of the repository. `../train.py` trained it for {minutes:.1f} minutes
on the sources of the standard library of CPython {python} ({megabytes:.1f} MB without tests and tables;
held-out loss {loss:.2f} nats per token). It writes text that looks like Python and cannot do anything else.

## Licence
The text that it was trained on, and which its weights and tokenizer derive from, is Copyright (c) 2001 Python Software
Foundation; All Rights Reserved, under the Python Software Foundation License Version 2
(https://docs.python.org/3/license.html); some modules of the library have their own notices. The checkpoint is
distributed under the same licence, without warranty.
"""


def save(out: Path, model: Llama, tokenizer: Tokenizer, config: dict, readme: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: p.detach().to(torch.bfloat16).cpu().contiguous() for name, p in model.named_parameters()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    # Written in one line, because the indented merges would be a quarter of the directory's size.
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    ids = {"bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"]}
    documents = {
        "config.json": config,
        "generation_config.json": {**ids, "do_sample": True, "temperature": 0.7, "top_p": 0.95},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS,
            "clean_up_tokenization_spaces": False, "model_max_length": config["max_position_embeddings"],
        },
    }
    for name, document in documents.items():
        (out / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    (out / "README.md").write_text(readme, encoding="utf-8")


def check_with_transformers(out: Path, model: Llama, tokenizer: Tokenizer) -> None:
    """Checks that transformers computes the same logits from the saved checkpoint, up to the rounding of the
    weights."""
    try:
        from transformers import AutoModelForCausalLM
    except ImportError:
        print("transformers is not installed, so the checkpoint was not compared with it")
        return
    ids = torch.tensor([tokenizer.encode("def main(argv):\n    import sys\n").ids])
    reference = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    for name, p in model.named_parameters():
        p.data = p.data.to(torch.bfloat16).float()
    model.cpu().float()
    with torch.no_grad():
        expected, found = reference(ids).logits, model(ids)
    error = ((found - expected).norm() / expected.norm()).item()
    print(f"logits against transformers: relative error {error:.1e}")
    if error > 1e-4:
        raise SystemExit(f"{out}: transformers computes other logits from this checkpoint than the trained model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the directory to write")
    parser.add_argument("--minutes", type=float, default=4.0, help="maximum training time, without compilation")
    parser.add_argument("--epochs", type=float, default=80, help="maximum number of epochs; many more overfit")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--batch", type=int, default=64, help="windows per step")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="do not use torch.compile")
    parser.add_argument("--tiny", action="store_true", help="a small model and text, to test this script anywhere")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")

    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16",
        "vocab_size": 2048, "hidden_size": 192, "num_hidden_layers": 4, "intermediate_size": 448,
        "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 1024,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True, "use_cache": True,
    }
    texts = read_library()
    if args.tiny:
        config |= {"vocab_size": 512, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128,
                   "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64}
        texts, args.batch, args.compile = texts[:60], 8, False

    begin = time.monotonic()
    tokenizer = train_tokenizer(texts, config["vocab_size"])
    if tokenizer.get_vocab_size() != config["vocab_size"]:
        raise SystemExit(f"the text gives {tokenizer.get_vocab_size()} tokens, expected {config['vocab_size']}")
    config |= {"bos_token_id": tokenizer.token_to_id(BOS), "eos_token_id": tokenizer.token_to_id(EOS)}
    context = config["max_position_embeddings"]
    data = Windows(tokenizer, [t for i, t in enumerate(texts) if i % 40 != 39], context, args.device, 1 / 8)
    held_out = Windows(tokenizer, texts[39::40], context, args.device, 0)
    megabytes = sum(map(len, texts)) / 1e6
    model = Llama(config, args.dropout).to(args.device)
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"{len(texts)} files, {megabytes:.1f} MB, {len(data) / 1e6:.2f} M tokens in {time.monotonic() - begin:.1f} s; "
          f"{parameters:.2f} M parameters on {args.device}", flush=True)

    loss, minutes = train(model, data, held_out, args)
    readme = README.format(parameters=parameters, minutes=minutes, python=platform.python_version(),
                           megabytes=megabytes, loss=loss)
    save(args.out, model, tokenizer, config, readme)
    check_with_transformers(args.out, model, tokenizer)
    for prompt in ("def ", "class Server", "import os\n"):
        print(f"--- {prompt!r}\n{generate(model, tokenizer, prompt, 8 if args.tiny else 120, context)}", flush=True)
    size = sum(f.stat().st_size for f in args.out.iterdir())
    print(f"{args.out}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
