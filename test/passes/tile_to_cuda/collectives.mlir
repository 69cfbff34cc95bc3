// RUN: inlay-opt --tile-assign-layouts --convert-tile-to-cuda %s | FileCheck %s
// RUN: inlay-opt --pass-pipeline="builtin.module(tile-to-cuda)" %s | FileCheck %s --check-prefix=PLACED
// A collective with an exchange is a kernel whose last parameter is the rank's table of peers. Sums of up to 2 MiB of two
// ranks take one hop, larger ones two. Nothing is read before earlier launches have ended.
!x = !tile.view<?x4096xbf16, activation, tokens>
!y = !tile.view<?x4096xbf16, output, tokens>

// CHECK-LABEL: cuda.kernel @few_rows(
// CHECK-SAME: %[[X:[a-z0-9]+]]: !cuda.ptr<bf16, global>
// CHECK-SAME: %[[Y:[a-z0-9]+]]: !cuda.ptr<bf16, global>
// CHECK-SAME: !cuda.opaque<"StepSizes">
// CHECK-SAME: %[[PEERS:[a-z0-9]+]]: !cuda.ptr<!cuda.opaque<"PeerTable">, global> {cuda.name = "peers", cuda.provenance = #cuda.provenance<peer>}
// CHECK-SAME: grid = #cuda.grid<2>
// CHECK-SAME: threads = 256
// CHECK: %[[ROWS:[a-z0-9]+]] = cuda.size 0
// CHECK: %[[COUNT:[a-z0-9]+]] = arith.muli %[[ROWS]], %c4096
// CHECK-NEXT: cuda.call "all_reduce_one_shot<2>" from "peers.h"(%[[Y]], %[[X]], %[[PEERS]], %[[COUNT]])
// PLACED-LABEL: cuda.kernel @few_rows
// PLACED: cuda.depend
// PLACED: cuda.call "all_reduce_one_shot<2>"
tile.program @few_rows(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (2)> {
  tile.collective all_reduce %x, %y through <ranks = 2, rows = 1> : !x, !y
}

// CHECK-LABEL: cuda.kernel @many_rows(
// CHECK-SAME: threads = 512
// CHECK: %[[FEW:[a-z0-9]+]] = arith.cmpi slt, %{{.*}}, %c257
// CHECK-NEXT: scf.if %[[FEW]] {
// CHECK-NEXT: cuda.call "all_reduce_one_shot<2>"
// CHECK-NEXT: } else {
// CHECK-NEXT: cuda.call "all_reduce_two_shot<2>"
// PLACED-LABEL: cuda.kernel @many_rows
// PLACED: cuda.depend
// PLACED: scf.if
tile.program @many_rows(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (132)> {
  tile.collective all_reduce %x, %y through <ranks = 2, rows = 2048> : !x, !y
}

// CHECK-LABEL: cuda.kernel @gather(
// CHECK-SAME: %[[X:[a-z0-9]+]]: !cuda.ptr<f32, global>
// CHECK: %[[ROWS:[a-z0-9]+]] = cuda.size 3
// CHECK: cuda.call "all_gather<4>" from "all_gather.h"(%{{.*}}, %[[X]], %{{.*}}, %[[ROWS]], %c64{{.*}}, %c201{{.*}}, %c4
tile.program @gather(%x: !tile.view<?x64xf32, activation, logit_rows>, %y: !tile.view<?x201xf32, output, logit_rows>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  tile.collective all_gather %x, %y through <ranks = 4, rows = 4> : !tile.view<?x64xf32, activation, logit_rows>, !tile.view<?x201xf32, output, logit_rows>
}

// A rank has 1 MiB of a row of four ranks' logits in each buffer, so 8 rows go in a round.
// CHECK-LABEL: cuda.kernel @gather_in_rounds(
// CHECK-SAME: threads = 512
// CHECK: cuda.call "all_gather<4>" from "all_gather.h"({{.*}}, %c65536{{.*}}, %c262144{{.*}}, %c8)
tile.program @gather_in_rounds(%x: !tile.view<?x65536xf32, activation, logit_rows>, %y: !tile.view<?x262144xf32, output, logit_rows>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (132)> {
  tile.collective all_gather %x, %y through <ranks = 4, rows = 256> : !tile.view<?x65536xf32, activation, logit_rows>, !tile.view<?x262144xf32, output, logit_rows>
}

// Without an exchange no kernel is compiled.
// CHECK-LABEL: tile.program @left
tile.program @left(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  tile.collective all_reduce %x, %y : !x, !y
}
