"""What bad input gets from the command line: exit code 1, one line that names what is wrong, nothing left behind."""

import json
import pathlib
import shutil
import struct

import tools


def write_header(path: pathlib.Path, change) -> None:
    """Rewrites the JSON header of a safetensors file."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def edit_json(path: pathlib.Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


NORM = "model.norm.weight"

# (what is done to a good checkpoint, words that the message must have)
CHECKPOINTS = {
    "no such directory": (lambda d: shutil.rmtree(d), ["config.json"]),
    "no config.json": (lambda d: (d / "config.json").unlink(), ["config.json"]),
    "invalid config.json": (lambda d: (d / "config.json").write_text("{"), ["config.json"]),
    "unknown architecture": (
        lambda d: edit_json(d / "config.json", architectures=["MambaForCausalLM"], model_type="mamba"), ["mamba"]),
    "heads not divisible": (lambda d: edit_json(d / "config.json", num_key_value_heads=3), ["num_key_value_heads"]),
    "vocabulary and embedding differ": (lambda d: edit_json(d / "config.json", vocab_size=300), ["embed_tokens"]),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), ["safetensors"]),
    "empty weights": (lambda d: (d / "model.safetensors").write_bytes(b""), ["model.safetensors"]),
    "header beyond the file": (
        lambda d: (d / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}"), ["model.safetensors"]),
    "truncated weights": (
        lambda d: (d / "model.safetensors").write_bytes((d / "model.safetensors").read_bytes()[:-100]),
        ["model.safetensors"]),
    "missing tensor": (lambda d: write_header(d / "model.safetensors", lambda h: h.pop(NORM)), []),
    "wrong dtype": (lambda d: write_header(d / "model.safetensors", lambda h: h[NORM].update(dtype="I8")), [NORM]),
}


def one_line(name: str, result, words: list[str]) -> list[str]:
    """Complaints about the message of a failed tool."""
    lines = result.stderr.splitlines()
    complaints = []
    if result.returncode != 1:
        complaints.append(f"{name}: expected exit code 1, found {result.returncode}")
    if len(lines) != 1:
        complaints.append(f"{name}: expected one line of error, found {len(lines)}:\n{result.stderr}")
    complaints += [f"{name}: expected {word!r} in {result.stderr!r}" for word in words if word not in result.stderr]
    return complaints


def test(t: tools.Tools, model: pathlib.Path) -> None:
    complaints = []
    for name, (spoil, words) in CHECKPOINTS.items():
        checkpoint, out = t.scratch / "checkpoint", t.scratch / "out"
        shutil.copytree(model, checkpoint)
        out.mkdir()
        spoil(checkpoint)
        result = t.run("compile-model", checkpoint, "-o", out / "bundle", "--target", "cpu", "-q")
        complaints += one_line(name, result, words)
        if left := list(out.iterdir()):
            complaints.append(f"{name}: left behind: {left}")
        shutil.rmtree(out)
        shutil.rmtree(checkpoint, ignore_errors=True)

    bundle = t.compile(model, "--target", "cpu", "--dtype", "float32")
    vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
    length = json.loads((model / "config.json").read_text())["max_position_embeddings"]
    long_prompt = ",".join(["3"] * (length + 1))
    for name, options, words in [
        ("unknown target", None, ["sm_12"]),
        ("no prompt id", ["--prompt-ids", ""], []),
        ("id past the vocabulary", ["--prompt-ids", f"3,{vocabulary}"], [str(vocabulary)]),
        ("prompt too long", ["--prompt-ids", long_prompt], [str(length)]),
        ("text without a tokenizer", ["--prompt", "def"], ["tokenizer.json"]),
    ]:
        if options is None:
            result = t.run("compile-model", model, "-o", t.scratch / "x", "--target", "sm_12", "-q")
        else:
            result = t.run("run-model", bundle, *options, "--max-tokens", 4)
        complaints += one_line(name, result, words)

    # Kernels for another processor are never run: fma4 and xop are of AMD's Bulldozer alone.
    other = t.scratch / "bulldozer.inlay"
    t.checked("compile-model", model, "-o", other, "--target", "cpu", "--dtype", "float32", "--cpu", "bdver4", "-q")
    complaints += one_line("kernels for another processor", t.run("run-model", other, "--prompt-ids", "3,4"),
                           [other.name, "fma4, xop", "compile the model on this machine, or with --cpu x86-64"])
    # What any machine runs gives the same tokens.
    t.checked("compile-model", model, "-o", other, "--target", "cpu", "--dtype", "float32", "--cpu", "x86-64", "-q", "--overwrite")
    tokens = [t.generate(b, "--prompt-ids", "3,4,5", "--max-tokens", 16, "--temperature", 0, "--ignore-eos")["token_ids"]
              for b in (bundle, other)]
    if tokens[0] != tokens[1] or json.loads(t.checked("inspect-bundle", other, "--json"))["targets"][0]["cpu_features"]:
        complaints.append(f"--cpu x86-64: expected kernels for any machine and the same tokens, found {tokens}")
    result = t.run("compile-model", model, "-o", t.scratch / "x", "--target", "cpu", "--cpu", "z80", "-q")
    complaints += one_line("unknown processor", result, ["z80", "llc -mcpu=help"])

    # A flipped byte or a missing file is found before anything is computed.
    files = sorted(file for file in bundle.rglob("*") if file.is_file())
    for file in files:
        data = file.read_bytes()
        if not data:
            continue
        relative = file.relative_to(bundle)
        file.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])
        complaints += one_line(f"flipped byte in {relative}", t.run("run-model", bundle, "--prompt-ids", "3,4"), [])
        file.unlink()
        complaints += one_line(f"missing {relative}", t.run("run-model", bundle, "--prompt-ids", "3,4"), [file.name])
        file.write_bytes(data)
    t.checked("run-model", bundle, "--prompt-ids", "3,4", "--max-tokens", 2)
    if complaints:
        tools.fail("\n".join(complaints))


tools.main(test)
