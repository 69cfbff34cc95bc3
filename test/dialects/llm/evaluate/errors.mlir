// RUN: inlay-opt %s --split-input-file --llm-evaluate --verify-diagnostics -o /dev/null

// expected-error @+1 {{argument 0 of @missing needs 'llm.value', a constant of 'tensor<?x2xf32>'}}
func.func @missing(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  return %x : tensor<?x2xf32>
}

// -----

// expected-error @+1 {{argument 0 of @columns is 'tensor<?x2xf32>', found 3 columns}}
func.func @columns(%x: tensor<?x2xf32> {llm.value = dense<0.0> : tensor<1x3xf32>}) -> tensor<?x2xf32> {
  return %x : tensor<?x2xf32>
}

// -----

// expected-error @+1 {{argument 0 of @ragged is '!llm.batch', found 2 sequences and 1 positions}}
func.func @ragged(%batch: !llm.batch {llm.value = {sequences = array<i64: 0, 1>, positions = array<i64: 0>}}) {
  return
}

// -----

// expected-error @+1 {{has the batch attribute 'positions' = array<i32: 0>, expected an array of i64}}
func.func @type(%batch: !llm.batch {llm.value = {positions = array<i32: 0>}}) {
  return
}

// -----

// expected-error @+1 {{has the source 'w', which was not read: this pass reads no checkpoint; give the weight a value}}
llm.weight @w : tensor<1x2xf32> from ["w"]
func.func @source(%x: tensor<?x2xf32> {llm.value = dense<0.0> : tensor<1x2xf32>}) {
  %y = llm.linear %x, @w : (tensor<?x2xf32>) -> tensor<?x1xf32>
  return
}

// -----

llm.weight @table : tensor<3x1xf32> = dense<0.0> : tensor<3x1xf32>
func.func @token(%tokens: tensor<?xi32> {llm.value = dense<3> : tensor<1xi32>}) {
  // expected-error @+1 {{looks up token 3 of 3}}
  %x = llm.embedding %tokens, @table : (tensor<?xi32>) -> tensor<?x1xf32>
  return
}

// -----

llm.rope_table @rope : tensor<4x2xf32> {inv_freq = array<f64: 1.0>}
func.func @position(%x: tensor<?x2xf32> {llm.value = dense<0.0> : tensor<1x2xf32>},
                    %batch: !llm.batch {llm.value = {sequences = array<i64: 0>, positions = array<i64: 4>}}) {
  // expected-error @+1 {{rotates position 4 of 4}}
  %y = llm.rope %x, %batch, @rope {head_dim = 2 : i64} : (tensor<?x2xf32>, !llm.batch) -> tensor<?x2xf32>
  return
}

// -----

func.func @rows(%a: tensor<?x1xf32> {llm.value = dense<0.0> : tensor<1x1xf32>},
                %b: tensor<?x1xf32> {llm.value = dense<0.0> : tensor<2x1xf32>}) {
  // expected-error @+1 {{has 1 rows and the other operand 2}}
  %y = llm.add %a, %b : tensor<?x1xf32>
  return
}

// -----

func.func @hole(%x: tensor<?x2xf32> {llm.value = dense<0.0> : tensor<1x2xf32>},
                %batch: !llm.batch {llm.value = {sequences = array<i64: 5>, positions = array<i64: 1>}}, %kv: !llm.kv_cache) {
  // expected-error @+1 {{appends position 1 to sequence 5, which has 0}}
  %kv1 = llm.kv_append %kv, %x, %x, %batch {layer = 0 : i64, head_dim = 2 : i64}
      : (!llm.kv_cache, tensor<?x2xf32>, tensor<?x2xf32>, !llm.batch) -> !llm.kv_cache
  return
}

// -----

func.func @empty(%x: tensor<?x2xf32> {llm.value = dense<0.0> : tensor<1x2xf32>},
                 %batch: !llm.batch {llm.value = {sequences = array<i64: 5>, positions = array<i64: 0>}}, %kv: !llm.kv_cache) {
  // expected-error @+1 {{attends from position 0 of sequence 5 in a layer that holds 0}}
  %y = llm.paged_attention %x, %kv, %batch {layer = 0 : i64, heads = 1 : i64, kv_heads = 1 : i64, head_dim = 2 : i64, scale = 1.0 : f64}
      : (tensor<?x2xf32>, !llm.kv_cache, !llm.batch) -> tensor<?x2xf32>
  return
}

// -----

func.func @gather(%x: tensor<?x1xf32> {llm.value = dense<0.0> : tensor<2x1xf32>},
                  %batch: !llm.batch {llm.value = {logit_rows = array<i64: -1>}}) {
  // expected-error @+1 {{gathers row -1 of 2}}
  %y = llm.gather_rows %x, %batch : (tensor<?x1xf32>, !llm.batch) -> tensor<?x1xf32>
  return
}

// -----

func.func @temperature(%x: tensor<?x1xf32> {llm.value = dense<0.0> : tensor<1x1xf32>},
                       %batch: !llm.batch {llm.value = {logit_rows = array<i64: 0>, temperatures = array<f64: 0.7>}}) {
  // expected-error @+1 {{samples at temperature 7.000000e-01; the reference takes the largest logit, which is temperature 0}}
  %y = llm.sample %x, %batch : (tensor<?x1xf32>, !llm.batch) -> tensor<?xi32>
  return
}

// -----

func.func @unknown() -> index {
  // expected-error @+1 {{has no case in the reference evaluator}}
  %i = arith.constant 0 : index
  return %i : index
}

// -----

llm.weight @table : tensor<4x1xf32> = dense<0.0> : tensor<4x1xf32>
func.func @learned_position(%batch: !llm.batch {llm.value = {sequences = array<i64: 0>, positions = array<i64: 2>}}) {
  // expected-error @+1 {{looks up position 2 in row 4 of 4}}
  %y = llm.position_embedding %batch, @table {offset = 2 : i64} : (!llm.batch) -> tensor<?x1xf32>
  return
}
