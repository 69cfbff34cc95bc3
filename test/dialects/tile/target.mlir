// RUN: inlay-opt %s | inlay-opt | FileCheck %s

// CHECK: module attributes {tile.target = #tile.target<sm_90a, multiprocessors = 72, shared_bytes = 233472, reserved_shared_bytes = 1024, block_shared_bytes = 232448>}
module attributes {tile.target = #tile.target<sm_90a, multiprocessors = 72, shared_bytes = 233472,
                                              reserved_shared_bytes = 1024, block_shared_bytes = 232448>} {
}
