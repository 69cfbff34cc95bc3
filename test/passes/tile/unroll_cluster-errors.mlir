// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-unroll-cluster))" --split-input-file --verify-diagnostics %s
tile.program @branch_with_a_result(%n: !tile.view<1xi32, meta>, %y: !tile.view<16xf32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.generic<cluster = 2> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0 : i32
  %ones = arith.constant dense<1.0> : tensor<16xf32>
  %number = tile.read %n[%c0] : !tile.view<1xi32, meta> -> i32
  %any = arith.cmpi ne, %number, %zero : i32
  // expected-error @+1 {{has a tile.cluster_reduce or tile.warp_reduce inside, which tile-unroll-cluster takes from the program, tile.for_warps, an scf.for, and an scf.if without results}}
  %sum = scf.if %any -> (tensor<16xf32>) {
    %next = tile.cluster_reduce add %ones : tensor<16xf32>
    scf.yield %next : tensor<16xf32>
  } else {
    scf.yield %ones : tensor<16xf32>
  }
  tile.store %sum, %y[%c0] : tensor<16xf32>, !tile.view<16xf32, output>
}

// -----

tile.program @branch(%y: !tile.view<16xf32, output>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.generic<cluster = 2> {
  %c0 = arith.constant 0 : index
  %ones = arith.constant dense<1.0> : tensor<16xf32>
  %rank = tile.cluster_rank
  %is_first = arith.cmpi eq, %rank, %c0 : index
  // expected-error @+1 {{has a reduction inside and a condition or bounds that depend on the rank; all blocks of a cluster reach a tile.cluster_reduce, all warps a tile.warp_reduce}}
  scf.if %is_first {
    %sum = tile.cluster_reduce add %ones : tensor<16xf32>
    tile.store %sum, %y[%c0] : tensor<16xf32>, !tile.view<16xf32, output>
  }
}

// -----

// expected-error @+1 {{asks for the number of blocks of its cluster; run tile-apply-schedule first}}
tile.program @size() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.generic<cluster = 2> {
  %size = tile.cluster_size
}
