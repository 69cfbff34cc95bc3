// RUN: inlay-opt --tile-assign-layouts %s | FileCheck %s --check-prefix=LAYOUT
// RUN: inlay-translate --tile-to-cuda %s | FileCheck %s
// Codes of rows are computed from 16 neighbours, and stored as 16 bytes in the order of the weights that they meet: bit 0
// of the number of a byte is bit 3 of the column. 192 columns are 12 pieces of a tile with 16.
!x = !tile.view<?x192xbf16, activation, tokens>
!c = !tile.view<?x192xf8E4M3FN, output, tokens>
#rows = affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)>

// LAYOUT-DAG: #[[ROW:layout[0-9]*]] = #tile.layout<register = {{\[\[}}0, 1], [0, 2], [0, 4], [0, 8]], lane = {{\[\[}}0, 16], [0, 32], [0, 64], [0, 128], [0, 0]], warp = {{\[\[}}0, 0], [0, 0]]>
// LAYOUT-DAG: #[[PIECES:layout[0-9]*]] = #tile.layout<register = {{\[\[}}0, 8], [0, 1], [0, 2], [0, 4]], lane = {{\[\[}}0, 16], [0, 32], [0, 64], [0, 128], [0, 0]], warp = {{\[\[}}0, 0], [0, 0]]>
// LAYOUT-LABEL: tile.program @packed
// LAYOUT: arith.truncf %{{.*}} : tensor<1x256xf32, #[[ROW]]> to tensor<1x256xf8E4M3FN, #[[ROW]]>
// LAYOUT: tile.store %{{.*}} : tensor<1x256xf8E4M3FN, #[[PIECES]]>

// CHECK-LABEL: packed(
// CHECK: to_e4m3x2(&truncf[
// CHECK: permuted[[[I:i[0-9]*]]] = truncf[(([[I]] & 1) * 8) + (([[I]] >> 1) & 7)];
// CHECK: store_vector<16>({{.*}}, &permuted[0],
// CHECK-NOT: store_vector
tile.program @packed(%x: !x, %c: !c {tile.packing = "codes_16"}) grid #rows {
  %row = tile.program_id 0
  %c0 = arith.constant 0 : index
  %xt = tile.load %x[%row, %c0] : !x -> tensor<1x256xbf16>
  %xf = arith.extf %xt : tensor<1x256xbf16> to tensor<1x256xf32>
  %y = arith.truncf %xf : tensor<1x256xf32> to tensor<1x256xf8E4M3FN>
  tile.store %y, %c[%row, %c0] : tensor<1x256xf8E4M3FN>, !c
}

// Without a packing, in the order of the columns.
// CHECK-LABEL: plain(
// CHECK-NOT: permuted
// CHECK: store_vector<16>({{.*}}, &truncf[0],
tile.program @plain(%x: !x, %c: !c) grid #rows {
  %row = tile.program_id 0
  %c0 = arith.constant 0 : index
  %xt = tile.load %x[%row, %c0] : !x -> tensor<1x256xbf16>
  %xf = arith.extf %xt : tensor<1x256xbf16> to tensor<1x256xf32>
  %y = arith.truncf %xf : tensor<1x256xf32> to tensor<1x256xf8E4M3FN>
  tile.store %y, %c[%row, %c0] : tensor<1x256xf8E4M3FN>, !c
}

// Groups of 128 columns: lanes that share a group find its largest element, and nothing moves between threads where the
// tile becomes a matrix of groups.
// CHECK-LABEL: groups(
// CHECK: shuffle_xor({{.*}}, 4)
// CHECK-NOT: shuffle_xor
// CHECK: store_vector<16>({{.*}}, &permuted[0],
// CHECK-NEXT: store_vector<1>({{.*}}, &max1[0], (((lane & 7) == 0)
tile.program @groups(%x: !tile.view<?x512xbf16, activation, tokens>, %s: !tile.view<?x4xf32, output, tokens>,
    %c: !tile.view<?x512xf8E4M3FN, output, tokens> {tile.packing = "codes_16"}) grid #rows {
  %row = tile.program_id 0
  %c0 = arith.constant 0 : index
  %xt = tile.load %x[%row, %c0] : <?x512xbf16, activation, tokens> -> tensor<1x512xbf16>
  %xf = arith.extf %xt : tensor<1x512xbf16> to tensor<1x512xf32>
  %flat = tensor.collapse_shape %xf [[0, 1]] : tensor<1x512xf32> into tensor<512xf32>
  %g = tensor.expand_shape %flat [[0, 1]] output_shape [4, 128] : tensor<512xf32> into tensor<4x128xf32>
  %most = tile.reduce max %g axis 1 : tensor<4x128xf32> -> tensor<4xf32>
  %y = arith.truncf %xf : tensor<1x512xf32> to tensor<1x512xf8E4M3FN>
  tile.store %y, %c[%row, %c0] : tensor<1x512xf8E4M3FN>, <?x512xf8E4M3FN, output, tokens>
  tile.store %most, %s[%row, %c0] : tensor<4xf32>, <?x4xf32, output, tokens>
}
