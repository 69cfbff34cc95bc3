// RUN: inlay-opt --pass-pipeline="builtin.module(tile.program(tile-assign-stages,tile-specialize-warps,tile-pipeline))" %s --split-input-file --verify-diagnostics
// Loops of attention that cannot go through rings.

!q = !tile.view<?x64xbf16, activation>
!i = !tile.view<?xi32, meta>
!kv = !tile.view<?x64xbf16, kv, kv_rows>
!o = !tile.view<?x64xbf16, output>

tile.program @attention(%q: !q, %sequences: !i, %lengths: !i, %pages: !i, %keys: !kv, %values: !kv, %o: !o)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s2)>
    schedule #tile.prefill_attention<query_rows = 128, tile_rows = 128, tile_keys = 64, consumers = 2, stages = 2, producer_registers = 40, consumer_registers = 232> {
  %id = tile.program_id 0
  %sequence = tile.read %sequences[%id] : !i -> i32
  %length = tile.read %lengths[%id] : !i -> i32
  %zero = arith.constant 0 : i32
  %is_real = arith.cmpi sge, %sequence, %zero : i32
  scf.if %is_real {
    %c0 = arith.constant 0 : index
    %c64 = arith.constant 64 : index
    %none = arith.constant dense<-1> : tensor<64xi32>
    %page_size = arith.constant dense<16> : tensor<64xi32>
    %masked = arith.constant dense<-1.0> : tensor<128x64xf32>
    %nothing = arith.constant dense<0.0> : tensor<128x64xf32>
    %row = tile.iota axis 0 : tensor<128xi32>
    %row_tile = tile.broadcast %row axis 1 : tensor<128xi32> -> tensor<128x64xi32>
    %query = tile.gather %q[%row, %c0] : !q, tensor<128xi32> -> tensor<128x64xbf16>
    %to = arith.index_cast %length : i32 to index
    %sums = scf.for %at = %c0 to %to step %c64 iter_args(%sum = %nothing) -> (tensor<128x64xf32>) {
      %start = arith.index_cast %at : index to i32
      %starts = tensor.splat %start : tensor<64xi32>
      %j = tile.iota axis 0 : tensor<64xi32>
      %position = arith.addi %starts, %j : tensor<64xi32>
      %ends = tensor.splat %length : tensor<64xi32>
      %held = arith.cmpi slt, %position, %ends : tensor<64xi32>
      %page_number = arith.divsi %position, %page_size : tensor<64xi32>
      %asked = arith.select %held, %page_number, %none : tensor<64xi1>, tensor<64xi32>
      %page = tile.gather %pages[%asked] : !i, tensor<64xi32> -> tensor<64xi32>
      %first = arith.muli %page, %page_size : tensor<64xi32>
      %in_page = arith.remsi %none, %page_size : tensor<64xi32>
      %cache_row = arith.addi %first, %in_page : tensor<64xi32>
      %rows = arith.select %held, %cache_row, %none : tensor<64xi1>, tensor<64xi32>
      // expected-error @+1 {{gathers the operand of a product at indices that do not follow each other in runs of 16; the schedule #tile.prefill_attention<}}
      %key = tile.gather %keys[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      %scores = tile.dot %query, %key, %nothing transpose_rhs : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      %position_tile = tile.broadcast %position axis 0 : tensor<64xi32> -> tensor<128x64xi32>
      %seen = arith.cmpi sle, %position_tile, %row_tile : tensor<128x64xi32>
      %kept = arith.select %seen, %scores, %masked : tensor<128x64xi1>, tensor<128x64xf32>
      %weights = arith.truncf %kept : tensor<128x64xf32> to tensor<128x64xbf16>
      %value = tile.gather %values[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      %next = tile.dot %weights, %value, %sum : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      scf.yield %next : tensor<128x64xf32>
    }
    %result = arith.truncf %sums : tensor<128x64xf32> to tensor<128x64xbf16>
    tile.scatter %result, %o[%row, %c0] : tensor<128x64xbf16>, !o, tensor<128xi32>
  }
}

// -----

!q = !tile.view<?x64xbf16, activation>
!i = !tile.view<?xi32, meta>
!kv = !tile.view<?x64xbf16, kv, kv_rows>
!o = !tile.view<?x64xbf16, output>

tile.program @attention(%q: !q, %sequences: !i, %lengths: !i, %pages: !i, %keys: !kv, %values: !kv, %o: !o)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s2)>
    schedule #tile.prefill_attention<query_rows = 128, tile_rows = 128, tile_keys = 64, consumers = 2, stages = 2, producer_registers = 40, consumer_registers = 232> {
  %id = tile.program_id 0
  %sequence = tile.read %sequences[%id] : !i -> i32
  %length = tile.read %lengths[%id] : !i -> i32
  %zero = arith.constant 0 : i32
  %is_real = arith.cmpi sge, %sequence, %zero : i32
  scf.if %is_real {
    %c0 = arith.constant 0 : index
    %c64 = arith.constant 64 : index
    %none = arith.constant dense<-1> : tensor<64xi32>
    %page_size = arith.constant dense<8> : tensor<64xi32>
    %masked = arith.constant dense<-1.0> : tensor<128x64xf32>
    %nothing = arith.constant dense<0.0> : tensor<128x64xf32>
    %row = tile.iota axis 0 : tensor<128xi32>
    %row_tile = tile.broadcast %row axis 1 : tensor<128xi32> -> tensor<128x64xi32>
    %query = tile.gather %q[%row, %c0] : !q, tensor<128xi32> -> tensor<128x64xbf16>
    %to = arith.index_cast %length : i32 to index
    %sums = scf.for %at = %c0 to %to step %c64 iter_args(%sum = %nothing) -> (tensor<128x64xf32>) {
      %start = arith.index_cast %at : index to i32
      %starts = tensor.splat %start : tensor<64xi32>
      %j = tile.iota axis 0 : tensor<64xi32>
      %position = arith.addi %starts, %j : tensor<64xi32>
      %ends = tensor.splat %length : tensor<64xi32>
      %held = arith.cmpi slt, %position, %ends : tensor<64xi32>
      %page_number = arith.divsi %position, %page_size : tensor<64xi32>
      %asked = arith.select %held, %page_number, %none : tensor<64xi1>, tensor<64xi32>
      %page = tile.gather %pages[%asked] : !i, tensor<64xi32> -> tensor<64xi32>
      %first = arith.muli %page, %page_size : tensor<64xi32>
      %in_page = arith.remsi %position, %page_size : tensor<64xi32>
      %cache_row = arith.addi %first, %in_page : tensor<64xi32>
      %rows = arith.select %held, %cache_row, %none : tensor<64xi1>, tensor<64xi32>
      // expected-error @+1 {{gathers the operand of a product at indices that do not follow each other in runs of 16; the schedule #tile.prefill_attention<}}
      %key = tile.gather %keys[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      %scores = tile.dot %query, %key, %nothing transpose_rhs : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      %position_tile = tile.broadcast %position axis 0 : tensor<64xi32> -> tensor<128x64xi32>
      %seen = arith.cmpi sle, %position_tile, %row_tile : tensor<128x64xi32>
      %kept = arith.select %seen, %scores, %masked : tensor<128x64xi1>, tensor<128x64xf32>
      %weights = arith.truncf %kept : tensor<128x64xf32> to tensor<128x64xbf16>
      %value = tile.gather %values[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      %next = tile.dot %weights, %value, %sum : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      scf.yield %next : tensor<128x64xf32>
    }
    %result = arith.truncf %sums : tensor<128x64xf32> to tensor<128x64xbf16>
    tile.scatter %result, %o[%row, %c0] : tensor<128x64xbf16>, !o, tensor<128xi32>
  }
}

// -----

!q = !tile.view<?x64xbf16, activation>
!i = !tile.view<?xi32, meta>
!kv = !tile.view<?x64xbf16, kv, kv_rows>
!o = !tile.view<?x64xbf16, output>

tile.program @attention(%q: !q, %sequences: !i, %lengths: !i, %pages: !i, %keys: !kv, %values: !kv, %o: !o)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s2)>
    schedule #tile.prefill_attention<query_rows = 128, tile_rows = 128, tile_keys = 64, consumers = 2, stages = 2, producer_registers = 40, consumer_registers = 232> {
  %id = tile.program_id 0
  %sequence = tile.read %sequences[%id] : !i -> i32
  %length = tile.read %lengths[%id] : !i -> i32
  %zero = arith.constant 0 : i32
  %is_real = arith.cmpi sge, %sequence, %zero : i32
  scf.if %is_real {
    %c0 = arith.constant 0 : index
    %c64 = arith.constant 64 : index
    %none = arith.constant dense<-1> : tensor<64xi32>
    %page_size = arith.constant dense<16> : tensor<64xi32>
    %masked = arith.constant dense<-1.0> : tensor<128x64xf32>
    %nothing = arith.constant dense<0.0> : tensor<128x64xf32>
    %row = tile.iota axis 0 : tensor<128xi32>
    %row_tile = tile.broadcast %row axis 1 : tensor<128xi32> -> tensor<128x64xi32>
    %query = tile.gather %q[%row, %c0] : !q, tensor<128xi32> -> tensor<128x64xbf16>
    %to = arith.index_cast %length : i32 to index
    %sums = scf.for %at = %c0 to %to step %c64 iter_args(%sum = %nothing) -> (tensor<128x64xf32>) {
      %start = arith.index_cast %at : index to i32
      %starts = tensor.splat %start : tensor<64xi32>
      %j = tile.iota axis 0 : tensor<64xi32>
      %position = arith.addi %starts, %j : tensor<64xi32>
      %ends = tensor.splat %length : tensor<64xi32>
      %held = arith.cmpi slt, %position, %ends : tensor<64xi32>
      %page_number = arith.divsi %position, %page_size : tensor<64xi32>
      %asked = arith.select %held, %page_number, %none : tensor<64xi1>, tensor<64xi32>
      %page = tile.gather %pages[%asked] : !i, tensor<64xi32> -> tensor<64xi32>
      %first = arith.muli %page, %page_size : tensor<64xi32>
      %in_page = arith.remsi %position, %page_size : tensor<64xi32>
      %cache_row = arith.addi %first, %in_page : tensor<64xi32>
      %rows = arith.addi %cache_row, %none : tensor<64xi32>
      // expected-error @+1 {{gathers the operand of a product at indices that do not follow each other in runs of 16; the schedule #tile.prefill_attention<}}
      %key = tile.gather %keys[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      %scores = tile.dot %query, %key, %nothing transpose_rhs : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      %position_tile = tile.broadcast %position axis 0 : tensor<64xi32> -> tensor<128x64xi32>
      %seen = arith.cmpi sle, %position_tile, %row_tile : tensor<128x64xi32>
      %kept = arith.select %seen, %scores, %masked : tensor<128x64xi1>, tensor<128x64xf32>
      %weights = arith.truncf %kept : tensor<128x64xf32> to tensor<128x64xbf16>
      %value = tile.gather %values[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      %next = tile.dot %weights, %value, %sum : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      scf.yield %next : tensor<128x64xf32>
    }
    %result = arith.truncf %sums : tensor<128x64xf32> to tensor<128x64xbf16>
    tile.scatter %result, %o[%row, %c0] : tensor<128x64xbf16>, !o, tensor<128xi32>
  }
}

// -----

!q = !tile.view<?x64xbf16, activation>
!i = !tile.view<?xi32, meta>
!kv = !tile.view<?x64xbf16, kv, kv_rows>
!o = !tile.view<?x64xbf16, output>

// expected-error @+1 {{has 1 products of loaded tiles in loops; expected 2, for the rings of its schedule #tile.prefill_attention<}}
tile.program @attention(%q: !q, %sequences: !i, %lengths: !i, %pages: !i, %keys: !kv, %values: !kv, %o: !o)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s2)>
    schedule #tile.prefill_attention<query_rows = 128, tile_rows = 128, tile_keys = 64, consumers = 2, stages = 2, producer_registers = 40, consumer_registers = 232> {
  %id = tile.program_id 0
  %sequence = tile.read %sequences[%id] : !i -> i32
  %length = tile.read %lengths[%id] : !i -> i32
  %zero = arith.constant 0 : i32
  %is_real = arith.cmpi sge, %sequence, %zero : i32
  scf.if %is_real {
    %c0 = arith.constant 0 : index
    %c64 = arith.constant 64 : index
    %none = arith.constant dense<-1> : tensor<64xi32>
    %page_size = arith.constant dense<16> : tensor<64xi32>
    %masked = arith.constant dense<-1.0> : tensor<128x64xf32>
    %nothing = arith.constant dense<0.0> : tensor<128x64xf32>
    %row = tile.iota axis 0 : tensor<128xi32>
    %row_tile = tile.broadcast %row axis 1 : tensor<128xi32> -> tensor<128x64xi32>
    %query = tile.gather %q[%row, %c0] : !q, tensor<128xi32> -> tensor<128x64xbf16>
    %to = arith.index_cast %length : i32 to index
    %sums = scf.for %at = %c0 to %to step %c64 iter_args(%sum = %nothing) -> (tensor<128x64xf32>) {
      %start = arith.index_cast %at : index to i32
      %starts = tensor.splat %start : tensor<64xi32>
      %j = tile.iota axis 0 : tensor<64xi32>
      %position = arith.addi %starts, %j : tensor<64xi32>
      %ends = tensor.splat %length : tensor<64xi32>
      %held = arith.cmpi slt, %position, %ends : tensor<64xi32>
      %page_number = arith.divsi %position, %page_size : tensor<64xi32>
      %asked = arith.select %held, %page_number, %none : tensor<64xi1>, tensor<64xi32>
      %page = tile.gather %pages[%asked] : !i, tensor<64xi32> -> tensor<64xi32>
      %first = arith.muli %page, %page_size : tensor<64xi32>
      %in_page = arith.remsi %position, %page_size : tensor<64xi32>
      %cache_row = arith.addi %first, %in_page : tensor<64xi32>
      %rows = arith.select %held, %cache_row, %none : tensor<64xi1>, tensor<64xi32>
      %key = tile.gather %keys[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      %scores = tile.dot %query, %key, %nothing transpose_rhs : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      %position_tile = tile.broadcast %position axis 0 : tensor<64xi32> -> tensor<128x64xi32>
      %seen = arith.cmpi sle, %position_tile, %row_tile : tensor<128x64xi32>
      %kept = arith.select %seen, %scores, %masked : tensor<128x64xi1>, tensor<128x64xf32>
      %weights = arith.truncf %kept : tensor<128x64xf32> to tensor<128x64xbf16>
      %next = arith.addf %kept, %sum : tensor<128x64xf32>
      scf.yield %next : tensor<128x64xf32>
    }
    %result = arith.truncf %sums : tensor<128x64xf32> to tensor<128x64xbf16>
    tile.scatter %result, %o[%row, %c0] : tensor<128x64xbf16>, !o, tensor<128xi32>
  }
}

// -----

!q = !tile.view<?x64xbf16, activation>
!i = !tile.view<?xi32, meta>
!kv = !tile.view<?x64xbf16, kv, kv_rows>
!o = !tile.view<?x64xbf16, output>

tile.program @attention(%q: !q, %sequences: !i, %lengths: !i, %pages: !i, %keys: !kv, %values: !kv, %o: !o)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s2)>
    schedule #tile.prefill_attention<query_rows = 128, tile_rows = 128, tile_keys = 64, consumers = 2, stages = 2, producer_registers = 40, consumer_registers = 232> {
  %id = tile.program_id 0
  %sequence = tile.read %sequences[%id] : !i -> i32
  %length = tile.read %lengths[%id] : !i -> i32
  %zero = arith.constant 0 : i32
  %is_real = arith.cmpi sge, %sequence, %zero : i32
  scf.if %is_real {
    %c0 = arith.constant 0 : index
    %c64 = arith.constant 64 : index
    %none = arith.constant dense<-1> : tensor<64xi32>
    %page_size = arith.constant dense<16> : tensor<64xi32>
    %masked = arith.constant dense<-1.0> : tensor<128x64xf32>
    %nothing = arith.constant dense<0.0> : tensor<128x64xf32>
    %row = tile.iota axis 0 : tensor<128xi32>
    %row_tile = tile.broadcast %row axis 1 : tensor<128xi32> -> tensor<128x64xi32>
    %query = tile.gather %q[%row, %c0] : !q, tensor<128xi32> -> tensor<128x64xbf16>
    %to = arith.index_cast %length : i32 to index
    %sums = scf.for %at = %c0 to %to step %c64 iter_args(%sum = %nothing) -> (tensor<128x64xf32>) {
      %start = arith.index_cast %at : index to i32
      %starts = tensor.splat %start : tensor<64xi32>
      %j = tile.iota axis 0 : tensor<64xi32>
      %position = arith.addi %starts, %j : tensor<64xi32>
      %ends = tensor.splat %length : tensor<64xi32>
      %held = arith.cmpi slt, %position, %ends : tensor<64xi32>
      %page_number = arith.divsi %position, %page_size : tensor<64xi32>
      %asked = arith.select %held, %page_number, %none : tensor<64xi1>, tensor<64xi32>
      %page = tile.gather %pages[%asked] : !i, tensor<64xi32> -> tensor<64xi32>
      %first = arith.muli %page, %page_size : tensor<64xi32>
      %in_page = arith.remsi %position, %page_size : tensor<64xi32>
      %cache_row = arith.addi %first, %in_page : tensor<64xi32>
      %rows = arith.select %held, %cache_row, %none : tensor<64xi1>, tensor<64xi32>
      %key = tile.gather %keys[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      // expected-error @+1 {{depends on its iteration; expected a left operand from outside of the loop, keys from a ring, and sums that start from 0}}
      %scores = tile.dot %query, %key, %sum transpose_rhs : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      %position_tile = tile.broadcast %position axis 0 : tensor<64xi32> -> tensor<128x64xi32>
      %seen = arith.cmpi sle, %position_tile, %row_tile : tensor<128x64xi32>
      %kept = arith.select %seen, %scores, %masked : tensor<128x64xi1>, tensor<128x64xf32>
      %weights = arith.truncf %kept : tensor<128x64xf32> to tensor<128x64xbf16>
      %value = tile.gather %values[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      %next = tile.dot %weights, %value, %sum : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      scf.yield %next : tensor<128x64xf32>
    }
    %result = arith.truncf %sums : tensor<128x64xf32> to tensor<128x64xbf16>
    tile.scatter %result, %o[%row, %c0] : tensor<128x64xbf16>, !o, tensor<128xi32>
  }
}

// -----

!q = !tile.view<?x64xbf16, activation>
!i = !tile.view<?xi32, meta>
!kv = !tile.view<?x64xbf16, kv, kv_rows>
!o = !tile.view<?x64xbf16, output>

tile.program @attention(%q: !q, %sequences: !i, %lengths: !i, %pages: !i, %keys: !kv, %values: !kv, %o: !o)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s2)>
    schedule #tile.prefill_attention<query_rows = 128, tile_rows = 128, tile_keys = 64, consumers = 2, stages = 2, producer_registers = 40, consumer_registers = 232> {
  %id = tile.program_id 0
  %sequence = tile.read %sequences[%id] : !i -> i32
  %length = tile.read %lengths[%id] : !i -> i32
  %zero = arith.constant 0 : i32
  %is_real = arith.cmpi sge, %sequence, %zero : i32
  scf.if %is_real {
    %c0 = arith.constant 0 : index
    %c64 = arith.constant 64 : index
    %none = arith.constant dense<-1> : tensor<64xi32>
    %page_size = arith.constant dense<16> : tensor<64xi32>
    %masked = arith.constant dense<-1.0> : tensor<128x64xf32>
    %nothing = arith.constant dense<0.0> : tensor<128x64xf32>
    %row = tile.iota axis 0 : tensor<128xi32>
    %row_tile = tile.broadcast %row axis 1 : tensor<128xi32> -> tensor<128x64xi32>
    %query = tile.gather %q[%row, %c0] : !q, tensor<128xi32> -> tensor<128x64xbf16>
    %to = arith.index_cast %length : i32 to index
    %sums = scf.for %at = %c0 to %to step %c64 iter_args(%sum = %nothing) -> (tensor<128x64xf32>) {
      %start = arith.index_cast %at : index to i32
      %starts = tensor.splat %start : tensor<64xi32>
      %j = tile.iota axis 0 : tensor<64xi32>
      %position = arith.addi %starts, %j : tensor<64xi32>
      %ends = tensor.splat %length : tensor<64xi32>
      %held = arith.cmpi slt, %position, %ends : tensor<64xi32>
      %page_number = arith.divsi %position, %page_size : tensor<64xi32>
      %asked = arith.select %held, %page_number, %none : tensor<64xi1>, tensor<64xi32>
      %page = tile.gather %pages[%asked] : !i, tensor<64xi32> -> tensor<64xi32>
      %first = arith.muli %page, %page_size : tensor<64xi32>
      %in_page = arith.remsi %position, %page_size : tensor<64xi32>
      %cache_row = arith.addi %first, %in_page : tensor<64xi32>
      %rows = arith.select %held, %cache_row, %none : tensor<64xi1>, tensor<64xi32>
      %key = tile.gather %keys[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      %scores = tile.dot %query, %key, %nothing transpose_rhs : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      %position_tile = tile.broadcast %position axis 0 : tensor<64xi32> -> tensor<128x64xi32>
      %seen = arith.cmpi sle, %position_tile, %row_tile : tensor<128x64xi32>
      %kept = arith.select %seen, %scores, %masked : tensor<128x64xi1>, tensor<128x64xf32>
      %weights = arith.truncf %kept : tensor<128x64xf32> to tensor<128x64xbf16>
      %value = tile.gather %values[%rows, %c0] : !kv, tensor<64xi32> -> tensor<64x64xbf16>
      %next = tile.dot %weights, %value, %sum : tensor<128x64xbf16>, tensor<64x64xbf16>, tensor<128x64xf32>
      // expected-error @+1 {{uses the sums of a product in flight; expected the end of the loop}}
      %twice = arith.addf %next, %next : tensor<128x64xf32>
      scf.yield %twice : tensor<128x64xf32>
    }
    %result = arith.truncf %sums : tensor<128x64xf32> to tensor<128x64xbf16>
    tile.scatter %result, %o[%row, %c0] : tensor<128x64xbf16>, !o, tensor<128xi32>
  }
}
