// RUN: inlay-translate --tile-to-cuda %s | FileCheck %s
// RUN: inlay-opt --pass-pipeline="builtin.module(tile-to-cuda)" %s | FileCheck %s --check-prefix=IR
// A sum over ranks and the residual that is added to it. What the weight and the residual hold is loaded before the
// ranks wait for each other. One of the threads that hold the same words pushes them. Nothing is stored where words are
// missing, and the round ends with the kernel. The second kernel is for ranks without access to each other's memory.
!x = !tile.view<?x64xbf16, activation, tokens>
!r = !tile.view<?x64xbf16, state, tokens>
!g = !tile.view<64xbf16, weight>

// CHECK-LABEL: residual(bfloat16 *activation0, bfloat16 *state1, const bfloat16 *__restrict__ weight2, StepSizes sizes, PeerTable *peers)
// CHECK: load_vector<8>({{.*}}weight2
// CHECK: depend();
// CHECK: load_vector<8>({{.*}} < sizes.v[0]
// CHECK: load_vector<8>({{.*}} < sizes.v[0]
// CHECK: begin_round<4>(peers)
// CHECK: push_piece(round, {{.*}}, ((warp & 3) == 0) & ({{.*}} < sizes.v[0]));
// CHECK-NEXT: arrive(round);
// CHECK-NEXT: clear_previous(round);
// CHECK-NEXT: receive_piece(round, {{.*}}sizes.v[0]
// CHECK-NEXT: const bool [[COMPLETE:[a-z0-9]+]] = is_complete(round);
// CHECK-NOT: load_vector
// CHECK: __syncthreads();
// CHECK: store_vector<8>({{.*}} & [[COMPLETE]]);
// CHECK-NEXT: end_round(round, peers, {{.*}} * 4ll);
// CHECK-LABEL: residual_epilogue(bfloat16 *activation0, bfloat16 *state1, const bfloat16 *__restrict__ weight2, StepSizes sizes)
// CHECK-NOT: round
// IR: cuda.kernel @residual_epilogue
// IR-SAME: cuda.epilogue_of = "residual"
tile.program @residual(%x: !x, %r: !r, %g: !g) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 4)> {
  %i = tile.program_id 0
  %c4 = arith.constant 4 : index
  %c0 = arith.constant 0 : index
  %row = arith.muli %i, %c4 : index
  %old = tile.load %r[%row, %c0] : !r -> tensor<4x64xbf16>
  %sum = tile.receive_sum %x[%row, %c0] through <ranks = 4, rows = 8> : !x -> tensor<4x64xbf16>
  %a = arith.extf %old : tensor<4x64xbf16> to tensor<4x64xf32>
  %b = arith.extf %sum : tensor<4x64xbf16> to tensor<4x64xf32>
  %gt = tile.load %g[%c0] : !g -> tensor<64xbf16>
  %gf = arith.extf %gt : tensor<64xbf16> to tensor<64xf32>
  %gb = tile.broadcast %gf axis 0 : tensor<64xf32> -> tensor<4x64xf32>
  %c = arith.addf %b, %gb : tensor<4x64xf32>
  %d = arith.addf %a, %c : tensor<4x64xf32>
  %new = arith.truncf %d : tensor<4x64xf32> to tensor<4x64xbf16>
  tile.store %new, %r[%row, %c0] : tensor<4x64xbf16>, !r
}
