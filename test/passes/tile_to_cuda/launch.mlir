// RUN: inlay-opt --tile-hoist-loads --tile-assign-layouts --convert-tile-to-cuda %s | FileCheck %s
// Attributes of the kernel describe its launch. A dimension of the grid is a constant or a number of tiles of a size of
// the step. The first dimension is multiplied by the cluster size.
!x = !tile.view<?xi32, output, tokens>

// CHECK-LABEL: cuda.kernel @constant
// CHECK-SAME: cluster = 1 : i64, dependent_launch, grid = #cuda.grid<7, 2>
tile.program @constant(%x: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (7, 2)> {
}

// CHECK-LABEL: cuda.kernel @sizes
// CHECK-SAME: grid = #cuda.grid<size 1, 4 * (size 0 ceildiv 16), size 2 ceildiv 8>
tile.program @sizes(%x: !x)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s1, (s0 ceildiv 16) * 4, s2 ceildiv 8)> {
}

// CHECK-LABEL: cuda.kernel @cluster
// CHECK-SAME: cluster = 4 : i64
// CHECK-SAME: grid = #cuda.grid<4 * size 3>
tile.program @cluster(%x: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s3)> schedule #tile.generic<cluster = 4> {
}
