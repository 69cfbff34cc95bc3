#!/usr/bin/env python3
"""Programs of rows and of heads that the generic lowering compiles, against numpy.

    check_rows.py make BIN FOLDER [cubin|cuda]   writes and compiles a program for each case; needs no GPU
    check_rows.py emulate FOLDER CXX             runs their text on the CPU (emulation.h)
    check_rows.py gpu FOLDER                     runs them on a GPU

Needs numpy, and libcuda for the last.
"""

import math
import pathlib
import re
import sys

from check_kernels import Emulator, Gpu, Pages, from_bf16, np, random_bf16, relative_error, tiles_of, translate

PAGE, MOST, OFFSET, EPS = 16, 128, 2, 1e-5
# name: columns, the ops of one group on %x, the names of its weights and their shapes
ROWS = {
    "lookups": (320, """
      %e = llm.embedding %tokens, @table {{scale = 1.5 : f64}} : (tensor<?xi32>) -> {t}
      %p = llm.position_embedding %batch, @positions {{offset = 2 : i64}} : (!llm.batch) -> {t}
      %s = llm.add %e, %p : {t}
      %r = llm.layer_norm %s, @weight bias @bias {{eps = 1.0e-5 : f64}} : ({t}) -> {t}"""),
    # Above 8192 columns no block holds a row.
    "wide_norm": (8200, """
      %r = llm.layer_norm %x, @weight bias @bias {{eps = 1.0e-5 : f64, weight_offset = 1.0 : f64}} : ({t}) -> {t}"""),
    "post_norm": (256, """
      %n = llm.rms_norm %x {{eps = 1.0e-5 : f64}} : ({t}) -> {t}
      %r = llm.add %y, %n : {t}"""),
    "gathered": (96, """
      %g = llm.gather_rows %x, %batch : ({t}, !llm.batch) -> {t}
      %n = llm.rms_norm %g, @weight {{eps = 1.0e-5 : f64, weight_offset = 1.0 : f64}} : ({t}) -> {t}
      %s = llm.scale %n {{factor = 3.0 : f64}} : {t}
      %r = llm.softcap %s {{cap = 2.0 : f64}} : {t}"""),
    # All kinds of activations. Of 1100 columns a block takes 1024 and then the rest.
    "activations": (1100, """
      %0 = llm.activation silu %x : {t}
      %1 = llm.activation gelu %x : {t}
      %2 = llm.activation gelu_tanh %y : {t}
      %3 = llm.activation relu %y : {t}
      %4 = llm.gated_activation relu2 %x, %y : {t}
      %5 = llm.add %0, %1 : {t}
      %6 = llm.add %5, %2 : {t}
      %7 = llm.add %6, %3 : {t}
      %r = llm.add %7, %4 : {t}"""),
}
# name: heads, kv heads, head_dim, columns that rotate (0: none), whether heads are normed, kind of step
HEADS = {
    "heads_plain": (2, 2, 96, 0, False, "decode"),
    "heads_rotated": (4, 2, 96, 96, False, "mixed"),
    "heads_part": (4, 2, 80, 32, True, "mixed"),
    "heads_small_part": (2, 1, 64, 16, True, "decode"),
}


def module(weights, body, result, type, kind, rows):
    """`body` is made of groups; %tokens, %batch and %kv are the step's arguments, `result` is its result."""
    symbols = "\n".join(f'  llm.weight @{name} : tensor<{shape}xbf16> from ["{name}"]' for name, shape in weights.items())
    return f"""
module attributes {{llm.model = {{max_model_len = {MOST} : i64}}}} {{
{symbols}
  func.func @step(%tokens: tensor<?xi32>, %batch: !llm.batch, %kv: !llm.kv_cache) -> {type}
      attributes {{llm.entry = {{kind = "{kind}", max_tokens = {rows} : i64, max_sequences = 4 : i64}}}} {{
{body}
    return {result} : {type}
  }}
}}
"""


def source(name, table, columns):
    return f"""
    %{name} = llm.group "{name}" family("rows") -> tensor<?x{columns}xbf16> {{
      %0 = llm.embedding %tokens, @{table} : (tensor<?xi32>) -> tensor<?x{columns}xbf16>
      llm.yield %0 : tensor<?x{columns}xbf16>
    }}"""


def rows_module(columns, ops):
    t = f"tensor<?x{columns}xbf16>"
    body = f"""{source("x", "table", columns)}{source("y", "table", columns)}
    %result = llm.group "checked" family("rows") -> {t} {{{ops.format(t=t)}
      llm.yield %r : {t}
    }}"""
    weights = {"table": f"50x{columns}", "positions": f"{MOST + OFFSET}x{columns}", "weight": str(columns), "bias": str(columns)}
    return module(weights, body, "%result", t, "mixed", 64)


def heads_module(heads, kv_heads, d, rotary, normed, kind):
    q, k = f"tensor<?x{heads * d}xbf16>", f"tensor<?x{kv_heads * d}xbf16>"
    ops, query, key, value = "", "%q", "%k", "%v"
    if normed:
        ops += f"""
      %qn = llm.layer_norm {query}, @q_norm {{eps = 1.0e-5 : f64, group = {d} : i64}} : ({q}) -> {q}
      %kn = llm.rms_norm {key}, @k_norm {{eps = 1.0e-5 : f64, group = {d} : i64, weight_offset = 1.0 : f64}} : ({k}) -> {k}
      %vn = llm.rms_norm {value} {{eps = 1.0e-5 : f64, group = {d} : i64}} : ({k}) -> {k}"""
        query, key, value = "%qn", "%kn", "%vn"
    if rotary:
        ops += f"""
      %qr = llm.rope {query}, %batch, @rope {{head_dim = {d} : i64}} : ({q}, !llm.batch) -> {q}
      %kr = llm.rope {key}, %batch, @rope {{head_dim = {d} : i64}} : ({k}, !llm.batch) -> {k}"""
        query, key = "%qr", "%kr"
    yielded = {query: q} if ops else {}
    ops += f"""
      %c = llm.kv_append %kv, {key}, {value}, %batch {{layer = 0 : i64, head_dim = {d} : i64}}
          : (!llm.kv_cache, {k}, {k}, !llm.batch) -> !llm.kv_cache"""
    yielded["%c"] = "!llm.kv_cache"
    results = dict(zip(("%query", "%cache")[-len(yielded):], yielded.values()))
    body = f"""{source("q", "wide", heads * d)}{source("k", "narrow", kv_heads * d)}{source("v", "narrow", kv_heads * d)}
    {", ".join(results)} = llm.group "checked" family("rows") -> {", ".join(yielded.values())} {{{ops}
      llm.yield {", ".join(yielded)} : {", ".join(yielded.values())}
    }}"""
    weights = {"wide": f"50x{heads * d}", "narrow": f"50x{kv_heads * d}", "q_norm": f"{heads}x{d}", "k_norm": str(d)}
    text = module(weights, body, *next(iter(results.items())), kind, 4 if kind == "decode" else 64)
    table = f"  llm.rope_table @rope : tensor<{MOST}x{rotary}xf32> {{inv_freq = array<f64: {', '.join(['1.0'] * (rotary // 2))}>}}\n"
    return text.replace("  func.func", table + "  func.func", 1) if rotary else text


def make(tools, folder, what):
    texts = {name: rows_module(*case) for name, case in ROWS.items()}
    texts.update((name, heads_module(*case)) for name, case in HEADS.items())
    for name, text in texts.items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        pipeline = f"builtin.module(func.func(llm-plan-buffers),convert-llm-to-tile{{target=sm_90a page-size={PAGE}}},cse)"
        translate(tools, target, tiles_of(tools, pipeline, text), what)
        for other in target.glob("step_*.cu"):
            if other.stem != "step_checked":
                other.unlink()


def arguments_of(folder, kernel="step_checked"):
    """The launch of `kernel`: its arguments as (kind, value), for example ("metadata", "Positions")."""
    line = re.search(rf"tile\.launch +model @{kernel}\((.*?)\)", (folder / "tile.mlir").read_text()).group(1)
    places = [(text + " ").split(" ")[:2] for text in line.split(", ")]
    return [(kind, int(value) if value.isdigit() else value.lstrip("@")) for kind, value in places]


def norm(x, size, weight=1.0, bias=0.0, mean=False):
    """Each `size` columns of the rows of x."""
    groups = x.reshape(*x.shape[:-1], -1, size)
    if mean:
        groups = groups - groups.mean(-1, keepdims=True)
    return (groups / np.sqrt((groups**2).mean(-1, keepdims=True) + EPS)).reshape(x.shape) * weight + bias


def check_rows(device, folder):
    for name, (columns, _) in ROWS.items():
        rng = np.random.default_rng(1)
        rows = 3 if columns > 8192 else 5
        ids, positions = rng.integers(0, 50, rows).astype(np.int32), np.array([7, 0, 99, -1, 3][:rows], np.int32)
        gathered = np.array([4, 1], np.int32)
        weights = {"table": random_bf16(rng, 50, columns), "positions": random_bf16(rng, MOST + OFFSET, columns),
                   "weight": random_bf16(rng, columns), "bias": random_bf16(rng, columns)}
        x, y = random_bf16(rng, rows, columns), random_bf16(rng, rows, columns)
        metadata = {"TokenIds": ids, "Positions": positions, "LogitRowIndices": gathered}
        written = np.zeros((rows, columns), np.uint16)
        # x lies first, then y, then what the group writes; but a sum is written over y, which nothing else reads.
        places = arguments_of(folder / name)
        used = [array for array, text in ((x, "%x"), (y, "%y")) if re.search(text + r"\b", ROWS[name][1])]
        offsets = sorted({value for kind, value in places if kind == "workspace"})
        buffers = dict(zip(offsets, used + [written]))
        arrays, output = [], None
        for i, (kind, value) in enumerate(places):
            arrays.append({"weight": weights, "metadata": metadata, "workspace": buffers}[kind][value])
            if arrays[-1] is written or (name == "post_norm" and arrays[-1] is y):
                output = i
        f = {key: from_bf16(value).astype(np.float64) for key, value in (*weights.items(), ("x", x), ("y", y))}
        if name == "lookups":
            at = np.where(positions >= 0, positions + OFFSET, 0)
            wanted = norm(1.5 * f["table"][ids] + f["positions"][at] * (positions >= 0)[:, None], columns, f["weight"], f["bias"], True)
        elif name == "wide_norm":
            wanted = norm(f["x"], columns, 1 + f["weight"], f["bias"], True)
        elif name == "post_norm":
            wanted = f["y"] + norm(f["x"], columns)
        elif name == "gathered":
            wanted = 2 * np.tanh(3 * norm(f["x"][gathered], columns, 1 + f["weight"]) / 2)
        else:
            x, y = f["x"], f["y"]
            wanted = (x / (1 + np.exp(-x)) + x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
                      + y / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
                      + np.maximum(y, 0) + np.maximum(x, 0) ** 2 * y)
        results, _ = device.launch(folder / name, "step_checked", arrays, [rows, 1, 1, 2, 0, 0])
        yield name, relative_error(from_bf16(results[output])[:len(wanted)], wanted)


def check_heads(device, folder):
    for name, (heads, kv_heads, d, rotary, normed, kind) in HEADS.items():
        rng = np.random.default_rng(2)
        rows = [(1, 5), (0, 40), None, (2, 0)] + ([(2, 1 + i) for i in range(17)] if kind == "mixed" else [])
        positions = np.array([-1 if row is None else row[1] for row in rows], np.int32)
        sequences = np.array([-1 if row is None else row[0] for row in rows], np.int32)
        pages = Pages(rng, [41, 6, 18], kv_heads, d, PAGE, MOST // PAGE)
        m = len(rows)
        q, k, v = (random_bf16(rng, m, n * d) for n in (heads, kv_heads, kv_heads))
        q_norm, k_norm = random_bf16(rng, heads, d), random_bf16(rng, d)
        angles = np.arange(MOST)[:, None] * 10000.0 ** (-np.arange(rotary // 2) / max(rotary // 2, 1))[None]
        rope = np.concatenate([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
        places = arguments_of(folder / name)
        offsets = sorted({value for kind_, value in places if kind_ == "workspace"})
        # In the order of their groups; queries that nothing changes are not read.
        inputs = dict(zip(offsets, (q, k, v, np.zeros((m, heads * d), np.uint16)) if len(offsets) == 4 else (k, v)))
        known = {("weight", "q_norm"): q_norm.reshape(-1), ("weight", "k_norm"): k_norm, ("weight", "rope"): rope,
                 ("metadata", "Positions"): positions, ("metadata", "RowSequences"): sequences,
                 ("metadata", "PageTable"): pages.table, ("key_cache", 0): pages.keys, ("value_cache", 0): pages.values}
        arrays = [inputs[place[1]] if place[0] == "workspace" else known[place] for place in places]
        results, _ = device.launch(folder / name, "step_checked", arrays, [m, 3, 1, 1, 0, pages.rows])

        real = positions >= 0
        def rotated(x):
            half = rotary // 2
            low, high = x[..., :half], x[..., half:rotary]
            cos, sin = np.cos(angles[positions])[:, None], np.sin(angles[positions])[:, None]
            return np.concatenate([low * cos - high * sin, high * cos + low * sin, x[..., rotary:]], -1)
        wide = lambda x: from_bf16(x).astype(np.float64)
        fq, fk, fv = wide(q), wide(k), wide(v)
        if normed:
            fq, fk, fv = (norm(fq, d, wide(q_norm).reshape(-1), mean=True), norm(fk, d, 1 + np.tile(wide(k_norm), kv_heads)),
                          norm(fv, d))
        fq, fk, fv = (x.reshape(m, -1, d) for x in (fq, fk, fv))
        fq, fk = rotated(fq), rotated(fk)
        if len(offsets) == 4:
            written = results[[i for i, place in enumerate(places) if place == ("workspace", offsets[3])][0]]
            yield f"{name}, queries", relative_error(from_bf16(written)[real], fq.reshape(m, -1)[real])
        touched = [[pages.row(sequences[row], positions[row], head) for head in range(kv_heads)] for row in np.flatnonzero(real)]
        for what, wanted, before in (("key_cache", fk, pages.keys), ("value_cache", fv, pages.values)):
            found = results[places.index((what, 0))]
            yield f"{name}, {what}", relative_error(from_bf16(found)[touched], wanted[real])
            rest = np.setdiff1d(np.arange(pages.rows), touched)
            yield f"{name}, rows of others in {what}", float((found[rest] != before[rest]).sum())


def main():
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "make":
        make(pathlib.Path(rest[0]), pathlib.Path(rest[1]), rest[2] if len(rest) > 2 else "cubin")
        return 0
    folder, failures = pathlib.Path(rest[0]), 0
    device = Emulator(rest[1]) if what == "emulate" else Gpu()
    for check in (check_rows, check_heads):
        for name, error in check(device, folder):
            good = error <= 1e-2
            failures += not good
            print(f"{'ok  ' if good else 'FAIL'} {name}: {error:.3g} (at most 0.01)", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
