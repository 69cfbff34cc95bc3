"""serve-model on the example model: the answers of each path, streams, keys, TLS, disconnects, and shutdown."""

import http.client
import json
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import serve_support
import tools

complaints = []
GREEDY = {"max_tokens": 12, "temperature": 0, "ignore_eos": True}


def expect(name: str, found, expected) -> None:
    if found != expected:
        complaints.append(f"{name}: expected {expected!r}, found {found!r}")


def expect_that(name: str, holds: bool, found) -> None:
    if not holds:
        complaints.append(f"{name}: found {found!r}")


def wait_until(condition, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def completions(t: tools.Tools, bundle: pathlib.Path, server: serve_support.Server) -> None:
    truth = t.generate(bundle, "--prompt", "def f", "--max-tokens", 12, "--temperature", 0, "--ignore-eos", "--logprobs", 2)
    status, answer = server.post("/v1/completions", {"prompt": "def f", "logprobs": 2, **GREEDY})
    expect("status", status, 200)
    choice = answer["choices"][0]
    expect("text", choice["text"], truth["text"])
    expect("finish_reason", choice["finish_reason"], "length")
    expect("usage", answer["usage"]["total_tokens"], len(truth["prompt_token_ids"]) + 12)
    expect("tokens joined", "".join(choice["logprobs"]["tokens"]), truth["text"])
    for found, entry in zip(choice["logprobs"]["token_logprobs"], truth["logprobs"]):
        expect_that("token_logprobs", abs(found - entry["logprob"]) < 1e-4, (found, entry))
    expect("top_logprobs", [len(top) for top in choice["logprobs"]["top_logprobs"]], [2] * 12)

    events = server.stream("/v1/completions", {"prompt": "def f", "stream_options": {"include_usage": True}, **GREEDY})
    expect("streamed text", "".join(event["choices"][0]["text"] for event in events[:-1]), truth["text"])
    reasons = [event["choices"][0]["finish_reason"] for event in events[:-1]]
    expect("streamed reasons", reasons, [None] * (len(reasons) - 1) + ["length"])
    expect("streamed usage", (events[-1]["choices"], events[-1]["usage"]["completion_tokens"]), ([], 12))

    ids = truth["prompt_token_ids"]
    several = server.post("/v1/completions", {"prompt": [ids, ids], "n": 2, "echo": True, **GREEDY})[1]["choices"]
    expect("several", [(c["index"], c["text"]) for c in several],
           [(i, "def f" + truth["text"]) for i in range(4)])
    stop = truth["text"][2:4]
    stopped = server.post("/v1/completions", {"prompt": "def f", "stop": stop, **GREEDY})[1]["choices"][0]
    expect("stop", (stopped["text"], stopped["finish_reason"]), (truth["text"].split(stop)[0], "stop"))

    sampled = {"prompt": "def ", "seed": 5, "temperature": 1.0, "max_tokens": 16, "n": 3}
    first, again = (server.post("/v1/completions", sampled)[1]["choices"] for _ in range(2))
    expect("a seed gives the same answers", again, first)
    expect_that("answers of one request differ", len({c["text"] for c in first}) == 3, first)
    best = server.post("/v1/completions", {**sampled, "n": 1, "best_of": 3})[1]
    expect_that("best_of gives one of its candidates", best["choices"][0]["text"] in {c["text"] for c in first}, best)
    expect_that("best_of counts all candidates", best["usage"]["completion_tokens"] > 16, best["usage"])


def chats(server: serve_support.Server) -> None:
    body = {"messages": [{"role": "user", "content": "sort"}], **GREEDY}
    status, answer = server.post("/v1/chat/completions", {**body, "logprobs": True, "top_logprobs": 2})
    expect("chat status", status, 200)
    choice = answer["choices"][0]
    prompt = "# user: sort\ndef "
    same = server.post("/v1/completions", {"prompt": prompt, **GREEDY})[1]
    expect("chat text", choice["message"]["content"], same["choices"][0]["text"])
    expect("chat usage", answer["usage"]["prompt_tokens"], same["usage"]["prompt_tokens"])
    expect("chat logprobs", [len(entry["top_logprobs"]) for entry in choice["logprobs"]["content"]], [2] * 12)
    events = server.stream("/v1/chat/completions", body)
    expect("chat role", events[0]["choices"][0]["delta"]["role"], "assistant")
    expect("streamed chat", "".join(e["choices"][0]["delta"].get("content", "") for e in events),
           choice["message"]["content"])
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    with_tools = server.post("/v1/chat/completions", {**body, "tools": [tool]})
    expect("tools reach the template", with_tools[1]["usage"]["prompt_tokens"] > answer["usage"]["prompt_tokens"], True)
    forced(server, body)
    counted = server.post("/tokenize", {"messages": body["messages"]})[1]
    expect("tokens of a chat", counted["count"], answer["usage"]["prompt_tokens"])


def forced(server: serve_support.Server, body: dict) -> None:
    """Calls that tool_choice forces, with schemas that contain references."""
    digit = {"$ref": "#/$defs/digit"}
    tools_ = [{"type": "function", "function": {"name": name, "parameters": {
        "type": "object", "properties": {name: digit}, "required": [name], "additionalProperties": False,
        "$defs": {"digit": {"type": "integer", "minimum": 0, "maximum": 9}}}}} for name in ("f", "g")]
    body = {**body, "tools": tools_, "max_tokens": 300, "ignore_eos": False}
    for choice in ("required", {"type": "function", "function": {"name": "g"}}):
        status, answer = server.post("/v1/chat/completions",
                                     {**body, "tool_choice": choice, "parallel_tool_calls": False})
        expect("a forced call", status, 200)
        said = answer["choices"][0]
        calls = said["message"].get("tool_calls") or []
        expect("calls", len(calls), 1)
        expect("finish_reason of a call", said["finish_reason"], "tool_calls")
        for call in calls:
            name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
            expect("a call's name", name in (("f", "g") if choice == "required" else ("g",)), True)
            expect("a call's arguments", (list(arguments), arguments.get(name) in range(10)), ([name], True))
    # No finite text matches a schema that only refers to itself.
    tools_[0]["function"]["parameters"] = {"$ref": "#"}
    status, error = server.post("/v1/chat/completions", {**body, "tool_choice": "required"})
    expect("a recursive schema", (status, error["error"]["type"]), (400, "invalid_request_error"))


def other_paths(server: serve_support.Server) -> None:
    ids = server.post("/tokenize", {"prompt": "def f(x):"})[1]
    expect("count", ids["count"], len(ids["tokens"]))
    text = server.post("/detokenize", {"tokens": ids["tokens"]})[1]["prompt"]
    expect_that("detokenize", text.endswith("def f(x):"), text)
    models = server.get("/v1/models")[1]["data"]
    expect("models", [model["id"] for model in models], ["example", "alias"])
    expect("model", server.get("/v1/models/alias")[1]["max_model_len"], 1024)
    expect("unknown model", server.get("/v1/models/none")[0], 404)
    expect("wrong model", server.post("/v1/completions", {"prompt": "a", "model": "none"})[1]["error"]["code"],
           "model_not_found")
    for path in ("/health", "/ready", "/version"):
        expect(path, server.get(path)[0], 200)
    expect("HEAD", server.request("HEAD", "/health"), (200, ""))
    page = server.get("/")[1]
    expect_that("page", page.startswith("<!doctype html>") and "v1/chat/completions" in page, page[:100])
    too_long = server.post("/v1/completions", {"prompt": "a", "max_tokens": 1024})
    expect("too long", (too_long[0], too_long[1]["error"]["code"]), (400, "context_length_exceeded"))


def metrics(server: serve_support.Server) -> None:
    """The times of prefill and decode add up to the time of inference."""
    total = lambda part: server.metric(f"request_{part}_time_seconds_sum")
    counts = {part: server.metric(f"request_{part}_time_seconds_count") for part in ("prefill", "decode", "inference")}
    expect_that("requests with times", len(set(counts.values())) == 1 and counts["decode"] > 10, counts)
    expect_that("prefill and decode are inference", abs(total("prefill") + total("decode") - total("inference")) < 1e-6 <
                total("decode"), [total(part) for part in counts])


def disconnects(server: serve_support.Server) -> None:
    """When a client disconnects, its request is cancelled and its pages are freed."""
    body = json.dumps({"prompt": "def ", "max_tokens": 1000, "ignore_eos": True, "stream": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    before = server.metric("request_success_total", 'finished_reason="abort"')
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(head.encode() + body)
            client.recv(100)
    expect_that("disconnects cancel", wait_until(lambda: server.metric("num_requests_running") == 0 and
                server.metric("request_success_total", 'finished_reason="abort"') > before), server.get("/metrics")[1])
    expect("pages in use", server.metric("kv_cache_usage_perc"), 0)


def keep_alive(server: serve_support.Server) -> None:
    """Many requests, streams among them, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for stream in (False, True, False, True):
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "def f", "stream": stream, **GREEDY}),
                           {"Content-Type": "application/json"})
        response = connection.getresponse()
        expect("kept alive", response.status, 200)
        response.read()
        expect_that("kept open", not response.will_close, response.headers.as_string())
    connection.close()


def bench(t: tools.Tools, bundle: pathlib.Path, server: serve_support.Server) -> None:
    """bench-model serve counts the same tokens as the server, for each load. Its results have vLLM's names."""
    before = server.metric("generation_tokens_total")
    sweep = json.loads(t.checked("bench-model", "serve", "--port", server.port, "--num-prompts", 12, "--random-input-len", 20,
                                 "--random-output-len", 8, "--request-rate", "200,inf", "--max-concurrency", "1,4",
                                 "--num-warmups", 0, "--goodput", "ttft:100000", "--json"))["results"]
    expect("sweep", [(r["request_rate"], r["max_concurrency"]) for r in sweep], [(200.0, 1), (200.0, 4), ("inf", 1), ("inf", 4)])
    for result in sweep:
        expect("bench tokens", (result["completed"], result["total_input_tokens"], result["total_output_tokens"]),
               (12, 240, 96))
        expect("goodput", result["request_goodput"], result["request_throughput"])
        expect_that("times", 0 < result["median_ttft_ms"] <= result["p99_e2el_ms"], result)
    expect("tokens that the server counted", server.metric("generation_tokens_total") - before, 4 * 96)
    turns = json.loads(t.checked("bench-model", "serve", "--port", server.port, "--dataset-name", "multi_turn", "--turns", 3,
                                 "--num-prompts", 6, "--random-input-len", 5, "--random-output-len", 4, "--endpoint",
                                 "/v1/chat/completions", "--json"))
    expect("turns", (turns["completed"], turns["failed"], turns["total_output_tokens"]), (6, 0, 24))
    throughput = json.loads(t.checked("bench-model", "throughput", bundle, "--num-prompts", 8, "--input-len", 10,
                                      "--output-len", 4, "--json"))
    expect("throughput", (throughput["num_requests"], throughput["total_num_tokens"]), (8, 112))
    refused = t.run("bench-model", "serve", "--port", server.port, "--random-input-len", 5000)
    expect_that("a prompt that is refused", refused.returncode == 1 and "the warm-up request failed: 400" in refused.stderr,
                refused)


def prefix_reuse(t: tools.Tools, bundle: pathlib.Path) -> None:
    """For prompts with a common prefix, the first token comes at least five times sooner with prefix caching."""
    times = {}
    for flag in ("--enable-prefix-caching", "--no-enable-prefix-caching"):
        with serve_support.serving(t.binaries, bundle, flag) as server:
            result = json.loads(t.checked("bench-model", "serve", "--port", server.port, "--dataset-name",
                                          "prefix_repetition", "--random-prefix-len", 960, "--random-input-len", 16,
                                          "--random-output-len", 4, "--num-prefixes", 2, "--num-prompts", 16,
                                          "--num-warmups", 2, "--max-concurrency", 1, "--json"))
            times[flag] = result["median_ttft_ms"]
            hits = server.metric("prefix_cache_hits_total")
            expect_that(f"tokens found with {flag}", (hits >= 13 * 960) == (flag == "--enable-prefix-caching"), hits)
    on, off = times.values()
    expect_that("reuse makes the first token come sooner", off > 5 * on, times)


def keys(t: tools.Tools, bundle: pathlib.Path) -> None:
    with serve_support.serving(t.binaries, bundle, "--max-waiting", 0, "--max-num-seqs", 1, key="secret") as server:
        expect("with the key", server.get("/v1/models")[0], 200)
        for authorization in ("", "Bearer", "Bearer wrong", "Bearer secre", "Bearer secrets", "secret"):
            for path in ("/v1/models", "/metrics", "/", "/none"):
                status, body = server.get(path, headers={"Authorization": authorization})
                expect(f"{path} with '{authorization}'", (status, body["error"]["code"]), (401, "invalid_api_key"))
        for path in ("/health", "/ready"):
            expect(f"{path} needs no key", server.get(path, headers={"Authorization": ""})[0], 200)
        expect("a browser's password", server.get("/", headers={"Authorization": "Basic dTpzZWNyZXQ="})[0], 200)
        # One sequence at a time and no queue: the second sequence is rejected.
        refused = server.post("/v1/completions", {"prompt": "a", "n": 2})
        expect("a full queue", (refused[0], refused[1]["error"]["code"]), (503, "overloaded"))


def tls(t: tools.Tools, bundle: pathlib.Path) -> None:
    if not shutil.which("openssl"):
        return tools.skipped("TLS: the program openssl is missing")
    key, certificate = t.scratch / "key.pem", t.scratch / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                    "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True)
    with serve_support.serving(t.binaries, bundle, "--ssl-certfile", certificate, "--ssl-keyfile", key) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=30)
        for stream in (True, False):
            connection.request("POST", "/v1/completions", json.dumps({"prompt": "a", "stream": stream, **GREEDY}),
                               {"Content-Type": "application/json"})
            response = connection.getresponse()
            expect("over TLS", (response.status, len(response.read()) > 100), (200, True))
        connection.close()
        expect("ends", server.stop(), 0)
    broken = t.run("serve-model", bundle, "--ssl-certfile", key, "--ssl-keyfile", key)
    expect_that("a wrong certificate", broken.returncode == 1 and "--ssl-certfile" in broken.stderr, broken)


def drain(t: tools.Tools, bundle: pathlib.Path) -> None:
    """After SIGTERM, running requests finish, new ones are refused, and the exit code is 0. A second SIGTERM ends the
    server without waiting for requests."""
    for is_patient in (True, False):
        with serve_support.serving(t.binaries, bundle) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            connection.request("POST", "/v1/completions", json.dumps(
                {"prompt": "def ", "max_tokens": 900, "ignore_eos": True, "stream": True}),
                {"Content-Type": "application/json"})
            response = connection.getresponse()
            first = response.fp.peek(1)
            server.process.send_signal(signal.SIGTERM)
            if is_patient:
                text = response.read().decode()
                expect_that("the stream ends well", text.endswith("data: [DONE]\n\n"), text[-200:])
            else:
                server.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            expect("exit code", server.process.wait(30), 0)
            expect_that("ends soon", time.monotonic() - began < 10, first)
            connection.close()


def test(t: tools.Tools, bundle: pathlib.Path) -> None:
    chat_bundle = serve_support.with_chat_template(bundle, t.scratch / "chat.inlay")
    with serve_support.serving(t.binaries, chat_bundle, "--served-model-name", "example", "--served-model-name", "alias",
                               "--tool-call-parser", "hermes") as server:
        completions(t, bundle, server)
        chats(server)
        other_paths(server)
        metrics(server)
        disconnects(server)
        keep_alive(server)
        bench(t, bundle, server)
        expect("exit code", server.stop(), 0)
    with serve_support.serving(t.binaries, bundle) as server:
        status, error = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]})
        expect_that("without a template", status == 400 and "no chat template" in error["error"]["message"], error)
        status, error = server.post("/v1/completions", {"prompt": "a"}, headers={"Content-Type": "text/plain"})
        expect("content type", (status, error["error"]["code"]), (415, "unsupported_media_type"))
        threads = [threading.Thread(target=lambda: expect("at once", server.post("/v1/completions", {
            "prompt": "def f", **GREEDY})[0], 200)) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = t.run("serve-model", bundle, "--port", server.port)
        expect_that("a port that is taken", taken.returncode == 1 and "choose another" in taken.stderr, taken)
    prefix_reuse(t, bundle)
    keys(t, bundle)
    tls(t, bundle)
    drain(t, bundle)
    if complaints:
        tools.fail("\n".join(complaints))


tools.main(test)
