// Causal attention of a query tile (rows of one sequence) over paged keys and values: 4 query heads share 2 kv heads
// of 32, page size 16, query tile of 4 rows. One block is one query tile and one kv head; the rows of its
// matrices are (row of the tile, query head of the group): m = row * 2 + g. Keys are read 64 at a time.
!q = !tile.view<?x32xbf16, activation>  // rows of [tokens * heads][head_dim]
!ids = !tile.view<?xi32, meta, query_tiles>
!rows = !tile.view<?xi32, meta, tokens>
!pages = !tile.view<?xi32, meta>
!kv = !tile.view<?x32xbf16, kv, kv_rows>
!o = !tile.view<?x32xbf16, output>
tile.program @attention(%q: !q, %tile_sequences: !ids, %tile_rows: !ids, %tile_ends: !ids, %positions: !rows,
                        %page_table: !pages, %keys: !kv, %values: !kv, %o: !o)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (2, s2)> {
  %kv_head = tile.program_id 0
  %t = tile.program_id 1
  %seq = tile.read %tile_sequences[%t] : !ids -> i32
  %first = tile.read %tile_rows[%t] : !ids -> i32
  %end = tile.read %tile_ends[%t] : !ids -> i32
  %c0_i = arith.constant 0 : i32
  %is_real = arith.cmpi sge, %seq, %c0_i : i32
  scf.if %is_real {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c64 = arith.constant 64 : index
    %c2_i = arith.constant 2 : i32
    %c1_i = arith.constant 1 : i32
    // The query rows of this block in the view of rows [tokens * 4 heads][32]; -1 past the tile's end.
    %m = tile.iota axis 0 : tensor<8xi32>
    %two = arith.constant dense<2> : tensor<8xi32>
    %four = arith.constant dense<4> : tensor<8xi32>
    %none = arith.constant dense<-1> : tensor<8xi32>
    %r_in = arith.divsi %m, %two : tensor<8xi32>
    %g = arith.remsi %m, %two : tensor<8xi32>
    %first_t = tensor.splat %first : tensor<8xi32>
    %end_t = tensor.splat %end : tensor<8xi32>
    %r = arith.addi %first_t, %r_in : tensor<8xi32>
    %ok = arith.cmpi slt, %r, %end_t : tensor<8xi32>
    %kv_head_i = arith.index_cast %kv_head : index to i32
    %head0 = arith.muli %kv_head_i, %c2_i : i32
    %head0_t = tensor.splat %head0 : tensor<8xi32>
    %head = arith.addi %head0_t, %g : tensor<8xi32>
    %r4 = arith.muli %r, %four : tensor<8xi32>
    %q_row0 = arith.addi %r4, %head : tensor<8xi32>
    %q_row = arith.select %ok, %q_row0, %none : tensor<8xi1>, tensor<8xi32>
    %qt = tile.gather %q[%q_row, %c0] : !q, tensor<8xi32> -> tensor<8x32xbf16>
    %row_or_none = arith.select %ok, %r, %none : tensor<8xi1>, tensor<8xi32>
    %pos = tile.gather %positions[%row_or_none] : !rows, tensor<8xi32> -> tensor<8xi32>
    %posb = tile.broadcast %pos axis 1 : tensor<8xi32> -> tensor<8x64xi32>
    %last_row_i = arith.subi %end, %c1_i : i32
    %last_row = arith.index_cast %last_row_i : i32 to index
    %last_pos = tile.read %positions[%last_row] : !rows -> i32
    %len_i = arith.addi %last_pos, %c1_i : i32
    %len = arith.index_cast %len_i : i32 to index
    %neg = arith.constant dense<-1.0e30> : tensor<8xf32>
    %zero_l = arith.constant dense<0.0> : tensor<8xf32>
    %zero_o = arith.constant dense<0.0> : tensor<8x32xf32>
    %scale = arith.constant dense<0.25503348> : tensor<8x64xf32> // log2(e) / sqrt(32)
    %mm, %ll, %oo = scf.for %k = %c0 to %len step %c64 iter_args(%m0 = %neg, %l0 = %zero_l, %o0 = %zero_o)
        -> (tensor<8xf32>, tensor<8xf32>, tensor<8x32xf32>) {
      %k_i = arith.index_cast %k : index to i32
      %kt_i = tensor.splat %k_i : tensor<64xi32>
      %j = tile.iota axis 0 : tensor<64xi32>
      %kpos = arith.addi %kt_i, %j : tensor<64xi32>
      %len_t = tensor.splat %len_i : tensor<64xi32>
      %inside = arith.cmpi slt, %kpos, %len_t : tensor<64xi32>
      %ps = arith.constant dense<16> : tensor<64xi32>
      %pps = arith.constant dense<8> : tensor<64xi32>
      %seq_t = tensor.splat %seq : tensor<64xi32>
      %nonek = arith.constant dense<-1> : tensor<64xi32>
      %pidx = arith.divsi %kpos, %ps : tensor<64xi32>
      %slot = arith.remsi %kpos, %ps : tensor<64xi32>
      %sbase = arith.muli %seq_t, %pps : tensor<64xi32>
      %entry0 = arith.addi %sbase, %pidx : tensor<64xi32>
      %entry = arith.select %inside, %entry0, %nonek : tensor<64xi1>, tensor<64xi32>
      %page = tile.gather %page_table[%entry] : !pages, tensor<64xi32> -> tensor<64xi32>
      %hk = arith.constant dense<2> : tensor<64xi32>
      %kvh = tensor.splat %kv_head_i : tensor<64xi32>
      %ph = arith.muli %page, %hk : tensor<64xi32>
      %ph2 = arith.addi %ph, %kvh : tensor<64xi32>
      %ph3 = arith.muli %ph2, %ps : tensor<64xi32>
      %krow0 = arith.addi %ph3, %slot : tensor<64xi32>
      %krow = arith.select %inside, %krow0, %nonek : tensor<64xi1>, tensor<64xi32>
      %kt = tile.gather %keys[%krow, %c0] : !kv, tensor<64xi32> -> tensor<64x32xbf16>
      %zs = arith.constant dense<0.0> : tensor<8x64xf32>
      %s = tile.dot %qt, %kt, %zs transpose_rhs : tensor<8x32xbf16>, tensor<64x32xbf16>, tensor<8x64xf32>
      %ss = arith.mulf %s, %scale : tensor<8x64xf32>
      %kposb = tile.broadcast %kpos axis 0 : tensor<64xi32> -> tensor<8x64xi32>
      %seen = arith.cmpi sle, %kposb, %posb : tensor<8x64xi32>
      %negb = arith.constant dense<-1.0e30> : tensor<8x64xf32>
      %sm = arith.select %seen, %ss, %negb : tensor<8x64xi1>, tensor<8x64xf32>
      %mx = tile.reduce max %sm axis 1 : tensor<8x64xf32> -> tensor<8xf32>
      %m1 = arith.maximumf %m0, %mx : tensor<8xf32>
      %m1b = tile.broadcast %m1 axis 1 : tensor<8xf32> -> tensor<8x64xf32>
      %sh = arith.subf %sm, %m1b : tensor<8x64xf32>
      %p0 = math.exp2 %sh : tensor<8x64xf32>
      %zb = arith.constant dense<0.0> : tensor<8x64xf32>
      %p = arith.select %seen, %p0, %zb : tensor<8x64xi1>, tensor<8x64xf32>
      %dm = arith.subf %m0, %m1 : tensor<8xf32>
      %corr = math.exp2 %dm : tensor<8xf32>
      %psum = tile.reduce add %p axis 1 : tensor<8x64xf32> -> tensor<8xf32>
      %lc = arith.mulf %l0, %corr : tensor<8xf32>
      %l1 = arith.addf %lc, %psum : tensor<8xf32>
      %corrb = tile.broadcast %corr axis 1 : tensor<8xf32> -> tensor<8x32xf32>
      %oc = arith.mulf %o0, %corrb : tensor<8x32xf32>
      %pb = arith.truncf %p : tensor<8x64xf32> to tensor<8x64xbf16>
      %vt = tile.gather %values[%krow, %c0] : !kv, tensor<64xi32> -> tensor<64x32xbf16>
      %o1 = tile.dot %pb, %vt, %oc : tensor<8x64xbf16>, tensor<64x32xbf16>, tensor<8x32xf32>
      scf.yield %m1, %l1, %o1 : tensor<8xf32>, tensor<8xf32>, tensor<8x32xf32>
    }
    %tiny = arith.constant dense<1.0e-30> : tensor<8xf32>
    %lsafe = arith.maximumf %ll, %tiny : tensor<8xf32>
    %lb = tile.broadcast %lsafe axis 1 : tensor<8xf32> -> tensor<8x32xf32>
    %on = arith.divf %oo, %lb : tensor<8x32xf32>
    %ob = arith.truncf %on : tensor<8x32xf32> to tensor<8x32xbf16>
    tile.scatter %ob, %o[%q_row, %c0] : tensor<8x32xbf16>, !o, tensor<8xi32>
  }
}
