"""The example model, as the demo uses it: it writes Python, equal seeds give equal texts, and a prompt can be given as
an argument or as a file."""

import keyword
import pathlib
import re

import tools


def test(t: tools.Tools, model: pathlib.Path) -> None:
    bundle = t.compile(model, "--target", "cpu")
    options = ("--prompt", "class Server", "--max-tokens", 160, "--ignore-eos")
    greedy = t.generate(bundle, *options, "--temperature", 0)
    text = greedy["text"]
    print(text)
    words = re.findall(r"[A-Za-z_]+", text)
    known = sum(word in keyword.kwlist or word == "self" for word in words)
    if len(greedy["token_ids"]) != 160 or len(words) < 40 or known < 0.1 * len(words):
        tools.fail("expected Python text in which at least a tenth of the words are keywords, found "
                   f"{known} of {len(words)}:\n{text}")

    # --tokenize runs no step. The ids of the prompt decode to the prompt.
    prompt = "def naïve(x):\n\treturn '√' * 3\n"
    tokenized = t.generate(bundle, "--prompt", prompt, "--tokenize", "--no-special-tokens")
    if tokenized["text"] != prompt:
        tools.fail(f"--tokenize: expected {prompt!r}, found {tokenized['text']!r}")

    file = t.scratch / "prompt.txt"
    file.write_text("class Server")
    again = t.generate(bundle, "--prompt-file", file, *options[2:], "--temperature", 0)
    if again["token_ids"] != greedy["token_ids"]:
        tools.fail("the same prompt from a file gave different tokens")

    sampled = [t.generate(bundle, *options, "--temperature", 1, "--seed", seed)["token_ids"] for seed in (1, 1, 2)]
    if sampled[0] != sampled[1]:
        tools.fail("the same seed gave different tokens")
    if sampled[0] == sampled[2]:
        tools.fail("seeds 1 and 2 gave the same 160 tokens")


tools.main(test)
