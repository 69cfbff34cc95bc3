// RUN: inlay-opt --tile-assign-layouts --convert-tile-to-cuda %s | FileCheck %s
// A program that a library computes is not lowered.
!x = !tile.view<?xi32, output, tokens>

// CHECK-LABEL: tile.program @product
tile.program @product(%x: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.cublaslt {
}

// CHECK-LABEL: cuda.kernel @ours
tile.program @ours(%x: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
}
