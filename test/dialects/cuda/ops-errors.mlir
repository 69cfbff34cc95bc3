// RUN: inlay-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{has 100 threads, expected a multiple of 32 up to 1024}}
cuda.kernel @threads() attributes {threads = 100 : i64} {
}

// -----

// expected-error @+1 {{has clusters of 9 blocks, expected 1 to 8, or 16}}
cuda.kernel @cluster() attributes {threads = 32 : i64, cluster = 9 : i64} {
}

// -----

// expected-error @+1 {{has -1 bytes of shared memory}}
cuda.kernel @shared() attributes {threads = 32 : i64, shared_bytes = -1 : i64} {
}

// -----

cuda.kernel @buffer() attributes {threads = 32 : i64} {
  // expected-error @+1 {{is aligned to 12 bytes, expected a power of two and a multiple of the element's 4 bytes}}
  %x = cuda.shared_buffer 64 align 12 : !cuda.ptr<f32, shared>
}

// -----

// expected-error @+1 {{argument 0 is readonly and of provenance activation, which launches before may write}}
cuda.kernel @early(%x: !cuda.ptr<f32, readonly> {cuda.provenance = #cuda.provenance<activation>}) attributes {threads = 32 : i64} {
}

// -----

// expected-error @+1 {{argument 0 has the provenance "weight", expected #cuda.provenance<...>}}
cuda.kernel @provenance(%x: !cuda.ptr<f32, readonly> {cuda.provenance = "weight"}) attributes {threads = 32 : i64} {
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
