"""The page at / in headless Chromium, controlled through its debugging pipe. The page shows the server's metrics, and a
chat message is answered. Skipped with a message if no Chromium is found (scripts/setup installs one). INLAY_BROWSER is
the path of another browser, INLAY_SCREENSHOT the file for a screenshot of the page under load."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import serve_support
import tools

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FIGURES = ("generated", "read", "running", "waiting", "kv")

complaints = []


def expect_that(name: str, holds: bool, found) -> None:
    if not holds:
        complaints.append(f"{name}: found {found!r}"[:800])


def find_browser() -> str | None:
    return os.environ.get("INLAY_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page in its own browser process, which `close` ends."""

    def __init__(self, browser: str, profile: pathlib.Path, url: str):
        from_browser, to_us = os.pipe()
        from_us, to_browser = os.pipe()
        # The browser reads commands from its descriptor 3 and answers on 4, each message ended by a zero byte.
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{from_us} 4>&{to_us}', browser, "--headless", "--no-sandbox",
             "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={profile}",
             "--window-size=1000,800", "--remote-debugging-pipe", "about:blank"],
            pass_fds=(from_us, to_us), stderr=subprocess.DEVNULL)
        os.close(from_us)
        os.close(to_us)
        self.input, self.output = os.fdopen(to_browser, "wb", 0), os.fdopen(from_browser, "rb")
        self.calls, self.session, self.rest = 0, None, b""
        target = self.call("Target.createTarget", url=url)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        while not self.evaluate(f"location.href === {url!r} && document.readyState === 'complete'"):
            time.sleep(0.05)

    def call(self, method: str, **parameters) -> dict:
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.input.write(json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                part = self.output.read1(65536)
                assert part, "the browser has ended"
                self.rest += part
            text, _, self.rest = self.rest.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self.calls:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def evaluate(self, expression: str):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, (expression, result)
        return result["result"].get("value")

    def text(self, element: str) -> str:
        return self.evaluate(f"document.getElementById({element!r}).textContent")

    def figures(self) -> dict:
        """The numbers that the page shows; None before the first update."""
        texts = {name: self.text(name).removesuffix(" %") for name in FIGURES}
        return {name: None if text == "–" else float(text) for name, text in texts.items()}

    def wait_for(self, what: str, condition, seconds: float = 15):
        end = time.monotonic() + seconds
        while not (found := condition()) and time.monotonic() < end:
            time.sleep(0.1)
        expect_that(what, bool(found), (self.figures(), self.text("answer")))
        return found

    def ask(self, text: str, tokens: int, kind: str = "chat") -> None:
        self.evaluate(f"document.getElementById('kind').value = {kind!r}; document.getElementById('tokens').value = {tokens};"
                      f"document.getElementById('prompt').value = {text!r}; document.getElementById('send').click()")

    def is_idle(self) -> bool:
        return not self.evaluate("document.getElementById('send').disabled")

    def close(self) -> None:
        try:
            self.session = None
            self.call("Browser.close")
            self.process.wait(10)
        except (OSError, AssertionError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.input.close()
        self.output.close()


def load(server: serve_support.Server, clients: int, end: threading.Event) -> list[threading.Thread]:
    """Sends requests until `end` is set: more at a time than the server runs at a time."""
    def run(number: int) -> None:
        while not end.is_set():
            server.post("/v1/completions", {"prompt": f"def f{number}(", "max_tokens": 400, "ignore_eos": True})

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    return threads


def figures_follow(page: Page, server: serve_support.Server) -> None:
    idle = page.wait_for("figures appear", lambda: (f := page.figures())["generated"] is not None and f)
    expect_that("nothing runs", idle and not any(idle.values()), idle)
    expect_that("the model's name", page.text("model") == "example", page.text("model"))
    end = threading.Event()
    threads = load(server, 10, end)
    try:
        busy = page.wait_for("figures under load", lambda: all((f := page.figures())[name] for name in FIGURES) and f)
        expect_that("as many run as may", busy and busy["running"] == 4, busy)
        expect_that("the others wait", busy and 1 <= busy["waiting"] <= 6, busy)
        page.wait_for("throughput changes", lambda: page.figures()["generated"] != busy["generated"])
        drawn = ("(() => { const c = document.getElementById('chart'); return c.getContext('2d')"
                 ".getImageData(0, 0, c.width, c.height).data.some(x => x > 0); })()")
        page.wait_for("the chart is drawn", lambda: page.evaluate(drawn))
        if path := os.environ.get("INLAY_SCREENSHOT"):
            page.ask("sort a list", 60)
            time.sleep(6)
            pathlib.Path(path).write_bytes(base64.b64decode(page.call("Page.captureScreenshot")["data"]))
            page.wait_for("an answer under load", page.is_idle, 30)
    finally:
        end.set()
        for thread in threads:
            thread.join()
    page.wait_for("figures go back", lambda: not any(page.figures()[name] for name in ("running", "waiting", "kv")))


def chats(page: Page) -> None:
    before = page.text("answer")
    page.ask("sort", 20)
    page.wait_for("the first answer", lambda: page.is_idle() and len(page.text("answer")) > len(before) + len("sort\n"))
    first = page.text("answer")
    page.ask("again", 20)
    page.wait_for("the second answer", lambda: page.is_idle() and len(page.text("answer")) > len(first) + len("again\n"))
    expect_that("the conversation is sent", page.evaluate("messages.length") >= 4, page.evaluate("messages"))
    expect_that("nothing went wrong", page.evaluate("document.querySelector('.wrong')") is None, page.text("answer"))
    page.ask("def f(", 20, "completion")
    page.wait_for("a continued text", lambda: page.is_idle() and "def f(" in page.text("answer"))
    page.ask("def g(", 900, "completion")
    page.wait_for("an answer in progress", lambda: not page.is_idle())
    page.evaluate("document.getElementById('stop').click()")
    page.wait_for("a stopped answer", page.is_idle)
    page.ask("too much", 100_000)
    page.wait_for("an error is shown", lambda: "max_tokens" in (page.evaluate(
        "(document.querySelector('.wrong') || {textContent: ''}).textContent")))


def test(t: tools.Tools, bundle: pathlib.Path) -> None:
    browser = find_browser()
    if not browser:
        tools.skip(f"none of {', '.join(NAMES)} is installed; scripts/setup installs the first")
    bundle = serve_support.with_chat_template(bundle, t.scratch / "chat.inlay")
    with serve_support.serving(t.binaries, bundle, "--served-model-name", "example", "--max-num-seqs", 4) as server:
        page = Page(browser, t.scratch / "profile", f"http://127.0.0.1:{server.port}/")
        try:
            figures_follow(page, server)
            chats(page)
        finally:
            page.close()
        expect_that("exit code", server.stop() == 0, server.process.returncode)
    if complaints:
        tools.fail("\n".join(complaints))


tools.main(test)
