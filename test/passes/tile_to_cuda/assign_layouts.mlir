// RUN: inlay-opt --tile-assign-layouts %s --split-input-file --verify-diagnostics | FileCheck %s
// Layouts of tiles become encodings of their types.
!x = !tile.view<?x64xbf16, activation, tokens>
!w = !tile.view<32x64xbf16, weight>
!y = !tile.view<?x32xf32, output, tokens>

// The sums and the left side have the fragments of mma, the four warps share the columns. The right side is copied to rows
// of 64 + 8 elements.
// CHECK-DAG: #[[LEFT:layout[0-9]*]] = #tile.layout<register = {{\[\[}}0, 1], [8, 0], [0, 8], [0, 16], [0, 32]], lane = {{\[\[}}0, 2], [0, 4], [1, 0], [2, 0], [4, 0]], warp = {{\[\[}}0, 0], [0, 0]]>
// CHECK-DAG: #[[SUMS:layout[0-9]*]] = #tile.layout<register = {{\[\[}}0, 1], [8, 0]], lane = {{\[\[}}0, 2], [0, 4], [1, 0], [2, 0], [4, 0]], warp = {{\[\[}}0, 8], [0, 16]]>
// CHECK-DAG: #[[RIGHT:shared[0-9]*]] = #tile.shared<offset = {{\[\[}}0, 1], [0, 2], [0, 4], [0, 8], [0, 16], [0, 32], [1, 0], [2, 0], [4, 0], [8, 0], [16, 0]], pitch = 72>
// CHECK-LABEL: tile.program @product
// CHECK-SAME: attributes {tile.warps = 4 : i64}
// CHECK: tile.load {{.*}} -> tensor<32x64xbf16, #[[RIGHT]]>
// CHECK: tile.load {{.*}} -> tensor<16x64xbf16, #[[LEFT]]>
// CHECK: arith.constant dense<0.000000e+00> : tensor<16x32xf32, #[[SUMS]]>
// CHECK: tile.dot {{.*}} : tensor<16x64xbf16, #[[LEFT]]>, tensor<32x64xbf16, #[[RIGHT]]>, tensor<16x32xf32, #[[SUMS]]>
// CHECK: tile.store {{.*}} : tensor<16x32xf32, #[[SUMS]]>
tile.program @product(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 16)> {
  %c0 = arith.constant 0 : index
  %wt = tile.load %w[%c0, %c0] : !w -> tensor<32x64xbf16>
  %xt = tile.load %x[%c0, %c0] : !x -> tensor<16x64xbf16>
  %zero = arith.constant dense<0.0> : tensor<16x32xf32>
  %d = tile.dot %xt, %wt, %zero transpose_rhs : tensor<16x64xbf16>, tensor<32x64xbf16>, tensor<16x32xf32>
  tile.store %d, %y[%c0, %c0] : tensor<16x32xf32>, !y
}

// -----

!x = !tile.view<?x64xf32, activation, tokens>
!g = !tile.view<64xf32, weight>
!y = !tile.view<?x64xf32, output, tokens>

// A row is four elements in each of 16 lanes. The scale, which the program does not write, is loaded as its use needs it:
// with the columns of that layout, in each lane and warp that has them.
// CHECK-DAG: #[[TILE:layout[0-9]*]] = #tile.layout<register = {{\[\[}}0, 1], [0, 2]], lane = {{\[\[}}0, 4], [0, 8], [0, 16], [0, 32], [1, 0]], warp = {{\[\[}}2, 0], [4, 0]]>
// CHECK-DAG: #[[COLUMNS:layout[0-9]*]] = #tile.layout<register = {{\[\[}}1], [2]], lane = {{\[\[}}4], [8], [16], [32], [0]], warp = {{\[\[}}0], [0]]>
// CHECK-DAG: #[[ROWS:layout[0-9]*]] = #tile.layout<lane = {{\[\[}}0], [0], [0], [0], [1]], warp = {{\[\[}}2], [4]]>
// CHECK-LABEL: tile.program @rows
// CHECK: tile.load {{.*}} -> tensor<8x64xf32, #[[TILE]]>
// CHECK: tile.reduce add {{.*}} axis 1 : tensor<8x64xf32, #[[TILE]]> -> tensor<8xf32, #[[ROWS]]>
// CHECK: tile.broadcast {{.*}} axis 1 : tensor<8xf32, #[[ROWS]]> -> tensor<8x64xf32, #[[TILE]]>
// CHECK: tile.load {{.*}} -> tensor<64xf32, #[[COLUMNS]]>
// CHECK: tile.broadcast {{.*}} axis 0 : tensor<64xf32, #[[COLUMNS]]> -> tensor<8x64xf32, #[[TILE]]>
// CHECK: arith.mulf {{.*}} : tensor<8x64xf32, #[[TILE]]>
tile.program @rows(%x: !x, %g: !g, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%c0, %c0] : !x -> tensor<8x64xf32>
  %sum = tile.reduce add %t axis 1 : tensor<8x64xf32> -> tensor<8xf32>
  %rows = tile.broadcast %sum axis 1 : tensor<8xf32> -> tensor<8x64xf32>
  %scale = tile.load %g[%c0] : !g -> tensor<64xf32>
  %columns = tile.broadcast %scale axis 0 : tensor<64xf32> -> tensor<8x64xf32>
  %scaled = arith.mulf %rows, %columns : tensor<8x64xf32>
  tile.store %scaled, %y[%c0, %c0] : tensor<8x64xf32>, !y
}

// -----

!x = !tile.view<?x64xbf16, activation, tokens>
!w = !tile.view<64x64xbf16, weight>
!y = !tile.view<?x64xf32, state, tokens>

// The sums of one product are the left side of the next: its fragments have all of K in each warp.
// CHECK-LABEL: tile.program @chain
// CHECK: %[[SUMS:.*]] = tile.dot
// CHECK: %[[NARROW:.*]] = arith.truncf %[[SUMS]]
// CHECK-NEXT: %[[LEFT:.*]] = tile.convert_layout %[[NARROW]] : tensor<16x64xbf16, #[[OF_SUMS:layout[0-9]*]]> -> tensor<16x64xbf16, #[[OF_LEFT:layout[0-9]*]]>
// CHECK: tile.dot %[[LEFT]], {{.*}} : tensor<16x64xbf16, #[[OF_LEFT]]>
// expected-remark @+1 {{1 layout conversions through shared memory}}
tile.program @chain(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 16)> {
  %c0 = arith.constant 0 : index
  %wt = tile.load %w[%c0, %c0] : !w -> tensor<64x64xbf16>
  %xt = tile.load %x[%c0, %c0] : !x -> tensor<16x64xbf16>
  %zero = arith.constant dense<0.0> : tensor<16x64xf32>
  %d = tile.dot %xt, %wt, %zero transpose_rhs : tensor<16x64xbf16>, tensor<64x64xbf16>, tensor<16x64xf32>
  %n = arith.truncf %d : tensor<16x64xf32> to tensor<16x64xbf16>
  %e = tile.dot %n, %wt, %zero transpose_rhs : tensor<16x64xbf16>, tensor<64x64xbf16>, tensor<16x64xf32>
  tile.store %e, %y[%c0, %c0] : tensor<16x64xf32>, !y
}

// -----

!x = !tile.view<?x1024xbf16, activation, tokens>
!w = !tile.view<512x1024xbf16, weight>
!y = !tile.view<?x512xf32, output, tokens>
!ring = !tile.ring<4 x (tensor<64x64xbf16>, tensor<128x64xbf16>)>

// Slots are swizzled: a row changes the chunk of 8 columns. A warp has 16 rows of the accumulator of wgmma, of which it
// stages a slice. What it reads back there is spread over its lanes.
// CHECK-DAG: #[[SLOT:shared[0-9]*]] = #tile.shared<offset = {{\[\[}}0, 1], [0, 2], [0, 4], [0, 8], [0, 16], [0, 32], [1, 8], [2, 16], [4, 32], [8, 0], [16, 0], [32, 0]]>
// CHECK-DAG: #[[STAGED:shared[0-9]*]] = #tile.shared<offset = {{\[\[}}0, 1], [0, 2], [0, 4], [0, 8], [0, 16], [0, 32], [1, 0], [2, 0], [4, 0], [8, 0]], pitch = 68>
// CHECK-DAG: #[[SUMS:layout[0-9]*]] = #tile.layout<register = {{\[\[}}0, 1], [8, 0], [0, 8], [0, 16], [0, 32], [0, 64]], lane = {{\[\[}}0, 2], [0, 4], [1, 0], [2, 0], [4, 0]], warp = {{\[\[}}16, 0], [32, 0]]>
// CHECK-DAG: #[[OWN:layout[0-9]*]] = #tile.layout<register = {{\[\[}}0, 1], [8, 0], [0, 8], [0, 16], [0, 32]], lane = {{\[\[}}0, 2], [0, 4], [1, 0], [2, 0], [4, 0]]>
// CHECK-DAG: #[[PIECE:layout[0-9]*]] = #tile.layout<register = {{\[\[}}0, 1], [0, 2], [2, 0], [4, 0]], lane = {{\[\[}}0, 4], [0, 8], [0, 16], [0, 32], [1, 0]]>
// CHECK-LABEL: tile.program @warps
// CHECK: tile.ring : <4 x(tensor<64x64xbf16, #[[SLOT]]>,
// CHECK: tile.wait {{.*}} -> tensor<64x64xbf16, #[[SLOT]]>,
// CHECK: tile.dot_async {{.*}}, tensor<64x128xf32, #[[SUMS]]>
// CHECK: tile.for_warps %{{.*}} in 4 (%[[PART:.*]] = %{{.*}} : tensor<64x128xf32, #[[SUMS]]>)
// CHECK: tensor.extract_slice %[[PART]]{{.*}} to tensor<16x64xf32, #[[OWN]]>
// CHECK: tile.stage {{.*}} : tensor<16x64xf32, #[[OWN]]> -> tensor<16x64xf32, #[[STAGED]]>
// CHECK: tensor.extract_slice {{.*}} : tensor<16x64xf32, #[[STAGED]]> to tensor<8x64xf32, #[[PIECE]]>
// CHECK: tile.store {{.*}} : tensor<8x64xf32, #[[PIECE]]>
tile.program @warps(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %zero = arith.constant dense<0.0> : tensor<64x128xf32>
  %ring = tile.ring : !ring
  tile.warp_roles produce 4 {
    %slot = tile.acquire %ring : !ring
    tile.fetch %x[%c0, %c0] to %ring[%slot] 0 : !x, !ring
    tile.fetch %w[%c0, %c0] to %ring[%slot] 1 : !w, !ring
    tile.yield
  } consume 4 {
    %xt, %wt = tile.wait %ring : !ring -> tensor<64x64xbf16>, tensor<128x64xbf16>
    %d = tile.dot_async %xt, %wt, %zero : tensor<64x64xbf16>, tensor<128x64xbf16>, tensor<64x128xf32>
    %sums = tile.dot_wait %d pending 0 : tensor<64x128xf32>
    tile.release %ring : !ring
    tile.for_warps %warp in 4 (%own = %sums : tensor<64x128xf32>) {
      scf.for %c = %c0 to %c128 step %c64 {
        %part = tensor.extract_slice %own[0, %c] [16, 64] [1, 1] : tensor<16x128xf32> to tensor<16x64xf32>
        %staged = tile.stage %part : tensor<16x64xf32>
        %piece = tensor.extract_slice %staged[0, 0] [8, 64] [1, 1] : tensor<16x64xf32> to tensor<8x64xf32>
        tile.store %piece, %y[%warp, %c] : tensor<8x64xf32>, !y
      } {tile.unroll}
    }
    tile.yield
  }
}

// -----

// A program with a lowering of its own is left alone.
// CHECK-LABEL: tile.program @pending
// CHECK-NOT: tile.warps
tile.program @pending() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.family<attention> {
}
