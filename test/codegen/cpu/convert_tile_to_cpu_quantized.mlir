// RUN: inlay-opt --convert-tile-to-cpu --cse %s | FileCheck %s

// A product unpacks codes of 4 bits in registers. A vector of 16 words has 128 codes: fields 0 to 4 are in the words, the
// others in the words shifted by 20 bits. A field in the fraction of 2^23 (0x4B000000) becomes a number by a subtraction.
// Scales multiply the sums of a group.
!x = !tile.view<?x128xf32, activation, tokens>
!y = !tile.view<?x8xf32, output, tokens>

// CHECK-LABEL: func.func @int4
// CHECK: llvm.intr.prefetch
// CHECK: %[[BYTES:.*]] = llvm.load {{.*}} -> vector<64xi8>
// CHECK: %[[WORDS:.*]] = vector.bitcast %[[BYTES]] : vector<64xi8> to vector<16xi32>
// CHECK: arith.constant dense<20> : vector<16xi32>
// CHECK: %[[HIGH:.*]] = arith.shrui %[[WORDS]]
// CHECK: %[[MASK:.*]] = arith.constant dense<15> : vector<16xi32>
// CHECK: %[[FIELD:.*]] = arith.andi %[[WORDS]], %[[MASK]]
// CHECK: %[[FRACTION:.*]] = arith.constant dense<1258291200> : vector<16xi32>
// CHECK: %[[BITS:.*]] = arith.ori %[[FIELD]], %[[FRACTION]]
// CHECK: %[[FLOAT:.*]] = arith.bitcast %[[BITS]] : vector<16xi32> to vector<16xf32>
// CHECK: %[[ZERO:.*]] = arith.constant dense<0x4B000008> : vector<16xf32>
// CHECK: arith.subf %[[FLOAT]], %[[ZERO]]
// CHECK: arith.constant dense<240> : vector<16xi32>
// CHECK: arith.andi %[[HIGH]], %[[MASK]]
// CHECK: llvm.intr.fmuladd
// CHECK-NOT: llvm.intr.masked.gather
tile.program @int4(%w: !tile.view<8x64xi8, weight>, %s: !tile.view<8x2xf32, weight>, %x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1, s0)> {
  %row = tile.program_id 1
  %c0 = arith.constant 0 : index
  %codes = tile.load %w[%c0, %c0] : <8x64xi8, weight> -> tensor<8x64xi8>
  %scales = tile.load %s[%c0, %c0] : <8x2xf32, weight> -> tensor<8x2xf32>
  %v = tile.dequantize u4 %codes scales %scales {group = 64 : i64, zero_point = 8 : i64} : tensor<8x64xi8>, tensor<8x2xf32> -> tensor<8x128xf32>
  %a = tile.load %x[%row, %c0] : !x -> tensor<1x128xf32>
  %zero = arith.constant dense<0.0> : tensor<1x8xf32>
  %d = tile.dot %a, %v, %zero transpose_rhs : tensor<1x128xf32>, tensor<8x128xf32>, tensor<1x8xf32>
  tile.store %d, %y[%row, %c0] : tensor<1x8xf32>, !y
}

// Numbers of nf4 come from a table, so the whole tile is made first.
// CHECK-LABEL: func.func @nf4
// CHECK: llvm.intr.masked.gather
tile.program @nf4(%w: !tile.view<8x64xi8, weight>, %s: !tile.view<8x2xf32, weight>, %x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1, s0)> {
  %row = tile.program_id 1
  %c0 = arith.constant 0 : index
  %codes = tile.load %w[%c0, %c0] : <8x64xi8, weight> -> tensor<8x64xi8>
  %scales = tile.load %s[%c0, %c0] : <8x2xf32, weight> -> tensor<8x2xf32>
  %v = tile.dequantize nf4 %codes scales %scales {group = 64 : i64} : tensor<8x64xi8>, tensor<8x2xf32> -> tensor<8x128xf32>
  %a = tile.load %x[%row, %c0] : !x -> tensor<1x128xf32>
  %zero = arith.constant dense<0.0> : tensor<1x8xf32>
  %d = tile.dot %a, %v, %zero transpose_rhs : tensor<1x128xf32>, tensor<8x128xf32>, tensor<1x8xf32>
  tile.store %d, %y[%row, %c0] : tensor<1x8xf32>, !y
}
