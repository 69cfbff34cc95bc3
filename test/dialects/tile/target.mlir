// RUN: inlay-opt %s | inlay-opt | FileCheck %s
// A target without a cost model has that of the known target of its architecture.

// CHECK: module attributes {tile.target = #tile.target<sm_90a, multiprocessors = 72, shared_bytes = 233472, reserved_shared_bytes = 1024, block_shared_bytes = 232448>}
module attributes {tile.target = #tile.target<sm_90a, multiprocessors = 72, shared_bytes = 233472,
                                              reserved_shared_bytes = 1024, block_shared_bytes = 232448>} {
  // CHECK: module attributes {tile.target = #tile.target<sm_100a, {{.*}}, cost_model = <slots = 3, clustered_percent = 90, memory_bytes = 8000, cache_bytes = 5500, products = 5000, round_trip = 2500, cluster_wait = 500, streaming_rows = 4, scaled_columns = 0, split_norm_rows = 256, prefill_rows = 192, prefill_keys = 128, spread_sequences = 4, one_shot_pair_bytes = 2097152, one_shot_bytes = 524288, gather_bytes = 8388608, prologue_sum_rows = 1, sum_kernel = 2300>>}
  module attributes {tile.target = #tile.target<sm_100a, multiprocessors = 148, shared_bytes = 233472, reserved_shared_bytes = 1024,
      block_shared_bytes = 232448, cost_model = <slots = 3, clustered_percent = 90, memory_bytes = 8000, cache_bytes = 5500, products = 5000,
      round_trip = 2500, cluster_wait = 500, streaming_rows = 4, scaled_columns = 0, split_norm_rows = 256, prefill_rows = 192,
      prefill_keys = 128, spread_sequences = 4, one_shot_pair_bytes = 2097152, one_shot_bytes = 524288, gather_bytes = 8388608, prologue_sum_rows = 1, sum_kernel = 2300>>} {
  }
}
