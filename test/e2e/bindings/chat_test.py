"""LLM.chat and the C interface make the same prompt from a conversation as serve-model, because they share the code.

The template writes all of its input, so that prompts are equal only if messages, tools and variables are equal.
Arguments: the bin directory of the build, the bundle. INLAY_LIBRARY is the path of libinlay.so."""

import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import serve_support  # noqa: E402

import inlay  # noqa: E402

TEMPLATE = (
    "{{ bos_token }}{% if tools %}# tools: {{ tools | tojson }}{{ '\n' }}{% endif %}"
    "{% if enable_thinking is defined %}# thinking: {{ enable_thinking }}{{ '\n' }}{% endif %}"
    "{% for document in documents or [] %}# {{ document.title }}{{ '\n' }}{% endfor %}"
    "{% for message in messages %}# {{ message.role }}"
    "{% if message.name %} {{ message.name }}{% endif %}{% if message.tool_call_id %} {{ message.tool_call_id }}{% endif %}"
    ": {{ message.content }}\n"
    "{% if message.reasoning_content %}# because {{ message.reasoning_content }}{{ '\n' }}{% endif %}"
    "{% for call in message.tool_calls or [] %}# {{ call.function.name }}"
    "{% for name, value in call.function.arguments | items %} {{ name }}={{ value | tojson }}{% endfor %}{{ '\n' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}def {% endif %}")

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Wetter für eine Stadt",
                                         "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}


def user(content) -> dict:
    return {"role": "user", "content": content}


def call(arguments) -> dict:
    return {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}]}


RESULT = {"role": "tool", "tool_call_id": "call_1", "content": '{"temperature": 3}'}

# Fields of the conversation, and a text that the prompt must contain.
ROWS = [
    ({"messages": [user("Hi")]}, "# user: Hi\ndef "),
    ({"messages": [{"role": "system", "content": "Be brief"}, user("Hi"), {"role": "assistant", "content": "Yes?"},
                   user("Is\u0000this 你好 😀?")]}, "# assistant: Yes?\n# user: Is\u0000this 你好 😀?\n"),
    ({"messages": [{"role": "developer", "content": "Be brief"}, user("Hi")]}, "# system: Be brief\n"),
    ({"messages": [{"role": "ipython", "content": "3", "name": "shell"}]}, "# ipython shell: 3\n"),
    # Text parts are joined (vLLM, issue 6416, about conversations in LLM).
    ({"messages": [user([{"type": "text", "text": "one"}, {"type": "text", "text": " two",
                                                            "cache_control": {"type": "ephemeral"}}])]},
     "# user: one two\n"),
    # The arguments of a call are a string of JSON in OpenAI's API, and an object to templates.
    ({"messages": [user("Wie warm?"), call('{"city": "Köln", "days": [1, 2]}'), RESULT]},
     '# get_weather city="Köln" days=[1, 2]\n# tool call_1: {"temperature": 3}\n'),
    ({"messages": [user("Wie warm?"), call({"city": "Köln"}), RESULT]}, '# get_weather city="Köln"\n'),
    ({"messages": [user("Wie warm?"), call(""), RESULT]}, "# get_weather\n"),
    ({"messages": [user("Hi"), {"role": "assistant", "content": "3", "reasoning_content": "1 + 2", "refusal": None,
                                "annotations": []}, user("Why?")]}, "# because 1 + 2\n"),
    ({"messages": [user("Hi")], "tools": [TOOL]}, '# tools: [{"type": "function"'),
    ({"messages": [user("Hi")], "tools": []}, "# user: Hi\n"),
    ({"messages": [user("Hi")], "chat_template_kwargs": {"enable_thinking": False}}, "# thinking: False\n"),
    ({"messages": [user("Hi")], "chat_template_kwargs": {"documents": [{"title": "A"}]}}, "# A\n"),
    ({"messages": [user("Hi")], "add_generation_prompt": False}, "# user: Hi\n"),
    ({"messages": [user("Hi"), {"role": "assistant", "content": "So it "}], "add_generation_prompt": False,
      "continue_final_message": True}, "# assistant: So it "),
]

# Conversations that are refused, and a part of the message of LLM and of the server.
WRONG = [
    ({"messages": []}, "expected a list of 1 to"),
    ({"messages": [{"content": "Hi"}]}, "'messages[0].role' is missing"),
    ({"messages": [user(None)]}, "'messages[0].content' is missing"),
    ({"messages": [user([{"type": "image_url", "image_url": {"url": "x"}}])]}, "reads text only"),
    ({"messages": [user("Hi"), call("{")]}, "messages[1].tool_calls[0].function.arguments' must hold a JSON object"),
    ({"messages": [user("Hi"), call("[1]")]}, "messages[1].tool_calls[0].function.arguments' must hold a JSON object"),
    ({"messages": [user("Hi")], "tools": [TOOL, TOOL]}, "'get_weather', which occurs twice"),
    ({"messages": [user("Hi")], "tools": [{"name": "f"}]}, "tools[0]"),
    ({"messages": [user("Hi")], "chat_template_kwargs": {"messages": []}}, "'chat_template_kwargs' contains 'messages'"),
    ({"messages": [user("Hi")], "continue_final_message": True, "add_generation_prompt": True}, "are both true"),
]


def expect(what, found, expected) -> None:
    if found != expected:
        sys.exit(f"{what}: found {found!r}, expected {expected!r}")


def error_of(function) -> str:
    try:
        function()
    except inlay.InvalidArgumentError as error:
        return str(error)
    return "no error"


def compare(llm: inlay.LLM, server: serve_support.Server) -> None:
    tokenizer = llm.get_tokenizer()
    greedy = inlay.SamplingParams(temperature=0, max_tokens=1)
    for fields, part in ROWS:
        status, body = server.post("/tokenize", fields)
        expect(fields, status, 200)
        output = llm.chat(fields["messages"], greedy, **{name: value for name, value in fields.items()
                                                         if name != "messages"})[0]
        expect(fields, output.prompt_token_ids, body["tokens"])
        if part not in output.prompt:
            sys.exit(f"{fields}: found {output.prompt!r}, expected a prompt with {part!r}")
        more = dict(fields.get("chat_template_kwargs", {}))
        if fields.get("continue_final_message"):
            more["continue_final_message"] = True
        asked = {"add_generation_prompt": fields.get("add_generation_prompt", True), "tools": fields.get("tools"), **more}
        expect(fields, llm.apply_chat_template(fields["messages"], **asked), output.prompt)
        expect(fields, tokenizer.apply_chat_template(fields["messages"], **asked), body["tokens"])
        expect(fields, tokenizer.apply_chat_template(fields["messages"], tokenize=False, **asked), output.prompt)
    for fields, part in WRONG:
        status, body = server.post("/tokenize", fields)
        expect(fields, status, 400)
        found = error_of(lambda: llm.chat(fields["messages"], **{name: value for name, value in fields.items()
                                                                 if name != "messages"}))
        # Only the server limits the length of lists.
        if "1 to" not in part:
            expect(fields, found, body["error"]["message"])
        for message in (found, body["error"]["message"]):
            if part not in message:
                sys.exit(f"{fields}: found {message!r}, expected {part!r} in it")


def check_arguments(llm: inlay.LLM) -> None:
    greedy = inlay.SamplingParams(temperature=0, max_tokens=2)
    batch = llm.chat([[user("a")], [user("b")]], greedy)
    expect("a batch of conversations", [output.prompt for output in batch],
           [llm.apply_chat_template([user(text)]) for text in "ab"])
    for messages, part in [("Hi", "messages is of type str, expected a list of messages"),
                           (user("Hi"), "messages is of type dict, expected a list of messages"),
                           (["Hi"], "'messages[0]' is the string \"Hi\", expected an object"),
                           ([user("a\ud800b")], "messages[0].content holds the lone surrogate U+D800 at position 1"),
                           ([user("\ud83d\ude00")], "messages[0].content holds the lone surrogate U+D83D"),
                           ([{"role": "user", "\udc00": "x"}], "a key of messages[0] holds the lone surrogate U+DC00"),
                           ([user(float("nan"))], "messages cannot be written as JSON"),
                           ([user(object())], "found an object of type object"),
                           ([user(b"Hi")], "found an object of type bytes")]:
        if part not in (found := error_of(lambda: llm.chat(messages))):
            sys.exit(f"{messages!r}: found {found!r}, expected {part!r} in it")
    if "return_tensors" not in (found := error_of(
            lambda: llm.get_tokenizer().apply_chat_template([user("Hi")], return_tensors="pt"))):
        sys.exit(f"return_tensors: found {found!r}")


def main() -> None:
    binaries, bundle = (pathlib.Path(argument) for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory() as scratch:
        chat_bundle = pathlib.Path(scratch) / "chat.inlay"
        shutil.copytree(bundle, chat_bundle)
        (chat_bundle / "tokenizer" / "chat_template.jinja").write_text(TEMPLATE)
        with serve_support.serving(binaries, chat_bundle, "--target", "cpu") as server:
            with inlay.LLM(chat_bundle, target="cpu", threads=1) as llm:
                compare(llm, server)
                check_arguments(llm)


if __name__ == "__main__":
    main()
