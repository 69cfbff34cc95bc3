#!/bin/sh
# make_cubins.sh BIN FOLDER [cubin|cuda]: compiles the programs that check_kernels.py runs. Needs no GPU. With `cuda` it
# writes only the sources, which check_kernels.py --emulate needs, and requires no NVRTC.
# The decode step of a model of one layer streams its weights. The programs of test/codegen/programs are lowered by
# the generic lowering. Further programs test the schedules stream (16 rows), gemm and swap_ab. swap_ab runs with
# K in one block, and with K split over two blocks that go through their ring twice, also with a number of rows that is no power
# of two. A block of gemm runs through all tiles; gemm_272 has one more tile of columns, which is not full.
set -eu
mkdir -p "$2"
here=$(cd "$(dirname "$0")" && pwd)
translate() {
  "$bin/inlay-translate" --tile-to-"$kind" --kernels-to="$1" >"$1.log" 2>&1 || { cat "$1.log"; exit 1; }
}
# The schedule of tiles of $1 rows, K in $2 blocks, $3 stages, $4 consumers (2). More than two have a multiprocessor alone.
swap_ab() {
  consumers=${4:-2}
  [ "$consumers" -gt 2 ] && slots="slots = 1, shared_bytes = 232448" || slots="slots = 2, shared_bytes = 115712"
  echo "#tile.swap_ab<tile_rows = $1, tile_columns = $((64 * consumers)), tile_k = 64, consumers = $consumers, split = $2, ${slots%,*}, stages = $3,${slots#*,}>"
}
bin=$1 folder=$2 kind=${3:-cubin}
model() {
  "$bin/inlay-opt" --pass-pipeline='builtin.module(llm-pack-weights,func.func(llm-plan-buffers),convert-llm-to-tile{target=sm_90a})'
}
model <"$here/../../passes/llm_to_tile/llama-decode.mlir" | translate "$folder/llama_decode"
model <"$here/../programs/layer_norm.mlir" | translate "$folder/layer_norm"
sed 's/= 8 : i64/= 1 : i64/g' "$here/../programs/layer_norm.mlir" | model | translate "$folder/layer_norm_1"
for program in embedding argmax residual swiglu qkv_rope attention; do
  translate "$folder/$program" <"$here/../programs/$program.mlir"
done
sed 's/#tile.family<swap_ab>/'"$(swap_ab 64 1 4)"'/' \
  "$here/../programs/swap_ab.mlir" | translate "$folder/swap_ab"
# The residual layer as $1, in schedule $2, with $3 columns (256).
linear() {
  columns=${3:-256}
  sed -e "s/256/$columns/g; s/(16, s0/($((columns / 16)), s0/" -e 's/%w: !w\([,)]\)/%w: !w {tile.packing = "atom_8x64"}\1/' -e "s/^\(    grid affine_map.*>\) {\$/\1 schedule $2 {/" \
    "$here/../programs/residual.mlir" | translate "$folder/$1"
}
linear matvec '#tile.family<matvec>'
# Weights on the right and on the left, a K that the warps divide evenly and not, one pass and several.
stream() {
  echo "#tile.stream<blocks = $1, warps = $2, tile_columns = $3, tile_k = $4, stages = $5, tiles = $6, rows = 16, depth = $7, slots = 2, shared_bytes = 115712>"
}
linear stream_right "$(stream 7 3 8 64 2 2 1)"
linear stream_left "$(stream 5 4 16 128 3 4 2)"
gemm='#tile.gemm<blocks = 1, tile_rows = 128, tile_columns = 256, tile_k = 64, stages = 4, consumers = 2, producer_registers = 40, consumer_registers = 232>'
linear gemm "$gemm"
linear gemm_272 "$gemm" 272
linear swap_ab_split "$(swap_ab 32 2 2)"
linear swap_ab_96 "$(swap_ab 96 2 2)"
# Tiles of 192 and of 448 columns, of which the last one is not full.
linear swap_ab_three "$(swap_ab 32 4 2 3)"
linear swap_ab_seven "$(swap_ab 64 2 3 7)" 528
