"""Sampling: token frequencies match the logits' probabilities, a seed reproduces its tokens, a temperature near 0 is
greedy."""

import array
import collections
import json
import math

from .common import EXAMPLE, RUN_SECONDS, sh

PROMPT = "class Server"
DRAWS = 128  # prompts per run; each draws its first token with a different seed
SETTINGS = {
    "temperature 1": {"temperature": 1.0},
    "temperature 0.6": {"temperature": 0.6},
    "top-k 8": {"temperature": 1.0, "top-k": 8},
    "top-p 0.8": {"temperature": 1.0, "top-p": 0.8},
    "min-p 0.1": {"temperature": 1.0, "min-p": 0.1},
    "all": {"temperature": 1.3, "top-k": 40, "top-p": 0.95, "min-p": 0.02},
}


def distribution(logits, temperature: float, slack: float = 0.0, **filters) -> dict[int, float]:
    """The probability of each token that the filters keep: the k most likely tokens, of these the fewest with a total
    probability of p, of these the ones with at least min-p times the highest probability. `slack` widens the filters by
    this relative amount, because the kernel finds its thresholds by bisection, so a token at a threshold may be kept or
    not."""
    best = max(logits)
    weights = sorted(((math.exp((x - best) / temperature), i) for i, x in enumerate(logits)), reverse=True)
    if top_k := filters.get("top-k"):
        weights = [w for w in weights if w[0] >= weights[min(top_k, len(weights)) - 1][0] * (1 - slack)]
    if top_p := filters.get("top-p"):
        total, mass, kept = sum(w for w, _ in weights), 0.0, 0
        while kept < len(weights) and mass < (top_p + slack) * total:
            mass += weights[kept][0]
            kept += 1
        weights = weights[:kept]
    if min_p := filters.get("min-p"):
        weights = [w for w in weights if w[0] >= min_p * (1 - slack)]
    total = sum(w for w, _ in weights)
    return {i: w / total for w, i in weights}


def surprise(counts: collections.Counter, expected: dict[int, float]) -> float:
    """Pearson's chi-square of the counts, transformed to a standard normal variable (Wilson and Hilferty, 1931). Tokens
    that are expected fewer than five times are combined."""
    draws = sum(counts.values())
    bins = [(counts[token], p * draws) for token, p in expected.items() if p * draws >= 5]
    rest = draws - sum(count for count, _ in bins), draws - sum(mean for _, mean in bins)
    if rest[1] >= 1:
        bins.append(rest)
    freedom = len(bins) - 1
    if freedom < 1:
        return 0.0
    x = sum((count - mean) ** 2 / mean for count, mean in bins)
    return ((x / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))


def verdict_of(counts: collections.Counter, logits, setting: dict) -> str:
    """Returns "ok", or an error for tokens drawn from these logits. A correct sampler fails in one of 3 million
    cases."""
    possible = distribution(logits, slack=0.01, **setting)
    if strangers := [token for token in counts if token not in possible]:
        return f"token {strangers[0]} was drawn {counts[strangers[0]]} times, which the filters leave out"
    z = surprise(counts, distribution(logits, **setting))
    return "ok" if z < 5 else f"frequencies are {z:.1f} standard deviations from the logits' probabilities"


def flags_of(setting: dict) -> list:
    """The flags of a setting. Filters that it does not use are turned off, to override defaults of
    generation_config.json."""
    return [flag for key, value in ({"top-k": 0, "top-p": 1, "min-p": 0} | setting).items() for flag in (f"--{key}", value)]


def sampling(args, bundle, runs: int) -> dict:
    """Draws `runs` times DRAWS tokens with each setting."""
    def generate(prompts, tokens, *flags):
        ids = [flag for prompt in prompts for flag in ("--prompt-ids", ",".join(map(str, prompt)))]
        run = json.loads(sh(args.bin / "run-model", bundle, "--target", args.target, *ids, "--max-tokens", tokens, "--ignore-eos",
                            "--json", *flags, timeout=RUN_SECONDS))
        return [output["token_ids"] for output in (run["outputs"] if len(prompts) > 1 else [run])]

    prompt = json.loads(sh(args.bin / "run-model", bundle, "--target", args.target, "--prompt", PROMPT, "--tokenize", "--json"))
    prompt = prompt["prompt_token_ids"]
    out = args.out / "sampling.bin"
    [greedy] = generate([prompt], 32, "--temperature", 0, "--logits-out", out)
    width = json.loads((EXAMPLE / "config.json").read_text())["vocab_size"]
    logits = array.array("f", out.read_bytes())[:width].tolist()
    out.unlink()
    result = {"draws": runs * DRAWS, "settings": {}, "verdict": "ok"}
    for name, setting in SETTINGS.items():
        counts = collections.Counter(tokens[0] for _ in range(runs)
                                     for tokens in generate([prompt] * DRAWS, 1, *flags_of(setting)))
        result["settings"][name] = verdict_of(counts, logits, setting)
        print(f"  sampling, {name}: {result['settings'][name]}", flush=True)
    [cold] = generate([prompt], 32, "--temperature", 1e-5)
    if cold != greedy:
        result["settings"]["temperature 0.00001"] = f"{cold} instead of the greedy {greedy}"
    seeded = [generate([prompt], 32, *flags_of({"temperature": 1}), "--seed", seed)[0] for seed in (7, 7, 8)]
    beside = generate([prompt, prompt[:2], prompt + greedy[:3]], 32, *flags_of({"temperature": 1}), "--seed", 7)[0]
    if seeded[0] != seeded[1] or seeded[0] == seeded[2]:
        result["settings"]["seeds"] = "the same seed gave other tokens, or another seed the same"
    elif args.target == "cpu" and beside != seeded[0]:  # on a GPU, the rounding of logits depends on the batch
        result["settings"]["seeds"] = "a seed gave other tokens in a batch than alone"
    result["verdict"] = next((f"{name}: {v}" for name, v in result["settings"].items() if v != "ok"), "ok")
    return result
