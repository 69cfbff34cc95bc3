"""libinlay.so exports exactly the functions that inlay.h declares. The Python package declares the same functions, and
its structures have the same fields as those of the header.

Arguments: nm, libinlay.so, the source tree."""

import pathlib
import re
import subprocess
import sys


def expect(what: str, found, expected) -> None:
    if found != expected:
        sys.exit(f"{what}: found {found}, expected {expected}")


nm, library, source = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
header = re.sub(r"/\*.*?\*/", "", (source / "runtime/c/inlay.h").read_text(), flags=re.DOTALL)
header = re.sub(r"void \(\*(\w+)\)\([^)]*\)", r"callback \1", header)
declared = set(re.findall(r"INLAY_API[^;(]*?\b(inlay_\w+)\(", header))

symbols = subprocess.run([nm, "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
shown = {line.split()[-1].split("@")[0] for line in symbols.splitlines()}
expect("symbols of libinlay.so", sorted(shown - {"INLAY_1"}), sorted(declared))

sys.path.insert(0, str(source / "python"))
from inlay import _library  # noqa: E402

expect("functions of inlay/_library.py", sorted(_library._FUNCTIONS), sorted(declared))
expect("INLAY_ABI_VERSION", _library.ABI_VERSION, int(re.search(r"INLAY_ABI_VERSION (\d+)", header)[1]))

NAMES = {"c_int": "int32_t", "c_uint": "uint32_t", "c_long": "int64_t", "c_ulong": "size_t", "c_float": "float",
         "c_double": "double", "c_char_p": "const char *", "c_void_p": "const char *"}
for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", header, re.DOTALL):
    fields = re.findall(r"([\w ]+?[\w*]+(?: \*(?:const \*)?)?) ?\b(\w+);", body)
    structure = getattr(_library, "".join(part.capitalize() for part in name.split("_")[1:]))
    expect(f"fields of {name}", [field[0] for field in structure._fields_], [field for _, field in fields])
    for (kind, field), (_, declaration) in zip(fields, structure._fields_):
        kind = kind.strip().replace("uint64_t", "size_t").replace("void *", "const char *")
        known = NAMES.get(declaration.__name__)
        if known and known != kind:
            sys.exit(f"{name}.{field}: found {declaration.__name__}, expected {kind}")
