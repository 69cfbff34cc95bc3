// RUN: inlay-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{has 100 threads, expected a multiple of 32 up to 1024}}
cuda.kernel @threads() attributes {threads = 100 : i64} {
}

// -----

// expected-error @+1 {{has clusters of 9 blocks, expected 1 to 8, or 16}}
cuda.kernel @cluster() attributes {threads = 32 : i64, cluster = 9 : i64} {
}

// -----

// expected-error @+1 {{has -1 bytes of shared memory, expected 0 or more}}
cuda.kernel @shared() attributes {threads = 32 : i64, shared_bytes = -1 : i64} {
}

// -----

cuda.kernel @buffer() attributes {threads = 32 : i64} {
  // expected-error @+1 {{is aligned to 12 bytes, expected a power of two and a multiple of the element's 4 bytes}}
  %x = cuda.shared_buffer 64 align 12 : !cuda.ptr<f32, shared>
}

// -----

// expected-error @+1 {{argument 0 is readonly and of provenance activation, which earlier launches may write}}
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
  // expected-error @+1 {{accesses a 'i32' through a pointer to 'f32'}}
  %v = cuda.load %x[%i] : !cuda.ptr<f32, global>, index -> i32
}

// -----

cuda.kernel @indices() attributes {threads = 32 : i64} {
  %i = cuda.special lane
  %acc = cuda.local : !cuda.local<4x2xf32>
  // expected-error @+1 {{has 1 indices for '!cuda.local<4x2xf32>'}}
  %v = cuda.get %acc[%i] : !cuda.local<4x2xf32> -> f32
}

// -----

// expected-error @+1 {{a grid has one to three dimensions, found 4}}
#grid = #cuda.grid<1, 1, 1, 1>

// -----

// expected-error @+1 {{size 6 is out of range, expected 0 to 5}}
#grid = #cuda.grid<size 6>

// -----

// expected-error @+1 {{a grid's factors and divisors are positive, found 0}}
#grid = #cuda.grid<size 0 ceildiv 0>

// -----

// expected-error @+1 {{has 3 blocks along x, or a multiple of them, expected a multiple of the cluster size 2}}
cuda.kernel @clusters() attributes {threads = 32 : i64, cluster = 2 : i64, grid = #cuda.grid<3>} {
}

// -----

// expected-error @+1 {{a tensor map has elements of f32, bf16 or f16, found 'i32'}}
#map = #cuda.tensor_map<argument 0 : i32, dims = [64], strides = [], box = [64]>

// -----

// expected-error @+1 {{a tensor map has one to five dimensions, found 0}}
#map = #cuda.tensor_map<argument 0 : bf16, dims = [], strides = [], box = []>

// -----

// expected-error @+1 {{a tensor map of 2 dimensions has 1 strides and a box of 2, found 0 and 2}}
#map = #cuda.tensor_map<argument 0 : bf16, dims = [64, 64], strides = [], box = [64, 64]>

// -----

// expected-error @+1 {{a tensor map's dimensions are 1 to 2^32, found 0}}
#map = #cuda.tensor_map<argument 0 : bf16, dims = [0], strides = [], box = [64]>

// -----

// expected-error @+1 {{a tensor map's strides are multiples of 16 bytes below 2^40, found 24}}
#map = #cuda.tensor_map<argument 0 : bf16, dims = [12, 64], strides = [24], box = [8, 64]>

// -----

// expected-error @+1 {{a tensor map's box has 1 to 256 elements along each dimension, found 512}}
#map = #cuda.tensor_map<argument 0 : bf16, dims = [1024], strides = [], box = [512]>

// -----

// expected-error @+1 {{size 7 is out of range, expected 0 to 5}}
#map = #cuda.tensor_map<argument 0 : bf16, dims = [64, 1] * size 7, strides = [128], box = [64, 8]>

// -----

// expected-error @+1 {{a tensor map's box has rows of a multiple of 16 bytes, found 8}}
#map = #cuda.tensor_map<argument 0 : bf16, dims = [64], strides = [], box = [4]>

// -----

// expected-error @+1 {{a tensor map's swizzle is 0, 32, 64 or 128 bytes, found 16}}
#map = #cuda.tensor_map<argument 0 : bf16, dims = [64], strides = [], box = [8], swizzle = 16>

// -----

// expected-error @+1 {{a box with rows of 128 bytes is too wide for a swizzle of 64}}
#map = #cuda.tensor_map<argument 0 : bf16, dims = [64], strides = [], box = [64], swizzle = 64>

// -----

// expected-error @+1 {{a tensor map's l2_promotion is 0, 64, 128 or 256 bytes, found 512}}
#map = #cuda.tensor_map<argument 0 : bf16, dims = [64], strides = [], box = [64], l2_promotion = 512>

// -----

// expected-error @+1 {{describes 0 tensor maps, expected 1, one for each argument of type CUtensorMap}}
cuda.kernel @undescribed(%x: !cuda.ptr<bf16, global>, %map: !cuda.opaque<"CUtensorMap">)
    attributes {threads = 32 : i64, tensor_maps = []} {
}

// -----

#map = #cuda.tensor_map<argument 0 : bf16, dims = [64], strides = [], box = [64]>
// expected-error @+1 {{tensor map 0 refers to argument 0, expected a pointer to 'bf16'}}
cuda.kernel @described(%x: !cuda.ptr<f16, global>, %map: !cuda.opaque<"CUtensorMap">)
    attributes {threads = 32 : i64, tensor_maps = [#map]} {
}

// -----

cuda.kernel @sizes(%sizes: !cuda.opaque<"StepSizes">) attributes {threads = 32 : i64} {
  // expected-error @+1 {{attribute 'which' failed to satisfy constraint: 64-bit signless integer attribute whose value is non-negative whose maximum value is 5}}
  %0 = cuda.size 6
}
