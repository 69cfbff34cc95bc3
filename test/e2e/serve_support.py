"""Starts serve-model on a bundle and talks to it with Python's standard library."""

import contextlib
import http.client
import json
import pathlib
import re
import shutil
import signal
import subprocess

# A minimal template, so that the example model can be used through the chat API.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% if tools %}# tools: {{ tools | tojson }}\n{% endif %}"
    "{% for message in messages %}# {{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}def {% endif %}")


class Server:
    """A running serve-model."""

    def __init__(self, process: subprocess.Popen, port: int, key: str = ""):
        self.process, self.port, self.key = process, port, key

    def request(self, method: str, path: str, body=None, headers=None, timeout: float = 60):
        """Returns (status, body). A JSON body is parsed. `body` is sent as JSON unless it is bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            sent = dict(headers or {})
            if body is not None:
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                sent.setdefault("Content-Type", "application/json")
            if self.key:
                sent.setdefault("Authorization", f"Bearer {self.key}")
            connection.request(method, path, body=body, headers=sent)
            response = connection.getresponse()
            text = response.read()
            is_json = response.headers.get("Content-Type", "").startswith("application/json")
            return response.status, json.loads(text) if is_json and text else text.decode()
        finally:
            connection.close()

    def post(self, path: str, body, **more):
        return self.request("POST", path, body, **more)

    def get(self, path: str, **more):
        return self.request("GET", path, **more)

    def stream(self, path: str, body) -> list:
        """The parsed events of a stream. The stream must end with [DONE]."""
        status, text = self.post(path, {**body, "stream": True})
        assert status == 200, (status, text)
        events = text.split("\n\n")
        assert events[-1] == "" and events[-2] == "data: [DONE]", text[-200:]
        return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]

    def metric(self, name: str, labels: str = "") -> float:
        text = self.get("/metrics")[1]
        return sum(float(value) for value in
                   re.findall(rf"^inlay:{name}\{{[^}}]*{re.escape(labels)}[^}}]*\}} (\S+)$", text, re.MULTILINE))

    def stop(self, number=signal.SIGTERM, timeout: float = 60) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout)


@contextlib.contextmanager
def serving(binaries: pathlib.Path, bundle: pathlib.Path, *options, key: str = "", port: int = 0):
    """A server on a port (0: a free one). It is killed at the end of the block if it still runs."""
    command = [binaries / "serve-model", bundle, "--port", str(port), *map(str, options)]
    if key:
        command += ["--api-key", key]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        match = re.search(r"://.*:(\d+)$", line.strip())
        assert match, f"serve-model did not start: {line!r}"
        yield Server(process, int(match[1]), key)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def with_chat_template(bundle: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """A copy of a bundle with a chat template."""
    shutil.copytree(bundle, target)
    (target / "tokenizer" / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return target
