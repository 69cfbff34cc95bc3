// RUN: inlay-opt %s --split-input-file --verify-diagnostics
// What types and ops of programs refuse.

// expected-error @+1 {{a view has rank 1 to 4, this one 5}}
func.func private @rank(!tile.view<1x2x3x4x5xf32, weight>)

// -----

// expected-error @+1 {{a view holds integers or floats, not 'index'}}
func.func private @element(!tile.view<4xindex, weight>)

// -----

// expected-error @+1 {{only the leading dimension of a view may be '?', not dimension 1}}
func.func private @dynamic(!tile.view<4x?xf32, weight>)

// -----

// expected-error @+1 {{a view with an extent has a leading '?', this one 4}}
func.func private @extent(!tile.view<4xf32, activation, tokens>)

// -----

// expected-error @+1 {{'nobody' is no provenance}}
func.func private @provenance(!tile.view<4xf32, nobody>)

// -----

// expected-error @+1 {{'rows' is no extent}}
func.func private @size(!tile.view<?xf32, activation, rows>)

// -----

// expected-error @+1 {{argument 0 is a 'f32', expected a !tile.view}}
tile.program @argument(%x: f32) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
}

// -----

// expected-error @+1 {{the grid maps the 6 sizes of a step to one to three dimensions, found affine_map<()[s0] -> (s0)>}}
tile.program @grid() grid affine_map<()[s0] -> (s0)> {
}

// -----

tile.program @load(%x: !tile.view<?x64xf32, activation, tokens>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{'tile.load' op has 1 offsets for a view of rank 2}}
  %t = tile.load %x[%c0] : !tile.view<?x64xf32, activation, tokens> -> tensor<16x64xf32>
}

// -----

tile.program @load(%x: !tile.view<?xf32, activation, tokens>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{'tile.load' op has a tile of rank 2 for a view of rank 1}}
  %t = tile.load %x[%c0] : !tile.view<?xf32, activation, tokens> -> tensor<16x64xf32>
}

// -----

tile.program @store(%x: !tile.view<?xf32, output, tokens>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = arith.constant dense<1> : tensor<16xi32>
  // expected-error @+1 {{'tile.store' op has a tile of 'i32' for a view of 'f32'}}
  tile.store %t, %x[%c0] : tensor<16xi32>, !tile.view<?xf32, output, tokens>
}

// -----

tile.program @gather(%x: !tile.view<4x4x4xf32, weight>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %i = arith.constant dense<1> : tensor<16xi32>
  // expected-error @+1 {{'tile.gather' op needs a view of rank 1 or 2, found 3}}
  %t = tile.gather %x[%i] : !tile.view<4x4x4xf32, weight>, tensor<16xi32> -> tensor<16xf32>
}

// -----

tile.program @gather(%x: !tile.view<4x4xf32, weight>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %i = arith.constant dense<1> : tensor<16xi32>
  // expected-error @+1 {{'tile.gather' op has no column for a view of rank 2}}
  %t = tile.gather %x[%i] : !tile.view<4x4xf32, weight>, tensor<16xi32> -> tensor<16x4xf32>
}

// -----

tile.program @gather(%x: !tile.view<4xf32, weight>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %i = arith.constant dense<1> : tensor<16xi32>
  // expected-error @+1 {{'tile.gather' op has indices 'tensor<16xi32>' for a tile 'tensor<8xf32>'}}
  %t = tile.gather %x[%i] : !tile.view<4xf32, weight>, tensor<16xi32> -> tensor<8xf32>
}

// -----

tile.program @scatter(%x: !tile.view<4xf32, output>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %i = arith.constant dense<1> : tensor<16xi32>
  // expected-error @+1 {{'tile.scatter' op has a tile of 'i32' for a view of 'f32'}}
  tile.scatter %i, %x[%i] : tensor<16xi32>, !tile.view<4xf32, output>, tensor<16xi32>
}

// -----

tile.program @read(%x: !tile.view<4x4xf32, weight>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{'tile.read' op has 1 offsets for a view of rank 2}}
  %t = tile.read %x[%c0] : !tile.view<4x4xf32, weight> -> f32
}

// -----

tile.program @read(%x: !tile.view<4xf32, weight>) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{'tile.read' op reads 'i32' from a view of 'f32'}}
  %t = tile.read %x[%c0] : !tile.view<4xf32, weight> -> i32
}

// -----

func.func @dot(%a: tensor<16xbf16>, %b: tensor<8x4xbf16>, %c: tensor<16x4xf32>) {
  // expected-error @+1 {{'tile.dot' op multiplies tiles of rank 2, found 'tensor<16xbf16>' and 'tensor<8x4xbf16>'}}
  %d = tile.dot %a, %b, %c : tensor<16xbf16>, tensor<8x4xbf16>, tensor<16x4xf32>
  return
}

// -----

func.func @dot(%a: tensor<16x8xbf16>, %b: tensor<8x4xbf16>, %c: tensor<16x4xf32>) {
  // expected-error @+1 {{'tile.dot' op has shapes that do not fit: 'tensor<16x8xbf16>', 'tensor<8x4xbf16>'^T into 'tensor<16x4xf32>'}}
  %d = tile.dot %a, %b, %c transpose_rhs : tensor<16x8xbf16>, tensor<8x4xbf16>, tensor<16x4xf32>
  return
}

// -----

func.func @dot(%a: tensor<16x8xbf16>, %b: tensor<8x4xf16>, %c: tensor<16x4xf32>) {
  // expected-error @+1 {{'tile.dot' op multiplies equal element types into f32, or i8 into i32, found 'tensor<16x8xbf16>', 'tensor<8x4xf16>' into 'tensor<16x4xf32>'}}
  %d = tile.dot %a, %b, %c : tensor<16x8xbf16>, tensor<8x4xf16>, tensor<16x4xf32>
  return
}

// -----

func.func @reduce(%a: tensor<16x8xf32>) {
  // expected-error @+1 {{'tile.reduce' op has axis 2 for a tile of rank 2}}
  %d = tile.reduce add %a axis 2 : tensor<16x8xf32> -> tensor<16xf32>
  return
}

// -----

func.func @reduce(%a: tensor<16x8xf32>) {
  // expected-error @+1 {{'tile.reduce' op reduces 'tensor<16x8xf32>' along axis 1 to 'tensor<8xf32>'}}
  %d = tile.reduce add %a axis 1 : tensor<16x8xf32> -> tensor<8xf32>
  return
}

// -----

func.func @arg_max(%a: tensor<16x8xf32>) {
  // expected-error @+1 {{'tile.arg_max' op finds in 'tensor<16x8xf32>' one 'f32' and one i32 a row, found 'tensor<8xf32>'}}
  %d, %i = tile.arg_max %a : tensor<16x8xf32> -> tensor<8xf32>, tensor<8xi32>
  return
}

// -----

func.func @broadcast(%a: tensor<16xf32>) {
  // expected-error @+1 {{'tile.broadcast' op repeats 'tensor<16xf32>' along axis 0 to 'tensor<16x8xf32>'}}
  %d = tile.broadcast %a axis 0 : tensor<16xf32> -> tensor<16x8xf32>
  return
}

// -----

func.func @iota() {
  // expected-error @+1 {{'tile.iota' op has axis 1 for 'tensor<16xi32>'}}
  %d = tile.iota axis 1 : tensor<16xi32>
  return
}

// -----

func.func @transpose(%a: tensor<16x8xf32>) {
  // expected-error @+1 {{'tile.transpose' op turns 'tensor<16x8xf32>' into 'tensor<16x8xf32>'}}
  %d = tile.transpose %a : tensor<16x8xf32> -> tensor<16x8xf32>
  return
}

// -----

func.func @deinterleave(%a: tensor<16x8xf32>) {
  // expected-error @+1 {{'tile.deinterleave' op splits the columns of 'tensor<16x8xf32>' into 'tensor<16x8xf32>'}}
  %e, %o = tile.deinterleave %a : tensor<16x8xf32> -> tensor<16x8xf32>
  return
}

// -----

tile.program @other_rows(%x: !tile.view<?x8xf32, activation, tokens>, %y: !tile.view<?x8xf32, output, logit_rows>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{is of rows of one size of the step and one type, found}}
  tile.collective all_reduce %x, %y : !tile.view<?x8xf32, activation, tokens>, !tile.view<?x8xf32, output, logit_rows>
}

// -----

tile.program @other_columns(%x: !tile.view<?x8xf32, activation, tokens>, %y: !tile.view<?x4xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{'tile.collective' op writes 4 columns of 8}}
  tile.collective all_reduce %x, %y : !tile.view<?x8xf32, activation, tokens>, !tile.view<?x4xf32, output, tokens>
}

// -----

tile.program @beside_others(%x: !tile.view<?x8xf32, activation, tokens>, %y: !tile.view<?x8xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{is in a program with other ops, expected a program of its own}}
  tile.collective all_gather %x, %y : !tile.view<?x8xf32, activation, tokens>, !tile.view<?x8xf32, output, tokens>
  %i = tile.program_id 0
}

// -----

tile.program @too_many_ranks(%x: !tile.view<?x8xf32, activation, tokens>, %y: !tile.view<?x8xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{kernels of 9 ranks cannot exchange rows, expected 2 to 8}}
  tile.collective all_reduce %x, %y through <ranks = 9, rows = 4> : !tile.view<?x8xf32, activation, tokens>, !tile.view<?x8xf32, output, tokens>
}

// -----

tile.program @no_rows(%x: !tile.view<?x8xf32, activation, tokens>, %y: !tile.view<?x8xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{ranks exchange at least 1 row, found 0}}
  tile.collective all_reduce %x, %y through <ranks = 2, rows = 0> : !tile.view<?x8xf32, activation, tokens>, !tile.view<?x8xf32, output, tokens>
}

// -----

tile.program @codes(%x: !tile.view<?x8xi8, activation, tokens>, %y: !tile.view<?x16xi8, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{exchanges 'i8' through kernels, expected f32, f16 or bf16}}
  tile.collective all_gather %x, %y through <ranks = 2, rows = 4> : !tile.view<?x8xi8, activation, tokens>, !tile.view<?x16xi8, output, tokens>
}

// -----

tile.program @more_columns(%x: !tile.view<?x8xf32, activation, tokens>, %y: !tile.view<?x17xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  // expected-error @+1 {{writes 17 columns, but 2 ranks have 8 each}}
  tile.collective all_gather %x, %y through <ranks = 2, rows = 4> : !tile.view<?x8xf32, activation, tokens>, !tile.view<?x17xf32, output, tokens>
}

// -----

tile.program @sum_of_a_row(%x: !tile.view<8xf32, activation>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{is of rows of the step and takes their row and column, found 'tensor<8xf32>' of '!tile.view<8xf32, activation>'}}
  %s = tile.receive_sum %x[%c0] through <ranks = 2, rows = 4> : !tile.view<8xf32, activation> -> tensor<8xf32>
}

// -----

tile.program @sum_of_codes(%x: !tile.view<?x16xi8, activation, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{exchanges 'i8', expected f32, f16 or bf16}}
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> : !tile.view<?x16xi8, activation, tokens> -> tensor<4x16xi8>
}

// -----

tile.program @sum_of_odd_rows(%x: !tile.view<?x6xf32, activation, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{exchanges rows of 24 bytes, expected a multiple of 16}}
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> : !tile.view<?x6xf32, activation, tokens> -> tensor<4x8xf32>
}

// -----

tile.program @sum_of_the_second(%y: !tile.view<?x8xf32, activation, tokens>, %x: !tile.view<?x8xf32, activation, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{sums rows in place without peers, expected those of the first argument}}
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> : !tile.view<?x8xf32, activation, tokens> -> tensor<4x8xf32>
}

// -----

tile.program @push_of_a_row(%x: !tile.view<8xf32, activation>, %y: !tile.view<8xf32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%c0] : !tile.view<8xf32, activation> -> tensor<8xf32>
  // expected-error @+1 {{pushes rows of the step, found '!tile.view<8xf32, output>'}}
  tile.store %t, %y[%c0] through <ranks = 2, rows = 4> : tensor<8xf32>, !tile.view<8xf32, output>
}

// -----

tile.program @push_of_codes(%x: !tile.view<?x16xi8, activation, tokens>, %y: !tile.view<?x16xi8, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%c0, %c0] : !tile.view<?x16xi8, activation, tokens> -> tensor<4x16xi8>
  // expected-error @+1 {{pushes 'i8', expected f32, f16 or bf16}}
  tile.store %t, %y[%c0, %c0] through <ranks = 2, rows = 4> : tensor<4x16xi8>, !tile.view<?x16xi8, output, tokens>
}

// -----

tile.program @push_of_odd_rows(%x: !tile.view<?x6xf32, activation, tokens>, %y: !tile.view<?x6xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %t = tile.load %x[%c0, %c0] : !tile.view<?x6xf32, activation, tokens> -> tensor<4x8xf32>
  // expected-error @+1 {{pushes rows of 24 bytes, expected a multiple of 16}}
  tile.store %t, %y[%c0, %c0] through <ranks = 2, rows = 4> : tensor<4x8xf32>, !tile.view<?x6xf32, output, tokens>
}

// -----

tile.program @push_in_a_round(%x: !tile.view<?x8xf32, activation, tokens>, %y: !tile.view<?x8xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> : !tile.view<?x8xf32, activation, tokens> -> tensor<4x8xf32>
  // expected-error @+1 {{pushes rows in a program that sums others, whose round has not ended}}
  tile.store %s, %y[%c0, %c0] through <ranks = 2, rows = 4> : tensor<4x8xf32>, !tile.view<?x8xf32, output, tokens>
}

// -----

tile.program @sum_of_what_is_written(%x: !tile.view<?x8xf32, activation, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{sums rows that its program writes}}
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> : !tile.view<?x8xf32, activation, tokens> -> tensor<4x8xf32>
  tile.store %s, %x[%c0, %c0] : tensor<4x8xf32>, !tile.view<?x8xf32, activation, tokens>
}

// -----

tile.program @two_sums(%x: !tile.view<?x8xf32, activation, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %first = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> : !tile.view<?x8xf32, activation, tokens> -> tensor<4x8xf32>
  // expected-error @+1 {{is the second of its program, which runs in one round of the exchange}}
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> : !tile.view<?x8xf32, activation, tokens> -> tensor<4x8xf32>
}

// -----

tile.program @sum_in_a_loop(%x: !tile.view<?x8xf32, activation, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %c1 step %c1 {
    // expected-error @+1 {{pushes its tile in a loop or a branch; expected a receive_sum that is pushed, or the top level of its program}}
    %s = tile.receive_sum %x[%i, %c0] through <ranks = 2, rows = 4> : !tile.view<?x8xf32, activation, tokens> -> tensor<4x8xf32>
  }
}

// -----

tile.program @early_push(%x: !tile.view<?x8xf32, activation, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{is early and pushes its tile itself; expected a sum that the launch before pushes (pushed)}}
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> early : !tile.view<?x8xf32, activation, tokens> -> tensor<4x8xf32>
}

// -----

tile.program @late_push(%x: !tile.view<?x8xf32, activation, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{is pushed and not early at the top level of its program; expected early (llm-push-sums), or the work of warps}}
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> pushed : !tile.view<?x8xf32, activation, tokens> -> tensor<4x8xf32>
}

// -----

tile.program @early_in_a_loop(%x: !tile.view<?x8xf32, activation, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %c1 step %c1 {
    // expected-error @+1 {{is early in a loop, a branch or the work of warps; expected the top level of its program}}
    %s = tile.receive_sum %x[%i, %c0] through <ranks = 2, rows = 4> pushed early : !tile.view<?x8xf32, activation, tokens> -> tensor<4x8xf32>
  }
}

// -----

// The launch before may still store these rows.
tile.program @early_with_own_rows(%x: !tile.view<?x8xf32, activation, tokens>, %y: !tile.view<?x8xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %own = tile.load %x[%c0, %c0] : !tile.view<?x8xf32, activation, tokens> -> tensor<4x8xf32>
  // expected-error @+1 {{is early, but its program also reads the rows that the launch before may still write; expected no other op that takes this view}}
  %s = tile.receive_sum %x[%c0, %c0] through <ranks = 2, rows = 4> pushed early : !tile.view<?x8xf32, activation, tokens> -> tensor<4x8xf32>
  %t = arith.addf %own, %s : tensor<4x8xf32>
  tile.store %t, %y[%c0, %c0] : tensor<4x8xf32>, !tile.view<?x8xf32, output, tokens>
}
