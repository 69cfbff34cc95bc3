// RUN: inlay-translate --tile-to-cuda %s | FileCheck %s
// A warp holds a row, 8 adjacent elements per thread, and adds it up with shuffles. Weights are read before the wait
// for earlier launches, the state after it. If several warps hold the same row, one of them stores it.
!x = !tile.view<?x256xbf16, state, tokens>
!g = !tile.view<256xbf16, weight>

// CHECK-LABEL: scale(bfloat16 *state0, const bfloat16 *__restrict__ weight1, StepSizes sizes)
// CHECK: launch_dependents();
// CHECK: load_vector<8>({{.*}}weight1 +
// CHECK: depend();
// CHECK: load_vector<8>(
// CHECK-SAME: block_x < sizes.v[0]
// CHECK: shuffle_xor({{.*}}, 16)
// CHECK: __syncthreads();
// CHECK: store_vector<8>({{.*}}(warp & 3) == 0
tile.program @scale(%x: !x, %g: !g) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)> {
  %row = tile.program_id 0
  %c0 = arith.constant 0 : index
  %xt = tile.load %x[%row, %c0] : !x -> tensor<1x256xbf16>
  %xf = arith.extf %xt : tensor<1x256xbf16> to tensor<1x256xf32>
  %s = tile.reduce add %xf axis 1 : tensor<1x256xf32> -> tensor<1xf32>
  %sb = tile.broadcast %s axis 1 : tensor<1xf32> -> tensor<1x256xf32>
  %gt = tile.load %g[%c0] : !g -> tensor<256xbf16>
  %gf = arith.extf %gt : tensor<256xbf16> to tensor<256xf32>
  %gb = tile.broadcast %gf axis 0 : tensor<256xf32> -> tensor<1x256xf32>
  %p = arith.mulf %xf, %sb : tensor<1x256xf32>
  %q = arith.mulf %p, %gb : tensor<1x256xf32>
  %y = arith.truncf %q : tensor<1x256xf32> to tensor<1x256xbf16>
  tile.store %y, %x[%row, %c0] : tensor<1x256xbf16>, !x
}
