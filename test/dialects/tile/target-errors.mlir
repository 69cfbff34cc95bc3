// RUN: inlay-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{a target has at least one multiprocessor, found 0}}
#target = #tile.target<sm_90a, multiprocessors = 0, shared_bytes = 233472, reserved_shared_bytes = 1024, block_shared_bytes = 232448>

// -----

// expected-error @+1 {{a block has at most the 233472 bytes of a multiprocessor less the 1024 reserved ones, found 233472}}
#target = #tile.target<sm_90a, multiprocessors = 132, shared_bytes = 233472, reserved_shared_bytes = 1024, block_shared_bytes = 233472>

// -----

// expected-error @+1 {{has tile.target = "sm_90a", expected #tile.target<...>}}
module attributes {tile.target = "sm_90a"} {
}

// -----

#target = #tile.target<sm_90a, multiprocessors = 132, shared_bytes = 233472, reserved_shared_bytes = 1024, block_shared_bytes = 232448>
// expected-error @+1 {{has tile.target, which stands on a module}}
tile.program @program() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> attributes {tile.target = #target} {
}

// -----

// expected-error @+1 {{a target of the unknown architecture sm_100a needs a cost_model; known is sm_90a}}
#target = #tile.target<sm_100a, multiprocessors = 148, shared_bytes = 233472, reserved_shared_bytes = 1024, block_shared_bytes = 232448>

// -----

// expected-error @+1 {{has clustered_percent of 101, expected 1 to 100}}
#costs = #tile.cost_model<slots = 2, clustered_percent = 101, memory_bytes = 4400, cache_bytes = 5500, products = 2500, round_trip = 2500, cluster_wait = 500, streaming_rows = 8, scaled_columns = 2048, split_norm_rows = 256, prefill_rows = 128, prefill_keys = 128, spread_sequences = 4, one_shot_pair_bytes = 2097152, one_shot_bytes = 524288, gather_bytes = 8388608, prologue_sum_rows = 1, sum_kernel = 2300>

// -----

// expected-error @+1 {{has streaming_rows of 17, expected at most the 16 of one product}}
#costs = #tile.cost_model<slots = 2, clustered_percent = 88, memory_bytes = 4400, cache_bytes = 5500, products = 2500, round_trip = 2500, cluster_wait = 500, streaming_rows = 17, scaled_columns = 2048, split_norm_rows = 256, prefill_rows = 128, prefill_keys = 128, spread_sequences = 4, one_shot_pair_bytes = 2097152, one_shot_bytes = 524288, gather_bytes = 8388608, prologue_sum_rows = 1, sum_kernel = 2300>

// -----

// expected-error @+1 {{has prefill_rows of 96, expected 64, 128 or 192}}
#costs = #tile.cost_model<slots = 2, clustered_percent = 88, memory_bytes = 4400, cache_bytes = 5500, products = 2500, round_trip = 2500, cluster_wait = 500, streaming_rows = 8, scaled_columns = 2048, split_norm_rows = 256, prefill_rows = 96, prefill_keys = 128, spread_sequences = 4, one_shot_pair_bytes = 2097152, one_shot_bytes = 524288, gather_bytes = 8388608, prologue_sum_rows = 1, sum_kernel = 2300>

// -----

// expected-error @+1 {{has products of 0, expected at least 1}}
#costs = #tile.cost_model<slots = 2, clustered_percent = 88, memory_bytes = 4400, cache_bytes = 5500, products = 0, round_trip = 2500, cluster_wait = 500, streaming_rows = 8, scaled_columns = 2048, split_norm_rows = 256, prefill_rows = 128, prefill_keys = 128, spread_sequences = 4, one_shot_pair_bytes = 2097152, one_shot_bytes = 524288, gather_bytes = 8388608, prologue_sum_rows = 1, sum_kernel = 2300>

// -----

// expected-error @+1 {{has spread_sequences of -1, expected at least 0}}
#costs = #tile.cost_model<slots = 2, clustered_percent = 88, memory_bytes = 4400, cache_bytes = 5500, products = 2500, round_trip = 2500, cluster_wait = 500, streaming_rows = 8, scaled_columns = 2048, split_norm_rows = 256, prefill_rows = 128, prefill_keys = 128, spread_sequences = -1, one_shot_pair_bytes = 2097152, one_shot_bytes = 524288, gather_bytes = 8388608, prologue_sum_rows = 1, sum_kernel = 2300>

// -----

// expected-error @+1 {{has one_shot_bytes of -1, expected at least 0}}
#costs = #tile.cost_model<slots = 2, clustered_percent = 88, memory_bytes = 4400, cache_bytes = 5500, products = 2500, round_trip = 2500, cluster_wait = 500, streaming_rows = 8, scaled_columns = 2048, split_norm_rows = 256, prefill_rows = 128, prefill_keys = 128, spread_sequences = 4, one_shot_pair_bytes = 2097152, one_shot_bytes = -1, gather_bytes = 8388608, prologue_sum_rows = 1, sum_kernel = 2300>

// -----

// expected-error @+1 {{has prefill_keys of 264, expected 16 to 256 in steps of 16}}
#costs = #tile.cost_model<slots = 2, clustered_percent = 88, memory_bytes = 4400, cache_bytes = 5500, products = 2500, round_trip = 2500, cluster_wait = 500, streaming_rows = 8, scaled_columns = 2048, split_norm_rows = 256, prefill_rows = 128, prefill_keys = 264, spread_sequences = 4, one_shot_pair_bytes = 2097152, one_shot_bytes = 524288, gather_bytes = 8388608, prologue_sum_rows = 1, sum_kernel = 2300>

// -----

// expected-error @+1 {{has no shared memory for the 228 slots of its cost model}}
#target = #tile.target<sm_90a, multiprocessors = 132, shared_bytes = 233472, reserved_shared_bytes = 1024, block_shared_bytes = 232448, cost_model = <slots = 228, clustered_percent = 88, memory_bytes = 4400, cache_bytes = 5500, products = 2500, round_trip = 2500, cluster_wait = 500, streaming_rows = 8, scaled_columns = 2048, split_norm_rows = 256, prefill_rows = 128, prefill_keys = 128, spread_sequences = 4, one_shot_pair_bytes = 2097152, one_shot_bytes = 524288, gather_bytes = 8388608, prologue_sum_rows = 1, sum_kernel = 2300>>

// -----

// expected-error @+1 {{has prologue_sum_rows of 2, expected 0 or 1: kernels stage one row before their product}}
#costs = #tile.cost_model<slots = 2, clustered_percent = 88, memory_bytes = 4400, cache_bytes = 5500, products = 2500, round_trip = 2500, cluster_wait = 500, streaming_rows = 8, scaled_columns = 2048, split_norm_rows = 256, prefill_rows = 128, prefill_keys = 128, spread_sequences = 4, one_shot_pair_bytes = 2097152, one_shot_bytes = 524288, gather_bytes = 8388608, prologue_sum_rows = 2, sum_kernel = 2300>
