// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-retile{size=64 loop=true}))" --split-input-file --verify-diagnostics %s
// Programs whose tiles cannot follow each other in a loop in another size.
!x = !tile.view<96xf32, activation>

tile.program @alone(%x: !x, %y: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{stands in no loop}}
  %t = tile.load %x[%c0] {retile} : !x -> tensor<96xf32>
  tile.store %t, %y[%c0] : tensor<96xf32>, !x
}

// -----

!x = !tile.view<96xf32, activation>
tile.program @overlap(%x: !x, %y: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c96 = arith.constant 96 : index
  // expected-error @+1 {{has no step of 32, the size of the tiles that it runs through}}
  scf.for %i = %c0 to %c96 step %c16 {
    %t = tile.load %x[%i] {retile} : !x -> tensor<32xf32>
    tile.store %t, %y[%i] : tensor<32xf32>, !x
  }
}

// -----

!x = !tile.view<96xf32, activation>
tile.program @part(%x: !x, %y: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c32 = arith.constant 32 : index
  %c96 = arith.constant 96 : index
  // expected-error @+1 {{runs through 96 elements, which are no whole tiles of 64}}
  scf.for %i = %c0 to %c96 step %c32 {
    %t = tile.load %x[%i] {retile} : !x -> tensor<32xf32>
    tile.store %t, %y[%i] : tensor<32xf32>, !x
  }
}

// -----

!x = !tile.view<128xf32, activation>
tile.program @number(%x: !x, %w: !tile.view<4xf32, weight>, %y: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c32 = arith.constant 32 : index
  %c128 = arith.constant 128 : index
  scf.for %i = %c0 to %c128 step %c32 {
    // expected-error @+1 {{uses where a tile begins for more than the tile's offsets and indices}}
    %n = arith.divsi %i, %c32 : index
    %w0 = tile.read %w[%n] : !tile.view<4xf32, weight> -> f32
    %s = tensor.splat %w0 : tensor<32xf32>
    %t = tile.load %x[%i] {retile} : !x -> tensor<32xf32>
    %p = arith.mulf %t, %s : tensor<32xf32>
    tile.store %p, %y[%i] : tensor<32xf32>, !x
  }
}
