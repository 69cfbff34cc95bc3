// RUN: inlay-translate --tile-to-cuda --saved-ir=%t.cuda.mlir %s | FileCheck %s
// RUN: FileCheck %s --check-prefix=IR --input-file=%t.cuda.mlir
// The cuda dialect is saved to a file, and each statement has a #line directive that refers to it.
!x = !tile.view<?xi32, activation, tokens>
!y = !tile.view<?xi32, output, tokens>

// IR: cuda.kernel @copy
// IR: cuda.depend

// CHECK: #line {{[0-9]+}} "{{.*}}line.mlir.tmp.cuda.mlir"
// CHECK-NEXT: launch_dependents();
// CHECK-NEXT: #line {{[0-9]+}} "{{.*}}line.mlir.tmp.cuda.mlir"
// CHECK-NEXT: const int lane
// CHECK: depend();
tile.program @copy(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 128)> {
  %i = tile.program_id 0
  %c128 = arith.constant 128 : index
  %at = arith.muli %i, %c128 : index
  %t = tile.load %x[%at] : !x -> tensor<128xi32>
  tile.store %t, %y[%at] : tensor<128xi32>, !y
}
