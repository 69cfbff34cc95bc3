// RUN: inlay-translate --tile-to-cuda %s 2>&1 | FileCheck %s
// cp.async copies the right operand into rows of 64 + 8 elements. The left one is loaded as fragments of mma.
!x = !tile.view<?x64xbf16, activation, tokens>
!w = !tile.view<32x64xbf16, weight>
!y = !tile.view<?x32xf32, output, tokens>

// CHECK-LABEL: product(
// CHECK: cp_async_16(rhs + ({{.*}} * 72)
// CHECK-NOT: depend
// CHECK: cp_async_commit();
// CHECK: depend();
// CHECK: cp_async_wait<0>();
// CHECK: ldmatrix_x2(
// CHECK: mma_m16n8k16<bfloat16>(&acc[0], &a[i{{.*}} * 4], &b[0]);
// CHECK: store_vector<2>(
tile.program @product(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 16)> {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %i = tile.program_id 0
  %row = arith.muli %i, %c16 : index
  %wt = tile.load %w[%c0, %c0] : !w -> tensor<32x64xbf16>
  %xt = tile.load %x[%row, %c0] : !x -> tensor<16x64xbf16>
  %zero = arith.constant dense<0.0> : tensor<16x32xf32>
  %d = tile.dot %xt, %wt, %zero transpose_rhs : tensor<16x64xbf16>, tensor<32x64xbf16>, tensor<16x32xf32>
  tile.store %d, %y[%row, %c0] : tensor<16x32xf32>, !y
}
