// RUN: not inlay-opt %s --llm-select-library="tuning=%S/Inputs/libraries_malformed.json" 2>&1 | FileCheck %s --check-prefix=TEXT
// RUN: not inlay-opt %s --llm-select-library="tuning=%S/../tile/Inputs/measured_other_target.json" 2>&1 | FileCheck %s --check-prefix=TARGET
// TEXT: error: {{.*}}libraries_malformed.json: libraries[0].epilogue is "gated", expected one of store, residual; correct it, or remove the file
// TARGET: error: {{.*}}measured_other_target.json: target is 'sm_100a', expected 'sm_90a'
module {}
