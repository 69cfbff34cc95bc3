// RUN: inlay-opt %s --tile-apply-schedule --cse | FileCheck %s --check-prefix=APPLY
// RUN: inlay-opt %s --tile-schedule | FileCheck %s --check-prefix=RING
// A layer whose weights are streamed: each block owns tiles of weight rows, its warps share K.

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<64x256xbf16, weight>
!y = !tile.view<?x64xbf16, state, tokens>

// One row. 4 tiles of 16 weight rows in 2 blocks, each in one pass; a warp has 2 steps along K.
// APPLY-LABEL: tile.program @one_row
// APPLY-SAME:  grid #map schedule #tile.stream<blocks = 2
// APPLY:       tile.for_warps %[[WARP:.*]] in 2 {
// APPLY:         %[[K:.*]] = arith.muli %[[WARP]], %c128
// What the epilogue adds to comes before the row and the products.
// APPLY:         %[[OLD:.*]] = tile.load %arg2[
// APPLY:         %[[ROW:.*]] = tile.load %arg0[%{{.*}}, %[[K]]] : {{.*}} -> tensor<1x128xbf16>
// APPLY:         %[[STAGED:.*]] = tile.stage %[[ROW]]
// APPLY:         %[[SUMS:.*]]:2 = scf.for %{{.*}} = %c0 to %c2 step %c1
// APPLY:           %[[PART:.*]] = tensor.extract_slice %[[STAGED]]
// APPLY:           %[[W:.*]] = tile.load %arg1{{.*}} -> tensor<16x64xbf16>
// APPLY:           tile.dot %[[W]], %[[PART]], %{{.*}} transpose_rhs : tensor<16x64xbf16>, tensor<1x64xbf16>, tensor<16x1xf32>
// APPLY:         %[[T0:.*]] = tile.transpose %[[SUMS]]#0
// APPLY:         %[[T1:.*]] = tile.transpose %[[SUMS]]#1
// APPLY:         %[[BOTH:.*]] = tensor.concat dim(1) %[[T0]], %[[T1]] : (tensor<1x16xf32>, tensor<1x16xf32>) -> tensor<1x32xf32>
// APPLY:         %[[SUM:.*]] = tile.warp_reduce {{ *}}add %[[BOTH]] : tensor<1x32xf32>
// APPLY:         scf.if
// APPLY:           tensor.extract_slice %[[SUM]]{{.*}} to tensor<1x16xf32>
// APPLY:           tile.store {{.*}}, %arg2

// A ring of each warp: two slots are filled before the wait, and the use that releases a slot fetches for the second one
// after it.
// RING-LABEL: tile.program @one_row
// RING:       tile.for_warps
// RING:         %[[RING:.*]] = tile.ring : <2 x(tensor<16x64xbf16, #[[SLOT:.*]]>)>
// RING:         tile.acquire %[[RING]] first %c0
// RING:         tile.fetch %arg1[
// RING-SAME:      evict_first
// RING:         tile.acquire %[[RING]] first %c1
// RING:         tile.fetch %arg1[
// RING:         tile.depend
// RING:         scf.for %[[STEP:.*]] = %c0 to %c2 step %c1
// RING:           %[[TILE:.*]] = tile.wait %[[RING]]
// RING:           tile.dot %[[TILE]]
// RING:           tile.release %[[RING]]
// RING:           %[[NEXT:.*]] = arith.addi %[[STEP]], %c1
// RING:           %[[MORE:.*]] = arith.cmpi slt, %[[NEXT]], %c2
// RING:           scf.if %[[MORE]] {
// RING:             tile.acquire %[[RING]] :
// RING:             tile.fetch %arg1[
// RING:           }
// RING:           tile.wait %[[RING]]
// RING:         tile.warp_reduce {{ *}}add
tile.program @one_row(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0)>
    schedule #tile.stream<blocks = 2, warps = 2, tile_columns = 16, tile_k = 64, stages = 2, tiles = 2, rows = 1, depth = 1,
                          slots = 2, shared_bytes = 65536> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %col = arith.muli %n, %c16 : index
  %row = arith.muli %m, %c1 : index
  %zero = arith.constant dense<0.0> : tensor<1x16xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<1x16xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<1x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<1x64xbf16>, tensor<16x64xbf16>, tensor<1x16xf32>
    scf.yield %d : tensor<1x16xf32>
  }
  %rt = tile.load %y[%row, %col] : !y -> tensor<1x16xbf16>
  %rf = arith.extf %rt : tensor<1x16xbf16> to tensor<1x16xf32>
  %o = arith.addf %acc, %rf : tensor<1x16xf32>
  %ob = arith.truncf %o : tensor<1x16xf32> to tensor<1x16xbf16>
  tile.store %ob, %y[%row, %col] : tensor<1x16xbf16>, !y
}

// Several rows, which are loaded one step ahead. 4 tiles of 8 weight rows a block are two passes: in the last step of a
// pass the rows of the first one are loaded again, for the next pass.
// APPLY-LABEL: tile.program @eight_rows
// APPLY:       tile.for_warps
// APPLY:         %[[FIRST:.*]] = tile.load %arg0{{.*}} -> tensor<8x64xbf16>
// APPLY:         scf.for %{{.*}} = %{{.*}} to %{{.*}} step %c2 iter_args(%[[ROWS:.*]] = %[[FIRST]])
// APPLY:           %[[SUMS:.*]]:3 = scf.for %[[STEP:.*]] = {{.*}} iter_args(%{{.*}}, %{{.*}}, %[[NOW:.*]] = %[[ROWS]])
// APPLY:             %[[LATER:.*]] = arith.addi %[[STEP]], %c1
// APPLY:             arith.remui %[[LATER]], %c2
// APPLY:             %[[AHEAD:.*]] = tile.load %arg0{{.*}} -> tensor<8x64xbf16>
// APPLY:             tile.dot %[[NOW]]
// APPLY:             tile.dot %[[NOW]]
// APPLY:             scf.yield %{{.*}}, %{{.*}}, %[[AHEAD]]
// APPLY:           tile.warp_reduce {{ *}}add %{{.*}} : tensor<8x16xf32>
// APPLY:           scf.yield %[[SUMS]]#2

// The second pass is fetched while the first one ends.
// RING-LABEL: tile.program @eight_rows
// RING:         tile.depend
// RING:         scf.for %[[PASS:.*]] = %{{.*}} to %[[END:.*]] step %c2
// RING:           tile.release
// RING:           arith.divui
// RING:           %[[MORE:.*]] = arith.cmpi slt, %{{.*}}, %[[END]]
// RING:           scf.if %[[MORE]]
// RING:             tile.fetch
tile.program @eight_rows(%x: !x, %w: !w {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0 ceildiv 8)>
    schedule #tile.stream<blocks = 2, warps = 2, tile_columns = 8, tile_k = 64, stages = 2, tiles = 2, rows = 8, depth = 1,
                          slots = 2, shared_bytes = 65536> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %col = arith.muli %n, %c16 : index
  %row = arith.muli %m, %c8 : index
  %zero = arith.constant dense<0.0> : tensor<8x16xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<8x16xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<8x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<16x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<8x64xbf16>, tensor<16x64xbf16>, tensor<8x16xf32>
    scf.yield %d : tensor<8x16xf32>
  }
  %ob = arith.truncf %acc : tensor<8x16xf32> to tensor<8x16xbf16>
  tile.store %ob, %y[%row, %col] : tensor<8x16xbf16>, !y
}

// What the rows need of a mean comes first: each warp sums its part of the row, without what lies past the end of K.
// APPLY-LABEL: tile.program @mean
// APPLY:       tile.for_warps %[[WARP:.*]] in 2 {
// APPLY:         %[[FIRST:.*]] = arith.muli %[[WARP]], %c128
// APPLY:         %[[PART:.*]] = tile.load %arg0[%{{.*}}, %[[FIRST]]] : {{.*}} -> tensor<1x128xbf16>
// APPLY:         %[[WIDE:.*]] = arith.extf %[[PART]]
// APPLY:         %[[NUMBER:.*]] = tile.iota axis 1 : tensor<1x128xi32>
// APPLY:         %[[INSIDE:.*]] = arith.cmpi slt
// APPLY:         %[[KEPT:.*]] = arith.select %[[INSIDE]], %[[WIDE]]
// APPLY:         %[[OWN:.*]] = tile.reduce {{ *}}add %[[KEPT]] axis 1 : tensor<1x128xf32> -> tensor<1xf32>
// APPLY:         %[[SUM:.*]] = tile.warp_reduce {{ *}}add %[[OWN]] : tensor<1xf32>
// APPLY:         %[[MEAN:.*]] = arith.mulf %[[SUM]]
// APPLY:         %[[MEANS:.*]] = tile.broadcast %[[MEAN]] axis 1 : tensor<1xf32> -> tensor<1x128xf32>
// APPLY:         arith.subf %{{.*}}, %[[MEANS]] : tensor<1x128xf32>
// APPLY:         tile.stage
// APPLY:         scf.for
tile.program @mean(%x: !tile.view<?x192xbf16, activation, tokens>, %w: !tile.view<64x192xbf16, weight> {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0)>
    schedule #tile.stream<blocks = 2, warps = 2, tile_columns = 16, tile_k = 64, stages = 2, tiles = 2, rows = 1, depth = 1,
                          slots = 2, shared_bytes = 65536> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c192 = arith.constant 192 : index
  %col = arith.muli %n, %c16 : index
  %row = arith.muli %m, %c1 : index
  %zero = arith.constant dense<0.0> : tensor<1x16xf32>
  %none = arith.constant dense<0.0> : tensor<1xf32>
  %sum = scf.for %k = %c0 to %c192 step %c64 iter_args(%s = %none) -> (tensor<1xf32>) {
    %xt = tile.load %x[%row, %k] : !tile.view<?x192xbf16, activation, tokens> -> tensor<1x64xbf16>
    %xf = arith.extf %xt : tensor<1x64xbf16> to tensor<1x64xf32>
    %part = tile.reduce add %xf axis 1 : tensor<1x64xf32> -> tensor<1xf32>
    %next = arith.addf %s, %part : tensor<1xf32>
    scf.yield %next : tensor<1xf32>
  }
  %share = arith.constant dense<0.00520833> : tensor<1xf32>
  %mean = arith.mulf %sum, %share : tensor<1xf32>
  %acc = scf.for %k = %c0 to %c192 step %c64 iter_args(%a = %zero) -> (tensor<1x16xf32>) {
    %xt = tile.load %x[%row, %k] : !tile.view<?x192xbf16, activation, tokens> -> tensor<1x64xbf16>
    %xf = arith.extf %xt : tensor<1x64xbf16> to tensor<1x64xf32>
    %means = tile.broadcast %mean axis 1 : tensor<1xf32> -> tensor<1x64xf32>
    %left = arith.subf %xf, %means : tensor<1x64xf32>
    %xb = arith.truncf %left : tensor<1x64xf32> to tensor<1x64xbf16>
    %wt = tile.load %w[%col, %k] : !tile.view<64x192xbf16, weight> -> tensor<16x64xbf16>
    %d = tile.dot %xb, %wt, %a transpose_rhs : tensor<1x64xbf16>, tensor<16x64xbf16>, tensor<1x16xf32>
    scf.yield %d : tensor<1x16xf32>
  }
  %ob = arith.truncf %acc : tensor<1x16xf32> to tensor<1x16xbf16>
  tile.store %ob, %y[%row, %col] : tensor<1x16xbf16>, !y
}

// Of several rows a warp takes its part, 9 steps of 64 columns, in two turns. The second ends where that of the next warp
// begins. The loop of the product loads the rows again.
// APPLY-LABEL: tile.program @means
// APPLY:       tile.for_warps %[[WARP:.*]] in 2 {
// APPLY:         %[[FIRST:.*]] = arith.muli %[[WARP]], %c576
// APPLY:         %[[PARTS:.*]] = scf.for %[[TURN:.*]] = %c0 to %c2 step %c1 iter_args(%[[OLD:.*]] = %{{.*}}) -> (tensor<8xf32>) {
// APPLY:           %[[OFFSET:.*]] = arith.muli %[[TURN]], %c320
// APPLY:           %[[AT:.*]] = arith.addi %[[FIRST]], %[[OFFSET]]
// APPLY:           %[[PART:.*]] = tile.load %arg0[%{{.*}}, %[[AT]]] : {{.*}} -> tensor<8x320xbf16>
// APPLY:           %[[WIDE:.*]] = arith.extf %[[PART]]
// APPLY:           %[[PAST:.*]] = arith.addi %[[FIRST]], %c576
// APPLY:           arith.minsi %[[PAST]], %c1088
// APPLY:           %[[KEPT:.*]] = arith.select %{{.*}}, %[[WIDE]]
// APPLY:           %[[OWN:.*]] = tile.reduce {{ *}}add %[[KEPT]] axis 1 : tensor<8x320xf32> -> tensor<8xf32>
// APPLY:           %[[NEW:.*]] = arith.addf %[[OLD]], %[[OWN]]
// APPLY:           scf.yield %[[NEW]]
// APPLY:         %[[SUM:.*]] = tile.warp_reduce {{ *}}add %[[PARTS]] : tensor<8xf32>
// APPLY:         %[[MEAN:.*]] = arith.mulf %[[SUM]]
// APPLY:         scf.for
// APPLY:           %[[MEANS:.*]] = tile.broadcast %[[MEAN]] axis 1 : tensor<8xf32> -> tensor<8x64xf32>
// APPLY:           arith.subf %{{.*}}, %[[MEANS]] : tensor<8x64xf32>
// APPLY:           tile.load %arg0[%{{.*}}, %{{.*}}] : {{.*}} -> tensor<8x64xbf16>
tile.program @means(%x: !tile.view<?x1088xbf16, activation, tokens>, %w: !tile.view<64x1088xbf16, weight> {tile.packing = "atom_8x64"}, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0 ceildiv 8)>
    schedule #tile.stream<blocks = 2, warps = 2, tile_columns = 16, tile_k = 64, stages = 2, tiles = 2, rows = 8, depth = 1,
                          slots = 2, shared_bytes = 65536> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %c1088 = arith.constant 1088 : index
  %col = arith.muli %n, %c16 : index
  %row = arith.muli %m, %c8 : index
  %zero = arith.constant dense<0.0> : tensor<8x16xf32>
  %none = arith.constant dense<0.0> : tensor<8xf32>
  %sum = scf.for %k = %c0 to %c1088 step %c64 iter_args(%s = %none) -> (tensor<8xf32>) {
    %xt = tile.load %x[%row, %k] : !tile.view<?x1088xbf16, activation, tokens> -> tensor<8x64xbf16>
    %xf = arith.extf %xt : tensor<8x64xbf16> to tensor<8x64xf32>
    %part = tile.reduce add %xf axis 1 : tensor<8x64xf32> -> tensor<8xf32>
    %next = arith.addf %s, %part : tensor<8xf32>
    scf.yield %next : tensor<8xf32>
  }
  %share = arith.constant dense<0.00520833> : tensor<8xf32>
  %mean = arith.mulf %sum, %share : tensor<8xf32>
  %acc = scf.for %k = %c0 to %c1088 step %c64 iter_args(%a = %zero) -> (tensor<8x16xf32>) {
    %xt = tile.load %x[%row, %k] : !tile.view<?x1088xbf16, activation, tokens> -> tensor<8x64xbf16>
    %xf = arith.extf %xt : tensor<8x64xbf16> to tensor<8x64xf32>
    %means = tile.broadcast %mean axis 1 : tensor<8xf32> -> tensor<8x64xf32>
    %left = arith.subf %xf, %means : tensor<8x64xf32>
    %xb = arith.truncf %left : tensor<8x64xf32> to tensor<8x64xbf16>
    %wt = tile.load %w[%col, %k] : !tile.view<64x1088xbf16, weight> -> tensor<16x64xbf16>
    %d = tile.dot %xb, %wt, %a transpose_rhs : tensor<8x64xbf16>, tensor<16x64xbf16>, tensor<8x16xf32>
    scf.yield %d : tensor<8x16xf32>
  }
  %ob = arith.truncf %acc : tensor<8x16xf32> to tensor<8x16xbf16>
  tile.store %ob, %y[%row, %col] : tensor<8x16xbf16>, !y
}
