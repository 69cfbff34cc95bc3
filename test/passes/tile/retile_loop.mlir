// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-retile{size=16 loop=true}))" %s | FileCheck %s
// Tiles of 16 elements in the loop that runs through them.

// Along K: both operands of the product change, and its result does not.
// CHECK-LABEL: tile.program @product
// CHECK-DAG: %[[STEP:.*]] = arith.constant 16 : index
// CHECK: scf.for %[[K:.*]] = %c0 to %c256 step %[[STEP]]
// CHECK: tile.load %{{.*}}[%[[K]], %c0] : {{.*}} -> tensor<16x8xbf16>
// CHECK: tile.transpose %{{.*}} : tensor<16x8xbf16> -> tensor<8x16xbf16>
// CHECK: tile.load %{{.*}}[%c0, %[[K]]] : {{.*}} -> tensor<32x16xbf16>
// CHECK: tile.dot {{.*}} : tensor<8x16xbf16>, tensor<32x16xbf16>, tensor<8x32xf32>
tile.program @product(%x: !tile.view<256x8xbf16, activation>, %w: !tile.view<32x256xbf16, weight>, %y: !tile.view<8x32xf32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant dense<0.0> : tensor<8x32xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<8x32xf32>) {
    %xk = tile.load %x[%k, %c0] {retile} : !tile.view<256x8xbf16, activation> -> tensor<64x8xbf16>
    %xt = tile.transpose %xk : tensor<64x8xbf16> -> tensor<8x64xbf16>
    %wt = tile.load %w[%c0, %k] : !tile.view<32x256xbf16, weight> -> tensor<32x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<8x64xbf16>, tensor<32x64xbf16>, tensor<8x32xf32>
    scf.yield %d : tensor<8x32xf32>
  }
  tile.store %acc, %y[%c0, %c0] : tensor<8x32xf32>, !tile.view<8x32xf32, output>
}

// A lower bound that is rounded down to whole tiles.
// CHECK-LABEL: tile.program @window
// CHECK: %[[TILE:.*]] = arith.divsi %{{.*}}, %c16_i32
// CHECK: %[[START:.*]] = arith.muli %[[TILE]], %c16_i32
// CHECK: %[[FROM:.*]] = arith.index_cast %[[START]]
// CHECK: scf.for %[[AT:.*]] = %[[FROM]] to %{{.*}} step %c16
// CHECK: %[[BEGIN:.*]] = arith.index_cast %[[AT]]
// CHECK: tensor.splat %[[BEGIN]] : tensor<16xi32>
// CHECK: tile.gather {{.*}} tensor<16xi32> -> tensor<16xf32>
tile.program @window(%x: !tile.view<?xf32, kv, kv_rows>, %n: !tile.view<2xi32, meta>, %y: !tile.view<1xf32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %c64_i = arith.constant 64 : i32
  %first = tile.read %n[%c0] : !tile.view<2xi32, meta> -> i32
  %last = tile.read %n[%c1] : !tile.view<2xi32, meta> -> i32
  %tile = arith.divsi %first, %c64_i : i32
  %start = arith.muli %tile, %c64_i : i32
  %from = arith.index_cast %start : i32 to index
  %to = arith.index_cast %last : i32 to index
  %zero = arith.constant dense<0.0> : tensor<1xf32>
  %none = arith.constant dense<-1> : tensor<64xi32>
  %sum = scf.for %at = %from to %to step %c64 iter_args(%s = %zero) -> (tensor<1xf32>) {
    %begin = arith.index_cast %at : index to i32
    %begins = tensor.splat %begin : tensor<64xi32>
    %i = tile.iota axis 0 : tensor<64xi32>
    %position = arith.addi %begins, %i : tensor<64xi32>
    %lasts = tensor.splat %last : tensor<64xi32>
    %firsts = tensor.splat %first : tensor<64xi32>
    %below = arith.cmpi slt, %position, %lasts : tensor<64xi32>
    %above = arith.cmpi sge, %position, %firsts : tensor<64xi32>
    %inside = arith.andi %below, %above : tensor<64xi1>
    %row = arith.select %inside, %position, %none : tensor<64xi1>, tensor<64xi32>
    %t = tile.gather %x[%row] {retile} : !tile.view<?xf32, kv, kv_rows>, tensor<64xi32> -> tensor<64xf32>
    %wide = tile.broadcast %t axis 0 : tensor<64xf32> -> tensor<1x64xf32>
    %part = tile.reduce add %wide axis 1 : tensor<1x64xf32> -> tensor<1xf32>
    %next = arith.addf %s, %part : tensor<1xf32>
    scf.yield %next : tensor<1xf32>
  }
  tile.store %sum, %y[%c0] : tensor<1xf32>, !tile.view<1xf32, output>
}
