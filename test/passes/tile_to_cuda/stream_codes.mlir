// RUN: inlay-opt --tile-hoist-loads --tile-assign-layouts --convert-tile-to-cuda %s | FileCheck %s
// Codes of quantized weights in the ring of a warp.
!x = !tile.view<?x1024xbf16, activation, tokens>
!y = !tile.view<?x512xf32, output, tokens>
!w = !tile.view<512x1024xi4, weight>
!g = !tile.view<512x8xf32, weight>
!ring = !tile.ring<2 x (tensor<16x256xi4>, tensor<16x2xf32>, tensor<16x2xf32>)>

// 2 slots of 2 KB of codes, then those of two numbers for each of 16 rows, for each warp.
// CHECK-LABEL: cuda.kernel @int4(
// CHECK: %[[RINGS:.*]] = cuda.shared_buffer 20480 align 1024 : <bf16, shared>
// CHECK: %[[RING:.*]] = cuda.offset %[[RINGS]]
// CHECK: %[[S:.*]] = cuda.offset %[[RING]][%c2048]
// CHECK: %[[SCALES:.*]] = cuda.cast %[[S]] : <bf16, shared> -> <f32, shared>
// CHECK: %[[Z:.*]] = cuda.offset %[[RING]][%c2176]
// CHECK: %[[ZEROS:.*]] = cuda.cast %[[Z]] : <bf16, shared> -> <f32, shared>

// One lane announces all bytes, and makes a copy for each tile. The others wait for it before they wait for the slot.
// CHECK: arith.constant 2304 : i32
// CHECK: cuda.call "mbarrier_arrive_expect"
// CHECK: cuda.call "bulk_copy"
// CHECK-NOT: sync_warp
// CHECK: cuda.call "bulk_copy"
// CHECK-NOT: sync_warp
// CHECK: cuda.call "bulk_copy"
// CHECK: cuda.sync_warp
// CHECK: cuda.call "mbarrier_wait"

// Activations are scaled for codes that have no exponent, and summed over each group for the zero points.
// CHECK: cuda.call "scale_columns_u4<32>" from "mma_codes.h"
// CHECK-COUNT-2: cuda.call "mma_ones_u4" from "mma_codes.h"
// A piece of rows g and g + 8 for each group of 128 columns. The sums of a group have its scales.
// CHECK: cuda.load {{.*}} -> vector<4xi32>
// CHECK: cuda.load {{.*}} -> vector<4xi32>
// CHECK: cuda.call "mma_u4" from "mma_codes.h"
// CHECK: arith.subf
// CHECK: cuda.call "mma_u4" from "mma_codes.h"
// CHECK: cuda.barrier
tile.program @int4(%x: !x, %w: !w {tile.packing = "codes_16x128"}, %s: !g {tile.packing = "rows_16"}, %z: !g {tile.packing = "rows_16"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (32)> {
  %n = tile.program_id 0
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %c16 = arith.constant 16 : index
  %c256 = arith.constant 256 : index
  %column = arith.muli %n, %c16 : index
  tile.for_warps %warp in 4 {
    %ring = tile.ring : !ring
    %k = arith.muli %warp, %c256 : index
    %group = arith.muli %warp, %c2 : index
    %slot = tile.acquire %ring first %c0 : !ring
    tile.fetch %w[%column, %k] to %ring[%slot] 0 evict_first : !w, !ring
    tile.fetch %s[%column, %group] to %ring[%slot] 1 evict_first : !g, !ring
    tile.fetch %z[%column, %group] to %ring[%slot] 2 evict_first : !g, !ring
    tile.depend
    %rows = tile.load %x[%c0, %k] : !x -> tensor<1x256xbf16>
    %codes, %scales, %zeros = tile.wait %ring : !ring -> tensor<16x256xi4>, tensor<16x2xf32>, tensor<16x2xf32>
    %numbers = tile.dequantize u4 %codes scales %scales zeros %zeros : tensor<16x2xf32> {group = 128 : i64} : tensor<16x256xi4>, tensor<16x2xf32> -> tensor<16x256xbf16>
    %zero = arith.constant dense<0.0> : tensor<16x1xf32>
    %product = tile.dot %numbers, %rows, %zero transpose_rhs : tensor<16x256xbf16>, tensor<1x256xbf16>, tensor<16x1xf32>
    tile.release %ring : !ring
    %part = tile.transpose %product : tensor<16x1xf32> -> tensor<1x16xf32>
    %sum = tile.warp_reduce add %part : tensor<1x16xf32>
    %own = tensor.extract_slice %sum[0, 0] [1, 16] [1, 1] : tensor<1x16xf32> to tensor<1x16xf32>
    tile.store %own, %y[%c0, %column] : tensor<1x16xf32>, !y
  }
}

// Several rows are loaded in 16 bytes of a lane, of which two neighbours have the 32 of a sector. They exchange halves: a lane
// multiplies 16 neighbouring columns.
// CHECK-LABEL: cuda.kernel @eight_rows(
// CHECK: cuda.call "load_vector_or_zero<8>"
// CHECK: cuda.call "mbarrier_wait"
// CHECK: %[[GIVEN:.*]] = arith.select
// CHECK: %[[TAKEN:.*]] = cuda.call "shuffle_xor" from "warp.h"(%[[GIVEN]]
// CHECK: arith.select %{{.*}}, %[[TAKEN]], %{{.*}} : i32
// CHECK: cuda.call "mma_i8" from "mma_codes.h"
!ring8 = !tile.ring<2 x (tensor<16x128xi8>)>
tile.program @eight_rows(%x: !x, %w: !tile.view<512x1024xi8, weight> {tile.packing = "codes_16x128"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (32)> {
  %n = tile.program_id 0
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %c128 = arith.constant 128 : index
  %column = arith.muli %n, %c16 : index
  tile.for_warps %warp in 4 {
    %ring = tile.ring : !ring8
    %k = arith.muli %warp, %c128 : index
    %slot = tile.acquire %ring first %c0 : !ring8
    tile.fetch %w[%column, %k] to %ring[%slot] 0 evict_first : !tile.view<512x1024xi8, weight>, !ring8
    tile.depend
    %rows = tile.load %x[%c0, %k] : !x -> tensor<8x128xbf16>
    %wide = arith.extf %rows : tensor<8x128xbf16> to tensor<8x128xf32>
    %twice = arith.addf %wide, %wide : tensor<8x128xf32>
    %narrow = arith.truncf %twice : tensor<8x128xf32> to tensor<8x128xbf16>
    %codes = tile.wait %ring : !ring8 -> tensor<16x128xi8>
    %numbers = tile.dequantize i8 %codes : tensor<16x128xi8> -> tensor<16x128xbf16>
    %zero = arith.constant dense<0.0> : tensor<16x8xf32>
    %product = tile.dot %numbers, %narrow, %zero transpose_rhs : tensor<16x128xbf16>, tensor<8x128xbf16>, tensor<16x8xf32>
    tile.release %ring : !ring8
    %part = tile.transpose %product : tensor<16x8xf32> -> tensor<8x16xf32>
    %sum = tile.warp_reduce add %part : tensor<8x16xf32>
    %own = tensor.extract_slice %sum[0, 0] [8, 16] [1, 1] : tensor<8x16xf32> to tensor<8x16xf32>
    tile.store %own, %y[%c0, %column] : tensor<8x16xf32>, !y
  }
}
