"""The Python package on the example model. INLAY_LIBRARY names libinlay.so, INLAY_TEST_BUNDLE the bundle."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import time
import unittest

import inlay
from inlay import LLM, SamplingParams

BUNDLE = os.environ["INLAY_TEST_BUNDLE"]
PROMPTS = ["def main(argv):\n", "class Server:\n", "import os\nimport sys\n", "x"]


def greedy(max_tokens: int, **more) -> SamplingParams:
    return SamplingParams(temperature=0, ignore_eos=True, max_tokens=max_tokens, **more)


def wait_until(condition, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return holds


class Generate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.llm = LLM(BUNDLE, target="cpu", threads=2)
        cls.alone = [cls.llm.generate(prompt, greedy(24))[0].outputs[0].text for prompt in PROMPTS]

    @classmethod
    def tearDownClass(cls):
        cls.llm.close()

    def test_a_batch_is_its_prompts_alone(self):
        outputs = self.llm.generate(PROMPTS, greedy(24))
        self.assertEqual([output.outputs[0].text for output in outputs], self.alone)
        self.assertEqual([output.prompt for output in outputs], PROMPTS)
        self.assertEqual(outputs[0].prompt_token_ids, self.llm.tokenize(PROMPTS[0]))
        self.assertEqual(outputs[0].outputs[0].finish_reason, "length")

    def test_prompts_in_all_their_forms(self):
        ids = self.llm.tokenize(PROMPTS[0])
        forms = [PROMPTS[0], ids, {"prompt": PROMPTS[0]}, {"prompt_token_ids": ids}]
        self.assertEqual({output.outputs[0].text for output in self.llm.generate(forms, greedy(24))}, {self.alone[0]})
        self.assertEqual(self.llm.detokenize(self.llm.tokenize("def é(): 你好")), "def é(): 你好")

    def test_parameters_for_each_prompt(self):
        outputs = self.llm.generate(PROMPTS[:2], [greedy(3), greedy(5, logprobs=2, stop=["absent"])])
        self.assertEqual([len(output.outputs[0].token_ids) for output in outputs], [3, 5])
        answer = outputs[1].outputs[0]
        self.assertEqual([at[id].rank for at, id in zip(answer.logprobs, answer.token_ids)], [1] * 5)
        self.assertLess(answer.cumulative_logprob, 0)
        self.assertIsNone(outputs[0].outputs[0].logprobs)
        one, other = (self.llm.generate("x", SamplingParams(seed=7))[0].outputs[0].text for _ in range(2))
        self.assertEqual(one, other)

    def test_forms(self):
        def text(**form) -> str:
            return self.llm.generate("x", SamplingParams(seed=3, max_tokens=120, **form))[0].outputs[0].text

        schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
        self.assertIn(json.loads(text(guided_json=schema))["ok"], (True, False))
        self.assertIsNone(json.loads(text(guided_json='{"type": "null"}')))
        self.assertRegex(text(guided_regex="[ab]{5}"), r"\A[ab]{5}\Z")
        self.assertRegex(text(guided_grammar='root ::= "a" root "b" | "-"'), r"\Aa*-b*\Z")
        self.assertIn(text(guided_choice=["left", "right"]), ("left", "right"))
        for form in ({"guided_regex": "("}, {"guided_json": ""}, {"guided_choice": []},
                     {"guided_regex": "a", "guided_choice": ["b"]}):
            with self.assertRaises(inlay.InvalidArgumentError, msg=form):
                text(**form)

    def test_stream_and_stop(self):
        request = self.llm.stream(PROMPTS[0], greedy(24))
        self.assertEqual("".join(piece.text for piece in request), self.alone[0])
        self.assertEqual(request.finish_reason, "length")
        stop = self.alone[1][10:13]
        request = self.llm.stream(PROMPTS[1], greedy(24, stop=stop))
        self.assertEqual("".join(piece.text for piece in request), self.alone[1].split(stop)[0])
        self.assertEqual(request.finish_reason, "stop")

    def test_async_streams_run_side_by_side(self):
        async def text(prompt):
            return "".join([piece.text async for piece in self.llm.stream(prompt, greedy(24))])

        async def main():
            texts = await asyncio.gather(*(text(prompt) for prompt in PROMPTS * 4))
            output = await self.llm.submit(PROMPTS[0], greedy(24)).wait()
            return texts, output.outputs[0].text

        self.assertEqual(asyncio.run(main()), (self.alone * 4, self.alone[0]))

    def test_a_cancelled_task_cancels_its_request(self):
        async def main():
            request = self.llm.submit("x", greedy(900))
            task = asyncio.create_task(request.wait())
            await asyncio.sleep(0.02)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            return request

        request = asyncio.run(main())
        self.assertTrue(wait_until(lambda: request.finish_reason == "cancelled"))

    def test_cancel_leave_and_drop_end_requests(self):
        with self.llm.submit("x", greedy(900)) as left:
            next(left)
        dropped = self.llm.submit("x", greedy(900))
        del dropped
        gc.collect()
        cancelled = self.llm.submit("x", greedy(900))
        threading.Timer(0.02, cancelled.cancel).start()
        self.assertLess(len(cancelled.result().outputs[0].token_ids), 900)
        self.assertEqual(cancelled.finish_reason, "cancelled")
        self.assertTrue(wait_until(lambda: self.llm.stats().free_pages == self.llm.stats().total_pages))
        self.assertEqual(self.llm.stats().running, 0)

    def test_timeouts_and_deadlines(self):
        request = self.llm.submit("x", greedy(200))
        with self.assertRaisesRegex(TimeoutError, "no token came in 0 seconds; the request goes on"):
            while True:
                self.assertIsNotNone(request.next(timeout=0))
        output = request.result()
        self.assertEqual(len(output.outputs[0].token_ids), 200)
        self.assertLess(output.metrics.first_token, output.metrics.finished)
        with self.assertRaisesRegex(inlay.DeadlineExceededError, "deadline"):
            self.llm.submit("x", greedy(900), deadline=1e-6).result()

    def test_several_answers_to_a_prompt(self):
        output = self.llm.generate("x", SamplingParams(n=3, seed=5, max_tokens=12, ignore_eos=True))[0]
        self.assertEqual([(answer.index, len(answer.token_ids)) for answer in output.outputs], [(0, 12), (1, 12), (2, 12)])
        self.assertGreater(len({answer.text for answer in output.outputs}), 1)
        self.assertTrue(output.finished)

    def test_a_prompt_seen_before_is_found_in_the_cache(self):
        prompt = "def cached(first, second):\n" * 6
        first, again, other = (self.llm.submit(prompt, greedy(4), cache_salt=salt).result() for salt in "aab")
        self.assertEqual((first.num_cached_tokens, other.num_cached_tokens), (0, 0))
        self.assertGreater(again.num_cached_tokens, 16)
        self.assertEqual(first.outputs[0].text, again.outputs[0].text)

    def test_many_threads(self):
        found = {}

        def work(index):
            found[index] = [self.llm.generate(PROMPTS[index % 4], greedy(24))[0].outputs[0].text for _ in range(3)]

        threads = [threading.Thread(target=work, args=(index,)) for index in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(found, {index: [self.alone[index % 4]] * 3 for index in range(24)})


class Errors(unittest.TestCase):
    def test_wrong_arguments_raise_with_the_reason(self):
        with LLM(BUNDLE, target="cpu") as llm:
            for call, kind, text in [
                (lambda: llm.generate("x", SamplingParams(temperature=-1)), inlay.InvalidArgumentError, "temperature"),
                (lambda: llm.generate(""), inlay.InvalidArgumentError, "the prompt is empty"),
                (lambda: llm.generate([1 << 31]), inlay.InvalidArgumentError, "token id is 2147483648"),
                (lambda: llm.generate("x", SamplingParams(seed=-1)), inlay.InvalidArgumentError, "seed is -1"),
                (lambda: llm.generate("x", [SamplingParams()] * 2), inlay.InvalidArgumentError, "2 sampling_params"),
                (lambda: llm.generate({"text": "x"}), inlay.InvalidArgumentError, "expected either prompt or"),
                (lambda: llm.chat([{"role": "user", "content": "x"}]), inlay.FailedPreconditionError, "chat template"),
                (lambda: LLM(BUNDLE, target="sm_1"), inlay.InvalidArgumentError, "has no target 'sm_1'"),
                (lambda: llm.submit("x", deadline=0), inlay.InvalidArgumentError, "deadline is 0"),
                (lambda: LLM(BUNDLE, scheduling_policy="x"), inlay.InvalidArgumentError, "scheduling-policy"),
                (lambda: LLM.plan(BUNDLE, typo=1), TypeError, "no option 'typo'"),
                (lambda: LLM("/nowhere"), inlay.NotFoundError, "/nowhere"),
            ]:
                with self.subTest(text), self.assertRaisesRegex(kind, text):
                    call()
        with self.assertRaisesRegex(inlay.FailedPreconditionError, "was closed"):
            llm.generate("x")

    def test_requests_outlive_a_dropped_llm_and_end_with_a_closed_one(self):
        llm = LLM(BUNDLE, target="cpu")
        request = llm.submit("x", greedy(4))
        del llm
        gc.collect()
        self.assertEqual(len(request.result().outputs[0].token_ids), 4)
        with LLM(BUNDLE, target="cpu") as llm:
            llm.check_health()
            request = llm.submit("x", greedy(900))
        with self.assertRaises(inlay.CancelledError):
            request.result()
        llm.close()  # again

    def test_the_plan_is_what_is_then_loaded(self):
        plan = LLM.plan(BUNDLE, target="cpu", kv_cache_memory_bytes=1 << 20)
        self.assertTrue(plan.explanation)
        self.assertEqual(plan.draft_bytes, 0)
        drafted = LLM.plan(BUNDLE, target="cpu", kv_cache_memory_bytes=1 << 20, speculative_model=BUNDLE,
                           num_speculative_tokens=2)
        self.assertGreater(drafted.draft_bytes, plan.weights_bytes)
        with self.assertRaisesRegex(inlay.InlayError, "weights=link"):
            LLM.plan(BUNDLE, target="cpu", weights_source="/nowhere")
        with LLM(BUNDLE, target="cpu", kv_cache_memory_bytes=1 << 20) as llm:
            self.assertEqual(plan.kv_cache_tokens, llm.stats().kv_cache_tokens)

    def test_guessed_tokens_are_the_same(self):
        with LLM(BUNDLE, target="cpu") as llm, LLM(BUNDLE, target="cpu", num_speculative_tokens=4) as guessing:
            found, expected = (engine.generate(PROMPTS, greedy(60)) for engine in (guessing, llm))
            self.assertEqual([o.outputs[0].token_ids for o in found], [o.outputs[0].token_ids for o in expected])
            self.assertGreater(guessing.stats().accepted_draft_tokens, 0)

    def test_shutdown_lets_requests_end(self):
        with LLM(BUNDLE, target="cpu") as llm:
            request = llm.submit("x", greedy(20))
            llm.shutdown(10)
            self.assertEqual(len(request.result().outputs[0].token_ids), 20)

    def test_generate_waits_for_places_in_a_full_queue(self):
        with LLM(BUNDLE, target="cpu", max_num_seqs=1, max_waiting=2) as llm:
            self.assertEqual(len(llm.generate(["x"] * 8, greedy(4))), 8)
            kept = []
            with self.assertRaises(inlay.ResourceExhaustedError):
                for _ in range(8):
                    kept.append(llm.submit("x", greedy(200)))

    def test_a_library_that_is_none_is_named(self):
        for library, expected in [("/nowhere/libinlay.so", "INLAY_LIBRARY=/nowhere/libinlay.so: cannot be loaded"),
                                  ("libc.so.6", "libc.so.6: is no libinlay.so")]:
            result = subprocess.run([sys.executable, "-c", "import inlay"], capture_output=True, text=True,
                                    env={**os.environ, "INLAY_LIBRARY": library})
            self.assertIn(expected, result.stderr)
            self.assertNotEqual(result.returncode, 0)

    def test_an_interpreter_ends_with_requests_under_way(self):
        script = ("import inlay, os; llm = inlay.LLM(os.environ['INLAY_TEST_BUNDLE'], target='cpu')\n"
                  "request = llm.submit('x', inlay.SamplingParams(max_tokens=900, ignore_eos=True)); next(request)")
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
        self.assertEqual((result.returncode, result.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
