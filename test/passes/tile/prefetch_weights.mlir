// RUN: inlay-opt %s --pass-pipeline="builtin.module(tile-prefetch-weights{bytes=65536})" --mlir-print-op-on-diagnostic=false 2>/dev/null | FileCheck %s
// RUN: inlay-opt %s --pass-pipeline="builtin.module(tile-prefetch-weights{bytes=65536})" --mlir-print-op-on-diagnostic=false -o %t 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: inlay-opt %s --pass-pipeline="builtin.module(tile-prefetch-weights{bytes=1})" --mlir-print-op-on-diagnostic=false 2>/dev/null | FileCheck %s --check-prefix=LEAST
// RUN: inlay-opt %s --pass-pipeline="builtin.module(tile-prefetch-weights{bytes=1000000})" --mlir-print-op-on-diagnostic=false 2>/dev/null | FileCheck %s --check-prefix=MOST
// A sum over ranks brings the first weights of the product that is launched behind it. Two blocks share K: 192 of the 320
// columns for the first, 128 for the second. 65,536 bytes are 128 columns of each for 128 rows. Launches of one sum share a
// program where the same follows; one before a program without that schedule, or at the end of the section, stays as it is.

// REMARK-DAG: remark: brings the first 128 of each 192 columns of the weights of 'product' to the L2 cache
// REMARK-DAG: remark: brings no weights to the L2 cache: 'copy' does not have the schedule swap_ab
// REMARK-DAG: remark: brings no weights to the L2 cache: the weights of 'rows' are not 16-bit elements packed as atom_8x64
// REMARK-DAG: remark: brings no weights to the L2 cache: nothing is launched behind it
!x = !tile.view<?x320xbf16, activation, tokens>
!r = !tile.view<?x320xbf16, state, tokens>
!w = !tile.view<128x320xbf16, weight>
!y = !tile.view<?x128xbf16, output, tokens>
llm.weight @w0 : tensor<128x320xbf16> from ["w0"]
llm.weight @w1 : tensor<128x320xbf16> from ["w1"]

// CHECK: tile.program @sum(
// CHECK-NOT: tile.prefetch
// CHECK: tile.program @product(
tile.program @sum(%x: !x, %r: !r) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 32)> {
  %i = tile.program_id 0
  %rows = arith.constant 32 : index
  %c0 = arith.constant 0 : index
  %row = arith.muli %i, %rows : index
  %sum = tile.receive_sum %x[%row, %c0] through <ranks = 2, rows = 64> : !x -> tensor<32x64xbf16>
  tile.store %sum, %r[%row, %c0] : tensor<32x64xbf16>, !r
}
tile.program @product(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (2, s0 ceildiv 32)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 2, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 32 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 320 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %step : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<32x64xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<32x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<64x64xbf16>, tensor<32x64xf32>
    scf.yield %d : tensor<32x64xf32>
  }
  %out = arith.truncf %acc : tensor<32x64xf32> to tensor<32x64xbf16>
  tile.store %out, %y[%row, %col] : tensor<32x64xbf16>, !y
}
tile.program @rows(%x: !x, %w: !w, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (2, s0 ceildiv 32)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 2, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 32 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 320 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %step : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<32x64xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<32x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<64x64xbf16>, tensor<32x64xf32>
    scf.yield %d : tensor<32x64xf32>
  }
  %out = arith.truncf %acc : tensor<32x64xf32> to tensor<32x64xbf16>
  tile.store %out, %y[%row, %col] : tensor<32x64xbf16>, !y
}
tile.program @copy(%x: !x, %r: !r) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)> {
  %i = tile.program_id 0
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%i, %c0] : !x -> tensor<1x64xbf16>
  tile.store %t, %r[%i, %c0] : tensor<1x64xbf16>, !r
}

// CHECK: tile.entry
// CHECK-NEXT: tile.launch model @sum_prefetch(workspace 0, workspace 1024, weight @w0)
// CHECK-NEXT: tile.launch model @product(workspace 1024, weight @w0, workspace 0)
// CHECK-NEXT: tile.launch model @sum_prefetch(workspace 0, workspace 1024, weight @w1)
// CHECK-NEXT: tile.launch model @product(workspace 1024, weight @w1, workspace 0)
// CHECK-NEXT: tile.launch model @sum(workspace 0, workspace 1024)
// CHECK-NEXT: tile.launch model @copy(
// CHECK-NEXT: tile.launch model @sum(workspace 0, workspace 1024)
// CHECK-NEXT: tile.launch model @rows(
// CHECK-NEXT: tile.launch model @sum(workspace 0, workspace 1024)
// CHECK-NEXT: tile.launch sampling @product(
// CHECK: tile.program @sum_prefetch(%{{.*}}, %{{.*}}, %[[W:.*]]: !tile.view<128x320xbf16, weight> {tile.packing = "atom_8x64"})
// CHECK-NEXT: tile.prefetch %[[W]] columns 128 of 192 : <128x320xbf16, weight>
// CHECK: tile.receive_sum
// CHECK-NOT: tile.program
// LEAST: tile.prefetch %{{.*}} columns 64 of 192
// MOST: tile.prefetch %{{.*}} columns 128 of 192
tile.entry @step decode attributes {max_sequences = 64 : i64, max_tokens = 64 : i64, query_tile_rows = 1 : i64, workspace_bytes = 65536 : i64} {
  tile.launch model @sum(workspace 0, workspace 1024) {origin = "first"}
  tile.launch model @product(workspace 1024, weight @w0, workspace 0) {origin = "product"}
  tile.launch model @sum(workspace 0, workspace 1024) {origin = "second"}
  tile.launch model @product(workspace 1024, weight @w1, workspace 0) {origin = "product"}
  tile.launch model @sum(workspace 0, workspace 1024) {origin = "third"}
  tile.launch model @copy(workspace 1024, workspace 0) {origin = "copy"}
  tile.launch model @sum(workspace 0, workspace 1024) {origin = "fourth"}
  tile.launch model @rows(workspace 1024, weight @w0, workspace 0) {origin = "rows"}
  tile.launch model @sum(workspace 0, workspace 1024) {origin = "last"}
  tile.launch sampling @product(workspace 1024, weight @w0, workspace 0) {origin = "of another section"}
}
