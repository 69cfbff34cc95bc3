"""The kernels of collectives that check_collectives.py compiles and runs: their sizes, and the programs that they are of."""

from typing import NamedTuple


class Case(NamedTuple):
    """One kernel, `step_exchange`: columns of a rank, of a row of the result, and the most rows of a step. `gather_rows`: the most
    that a gather exchanges in a round. `epilogue`: what follows a sum: "residual", "norm" (a residual, columns scaled by a weight
    plus 1, and sums of the squares of parts), "codes" (a residual, and codes and scales of the norm of the new rows), or
    "product" (a residual, and a linear layer that takes the norm of the new one).
    `family`: of the linear layer that computes and pushes the rows, `step_linear`; without one they are given."""
    ranks: int
    columns: int
    rows: int
    type: str = "bf16"
    gathered: int = 0  # 0: all_reduce
    one_shot_bytes: int = 4096
    gather_rows: int = 1000
    multiprocessors: int = 2
    epilogue: str = ""
    family: str = ""

    def result_columns(self):
        return self.gathered or self.columns

    def gathered_row_words(self):
        """Words of 16 bytes that a row of a gather takes in a buffer."""
        return self.ranks * -(-self.columns * (4 if self.type == "f32" else 2) // 16)

    def norm_part(self):
        """Columns whose squares are summed, as llm-form-groups chooses them."""
        return 256 if self.columns % 256 == 0 else 64

    def is_early(self):
        """Whether the kernel of the sum receives while the launch that pushes the rows runs."""
        return bool(self.family) and self.epilogue != "product"

    def rounds(self, rows):
        """Of the exchange, that the kernel takes for so many rows."""
        return -(-rows // self.gather_rows) if self.gathered else 1

    def exchange_words(self):
        """Words of 16 bytes of one round's buffer, as docs/distributed.md has them."""
        size = 4 if self.type == "f32" else 2
        if self.gathered:
            return min(self.rows, self.gather_rows) * self.gathered_row_words()
        if self.epilogue:
            return self.ranks * self.rows * self.columns * size // 16
        one_shot_rows = self.one_shot_bytes // (self.columns * size)
        words = lambda rows: -(-rows * self.columns * size // 16)
        one_shot = self.ranks * words(min(self.rows, one_shot_rows))
        return one_shot if self.rows <= one_shot_rows else max(one_shot, 2 * self.ranks * -(-words(self.rows) // self.ranks))


# Emulated: sums in one shot (up to 15 rows) and in two, threads that take several words, parts of a word at the end,
# rows of a gather that are no multiple of 16 bytes, and ranks whose columns are cut off.
SMALL = {
    **{f"sum_{ranks}": Case(ranks, 136, 96) for ranks in (2, 4)},
    "sum_3": Case(3, 20, 48, "f32", one_shot_bytes=400),
    "sum_8": Case(8, 72, 8),
    "squares_2": Case(2, 1, 70, "f32", one_shot_bytes=80),
    "gather_2": Case(2, 64, 24, "f32", gathered=101),
    "gather_4": Case(4, 36, 24, "bf16", gathered=144),
    "cut_4": Case(4, 32, 8, "f32", gathered=65),
    # Gathers in rounds of a few rows, the last one of fewer: also with a block and threads that have no words in it.
    "rounds_2": Case(2, 64, 24, "f32", gathered=101, gather_rows=5),
    "rounds_3": Case(3, 512, 8, "f32", gathered=1500, gather_rows=3),
    "rounds_4": Case(4, 36, 19, "bf16", gathered=70, gather_rows=1),
    "rounds_8": Case(8, 520, 9, "bf16", gathered=4100, gather_rows=7),
    # With few and several rows in a tile, parts of tiles at the end, threads that hold the same words, and ranks of f32.
    "residual_2": Case(2, 264, 1, epilogue="residual"),
    "residual_4": Case(4, 1032, 7, epilogue="residual"),
    "residual_3": Case(3, 20, 5, "f32", epilogue="residual"),
    "norm_2": Case(2, 192, 40, epilogue="norm"),
    "norm_8": Case(8, 64, 9, epilogue="norm"),
    # Parts of 256 columns.
    "norm_512": Case(2, 512, 5, epilogue="norm"),
    # Whole rows, of one column for some threads and of two words for each.
    "codes_2": Case(2, 192, 40, epilogue="codes"),
    "codes_4": Case(4, 3088, 5, epilogue="codes"),
}
# Pushed by the linear layer: in pieces of each of its families, with parts of tiles at the end.
SMALL |= {
    "matvec_2": Case(2, 200, 1, epilogue="residual", family="matvec"),
    "matvec_4": Case(4, 128, 7, epilogue="norm", family="matvec"),
    "swap_ab_2": Case(2, 192, 40, epilogue="norm", family="swap_ab"),
    "swap_ab_8": Case(8, 72, 20, epilogue="residual", family="swap_ab"),
    "swap_ab_512": Case(2, 512, 20, epilogue="norm", family="swap_ab"),
    "swap_ab_768": Case(6, 768, 7, epilogue="norm", family="swap_ab"),
    "swap_ab_codes": Case(4, 272, 20, epilogue="codes", family="swap_ab"),
    "swap_ab_codes_2064": Case(2, 2064, 3, epilogue="codes", family="swap_ab"),
    "generic_3": Case(3, 136, 18, epilogue="residual", family="generic"),
}
# Received by the linear layer behind the sum: with warps that have no part of the row, or the end of it, and several
# tiles of weights for each block.
SMALL |= {
    "product_2": Case(2, 264, 1, epilogue="product", family="matvec"),
    "product_3": Case(3, 2120, 1, epilogue="product", family="matvec"),
    "product_8": Case(8, 264, 1, epilogue="product", family="matvec"),
}
PRODUCT_ROWS = 88  # of the weight of the linear layer behind a sum
LINEAR_COLUMNS = 320  # of the input of a linear layer
# On GPUs: as the compiler makes them for an H200, by bytes of a rank.
LARGE = {
    f"{kib}_KiB_{ranks}": Case(ranks, 4096, kib // 8, one_shot_bytes=(2048 if ranks == 2 else 512) * 1024, multiprocessors=132)
    for ranks in (2, 4) for kib in (8, 64, 512, 2048, 16384)
} | {
    f"{rows}_rows_{epilogue}_{columns}_{ranks}": Case(ranks, columns, rows, one_shot_bytes=(2048 if ranks == 2 else 512) * 1024,
                                                    multiprocessors=132, epilogue=epilogue)
    for ranks in (2, 4) for columns in (4096, 8192)
    for rows, epilogue in ((1, "residual"), (8, "residual")) + tuple(
        (rows, epilogue) for rows in (16, 32, 64) if rows < 64 or ranks * columns < 32768 for epilogue in ("norm", "codes"))
} | {
    # Logits of a vocabulary of 128,256: 16 rows fit the 8 MiB of a round.
    f"{rows}_rows_logits_{ranks}": Case(ranks, 128256 // ranks, rows, "f32", gathered=128256, gather_rows=16, multiprocessors=132)
    for ranks in (2, 4) for rows in (1, 16, 64, 256)
} | {
    f"1_rows_{epilogue}_{columns}_{ranks}_pushed": Case(ranks, columns, 1, one_shot_bytes=512 * 1024, multiprocessors=132, epilogue=epilogue,
                                                       family="matvec")
    for ranks in (2, 4) for columns in (4096, 8192) for epilogue in ("residual", "product")
}


def module(case):
    x, y = f"tensor<?x{case.columns}x{case.type}>", f"tensor<?x{case.result_columns()}x{case.type}>"
    op = f"llm.all_gather %x : ({x}) -> {y}" if case.gathered else f"llm.all_reduce %x : {x}"
    body, types = f"%v = {op}\n      llm.yield %v : {y}", y
    product = f"tensor<?x{PRODUCT_ROWS}x{case.type}>"
    if case.epilogue:
        body = f"%sum = {op}\n      %v = llm.add %r, %sum : {x}"
        values = "%v"
        if case.epilogue == "product":
            body += (f"\n      %n = llm.rms_norm %v, @norm {{eps = 1.0e-05 : f64, weight_offset = 1.0 : f64}} : ({x}) -> {x}"
                     f"\n      %p = llm.linear %n, @product : ({x}) -> {product}")
            values, types = "%p, %v", f"{product}, {x}"
        if case.epilogue == "norm":
            parts = f"tensor<?x{case.columns // case.norm_part()}xf32>"
            body += (f"\n      %scaled = llm.scale_columns %v, @norm {{weight_offset = 1.0 : f64}} : {x}"
                     f"\n      %squares = llm.sum_of_squares %v : ({x}) -> {parts}")
            values, types = "%v, %scaled, %squares", f"{x}, {x}, {parts}"
        if case.epilogue == "codes":
            codes, scales = f"tensor<?x{case.columns}xf8E4M3FN>", "tensor<?x1xf32>"
            body += (f"\n      %n = llm.rms_norm %v, @norm {{eps = 1.0e-05 : f64, weight_offset = 1.0 : f64}} : ({x}) -> {x}"
                     f"\n      %codes, %scales = llm.quantize f8e4m3 %n {{packing = #llm<packing codes_16x128>}} : {x} -> {codes}, {scales}")
            values, types = "%v, %codes, %scales", f"{x}, {codes}, {scales}"
        body += f"\n      llm.yield {values} : {types}"
    rows = f"""%x = llm.group "x" family("rows") -> {x} {{
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> {x}
      llm.yield %v : {x}
    }}"""
    packed = "{packing = #llm<packing atom_8x64>}"
    packing = "" if case.family in ("", "generic") else packed
    is_product = case.epilogue == "product"
    results = {"norm": ":3", "codes": ":3", "product": ":2"}.get(case.epilogue, "")
    returned = {"norm": "#0", "codes": "#0", "product": "#1"}.get(case.epilogue, "")
    if case.family:
        given = f"tensor<?x{LINEAR_COLUMNS}x{case.type}>"
        rows = f"""%in = llm.group "x" family("rows") -> {given} {{
      %v = llm.embedding %ids, @inputs : (tensor<?xi32>) -> {given}
      llm.yield %v : {given}
    }}
    %x = llm.group "linear" family("{case.family}") -> {x} {{
      %v = llm.linear %in, @weight : ({given}) -> {x}
      llm.yield %v : {x}
    }}"""
    costs = ("slots = 2, clustered_percent = 88, memory_bytes = 4400, cache_bytes = 5500, products = 2500, round_trip = 2500, "
             "cluster_wait = 500, streaming_rows = 8, scaled_columns = 2048, split_norm_rows = 256, prefill_rows = 128, "
             f"prefill_keys = 128, spread_sequences = 4, one_shot_pair_bytes = {case.one_shot_bytes}, "
             f"one_shot_bytes = {case.one_shot_bytes}, gather_bytes = {case.gather_rows * case.gathered_row_words() * 16}, prologue_sum_rows = 1, sum_kernel = 2300")
    return f"""
#target = #tile.target<sm_90a, multiprocessors = {case.multiprocessors}, shared_bytes = 233472, reserved_shared_bytes = 1024,
                       block_shared_bytes = 232448, cost_model = <{costs}>>
module attributes {{llm.model = {{max_model_len = 64 : i64}}, llm.ranks = {case.ranks} : i64, tile.target = #target}} {{
  llm.weight @table : tensor<8x{case.columns}x{case.type}> from ["table"]
  llm.weight @norm : tensor<{case.columns}x{case.type}> from ["norm"]
  llm.weight @inputs : tensor<8x{LINEAR_COLUMNS}x{case.type}> from ["inputs"]
  llm.weight @weight : tensor<{case.columns}x{LINEAR_COLUMNS}x{case.type}> from ["weight"] {packing}
  llm.weight @product : tensor<{PRODUCT_ROWS}x{case.columns}x{case.type}> from ["product"] {packed}
  func.func @step(%ids: tensor<?xi32>, %batch: !llm.batch) -> {y}
      attributes {{llm.entry = {{kind = "mixed", max_tokens = {case.rows} : i64, max_sequences = 1 : i64}}}} {{
    %r = llm.group "r" family("rows") -> {x} {{
      %v = llm.embedding %ids, @table : (tensor<?xi32>) -> {x}
      llm.yield %v : {x}
    }}
    {rows}
    %y{results} = llm.group "exchange" family("{"matvec" if is_product else "collective"}") -> {types} {{
      {body}
    }}
    return %y{returned} : {y}
  }}
}}
"""
