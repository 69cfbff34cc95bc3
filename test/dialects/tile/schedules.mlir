// RUN: inlay-opt %s | inlay-opt | FileCheck %s
// A schedule stands behind the grid. Numbers that are 1 for most generic programs may be left out.
#map = affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)>

// CHECK: tile.program @none() grid #map {
tile.program @none() grid #map {
}
// CHECK: tile.program @pending() grid #map schedule #tile.family<swap_ab> {
tile.program @pending() grid #map schedule #tile.family<swap_ab> {
}
// CHECK: tile.program @library() grid #map schedule #tile.cublaslt {
tile.program @library() grid #map schedule #tile.cublaslt {
}
// CHECK: tile.program @generic() grid #map schedule #tile.generic<> {
tile.program @generic() grid #map schedule #tile.generic<cluster = 1> {
}
// CHECK: tile.program @cluster() grid #map schedule #tile.generic<cluster = 4, slots = 2> attributes {origin = "layers.0"} {
tile.program @cluster() grid #map schedule #tile.generic<cluster = 4, slots = 2> attributes {origin = "layers.0"} {
}
// CHECK: tile.program @attention() grid #map schedule #tile.generic<query_rows = 4, tile_rows = 16, tile_keys = 64> {
tile.program @attention() grid #map schedule #tile.generic<query_rows = 4, tile_rows = 16, tile_keys = 64> {
}
// CHECK: tile.program @stream() grid #map schedule #tile.stream<blocks = 264, warps = 8, tile_columns = 16, tile_k = 128, stages = 2, tiles = 2, rows = 8, depth = 1, slots = 2, shared_bytes = 115712> {
tile.program @stream() grid #map schedule #tile.stream<
    shared_bytes = 115712, blocks = 264, warps = 8, tile_columns = 16, tile_k = 128, stages = 2, tiles = 2, rows = 8, depth = 1, slots = 2> {
}
// CHECK: tile.program @decode() grid #map schedule #tile.decode_attention<query_rows = 1, tile_rows = 8, tile_keys = 16, warps = 8, stages = 6, slots = 2, cluster = 16> {
tile.program @decode() grid #map schedule #tile.decode_attention<query_rows = 1, tile_rows = 8, tile_keys = 16, warps = 8, stages = 6, slots = 2, cluster = 16> {
}
