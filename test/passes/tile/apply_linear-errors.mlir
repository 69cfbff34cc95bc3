// RUN: inlay-opt --tile-apply-schedule %s --split-input-file --verify-diagnostics
// Programs that the schedules of linear layers do not take.

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x512xbf16, output, tokens>
// expected-error @+1 {{has no tile.dot; the families matvec and gemm lower linear layers}}
tile.program @no_product(%x: !x) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x512xbf16, output, tokens>
tile.program @changed(%x: !x, %w: !w, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 32)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 32 : index
  %columns = arith.constant 64 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %columns : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<32x64xf32>) {
    // expected-error @+1 {{brings rows that are gathered or changed before the product; the family swap_ab takes them as they are in memory}}
    %xt = tile.load %x[%row, %k] : !x -> tensor<32x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %twice = arith.addf %xt, %xt : tensor<32x64xbf16>
    %d = tile.dot %twice, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<64x64xbf16>, tensor<32x64xf32>
    scf.yield %d : tensor<32x64xf32>
  }
  %out = arith.truncf %acc : tensor<32x64xf32> to tensor<32x64xbf16>
  tile.store %out, %y[%row, %col] : tensor<32x64xbf16>, !y
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x512xbf16, output, tokens>
tile.program @gathered(%x: !x, %w: !w, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 32)> schedule #tile.gemm<blocks = 4, tile_rows = 64, tile_columns = 128, tile_k = 64, stages = 4, consumers = 1, producer_registers = 40, consumer_registers = 232> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 32 : index
  %columns = arith.constant 64 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %columns : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<32x64xf32>) {
    %at = tile.iota axis 0 : tensor<32xi32>
    // expected-error @+1 {{brings rows that are gathered or changed before the product; the family gemm takes them as they are in memory}}
    %xt = tile.gather %x[%at, %k] : !x, tensor<32xi32> -> tensor<32x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<64x64xbf16>, tensor<32x64xf32>
    scf.yield %d : tensor<32x64xf32>
  }
  %out = arith.truncf %acc : tensor<32x64xf32> to tensor<32x64xbf16>
  tile.store %out, %y[%row, %col] : tensor<32x64xbf16>, !y
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x512xbf16, output, tokens>
// expected-error @+1 {{splits 4 steps of k over 3 blocks; expected each to have one}}
tile.program @split(%x: !x, %w: !w, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 32)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 3, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 32 : index
  %columns = arith.constant 64 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %columns : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<32x64xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<32x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<64x64xbf16>, tensor<32x64xf32>
    scf.yield %d : tensor<32x64xf32>
  }
  %out = arith.truncf %acc : tensor<32x64xf32> to tensor<32x64xbf16>
  tile.store %out, %y[%row, %col] : tensor<32x64xbf16>, !y
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x512xbf16, output, tokens>
tile.program @columns(%x: !x, %w: !w, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 32)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 32 : index
  %columns = arith.constant 64 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %columns : index
  // expected-error @+1 {{uses the block's index for something else than the first of 64 columns; the program cannot be divided into other tiles}}
  %other = arith.addi %n, %columns : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<32x64xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<32x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<64x64xbf16>, tensor<32x64xf32>
    scf.yield %d : tensor<32x64xf32>
  }
  %out = arith.truncf %acc : tensor<32x64xf32> to tensor<32x64xbf16>
  tile.store %out, %y[%row, %other] : tensor<32x64xbf16>, !y
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!y = !tile.view<?x512xbf16, output, tokens>
tile.program @rows(%x: !x, %w: !w, %y: !y)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 32)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 32 : index
  %columns = arith.constant 64 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %columns : index
  %three = arith.constant 3 : index
  // expected-error @+1 {{uses the block's index for something else than the first of 32 rows; the program cannot be divided into other tiles}}
  %other = arith.muli %m, %three : index
  %zero = arith.constant dense<0.0> : tensor<32x64xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<32x64xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<32x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<64x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<64x64xbf16>, tensor<32x64xf32>
    scf.yield %d : tensor<32x64xf32>
  }
  %out = arith.truncf %acc : tensor<32x64xf32> to tensor<32x64xbf16>
  tile.store %out, %y[%other, %col] : tensor<32x64xbf16>, !y
}

// -----

!x = !tile.view<?x256xbf16, activation, tokens>
!w = !tile.view<512x256xbf16, weight>
!s = !tile.view<?x4xf32, output, tokens>
tile.program @reduced(%x: !x, %w: !w, %s: !s)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (4, s0 ceildiv 32)> schedule #tile.swap_ab<tile_rows = 32, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 2, stages = 4, shared_bytes = 115712> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %rows = arith.constant 32 : index
  %columns = arith.constant 128 : index
  %step = arith.constant 64 : index
  %depth = arith.constant 256 : index
  %row = arith.muli %m, %rows : index
  %col = arith.muli %n, %columns : index
  %zero = arith.constant dense<0.0> : tensor<32x128xf32>
  %acc = scf.for %k = %c0 to %depth step %step iter_args(%a = %zero) -> (tensor<32x128xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<32x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<128x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<32x64xbf16>, tensor<128x64xbf16>, tensor<32x128xf32>
    scf.yield %d : tensor<32x128xf32>
  }
  // expected-error @+1 {{reduces 128 columns of the product, of which a piece has 64; choose tiles whose columns are a multiple of 128}}
  %sum = tile.reduce add %acc axis 1 : tensor<32x128xf32> -> tensor<32xf32>
  %part = arith.divui %col, %columns : index
  %out = tile.broadcast %sum axis 1 : tensor<32xf32> -> tensor<32x1xf32>
  tile.store %out, %s[%row, %part] : tensor<32x1xf32>, !s
}
