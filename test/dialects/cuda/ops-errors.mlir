// RUN: inlay-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{has 100 threads, expected a multiple of 32 up to 1024}}
cuda.kernel @threads() attributes {threads = 100 : i64} {
}

// -----

// expected-error @+1 {{has clusters of 9 blocks, expected 1 to 8, or 16}}
cuda.kernel @cluster() attributes {threads = 32 : i64, cluster = 9 : i64} {
}

// -----

// expected-error @+1 {{needs 300000 bytes of shared memory, a block has 232448}}
cuda.kernel @shared() attributes {threads = 32 : i64, shared_bytes = 300000 : i64} {
}

// -----

// expected-error @+1 {{argument 0 points into shared memory, expected global or readonly}}
cuda.kernel @argument(%x: !cuda.ptr<f32, shared>) attributes {threads = 32 : i64} {
}

// -----

cuda.kernel @readonly(%x: !cuda.ptr<f32, readonly>) attributes {threads = 32 : i64} {
  %i = cuda.special lane
  %v = cuda.load %x[%i] : !cuda.ptr<f32, readonly>, index -> f32
  // expected-error @+1 {{writes through a readonly pointer}}
  cuda.store %v, %x[%i] : f32, !cuda.ptr<f32, readonly>, index
}

// -----

cuda.kernel @element(%x: !cuda.ptr<f32, global>) attributes {threads = 32 : i64} {
  %i = cuda.special lane
  // expected-error @+1 {{moves a 'i32' through a pointer to 'f32'}}
  %v = cuda.load %x[%i] : !cuda.ptr<f32, global>, index -> i32
}

// -----

cuda.kernel @indices() attributes {threads = 32 : i64} {
  %i = cuda.special lane
  %acc = cuda.local : !cuda.local<4x2xf32>
  // expected-error @+1 {{has 1 indices for '!cuda.local<4x2xf32>'}}
  %v = cuda.get %acc[%i] : !cuda.local<4x2xf32> -> f32
}
