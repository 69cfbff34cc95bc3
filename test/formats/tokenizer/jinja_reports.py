"""Templates like those that other engines render wrongly according to public reports. Each entry names its report.

jinja_differential.py compares each with jinja2. The templates are written for this test.
"""

USER = {"role": "user", "content": " a "}
CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1, None], "y": "é"}}}]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"default": None}}}}}

# Report, template, variables in addition to messages = [USER, CALL].
REPORTS = [
    ("mitsuhiko/minijinja issue 911: none is printed as None", "{{ value }}{{ [value] }}{{ value|tojson }}", {"value": None}),
    ("huggingface/huggingface.js pull request 846: none is a literal, and `tools is not none` holds for a list",
     "{%- if not tools is defined %}{%- set tools = none %}{%- endif %}{{ tools is not none }}{{ none is none }}", {}),
    ("huggingface/huggingface.js issue 839: tojson(indent=4) of an object", "{{- test|tojson(indent=4)}}", {"test": {"foo": "bar"}}),
    ("huggingface/huggingface.js pull request 854: rstrip and lstrip", "{{ messages[0].content.rstrip() }}|{{ messages[0].content.lstrip() }}|", {}),
    ("huggingface/huggingface.js pull request 484: string filters", "{{ 'a b'|title }}{{ 'a b'|capitalize }}{{ ' a '|trim }}{{ 'A'|lower }}{{ 'a'|upper }}", {}),
    ("google/minja issue 28, huggingface/transformers pull request 30650: {% generation %} prints its body",
     "{% for m in messages %}\n  {% generation %}\n{{ m.role }}\n  {% endgeneration %}\n{% endfor %}\n", {}),
    ("ggml-org/llama.cpp issue 11443: {% break %} in an else branch",
     "{%- for m in messages %}{%- if m.role == 'user' %}{{ m.content }}{%- else %}{%- break %}{%- endif %}{%- endfor %}", {}),
    ("withcatai/node-llama-cpp issue 366: rejectattr of messages", "{{ messages|rejectattr('role', 'equalto', 'user')|list|length }}", {}),
    ("ggml-org/llama.cpp issue 12231: a slice of a split of a content that has no separator",
     "{{ (messages[0].content.split('</think>')|last).lstrip('\\n') }}{{ messages[0].content.split('</think>')[-1] }}", {}),
    ("ggml-org/llama.cpp pull request 19176: filters of none", "{{ nothing|string }}{{ nothing|default('d') }}{{ nothing|tojson }}{{ nothing|int }}",
     {"nothing": None}),
    ("huggingface/text-generation-inference pull request 2463: messages without the first",
     "{%- set messages = messages[1:] %}{{ messages|length }}{{ messages[0].tool_calls[0].function.arguments|tojson }}", {}),
    ("huggingface/text-generation-inference pull request 2049: methods of Python's strings",
     "{{ messages[0].content.strip() }}{{ 'a b'.title() }}{{ 'a\\nb'.splitlines() }}", {}),
    ("HubSpot/jinjava pull request 1217: white space around comments", "<div>\n    {# one #}\n    yay\n  {# two\n   lines #}\n whoop\n</div>", {}),
    ("jinja2cpp/Jinja2Cpp issue 159: lstrip_blocks leaves the spaces before an output", "{% for i in range(1) %}\n   i = {{i}}\n   {{ i }}\n{% endfor %}\n", {}),
    ("huggingface/transformers pull request 45422: a content of none beside calls", "{{ messages[0].content }}", {"messages": [{"content": None}]}),
    ("huggingface/transformers pull request 48120: items of arguments that are a text", "{{ arguments|items|list }}", {"arguments": '{"a": 1}'}),
    ("scouzi1966/maclocal-api pull request 33: null in a tool's schema", "{% for tool in tools %}{{ tool|tojson|safe }}{% endfor %}", {"tools": [TOOL]}),
    ("ggml-org/llama.cpp issue 11402: two messages of a user in a row are refused",
     "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}{% endfor %}",
     {"messages": [USER, USER]}),
    ("theroyallab/tabbyAPI issue 92: a template without messages", "{% if messages[0]['role'] == 'system' %}a{% else %}b{% endif %}", {"messages": []}),
    ("huggingface/huggingface.js pull request 1368: (SmolVLM) capitalize and a list of parts",
     "{% for m in messages %}{{ m['role']|capitalize }}{% if m['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}{% endfor %}", {}),
]


def reports():
    """Pairs of a template and its variables."""
    for _, template, variables in REPORTS:
        yield template, {"messages": [USER, CALL], "documents": None, "add_generation_prompt": True, **variables}
