#!/bin/sh
# make_cubins.sh BIN FOLDER: compiles every program of test/codegen/programs that check_kernels.py runs; needs no GPU.
# Matrix families are replaced by the generic lowering, so that it is what is checked.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for program in embedding argmax residual swiglu qkv_rope attention llama_decode_sm_90a; do
  sed 's/family = "\(matvec\|gemm\)"/family = "generic"/' "$here/../programs/$program.mlir" |
    "$1/inlay-translate" --tile-to-cubin --kernels-to="$2/$program" 2>"$2.log" || { cat "$2.log"; exit 1; }
done
