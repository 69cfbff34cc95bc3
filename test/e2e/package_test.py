"""What `cmake --install` leaves is enough for an application: examples/embed builds against it and runs.

Arguments: build tree, source tree, C++ compiler. Without compile-model in the build tree the application has no
bundle, and must say so."""

import os
import pathlib
import subprocess

import tools


def command(*arguments) -> None:
    result = subprocess.run([*map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        tools.fail(f"{' '.join(map(str, arguments))}\n{result.stdout}{result.stderr}")


def test(t: tools.Tools, build: pathlib.Path, source: pathlib.Path, compiler: pathlib.Path) -> None:
    prefix, tree = t.scratch / "prefix", t.scratch / "embed"
    command("cmake", "--install", build, "--prefix", prefix)
    command("cmake", "-S", source / "examples" / "embed", "-B", tree, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}",
            f"-DCMAKE_CXX_COMPILER={compiler}", "-DCMAKE_BUILD_TYPE=Release")
    command("cmake", "--build", tree)
    embed = tools.Tools(tree, t.scratch)

    missing = embed.run("embed", t.scratch / "absent", "def")
    if missing.returncode != 1 or "absent" not in missing.stderr:
        tools.fail(f"a missing bundle: found exit code {missing.returncode} and {missing.stderr!r}")
    if os.access(t.binaries / "compile-model", os.X_OK):
        bundle = t.compile(source / "examples" / "stdlib_model" / "model", "--target", "cpu")
        text = embed.checked("embed", bundle, "def ", "class Server")
        if text.count("--- ") != 2 or len(text) < 80:
            tools.fail(f"expected two continued prompts, found:\n{text}")


tools.main(test)
