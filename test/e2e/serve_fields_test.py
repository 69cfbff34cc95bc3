"""Request fields of serve-model. Fields with vLLM's names have vLLM's meaning; docs/api.md lists the supported ones."""

import json
import pathlib
import re
import signal
import subprocess
import urllib.request

import serve_support
import tools

complaints = []
GREEDY = {"max_tokens": 12, "temperature": 0, "ignore_eos": True}


def expect(name: str, found, expected) -> None:
    if found != expected:
        complaints.append(f"{name}: expected {expected!r}, found {found!r}")


def prompts(server: serve_support.Server) -> None:
    """prompt_logprobs, token ids and truncation."""
    body = {"prompt": "def main(argv):\n", "prompt_logprobs": 2, "return_token_ids": True, **GREEDY}
    choice = server.post("/v1/completions", body)[1]["choices"][0]
    ids, entries = choice["prompt_token_ids"], choice["prompt_logprobs"]
    expect("entries", (len(entries), entries[0]), (len(ids), None))
    for token, entry in zip(ids[1:], entries[1:]):
        expect("the prompt's own token comes first", list(entry)[0], str(token))
        expect("entries of a token", len(entry), 2 if entry[str(token)]["rank"] <= 2 else 3)
        ranked = sorted(entry.values(), key=lambda one: one["rank"])
        expect("ranks", [one["rank"] for one in ranked][:2], [1, 2])
        expect("likelier ones come first", ranked, sorted(ranked, key=lambda one: -one["logprob"]))
    expect("tokens", len(choice["token_ids"]), 12)
    chat = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "sort"}], "prompt_logprobs": 0,
                                                "return_token_ids": True, **GREEDY})[1]
    expect("logprobs and ids of a chat", (len(chat["prompt_logprobs"]), len(chat["choices"][0]["token_ids"])),
           (len(chat["prompt_token_ids"]), 12))
    events = server.stream("/v1/completions", {"prompt": "def f", "return_token_ids": True, **GREEDY})
    expect("streamed ids", sum((event["choices"][0]["token_ids"] for event in events), []),
           server.post("/v1/completions", {"prompt": "def f", "return_token_ids": True, **GREEDY})[1]["choices"][0]["token_ids"])
    expect("prompt_token_ids only in the first event", ["prompt_token_ids" in event["choices"][0] for event in events],
           [True] + [False] * (len(events) - 1))

    def kept(**fields):
        return server.post("/v1/completions", {"prompt": ids, "return_token_ids": True, **GREEDY, **fields})[1]["choices"][0]

    expect("truncation on the left", kept(truncate_prompt_tokens=3)["prompt_token_ids"], ids[-3:])
    expect("truncation on the right", kept(truncate_prompt_tokens=3, truncation_side="right")["prompt_token_ids"],
           ids[:3])
    expect("truncation to the context", kept(prompt=ids * 400, truncate_prompt_tokens=-1)["prompt_token_ids"],
           (ids * 400)[-(1024 - 12):])
    expect("too long", server.post("/v1/completions", {"prompt": ids * 400, **GREEDY})[0], 400)
    # An echo contains only the tokens that are left after truncation.
    echoed = kept(truncate_prompt_tokens=2, echo=True, max_tokens=1)
    expect("an echo", echoed["text"].startswith(server.post("/detokenize", {"tokens": ids[-2:]})[1]["prompt"]), True)


def answers(server: serve_support.Server) -> None:
    """The reasons for which answers end, and their log-probabilities."""
    text = server.post("/v1/completions", {"prompt": "def f", **GREEDY})[1]["choices"][0]
    expect("length", (text["finish_reason"], text["stop_reason"]), ("length", None))
    stop = text["text"][2:4]
    for extra in ({}, {"include_stop_str_in_output": True}):
        body = {"prompt": "def f", "stop": [stop, "never"], **GREEDY, **extra}
        found = server.post("/v1/completions", body)[1]["choices"][0]
        expect("stop", (found["finish_reason"], found["stop_reason"]), ("stop", stop))
        expect("text", found["text"], text["text"].split(stop)[0] + (stop if extra else ""))
        events = server.stream("/v1/completions", body)
        expect("streamed", ("".join(e["choices"][0]["text"] for e in events), events[-1]["choices"][0]["stop_reason"]),
               (found["text"], stop))
    forced = {"prompt": "def f", "allowed_token_ids": [40, 41], "logit_bias": {"41": 100}, "stop_token_ids": [41], **GREEDY}
    expect("a stop token", server.post("/v1/completions", forced)[1]["choices"][0]["stop_reason"], 41)
    held = server.post("/v1/completions", {**forced, "min_tokens": 5})[1]
    expect("min_tokens", held["usage"]["completion_tokens"], 6)
    named = server.post("/v1/completions", {"prompt": "def f", "logprobs": 1, "return_tokens_as_token_ids": True,
                                            "return_token_ids": True, **GREEDY})[1]["choices"][0]
    expect("names", named["logprobs"]["tokens"], [f"token_id:{i}" for i in named["token_ids"]])
    plain = {"prompt": "def f", "logprobs": 0, "max_tokens": 4, "temperature": 0}
    same = [server.post("/v1/completions", {**plain, **more})[1]["choices"][0]["logprobs"]["token_logprobs"][0]
            for more in ({}, {"logit_bias": {"5": -100}}, {"repetition_penalty": 1.01}, {"temperature": 1.9, "top_k": 1})]
    for one in same[1:]:
        expect("log-probabilities are the model's", abs(one - same[0]) < 1e-3, True)
    expect("an id", server.post("/v1/completions", {"prompt": "a", "request_id": "mine-1", **GREEDY})[1]["id"], "cmpl-mine-1")


def chats(server: serve_support.Server) -> None:
    messages = [{"role": "user", "content": "sort"}, {"role": "assistant", "content": "def so"}]
    body = {"messages": messages, "continue_final_message": True, "add_generation_prompt": False, **GREEDY}
    text = server.post("/v1/chat/completions", body)[1]["choices"][0]["message"]["content"]
    prompt = "# user: sort\n# assistant: def so"
    expect("continue_final_message", text,
           server.post("/v1/completions", {"prompt": prompt, **GREEDY})[1]["choices"][0]["text"])
    expect("continue_final_message with echo",
           server.post("/v1/chat/completions", {**body, "echo": True})[1]["choices"][0]["message"]["content"],
           "def so" + text)
    both = server.post("/v1/chat/completions", {**body, "add_generation_prompt": True})
    expect("continue_final_message with add_generation_prompt", (both[0], both[1]["error"]["param"]),
           (400, "continue_final_message"))


def unknown(t: tools.Tools, bundle: pathlib.Path) -> None:
    """The log names each unknown field once. --strict-fields refuses unknown fields."""
    body = {"prompt": "a", "tempreature": 1, "max_tokens": 1, "bad\nname": 1, "user": "u"}
    log = t.scratch / "log.txt"
    with open(log, "w", encoding="utf-8") as stderr:
        process = subprocess.Popen([t.binaries / "serve-model", bundle, "--port", "0", "--quiet"], stdout=subprocess.PIPE,
                                   stderr=stderr, text=True)
        try:
            server = serve_support.Server(process, int(process.stdout.readline().strip().rsplit(":", 1)[1]))
            for _ in range(3):
                expect("accepted", server.post("/v1/completions", body)[0], 200)
            priority = server.post("/v1/completions", {"prompt": "a", "priority": 1})
            expect("priority under fcfs", (priority[0], priority[1]["error"]["param"]), (400, "priority"))
            server.stop()
        finally:
            process.kill()
            process.stdout.close()
    lines = log.read_text().splitlines()
    for name in ("tempreature", "bad\\x0aname", "user"):
        expect(f"lines about {name}", sum(f"'{name}'" in line for line in lines), 1)
    expect("lines", len(lines), 3)
    with serve_support.serving(t.binaries, bundle, "--strict-fields", "--served-model-name", "org/name",
                               "--scheduling-policy", "priority") as server:
        status, error = server.post("/v1/completions", {"prompt": "a", "tempreature": 1})
        expect("refused", (status, error["error"]["param"]), (400, "tempreature"))
        expect("priority", server.post("/v1/completions", {"prompt": "a", "priority": -3, "max_tokens": 1})[0], 200)
        # openai-python's models.retrieve("org/name"), with the slash escaped and not escaped.
        for path in ("/v1/models/org/name", "/v1/models/org%2Fname", "/v1/models/org%2fname"):
            status, model = server.get(path)
            expect(path, (status, model.get("id")), (200, "org/name"))
        expect("another name", server.get("/v1/models/org%2")[0], 404)


def request_ids(t: tools.Tools, bundle: pathlib.Path) -> None:
    """X-Request-Id, as with vLLM's --enable-request-id-headers, and the request log."""
    log = t.scratch / "requests.txt"
    with open(log, "w", encoding="utf-8") as stderr:
        process = subprocess.Popen([t.binaries / "serve-model", bundle, "--port", "0", "--quiet", "--enable-log-requests"],
                                   stdout=subprocess.PIPE, stderr=stderr, text=True)
        try:
            port = int(process.stdout.readline().strip().rsplit(":", 1)[1])

            def ask(method: str, path: str, body: dict | None, id: str) -> tuple[str, dict]:
                request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method,
                                                 data=json.dumps(body).encode() if body else None,
                                                 headers={"Content-Type": "application/json", "X-Request-Id": id})
                with urllib.request.urlopen(request) as response:
                    text = response.read().decode()
                    return response.headers["X-Request-Id"], json.loads(text) if body and not body.get("stream") else text

            own, answer = ask("POST", "/v1/completions", {"prompt": "def a", **GREEDY}, "trace-1.a")
            expect("own id", (own, answer["id"]), ("trace-1.a", "cmpl-trace-1.a"))
            expect("stream", ask("POST", "/v1/completions", {"prompt": "def a", "stream": True, **GREEDY}, "trace-2")[0], "trace-2")
            for bad in ("a b", "a=b", "x" * 129, "ä"):
                found = ask("GET", "/health", None, bad)[0]
                expect(f"a new id instead of {bad[:5]}", bool(re.fullmatch("[0-9a-f]{24}", found)), True)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()
            process.stdout.close()
    lines = log.read_text().splitlines()
    usage = answer["usage"]
    expect("a line", bool(re.fullmatch(
        r"serve-model: request id=trace-1\.a client=127\.0\.0\.1:\d+ method=POST handler=/v1/completions status=200 "
        rf"seconds=\d+\.\d+ prompt_tokens={usage['prompt_tokens']} cached_tokens=\d+ "
        rf"completion_tokens={usage['completion_tokens']}", lines[0])), True)
    expect("lines", [line.split(" handler=")[1].split(" seconds")[0] for line in lines],
           ["/v1/completions status=200"] * 2 + ["/health status=200"] * 4)


def test(t: tools.Tools, bundle: pathlib.Path) -> None:
    chat_bundle = serve_support.with_chat_template(bundle, t.scratch / "chat.inlay")
    with serve_support.serving(t.binaries, chat_bundle) as server:
        prompts(server)
        answers(server)
        chats(server)
    unknown(t, bundle)
    request_ids(t, bundle)
    if complaints:
        tools.fail("\n".join(complaints))


tools.main(test)
