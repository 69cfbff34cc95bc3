// RUN: inlay-opt --tile-hoist-loads %s | FileCheck %s
// Loads of memory that the program does not write move to where their addresses are known.
!x = !tile.view<?x64xf32, activation, tokens>
!ids = !tile.view<?xi32, meta, tokens>
!y = !tile.view<?x64xf32, state, tokens>

// CHECK-LABEL: tile.program @block
// CHECK: %[[ROW:.*]] = tile.program_id 0
// CHECK-NEXT: tile.load %arg0[%[[ROW]], %{{.*}}]
// CHECK-NEXT: %[[OLD:.*]] = tile.load %arg1
// CHECK-NEXT: math.exp %[[OLD]]
tile.program @block(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)> {
  %c0 = arith.constant 0 : index
  %row = tile.program_id 0
  // Of memory that is written here: stays.
  %old = tile.load %y[%row, %c0] : !y -> tensor<1x64xf32>
  %e = math.exp %old : tensor<1x64xf32>
  %t = tile.load %x[%row, %c0] : !x -> tensor<1x64xf32>
  %sum = arith.addf %e, %t : tensor<1x64xf32>
  tile.store %sum, %y[%row, %c0] : tensor<1x64xf32>, !y
}

// A warp starts its loads before the branch that uses them, the indices before the rows.
// CHECK-LABEL: tile.program @warps
// CHECK: tile.for_warps
// CHECK: %[[IDS:.*]] = tile.load %arg1
// CHECK: tile.gather %arg0[%[[IDS]], %{{.*}}]
// CHECK: scf.if
// CHECK-NOT: tile.gather
// CHECK: tile.store
tile.program @warps(%x: !x, %ids: !ids, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)> {
  %c0 = arith.constant 0 : index
  %c8 = arith.constant 8 : index
  tile.for_warps %warp in 4 {
    %row = arith.muli %warp, %c8 : index
    %odd = arith.cmpi ne, %warp, %c0 : index
    scf.if %odd {
      %i = tile.load %ids[%row] : !ids -> tensor<8xi32>
      %t = tile.gather %x[%i, %c0] : !x, tensor<8xi32> -> tensor<8x64xf32>
      tile.store %t, %y[%row, %c0] : tensor<8x64xf32>, !y
    }
  }
}

// A warp that has a ring fills it first. Loads that need not wait for earlier launches come before the wait, what those
// launches write after it, and last what waits for another load's result.
// CHECK-LABEL: tile.program @order
// CHECK: tile.for_warps
// CHECK: tile.fetch
// CHECK: %[[ROWS:.*]] = tile.load %{{.*}} : <?xi32, meta, tokens>
// CHECK: tile.load %{{.*}} : <64xf32, weight>
// CHECK: tile.depend
// CHECK: tile.load %{{.*}} : <?x64xf32, activation, tokens>
// CHECK: tile.gather %{{.*}}[%[[ROWS]]
tile.program @order(%w: !tile.view<64x64xbf16, weight> {tile.packing = "atom_8x64"}, %b: !tile.view<64xf32, weight>,
                    %r: !tile.view<?xi32, meta, tokens>, %t: !tile.view<64x64xf32, weight>,
                    %x: !tile.view<?x64xf32, activation, tokens>, %y: !tile.view<?x64xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  tile.for_warps %warp in 4 {
    %ring = tile.ring : !tile.ring<2 x (tensor<8x64xbf16>)>
    %slot = tile.acquire %ring first %c0 : !tile.ring<2 x (tensor<8x64xbf16>)>
    tile.fetch %w[%c0, %c0] to %ring[%slot] 0 : !tile.view<64x64xbf16, weight>, !tile.ring<2 x (tensor<8x64xbf16>)>
    tile.depend
    %rows = tile.load %r[%c0] : !tile.view<?xi32, meta, tokens> -> tensor<8xi32>
    %angles = tile.gather %t[%rows, %c0] : !tile.view<64x64xf32, weight>, tensor<8xi32> -> tensor<8x64xf32>
    %bias = tile.load %b[%c0] : !tile.view<64xf32, weight> -> tensor<64xf32>
    %biases = tile.broadcast %bias axis 0 : tensor<64xf32> -> tensor<8x64xf32>
    %xt = tile.load %x[%c0, %c0] : !tile.view<?x64xf32, activation, tokens> -> tensor<8x64xf32>
    %sum = arith.addf %xt, %angles : tensor<8x64xf32>
    %all = arith.addf %sum, %biases : tensor<8x64xf32>
    tile.store %all, %y[%c0, %c0] : tensor<8x64xf32>, !tile.view<?x64xf32, output, tokens>
  }
}
