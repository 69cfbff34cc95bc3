"""Each file of a model directory has its effect in the bundle, and check-model and compile-model agree about it.

The test makes a model that answers each token with the next one of a chain, so that the output shows which token ends
it.
"""

import json
import pathlib
import struct

import serve_support
import tools

GO, END, HIDDEN, VOCABULARY = 257, 258, 272, 259
CHAIN = [GO, 256, END, 65, 66, 67]
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}<|go|>"


def byte_level_tokenizer() -> dict:
    """A tokenizer of single bytes, one token that no text encodes to (256), and two special tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    added = [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, text in ((GO, "<|go|>"), (END, "<|end|>"))]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": {text: i for i, text in enumerate([*characters, "<unused>"])}, "merges": []}}


def write_model(directory: pathlib.Path, config: dict = {}, files: dict = {}) -> pathlib.Path:
    """Writes a model directory. `config` changes config.json; `files` are added, as JSON unless they are text."""
    directory.mkdir(parents=True)
    everything = {
        "config.json": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": HIDDEN,
                        "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
                        "head_dim": 16, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "torch_dtype": "float32",
                        "tie_word_embeddings": False, "bos_token_id": None, "eos_token_id": END, "hidden_act": "silu"} | config,
        "tokenizer.json": byte_level_tokenizer(), "tokenizer_config.json": {}} | files
    for name, content in everything.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(content if isinstance(content, str) else json.dumps(content))
    embedding = [[float(row == column) for column in range(HIDDEN)] for row in range(VOCABULARY)]
    head = [[0.0] * HIDDEN for _ in range(VOCABULARY)]
    for here, after in zip(CHAIN, CHAIN[1:]):
        head[after][here] = 5.0
    layer = "model.layers.0."
    matrices = {"model.embed_tokens": embedding, "lm_head": head}
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"):
        matrices[layer + name] = [[0.0] * HIDDEN] * 16
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        matrices[layer + name] = [[0.0] * 16] * HIDDEN
    tensors = {name: ([len(rows), len(rows[0])], [value for row in rows for value in row]) for name, rows in matrices.items()}
    for name in ("model.norm", layer + "input_layernorm", layer + "post_attention_layernorm"):
        tensors[name] = ([HIDDEN], [1.0] * HIDDEN)
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[name + ".weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return directory


def test(t: tools.Tools) -> None:
    complaints, number = [], 0

    def expect(what: str, found, expected) -> None:
        if found != expected:
            complaints.append(f"{what}: expected {expected!r}, found {found!r}")

    def bundle_of(what: str, config: dict = {}, files: dict = {}) -> pathlib.Path:
        nonlocal number
        number += 1
        model = write_model(t.scratch / f"model-{number}", config, files)
        checked = t.run("check-model", model)
        expect(f"{what}: check-model's exit code ({checked.stdout})", checked.returncode, 0)
        return t.compile(model, "--target", "cpu", "--max-num-seqs", 1, "--max-num-batched-tokens", 1)  # few kernels

    def answer(bundle: pathlib.Path, *options) -> dict:
        return t.generate(bundle, "--prompt-ids", str(GO), "--temperature", 0, *options)

    plain = bundle_of("plain", files={"chat_template.jinja": TEMPLATE})
    result = answer(plain)
    expect("the chain", (result["token_ids"], result["finish_reason"]), ([256, END], "stop"))

    # Tokens that end a text. generation_config.json overrides config.json, as in transformers' generate and in vLLM
    # (vllm-project/vllm pull request 4182).
    for what, config, generation, tokens in [
        ("a list", {"eos_token_id": [65, 66]}, {}, [256, END, 65]),
        ("generation_config.json", {"eos_token_id": 256}, {"eos_token_id": END}, [256, END]),
        ("a list in generation_config.json", {"eos_token_id": 256}, {"eos_token_id": [1, 65]}, [256, END, 65]),
        ("null in generation_config.json", {"eos_token_id": 256}, {"eos_token_id": None}, [256]),
        ("-1 in config.json", {"eos_token_id": -1}, {}, [256, END, 65, 66, 67]),
        ("-1 in generation_config.json", {"eos_token_id": 256}, {"eos_token_id": -1}, [256, END, 65, 66, 67]),
        ("-1 in a list", {"eos_token_id": [-1, 66]}, {}, [256, END, 65, 66]),
    ]:
        result = answer(bundle_of(what, config, {"generation_config.json": generation}), "-n", 5)
        expect(f"eos_token_id: {what}", result["token_ids"], tokens)
    # The tokenizer's eos_token also ends a text, as in vLLM (Blaizzy/mlx-vlm pull request 2112).
    result = answer(bundle_of("eos_token", {"eos_token_id": 66}, {"tokenizer_config.json": {"eos_token": "<|end|>"}}))
    expect("eos_token of tokenizer_config.json", result["token_ids"], [256, END])

    # Sampling defaults.
    recommended = bundle_of("sampling", files={"generation_config.json": {
        "do_sample": True, "temperature": 0.25, "top_k": 7, "top_p": 0.5, "min_p": 0.125, "repetition_penalty": 1.5, "max_new_tokens": 3}})
    sampling = t.generate(recommended, "--prompt-ids", str(GO), "--ignore-eos")["sampling"]
    for key, value in {"temperature": 0.25, "top_k": 7, "top_p": 0.5, "min_p": 0.125, "repetition_penalty": 1.5, "max_tokens": 3}.items():
        expect(f"generation_config.json: {key}", sampling[key], value)
    # LLaVA and Vicuna publish this combination (haotian-liu/LLaVA issue 1635).
    greedy = bundle_of("greedy", files={"generation_config.json": {"do_sample": False, "temperature": 0.9, "top_p": 0.6}})
    expect("do_sample false", t.generate(greedy, "--prompt-ids", str(GO))["sampling"]["temperature"], 0)

    # transformers 5 uses an lm_head.weight that differs from the embedding (huggingface/transformers pull request 42612).
    tied = bundle_of("tied", {"tie_word_embeddings": True})
    expect("an output embedding of its own", answer(tied)["token_ids"], [256, END])

    # Chats: run-model and the server give the same tokens.
    def tokens_of(bundle: pathlib.Path, *options) -> list[int]:
        return t.generate(bundle, "--tokenize", *options)["prompt_token_ids"]

    expected = tokens_of(plain, "-p", "hi<|go|>", "--no-special-tokens")
    expect("the last token", expected[-1], GO)
    expect("--chat --tokenize", tokens_of(plain, "--chat", "-p", "hi"), expected)
    expect("--chat --system --tokenize", tokens_of(plain, "--chat", "--system", "x", "-p", "hi"), tokens_of(plain, "-p", "xhi<|go|>"))
    with serve_support.serving(t.binaries, plain, "-q") as server:
        status, reply = server.post("/tokenize", {"messages": [{"role": "user", "content": "hi"}]})
        expect("/tokenize", (status, reply.get("tokens")), (200, expected))

    # Chat templates in each of the possible files (ggml-org/llama.cpp pull request 14508,
    # huggingface/text-generation-inference issue 3247).
    for what, files, text in [
        ("tokenizer_config.json", {"tokenizer_config.json": {"chat_template": "1"}}, "1"),
        ("a list", {"tokenizer_config.json": {"chat_template": [{"name": "default", "template": "2"}]}}, "2"),
        ("chat_template.json", {"chat_template.json": {"chat_template": "3"}}, "3"),
        ("chat_template.jinja", {"chat_template.jinja": "4", "tokenizer_config.json": {"chat_template": "1"}}, "4"),
    ]:
        expect(f"template of {what}", tokens_of(bundle_of(what, files=files), "--chat", "-p", "hi"), tokens_of(plain, "-p", text))
    named = bundle_of("names", files={"chat_template.jinja": "5", "additional_chat_templates/rag.jinja": "6"})
    expect("the default template", tokens_of(named, "--chat", "-p", "hi"), tokens_of(plain, "-p", "5"))
    expect("a template by name", tokens_of(named, "--chat", "--chat-template", "rag", "-p", "hi"), tokens_of(plain, "-p", "6"))
    unknown = t.run("run-model", named, "--chat", "--chat-template", "x", "-p", "hi", "--tokenize")
    expect("an unknown template", (unknown.returncode, "'x'" in unknown.stderr), (1, True))

    # Older files (ggml-org/llama.cpp pull request 9485, mlc-ai/web-llm issue 61).
    old = bundle_of("old spelling", {"architectures": ["LLaMAForCausalLM"], "max_position_embeddings": None, "max_sequence_length": 64})
    expect("an older config.json", answer(old)["token_ids"], [256, END])

    if complaints:
        tools.fail("\n".join(complaints))


tools.main(test)
