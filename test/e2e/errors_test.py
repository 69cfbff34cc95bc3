"""The tools reject bad input with exit code 1 and one line that names the problem, and leave no files behind."""

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


def write_index(directory: pathlib.Path, shard: str) -> None:
    """Replaces the file of weights by an index that says that all tensors are in `shard`."""
    file = directory / "model.safetensors"
    data = file.read_bytes()
    names = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    file.rename(directory.parent / "outside.safetensors")  # it exists there, but must not be read
    index = {"metadata": {}, "weight_map": {name: shard for name in names if name != "__metadata__"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def replace_header(path: pathlib.Path, text: bytes, data: bytes = b"") -> None:
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def offsets(begin, end):
    return lambda d: write_header(d / "model.safetensors", lambda h: h[NORM].update(data_offsets=[begin, end]))


NORM = "model.norm.weight"
ONE = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'

# name -> (change of a good checkpoint, words that the message must contain)
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
    "header of 2^63 bytes": (
        lambda d: (d / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 63) + b"{}"), ["model.safetensors"]),
    "duplicate names": (
        lambda d: replace_header(d / "model.safetensors", b"{" + ONE + b"," + ONE + b"}", bytes(4)), ["model.safetensors: a"]),
    "offsets of another size than the shape's": (offsets(2, 130), ["model.safetensors"]),
    "negative offset": (offsets(-4, 124), ["model.safetensors", "data_offsets"]),
    "offsets past the end": (offsets(1 << 40, (1 << 40) + 128), ["model.safetensors"]),
    "product overflow": (
        lambda d: write_header(d / "model.safetensors", lambda h: h[NORM].update(shape=[1 << 40, 1 << 40])), [NORM]),
    "deep JSON header": (lambda d: replace_header(d / "model.safetensors", b"[" * 200000), ["model.safetensors"]),
    "deep config.json": (lambda d: (d / "config.json").write_text('{"a":' * 100000), ["config.json"]),
    "NaN in rope parameters": (
        lambda d: edit_json(d / "config.json", rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": float("nan")},
                            rope_scaling=None), ["config.json"]),
    "two rope bases": (
        lambda d: edit_json(d / "config.json", rope_parameters={"rope_type": "default", "rope_theta": 5e5}, rope_theta=1e4),
        ["config.json: rope_parameters.rope_theta: found 500000", "10000, as in rope_theta"]),
    "a family that is not supported": (
        lambda d: edit_json(d / "config.json", architectures=["MptForCausalLM"], model_type="mpt"),
        ["model_type", "mpt", "gemma3_text"]),
    "missing shard": (lambda d: write_index(d, "shard-1.safetensors"), ["shard-1.safetensors"]),
    "shard outside": (lambda d: write_index(d, "../outside.safetensors"), ["../outside.safetensors"]),
    "absolute shard": (lambda d: write_index(d, str(d.parent / "outside.safetensors")), ["outside.safetensors"]),
    # Published files of other projects, and files that were edited by hand.
    "invalid generation_config.json": (
        lambda d: (d / "generation_config.json").write_text('{"temperature": 0.7, }'), ["generation_config.json"]),
    "temperature out of range": (
        lambda d: (d / "generation_config.json").write_text('{"temperature": -1}'), ["generation_config.json", "temperature", "-1"]),
    "eos_token_id outside of the vocabulary": (
        lambda d: (d / "generation_config.json").write_text('{"eos_token_id": [2, 151645]}'), ["generation_config.json", "eos_token_id", "151645"]),
    "an adapter": (lambda d: (d / "adapter_config.json").write_text("{}"), ["adapter_config.json", "merge it into its base model"]),
    "weights of another format": (
        lambda d: (d / "model.safetensors").rename(d / "pytorch_model.bin"), ["pytorch_model.bin", "convert them"]),
    "wrong dtype": (lambda d: write_header(d / "model.safetensors", lambda h: h[NORM].update(dtype="I8")), [NORM]),
}


def edit_tokenizer(change):
    def spoil(directory: pathlib.Path) -> None:
        tokenizer = json.loads((directory / "tokenizer.json").read_text())
        change(tokenizer)
        (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    return spoil


# The same for a checkpoint with a tokenizer.
TOKENIZERS = {
    "merges of absent tokens": (edit_tokenizer(lambda t: t["model"]["merges"].append(["zzq", "qzz"])), ["tokenizer.json", "zzq"]),
    "duplicate ids": (
        edit_tokenizer(lambda t: t["model"]["vocab"].update(dict.fromkeys(list(t["model"]["vocab"])[:2], 7))), ["tokenizer.json"]),
    "id out of range": (edit_tokenizer(lambda t: t["model"]["vocab"].update({"zzq": 1 << 40})), ["tokenizer.json"]),
    "unknown kind": (edit_tokenizer(lambda t: t["model"].update(type="WordPiece")), ["tokenizer.json", "WordPiece"]),
    "invalid tokenizer.json": (lambda d: (d / "tokenizer.json").write_text("{"), ["tokenizer.json"]),
    "a chat template with an unsupported statement": (
        lambda d: (d / "chat_template.jinja").write_text("{% include 'x' %}"), ["chat_template.jinja", "include"]),
    "a chat template that renders nothing": (
        lambda d: (d / "chat_template.jinja").write_text("{{ a.b.c }}"), ["chat_template.jinja", "the conversation"]),
    "chat_template of a wrong type": (
        lambda d: edit_json(d / "tokenizer_config.json", chat_template=4), ["tokenizer_config.json", "chat_template"]),
    "deep tokenizer.json": (lambda d: (d / "tokenizer.json").write_text('{"a":' * 100000), ["tokenizer.json"]),
}


def one_line(name: str, result, words: list[str]) -> list[str]:
    """Complaints unless a tool failed with exit code 1 and one line that contains `words`."""
    lines = result.stderr.splitlines()
    complaints = []
    if result.returncode != 1:
        complaints.append(f"{name}: expected exit code 1, found {result.returncode}")
    if len(lines) != 1:
        complaints.append(f"{name}: expected one line of error, found {len(lines)}:\n{result.stderr}")
    complaints += [f"{name}: expected {word!r} in {result.stderr!r}" for word in words if word not in result.stderr]
    return complaints


def test(t: tools.Tools, model: pathlib.Path, with_tokenizer: pathlib.Path) -> None:
    complaints = []
    cases = [(model, *case) for case in CHECKPOINTS.items()] + [(with_tokenizer, *case) for case in TOKENIZERS.items()]
    for source, name, (spoil, words) in cases:
        checkpoint, out = t.scratch / "checkpoint", t.scratch / "out"
        shutil.copytree(source, checkpoint)
        out.mkdir()
        spoil(checkpoint)
        result = t.run("compile-model", checkpoint, "-o", out / "bundle", "--target", "cpu", "-q")
        complaints += one_line(name, result, words)
        checked = t.run("check-model", checkpoint)
        if checked.returncode != 1 or any(word not in checked.stdout for word in words):
            complaints.append(f"{name}: expected check-model to name {words} and end with 1, found {checked.returncode}:\n"
                              f"{checked.stdout}{checked.stderr}")
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

    for tool, options, words in [
        ("compile-model", [], ["compile-model: model is required"]),
        ("compile-model", [model, "--no-such-flag"], ["--no-such-flag"]),
        ("compile-model", [model, "-o", t.scratch / "x", "--dtype", "int3"], ["--dtype", "int3"]),
        ("check-model", [], ["check-model: MODEL_DIR is required"]),
        ("check-model", [model, "--max_model_len", "many"], ["--max-model-len", "many"]),
        ("check-model", [model, "--quantization", "int3"], ["--quantization", "int3"]),
        ("check-model", [model, "--kv-cache-dtype", "int4"], ["--kv-cache-dtype", "int4"]),
        ("check-model", [model, "--activation-quantization", "static"], ["--activation-quantization", "static"]),
        ("compile-model", [model, "-o", t.scratch / "x", "--target", "cpu", "-pp", 3, "-q"],
         ["has 2 layers", "expected a pipeline parallel size of at most 2"]),
        ("compile-model", [model, "-o", t.scratch / "x", "--target", "cpu", "-tp", 32, "-pp", 4, "-q"],
         ["--tensor-parallel-size 32 and --pipeline-parallel-size 4 are more than 64 ranks"]),
        ("compile-model", [model, "-o", t.scratch / "x", "--target", "sm_90a", "--tune", "--tuning-file",
          t.scratch / "tuning", "-pp", 2, "-q"],
         ["--tune is for --pipeline-parallel-size 1"]),
        ("compile-model", [model, "-o", t.scratch / "x", "--target", "sm_90a", "-tp", 16, "-q"],
         ["--tensor-parallel-size is 16, expected at most 8 for GPU targets"]),
    ]:
        complaints += one_line(f"{tool} {options}", t.run(tool, *options), words)
    for tool in ("compile-model", "check-model"):
        if t.checked(tool, "--version").split()[0] != tool:
            complaints.append(f"{tool} --version does not name it")

    # Kernels for another processor are refused. Only AMD's Bulldozer family has fma4 and xop.
    other = t.scratch / "bulldozer.inlay"
    t.checked("compile-model", model, "-o", other, "--target", "cpu", "--dtype", "float32", "--cpu", "bdver4", "-q")
    complaints += one_line("kernels for another processor", t.run("run-model", other, "--prompt-ids", "3,4"),
                           [other.name, "fma4, xop", "compile the model on this machine, or with --cpu x86-64"])
    # Kernels for any x86-64 processor give the same tokens.
    t.checked("compile-model", model, "-o", other, "--target", "cpu", "--dtype", "float32", "--cpu", "x86-64", "-q", "--overwrite")
    tokens = [t.generate(b, "--prompt-ids", "3,4,5", "--max-tokens", 16, "--temperature", 0, "--ignore-eos")["token_ids"]
              for b in (bundle, other)]
    if tokens[0] != tokens[1] or json.loads(t.checked("inspect-bundle", other, "--json"))["targets"][0]["cpu_features"]:
        complaints.append(f"--cpu x86-64: expected kernels for any machine and the same tokens, found {tokens}")
    result = t.run("compile-model", model, "-o", t.scratch / "x", "--target", "cpu", "--cpu", "z80", "-q")
    complaints += one_line("unknown processor", result, ["z80", "llc -mcpu=help"])

    # A flipped byte or a missing file is an error before anything is computed.
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
