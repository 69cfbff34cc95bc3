// RUN: inlay-translate --tile-to-cuda %s | FileCheck %s
// A sum over ranks that brings weights of the next launch to the L2 cache, before it waits for earlier launches: of each of
// 5 groups of 8 rows (40 KiB in memory), 2 KiB from every multiple of 24 KiB. So does the kernel for ranks without access to
// each other's memory.
!x = !tile.view<?x64xbf16, activation, tokens>
!y = !tile.view<?x64xbf16, output, tokens>
!w = !tile.view<36x2560xbf16, weight>

// CHECK-LABEL: sum(bfloat16 *activation0, bfloat16 *output1, const bfloat16 *__restrict__ weight2, StepSizes sizes, PeerTable *peers)
// CHECK: launch_dependents();
// CHECK: prefetch_parts(weight2, 5, 40960, 24576, 2048);
// CHECK: depend();
// CHECK: begin_round<4>(peers)
// CHECK-LABEL: sum_epilogue(bfloat16 *activation0, bfloat16 *output1, const bfloat16 *__restrict__ weight2, StepSizes sizes)
// CHECK: prefetch_parts(weight2, 5, 40960, 24576, 2048);
// CHECK: depend();
tile.program @sum(%x: !x, %y: !y, %w: !w {tile.packing = "atom_8x64"}) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 4)> {
  tile.prefetch %w columns 128 of 1536 : !w
  %i = tile.program_id 0
  %c4 = arith.constant 4 : index
  %c0 = arith.constant 0 : index
  %row = arith.muli %i, %c4 : index
  %sum = tile.receive_sum %x[%row, %c0] through <ranks = 4, rows = 8> : !x -> tensor<4x64xbf16>
  tile.store %sum, %y[%row, %c0] : tensor<4x64xbf16>, !y
}
