// RUN: inlay-opt %s --tile-apply-schedule --cse | FileCheck %s --check-prefix=APPLIED
// RUN: inlay-opt %s --pass-pipeline='builtin.module(tile-apply-schedule,cse,tile.program(tile-assign-stages))' | FileCheck %s --check-prefix=STAGED
// RUN: inlay-opt %s --pass-pipeline='builtin.module(tile-apply-schedule,cse,tile.program(tile-assign-stages),tile.program(tile-specialize-warps),tile.program(tile-pipeline,cse))' | FileCheck %s --check-prefix=AHEAD
// RUN: inlay-opt %s --tile-schedule | FileCheck %s --check-prefix=LAYOUT
// A product whose steps are summed apart: two of 128 columns share the rows, a slot of the ring and the registers of their
// parts. Each is waited for at once, since other warpgroups multiply meanwhile.

// APPLIED: %[[SUMS:.*]]:2 = scf.for %{{.*}} = %c0 to %c256 step %c128 iter_args(%[[LEFT:.*]] = %{{.*}}, %[[RIGHT:.*]] = %{{.*}}) -> (tensor<128x128xf32>, tensor<128x128xf32>)
// APPLIED: %[[X:.*]] = tile.load %arg0
// APPLIED: %[[W0:.*]] = tile.load %arg1
// APPLIED: %[[W1:.*]] = tile.load %arg1
// APPLIED: %[[P0:.*]] = tile.dot %[[X]], %[[W0]], %cst{{.*}} transpose_rhs
// APPLIED-NEXT: %[[S0:.*]] = arith.addf %[[LEFT]], %[[P0]]
// APPLIED-NEXT: %[[P1:.*]] = tile.dot %[[X]], %[[W1]], %cst{{.*}} transpose_rhs
// APPLIED-NEXT: %[[S1:.*]] = arith.addf %[[RIGHT]], %[[P1]]
// APPLIED-NEXT: scf.yield %[[S0]], %[[S1]]
// APPLIED: tile.for_warps %{{.*}} in 8

// STAGED: tile.ring : {{.*}}<4 x{{ ?}}(tensor<128x128xf8E4M3FN>, tensor<128x128xf8E4M3FN>, tensor<128x128xf8E4M3FN>)>
// STAGED: %[[T:.*]]:3 = tile.wait
// STAGED: tile.dot %[[T]]#0, %[[T]]#1
// STAGED: tile.dot %[[T]]#0, %[[T]]#2
// STAGED-NEXT: tile.release

// AHEAD: %[[A0:.*]] = tile.dot_async
// AHEAD-NEXT: %[[D0:.*]] = tile.dot_wait %[[A0]] pending 0
// AHEAD-NEXT: arith.addf %{{.*}}, %[[D0]]
// AHEAD-NEXT: %[[A1:.*]] = tile.dot_async
// AHEAD-NEXT: %[[D1:.*]] = tile.dot_wait %[[A1]] pending 0
// AHEAD-NEXT: tile.release
// AHEAD-NEXT: arith.addf %{{.*}}, %[[D1]]

// The slots of packed codes are the tiles under the 128-byte swizzle.
// LAYOUT: #[[SLOT:.*]] = #tile.shared<offset = {{\[\[}}0, 1], [0, 2], [0, 4], [0, 8], [0, 16], [0, 32], [0, 64], [1, 16], [2, 32], [4, 64], [8, 0]
// LAYOUT: tile.ring : <4 x(tensor<128x128xf8E4M3FN, #[[SLOT]]>, tensor<128x128xf8E4M3FN, #[[SLOT]]>, tensor<128x128xf8E4M3FN, #[[SLOT]]>)>
tile.program @codes(%x: !tile.view<?x256xf8E4M3FN, activation, tokens> {tile.packing = "codes_16"},
    %w: !tile.view<512x256xf8E4M3FN, weight> {tile.packing = "codes_16x128"}, %y: !tile.view<?x512xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0 ceildiv 128)>
    schedule #tile.gemm<blocks = 132, tile_rows = 128, tile_columns = 256, tile_k = 128, stages = 4, consumers = 2, producer_registers = 40, consumer_registers = 232> {
  %c0 = arith.constant 0 : index
  %c128 = arith.constant 128 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<128x128xf32>
  %0 = tile.program_id 0
  %column = arith.muli %0, %c128 : index
  %1 = tile.program_id 1
  %row = arith.muli %1, %c128 : index
  %sum = scf.for %k = %c0 to %c256 step %c128 iter_args(%carried = %zero) -> (tensor<128x128xf32>) {
    %a = tile.load %x[%row, %k] : <?x256xf8E4M3FN, activation, tokens> -> tensor<128x128xf8E4M3FN>
    %b = tile.load %w[%column, %k] : <512x256xf8E4M3FN, weight> -> tensor<128x128xf8E4M3FN>
    %part = tile.dot %a, %b, %zero transpose_rhs : tensor<128x128xf8E4M3FN>, tensor<128x128xf8E4M3FN>, tensor<128x128xf32>
    %next = arith.addf %carried, %part : tensor<128x128xf32>
    scf.yield %next : tensor<128x128xf32>
  }
  tile.store %sum, %y[%row, %column] : tensor<128x128xf32>, <?x512xf32, output, tokens>
}
