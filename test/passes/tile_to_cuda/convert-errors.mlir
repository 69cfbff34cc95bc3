// RUN: inlay-opt --tile-hoist-loads --tile-assign-layouts --convert-tile-to-cuda --split-input-file --verify-diagnostics %s

// expected-error @+1 {{has no schedule of the family swap_ab yet; run tile-select-schedule and tile-apply-schedule first}}
tile.program @pending() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> schedule #tile.family<swap_ab> {
}

// -----

// The errors of all programs are reported.
// expected-error @+1 {{grid dimension 0 is neither a constant nor c * (size ceildiv d)}}
tile.program @sum() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0 + s1)> {
}
// expected-error @+1 {{grid dimension 1 is neither a constant nor c * (size ceildiv d)}}
tile.program @difference() grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1, s0 - 1)> {
}
