"""How the FileCheck tests run: every .mlir file under test/ but those that tests only read."""

import glob
import os

import lit.formats

config.name = "Inlay"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
# Inputs of tests, without RUN lines of their own: name a folder so, or put it here.
config.excludes = ["Inputs", "fixtures", "programs", "steps"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.inlay_binary_dir, "test", "lit")

tools = [os.path.join(config.inlay_binary_dir, "bin"), config.llvm_tools_dir]
config.environment["PATH"] = os.pathsep.join(tools + [config.environment["PATH"]])
# FILECHECK_OPTS=-v for a person who looks for a failure; where CUDA is, for the tests that use it.
for variable in ("FILECHECK_OPTS", "CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV", "HOME"):
    if variable in os.environ:
        config.environment[variable] = os.environ[variable]
config.substitutions.append(("%programs", os.path.join(config.test_source_root, "codegen", "programs")))
config.substitutions.append(("%fixtures", os.path.join(config.test_source_root, "fixtures")))


def has_nvrtc() -> bool:
    """Whether NVRTC 13 lies in one of the places where the compiler looks (codegen/emit/Nvrtc.cpp)."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda", *glob.glob("/usr/local/cuda-1*")]
    patterns = [os.path.join(home, lib, "libnvrtc.so*") for home in homes if home for lib in ("lib64", "lib")]
    if "VIRTUAL_ENV" in os.environ:
        wheels = ("lib", "python3*", "site-packages", "nvidia", "*", "lib", "libnvrtc.so*")
        patterns.append(os.path.join(os.environ["VIRTUAL_ENV"], *wheels))
    return any(glob.glob(pattern) for pattern in patterns)


# Tests that compile CUDA C++ say `REQUIRES: nvrtc`.
if has_nvrtc():
    config.available_features.add("nvrtc")
