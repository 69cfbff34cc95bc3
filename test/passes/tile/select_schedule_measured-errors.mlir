// What a family cannot run is refused by name, and so is a file of another chip or with another text.
// RUN: not inlay-opt --tile-select-schedule=tuning=%S/Inputs/measured_too_large.json %s 2>&1 | FileCheck %s --check-prefix=LARGE
// RUN: not inlay-opt --tile-select-schedule=tuning=%S/Inputs/measured_unknown_field.json %s 2>&1 | FileCheck %s --check-prefix=FIELD
// RUN: not inlay-opt --tile-select-schedule=tuning=%S/Inputs/measured_other_target.json %s 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not inlay-opt --tile-select-schedule=tuning=%S/Inputs/measured_malformed.json %s 2>&1 | FileCheck %s --check-prefix=TEXT
// RUN: not inlay-opt --tile-select-schedule=tuning=%S/Inputs/none.json %s 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not inlay-opt --tile-select-schedule=tuning=%S/Inputs/measured_out_of_range.json %s 2>&1 | FileCheck %s --check-prefix=RANGE
// RANGE: error: {{.*}}measured_out_of_range.json: the entry for swap_ab 64 x 4096 x 4096 bf16, none, store has 5 consumers for 64 rows in 2 slots; expected 1, 2, or 3 to 7 for up to 64 rows in one slot; measure it again (compiler 'abc' did) or remove it
// LARGE: error: {{.*}}measured_too_large.json: the entry for swap_ab 64 x 4096 x 4096 bf16, none, store needs 147968 bytes of shared memory, expected at most 115712; measure it again (compiler 'abc' did) or remove it
// FIELD: error: {{.*}}: the entry for swap_ab 64 x 4096 x 4096 bf16, none, store has 'rings', which the family does not know
// TARGET: error: {{.*}}measured_other_target.json: target is 'sm_100a', expected 'sm_90a'
// TEXT: error: {{.*}}measured_malformed.json: entries[0].microseconds is -1, expected a number above 0
// NONE: error: {{.*}}none.json
!x = !tile.view<?x4096xbf16, activation, tokens>
!w = !tile.view<4096x4096xbf16, weight>
!y = !tile.view<?x4096xf32, output, tokens>
tile.program @batch(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (32, s0 ceildiv 64)> schedule #tile.family<swap_ab> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c128 = arith.constant 128 : index
  %c64 = arith.constant 64 : index
  %c4096 = arith.constant 4096 : index
  %rows = arith.constant 64 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %c128 : index
  %zero = arith.constant dense<0.0> : tensor<64x128xf32>
  %acc = scf.for %k = %c0 to %c4096 step %c64 iter_args(%a = %zero) -> (tensor<64x128xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<64x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<128x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<64x64xbf16>, tensor<128x64xbf16>, tensor<64x128xf32>
    scf.yield %d : tensor<64x128xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<64x128xf32>, !y
}
