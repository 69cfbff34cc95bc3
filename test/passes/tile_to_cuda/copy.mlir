// RUN: inlay-opt --tile-hoist-loads --tile-assign-layouts --convert-tile-to-cuda %s | FileCheck %s
// A program without a kernel family: each thread copies four elements. Rows past the end of the step are skipped.

// CHECK-LABEL: cuda.kernel @copy(
// CHECK-SAME: %[[FROM:.*]]: !cuda.ptr<i32, global> {cuda.name = "from", cuda.provenance = #cuda.provenance<activation>},
// CHECK-SAME: %[[TO:.*]]: !cuda.ptr<i32, global> {cuda.name = "output1", cuda.provenance = #cuda.provenance<output>},
// CHECK-SAME: %[[SIZES:.*]]: !cuda.opaque<"StepSizes"> {cuda.name = "sizes"})
// CHECK-SAME: dependent_launch, grid = #cuda.grid<size 0 ceildiv 128>
// CHECK-SAME: origin = "layers.0"
// CHECK-SAME: threads = 128 : i64
// CHECK: %[[BLOCK:.*]] = cuda.special block_x
// CHECK: %[[FIRST:.*]] = arith.muli %[[BLOCK]], %{{.*}}
// CHECK: %[[TILE:.*]] = cuda.local : <4xi32>
// CHECK: scf.for %[[I:.*]] = %{{.*}} to %{{.*}} step %{{.*}} {
// CHECK: %[[AT:.*]] = arith.addi %[[FIRST]], %{{.*}}
// CHECK: %[[TOKENS:.*]] = cuda.size 0
// CHECK: %[[INSIDE:.*]] = arith.cmpi slt, %[[AT]], %[[TOKENS]]
// CHECK: %[[ELEMENT:.*]] = cuda.address %[[TILE]][%[[I]]]
// CHECK: %[[SOURCE:.*]] = cuda.offset %[[FROM]][%{{.*}}]
// CHECK: cuda.call "load_vector<1>" from "tile.h"(%[[ELEMENT]], %[[SOURCE]], %[[INSIDE]])
// CHECK: } {cuda.unroll}
// CHECK: cuda.offset %[[TO]][%{{.*}}]
// CHECK: cuda.call "store_vector<1>" from "tile.h"
!x = !tile.view<?xi32, activation, tokens>
!y = !tile.view<?xi32, output, tokens>

tile.program @copy(%x: !x {tile.name = "from"}, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 128)>
    attributes {origin = "layers.0"} {
  %i = tile.program_id 0
  %c128 = arith.constant 128 : index
  %at = arith.muli %i, %c128 : index
  %t = tile.load %x[%at] : !x -> tensor<128xi32>
  tile.store %t, %y[%at] : tensor<128xi32>, !y
}
