// RUN: inlay-opt --convert-tile-to-cuda --split-input-file --verify-diagnostics %s

// expected-error @+1 {{family 'magic' has no CUDA lowering; expected attention, decode_attention, gemm, generic, matvec, prefill_attention, rows, sample, swap_ab}}
tile.program @family() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> attributes {family = "magic"} {
}

// -----

// The errors of all programs are reported.
// expected-error @+1 {{grid dimension 0 is neither a constant nor c * (size ceildiv d)}}
tile.program @sum() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 + s1)> {
}
// expected-error @+1 {{grid dimension 1 is neither a constant nor c * (size ceildiv d)}}
tile.program @difference() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1, s0 - 1)> {
}
