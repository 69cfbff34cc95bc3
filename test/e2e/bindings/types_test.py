"""mypy over the Python package, in the folder that the test runs in; skipped with a message where mypy is not installed."""

import importlib.util
import subprocess
import sys

if importlib.util.find_spec("mypy") is None:
    print("SKIPPED: types_test: the package mypy cannot be imported; scripts/setup brings it")
    sys.exit(77)
sys.exit(subprocess.run([sys.executable, "-m", "mypy", *sys.argv[1:]], check=False).returncode)
