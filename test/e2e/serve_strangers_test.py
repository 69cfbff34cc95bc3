"""The server and untrusted clients: unusual paths, bodies of maximal size, keys, other origins, and wrong flags."""

import http.client
import json
import multiprocessing
import os
import pathlib
import re
import socket
import threading
import time

import serve_support
import tools

complaints = []
MAXIMAL = 4 << 20  # bytes, the default of --max-body-bytes
GREEDY = {"max_tokens": 4, "temperature": 0, "ignore_eos": True}


def expect(name: str, found, expected) -> None:
    if found != expected:
        complaints.append(f"{name}: expected {expected!r}, found {found!r}")


def expect_that(name: str, holds: bool, found) -> None:
    if not holds:
        complaints.append(f"{name}: found {found!r}"[:1000])


# --- Metrics ------------------------------------------------------------------

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*"(?:,|(?=\})))*)\})? '
                    r'([+-]?(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|Inf|NaN))')


def parse_metrics(text: bytes) -> dict:
    """Parses Prometheus's text format 0.0.4 strictly: the samples of a metric family are contiguous, each occurs once,
    and histograms are complete."""
    families, family, seen = {}, None, set()
    assert text.endswith(b"\n"), "the last line has no end"
    for line in text.decode("utf-8", errors="strict").removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ", 3)[2]
            assert family not in families, f"{family} comes twice"
            families[family] = {"type": None, "samples": {}}
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family and kind in ("counter", "gauge", "histogram"), line
            families[family]["type"] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, f"no sample: {line!r}"
            name, labels, value = match.groups()
            suffixes = ("_bucket", "_sum", "_count") if families[family]["type"] == "histogram" else ("",)
            assert name in [family + suffix for suffix in suffixes], f"{name} stands under {family}"
            key = (name, labels)
            assert key not in seen, f"a sample comes twice: {line}"
            seen.add(key)
            families[family]["samples"][key] = float(value)
    for name, entry in families.items():
        if entry["type"] == "histogram":
            buckets = [value for (sample, _), value in entry["samples"].items() if sample == name + "_bucket"]
            count = [value for (sample, _), value in entry["samples"].items() if sample == name + "_count"]
            assert buckets == sorted(buckets) and buckets[-1] == count[0], f"{name}: {buckets} {count}"
    return families


def raw_get(connection: socket.socket, target: bytes) -> int:
    """Sends a GET on an open connection, reads the whole answer and returns its status."""
    connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = connection.recv(65536)
        assert part, answer
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    size = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    while len(body) < size:
        body += connection.recv(65536)
    return int(head.split()[1])


def odd_paths(server: serve_support.Server) -> None:
    """Paths of scanners must not become labels of metrics (SGLang, pull request 31193, and LiteLLM, issue 35666)."""
    def metrics() -> bytes:
        connection = server.request("GET", "/metrics")
        return connection[1].encode("utf-8")

    server.get("/v1/models/none", headers={"Authorization": ""})
    server.get("/none")
    raw_refused(server, b"\xff")
    before, memory = metrics(), server.metric("process_resident_memory_bytes")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for i in range(5000):
            target = (b"/v1/models/%d" % i, b"/%d.php" % i, b"/v1/models/a%%22%%0a%d" % i, b'/v1/models/"}%d' % i,
                      b"/v1/models/" + b"%ff" * (i % 50) + b"%d" % i)[i % 5]
            status = raw_get(connection, target)
            if status != 401:
                complaints.append(f"{target!r}: {status}")
    for byte in (b"\xff", b"\xc3\xa4", b"\x80", b"\n", b"\x00"):
        expect(f"a path with {byte!r}", raw_refused(server, byte), 400)
    after = metrics()
    expect_that("/metrics stays the same size", abs(len(after) - len(before)) < 200, (len(before), len(after)))
    grown = server.metric("process_resident_memory_bytes") - memory
    expect_that("memory stays the same", grown < 8 << 20, grown)
    families = parse_metrics(after)
    handlers = {re.search(r'handler="([^"]*)"', labels)[1] for _, labels in families["inlay:http_requests_total"]["samples"]}
    expect_that("handlers are from a fixed set", handlers <= {"/v1/models/{model}", "/metrics", "other"}, handlers)
    print(f"5,000 odd paths: /metrics has {len(before)} bytes before and {len(after)} after, memory grew by {grown:.0f} bytes")


def raw_refused(server: serve_support.Server, byte: bytes) -> int:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        return raw_get(connection, b"/v1/models/" + byte)


# --- Work before admission ----------------------------------------------------

def send_maximal(port: int, path: str, body: bytes) -> tuple[int, dict]:
    """Returns the status and the answer. A long answer is dropped, because parsing it takes time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=240)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text) if len(text) < 10_000 else {}


def probe_health(port: int, stop, results) -> None:
    """Measures the seconds of each request to /health."""
    seconds = []
    while not stop.is_set():
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        seconds.append(time.monotonic() - began)
        time.sleep(0.01)
    results.put(("health", seconds))


def probe_stream(port: int, stop, results) -> None:
    """Measures the seconds between two pieces of a stream, for one stream after the other."""
    seconds = []
    body = json.dumps({"prompt": "def f", "max_tokens": 400, "ignore_eos": True, "stream": True}).encode()
    while not stop.is_set():
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body) + body)
            received = client.recv(65536)
            last = time.monotonic()
            while b"[DONE]" not in received and (received := client.recv(65536)):
                seconds.append(time.monotonic() - last)
                last += seconds[-1]
    results.put(("stream", seconds))


def maximal_bodies(server: serve_support.Server) -> None:
    """vLLM, issue 24910: /health did not answer while a prompt of 5 MB was tokenized."""
    text = "lorem ipsum dolor 1234 " * (MAXIMAL // 23 - 10)
    words = " ".join(f"w{i:x}" for i in range(600_000))[: MAXIMAL - 200]
    bodies = [("/v1/completions", {"prompt": text, **GREEDY}), ("/tokenize", {"prompt": words}),
              ("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **GREEDY}),
              ("/v1/completions", {"prompt": ["a", words], **GREEDY})]
    sent = [(path, json.dumps(body).encode()) for path, body in bodies]
    answers = []
    # The probes are separate processes, so that they do not wait for this one.
    fork = multiprocessing.get_context("fork")
    stop, results = fork.Event(), fork.Queue()
    probes = [fork.Process(target=target, args=(server.port, stop, results)) for target in (probe_health, probe_stream)]
    clients = [threading.Thread(target=lambda path, body: answers.append((path, *send_maximal(server.port, path, body))),
                                args=sent[number % len(sent)]) for number in range(8)]
    for probe in probes:
        probe.start()
    time.sleep(0.3)
    began = time.monotonic()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    seconds = time.monotonic() - began
    stop.set()
    times = dict(results.get(timeout=60) for _ in probes)
    for probe in probes:
        probe.join()
    health, gap = max(times["health"]), max(times["stream"])
    print(f"8 clients with bodies of 4 MB for {seconds:.1f} s: /health took at most {1e3 * health:.0f} ms of "
          f"{len(times['health'])} times, streams stood still for at most {1e3 * gap:.0f} ms")
    # Before this work moved off the I/O threads, both took seconds. On an idle machine they take a few ms.
    expect_that("/health answers", health < 0.5, health)
    expect_that("streams go on", gap < 1, gap)
    expect("clients", len(answers), 8)
    for path, status, answer in answers:
        if path == "/tokenize":
            expect("a text of any length is tokenized", status, 200)
        else:
            expect_that("a prompt that cannot fit", status == 400 and
                        answer["error"]["code"] == "context_length_exceeded" and "bytes of text" in answer["error"]["message"],
                        (path, status, str(answer)[:300]))


def full_queue(t: tools.Tools, bundle: pathlib.Path) -> None:
    """Requests beyond --max-preparing are rejected at once with 503."""
    with serve_support.serving(t.binaries, bundle, "--max-preparing", 1, "--tokenizer-threads", 1) as server:
        body = json.dumps({"prompt": " ".join(f"w{i:x}" for i in range(600_000))[: MAXIMAL - 200]}).encode()
        found = []
        threads = [threading.Thread(target=lambda: found.append(server.request("POST", "/tokenize", body, timeout=240)))
                   for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = [status for status, _ in found]
        expect_that("some are accepted and some are rejected", {200, 503} == set(statuses), statuses)
        refused = next((answer for status, answer in found if status == 503), {"error": {}})["error"]
        expect("code of the error", refused.get("code"), "overloaded")
        expect("afterwards", server.post("/tokenize", {"prompt": "a"})[0], 200)
        expect("the end", server.stop(), 0)


def too_large_for_the_cache(t: tools.Tools, bundle: pathlib.Path) -> None:
    """A request that needs more KV pages than there are is an error of the client: 400, with the numbers of the
    request."""
    with serve_support.serving(t.binaries, bundle, "--kv-cache-memory-bytes", "512KiB") as server:
        room = server.get("/v1/models")[1]["data"][0]["max_model_len"]
        expect_that("the context is what the pages hold", 16 < room < 1024, room)
        for prompt, tokens in (("a", room), ("a " * (room + 8), 4)):
            status, answer = server.post("/v1/completions", {"prompt": prompt, "max_tokens": tokens})
            expect_that("more tokens than fit", status == 400 and answer["error"]["code"] == "context_length_exceeded" and
                        "KV" not in answer["error"]["message"], (status, answer, room))
        expect("a request that fits", server.post("/v1/completions", {"prompt": "a", **GREEDY})[0], 200)


# --- Keys, origins, names, flags ----------------------------------------------

def keys(t: tools.Tools, bundle: pathlib.Path) -> None:
    file = t.scratch / "keys"
    file.write_text("# two\nfrom-file-1\n\nfrom-file-2\n")
    with serve_support.serving(t.binaries, bundle, "--api-key-file", file, "--allowed-origins", "https://a",
                               key="from-flag") as server:
        for key in ("from-flag", "from-file-1", "from-file-2"):
            expect(key, server.get("/v1/models", headers={"Authorization": f"Bearer {key}"})[0], 200)
        for key in ("from-file-3", "# two", "from-file-1 "):
            expect(key, server.get("/v1/models", headers={"Authorization": f"Bearer {key}x"})[0], 401)
        # llama.cpp, pull request 14352: paths that need no key
        for path in ("/health", "/ready"):
            expect(path, server.get(path, headers={"Authorization": ""})[0], 200)
        # vLLM, docs/usage/security.md: vLLM requires no key for these paths, and warns of that
        for path in ("/metrics", "/version", "/", "/tokenize"):
            expect(path, server.get(path, headers={"Authorization": ""})[0], 401)
        # llama.cpp, issue 6544: a preflight request has no key
        preflight = {"Authorization": "", "Origin": "https://a", "Access-Control-Request-Method": "POST",
                     "Access-Control-Request-Headers": "authorization,content-type"}
        expect("preflight", server.request("OPTIONS", "/v1/chat/completions", headers=preflight), (200, "OK"))
        expect("preflight of another origin", server.request("OPTIONS", "/v1/chat/completions",
               headers={**preflight, "Origin": "https://b"}), (400, "Disallowed CORS origin"))
        for name, head in (("an answer", b"GET /v1/models HTTP/1.1\r\nAuthorization: Bearer from-flag\r\n"),
                           ("a refusal", b"GET /v1/models HTTP/1.1\r\n"), ("an unknown path", b"GET /x HTTP/1.1\r\n")):
            answer = exchange(server, head + b"Host: a\r\nOrigin: https://a\r\nConnection: close\r\n\r\n")
            expect_that(f"{name} names its origin", b"Access-Control-Allow-Origin: https://a\r\n" in answer and
                        b"Vary: Origin\r\n" in answer, answer[:400])
        stream = json.dumps({"prompt": "a", "stream": True, **GREEDY}).encode()
        answer = exchange(server, b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nOrigin: https://a\r\nConnection: close\r\n"
                          b"Content-Type: application/json\r\nAuthorization: Bearer from-flag\r\nContent-Length: %d\r\n\r\n"
                          % len(stream) + stream)
        expect_that("a stream names its origin", b"Access-Control-Allow-Origin: https://a\r\n" in answer and b"[DONE]" in answer,
                    answer[:400])
    os.environ["INLAY_API_KEY"] = "from-environment"
    try:
        with serve_support.serving(t.binaries, bundle) as server:
            expect("no key", server.get("/v1/models")[0], 401)
            expect("the key of the environment",
                   server.get("/v1/models", headers={"Authorization": "Bearer from-environment"})[0], 200)
    finally:
        del os.environ["INLAY_API_KEY"]


def exchange(server: serve_support.Server, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(data)
        answer = b""
        while part := client.recv(65536):
            answer += part
    return answer


def model_names(server: serve_support.Server) -> None:
    """models.retrieve of a name with a slash, which clients send unchanged or as %2F (Ollama, issue 13715)."""
    for path in ("org/name", "org%2Fname", "org%2fname", "%6Frg/name"):
        status, answer = server.get(f"/v1/models/{path}", headers={"Authorization": "Bearer k"})
        expect(path, (status, answer.get("id")), (200, "org/name"))
    for path in ("org", "org/", "org/name/", "org%252Fname", "name", "", "%", "%zz", "%ff"):
        status, answer = server.get(f"/v1/models/{path}", headers={"Authorization": "Bearer k"})
        expect(path, (status, answer["error"]["code"]), (404, "model_not_found"))


def wrong_flags(t: tools.Tools, bundle: pathlib.Path) -> None:
    broken = t.scratch / "broken.pem"
    broken.write_text("no certificate")
    for flags, parts in (
            (("--threads", -1), ("--threads",)), (("--http-threads", -2), ("--http-threads",)),
            (("--tokenizer-threads", -1), ("--tokenizer-threads",)),
            (("--ssl-certfile", "/none/c.pem", "--ssl-keyfile", "/none/k.pem"), ("--ssl-certfile", "/none/c.pem")),
            (("--ssl-certfile", broken, "--ssl-keyfile", broken), ("--ssl-certfile", str(broken))),
            (("--ssl-certfile", broken), ("--ssl-keyfile",)),
            (("--api-key-file", "/none/keys"), ("--api-key-file", "/none/keys")), (("--api-key", ""), ("--api-key",)),
            (("--allowed-origins", "[1]"), ("--allowed-origins", "JSON list")),
            (("--allowed-methods", "GET"), ("--allowed-methods", "--allowed-origins"))):
        result = t.run("serve-model", bundle, "--port", 0, *flags)
        expect_that(f"{flags}", result.returncode == 1 and all(part in result.stderr for part in parts),
                    (result.returncode, result.stderr))


def page(t: tools.Tools, bundle: pathlib.Path) -> None:
    with serve_support.serving(t.binaries, bundle) as server:
        text = server.get("/")[1]
        expect_that("completion mode without a template", '<form id="form" data-kind="completion">' in text, text[:100])
        for field in ("kind", "prompt", "tokens"):
            expect_that(f"a label of {field}", re.search(rf'<label>[A-Z][a-z ]+ <(select|input) id="{field}"', text), text[:100])


def test(t: tools.Tools, bundle: pathlib.Path) -> None:
    with serve_support.serving(t.binaries, bundle, "--served-model-name", "org/name", key="k") as server:
        odd_paths(server)
        model_names(server)
        expect("exit code", server.stop(), 0)
    chat = serve_support.with_chat_template(bundle, t.scratch / "chat.inlay")
    with serve_support.serving(t.binaries, chat) as server:
        text = server.get("/")[1]
        expect_that("chat mode with a template", '<form id="form" data-kind="chat">' in text, text[:100])
        maximal_bodies(server)
        expect("exit code", server.stop(), 0)
    full_queue(t, bundle)
    too_large_for_the_cache(t, bundle)
    keys(t, bundle)
    wrong_flags(t, bundle)
    page(t, bundle)
    if complaints:
        tools.fail("\n".join(complaints[:40]))


tools.main(test)
