// RUN: inlay-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{'thread' is no input of a layout, or given twice; expected register, lane, warp or block}}
#layout = #tile.layout<thread = [[1]]>

// -----

// expected-error @+1 {{a basis has 1 coordinates; expected 2}}
#layout = #tile.layout<lane = [[0, 1], [2]]>

// -----

// expected-error @+1 {{a layout has 4 bits of the lane; expected 5}}
#layout = #tile.layout<lane = [[1], [2], [4], [8]]>

// -----

// expected-error @+1 {{a layout has 6 bits of the warp and 0 of the block; expected at most 5 and 4}}
#layout = #tile.layout<lane = [[1], [2], [4], [8], [16]], warp = [[0], [0], [0], [0], [0], [0]]>

// -----

// expected-error @+1 {{a basis has the coordinate -1; expected 0 to 1048575}}
#layout = #tile.layout<lane = [[1], [2], [4], [8], [-1]]>

// -----

// expected-error @+1 {{a layout has bases of 4 coordinates; expected 1 to 3}}
#layout = #tile.layout<lane = [[0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 4], [0, 0, 0, 8], [0, 0, 0, 16]]>

// -----

#layout = #tile.layout<lane = [[1], [2], [4], [8], [16]]>
// expected-error @+1 {{a layout of rank 1 is that of a tile of rank 2}}
func.func private @rank(tensor<4x8xf32, #layout>)

// -----

#layout = #tile.layout<lane = [[1], [2], [4], [8], [16]]>
// expected-error @+1 {{a layout has places for 32 elements of dimension 0; the tile has 33}}
func.func private @size(tensor<33xf32, #layout>)

// -----

#layout = #tile.layout<lane = [[1], [2], [4], [0], [24]]>
// expected-error @+1 {{a layout has no place for some elements; its bases must span all bits of the coordinates}}
func.func private @span(tensor<8xf32, #layout>)

// -----

// expected-error @+1 {{a layout has the pitch 12; expected 1 to 2097151, and offsets that go through the columns first}}
#shared = #tile.shared<offset = [[1, 0], [0, 1]], pitch = 12>

// -----

#shared = #tile.shared<offset = [[0, 1], [0, 2], [1, 0]], pitch = 3>
// expected-error @+1 {{a layout has the pitch 3 for rows of 4 elements}}
func.func private @pitch(tensor<2x4xf32, #shared>)

// -----

#layout = #tile.layout<lane = [[1], [2], [4], [8], [16]]>
tile.program @convert() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<32xf32>
  // expected-error @+1 {{turns 'tensor<32xf32>' into 'tensor<32xf32, #tile.layout<lane = [[1], [2], [4], [8], [16]]>>'; expected the same tile in two #tile.layout}}
  %c = tile.convert_layout %t : tensor<32xf32> -> tensor<32xf32, #layout>
}

// -----

#shared = #tile.shared<offset = [[0, 1], [0, 2], [1, 0]]>
tile.program @stage() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<2x4xf32>
  // expected-error @+1 {{keeps 'tensor<2x4xf32>' as 'tensor<2x4xf32, #tile.shared<offset = [[0, 1], [0, 2], [1, 0]]>>'; expected a #tile.layout and a #tile.shared, or neither}}
  %c = tile.stage %t : tensor<2x4xf32> -> tensor<2x4xf32, #shared>
}

// -----

// expected-error @+1 {{has tile.warps = 0 : i64; expected 1 to 32 warps, on a tile.program}}
tile.program @warps() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> attributes {tile.warps = 0 : i64} {
}
