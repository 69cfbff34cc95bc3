// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-retile{size=32 grid=0}))" --split-input-file --verify-diagnostics %s
// RUN: not inlay-opt --pass-pipeline="builtin.module(tile.program(tile-retile{size=32 grid=1}))" --split-input-file %s 2>&1 | FileCheck %s --check-prefix=GRID
// RUN: not inlay-opt --pass-pipeline="builtin.module(tile.program(tile-retile{size=0 grid=0}))" --split-input-file %s 2>&1 | FileCheck %s --check-prefix=SIZE
// GRID: error: has no dimension 1 of its grid, found 1
// SIZE: error: has no tiles of 0 elements, expected at least 1
// Programs whose tiles cannot follow each other in the grid in another size.
!x = !tile.view<?x64xf32, activation, tokens>

tile.program @index(%x: !x, %y: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 16)> {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %block = tile.program_id 0
  // expected-error @+1 {{uses the index of a block for more than the offset program_id * 16}}
  %next = arith.addi %block, %c16 : index
  %begin = arith.muli %next, %c16 : index
  %t = tile.load %x[%begin, %c0] {retile} : !x -> tensor<16x64xf32>
  tile.store %t, %y[%begin, %c0] : tensor<16x64xf32>, !x
}

// -----

!x = !tile.view<?xf32, activation, tokens>
tile.program @read(%x: !x, %y: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 16)> {
  %c16 = arith.constant 16 : index
  %block = tile.program_id 0
  %begin = arith.muli %block, %c16 : index
  // expected-error @+1 {{uses where a tile begins for more than the tile's offsets and indices}}
  %first = tile.read %x[%begin] : !x -> f32
  %s = tensor.splat %first : tensor<16xf32>
  %t = tile.load %x[%begin] {retile} : !x -> tensor<16xf32>
  %d = arith.subf %t, %s : tensor<16xf32>
  tile.store %d, %y[%begin] : tensor<16xf32>, !x
}

// -----

!x = !tile.view<?xi32, activation, tokens>
tile.program @index_of_tile(%x: !x, %y: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 16)> {
  %c16 = arith.constant 16 : index
  %block = tile.program_id 0
  %begin = arith.muli %block, %c16 : index
  %i = arith.index_cast %begin : index to i32
  %s = tensor.splat %i : tensor<16xi32>
  %t = tile.load %x[%begin] {retile} : !x -> tensor<16xi32>
  // expected-error @+1 {{uses where a tile begins without tile.iota of the tile's dimension}}
  %d = arith.subi %t, %s : tensor<16xi32>
  tile.store %d, %y[%begin] : tensor<16xi32>, !x
}

// -----

!x = !tile.view<?xf32, activation, tokens>
// expected-error @+1 {{whose dimension 0 is neither a size of the step ceildiv 16 nor a number of blocks whose elements are whole tiles of 32}}
tile.program @two_each(%x: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> ((s0 ceildiv 16) * 2)> {
  %c16 = arith.constant 16 : index
  %block = tile.program_id 0
  %begin = arith.muli %block, %c16 : index
  %t = tile.load %x[%begin] {retile} : !x -> tensor<16xf32>
  tile.store %t, %x[%begin] : tensor<16xf32>, !x
}

// -----

!x = !tile.view<?x64xf32, activation, tokens>
tile.program @halves(%x: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 16)> {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %block = tile.program_id 0
  %begin = arith.muli %block, %c16 : index
  %t = tile.load %x[%begin, %c0] {retile} : !x -> tensor<16x64xf32>
  %columns = tile.transpose %t : tensor<16x64xf32> -> tensor<64x16xf32>
  // expected-error @+1 {{has a dimension of 16 whose size cannot change}}
  %even, %odd = tile.deinterleave %columns : tensor<64x16xf32> -> tensor<64x8xf32>
}

// -----

!x = !tile.view<?xf32, activation, tokens>
!y = !tile.view<?xf32, output>
tile.program @no_end(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 16)> {
  %c16 = arith.constant 16 : index
  %block = tile.program_id 0
  %begin = arith.muli %block, %c16 : index
  %t = tile.load %x[%begin] {retile} : !x -> tensor<16xf32>
  // expected-error @+1 {{may reach past the end of '!tile.view<?xf32, output>', whose dimension 0 has no size}}
  tile.store %t, %y[%begin] : tensor<16xf32>, !y
}

// -----

!x = !tile.view<?xf32, activation, tokens>
!w = !tile.view<16xf32, weight>
tile.program @same_weights(%x: !x, %w: !w, %y: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 16)> {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %block = tile.program_id 0
  %begin = arith.muli %block, %c16 : index
  %t = tile.load %x[%begin] {retile} : !x -> tensor<16xf32>
  // expected-error @+1 {{has an offset in dimension 0 of the view that is not where a tile begins, and a tile of another size along it}}
  %v = tile.load %w[%c0] : !w -> tensor<16xf32>
  %p = arith.mulf %t, %v : tensor<16xf32>
  tile.store %p, %y[%begin] : tensor<16xf32>, !x
}

// -----

!x = !tile.view<?x64xf32, activation, tokens>
tile.program @first_row(%x: !x, %y: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 16)> {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %block = tile.program_id 0
  %begin = arith.muli %block, %c16 : index
  // expected-error @+1 {{has an offset in dimension 0 of the view that is where a tile begins, and no tile along it}}
  %row = tile.load %x[%begin, %c0] : !x -> tensor<64xf32>
  %wide = tile.broadcast %row axis 0 : tensor<64xf32> -> tensor<16x64xf32>
  %t = tile.load %x[%begin, %c0] {retile} : !x -> tensor<16x64xf32>
  %d = arith.subf %t, %wide : tensor<16x64xf32>
  tile.store %d, %y[%begin, %c0] : tensor<16x64xf32>, !x
}

// -----

tile.program @marked() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{is marked by 'retile', expected an op that computes one tile with a dimension 0}}
  %block = tile.program_id 0 {retile}
}
