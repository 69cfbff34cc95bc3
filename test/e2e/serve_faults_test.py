"""serve-model under load with faults: SIGTERM and SIGKILL, steps that take too long, and a full disk."""

import json
import pathlib
import signal
import threading
import time

import serve_support
import tools

complaints = []
QUESTION = {"prompt": "def main(argv):", "max_tokens": 24, "temperature": 0, "ignore_eos": True}
FEW_PAGES = ("--kv-cache-memory-bytes", "2MiB", "--preemption-mode", "swap", "--swap-space", "0.01")


def expect_that(name: str, holds: bool, found) -> None:
    if not holds:
        complaints.append(f"{name}: found {found!r}"[:600])


class Load:
    """Concurrent streams. `ends` has one entry per stream that ended: its last bytes, a status or an exception."""

    def __init__(self, server: serve_support.Server, clients: int = 16, tokens: int = 300):
        self.server, self.tokens, self.ends = server, tokens, []
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(clients)]
        for thread in self.threads:
            thread.start()
        # The engine has every client's request, and most tokens are still to come.
        while sum(map(server.metric, ("num_requests_running", "num_requests_waiting", "request_success_total"))) < clients or \
                server.metric("generation_tokens_total") < 10 * clients:
            time.sleep(0.005)

    def run(self, number: int) -> None:
        try:
            status, text = self.server.post("/v1/completions", {
                "prompt": f"def f{number}(", "max_tokens": self.tokens, "ignore_eos": True, "stream": True, "seed": number})
            self.ends.append(text[-16:] if status == 200 else status)
        except Exception as error:  # a killed server can cause many kinds of connection errors
            self.ends.append(error)

    def wait(self) -> list:
        for thread in self.threads:
            thread.join(60)
        return self.ends


def terminated(t: tools.Tools, bundle: pathlib.Path) -> None:
    """After SIGTERM, running requests finish, even while their pages are swapped to the host and back."""
    with serve_support.serving(t.binaries, bundle, *FEW_PAGES) as server:
        load = Load(server)
        expect_that("SIGTERM: exit code", server.stop() == 0, server.process.returncode)
        ends = load.wait()
        expect_that("SIGTERM: streams end well", all(str(end).endswith("[DONE]\n\n") for end in ends), ends)


def killed(t: tools.Tools, bundle: pathlib.Path) -> None:
    """After SIGKILL, a new server can use the port and gives the same answers. The trace of the killed one is
    readable."""
    trace = t.scratch / "killed.json"
    with serve_support.serving(t.binaries, bundle, "--trace", trace) as server:
        answer = server.post("/v1/completions", QUESTION)[1]["choices"][0]["text"]
        load = Load(server, tokens=900)
        expect_that("SIGKILL: exit code", server.stop(signal.SIGKILL) == -signal.SIGKILL, server.process.returncode)
        ends = load.wait()
        expect_that("SIGKILL: clients see it", len(ends) == 16 and not any(
            isinstance(end, str) and "[DONE]" in end for end in ends), ends)
        port = server.port
    events = [json.loads(line.removesuffix(",")) for line in trace.read_text().split("\n")[1:-1]]
    expect_that("SIGKILL: the trace has steps", any(event["name"].startswith("step ") for event in events), len(events))
    with serve_support.serving(t.binaries, bundle, port=port) as server:
        again = server.post("/v1/completions", QUESTION)[1]["choices"][0]["text"]
        expect_that("SIGKILL: the next server answers as the first", (server.port, again) == (port, answer), again)


def stuck(t: tools.Tools, bundle: pathlib.Path) -> None:
    """The watchdog's limit is shorter than every step: requests fail with the reason, /health and /ready return 503,
    and SIGTERM ends the server."""
    with serve_support.serving(t.binaries, bundle, "--watchdog-seconds", 0.0001) as server:
        expect_that("watchdog: green before", server.get("/health")[0] == 200, "not 200")
        status, error = server.post("/v1/completions", {**QUESTION, "prompt": "def main(argv):" * 40, "max_tokens": 300})
        expect_that("watchdog: the request", status >= 500 and "does not answer" in str(error), (status, error))
        for path in ("/health", "/ready"):
            status, error = server.get(path)
            expect_that(f"watchdog: {path}", status == 503 and "restart the process" in str(error), (status, error))
        status, error = server.post("/v1/completions", QUESTION)
        expect_that("watchdog: new requests", status == 503, (status, error))
        expect_that("watchdog: exit code", server.stop(timeout=20) == 0, server.process.returncode)


def full_disk(t: tools.Tools, bundle: pathlib.Path) -> None:
    """A full disk ends the trace, but not the requests."""
    if not pathlib.Path("/dev/full").exists():
        return tools.skipped("a full disk: there is no /dev/full")
    with serve_support.serving(t.binaries, bundle, "--trace", "/dev/full") as server:
        ends = Load(server).wait()
        expect_that("full disk: streams end well", all(str(end).endswith("[DONE]\n\n") for end in ends), ends)
        expect_that("full disk: exit code", server.stop() == 0, server.process.returncode)


def test(t: tools.Tools, bundle: pathlib.Path) -> None:
    for fault in (terminated, killed, stuck, full_disk):
        fault(t, bundle)
    if complaints:
        tools.fail("\n".join(complaints))


tools.main(test)
