// RUN: inlay-opt --tile-schedule --convert-tile-to-cuda %s | FileCheck %s
// Rows that a linear layer computes where its grid counts none of them: those of its tiles, up to the end of the view that it
// reads. Kernels whose tiles have other rows than the program's have as many as it takes.
!x = !tile.view<?x256xbf16, activation, tokens>
!fixed = !tile.view<40x256xbf16, activation>
!w = !tile.view<512x256xbf16, weight>
!stored = !tile.view<40x512xbf16, output>
!y = !tile.view<?x512xbf16, output, tokens>
#swap_ab = #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712>
#gemm = #tile.gemm<blocks = 4, tile_rows = 128, tile_columns = 256, tile_k = 64, stages = 4, consumers = 2, producer_registers = 40, consumer_registers = 232>

// CHECK-LABEL: cuda.kernel @of_step(
// CHECK-SAME: grid = #cuda.grid<8, 2>
// CHECK-SAME: #cuda.tensor_map<argument 0 : bf16, dims = [256, 1] * size 0
// CHECK: %[[TOKENS:.*]] = cuda.size 0
// CHECK: arith.minsi %[[TOKENS]], %c64
tile.program @of_step(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, 1)> schedule #swap_ab {
  %n = tile.program_id 0
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %col = arith.muli %n, %c64 : index
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x64xf32>) {
    %xt = tile.load %x[%c0, %k] : !x -> tensor<64x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<64x64xbf16>, tensor<64x64xbf16>, tensor<64x64xf32>
    scf.yield %d : tensor<64x64xf32>
  }
  %out = arith.truncf %acc : tensor<64x64xf32> to tensor<64x64xbf16>
  tile.store %out, %y[%c0, %col] : tensor<64x64xbf16>, !y
}

// CHECK-LABEL: cuda.kernel @of_view(
// CHECK-SAME: grid = #cuda.grid<4>
// CHECK-SAME: #cuda.tensor_map<argument 0 : bf16, dims = [256, 40], strides
// CHECK-NOT: cuda.size
tile.program @of_view(%x: !fixed, %w: !w {tile.packing = "atom_8x64"}, %y: !stored)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8)> schedule #gemm {
  %n = tile.program_id 0
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %col = arith.muli %n, %c64 : index
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<64x64xf32>) {
    %xt = tile.load %x[%c0, %k] : !fixed -> tensor<64x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<64x64xbf16>, tensor<64x64xbf16>, tensor<64x64xf32>
    scf.yield %d : tensor<64x64xf32>
  }
  %out = arith.truncf %acc : tensor<64x64xf32> to tensor<64x64xbf16>
  tile.store %out, %y[%c0, %col] : tensor<64x64xbf16>, !stored
}
