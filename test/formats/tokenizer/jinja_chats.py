"""Small chat templates, written for this test in the style of public model families, and conversations for them.

The longer ones of test/fixtures/chat_templates/families are rendered with the same conversations."""
import pathlib

FAMILIES = pathlib.Path(__file__).parents[2] / "fixtures" / "chat_templates" / "families"

CALL = {"id": "c1", "type": "function", "function": {"name": "brew", "arguments": {"tea": "Grün", "cups": 2, "hot": True, "who": None}}}
TOOLS = [{"type": "function", "function": {"name": "brew", "description": "Makes tea.", "parameters": {
    "type": "object", "properties": {"tea": {"type": "string", "enum": ["Grün", "black"]}, "cups": {"type": ["integer", "null"]}}, "required": ["tea"]}}}]

CONVERSATIONS = [
    [{"role": "user", "content": "Which tea is this?"}],
    [{"role": "system", "content": " Short. "}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b\n"}, {"role": "user", "content": "c"}],
    [{"role": "user", "content": "tea"}, {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
     {"role": "tool", "tool_call_id": "c1", "name": "brew", "content": "{\"ok\": 1}"}, {"role": "tool", "tool_call_id": "c2", "content": "x"},
     {"role": "assistant", "content": "<think>\nhm\n</think>\n\ndone", "reasoning_content": "why"}],
    [{"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image"}]}, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
    [{"role": "assistant", "content": "first"}, {"role": "assistant", "content": "again"}],
    [],
]

TEMPLATES = {
    "gemma": """{{ bos_token }}{% if messages and messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}
{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}
{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}""",
    "phi": """{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}
{%- elif message['role'] in ('user', 'tool') %}{{'<|' ~ message['role'] ~ '|>\n' ~ message['content'] ~ '<|end|>\n'}}{% elif message['role'] == 'assistant' %}
{% generation %}{{'<|assistant|>\n' ~ (message.content or '') ~ '<|end|>\n'}}{% endgeneration %}{% endif %}{% endfor %}
{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}""",
    "deepseek": """{% set ns = namespace(is_first=false, is_tool=false, system_prompt='', is_first_sp=true) %}
{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}
{%- else %}{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}
{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<|User|>' ~ message['content']}}{%- endif %}
{%- if message['role'] == 'assistant' and 'tool_calls' in message %}{%- for tool in message['tool_calls'] %}{{ '<|call|>' + tool['type'] + '<|sep|>' + tool['function']['name'] + '\n```json\n' + tool['function']['arguments']|tojson + '\n```' }}{{ '' if loop.last else '\n' }}{%- endfor %}
{%- elif message['role'] == 'assistant' %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{ '<|Assistant|>' + content + '<|end|>' }}{%- endif %}
{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{{ '<|out|>' + message['content'] }}{%- endif %}{%- endfor -%}
{% if ns.is_tool %}{{ '<|outs_end|>' }}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{ '<|Assistant|><think>\n' }}{% endif %}""",
    "command-r": """{%- macro json_to_python_type(spec) %}{%- set basic = {'string': 'str', 'integer': 'int', 'number': 'float'} %}
{%- if basic[spec.type] is defined %}{{- basic[spec.type] }}{%- elif spec.type is iterable and spec.type is not string %}{{- 'Union[' }}{%- for t in spec.type %}{{- json_to_python_type({'type': t}) }}{% if not loop.last %}{{- ',' }}{% endif %}{%- endfor %}{{- ']' }}{%- else %}{{- 'Any' }}{%- endif %}{%- endmacro %}
{{- bos_token }}{% if messages and messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}
{% if system_message != false %}{{ '<|SYS|>' + system_message }}{% endif %}
{%- if tools %}{% for tool in tools %}def {{ tool.function.name }}({% for name, spec in tool.function.parameters.properties|items %}{{ name }}: {{ json_to_python_type(spec) }}{% if name not in tool.function.parameters.required %} = None{% endif %}{{ ', ' if not loop.last }}{% endfor %}) -> {{ tool.function.description|replace('.', '')|upper }}
{% endfor %}{% endif %}
{% for message in loop_messages %}{% set content = message['content'] %}{% if message['role'] == 'user' %}{{ '<|USER|>' ~ content ~ '<|END|>' }}{% elif message.tool_calls is defined %}{{ '<|CALLS|>' ~ message.tool_calls|map(attribute='function')|list|tojson(indent=4) }}{% else %}{{ '<|' ~ message.role|upper ~ '|>' ~ content|string|trim }}{% endif %}{% endfor %}""",
    "granite": """{%- if messages and messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set system_message = 'Knowledge Cutoff.' %}
{%- if tools and documents %}{%- set system_message = system_message + ' both' %}{%- elif tools %}{%- set system_message = system_message + ' tools' %}{%- elif 'citations' in controls %}c{%- endif %}{%- set loop_messages = messages %}{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\n' }}{%- if tools %}{{- '<|start_of_role|>available_tools<|end_of_role|>' }}{{- tools | map(attribute='function') | list | tojson(indent=4) }}{{- '<|end_of_text|>\n' }}{%- endif %}
{%- for message in loop_messages %}{{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' ~ message['content'] ~ '<|end_of_text|>\n' }}{%- if loop.last and add_generation_prompt %}{{- '<|start_of_role|>assistant' }}{%- if controls %}{{- ' ' + controls | tojson() }}{%- endif %}{{- '<|end_of_role|>' }}{%- endif %}{%- endfor %}""",
    "hermes": """{%- for tool in tools or [] %}{%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}{{- '{"type": "function", "function": ' }}{{- '{"name": "' + tool.name + '", "description": "' }}{{- tool.name + '(' }}
{%- for param_name, param_fields in tool.parameters.properties|items %}{{- param_name + ': ' + (param_fields.type if param_fields.type is string else param_fields.type|join('|')) }}{%- if not loop.last %}{{- ', ' }}{%- endif %}{%- endfor %}{{- ')' }}{{- '", "parameters": ' ~ (tool.parameters.properties|length == 0 and '{}' or tool.parameters|tojson) + '}' }}{{ '\n' }}{%- endfor %}
{%- for message in messages %}{%- if message.role == 'user' or message.role == 'system' or (message.role == 'assistant' and message.tool_calls is not defined) %}{{- '<|im_start|>' + message.role + '\n' ~ message.content ~ '<|im_end|>' + '\n' }}
{%- elif message.role == 'assistant' %}{{- '<|im_start|>' + message.role }}{%- for tool_call in message.tool_calls %}{{- '\n<tool_call>\n' }}{%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}{{- '{"name": "' + tool_call.name + '", "arguments": ' }}{{- tool_call.arguments|tojson }}{{- '}\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\n' }}
{%- elif message.role == 'tool' %}{%- if loop.previtem and loop.previtem.role != 'tool' %}{{- '<|im_start|>tool\n' }}{%- endif %}{{- '<tool_response>\n' + message.content }}{%- if not loop.last %}{{- '\n</tool_response>\n' }}{%- else %}{{- '\n</tool_response>' }}{%- endif %}{%- if not loop.last and loop.nextitem.role != 'tool' or loop.last %}{{- '<|im_end|>' }}{%- endif %}{%- endif %}{%- endfor %}""",
    "mistral": """{%- set user_messages = messages | selectattr('role', 'equalto', 'user') | list %}{%- set ns = namespace() %}{%- set ns.index = 0 %}{%- for message in messages if message.role != 'system' %}
{%- if not (message.role == 'tool' or (message.tool_calls is defined and message.tool_calls is not none)) %}{%- if (message['role'] == 'user') != (ns.index % 2 == 0) %}{{- raise_exception('alternate') }}{%- endif %}{%- set ns.index = ns.index + 1 %}{%- endif %}{%- endfor %}
{{- bos_token }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- if tools is not none and (message == user_messages[-1]) %}{{- '[AVAILABLE_TOOLS] [' }}{%- for tool in tools %}{%- set tool = tool.function %}{{- '{"type": "function", "function": {' }}{%- for key, val in tool.items() if key != 'return' %}{%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}{%- if not loop.last %}{{- ', ' }}{%- endif %}{%- endfor %}{{- '}}' }}{%- endfor %}{{- '[/AVAILABLE_TOOLS]' }}{%- endif %}
{%- if message.content is string %}{{- '[INST]' + message.content + '[/INST]' }}{%- else %}{%- for block in message.content %}{{- block.text if block.type == 'text' else '[IMG]' }}{%- endfor %}{%- endif %}
{%- elif message.tool_calls %}{{- '[TOOL_CALLS] [' }}{%- for tool_call in message.tool_calls %}{%- set out = tool_call.function|tojson %}{{- out[:-1] }}{%- if tool_call.id is not defined or tool_call.id|length < 2 %}{{- raise_exception('id') }}{%- endif %}{{- ', "id": "' + tool_call.id + '"}' }}{{- ', ' if not loop.last else ']' + eos_token }}{%- endfor %}
{%- elif message['role'] == 'tool' %}{%- set content = message.content if message.content is string else message.content.content %}{{- '[TOOL_RESULTS] {"content": ' + content|string + '}' }}{%- else %}{{- ' ' + message['content']|trim + eos_token }}{%- endif %}{%- endfor %}""",
    "pythonic": """{%- for message in messages %}{%- if message.tool_calls %}[{%- for call in message.tool_calls %}{{ call.function.name }}({%- for k, v in call.function.arguments.items() %}{{ '%s=%r' | format(k, v) }}{{ ', ' if not loop.last }}{%- endfor %}){{ ', ' if not loop.last }}{%- endfor %}]
{%- elif message.content is mapping or message.content is iterable and message.content is not string %}{{ message.content | selectattr('type', 'eq', 'text') | map(attribute='text') | join('\n') }}{% if message.content | selectattr('type', 'eq', 'image') | list | length > 0 %}<img>{% endif %}{%- else %}{{ loop.cycle('odd', 'even') }}: {{ message.content | default('', true) | indent(2) }}
{% endif %}{%- endfor %}""",
    "qwen": """{%- macro render_content(content) %}{%- if content is string %}{{- content }}{%- else %}{%- for item in content %}{%- if 'text' in item %}{{- item.text }}{%- endif %}{%- endfor %}{%- endif %}{%- endmacro %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}{%- if ns.multi_step_tool and message.role == 'user' and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}{%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}{%- endif %}{%- endfor %}
{%- for message in messages %}{%- set content = render_content(message.content or '')|trim %}{%- if message.role == 'assistant' %}{%- set reasoning_content = '' %}{%- if message.reasoning_content is string %}{%- set reasoning_content = message.reasoning_content %}{%- elif '</think>' in content %}{%- set reasoning_content = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}
{%- if loop.index0 > ns.last_query_index and (loop.last or reasoning_content) %}{{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}{%- else %}{{- '<|im_start|>' + message.role + '\n' + content }}{%- endif %}{%- else %}{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}""",
}


def chats():
    """Pairs of a template and its variables."""
    families = [path.read_text(encoding="utf-8") for path in sorted(FAMILIES.glob("*.jinja"))]
    for template in [*TEMPLATES.values(), *families]:
        for messages in CONVERSATIONS:
            for more in ({}, {"tools": TOOLS, "enable_thinking": False, "controls": {"length": "short"}}):
                yield template, {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": not more, "bos_token": "<s>", "eos_token": "</s>", "date_string": "29 Nov 2026", **more}
