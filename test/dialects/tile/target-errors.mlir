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
