"""Malformed and hostile requests. Each gets a 4xx status and a message in OpenAI's format, while 16 well-behaved
clients continue and get the same tokens as alone."""

import json
import pathlib
import socket
import threading
import time

import serve_support
import tools

complaints = []
GOOD = {"prompt": "def f", "max_tokens": 24, "temperature": 0, "ignore_eos": True}
OK = {"prompt": "a"}


def deep(levels: int) -> bytes:
    return b'{"prompt": ' + b"[" * levels + b"]" * levels + b"}"


def schema(**more) -> dict:
    return {"type": "json_schema", "json_schema": {"name": "x", **more}}


COMPLETIONS = {  # body -> the param that the error names, None: any
    "empty body": (b"", None),
    "not JSON": (b"prompt=a", None),
    "truncated JSON": (b'{"prompt": "a"', None),
    "trailing comma": (b'{"prompt": "a",}', None),
    "two values": (b'{"prompt": "a"} {}', None),
    "a list": (b"[]", None),
    "null": (b"null", None),
    "a number": (b"1", None),
    "a string": (b'"a"', None),
    "NaN": (b'{"prompt": "a", "temperature": NaN}', None),
    "Infinity": (b'{"prompt": "a", "temperature": Infinity}', None),
    "overflowing number": (b'{"prompt": "a", "temperature": 1e400}', None),
    "invalid UTF-8": (b'{"prompt": "\xff\xfe"}', None),
    "overlong UTF-8": (b'{"prompt": "\xc0\x80"}', None),
    "a lone high surrogate": (b'{"prompt": "\\ud800"}', None),
    "a lone low surrogate": (b'{"prompt": "\\udc00 a"}', None),
    "surrogates in the wrong order": (b'{"prompt": "\\udc00\\ud800"}', None),
    "a control character": (b'{"prompt": "a\nb"}', None),
    "deep JSON": (deep(100), None),
    "very deep JSON": (deep(500_000), None),
    "unclosed brackets": (b'{"prompt": ' + b"[" * 100_000, None),
    "100,000 fields": (json.dumps({f"x{i}": 1 for i in range(100_000)}).encode(), None),
    "a name twice": (b'{"prompt": "a", "prompt": "b"}', "prompt"),
    "no prompt": ({}, "prompt"),
    "prompt null": ({"prompt": None}, "prompt"),
    "empty prompt": ({"prompt": ""}, "prompt"),
    "empty list": ({"prompt": []}, "prompt"),
    "list of empty": ({"prompt": [""]}, "prompt"),
    "prompt object": ({"prompt": {}}, "prompt"),
    "mixed prompts": ({"prompt": ["a", 1]}, "prompt"),
    "1,000 prompts": ({"prompt": ["a"] * 1000}, "prompt"),
    "negative id": ({"prompt": [-1]}, "prompt"),
    "id beyond the vocabulary": ({"prompt": [10**6]}, "prompt"),
    "id of 64 bits": ({"prompt": [2**63]}, "prompt"),
    "fractional id": ({"prompt": [0.5]}, "prompt"),
    "a prompt beyond the context": ({"prompt": "word " * 3000}, "prompt"),
    "a known field that is not supported": ({**OK, "length_penalty": 2}, "length_penalty"),
    "unknown model": ({**OK, "model": "gpt-9"}, "model"),
    "model as a number": ({**OK, "model": 4}, "model"),
    "n of a billion": ({**OK, "n": 10**9}, "n"),
    "n of zero": ({**OK, "n": 0}, "n"),
    "negative n": ({**OK, "n": -3}, "n"),
    "n as text": ({**OK, "n": "3"}, "n"),
    "n true": ({**OK, "n": True}, "n"),
    "best_of below n": ({**OK, "n": 3, "best_of": 1}, "best_of"),
    "max_tokens zero": ({**OK, "max_tokens": 0}, "max_tokens"),
    "max_tokens negative": ({**OK, "max_tokens": -1}, "max_tokens"),
    "max_tokens huge": ({**OK, "max_tokens": 10**30}, "max_tokens"),
    "max_tokens as a list": ({**OK, "max_tokens": [1]}, "max_tokens"),
    "temperature negative": ({**OK, "temperature": -1}, "temperature"),
    "temperature as text": ({**OK, "temperature": "hot"}, "temperature"),
    "temperature huge": ({**OK, "temperature": 1e300}, "temperature"),
    "top_p zero": ({**OK, "top_p": 0}, "top_p"),
    "top_p above one": ({**OK, "top_p": 1.01}, "top_p"),
    "top_k negative": ({**OK, "top_k": -2}, "top_k"),
    "min_p": ({**OK, "min_p": 2}, "min_p"),
    "repetition_penalty zero": ({**OK, "repetition_penalty": 0}, "repetition_penalty"),
    "presence_penalty": ({**OK, "presence_penalty": 3}, "presence_penalty"),
    "frequency_penalty": ({**OK, "frequency_penalty": -3}, "frequency_penalty"),
    "seed as text": ({**OK, "seed": "x"}, "seed"),
    "seed of 100 digits": ({**OK, "seed": 10**100}, "seed"),
    "10,000 stop strings": ({**OK, "stop": ["x"] * 10_000}, "stop"),
    "a stop string of a megabyte": ({**OK, "stop": "x" * 2**20}, None),
    "an empty stop string": ({**OK, "stop": [""]}, "stop"),
    "stop as an object": ({**OK, "stop": {"a": 1}}, "stop"),
    "stop_token_ids": ({**OK, "stop_token_ids": [-5]}, "stop_token_ids"),
    "many logprobs": ({**OK, "logprobs": 10**6}, "logprobs"),
    "negative logprobs": ({**OK, "logprobs": -1}, "logprobs"),
    "stream as text": ({**OK, "stream": "yes"}, "stream"),
    "stream_options without a stream": ({**OK, "stream_options": {"include_usage": True}}, "stream_options"),
    "stream_options as a list": ({**OK, "stream": True, "stream_options": []}, "stream_options"),
    "logit_bias beyond the vocabulary": ({**OK, "logit_bias": {"99999999": 1}}, "logit_bias"),
    "logit_bias of words": ({**OK, "logit_bias": {"the": 1}}, "logit_bias"),
    "logit_bias huge": ({**OK, "logit_bias": {"1": 1e9}}, "logit_bias"),
    "a suffix": ({**OK, "suffix": "b"}, "suffix"),
    "beam search": ({**OK, "use_beam_search": True}, "use_beam_search"),
    "an unknown format": ({**OK, "response_format": {"type": "yaml"}}, "response_format"),
    "a format as text": ({**OK, "response_format": "json"}, "response_format"),
    "no schema": ({**OK, "response_format": {"type": "json_schema"}}, "response_format"),
    "a schema that is a list": ({**OK, "response_format": schema(schema=[])}, "response_format"),
    "a recursive schema": ({**OK, "response_format": schema(schema={"$ref": "#"})}, None),
    "an invalid regex": ({**OK, "structured_outputs": {"regex": "(("}}, None),
    "an invalid grammar": ({**OK, "structured_outputs": {"grammar": "::="}}, None),
    "priority beyond 32 bits": ({**OK, "priority": 2**40}, "priority"),
}
CHATS = {
    "no messages": ({}, "messages"),
    "messages as text": ({"messages": "hi"}, "messages"),
    "no message": ({"messages": []}, "messages"),
    "4,500 messages": ({"messages": [{"role": "user", "content": "a"}] * 4500}, "messages"),
    "a message as a number": ({"messages": [1]}, "messages[0]"),
    "a missing role": ({"messages": [{"content": "a"}]}, "messages[0].role"),
    "no role": ({"messages": [{"content": "a"}]}, "messages[0].role"),
    "no content": ({"messages": [{"role": "user"}]}, "messages[0].content"),
    "content as a number": ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
    "an image": ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, None),
    "tools as an object": ({"messages": [{"role": "user", "content": "a"}], "tools": {}}, "tools"),
    "a tool without a name": ({"messages": [{"role": "user", "content": "a"}],
                               "tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    "top_logprobs alone": ({"messages": [{"role": "user", "content": "a"}], "top_logprobs": 3}, "top_logprobs"),
    "a template of the client's": ({"messages": [{"role": "user", "content": "a"}],
                                    "chat_template": "{% for i in range(10**9) %}{% endfor %}"}, "chat_template"),
}
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
RAW = {  # bytes -> the status
    "not HTTP": (b"hello\r\n\r\n", 400),
    "a giant header": (b"GET /health HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", 431),
    "10,000 header fields": (b"GET /health HTTP/1.1\r\n" + b"X: a\r\n" * 10_000 + b"\r\n", 431),
    "a giant target": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
    "a huge Content-Length": (HEAD + b"Content-Length: 99999999999\r\n\r\n", 413),
    "a length that is not a number": (HEAD + b"Content-Length: ten\r\n\r\n", 400),
    "a negative length": (HEAD + b"Content-Length: -5\r\n\r\n", 400),
    "two lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    "a length and chunks": (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a bad chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", 400),
    "a chunk of 2^64": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n", 400),
    "a chunked body that is huge": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b" " * 65536 + b"\r\n"
                                    + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 80, 413),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "an unknown method": (b"BREW /v1/completions HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "GET of a completion": (b"GET /v1/completions HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "DELETE of a model": (b"DELETE /v1/models/x HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "a path outside of the root": (b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "an unknown path": (b"GET /v2/completions HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "no content type": (b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 415),
    "a form": (b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data\r\nContent-Length: 2\r\n\r\n{}",
               415),
    "a space in a field's name": (b"GET /health HTTP/1.1\r\nHo st: a\r\n\r\n", 400),
    "a zero byte": (b"GET /health HTTP/1.1\r\nHost: a\x00b\r\n\r\n", 400),
}


def check_error(name: str, status: int, body, statuses, param=None) -> None:
    error = body.get("error") if isinstance(body, dict) else None
    if status not in statuses or not error or not error.get("message") or set(error) != {"message", "type", "param", "code"}:
        complaints.append(f"{name}: expected an error with status {sorted(statuses)}, found {status} {str(body)[:300]}")
    elif param and error["param"] != param:
        complaints.append(f"{name}: expected the param {param!r}, found {error}")
    elif len(error["message"]) > 1000:
        complaints.append(f"{name}: the message has {len(error['message'])} characters")


def send_raw(port: int, data: bytes, pause: float = 0) -> tuple[int, dict]:
    """Sends bytes and returns the answer. With a pause (seconds), sends one byte at a time."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        try:
            for part in ([data] if pause == 0 else [data[i : i + 1] for i in range(len(data))]):
                client.sendall(part)
                time.sleep(pause)
        except OSError:
            pass  # answered and closed before all was sent
        answer = b""
        try:
            while part := client.recv(65536):
                answer += part
                head, _, body = answer.partition(b"\r\n\r\n")
                if body.endswith(b"}"):
                    break
        except OSError:
            pass
    head, _, body = answer.partition(b"\r\n\r\n")
    try:
        return int(head.split()[1]), json.loads(body)
    except (IndexError, ValueError):
        return 0, {"found": answer[:200].decode(errors="replace")}


def good_client(server: serve_support.Server, truth: str, stop: threading.Event, counts: list) -> None:
    while not stop.is_set():
        try:
            status, answer = server.post("/v1/completions", GOOD)
            if status != 200 or answer["choices"][0]["text"] != truth:
                complaints.append(f"a good client got {status} {str(answer)[:300]}")
            counts.append(1)
        except OSError as error:
            complaints.append(f"a good client was disturbed: {error!r}")


def test(t: tools.Tools, bundle: pathlib.Path) -> None:
    bundle = serve_support.with_chat_template(bundle, t.scratch / "chat.inlay")
    with serve_support.serving(t.binaries, bundle) as server:
        truth = server.post("/v1/completions", GOOD)[1]["choices"][0]["text"]
        # Twelve slow clients (slowloris) send two bytes per second until the server closes the connection.
        slow_answers = []
        slow = [threading.Thread(target=lambda: slow_answers.append(send_raw(server.port, HEAD + b"X-Slow: " + b"a" * 60, 0.5)))
                for _ in range(12)]
        stop, counts = threading.Event(), []
        clients = [threading.Thread(target=good_client, args=(server, truth, stop, counts)) for _ in range(16)]
        for thread in slow + clients:
            thread.start()
        tried = 0
        for path, cases in (("/v1/completions", COMPLETIONS), ("/v1/chat/completions", CHATS)):
            for name, (body, param) in cases.items():
                status, answer = server.post(path, body)
                check_error(name, status, answer, {404} if name == "unknown model" else {400}, param)
                tried += 1
        for name, (data, status) in RAW.items():
            check_error(name, *send_raw(server.port, data), {status})
            tried += 1
        for thread in slow:
            thread.join()
        for status, answer in slow_answers:
            check_error("slow loris", status, answer, {408})
        stop.set()
        for thread in clients:
            thread.join()
        if len(counts) < 16:
            complaints.append(f"the good clients had only {len(counts)} answers")
        # The engine's thread updates the count of used pages after it has sent the last answer, so wait for it.
        end = time.monotonic() + 5
        while (used := server.metric("kv_cache_usage_perc")) != 0 and time.monotonic() < end:
            time.sleep(0.05)
        if used != 0:
            complaints.append(f"pages are in use at the end: {used}")
        if server.get("/health")[0] != 200 or server.stop() != 0:
            complaints.append("the server did not end well")
        print(f"{tried} malformed requests and {len(slow)} slow ones refused, {len(counts)} good answers meanwhile")
    if complaints:
        tools.fail("\n".join(complaints[:40]))


tools.main(test)
