"""Writes the references of the C++ and C interfaces and of the Python package as Markdown, from the comments of the
headers and the docstrings of the package. Does not import the package.

    make_api_docs.py SOURCE_TREE OUTPUT_DIRECTORY"""

import ast
import pathlib
import re
import sys
import textwrap


def c_reference(header: str) -> str:
    """One section per `---- Title ----` of the header. Comments become text, declarations become code."""
    lines = ["# The C interface: inlay.h\n"]
    body = header[header.index("\n", header.index("#include <stdint.h>")) : header.rindex("#ifdef __cplusplus")]
    lines.append(text_of(header[: header.index("*/") + 2]))
    body = re.sub(r"^#(?!define INLAY_ABI_VERSION).*\n|^extern \"C\" \{\n", "", body, flags=re.MULTILINE)
    for block in re.split(r"\n\n+", body):
        title = re.fullmatch(r"\s*/\* ---- (.*?) -+ \*/\s*", block)
        if title:
            lines.append(f"## {title[1]}\n")
            continue
        comment = re.match(r"\s*(/\*.*?\*/)\n", block, flags=re.DOTALL)
        if comment:
            lines.append(text_of(comment[1]))
            block = block[comment.end() :]
        if block.strip():
            lines.append(f"```c\n{block.strip().replace('INLAY_API ', '')}\n```\n")
    return "\n".join(lines)


def cpp_reference(header: str) -> str:
    """One section per struct, class and enum of the namespace. Comments inside of them stay in the code."""
    plain = lambda comment: re.sub(r"^// ?", "", comment, flags=re.MULTILINE)
    lines = ["# The C++ interface: inlay.h\n", plain(re.match(r"(?:// ?.*\n)+", header)[0])]
    body = header[header.index("namespace inlay {\n") : header.rindex("} // namespace inlay")].split("\n\n", 1)[1]
    block = ""
    for part in re.split(r"\n\n+", body.strip()):
        block = f"{block}\n\n{part}" if block else part
        if block.count("{") != block.count("}"):
            continue
        comment = re.match(r"(?:// ?.*\n)*", block)[0]
        name = re.match(r"(?:struct|class|enum class)\s+(\w+)\s*{", block[len(comment) :])
        if name:
            lines.append(f"## {name[1]}\n\n{plain(comment)}")
            lines.append(f"```cpp\n{block[len(comment) :]}\n```\n")
        block = ""
    return "\n".join(lines)


def text_of(comment: str) -> str:
    """The text of a comment without its stars. Keeps the indentation of code."""
    return re.sub(r"^ \* ?", "", comment.strip().removeprefix("/*").removesuffix("*/"), flags=re.MULTILINE).strip() + "\n"


def python_reference(package: pathlib.Path) -> str:
    """One section per class of __all__, in the same order."""
    tree = ast.parse((package / "__init__.py").read_text())
    names = next(ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    found = {}
    for file in sorted(package.glob("_[a-z]*.py")):
        module = ast.parse(file.read_text())
        found.update((node.name, node) for node in module.body if isinstance(node, ast.ClassDef))
    lines = ["# The Python package: inlay\n", (ast.get_docstring(tree, clean=False) or "") + "\n"]
    for name in names:
        if name in found:
            lines += class_reference(found[name])
    return "\n".join(lines)


def class_reference(node: ast.ClassDef) -> list[str]:
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    lines = [f"## {node.name}" + (f"({bases})" if bases else "") + "\n", (ast.get_docstring(node) or "") + "\n"]
    for position, child in enumerate(node.body):
        if isinstance(child, ast.AnnAssign):
            default = f" = {ast.unparse(child.value)}" if child.value else ""
            after = node.body[position + 1] if position + 1 < len(node.body) else None
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            text = f"  \n  {' '.join(after.value.value.split())}" if is_text else ""
            lines.append(f"- `{ast.unparse(child.target)}: {ast.unparse(child.annotation)}{default}`{text}")
    if isinstance(node.body[-1], (ast.AnnAssign, ast.Expr)):
        lines.append("")
    for child in node.body:
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(child):
            result = f" -> {ast.unparse(child.returns)}" if child.returns else ""
            keyword = "async def" if isinstance(child, ast.AsyncFunctionDef) else "def"
            signature = textwrap.fill(f"{keyword} {child.name}({ast.unparse(child.args)}){result}", 118,
                                      subsequent_indent=" " * 8, break_long_words=False)
            lines.append(f"```python\n{signature}\n```\n{ast.get_docstring(child)}\n")
    return lines


source, output = map(pathlib.Path, sys.argv[1:])
output.mkdir(parents=True, exist_ok=True)
(output / "cpp-api.md").write_text(cpp_reference((source / "runtime/api/inlay.h").read_text()))
(output / "c-api.md").write_text(c_reference((source / "runtime/c/inlay.h").read_text()))
(output / "python-api.md").write_text(python_reference(source / "python/inlay"))
