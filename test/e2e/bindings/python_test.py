"""The Python package with the example model. INLAY_LIBRARY is the path of libinlay.so, INLAY_TEST_BUNDLE the bundle."""

import asyncio
import gc
import json
import os
import pickle
import subprocess
import sys
import threading
import time
import types
import unittest
import unittest.mock

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
        with self.assertRaisesRegex(TimeoutError, "no token came in 0 seconds; the request still runs"):
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


class VllmNames(unittest.TestCase):
    """The parts of vLLM's API that programs use (vllm/sampling_params.py, outputs.py and entrypoints/llm.py of
    0.2x)."""

    @classmethod
    def setUpClass(cls):
        cls.llm = LLM(model=BUNDLE, target="cpu", threads=2)

    @classmethod
    def tearDownClass(cls):
        cls.llm.close()

    def answer(self, prompt="def main(argv):\n", **params):
        params = {"temperature": 0, "ignore_eos": True, "max_tokens": 12} | params
        return self.llm.generate(prompt, SamplingParams(**params), use_tqdm=False)[0].outputs[0]

    def test_max_tokens_none_goes_to_the_end_of_the_context(self):
        output = self.llm.generate("x", SamplingParams(temperature=0, ignore_eos=True, max_tokens=None))[0]
        self.assertEqual(len(output.prompt_token_ids) + len(output.outputs[0].token_ids), self.llm.stats().max_model_len)
        self.assertEqual(output.outputs[0].finish_reason, "length")
        # If all KV pages together hold less than a context, they limit its length.
        with LLM(BUNDLE, target="cpu", kv_cache_memory_bytes=1 << 17) as small:
            tokens = small.stats().kv_cache_tokens
            self.assertLess(tokens, small.stats().max_model_len)
            output = small.generate("x", SamplingParams(ignore_eos=True, max_tokens=None))[0]
            self.assertEqual(len(output.prompt_token_ids) + len(output.outputs[0].token_ids), tokens)

    def test_options_of_vllm(self):
        with LLM(model=BUNDLE, target="cpu", dtype="auto", tensor_parallel_size=1, trust_remote_code=True, seed=0):
            pass
        for kind, text, options in [(inlay.UnimplementedError, "dtype='float16'.*compile-model", {"dtype": "float16"}),
                                    (inlay.InvalidArgumentError, "compiled for 1.*--tensor-parallel-size 2",
                                     {"tensor_parallel_size": 2}),
                                    (inlay.InvalidArgumentError, "compiled for 1.*--pipeline-parallel-size 2",
                                     {"pipeline_parallel_size": 2}),
                                    (inlay.InvalidArgumentError, "--distributed-timeout is 0", {"distributed_timeout": 0}),
                                    (inlay.InvalidArgumentError, "--distributed-backend is 'mpi'", {"distributed_backend": "mpi"}),
                                    (inlay.InvalidArgumentError, "--device names 2 GPUs, but .* was compiled for 1 rank", {"devices": [0, 0]}),
                                    (inlay.InvalidArgumentError, "--device names GPUs, but .* runs on the target cpu", {"devices": [0]}),
                                    (inlay.InvalidArgumentError, "an index of devices is '0', expected an integer", {"devices": "0"}),
                                    (TypeError, "no option 'typo'", {"typo": 1})]:
            with self.subTest(options), self.assertRaisesRegex(kind, text):
                LLM(model=BUNDLE, target="cpu", **options)
        with self.assertRaisesRegex(TypeError, "an LLM cannot be pickled"):
            pickle.dumps(self.llm)

    def test_values_that_are_off(self):
        plain = self.answer().text
        self.assertEqual(self.answer(top_k=-1, seed=-1, best_of=None, thinking_token_budget=-1, logits_processors=[],
                                     flat_logprobs=False, spaces_between_special_tokens=False).text, plain)

    def test_stop_reason(self):
        whole = self.answer()
        self.assertEqual((whole.finish_reason, whole.stop_reason, whole.finished()), ("length", None, True))
        stop = whole.text[4:7]
        ended = self.answer(stop=[stop])
        self.assertEqual((ended.finish_reason, ended.stop_reason), ("stop", stop))
        self.assertEqual(ended.text, whole.text.split(stop)[0])
        self.assertTrue(self.answer(stop=stop, include_stop_str_in_output=True).text.endswith(stop))
        token = whole.token_ids[3]
        self.assertEqual(self.answer(stop_token_ids=[token]).stop_reason, token)
        self.assertEqual(self.answer(ignore_eos=False, guided_choice=["a"]).stop_reason, None)

    def test_allowed_and_bad_words(self):
        whole = self.answer()
        allowed = self.answer(allowed_token_ids=whole.token_ids[:2])
        self.assertLessEqual(set(allowed.token_ids), set(whole.token_ids[:2]))
        word = self.llm.get_tokenizer().decode(whole.token_ids[0]).strip() or self.llm.get_tokenizer().decode(
            whole.token_ids[1]).strip()
        self.assertNotIn(word, self.answer(bad_words=[word]).text.split())

    def test_detokenize_false_gives_ids_alone(self):
        whole, ids = self.answer(), self.answer(detokenize=False)
        self.assertEqual((ids.token_ids, ids.text), (whole.token_ids, ""))

    def test_truncate_prompt_tokens(self):
        ids = self.llm.tokenize("import os\nimport sys\n" * 4)
        for size, kept in [(5, ids[-5:]), (1000, ids), (None, ids), (-1, ids)]:
            output = self.llm.generate({"prompt_token_ids": ids}, SamplingParams(max_tokens=1,
                                                                                 truncate_prompt_tokens=size))[0]
            self.assertEqual(output.prompt_token_ids, kept)
        text = "x = 1\n" * 3 * self.llm.stats().max_model_len
        output = self.llm.generate(text, SamplingParams(max_tokens=7, truncate_prompt_tokens=-1))[0]
        self.assertEqual(len(output.prompt_token_ids), self.llm.stats().max_model_len - 7)
        self.assertEqual(output.prompt_token_ids, self.llm.tokenize(text)[-len(output.prompt_token_ids):])

    def test_logprobs_have_ranks_and_texts(self):
        output = self.llm.generate("def main", SamplingParams(seed=1, max_tokens=8, logprobs=2, prompt_logprobs=1,
                                                              temperature=3.0, ignore_eos=True))[0]
        answer = output.outputs[0]
        for id, at in zip(answer.token_ids, answer.logprobs):
            self.assertEqual(next(iter(at)), id)
            self.assertEqual(at[id].decoded_token, self.llm.get_tokenizer().decode([id]))
            ranks = sorted(one.rank for one in at.values())
            self.assertEqual(ranks[:2], [1, 2])
            self.assertIn(len(at), (2, 3))
        self.assertAlmostEqual(answer.cumulative_logprob,
                               sum(at[id].logprob for id, at in zip(answer.token_ids, answer.logprobs)))
        self.assertTrue(any(at[id].rank > 2 for id, at in zip(answer.token_ids, answer.logprobs)))
        self.assertIsNone(output.prompt_logprobs[0])
        for id, at in zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:]):
            self.assertEqual(at[id].rank == 1, len(at) == 1)
            self.assertGreaterEqual(at[id].rank, 1)

    def test_structured_outputs(self):
        form = inlay.StructuredOutputsParams(choice=["left", "right"])
        self.assertIn(self.answer(ignore_eos=False, structured_outputs=form).text, ("left", "right"))
        form = inlay.StructuredOutputsParams(json={"type": "null"})
        self.assertIsNone(json.loads(self.answer(ignore_eos=False, structured_outputs=form).text))
        with self.assertRaisesRegex(inlay.InvalidArgumentError, "beside guided_regex"):
            self.answer(structured_outputs=form, guided_regex="a")
        with self.assertRaisesRegex(inlay.InvalidArgumentError, "exactly one"):
            inlay.StructuredOutputsParams()
        with self.assertRaisesRegex(inlay.UnimplementedError, "structural_tag"):
            inlay.StructuredOutputsParams(structural_tag="{}")

    def test_fields_that_are_refused(self):
        for kind, text, params in [
            (TypeError, "top_q", {"top_q": 1}),
            (TypeError, "use_beam_search", {"use_beam_search": True}),
            (inlay.UnimplementedError, "logprob_token_ids is .1., which is not supported", {"logprob_token_ids": [1]}),
            (inlay.UnimplementedError, "flat_logprobs", {"flat_logprobs": True}),
            (inlay.UnimplementedError, "logits_processors", {"logits_processors": [print]}),
            (inlay.UnimplementedError, "thinking_token_budget", {"thinking_token_budget": 5}),
            (inlay.UnimplementedError, "extra_args", {"extra_args": {"a": 1}}),
            (inlay.UnimplementedError, "spaces_between_special_tokens",
             {"spaces_between_special_tokens": False, "skip_special_tokens": False}),
            (inlay.UnimplementedError, "logprobs is -1", {"logprobs": -1}),
            (ValueError, "prompt_logprobs is -2", {"prompt_logprobs": -2}),
            (ValueError, "top_k is -2", {"top_k": -2}),
            (ValueError, "truncate_prompt_tokens is 0", {"truncate_prompt_tokens": 0}),
            (ValueError, "allowed_token_ids is empty", {"allowed_token_ids": []}),
            (ValueError, "detokenize=False", {"detokenize": False, "stop": ["a"]}),
        ]:
            with self.subTest(params), self.assertRaisesRegex(kind, text):
                SamplingParams(**params)
        changed = SamplingParams()
        changed.flat_logprobs = True
        with self.assertRaisesRegex(inlay.UnimplementedError, "flat_logprobs"):
            self.llm.submit("x", changed)

    def test_texts_that_are_no_unicode_are_refused(self):
        # A UnicodeEncodeError names neither the text nor the fix (transformers, issue 8886; tiktoken, issue 82).
        lone = "a\ud800b"
        for name, call in {
            "the prompt": lambda: self.llm.generate(lone),
            "stop.1.": lambda: self.answer(stop=["ok", lone]),
            "bad_words.0.": lambda: self.answer(bad_words=[lone]),
            "choice.0.": lambda: self.answer(guided_choice=[lone]),
            "the regex": lambda: self.answer(guided_regex=lone),
            "the grammar": lambda: self.answer(guided_grammar=lone),
            "the JSON Schema.title": lambda: self.answer(guided_json={"title": lone}),
            "the text": lambda: self.llm.tokenize(lone),
            "cache_salt": lambda: self.llm.submit("x", cache_salt=lone),
            r"messages.0..content": lambda: self.llm.chat([{"role": "user", "content": lone}]),
        }.items():
            with self.subTest(name), self.assertRaisesRegex(
                    inlay.InvalidArgumentError, f"{name} holds the lone surrogate U.D800 at position 1"):
                call()
        # A zero character would end the string in C.
        for name, params in {"stop.0.": {"stop": "a\0b"}, "bad_words.0.": {"bad_words": ["\0"]},
                             "the regex": {"guided_regex": "a\0"}}.items():
            with self.subTest(name), self.assertRaisesRegex(inlay.InvalidArgumentError, f"{name} holds a zero"):
                self.answer(**params)
        self.assertEqual(len(self.answer("a\0b").token_ids), 12)

    def test_the_progress_bar(self):
        bars = []

        class Bar:
            def __init__(self, total, **more):
                self.total, self.done, self.closed = total, 0, False
                bars.append(self)

            def update(self, count):
                self.done += count

            def close(self):
                self.closed = True

        self.llm.generate(["x"] * 3, greedy(2), use_tqdm=Bar)
        self.assertEqual([(bar.total, bar.done, bar.closed) for bar in bars], [(3, 3, True)])
        module = types.ModuleType("tqdm.auto")
        module.tqdm = Bar
        with unittest.mock.patch.dict(sys.modules, {"tqdm": types.ModuleType("tqdm"), "tqdm.auto": module}):
            self.llm.generate(["x"] * 2, greedy(2))
            self.llm.generate(["x"] * 2, greedy(2), use_tqdm=False)
        self.assertEqual([bar.total for bar in bars], [3, 2])
        with unittest.mock.patch.dict(sys.modules, {"tqdm.auto": None}):
            self.llm.generate("x", greedy(2), use_tqdm=True)

    def test_tokenizer(self):
        tokenizer = self.llm.get_tokenizer()
        ids = tokenizer.encode("class Server:")
        self.assertEqual(ids, self.llm.tokenize("class Server:"))
        self.assertEqual(tokenizer.decode(ids, skip_special_tokens=True), "class Server:")
        self.assertEqual(tokenizer.decode(tokenizer.encode("x", add_special_tokens=False)), "x")
        end = self.answer("x", ignore_eos=False, max_tokens=400, guided_choice=["a"]).token_ids[-1]
        self.assertEqual(tokenizer.decode(end, skip_special_tokens=True), "")
        self.assertNotEqual(tokenizer.decode(end), "")


class Errors(unittest.TestCase):
    def test_wrong_arguments_raise_with_the_reason(self):
        with LLM(BUNDLE, target="cpu") as llm:
            for call, kind, text in [
                (lambda: llm.generate("x", SamplingParams(temperature=-1)), inlay.InvalidArgumentError, "temperature"),
                (lambda: llm.generate(""), inlay.InvalidArgumentError, "the prompt is empty"),
                (lambda: llm.generate([1 << 31]), inlay.InvalidArgumentError, "token id is 2147483648"),
                (lambda: llm.generate("x", SamplingParams(seed=1 << 64)), inlay.InvalidArgumentError, "seed is 18446744073709551616"),
                (lambda: llm.generate("x", [SamplingParams()] * 2), inlay.InvalidArgumentError, "2 sampling_params"),
                (lambda: llm.generate({"text": "x"}), inlay.InvalidArgumentError, "expected either prompt or"),
                (lambda: llm.chat([{"role": "user", "content": "x"}]), inlay.FailedPreconditionError, "chat template"),
                (lambda: LLM(BUNDLE, target="sm_1"), inlay.InvalidArgumentError, "has no target 'sm_1'"),
                (lambda: llm.submit("x", deadline=0), inlay.InvalidArgumentError, "deadline is 0"),
                (lambda: llm.chat("Hi"), inlay.InvalidArgumentError, "messages is of type str, expected a list"),
                (lambda: llm.generate({"prompt": "x", "multi_modal_data": {}}), inlay.InvalidArgumentError,
                 "'multi_modal_data'"),
                (lambda: llm.generate("x", lora_request=1), inlay.UnimplementedError, "bundles have no adapters"),
                (lambda: llm.generate(["x"] * 3, priority=[1, 2]), inlay.InvalidArgumentError, "2 priority for 3"),
                (lambda: llm.generate(["x"], priority=1), inlay.InvalidArgumentError, "priority is 1"),
                (lambda: llm.generate([1.5]), inlay.InvalidArgumentError, "a prompt is of type float"),
                (lambda: llm.generate([[1.5]]), inlay.InvalidArgumentError, "token id is 1.5, expected an integer"),
                (lambda: LLM(BUNDLE + "\0"), inlay.InvalidArgumentError, "model is "),
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
        self.assertEqual((plan.draft_bytes, plan.ranks), (0, 1))
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
                                  ("libc.so.6", "libc.so.6: is not libinlay.so")]:
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
