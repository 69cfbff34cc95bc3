// RUN: inlay-opt --pass-pipeline="builtin.module(cuda.kernel(cuda-allocate-shared))" --split-input-file --verify-diagnostics %s

// expected-error @+1 {{large (model.layers.0.mlp.down_proj) needs 262656 bytes of shared memory (ring 262144, barriers 512), but a block of sm_90a has 232448; use smaller tiles or fewer stages}}
cuda.kernel @large() attributes {threads = 128 : i64, origin = "model.layers.0.mlp.down_proj"} {
  %a = cuda.shared_buffer 262144 : !cuda.ptr<i8, shared> loc("ring")
  %b = cuda.shared_buffer 512 : !cuda.ptr<i64, shared> loc("barriers")
}

// -----

// expected-error @+1 {{many needs 8192 bytes of shared memory (a buffer 8192), but its schedule has 4096; use fewer stages}}
cuda.kernel @many() attributes {threads = 128 : i64, shared_bytes = 4096 : i64} {
  %a = cuda.shared_buffer 8192 : !cuda.ptr<i8, shared>
}

// -----

// expected-error @+1 {{granted needs 300000 bytes of shared memory, but a block of sm_90a has 232448}}
cuda.kernel @granted() attributes {threads = 128 : i64, shared_bytes = 300000 : i64} {
}
