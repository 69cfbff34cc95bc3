// RUN: inlay-opt %s --split-input-file --verify-diagnostics

tile.program @no_tile() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{divides 'index'; expected a tile}}
  tile.for_warps %warp in 4 (%own = %c0 : index) {
  }
}

// -----

tile.program @rows() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<20x8xf32>
  // expected-error @+1 {{divides 'tensor<20x8xf32>' among 8 warps; expected a multiple of rows}}
  tile.for_warps %warp in 8 (%own = %t : tensor<20x8xf32>) {
  }
}

// -----

tile.program @rank() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<16xf32>
  // expected-error @+1 {{divides 'tensor<16xf32>' among 8 warps; expected a multiple of rows}}
  tile.for_warps %warp in 8 (%own = %t : tensor<16xf32>) {
  }
}

// -----

tile.program @no_warp() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{'tile.for_warps' op has a body whose arguments are not the number of the warp and a part of each divided tile}}
  "tile.for_warps"() <{count = 4 : i64}> ({
    "tile.yield"() : () -> ()
  }) : () -> ()
}

// -----

tile.program @part() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<64x8xf32>
  // expected-error @+1 {{'tile.for_warps' op divides 'tensor<64x8xf32>' among 4 warps as 'tensor<32x8xf32>'}}
  "tile.for_warps"(%t) <{count = 4 : i64}> ({
  ^bb0(%warp: index, %own: tensor<32x8xf32>):
    "tile.yield"() : () -> ()
  }) : (tensor<64x8xf32>) -> ()
}

// -----

tile.program @nested() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  tile.for_warps %outer in 4 {
    // expected-error @+1 {{'tile.for_warps' op stands in another; a warp has no warps}}
    tile.for_warps %inner in 2 {
    }
  }
}

// -----

tile.program @no_warps() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{attribute 'count' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  tile.for_warps %warp in 0 {
  }
}

// -----

// expected-error @+1 {{a ring has 0 stages; expected 1 or more}}
tile.program @stages(%x: !tile.ring<0 x (tensor<64x64xbf16>)>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
}

// -----

// expected-error @+1 {{a ring holds tiles of rank 2, found 'tensor<64xbf16>'}}
tile.program @vectors(%x: !tile.ring<4 x (tensor<64xbf16>)>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
}

// -----

// expected-error @+1 {{a ring holds tiles of rank 2, found 'f32'}}
tile.program @scalars(%x: !tile.ring<4 x (f32)>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
}

// -----

// expected-error @+1 {{a ring holds tiles of rank 2, found 'tensor<?x64xbf16>'}}
tile.program @dynamic(%x: !tile.ring<4 x (tensor<?x64xbf16>)>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
}

// -----

tile.program @tile(%w: !tile.view<64x64xbf16, weight>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %ring = tile.ring : !tile.ring<4 x (tensor<64x64xbf16>)>
  // expected-error @+1 {{'tile.fetch' op fills tile 1 of a slot with 1}}
  tile.fetch %w[%c0, %c0] to %ring[%c0] 1 : !tile.view<64x64xbf16, weight>, !tile.ring<4 x (tensor<64x64xbf16>)>
}

// -----

tile.program @offsets(%w: !tile.view<64x64xbf16, weight>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %ring = tile.ring : !tile.ring<4 x (tensor<64x64xbf16>)>
  // expected-error @+1 {{'tile.fetch' op has 1 offsets for a view of rank 2; expected 2 of both}}
  tile.fetch %w[%c0] to %ring[%c0] 0 : !tile.view<64x64xbf16, weight>, !tile.ring<4 x (tensor<64x64xbf16>)>
}

// -----

tile.program @element(%w: !tile.view<64x64xf16, weight>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %ring = tile.ring : !tile.ring<4 x (tensor<64x64xbf16>)>
  // expected-error @+1 {{'tile.fetch' op has a tile of 'bf16' for a view of 'f16'}}
  tile.fetch %w[%c0, %c0] to %ring[%c0] 0 : !tile.view<64x64xf16, weight>, !tile.ring<4 x (tensor<64x64xbf16>)>
}

// -----

tile.program @waited() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %ring = tile.ring : !tile.ring<4 x (tensor<64x64xbf16>)>
  // expected-error @+1 {{'tile.wait' op gives 'tensor<32x64xbf16>' of a ring of '!tile.ring<4 x(tensor<64x64xbf16>)>'}}
  %t = tile.wait %ring : !tile.ring<4 x (tensor<64x64xbf16>)> -> tensor<32x64xbf16>
}

// -----

tile.program @pending() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<64x8xf32>
  // expected-error @+1 {{attribute 'pending' failed to satisfy constraint: 64-bit signless integer attribute whose value is non-negative}}
  %w = tile.dot_wait %t pending -1 : tensor<64x8xf32>
}

// -----

tile.program @no_end() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{'tile.warp_roles' op has a region that does not end with tile.yield}}
  tile.warp_roles produce 1 {
    tile.depend
  } consume 4 {
    tile.yield
  }
}

// -----

tile.program @produced() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<64x8xf32>
  // expected-error @+1 {{'tile.warp_roles' op has producers that yield tiles; only consumers do}}
  tile.warp_roles produce 1 {
    tile.yield %t : tensor<64x8xf32>
  } consume 4 {
    tile.yield
  }
}

// -----

tile.program @results() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{'tile.warp_roles' op yields  as 'tensor<64x8xf32>'}}
  %r = tile.warp_roles produce 1 {
    tile.yield
  } consume 4 {
    tile.yield
  } -> tensor<64x8xf32>
}

// -----

tile.program @not_staged() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<64x8xf32>
  // expected-error @+1 {{'tile.warp_roles' op yields a tile that is not staged, which other warps cannot read}}
  %r = tile.warp_roles produce 1 {
    tile.yield
  } consume 4 {
    tile.yield %t : tensor<64x8xf32>
  } -> tensor<64x8xf32>
}

// -----

tile.program @product() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %x = arith.constant dense<0.0> : tensor<64x64xbf16>
  %sums = arith.constant dense<0.0> : tensor<64x32xf32>
  // expected-error @+1 {{'tile.dot_async' op has shapes that do not fit: 'tensor<64x64xbf16>', 'tensor<64x64xbf16>'^T into 'tensor<64x32xf32>'}}
  %r = tile.dot_async %x, %x, %sums : tensor<64x64xbf16>, tensor<64x64xbf16>, tensor<64x32xf32>
}

// -----

!kv = !tile.view<?x64xbf16, kv, kv_rows>
!ring = !tile.ring<2 x (tensor<64x64xbf16>)>
tile.program @fetched_tile(%kv: !kv) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %at = arith.constant dense<0> : tensor<64xi32>
  %c0 = arith.constant 0 : index
  %ring = tile.ring : !ring
  // expected-error @+1 {{'tile.fetch_rows' op fills tile 1 of a slot with 1}}
  tile.fetch_rows %kv[%at] run 16 to %ring[%c0] 1 : !kv, tensor<64xi32>, !ring
}

// -----

!kv = !tile.view<?x128xbf16, kv, kv_rows>
!ring = !tile.ring<2 x (tensor<64x64xbf16>)>
tile.program @fetched_columns(%kv: !kv) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %at = arith.constant dense<0> : tensor<64xi32>
  %c0 = arith.constant 0 : index
  %ring = tile.ring : !ring
  // expected-error @+1 {{'tile.fetch_rows' op brings rows of '!tile.view<?x128xbf16, kv, kv_rows>' to 'tensor<64x64xbf16>'; expected the same rows}}
  tile.fetch_rows %kv[%at] run 16 to %ring[%c0] 0 : !kv, tensor<64xi32>, !ring
}

// -----

!kv = !tile.view<?x64xbf16, kv, kv_rows>
!ring = !tile.ring<2 x (tensor<64x64xf8E4M3FN>)>
tile.program @fetched_narrower(%kv: !kv) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %at = arith.constant dense<0> : tensor<64xi32>
  %c0 = arith.constant 0 : index
  %ring = tile.ring : !ring
  // expected-error @+1 {{'tile.fetch_rows' op brings rows of '!tile.view<?x64xbf16, kv, kv_rows>' to 'tensor<64x64xf8E4M3FN>'; expected the same rows}}
  tile.fetch_rows %kv[%at] run 16 to %ring[%c0] 0 : !kv, tensor<64xi32>, !ring
}

// -----

!kv = !tile.view<?x64xbf16, kv, kv_rows>
!ring = !tile.ring<2 x (tensor<64x64xbf16>)>
tile.program @fetched_indices(%kv: !kv) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %at = arith.constant dense<0> : tensor<32xi32>
  %c0 = arith.constant 0 : index
  %ring = tile.ring : !ring
  // expected-error @+1 {{'tile.fetch_rows' op has 'tensor<32xi32>' for the rows of 'tensor<64x64xbf16>'; expected one index for each}}
  tile.fetch_rows %kv[%at] run 16 to %ring[%c0] 0 : !kv, tensor<32xi32>, !ring
}

// -----

!kv = !tile.view<?x64xbf16, kv, kv_rows>
!ring = !tile.ring<2 x (tensor<64x64xbf16>)>
tile.program @fetched_runs(%kv: !kv) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %at = arith.constant dense<0> : tensor<64xi32>
  %c0 = arith.constant 0 : index
  %ring = tile.ring : !ring
  // expected-error @+1 {{'tile.fetch_rows' op brings 'tensor<64x64xbf16>' in runs of 24 rows; expected a divisor of its rows}}
  tile.fetch_rows %kv[%at] run 24 to %ring[%c0] 0 : !kv, tensor<64xi32>, !ring
}

// -----

tile.program @cleared() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<64x64xbf16>
  %held = arith.constant dense<true> : tensor<32xi1>
  // expected-error @+1 {{'tile.clear_rows' op has 'tensor<32xi1>' for the rows of 'tensor<64x64xbf16>'; expected one i1 for each}}
  %c = tile.clear_rows %t where %held run 16 : tensor<64x64xbf16>, tensor<32xi1>
}

// -----

tile.program @by_columns() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<64x32xbf16>
  %sums = arith.constant dense<0.0> : tensor<64x64xf32>
  // expected-error @+1 {{'tile.dot_async' op has shapes that do not fit: 'tensor<64x32xbf16>', 'tensor<64x32xbf16>' into 'tensor<64x64xf32>'}}
  %r = tile.dot_async %t, %t, %sums columns : tensor<64x32xbf16>, tensor<64x32xbf16>, tensor<64x64xf32>
}

// -----

tile.program @waits_for_nothing() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{'tile.dot_wait' op waits for no sums; expected one or more}}
  "tile.dot_wait"() <{pending = 0 : i64}> : () -> ()
}

// -----

tile.program @turn_of_nobody() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{'tile.in_turn' op stands outside of the consumers of a tile.warp_roles, which take turns}}
  tile.in_turn {
    tile.yield
  }
}

// -----

tile.program @turn_in_turn() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  tile.warp_roles produce 1 {
    tile.yield
  } consume 8 {
    tile.in_turn {
      // expected-error @+1 {{'tile.in_turn' op stands in another; a warpgroup has one turn at a time}}
      tile.in_turn {
        tile.yield
      }
      tile.yield
    }
    tile.yield
  }
}

// -----

tile.program @turn_without_end() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<64x8xf32>
  tile.warp_roles produce 1 {
    tile.yield
  } consume 8 {
    // expected-error @+1 {{'tile.in_turn' op yields 'tensor<64x8xf32>' as }}
    tile.in_turn {
      tile.yield %t : tensor<64x8xf32>
    }
    tile.yield
  }
}

// -----

tile.program @all_of_numbers() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0> : tensor<64xi32>
  // expected-error @+1 {{'tile.if_all' op has a condition of 'tensor<64xi32>'; expected i1 for each row or element}}
  tile.if_all %t : tensor<64xi32> {
    tile.yield
  } else {
    tile.yield
  }
}

// -----

tile.program @sides_differ() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %held = arith.constant dense<true> : tensor<64xi1>
  %t = arith.constant dense<0.0> : tensor<64x8xf32>
  // expected-error @+1 {{'tile.if_all' op yields  as 'tensor<64x8xf32>'}}
  %r = tile.if_all %held : tensor<64xi1> {
    tile.yield %t : tensor<64x8xf32>
  } else {
    tile.yield
  } -> tensor<64x8xf32>
}

// -----

tile.program @registers() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{'tile.warp_roles' op gives 65536 registers to its threads, of which a launch has 64512; expected fewer registers of producers or consumers}}
  tile.warp_roles produce 4 registers 32 {
    tile.yield
  } consume 8 registers 240 {
    tile.yield
  }
}

// -----

tile.program @sum_of_a_block() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<8xf32>
  // expected-error @+1 {{'tile.warp_reduce' op stands in no tile.for_warps; its warps are what it combines over}}
  %sum = tile.warp_reduce add %t : tensor<8xf32>
}

// -----

#part = #tile.layout<lane = [[1], [2], [4], [0], [0]]>
tile.program @sum_in_registers() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  tile.for_warps %warp in 4 {
    %t = arith.constant dense<0.0> : tensor<8xf32, #part>
    // expected-error @+1 {{'tile.warp_reduce' op keeps 'tensor<8xf32, #tile.layout<lane = [[1], [2], [4], [0], [0]]>>' as 'tensor<8xf32, #tile.layout<lane = [[1], [2], [4], [0], [0]]>>'; expected a #tile.layout and a #tile.shared, or neither}}
    %sum = tile.warp_reduce add %t : tensor<8xf32, #part>
  }
}

// -----

tile.program @sum_of_another() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  tile.for_warps %warp in 4 {
    %t = arith.constant dense<0.0> : tensor<8xf32>
    // expected-error @+1 {{'tile.warp_reduce' op keeps 'tensor<8xf32>' as 'tensor<4xf32>'}}
    %sum = tile.warp_reduce add %t : tensor<8xf32> -> tensor<4xf32>
  }
}

// -----

tile.program @no_sums() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  tile.for_warps %warp in 4 {
    // expected-error @+1 {{'tile.warp_reduce' op combines 0 tiles to 0; expected one or more, and as many results}}
    "tile.warp_reduce"() <{kind = #tile<reduction add>}> : () -> ()
  }
}

// -----

tile.program @no_softmax() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<4xf32>
  // expected-error @+1 {{'tile.cluster_merge' op merges 'tensor<4xf32>', 'tensor<4xf32>'; expected the maxima and the sums of rows, and a row of sums for each, in f32}}
  %all:2 = tile.cluster_merge %t, %t : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
}

// -----

tile.program @other_rows() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<4xf32>
  %o = arith.constant dense<0.0> : tensor<8x64xf32>
  // expected-error @+1 {{'tile.cluster_merge' op merges 'tensor<4xf32>', 'tensor<4xf32>', 'tensor<8x64xf32>'; expected the maxima}}
  %all:3 = tile.cluster_merge %t, %t, %o : (tensor<4xf32>, tensor<4xf32>, tensor<8x64xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<8x64xf32>)
}

// -----

tile.program @other_results() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<4xf32>
  %o = arith.constant dense<0.0> : tensor<4x64xf32>
  // expected-error @+1 {{'tile.cluster_merge' op merges 'tensor<4xf32>', 'tensor<4xf32>', 'tensor<4x64xf32>' to 'tensor<4xf32>', 'tensor<4xf32>', 'tensor<4x32xf32>'}}
  %all:3 = tile.cluster_merge %t, %t, %o : (tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4x32xf32>)
}

// -----

tile.program @yields_less() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{'tile.for_warps' op yields 'tensor<4xf32>' as 'tensor<4xf32>', 'tensor<4xf32>', 'tensor<4x64xf32>'}}
  %parts:3 = tile.for_warps %warp in 8 {
    %top = arith.constant dense<0.0> : tensor<4xf32>
    tile.yield %top : tensor<4xf32>
  } merge -> (tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>)
}

// -----

tile.program @divides_and_merges() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %t = arith.constant dense<0.0> : tensor<32x64xf32>
  // expected-error @+1 {{'tile.for_warps' op divides tiles and merges results; expected one of both}}
  %parts:3 = tile.for_warps %warp in 8 (%own = %t : tensor<32x64xf32>) {
    %top = arith.constant dense<0.0> : tensor<4xf32>
    tile.yield %top, %top, %own : tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>
  } merge -> (tensor<4xf32>, tensor<4xf32>, tensor<4x64xf32>)
}

// -----

tile.program @no_loop() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{'tile.unwritten' op does not stand before an scf.for, whose iterations it speaks of}}
  tile.unwritten %c0
}
