"""Renders template snippets with jinja2, configured as in transformers, and with Inlay. Texts and errors must agree.

usage: jinja_differential.py RENDER_TEMPLATE [--seed N] [--count N] [--show N]

Exits with 77 if Python has no jinja2. Two errors agree whatever their messages are. If jinja2 prints an object's
address, Inlay must report an error. --seed and --count select the generated snippets (see jinja_snippets.py).
"""
import argparse
import datetime
import json
import re
import subprocess
import sys

sys.dont_write_bytecode = True
import jinja_chats  # noqa: E402
import jinja_reports  # noqa: E402
import jinja_snippets  # noqa: E402

try:
    import jinja2
    import jinja2.ext
    import jinja2.nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError:
    print("jinja_differential: Python has no jinja2, so nothing was compared; fix: run scripts/setup and source scripts/env.sh")
    sys.exit(77)


class Generation(jinja2.ext.Extension):
    """{% generation %}, as transformers defines it (utils/chat_template_utils.py): a call block that returns its text."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_text"), [], [], body).set_lineno(line)

    def _text(self, caller):
        return caller()


class DictMaker:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)

    def fromkeys(self, *args, **kwargs):
        return dict.fromkeys(*args, **kwargs)


class Namespace(jinja2.utils.Namespace):
    """transformers' namespace, which rejects names that start with an underscore."""

    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            Namespace._check(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name, value):
        Namespace._check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(name)


def make_environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def strftime_now(format):
        return datetime.datetime.now().strftime(format)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals.update(raise_exception=raise_exception, strftime_now=strftime_now, dict=DictMaker(), namespace=Namespace)
    return environment


def render(environment, template, context):
    try:
        text = environment.from_string(template).render(**context)
        text.encode()  # no lone surrogates
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    if re.search(r"(?:at|of) 0x[0-9a-f]+|<class '|<built-in|<function |<bound method", text):
        return None, "prints an address: " + text[:80]
    return text, None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("render_template")
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--show", type=int, default=20)
    arguments = parser.parse_args()

    snippets = jinja_snippets.hand_written() + jinja_snippets.generated(arguments.seed, arguments.count)
    context = {"messages": [], "tools": None, "documents": None, "add_generation_prompt": True, **jinja_snippets.CONTEXT}
    inputs = [*jinja_reports.reports(), *jinja_chats.chats(), *((snippet, context) for snippet in snippets)]
    requests = [{"template": template, "context": context} for template, context in inputs]
    run = subprocess.run([arguments.render_template], input=json.dumps(requests), capture_output=True, text=True, check=True)
    answers = json.loads(run.stdout)
    environment = make_environment()
    failures, errors, refused = 0, 0, 0
    for (template, context), answer in zip(inputs, answers, strict=True):
        text, error = render(environment, template, context)
        errors += error is not None
        if text == answer.get("text"):
            continue
        # jinja2 printed an object's address into a text that the template does not use.
        if text is not None and " to print, expected a value" in answer.get("error", ""):
            refused += 1
            continue
        failures += 1
        if failures <= arguments.show:
            print(f"template: {template!r}\n  jinja2: {text!r} {error or ''}\n  inlay:  {answer.get('text')!r} {answer.get('error', '')[:200]}")
    print(f"{len(inputs)} templates, of which {errors} are errors and {refused} print addresses into unused text: "
          f"{failures} differ")
    if refused > 0.01 * len(inputs):
        print("more than 1 % of the templates print addresses, expected almost none")
        return 1
    if errors > 0.5 * len(inputs):
        print("more than half of the templates are errors, expected most to render")
        return 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
