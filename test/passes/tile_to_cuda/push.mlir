// RUN: inlay-translate --tile-to-cuda %s | FileCheck %s
// What a kernel stores and pushes, and the kernel of the sum, which only receives. The first reads the table when earlier
// launches have ended, and then lets the second start. One of the threads that hold the same elements pushes them.
!x = !tile.view<?x64xbf16, activation, tokens>
!y = !tile.view<?x64xbf16, output, tokens>
!r = !tile.view<?x64xbf16, state, tokens>

// CHECK-LABEL: twice(bfloat16 *activation0, bfloat16 *output1, StepSizes sizes, PeerTable *peers)
// CHECK: const bool [[FIRST:[a-z0-9]+]] = ((warp & 3) == 0) & ({{.*}} < sizes.v[0]);
// CHECK: depend();
// CHECK-NEXT: launch_dependents();
// CHECK: const Pushes<4> pushes = begin_pushes<4>(peers, slot * 128ll);
// CHECK-NEXT: store_vector<8>(output1 + [[AT:[a-z0-9]+]], {{.*}}, [[FIRST]]);
// CHECK-NEXT: push_elements<8>(pushes, {{.*}}, [[AT]], [[FIRST]]);
tile.program @twice(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 4)> {
  %i = tile.program_id 0
  %c4 = arith.constant 4 : index
  %c0 = arith.constant 0 : index
  %row = arith.muli %i, %c4 : index
  %a = tile.load %x[%row, %c0] : !x -> tensor<4x64xbf16>
  %b = arith.addf %a, %a : tensor<4x64xbf16>
  tile.store %b, %y[%row, %c0] through <ranks = 4, rows = 8> : tensor<4x64xbf16>, !y
}

// The kernel of the sum begins the round, restores the buffer of the round before, loads the residual and receives
// before the wait, behind which it stores and ends the round. It does not read the rows that the first kernel stores.
// What it loads before the wait could be older in the cache of the multiprocessor.
// CHECK-LABEL: received(bfloat16 *activation0, bfloat16 *state1, bfloat16 *state2, StepSizes sizes, PeerTable *peers)
// CHECK-NOT: activation0
// CHECK: launch_dependents();
// CHECK-NOT: depend
// CHECK: begin_round<4>(peers)
// CHECK: arrive(round);
// CHECK-NEXT: clear_previous(round);
// CHECK-NOT: depend
// CHECK-COUNT-2: load_vector_l2_only<8>({{.*}} < sizes.v[0]
// CHECK-NOT: {{depend|push}}
// CHECK: receive_pushed(round, &sum[0], slot * 128ll, {{.*}} < sizes.v[0]);
// CHECK-NEXT: const bool [[COMPLETE:[a-z0-9]+]] = is_complete(round);
// CHECK-NOT: load_vector
// CHECK: depend();
// CHECK-NEXT: store_vector<8>({{.*}} & [[COMPLETE]]);
// CHECK-NEXT: end_round(round, peers, {{.*}} * 4ll);
// CHECK-LABEL: received_epilogue(
// CHECK-NOT: round
// CHECK: depend();
// CHECK: load_vector
tile.program @received(%x: !x, %r: !r, %other: !r) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 ceildiv 4)> {
  %i = tile.program_id 0
  %c4 = arith.constant 4 : index
  %c0 = arith.constant 0 : index
  %row = arith.muli %i, %c4 : index
  %old = tile.load %r[%row, %c0] : !r -> tensor<4x64xbf16>
  %sum = tile.receive_sum %x[%row, %c0] through <ranks = 4, rows = 8> pushed early : !x -> tensor<4x64xbf16>
  %more = tile.load %other[%row, %c0] : !r -> tensor<4x64xbf16>
  %a = arith.addf %old, %sum : tensor<4x64xbf16>
  %new = arith.addf %a, %more : tensor<4x64xbf16>
  tile.store %new, %r[%row, %c0] : tensor<4x64xbf16>, !r
}
