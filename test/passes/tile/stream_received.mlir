// RUN: inlay-opt %s --tile-apply-schedule --cse | FileCheck %s --check-prefix=APPLY
// RUN: inlay-opt %s --tile-schedule | FileCheck %s --check-prefix=RING
// RUN: inlay-translate --tile-to-cuda %s | FileCheck %s --check-prefix=CUDA
// RUN: inlay-translate --tile-to-cuda %s | FileCheck %s --check-prefix=COMMUNICATOR
// A row that is a sum over ranks and a residual. Each warp receives its part once, after its ring was filled, and the
// first block stores it.

// APPLY-LABEL: tile.program @received
// APPLY:       %[[BLOCK:.*]] = tile.program_id 0
// APPLY:       tile.for_warps %[[WARP:.*]] in 2 {
// APPLY:         %[[K:.*]] = arith.muli %[[WARP]], %c320
// APPLY:         %[[SUM:.*]] = tile.receive_sum %arg0[%{{.*}}, %[[K]]] through <ranks = 4, rows = 1> pushed : {{.*}} -> tensor<1x320xbf16>
// APPLY:         %[[OLD:.*]] = tile.load %arg1[%{{.*}}, %[[K]]] : {{.*}} -> tensor<1x320xbf16>
// APPLY:         %[[NEW:.*]] = arith.addf %[[SUM]], %[[OLD]]
// APPLY:         tile.stage %[[NEW]]
// APPLY:         %[[FIRST:.*]] = arith.cmpi eq, %[[BLOCK]], %c0
// APPLY:         scf.if %[[FIRST]] {
// APPLY-NEXT:      tile.store %[[NEW]], %arg2[%{{.*}}, %[[K]]]
// APPLY-NEXT:    }
// APPLY:         scf.for
// APPLY-NOT:       tile.receive_sum
// APPLY-NOT:       tile.store
// APPLY:         tile.warp_reduce

// RING:         tile.fetch %arg3[
// RING:         tile.depend
// RING:         tile.load %arg1[
// RING:         tile.receive_sum

// Nothing of the round is kept in registers until its end.
// CUDA-LABEL: received(bfloat16 *activation0, bfloat16 *activation1, bfloat16 *output2, const bfloat16 *__restrict__ weight3, float *output4, StepSizes sizes, PeerTable *peers)
// CUDA:       bulk_copy(
// CUDA:       depend();
// CUDA:       begin_round<4>(peers);
// CUDA:       clear_previous(round);
// CUDA:       long long offsets[2];
// CUDA:       bool present[2];
// CUDA:       receive_pieces<2>(round, {{.*}});
// CUDA-NEXT:  const bool [[COMPLETE:.*]] = is_complete(round);
// CUDA:       store_vector<8>(
// CUDA:       mbarrier_wait(
// CUDA:       end_round(peers, ({{.*}} * 1040ll) * 4ll);

// Without access to the memory of others, a communicator has summed the rows in place.
// COMMUNICATOR-LABEL: received_epilogue(bfloat16 *activation0, bfloat16 *activation1, bfloat16 *output2, const bfloat16 *__restrict__ weight3, float *output4, StepSizes sizes)
// COMMUNICATOR-NOT:   round
// COMMUNICATOR:       load_vector_or_zero<8>({{.*}}, activation0,
!x = !tile.view<?x520xbf16, activation, tokens>
!h = !tile.view<?x520xbf16, output, tokens>
!w = !tile.view<64x520xbf16, weight>
!y = !tile.view<?x64xf32, output, tokens>
tile.program @received(%x: !x, %r: !x, %h: !h, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0)>
    schedule #tile.stream<blocks = 2, warps = 2, tile_columns = 16, tile_k = 64, stages = 2, tiles = 2, rows = 1, depth = 1,
                          slots = 2, shared_bytes = 65536> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c520 = arith.constant 520 : index
  %col = arith.muli %n, %c16 : index
  %row = arith.muli %m, %c1 : index
  %zero = arith.constant dense<0.0> : tensor<1x16xf32>
  %acc = scf.for %k = %c0 to %c520 step %c64 iter_args(%a = %zero) -> (tensor<1x16xf32>) {
    %sum = tile.receive_sum %x[%row, %k] through <ranks = 4, rows = 1> pushed : !x -> tensor<1x64xbf16>
    %old = tile.load %r[%row, %k] : !x -> tensor<1x64xbf16>
    %new = arith.addf %sum, %old : tensor<1x64xbf16>
    tile.store %new, %h[%row, %k] : tensor<1x64xbf16>, !h
    %wt = tile.load %w[%col, %k] : !w -> tensor<16x64xbf16>
    %d = tile.dot %new, %wt, %a transpose_rhs : tensor<1x64xbf16>, tensor<16x64xbf16>, tensor<1x16xf32>
    scf.yield %d : tensor<1x16xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<1x16xf32>, !y
}
