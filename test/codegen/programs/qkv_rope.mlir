// [rms_norm -> QKV -> rope -> KV append]: 4 query heads and 2 kv heads of 32, page size 16. The rows of the
// weight are half pairs: even columns of the accumulator are elements i of a head, odd ones i + 16.
// The 16 columns of a block are of one head, so each block computes either q, k or v.
!x = !tile.view<?x256xbf16, state, tokens>
!g = !tile.view<256xbf16, weight>
!w = !tile.view<256x256xbf16, weight>
!rope = !tile.view<128x32xf32, weight>
!ids = !tile.view<?xi32, meta, tokens>
!pages = !tile.view<?xi32, meta>
!kv = !tile.view<?x32xbf16, kv, kv_rows>
!q = !tile.view<?x128xbf16, output, tokens>
tile.program @qkv_rope(%x: !x, %g: !g, %w: !w, %rope: !rope, %positions: !ids, %sequences: !ids, %page_table: !pages,
                       %q: !q, %keys: !kv, %values: !kv)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (16, s0 ceildiv 16)> {
  %n = tile.program_id 0
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %c4 = arith.constant 4 : index
  %c6 = arith.constant 6 : index
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : index
  %c32 = arith.constant 32 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %row = arith.muli %m, %c16 : index
  %col = arith.muli %n, %c16 : index
  %zero = arith.constant dense<0.0> : tensor<16x16xf32>
  %zero_ss = arith.constant dense<0.0> : tensor<16xf32>
  %acc, %ss = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero, %s = %zero_ss) -> (tensor<16x16xf32>, tensor<16xf32>) {
    %xt = tile.load %x[%row, %k] : !x -> tensor<16x64xbf16>
    %xf = arith.extf %xt : tensor<16x64xbf16> to tensor<16x64xf32>
    %sq = arith.mulf %xf, %xf : tensor<16x64xf32>
    %part = tile.reduce add %sq axis 1 : tensor<16x64xf32> -> tensor<16xf32>
    %s1 = arith.addf %s, %part : tensor<16xf32>
    %gt = tile.load %g[%k] : !g -> tensor<64xbf16>
    %gf = arith.extf %gt : tensor<64xbf16> to tensor<64xf32>
    %gb = tile.broadcast %gf axis 0 : tensor<64xf32> -> tensor<16x64xf32>
    %xg = arith.mulf %xf, %gb : tensor<16x64xf32>
    %xn = arith.truncf %xg : tensor<16x64xf32> to tensor<16x64xbf16>
    %wt = tile.load %w[%col, %k] : !w -> tensor<16x64xbf16>
    %d = tile.dot %xn, %wt, %a transpose_rhs : tensor<16x64xbf16>, tensor<16x64xbf16>, tensor<16x16xf32>
    scf.yield %d, %s1 : tensor<16x16xf32>, tensor<16xf32>
  }
  %inv_k = arith.constant dense<0.00390625> : tensor<16xf32>
  %eps = arith.constant dense<1.0e-5> : tensor<16xf32>
  %mean = arith.mulf %ss, %inv_k : tensor<16xf32>
  %var = arith.addf %mean, %eps : tensor<16xf32>
  %rs = math.rsqrt %var : tensor<16xf32>
  %rsb = tile.broadcast %rs axis 1 : tensor<16xf32> -> tensor<16x16xf32>
  %h = arith.mulf %acc, %rsb : tensor<16x16xf32>
  %lo, %hi = tile.deinterleave %h : tensor<16x16xf32> -> tensor<16x8xf32>
  %head = arith.divui %col, %c32 : index
  %in_head = arith.remui %col, %c32 : index
  %half = arith.divui %in_head, %c2 : index
  %half_hi = arith.addi %half, %c16 : index
  // Rows of the step: position and sequence; -1 for padding and past the step's end.
  %minus_one = arith.constant dense<-1> : tensor<16xi32>
  %tokens = tile.extent tokens
  %tokens_i = arith.index_cast %tokens : index to i32
  %tokens_t = tensor.splat %tokens_i : tensor<16xi32>
  %row_i = arith.index_cast %row : index to i32
  %row_t = tensor.splat %row_i : tensor<16xi32>
  %row_in = tile.iota axis 0 : tensor<16xi32>
  %row_of = arith.addi %row_t, %row_in : tensor<16xi32>
  %is_inside = arith.cmpi slt, %row_of, %tokens_t : tensor<16xi32>
  %pos_loaded = tile.load %positions[%row] : !ids -> tensor<16xi32>
  %pos = arith.select %is_inside, %pos_loaded, %minus_one : tensor<16xi1>, tensor<16xi32>
  %is_rotated = arith.cmpi ult, %head, %c6 : index
  %rot_lo, %rot_hi = scf.if %is_rotated -> (tensor<16x8xf32>, tensor<16x8xf32>) {
    %cos = tile.gather %rope[%pos, %half] : !rope, tensor<16xi32> -> tensor<16x8xf32>
    %sin = tile.gather %rope[%pos, %half_hi] : !rope, tensor<16xi32> -> tensor<16x8xf32>
    %lc = arith.mulf %lo, %cos : tensor<16x8xf32>
    %hs = arith.mulf %hi, %sin : tensor<16x8xf32>
    %hc = arith.mulf %hi, %cos : tensor<16x8xf32>
    %ls = arith.mulf %lo, %sin : tensor<16x8xf32>
    %rl = arith.subf %lc, %hs : tensor<16x8xf32>
    %rh = arith.addf %hc, %ls : tensor<16x8xf32>
    scf.yield %rl, %rh : tensor<16x8xf32>, tensor<16x8xf32>
  } else {
    scf.yield %lo, %hi : tensor<16x8xf32>, tensor<16x8xf32>
  }
  %out_lo = arith.truncf %rot_lo : tensor<16x8xf32> to tensor<16x8xbf16>
  %out_hi = arith.truncf %rot_hi : tensor<16x8xf32> to tensor<16x8xbf16>
  %is_q = arith.cmpi ult, %head, %c4 : index
  scf.if %is_q {
    %head_col = arith.muli %head, %c32 : index
    %q_lo = arith.addi %head_col, %half : index
    %q_hi = arith.addi %head_col, %half_hi : index
    tile.store %out_lo, %q[%row, %q_lo] : tensor<16x8xbf16>, !q
    tile.store %out_hi, %q[%row, %q_hi] : tensor<16x8xbf16>, !q
  } else {
    // Row of the cache: (page * kv_heads + head) * page_size + slot; negative for padding.
    %seq = tile.load %sequences[%row] : !ids -> tensor<16xi32>
    %page_size = arith.constant dense<16> : tensor<16xi32>
    %pages_per_seq = arith.constant dense<8> : tensor<16xi32>
    %kv_heads = arith.constant dense<2> : tensor<16xi32>
    %none = arith.constant dense<-1> : tensor<16xi32>
    %zero_i = arith.constant dense<0> : tensor<16xi32>
    %page_of = arith.divsi %pos, %page_size : tensor<16xi32>
    %slot = arith.remsi %pos, %page_size : tensor<16xi32>
    %seq_base = arith.muli %seq, %pages_per_seq : tensor<16xi32>
    %entry = arith.addi %seq_base, %page_of : tensor<16xi32>
    %page = tile.gather %page_table[%entry] : !pages, tensor<16xi32> -> tensor<16xi32>
    %is_k = arith.cmpi ult, %head, %c6 : index
    %k_head = arith.subi %head, %c4 : index
    %v_head = arith.subi %head, %c6 : index
    %kv_head = arith.select %is_k, %k_head, %v_head : index
    %kv_head_i = arith.index_cast %kv_head : index to i32
    %kv_head_t = tensor.splat %kv_head_i : tensor<16xi32>
    %ph = arith.muli %page, %kv_heads : tensor<16xi32>
    %ph2 = arith.addi %ph, %kv_head_t : tensor<16xi32>
    %base = arith.muli %ph2, %page_size : tensor<16xi32>
    %cache_row = arith.addi %base, %slot : tensor<16xi32>
    %is_real = arith.cmpi sge, %pos, %zero_i : tensor<16xi32>
    %target = arith.select %is_real, %cache_row, %none : tensor<16xi1>, tensor<16xi32>
    scf.if %is_k {
      tile.scatter %out_lo, %keys[%target, %half] : tensor<16x8xbf16>, !kv, tensor<16xi32>
      tile.scatter %out_hi, %keys[%target, %half_hi] : tensor<16x8xbf16>, !kv, tensor<16xi32>
    } else {
      tile.scatter %out_lo, %values[%target, %half] : tensor<16x8xbf16>, !kv, tensor<16xi32>
      tile.scatter %out_hi, %values[%target, %half_hi] : tensor<16x8xbf16>, !kv, tensor<16xi32>
    }
  }
}
