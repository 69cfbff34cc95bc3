// RUN: inlay-opt --tile-schedule --convert-tile-to-cuda %s | FileCheck %s
// Each operand that TMA copies has a tensor map. Rows are in plain order, up to the capacity of the entry point, with
// the 128-byte swizzle. Weights are atoms of 8 x 64, already swizzled. A map has the provenance of its pointer. Two
// blocks of a cluster share the K of each tile, so there are twice as many blocks as in the program's grid.
!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x512xbf16, output, tokens>

// CHECK-LABEL: cuda.kernel @linear(
// CHECK-SAME: %{{.*}}: !cuda.opaque<"CUtensorMap"> {cuda.name = "map0", cuda.provenance = #cuda.provenance<weight>}
// CHECK-SAME: %{{.*}}: !cuda.opaque<"CUtensorMap"> {cuda.name = "map1", cuda.provenance = #cuda.provenance<activation>}
// CHECK-SAME: cluster = 2 : i64
// CHECK-SAME: grid = #cuda.grid<16, size 0 ceildiv 32>
// CHECK-SAME: tensor_maps = [
// CHECK-SAME: #cuda.tensor_map<argument 1 : bf16, dims = [64, 8, 4, 64], strides = [128, 1024, 4096], box = [64, 8, 1, 8], l2_promotion = 256>
// CHECK-SAME: #cuda.tensor_map<argument 0 : bf16, dims = [256, 1] * size 0, strides = [512], box = [64, 32], swizzle = 128, l2_promotion = 256>]
tile.program @linear(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 32)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 2, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c32 = arith.constant 32 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %row = arith.muli %m, %c32 : index
  %col = arith.muli %n, %c64 : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<32x64xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<32x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<64x64xbf16>, tensor<32x64xf32>
    scf.yield %d : tensor<32x64xf32>
  }
  %out = arith.truncf %acc : tensor<32x64xf32> to tensor<32x64xbf16>
  tile.store %out, %y[%row, %col] : tensor<32x64xbf16>, !y
}
