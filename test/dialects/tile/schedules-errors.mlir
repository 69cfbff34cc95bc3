// RUN: inlay-opt %s --split-input-file --verify-diagnostics
// Each range of a number, each rule between numbers, and what is no schedule.

// expected-error @+1 {{has rows of 4, expected 1, 8 or 16}}
#schedule = #tile.stream<blocks = 1, warps = 8, tile_columns = 16, tile_k = 128, stages = 2, tiles = 2, rows = 4, depth = 1, slots = 2, shared_bytes = 1024>

// -----

// expected-error @+1 {{has blocks of 0, expected at least 1}}
#schedule = #tile.stream<blocks = 0, warps = 8, tile_columns = 16, tile_k = 128, stages = 2, tiles = 2, rows = 8, depth = 1, slots = 2, shared_bytes = 1024>

// -----

// expected-error @+1 {{has warps of 33, expected 1 to 32}}
#schedule = #tile.stream<blocks = 1, warps = 33, tile_columns = 16, tile_k = 128, stages = 2, tiles = 2, rows = 8, depth = 1, slots = 2, shared_bytes = 1024>

// -----

// expected-error @+1 {{has tile_rows of 128, expected 192}}
#schedule = #tile.gemm<blocks = 132, tile_rows = 128, tile_columns = 256, tile_k = 64, stages = 4, consumers = 3, producer_registers = 40, consumer_registers = 152>

// -----

// expected-error @+1 {{has tile_columns of 192, expected 128 or 256}}
#schedule = #tile.gemm<blocks = 132, tile_rows = 128, tile_columns = 192, tile_k = 64, stages = 4, consumers = 2, producer_registers = 40, consumer_registers = 232>

// -----

// expected-error @+1 {{gives 44 registers to a thread, expected a multiple of 8 from 24 to 256}}
#schedule = #tile.gemm<blocks = 132, tile_rows = 128, tile_columns = 256, tile_k = 64, stages = 4, consumers = 2, producer_registers = 44, consumer_registers = 232>

// -----

// expected-error @+1 {{needs 71680 registers, expected at most 64512}}
#schedule = #tile.gemm<blocks = 132, tile_rows = 128, tile_columns = 256, tile_k = 64, stages = 4, consumers = 2, producer_registers = 80, consumer_registers = 240>

// -----

// expected-error @+1 {{has tile_rows of 40, expected 16, or 32 to 256 in steps of 32}}
#schedule = #tile.swap_ab<tile_rows = 40, tile_columns = 128, tile_k = 64, consumers = 2, split = 1, slots = 2, stages = 4, shared_bytes = 115712>

// -----

// expected-error @+1 {{has 3 consumers for 64 rows in 2 slots; expected 1, 2, or 3 to 7 for up to 64 rows in one slot}}
#schedule = #tile.swap_ab<tile_rows = 64, tile_columns = 192, tile_k = 64, consumers = 3, split = 1, slots = 2, stages = 4, shared_bytes = 115712>

// -----

// expected-error @+1 {{has 3 consumers for 64 rows in 1 slots; expected 1, 2, or 4 for up to 64 rows in one slot}}
#schedule = #tile.swap_ab<tile_rows = 64, tile_columns = 192, tile_k = 128, consumers = 3, split = 1, slots = 1, stages = 4, shared_bytes = 232448>

// -----

// expected-error @+1 {{has consumers of 8, expected 1 to 7}}
#schedule = #tile.swap_ab<tile_rows = 64, tile_columns = 512, tile_k = 64, consumers = 8, split = 1, slots = 1, stages = 2, shared_bytes = 232448>

// -----

// expected-error @+1 {{has split of 9, expected 1 to 8}}
#schedule = #tile.swap_ab<tile_rows = 64, tile_columns = 128, tile_k = 64, consumers = 2, split = 9, slots = 2, stages = 4, shared_bytes = 115712>

// -----

// expected-error @+1 {{has stages of 1, expected 2 to 16}}
#schedule = #tile.decode_attention<query_rows = 1, tile_rows = 8, tile_keys = 16, warps = 8, stages = 1, slots = 2, cluster = 1>

// -----

// expected-error @+1 {{has a cluster of 12 blocks, expected 1 to 8, or 16}}
#schedule = #tile.decode_attention<query_rows = 1, tile_rows = 8, tile_keys = 16, warps = 8, stages = 3, slots = 2, cluster = 12>

// -----

// expected-error @+1 {{has consumers of 4, expected 1 to 3}}
#schedule = #tile.prefill_attention<query_rows = 32, tile_rows = 256, tile_keys = 128, consumers = 4, stages = 2, producer_registers = 24, consumer_registers = 120>

// -----

// expected-error @+1 {{needs 68608 registers, expected at most 64512}}
#schedule = #tile.prefill_attention<query_rows = 32, tile_rows = 128, tile_keys = 128, consumers = 2, stages = 2, producer_registers = 56, consumer_registers = 240>

// -----

// expected-error @+1 {{has tile_rows of 96, expected 128}}
#schedule = #tile.prefill_attention<query_rows = 32, tile_rows = 96, tile_keys = 128, consumers = 2, stages = 2, producer_registers = 24, consumer_registers = 240>

// -----

// expected-error @+1 {{has tile_keys of 24, expected a multiple of 16}}
#schedule = #tile.prefill_attention<query_rows = 32, tile_rows = 128, tile_keys = 24, consumers = 2, stages = 2, producer_registers = 24, consumer_registers = 240>

// -----

// expected-error @+1 {{has tile_keys of 64, expected 16}}
#schedule = #tile.decode_attention<query_rows = 1, tile_rows = 8, tile_keys = 64, warps = 8, stages = 3, slots = 2, cluster = 1>

// -----

// expected-error @+1 {{has query_rows of 9, expected 1 to 8}}
#schedule = #tile.decode_attention<query_rows = 9, tile_rows = 8, tile_keys = 16, warps = 8, stages = 3, slots = 2, cluster = 1>

// -----

// expected-error @+1 {{has tile_keys of 0, expected at least 1}}
#schedule = #tile.generic<query_rows = 4, tile_rows = 16>

// -----

// expected-error @+1 {{has slots of 0, expected 1 to 32}}
#schedule = #tile.generic<slots = 0>

// -----

// expected-error @+1 {{has a cluster of 0 blocks, expected 1 to 8, or 16}}
#schedule = #tile.generic<cluster = 0>

// -----

// expected-error @+2 {{expected ::inlay::tile::Family to be one of: matvec, swap_ab, gemm, attention, sample}}
// expected-error @+1 {{failed to parse Tile_FamilyAttr parameter 'value'}}
#schedule = #tile.family<magic>

// -----

// expected-error @+1 {{invalid kind of attribute specified}}
tile.program @text() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule "matvec" {
}
