// RUN: inlay-opt %s --tile-apply-schedule --cse | FileCheck %s --check-prefix=APPLIED
// RUN: inlay-opt %s --pass-pipeline='builtin.module(tile-apply-schedule,cse,tile.program(tile-assign-stages),tile.program(tile-specialize-warps),tile.program(tile-pipeline,cse))' | FileCheck %s --check-prefix=AHEAD
// RUN: inlay-opt %s --tile-schedule | FileCheck %s --check-prefix=LAYOUT
// RUN: inlay-translate --tile-to-cuda %s | FileCheck %s --check-prefix=CUDA
// A product of codes whose steps are scaled. The scales of both sides come through the ring, those of activations as 16 bytes of
// each row from a multiple of 16 bytes on, and are read after the product; each warp releases the slot when it has read them.

// APPLIED: scf.for %[[K:.*]] = %{{.*}} to %{{.*}} step %c128 iter_args(%[[SUMS:.*]] = %{{.*}}) -> (tensor<64x32xf32>)
// APPLIED: %[[GROUP:.*]] = arith.divui %[[K]], %c128
// APPLIED-DAG: %[[FOUR:.*]] = arith.divui %[[GROUP]], %c4
// APPLIED-DAG: %[[FIRST:.*]] = arith.muli %[[FOUR]], %c4
// APPLIED-DAG: %[[XS:.*]] = tile.load %arg2[%{{.*}}, %[[FIRST]]] : {{.*}} -> tensor<32x4xf32>
// APPLIED-DAG: %[[NUMBER:.*]] = arith.remui %[[GROUP]], %c4
// APPLIED-DAG: %[[WS:.*]] = tile.load %arg3[%{{.*}}, %[[GROUP]]] : {{.*}} -> tensor<64x1xf32>
// APPLIED: %[[PART:.*]] = tile.dot %{{.*}}, %{{.*}}, %cst{{.*}} transpose_rhs
// APPLIED-NEXT: %[[LEFT:.*]] = tensor.extract_slice %[[WS]][0, 0] [64, 1] [1, 1] : tensor<64x1xf32> to tensor<64xf32>
// APPLIED-NEXT: %[[L:.*]] = tile.broadcast %[[LEFT]] axis 1
// APPLIED-NEXT: %[[RIGHT:.*]] = tensor.extract_slice %[[XS]][0, %[[NUMBER]]] [32, 1] [1, 1] : tensor<32x4xf32> to tensor<32xf32>
// APPLIED-NEXT: %[[R:.*]] = tile.broadcast %[[RIGHT]] axis 0
// APPLIED-NEXT: %[[FACTOR:.*]] = arith.mulf %[[L]], %[[R]]
// APPLIED-NEXT: %[[SCALED:.*]] = arith.mulf %[[PART]], %[[FACTOR]]
// APPLIED-NEXT: arith.addf %[[SUMS]], %[[SCALED]]

// AHEAD: tile.ring : {{.*}}<4 x{{ ?}}(tensor<64x128xf8E4M3FN>, tensor<32x128xf8E4M3FN>, tensor<64x1xf32>, tensor<32x4xf32>)>
// AHEAD: tile.dot_async
// AHEAD-NEXT: tile.dot_wait {{.*}} pending 0
// AHEAD-NEXT: tensor.extract_slice
// AHEAD: arith.addf
// AHEAD-NEXT: tile.release

// The slot of packed scales has 16 rows of a column, one after the other, that of rows 4 columns of each row.
// LAYOUT-DAG: #[[PACKED:shared[0-9]*]] = #tile.shared<offset = {{\[\[}}1, 0], [2, 0], [4, 0], [8, 0], [16, 0], [32, 0]]>
// LAYOUT-DAG: #[[ROWS:shared[0-9]*]] = #tile.shared<offset = {{\[\[}}0, 1], [0, 2], [1, 0], [2, 0], [4, 0], [8, 0], [16, 0]]>
// LAYOUT: tile.ring : {{.*}}, tensor<64x1xf32, #[[PACKED]]>, tensor<32x4xf32, #[[ROWS]]>)>

// CUDA: mbarrier_init(empty + i, 4);
// CUDA: wgmma_wait<0>();
// CUDA: load_vector<1>(&loaded[
// CUDA: load_vector<1>(&loaded1[
// CUDA: addf[[[I:i[0-9]*]]] = carried[[[I]]] + mulf[[[I]]];
// CUDA: __syncwarp();
// CUDA-NEXT: if (lane == 0) {
// CUDA-NEXT: mbarrier_arrive(empty
// CUDA: tma_load_4d(ring2 +
// CUDA: tma_load_2d(ring3 +
tile.program @scaled(%x: !tile.view<?x512xf8E4M3FN, activation, tokens> {tile.packing = "codes_16"},
    %w: !tile.view<512x512xf8E4M3FN, weight> {tile.packing = "codes_16x128"}, %xs: !tile.view<?x4xf32, activation, tokens>,
    %ws: !tile.view<512x4xf32, weight> {tile.packing = "rows_16"}, %y: !tile.view<?x512xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 32)>
    schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 128, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %c0 = arith.constant 0 : index
  %c32 = arith.constant 32 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %c512 = arith.constant 512 : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %0 = tile.program_id 0
  %column = arith.muli %0, %c64 : index
  %1 = tile.program_id 1
  %row = arith.muli %1, %c32 : index
  %sum = scf.for %k = %c0 to %c512 step %c128 iter_args(%carried = %zero) -> (tensor<32x64xf32>) {
    %a = tile.load %x[%row, %k] : <?x512xf8E4M3FN, activation, tokens> -> tensor<32x128xf8E4M3FN>
    %b = tile.load %w[%column, %k] : <512x512xf8E4M3FN, weight> -> tensor<64x128xf8E4M3FN>
    %part = tile.dot %a, %b, %zero transpose_rhs : tensor<32x128xf8E4M3FN>, tensor<64x128xf8E4M3FN>, tensor<32x64xf32>
    %group = arith.divui %k, %c128 : index
    %bs = tile.load %ws[%column, %group] : <512x4xf32, weight> -> tensor<64x1xf32>
    %bv = tile.reduce add %bs axis 1 : tensor<64x1xf32> -> tensor<64xf32>
    %br = tile.broadcast %bv axis 0 : tensor<64xf32> -> tensor<32x64xf32>
    %as = tile.load %xs[%row, %group] : <?x4xf32, activation, tokens> -> tensor<32x1xf32>
    %av = tile.reduce add %as axis 1 : tensor<32x1xf32> -> tensor<32xf32>
    %ar = tile.broadcast %av axis 1 : tensor<32xf32> -> tensor<32x64xf32>
    %factor = arith.mulf %br, %ar : tensor<32x64xf32>
    %scaled = arith.mulf %part, %factor : tensor<32x64xf32>
    %next = arith.addf %carried, %scaled : tensor<32x64xf32>
    scf.yield %next : tensor<32x64xf32>
  }
  tile.store %sum, %y[%row, %column] : tensor<32x64xf32>, <?x512xf32, output, tokens>
}
