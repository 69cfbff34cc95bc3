"""The files that `cmake --install` installs are enough for applications: examples/embed and examples/embed_c build
against them and run, and the Python package finds libinlay.so.

Arguments: build tree, source tree, C++ compiler, C compiler. Without compile-model in the build tree there is no
bundle, and only the error for a missing one is tested."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import tools


def command(*arguments) -> None:
    result = subprocess.run([*map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        tools.fail(f"{' '.join(map(str, arguments))}\n{result.stdout}{result.stderr}")


def installed_python(t: tools.Tools, source: pathlib.Path, prefix: pathlib.Path):
    """Makes a virtual environment in the prefix and installs the package, with pip if it is available. Returns a
    function that runs a script there and returns its output."""
    command(sys.executable, "-m", "venv", "--without-pip", prefix)
    site = prefix / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    tree = t.scratch / "python"  # a copy, because pip builds in the source directory
    shutil.copytree(source / "python", tree, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    if all(importlib.util.find_spec(module) for module in ("pip", "setuptools", "wheel")):
        command(sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--target", site,
                tree)
    else:
        shutil.copytree(tree / "inlay", site / "inlay")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("INLAY", "PYTHON"))}

    def run(*arguments) -> str:
        result = subprocess.run([prefix / "bin" / "python3", *map(str, arguments)], capture_output=True, text=True,
                                cwd=t.scratch, env=environment)
        return result.stdout if result.returncode == 0 else tools.fail(result.stderr)

    return run


def test(t: tools.Tools, build: pathlib.Path, source: pathlib.Path, cpp: pathlib.Path, c: pathlib.Path) -> None:
    prefix = t.scratch / "prefix"
    command("cmake", "--install", build, "--prefix", prefix)
    if extra := sorted(file.name for file in (prefix / "bin").glob("*_bench")):
        tools.fail(f"development benchmarks were installed: {extra}")
    for example, compiler in (("embed", f"-DCMAKE_CXX_COMPILER={cpp}"), ("embed_c", f"-DCMAKE_C_COMPILER={c}")):
        tree = t.scratch / example
        command("cmake", "-S", source / "examples" / example, "-B", tree, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}",
                compiler, "-DCMAKE_BUILD_TYPE=Release")
        command("cmake", "--build", tree)
        missing = tools.Tools(tree, t.scratch).run(example, t.scratch / "absent", "def")
        if missing.returncode != 1 or "absent" not in missing.stderr:
            tools.fail(f"a missing bundle: found exit code {missing.returncode} and {missing.stderr!r}")

    # Without CMake, with the flags of pkg-config.
    os.environ["PKG_CONFIG_PATH"] = str(next(prefix.glob("lib/**/pkgconfig")))
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "inlay"], capture_output=True, text=True, check=True)
    command(c, source / "examples/embed_c/main.c", "-o", t.scratch / "by_pkg_config", *flags.stdout.split())

    python = installed_python(t, source, prefix)
    found = python("-c", "from inlay import _library; print(_library.lib._name)").strip()
    if not pathlib.Path(found).is_relative_to(prefix):
        tools.fail(f"the Python package: found {found}, expected libinlay.so of {prefix}")

    if os.access(t.binaries / "compile-model", os.X_OK):
        bundle = t.compile(source / "examples" / "stdlib_model" / "model", "--target", "cpu")
        texts = {tools.Tools(t.scratch / example, t.scratch).checked(example, bundle, "def ", "class Server")
                 for example in ("embed", "embed_c")}
        texts.add(python(source / "python/examples/embed.py", bundle, "def ", "class Server"))
        if len(texts) != 1:
            tools.fail(f"the examples in C++, C and Python print different texts: {texts}")
        text = texts.pop()
        if text.count("--- ") != 2 or len(text) < 80:
            tools.fail(f"expected two continued prompts, found:\n{text}")


tools.main(test)
