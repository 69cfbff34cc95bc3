"""serve-model with the OpenAI Python client. Skipped with a message if the package `openai` is not installed
(scripts/setup installs it)."""

import json
import pathlib
import re

import serve_support
import tools

try:
    import openai
except ImportError as error:
    tools.skip(f"the package openai cannot be imported ({error}); run scripts/setup")

complaints = []


def expect(name: str, found, expected) -> None:
    if found != expected:
        complaints.append(f"{name}: expected {expected!r}, found {found!r}")


def completions(client: openai.OpenAI) -> None:
    common = {"model": "example", "prompt": "def f", "max_tokens": 12, "temperature": 0, "extra_body": {"ignore_eos": True}}
    whole = client.completions.create(**common, logprobs=2)
    choice = whole.choices[0]
    expect("finish_reason", choice.finish_reason, "length")
    expect("tokens", "".join(choice.logprobs.tokens), choice.text)
    expect("usage", whole.usage.completion_tokens, 12)
    parts = list(client.completions.create(**common, stream=True, stream_options={"include_usage": True}))
    expect("streamed", "".join(part.choices[0].text for part in parts if part.choices), choice.text)
    expect("streamed usage", parts[-1].usage.total_tokens, whole.usage.total_tokens)
    several = client.completions.create(**common, n=2)
    expect("n", [one.text for one in several.choices], [choice.text] * 2)


def chats(client: openai.OpenAI) -> None:
    common = {"model": "example", "messages": [{"role": "user", "content": "sort"}], "max_completion_tokens": 12,
              "temperature": 0, "extra_body": {"ignore_eos": True}}
    whole = client.chat.completions.create(**common, logprobs=True, top_logprobs=2)
    message = whole.choices[0].message
    expect("role", message.role, "assistant")
    expect("logprobs", "".join(token.token for token in whole.choices[0].logprobs.content), message.content)
    text = ""
    with client.chat.completions.create(**common, stream=True) as stream:
        for part in stream:
            text += part.choices[0].delta.content or ""
    expect("streamed chat", text, message.content)
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}}
    with_tools = client.chat.completions.create(**common, tools=[tool])
    expect("tools are shown to the model", with_tools.usage.prompt_tokens > whole.usage.prompt_tokens, True)
    # A conversation that contains a call and its result.
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    common["messages"] += [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": "1"}]
    expect("an answer after a call", client.chat.completions.create(**common).choices[0].finish_reason, "length")


def forms(client: openai.OpenAI) -> None:
    """Guided decoding with OpenAI's response_format and with vLLM's fields."""
    schema = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}, "n": {"type": "integer", "minimum": 0, "maximum": 99}},
              "required": ["city", "n"], "additionalProperties": False}
    common = {"model": "example", "messages": [{"role": "user", "content": "sort"}], "max_completion_tokens": 300, "seed": 1}
    form = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": schema}}
    whole = client.chat.completions.create(**common, response_format=form).choices[0]
    place = json.loads(whole.message.content)
    expect("json_schema", (list(place), place["city"] in ("Rome", "Oslo"), place["n"] in range(100)), (["city", "n"], True, True))
    expect("json_schema: finish_reason", whole.finish_reason, "stop")
    streamed = client.chat.completions.create(**common, response_format=form, stream=True)
    expect("streamed json_schema", "".join(part.choices[0].delta.content or "" for part in streamed), whole.message.content)
    several = client.chat.completions.create(**common, response_format=form, n=3)
    expect("n of json_schema", [list(json.loads(one.message.content)) for one in several.choices], [["city", "n"]] * 3)
    for fields, pattern in (({"guided_regex": "[a-c]{3}"}, "[a-c]{3}"), ({"guided_choice": ["left", "right"]}, "left|right"),
                            ({"guided_json": {"type": "boolean"}}, "true|false"), ({"guided_grammar": 'root ::= "x" root | "."'}, r"x*\."),
                            ({"structured_outputs": {"regex": "[0-9]{4}"}}, "[0-9]{4}")):
        text = client.completions.create(model="example", prompt="a", max_tokens=200, seed=2, extra_body=fields).choices[0].text
        expect(f"{fields}: {text!r}", bool(re.fullmatch(pattern, text)), True)
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}
    for choice in ("required", {"type": "function", "function": {"name": "f"}}):
        said = client.chat.completions.create(**common, tools=[tool], tool_choice=choice, parallel_tool_calls=False).choices[0]
        expect("forced call", [call.function.name for call in said.message.tool_calls or []], ["f"])
        expect("its arguments", list(json.loads(said.message.tool_calls[0].function.arguments)), ["city", "n"])
    for fields in ({"response_format": {**form, "json_schema": {"name": "x", "schema": {"type": "text"}}}},
                   {"response_format": {**form, "json_schema": {"name": "x", "schema": {"$ref": "#"}}}},
                   {"extra_body": {"guided_regex": "("}}, {"extra_body": {"guided_grammar": "a ::= b"}},
                   {"extra_body": {"guided_regex": "ab" * 300_000}}):
        for stream in (False, True):
            try:
                for _ in client.chat.completions.create(**common, **fields, stream=stream):
                    pass
                complaints.append(f"{fields}: nothing was raised")
            except openai.BadRequestError as error:
                expect(f"{fields}: type", error.type, "invalid_request_error")


def errors(client: openai.OpenAI, port: int) -> None:
    def raised(kind, call):
        try:
            call()
        except kind as error:
            return error
        except Exception as error:  # noqa: BLE001: an exception of another type is a failure
            complaints.append(f"expected {kind.__name__}, found {error!r}")
        else:
            complaints.append(f"expected {kind.__name__}, nothing was raised")
        return None

    ask = client.completions.create
    error = raised(openai.BadRequestError, lambda: ask(model="example", prompt="a", max_tokens=-1))
    expect("param", error and error.param, "max_tokens")
    error = raised(openai.NotFoundError, lambda: ask(model="none", prompt="a"))
    expect("code", error and error.code, "model_not_found")
    stranger = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="wrong", max_retries=0)
    raised(openai.AuthenticationError, stranger.models.list)
    # The server cancels a stream that the client closes.
    with ask(model="example", prompt="a", max_tokens=1000, stream=True, extra_body={"ignore_eos": True}) as stream:
        next(iter(stream))


def test(t: tools.Tools, bundle: pathlib.Path) -> None:
    bundle = serve_support.with_chat_template(bundle, t.scratch / "chat.inlay")
    with serve_support.serving(t.binaries, bundle, "--served-model-name", "example", "--tool-call-parser", "hermes",
                               key="secret") as server:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="secret", max_retries=0)
        expect("models", [model.id for model in client.models.list()], ["example"])
        completions(client)
        chats(client)
        forms(client)
        errors(client, server.port)
        expect("exit code", server.stop(), 0)
    if complaints:
        tools.fail("\n".join(complaints))


tools.main(test)
