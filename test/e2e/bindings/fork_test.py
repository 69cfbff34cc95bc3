"""A forked child of a process with an engine ends at once, and use of the parent's engine in the child is a clear
error.

Each row is a script that runs in a new interpreter. A child that still runs after 20 seconds counts as hanging. In
vLLM, a child of a process with an engine hangs (pull request 11074, issue 23249)."""

import os
import subprocess
import sys
import unittest

PRELUDE = """
import asyncio, multiprocessing, os, signal, sys, threading, time, warnings
import inlay
from inlay import LLM, SamplingParams
warnings.simplefilter("ignore", DeprecationWarning)  # about forking with threads, which this test does on purpose
BUNDLE = os.environ["INLAY_TEST_BUNDLE"]
LONG = SamplingParams(temperature=0, ignore_eos=True, max_tokens=200)
SHORT = SamplingParams(temperature=0, ignore_eos=True, max_tokens=4)

def load():
    return LLM(BUNDLE, target="cpu", threads=1)

def reap(pid, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hangs"

def refused(call):
    try:
        call()
    except inlay.FailedPreconditionError as error:
        text = str(error)
        return "load the LLM in the child" in text and "get_context('spawn')" in text and str(os.getpid()) in text
    return False
"""

ROWS = {
    "an idle child ends": """
llm = load()
pid = os.fork()
if pid == 0:
    sys.exit(3)
assert reap(pid) == 3
assert len(llm.generate("x", SHORT)[0].outputs[0].token_ids) == 4
""",
    "a child that leaves the parent's blocks ends": """
child = None
try:
    with load() as llm, llm.submit("x", LONG) as request:
        next(request)
        child = os.fork()
        if child == 0:
            sys.exit(4)
        assert reap(child) == 4
        assert len(request.result().outputs[0].token_ids) == 200
except inlay.InlayError:
    sys.exit(9)
""",
    "a child of a parent that generates ends": """
llm = load()
done = threading.Event()
def work():
    while not done.is_set():
        llm.generate(["x"] * 4, SamplingParams(temperature=0, ignore_eos=True, max_tokens=50))
thread = threading.Thread(target=work)
thread.start()
codes = []
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        ok = refused(lambda: llm.generate("x", SHORT))
        sys.exit(0 if ok else 1)
    codes.append(reap(pid))
done.set()
assert codes == [0] * 8, codes
thread.join()
""",
    "every use in a child is refused": """
llm = load()
request = llm.submit("x", LONG)
next(request)
async def consume():
    async for _ in request:
        pass
uses = [lambda: llm.generate("x"), lambda: llm.submit("x"), lambda: llm.tokenize("x"), lambda: llm.stats(),
        lambda: llm.detokenize([1]), lambda: llm.get_tokenizer().encode("x"), lambda: llm.check_health(),
        lambda: llm.chat([{"role": "user", "content": "Hi"}]), lambda: llm.shutdown(1), lambda: next(request),
        lambda: request.result(), lambda: request.output(), lambda: request.finish_reason,
        lambda: asyncio.run(consume())]
pid = os.fork()
if pid == 0:
    wrong = [index for index, use in enumerate(uses) if not refused(use)]
    request.cancel()
    llm.close()
    del request, llm, uses
    print(wrong, file=sys.stderr)
    sys.exit(len(wrong))
assert reap(pid) == 0
assert len(request.result().outputs[0].token_ids) > 1
""",
    "a child loads its own": """
llm = load()
expected = llm.generate("x", SHORT)[0].outputs[0].text
async def text(llm):
    return "".join([piece.text async for piece in llm.stream("x", SHORT)])
assert asyncio.run(text(llm)) == expected
pid = os.fork()
if pid == 0:
    with load() as own:
        same = own.generate("x", SHORT)[0].outputs[0].text == expected and asyncio.run(text(own)) == expected
    sys.exit(0 if same else 1)
assert reap(pid) == 0
""",
    "multiprocessing": """
llm = load()
def use(results):
    results.put(refused(lambda: llm.generate("x", SHORT)))
def nothing():
    pass
context = multiprocessing.get_context("fork")
request = llm.submit("x", LONG)
for target, arguments in ((nothing, ()), (use, (context.Queue(),))):
    process = context.Process(target=target, args=arguments)
    process.start()
    process.join(20)
    assert process.exitcode == 0, (target, process.exitcode)
    assert all(results.get(timeout=20) for results in arguments)
with context.Pool(2) as pool:
    assert pool.map(len, ["a", "bc"]) == [1, 2]
assert len(request.result().outputs[0].token_ids) > 1
""",
}


class Fork(unittest.TestCase):
    pass


def _row(script: str):
    def test(self):
        result = subprocess.run([sys.executable, "-c", PRELUDE + script], capture_output=True, text=True, timeout=120,
                                env=os.environ)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    return test


for name, script in ROWS.items():
    setattr(Fork, "test_" + name.replace(" ", "_").replace("'", ""), _row(script))

if __name__ == "__main__":
    unittest.main()
