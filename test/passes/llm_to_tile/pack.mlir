// RUN: inlay-opt %s --llm-pack-to-tile=source-type=f32 | FileCheck %s
// RUN: not inlay-opt %s --llm-pack-to-tile=source-type=i8 2>&1 | FileCheck %s --check-prefix=TYPE
// There is one program for each row order and number of columns.

// TYPE: source-type is 'i8', expected f32, bf16 or f16

// CHECK: llm.weight @qkv {{.*}} tile.pack = @pack_half_pairs_256
llm.weight @qkv : tensor<384x256xbf16> from ["q", "k", "v"] {row_order = #llm<row_order half_pairs>, head_dim = 32 : i64, packing = #llm<packing atom_8x64>}
// CHECK: llm.weight @gate_up {{.*}} tile.pack = @pack_alternate_200
llm.weight @gate_up : tensor<1024x200xbf16> from ["gate", "up"] {row_order = #llm<row_order alternate>, packing = #llm<packing atom_8x64>}
// Weights that differ only in the number of rows share a program.
// CHECK: llm.weight @o {{.*}} tile.pack = @pack_plain_256
llm.weight @o : tensor<250x256xbf16> from ["o"] {packing = #llm<packing atom_8x64>}
// CHECK: llm.weight @head {{.*}} tile.pack = @pack_plain_256
llm.weight @head : tensor<1000x256xbf16> from ["head"] {packing = #llm<packing atom_8x64>}
// The host packs weights that are stored unchanged, and heads that are not whole groups of 8 rows.
// CHECK-NOT: tile.pack
llm.weight @norm : tensor<256xbf16> from ["norm"]
llm.weight @odd : tensor<24x256xbf16> from ["odd"] {row_order = #llm<row_order half_pairs>, head_dim = 12 : i64, packing = #llm<packing atom_8x64>}

// CHECK: tile.program @pack_half_pairs_256(%[[SOURCE:.*]]: !tile.view<?x256xf32, weight, tokens>, %[[PACKED:.*]]: !tile.view<?x256xbf16, output> {tile.packing = "atom_8x64", tile.rows = affine_map<{{.*}} -> ((s0 ceildiv 8) * 8)>})
// CHECK: %[[ROWS:.*]] = tile.gather %[[SOURCE]]
// CHECK: %[[CONVERTED:.*]] = arith.truncf %[[ROWS]]
// CHECK: tile.store %[[CONVERTED]], %[[PACKED]]
// Columns are padded to whole atoms.
// CHECK: tile.program @pack_alternate_200({{.*}}?x200xf32, weight, tokens>, {{.*}}?x256xbf16, output>
// CHECK: tile.program @pack_plain_256
