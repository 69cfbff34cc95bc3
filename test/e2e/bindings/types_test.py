"""Runs mypy on the Python package, in the current directory. Skipped with a message if mypy is not installed."""

import importlib.util
import subprocess
import sys

if importlib.util.find_spec("mypy") is None:
    print("SKIPPED: types_test: the package mypy cannot be imported; run scripts/setup")
    sys.exit(77)
sys.exit(subprocess.run([sys.executable, "-m", "mypy", *sys.argv[1:]], check=False).returncode)
