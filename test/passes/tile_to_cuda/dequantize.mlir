// RUN: inlay-opt --tile-assign-layouts %s | FileCheck %s --check-prefix=LAYOUT
// RUN: inlay-translate --tile-to-cuda %s | FileCheck %s
// Codes become numbers in registers: 16 neighbours in a thread, which has the scales of its rows and groups.
!b = !tile.view<32x32xi8, weight>
!g = !tile.view<32x2xf32, weight>
!y = !tile.view<32x64xf32, output>

// Two codes in a byte: 8 bytes. A group of 32 columns is the columns of two lanes.
// LAYOUT-DAG: #[[BYTES:layout[0-9]*]] = #tile.layout<register = {{\[\[}}0, 1], [0, 2], [0, 4]], lane = {{\[\[}}0, 8], [0, 16], [1, 0], [2, 0], [4, 0]], warp = {{\[\[}}8, 0], [16, 0], [0, 0]]>
// LAYOUT-DAG: #[[SHARED:layout[0-9]*]] = #tile.layout<lane = {{\[\[}}0, 0], [0, 1], [1, 0], [2, 0], [4, 0]], warp = {{\[\[}}8, 0], [16, 0], [0, 0]]>
// LAYOUT-DAG: #[[NUMBERS:layout[0-9]*]] = #tile.layout<register = {{\[\[}}0, 1], [0, 2], [0, 4], [0, 8]], lane = {{\[\[}}0, 16], [0, 32], [1, 0], [2, 0], [4, 0]], warp = {{\[\[}}8, 0], [16, 0], [0, 0]]>
// LAYOUT-LABEL: tile.program @zeros
// LAYOUT: tile.dequantize {{ *}}u4 {{.*}} zeros %{{.*}} : tensor<32x2xf32, #[[SHARED]]> {group = 32 : i64} : tensor<32x32xi8, #[[BYTES]]>, tensor<32x2xf32, #[[SHARED]]> -> tensor<32x64xf32, #[[NUMBERS]]>

// CHECK-LABEL: zeros(
// CHECK: = weight1 + ((static_cast<long long>(n) * 2ll) + static_cast<long long>([[GROUP:n[0-9]*]]));
// CHECK: load_vector<1>(&[[SCALES:loaded[0-9]*]][0], p,
// CHECK: = weight2 + ((static_cast<long long>(n) * 2ll) + static_cast<long long>([[GROUP]]));
// CHECK: load_vector<1>(&[[ZEROS:loaded[0-9]*]][0], p1,
// CHECK: load_vector<8>(&[[CODES:loaded[0-9]*]][0], weight0 +
// CHECK: unpack_u4<8>(&dequantized[i * 8], &[[CODES]][i * 4]);
// CHECK: dequantized[i1] = (dequantized[i1] - [[ZEROS]][0]) * [[SCALES]][0];
tile.program @zeros(%b: !b, %s: !g, %z: !g, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %bytes = tile.load %b[%c0, %c0] : !b -> tensor<32x32xi8>
  %scales = tile.load %s[%c0, %c0] : !g -> tensor<32x2xf32>
  %zeros = tile.load %z[%c0, %c0] : !g -> tensor<32x2xf32>
  %w = tile.dequantize u4 %bytes scales %scales zeros %zeros : tensor<32x2xf32> {group = 32 : i64} : tensor<32x32xi8>, tensor<32x2xf32> -> tensor<32x64xf32>
  tile.store %w, %y[%c0, %c0] : tensor<32x64xf32>, !y
}

// A byte for each code, and 8 columns of a group: each thread has two scales.
// CHECK-LABEL: signed_groups(
// CHECK: load_vector<2>(&[[SCALES:loaded[0-9]*]][0], weight1 +
// CHECK: load_vector<16>(&[[CODES:loaded[0-9]*]][0], p,
// CHECK: unpack_i8<8>(&dequantized[i * 8], &[[CODES]][i * 8]);
// CHECK: dequantized[i1] = dequantized[i1] * [[SCALES]][(i1 >> 3) & 1];
tile.program @signed_groups(%b: !b, %s: !tile.view<32x4xf32, weight>, %y: !tile.view<32x32xf32, output>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %bytes = tile.load %b[%c0, %c0] : !b -> tensor<32x32xi8>
  %scales = tile.load %s[%c0, %c0] : !tile.view<32x4xf32, weight> -> tensor<32x4xf32>
  %w = tile.dequantize i8 %bytes scales %scales {group = 8 : i64} : tensor<32x32xi8>, tensor<32x4xf32> -> tensor<32x32xf32>
  tile.store %w, %y[%c0, %c0] : tensor<32x32xf32>, !tile.view<32x32xf32, output>
}
