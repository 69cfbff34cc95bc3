// RUN: inlay-opt --convert-tile-to-cpu --cse %s | FileCheck %s

// An expression is computed in the loop that stores it, 16 columns at a time. Rows past the step's end are skipped.
!x = !tile.view<?x64xf32, activation, tokens>
!y = !tile.view<?x64xf32, output, tokens>
// CHECK-LABEL: func.func @double(
// CHECK-SAME:    %[[ARGS:.*]]: !llvm.ptr, %[[SIZES:.*]]: !llvm.ptr, %[[X:.*]]: i64, %{{.*}}: i64, %{{.*}}: i64)
// CHECK-NOT:   llvm.alloca
// CHECK:       %[[TOKENS32:.*]] = llvm.load %{{.*}} : !llvm.ptr -> i32
// CHECK:       %[[TOKENS:.*]] = arith.index_cast %[[TOKENS32]] : i32 to index
// CHECK:       %[[ROW:.*]] = arith.index_cast %[[X]] : i64 to index
// CHECK:       %[[INSIDE:.*]] = arith.cmpi ult, %[[ROW]], %[[TOKENS]] : index
// CHECK:       %[[COLUMNS:.*]] = arith.select %[[INSIDE]], %c64, %c0 : index
// CHECK:       %[[ANY:.*]] = arith.cmpi sgt, %[[COLUMNS]], %c0 : index
// CHECK:       scf.if %[[ANY]] {
// CHECK:         scf.for %[[COLUMN:.*]] = %c0 to %c64 step %c16 {
// CHECK:           %[[ELEMENTS:.*]] = scf.if
// CHECK:             llvm.load %{{.*}} : !llvm.ptr -> vector<16xf32>
// CHECK:           else
// CHECK:             llvm.intr.masked.load
// CHECK:           %[[TWICE:.*]] = arith.addf %[[ELEMENTS]], %[[ELEMENTS]] : vector<16xf32>
// CHECK:             llvm.store %[[TWICE]]
// CHECK:             llvm.intr.masked.store %[[TWICE]]
tile.program @double(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)> {
  %row = tile.program_id 0
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%row, %c0] : !x -> tensor<1x64xf32>
  %twice = arith.addf %t, %t : tensor<1x64xf32>
  tile.store %twice, %y[%row, %c0] : tensor<1x64xf32>, !y
}

// Values that a loop carries are in scratch memory, partial results of a reduction in registers.
!w = !tile.view<64x64xf32, weight>
!s = !tile.view<64xf32, output>
// CHECK-LABEL: func.func @row_sums(
// CHECK:       %[[CARRIED:.*]] = llvm.alloca %{{.*}} x !llvm.array<64 x i8> {alignment = 64 : i64}
// CHECK:       scf.for
// CHECK:         scf.for %{{.*}} = %c0 to %c16 step %c1
// CHECK:           scf.for {{.*}} iter_args(%{{.*}} = %{{.*}}) -> (vector<16xf32>)
// CHECK:           vector.shuffle {{.*}} [0, 2, 4, 6, 8, 10, 12, 14]
tile.program @row_sums(%w: !w, %s: !s) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4)> {
  %block = tile.program_id 0
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c32 = arith.constant 32 : index
  %c64 = arith.constant 64 : index
  %row = arith.muli %block, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<16xf32>
  %sum = scf.for %k = %c0 to %c64 step %c32 iter_args(%before = %zero) -> (tensor<16xf32>) {
    %t = tile.load %w[%row, %k] : !w -> tensor<16x32xf32>
    %part = tile.reduce add %t axis 1 : tensor<16x32xf32> -> tensor<16xf32>
    %after = arith.addf %before, %part : tensor<16xf32>
    scf.yield %after : tensor<16xf32>
  }
  tile.store %sum, %s[%row] : tensor<16xf32>, !s
}
