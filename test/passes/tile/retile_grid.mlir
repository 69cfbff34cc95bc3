// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-retile{size=64 grid=0}))" %s | FileCheck %s
// Tiles of 64 elements for each block of the grid.
// CHECK-DAG: #[[MAP:.*]] = affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 64)>
// CHECK-DAG: #[[CONSTANT:.*]] = affine_map<()[s0, s1, s2, s3, s4, s5] -> (8)>
!x = !tile.view<?x32xf32, activation, tokens>
!y = !tile.view<?x32xf32, output, tokens>

// Rows and what has as many elements change; the bias, 16 columns of which share a constant with the rows, does not.
// CHECK-LABEL: tile.program @rows
// CHECK-SAME: grid #[[MAP]] {
// CHECK: %[[BLOCK:.*]] = tile.program_id 0
// CHECK: %[[SIZE:.*]] = arith.constant 64 : index
// CHECK: %[[BEGIN:.*]] = arith.muli %[[BLOCK]], %[[SIZE]]
// CHECK: %[[ROW:.*]] = tile.iota axis 0 : tensor<64xi32>
// CHECK: %[[FIRST:.*]] = tensor.splat %{{.*}} : tensor<64xi32>
// CHECK: arith.addi %[[FIRST]], %[[ROW]] : tensor<64xi32>
// CHECK: tile.load %{{.*}}[%[[BEGIN]], %{{.*}}] : {{.*}} -> tensor<64x32xf32>
// CHECK-DAG: %[[ONES:.*]] = arith.constant dense<1.000000e+00> : tensor<64xf32>
// CHECK-DAG: %[[ONES16:.*]] = arith.constant dense<1.000000e+00> : tensor<16xf32>
// CHECK: tile.reduce add %{{.*}} axis 1 : tensor<64x32xf32> -> tensor<64xf32>
// CHECK: arith.addf %{{.*}}, %[[ONES]] : tensor<64xf32>
// CHECK: tile.broadcast %{{.*}} axis 1 : tensor<64xf32> -> tensor<64x32xf32>
// CHECK: tile.store %{{.*}}[%[[BEGIN]], %{{.*}}] : tensor<64x32xf32>
// CHECK: tile.store %[[ONES16]], %{{.*}} : tensor<16xf32>
tile.program @rows(%x: !x, %y: !y, %z: !tile.view<16xf32, output>, %s: !tile.view<?xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 16)> {
  %block = tile.program_id 0
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %begin = arith.muli %block, %c16 : index
  %row = tile.iota axis 0 : tensor<16xi32>
  %begin_i = arith.index_cast %begin : index to i32
  %first = tensor.splat %begin_i : tensor<16xi32>
  %rows = arith.addi %first, %row : tensor<16xi32>
  %t = tile.load %x[%begin, %c0] {retile} : !x -> tensor<16x32xf32>
  %ones = arith.constant dense<1.0> : tensor<16xf32>
  %sums = tile.reduce add %t axis 1 : tensor<16x32xf32> -> tensor<16xf32>
  %more = arith.addf %sums, %ones : tensor<16xf32>
  %wide = tile.broadcast %more axis 1 : tensor<16xf32> -> tensor<16x32xf32>
  %scaled = arith.divf %t, %wide : tensor<16x32xf32>
  tile.store %scaled, %y[%begin, %c0] : tensor<16x32xf32>, !y
  tile.scatter %more, %s[%rows] : tensor<16xf32>, !tile.view<?xf32, output, tokens>, tensor<16xi32>
  tile.store %ones, %z[%c0] : tensor<16xf32>, !tile.view<16xf32, output>
}

// Blocks of one row, whose offset is their index.
// CHECK-LABEL: tile.program @one_row
// CHECK-SAME: grid #[[MAP]] {
// CHECK: %[[BLOCK:.*]] = tile.program_id 0
// CHECK: %[[BEGIN:.*]] = arith.muli %[[BLOCK]], %c64
// CHECK: tile.load %{{.*}}[%[[BEGIN]], %{{.*}}] : {{.*}} -> tensor<64x32xf32>
tile.program @one_row(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)> {
  %block = tile.program_id 0
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%block, %c0] {retile} : !x -> tensor<1x32xf32>
  tile.store %t, %y[%block, %c0] : tensor<1x32xf32>, !y
}

// Smaller tiles, and a number of blocks.
// CHECK-LABEL: tile.program @columns
// CHECK-SAME: grid #[[CONSTANT]] {
// CHECK: %[[BEGIN:.*]] = arith.muli %c64, %{{.*}}
// CHECK: tile.load %{{.*}}[%[[BEGIN]]] : {{.*}} -> tensor<64xf32>
tile.program @columns(%x: !tile.view<512xf32, weight>, %y: !tile.view<512xf32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4)> {
  %block = tile.program_id 0
  %c128 = arith.constant 128 : index
  %begin = arith.muli %c128, %block : index
  %t = tile.load %x[%begin] {retile} : !tile.view<512xf32, weight> -> tensor<128xf32>
  tile.store %t, %y[%begin] : tensor<128xf32>, !tile.view<512xf32, output>
}
