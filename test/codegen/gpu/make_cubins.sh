#!/bin/sh
# make_cubins.sh BIN FOLDER [cubin|cuda]: compiles every program of test/codegen/programs that check_kernels.py runs; needs
# no GPU. With `cuda` only the text is written, which is what check_kernels.py --emulate needs; then NVRTC is not needed.
# Matrix families are replaced by the generic lowering, so that it is what is checked.
set -eu
mkdir -p "$2"
here=$(cd "$(dirname "$0")" && pwd)
for program in embedding argmax residual swiglu qkv_rope attention llama_decode_sm_90a llama_mixed_sm_90a; do
  sed 's/family = "\(matvec\|gemm\)"/family = "generic"/' "$here/../programs/$program.mlir" |
    "$1/inlay-translate" --tile-to-"${3:-cubin}" --kernels-to="$2/$program" >"$2.log" 2>&1 || { cat "$2.log"; exit 1; }
done
