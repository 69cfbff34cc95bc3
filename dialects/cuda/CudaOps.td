//===- CudaOps.td - the cuda dialect: CUDA C++ syntax ----------------------===//
//
// One op is one construct of the printed text. Scalars are computed by `arith`
// and `math` on integers, floats and `index`; control flow is `scf.for`, `scf.if`
// and `scf.while`. This dialect adds what those lack: kernels, memory, register
// arrays, coordinates of the thread, barriers, and calls of the functions in
// codegen/device.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_CUDA_OPS
#define INLAY_DIALECTS_CUDA_OPS

include "mlir/IR/OpBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/Interfaces/FunctionInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def CudaDialect : Dialect {
  let name = "cuda";
  let summary = "CUDA C++ syntax, one op per construct.";
  let description = [{
    C++ types: `index` and i32 are `int`, i64 is `long long`, i1 `bool`, i8 `signed
    char`, bf16 `bfloat16`, f16 `float16` and f8E4M3FN `e4m3` (device/base.h), `vector<4xi32>`
    `uint4`, `vector<2xi32>` `uint2`, `vector<4xf32>` `float4`, `vector<2xf32>`
    `float2`. An `scf.for` with the attribute `cuda.unroll` is printed under
    `#pragma unroll` (unit attribute) or `#pragma unroll N` (integer). If the
    location of an operation is a name, its variable gets that name.
  }];
  let cppNamespace = "::inlay::cuda";
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

def Cuda_Space : I32EnumAttr<"Space", "a memory space", [
    I32EnumAttrCase<"Global", 0, "global">,
    I32EnumAttrCase<"Readonly", 1, "readonly">, // global, never written while the kernel or its predecessor runs
    I32EnumAttrCase<"Shared", 2, "shared">,
    I32EnumAttrCase<"Local", 3, "local">]> {    // registers, if every index is constant after unrolling
  let cppNamespace = "::inlay::cuda";
  let genSpecializedAttr = 0;
}

def Cuda_Special : I32EnumAttr<"Special", "a coordinate of the thread", [
    I32EnumAttrCase<"ThreadX", 0, "thread_x">,
    I32EnumAttrCase<"Lane", 1, "lane">, // thread_x % 32
    I32EnumAttrCase<"Warp", 2, "warp">, // thread_x / 32, uniform in the warp
    I32EnumAttrCase<"BlockX", 3, "block_x">,
    I32EnumAttrCase<"BlockY", 4, "block_y">,
    I32EnumAttrCase<"BlockZ", 5, "block_z">,
    I32EnumAttrCase<"ClusterRank", 6, "cluster_rank">]> {
  let cppNamespace = "::inlay::cuda";
  let genSpecializedAttr = 0;
}

def Cuda_Cache : I32EnumAttr<"Cache", "how caches treat a load", [
    I32EnumAttrCase<"Default", 0, "default">,
    I32EnumAttrCase<"ReadOnly", 1, "read_only">,     // ld.global.nc
    I32EnumAttrCase<"L2Only", 2, "l2_only">]> {      // ld.global.cg
  let cppNamespace = "::inlay::cuda";
  let genSpecializedAttr = 0;
}

/// What may write the memory that a kernel accesses. Memory of the first three kinds may be read before `cuda.depend`,
/// because its writers end before the first launch of the step.
def Cuda_Provenance : I32EnumAttr<"Provenance", "who writes the memory behind a pointer or an access", [
    I32EnumAttrCase<"Weight", 0, "weight">,         // never written by a kernel of a step
    I32EnumAttrCase<"Meta", 1, "meta">,             // written by copies before the first launch of the step
    I32EnumAttrCase<"OlderKv", 2, "older_kv">,      // rows of the cache that earlier steps wrote; for accesses only
    I32EnumAttrCase<"Kv", 3, "kv">,                 // rows of the cache; a launch of this step writes the newest
    I32EnumAttrCase<"Activation", 4, "activation">, // written by an earlier launch of this step
    I32EnumAttrCase<"State", 5, "state">,           // read and written in place
    I32EnumAttrCase<"Output", 6, "output">,         // written by this launch; earlier ones may read the old contents
    I32EnumAttrCase<"Peer", 7, "peer">,             // written by other ranks and by earlier launches of this one
    I32EnumAttrCase<"Pushed", 8, "pushed">]> {      // the launch before writes it, pushes it to all ranks and may still run
  let cppNamespace = "::inlay::cuda";
  let genSpecializedAttr = 0;
}

def Cuda_ProvenanceAttr : EnumAttr<CudaDialect, Cuda_Provenance, "provenance"> {
  let assemblyFormat = "`<` $value `>`";
}
def Cuda_SpaceAttr : EnumAttr<CudaDialect, Cuda_Space, "space">;
def Cuda_SpecialAttr : EnumAttr<CudaDialect, Cuda_Special, "special">;
def Cuda_CacheAttr : EnumAttr<CudaDialect, Cuda_Cache, "cache">;

class CudaAttr<string name, string attrMnemonic> : AttrDef<CudaDialect, name> {
  let mnemonic = attrMnemonic;
  let genVerifyDecl = 1;
}

def Cuda_GridAttr : CudaAttr<"Grid", "grid"> {
  let summary = "The hardware blocks of a launch along x, y and z.";
  let description = [{
    One to three dimensions. Each is a constant or `M * (size N ceildiv D)`, where N is the number of a size of the
    step, as in `cuda.size`:

    ```mlir
    #cuda.grid<264, 2 * (size 0 ceildiv 64)>
    ```
  }];
  let parameters = (ins ArrayRefParameter<"::inlay::cuda::Count">:$dims);
  let hasCustomAssemblyFormat = 1;
}

def Cuda_TensorMapAttr : CudaAttr<"TensorMap", "tensor_map"> {
  let summary = "A CUtensorMap that a launch passes, for the memory of a pointer argument.";
  let description = [{
    The number of the argument and the element type, followed by the parameters of cuTensorMapEncodeTiled. `dims`
    (elements), `strides` (bytes, for all dimensions except the first) and `box` (elements) are innermost first;
    `swizzle` and `l2_promotion` are in bytes, 0 or omitted for none. With `* size N`, the last dimension is multiplied
    by the maximum of that size of the step in the entry point.

    ```mlir
    #cuda.tensor_map<argument 0 : bf16, dims = [4096, 1] * size 0, strides = [8192], box = [64, 16],
                     swizzle = 128, l2_promotion = 256>
    ```
  }];
  let parameters = (ins "uint32_t":$argument, "::mlir::Type":$elementType, ArrayRefParameter<"int64_t">:$dims,
                        "std::optional<uint32_t>":$capacity, OptionalArrayRefParameter<"int64_t">:$strides,
                        ArrayRefParameter<"int64_t">:$box, DefaultValuedParameter<"uint32_t", "0">:$swizzle,
                        DefaultValuedParameter<"uint32_t", "0">:$l2Promotion);
  let hasCustomAssemblyFormat = 1;
}

def Cuda_TensorMapArrayAttr : TypedArrayAttrBase<Cuda_TensorMapAttr, "array of #cuda.tensor_map">;

class CudaType<string name, string typeMnemonic> : TypeDef<CudaDialect, name> {
  let mnemonic = typeMnemonic;
}

def Cuda_PtrType : CudaType<"Ptr", "ptr"> {
  let summary = "A pointer: `!cuda.ptr<bf16, shared>`.";
  let description = [{
    `readonly` is `const T *__restrict__`: the C++ compiler may move such loads
    anywhere, also above a `cuda.depend`, so it is for weights and metadata only.
  }];
  let parameters = (ins "::mlir::Type":$elementType, "::inlay::cuda::Space":$space);
  let hasCustomAssemblyFormat = 1;
}

def Cuda_LocalType : CudaType<"Local", "local"> {
  let summary = "A variable: `!cuda.local<f32>`, or an array: `!cuda.local<4x8xf32>`.";
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Cuda_OpaqueType : CudaType<"Opaque", "opaque"> {
  let summary = "A C++ type that only called functions know: `!cuda.opaque<\"CUtensorMap\">`.";
  let description = [{
    As a kernel parameter it is passed by value, a CUtensorMap with the qualifiers
    `const __grid_constant__`.
  }];
  let parameters = (ins StringRefParameter<>:$name);
  let assemblyFormat = "`<` $name `>`";
}

defvar Cuda_Any = AnyType;
defvar Cuda_Int = AnyTypeOf<[Index, AnySignlessInteger]>;
def Cuda_Value : Type<CPred<"::inlay::cuda::isScalarOrVector($_self)">,
    "integer, index, float, or a vector of 8 or 16 bytes">;

class CudaOp<string mnemonic, list<Trait> traits = []> : Op<CudaDialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

def Cuda_KernelOp : CudaOp<"kernel", [FunctionOpInterface, IsolatedFromAbove, Symbol,
                                      SingleBlockImplicitTerminator<"ReturnOp">]> {
  let summary = "An `extern \"C\" __global__` function.";
  let description = [{
    The printed parameters are the arguments in order. The attribute `cuda.name` of an argument is its name, and
    `cuda.provenance` says what may write the memory that it points to.

    - `threads`: threads of a block
    - `min_blocks`: blocks that must fit on a multiprocessor
    - `cluster`: blocks of a cluster along x
    - `shared_bytes`: dynamic shared memory. Before cuda-allocate-shared it is the limit from the schedule, or 0 for no
      limit
    - `origin`: the model's ops that the kernel computes

    The remaining attributes describe a launch:

    - `grid`: the blocks
    - `tensor_maps`: one for each CUtensorMap among the arguments, in order
    - `dependent_launch`: the kernel may start while earlier launches run, because it waits for them with `cuda.depend`
    - `late_dependents`: the next launch starts after the launches before this one have ended. It may read what they wrote
      while this one runs (`early` of `cuda.call`)

    ```mlir
    cuda.kernel @copy(%x: !cuda.ptr<f32, readonly> {cuda.name = "x"}, %y: !cuda.ptr<f32, global> {cuda.name = "y"})
        attributes {threads = 128} {
      %t = cuda.special thread_x
      %v = cuda.load %x[%t] : !cuda.ptr<f32, readonly> -> f32
      cuda.store %v, %y[%t] : f32, !cuda.ptr<f32, global>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<FunctionType>:$function_type, I64Attr:$threads,
                       DefaultValuedAttr<I64Attr, "1">:$min_blocks, DefaultValuedAttr<I64Attr, "1">:$cluster,
                       DefaultValuedAttr<I64Attr, "0">:$shared_bytes, DefaultValuedStrAttr<StrAttr, "">:$origin,
                       OptionalAttr<Cuda_GridAttr>:$grid, OptionalAttr<Cuda_TensorMapArrayAttr>:$tensor_maps,
                       UnitAttr:$dependent_launch, UnitAttr:$late_dependents,
                       OptionalAttr<DictArrayAttr>:$arg_attrs, OptionalAttr<DictArrayAttr>:$res_attrs);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::ArrayRef<::mlir::Type> getArgumentTypes() { return getFunctionType().getInputs(); }
    ::mlir::ArrayRef<::mlir::Type> getResultTypes() { return getFunctionType().getResults(); }
    ::mlir::Region *getCallableRegion() { return &getBody(); }
    /// Empty if there is no `tensor_maps`.
    auto getTensorMapAttrs() {
      ::mlir::ArrayAttr maps = getTensorMapsAttr();
      return (maps ? maps : ::mlir::ArrayAttr::get(getContext(), {})).getAsRange<TensorMapAttr>();
    }
  }];
}

def Cuda_ReturnOp : CudaOp<"return", [Pure, Terminator, HasParent<"KernelOp">]> {
  let summary = "The end of a kernel.";
  let assemblyFormat = "attr-dict";
}

def Cuda_SpecialOp : CudaOp<"special", [Pure]> {
  let summary = "A coordinate of the thread, such as `threadIdx.x` or `blockIdx.y`.";
  let arguments = (ins Cuda_SpecialAttr:$which);
  let results = (outs Index:$result);
  let assemblyFormat = "$which attr-dict";
}

def Cuda_SizeOp : CudaOp<"size", [Pure]> {
  let summary = "A size of the step: `sizes.v[i]` of the parameter of type StepSizes.";
  let arguments = (ins ConfinedAttr<I64Attr, [IntNonNegative, IntMaxValue<5>]>:$which);
  let results = (outs Index:$result);
  let assemblyFormat = "$which attr-dict";
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

def Cuda_SharedBufferOp : CudaOp<"shared_buffer", [MemoryEffects<[MemAlloc]>]> {
  let summary = "A buffer in dynamic shared memory whose offset cuda-allocate-shared chooses.";
  let description = [{
    A buffer without `overlay` is in use from the start of the kernel to its end.
    Buffers of different overlays are never in use at the same time (a barrier
    separates their uses), so they may overlap. Buffers of one overlay do not overlap.

    ```mlir
    %ring = cuda.shared_buffer 32768 align 1024 : !cuda.ptr<bf16, shared>
    %tile = cuda.shared_buffer 4096 overlay 0 : !cuda.ptr<f32, shared>
    ```
  }];
  let arguments = (ins ConfinedAttr<I64Attr, [IntPositive]>:$bytes,
                       DefaultValuedAttr<ConfinedAttr<I64Attr, [IntPositive]>, "128">:$alignment,
                       OptionalAttr<ConfinedAttr<I64Attr, [IntNonNegative]>>:$overlay);
  let results = (outs Cuda_PtrType:$result);
  let assemblyFormat = "$bytes (`align` $alignment^)? (`overlay` $overlay^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Cuda_SharedOp : CudaOp<"shared", [Pure]> {
  let summary = "A typed pointer to dynamic shared memory at a byte offset.";
  let arguments = (ins ConfinedAttr<I64Attr, [IntNonNegative]>:$offset);
  let results = (outs Cuda_PtrType:$result);
  let assemblyFormat = "$offset attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Cuda_OffsetOp : CudaOp<"offset", [Pure, AllTypesMatch<["base", "result"]>]> {
  let summary = "`base + index`.";
  let arguments = (ins Cuda_PtrType:$base, Cuda_Int:$index);
  let results = (outs Cuda_PtrType:$result);
  let assemblyFormat = "$base `[` $index `]` attr-dict `:` type($base) `,` type($index)";
}

def Cuda_CastOp : CudaOp<"cast", [Pure]> {
  let summary = "The same address as a pointer to another element type.";
  let arguments = (ins Cuda_PtrType:$base);
  let results = (outs Cuda_PtrType:$result);
  let assemblyFormat = "$base attr-dict `:` type($base) `->` type($result)";
  let hasVerifier = 1;
}

def Cuda_LoadOp : CudaOp<"load", [MemoryEffects<[MemRead]>]> {
  let summary = "Reads `base[index]`, or a vector that starts there.";
  let description = [{
    The index is in elements of the pointer. A vector may cover several elements
    (for example 8 bf16 as `vector<4xi32>`). Its address is a multiple of its size.
  }];
  let arguments = (ins Cuda_PtrType:$base, Cuda_Int:$index,
                       DefaultValuedAttr<Cuda_CacheAttr, "::inlay::cuda::Cache::Default">:$cache);
  let results = (outs Cuda_Value:$result);
  let assemblyFormat = "$base `[` $index `]` (`cache` $cache^)? attr-dict `:` type($base) `,` type($index) `->` type($result)";
  let hasVerifier = 1;
}

def Cuda_StoreOp : CudaOp<"store", [MemoryEffects<[MemWrite]>]> {
  let summary = "Writes `base[index]`, or a vector that starts there.";
  let arguments = (ins Cuda_Value:$value, Cuda_PtrType:$base, Cuda_Int:$index);
  let assemblyFormat = "$value `,` $base `[` $index `]` attr-dict `:` type($value) `,` type($base) `,` type($index)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Variables
//===----------------------------------------------------------------------===//

def Cuda_LocalOp : CudaOp<"local", [MemoryEffects<[MemAlloc]>]> {
  let summary = "Declares a variable or an array; `fill` is the first value of each element.";
  let arguments = (ins Optional<AnyTypeOf<[AnySignlessInteger, Index, AnyFloat]>>:$fill);
  let results = (outs Cuda_LocalType:$result);
  let assemblyFormat = "(`fill` $fill^ `:` type($fill))? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Cuda_GetOp : CudaOp<"get", [MemoryEffects<[MemRead]>]> {
  let summary = "Reads a variable or an element of an array.";
  let arguments = (ins Cuda_LocalType:$variable, Variadic<Index>:$indices);
  let results = (outs Cuda_Any:$result);
  let assemblyFormat = "$variable `[` $indices `]` attr-dict `:` type($variable) `->` type($result)";
  let hasVerifier = 1;
}

def Cuda_SetOp : CudaOp<"set", [MemoryEffects<[MemWrite]>]> {
  let summary = "Assigns to a variable or an element of an array.";
  let arguments = (ins Cuda_Any:$value, Cuda_LocalType:$variable, Variadic<Index>:$indices);
  let assemblyFormat = "$value `,` $variable `[` $indices `]` attr-dict `:` type($value) `,` type($variable)";
  let hasVerifier = 1;
}

def Cuda_AddressOp : CudaOp<"address", [Pure]> {
  let summary = "`&variable[i]`: a pointer into an array, to pass to a call.";
  let arguments = (ins Cuda_LocalType:$variable, Variadic<Index>:$indices);
  let results = (outs Cuda_PtrType:$result);
  let assemblyFormat = "$variable `[` $indices `]` attr-dict `:` type($variable) `->` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Synchronisation and calls
//===----------------------------------------------------------------------===//

def Cuda_BarrierOp : CudaOp<"barrier"> {
  let summary = "`__syncthreads()`, or a named barrier of `threads` threads.";
  let arguments = (ins OptionalAttr<ConfinedAttr<I64Attr, [IntMinValue<1>, IntMaxValue<15>]>>:$id,
                       OptionalAttr<I64Attr>:$threads);
  let assemblyFormat = "($id^ `threads` $threads)? attr-dict";
  let hasVerifier = 1;
}

def Cuda_SyncWarpOp : CudaOp<"sync_warp"> {
  let summary = "`__syncwarp()`.";
  let assemblyFormat = "attr-dict";
}

def Cuda_DependOp : CudaOp<"depend"> {
  let summary = "`griddepcontrol.wait`: waits until earlier launches have ended and their writes are visible.";
  let assemblyFormat = "attr-dict";
}

def Cuda_LaunchDependentsOp : CudaOp<"launch_dependents"> {
  let summary = "`griddepcontrol.launch_dependents`: the next launch may start.";
  let assemblyFormat = "attr-dict";
}

def Cuda_CallOp : CudaOp<"call"> {
  let summary = "Calls a function of a device header.";
  let description = [{
    `callee` is the text before the parenthesis, including template arguments.
    `header` is the file in codegen/device that declares the function. Variables
    are passed by reference, pointers by value.

    `early`: the call may stand before `cuda.depend`. The launch before the kernel has `late_dependents`, so it alone may
    still run. Of what the call reads, it writes only the words that the call waits for. So one argument of the kernel is
    of provenance `pushed`: the rows of these words, which no early call reads.

    ```mlir
    cuda.call "mma_m16n8k16<bfloat16>" from "mma.h" (%acc, %a, %b)
      : (!cuda.local<4xf32>, !cuda.local<4xi32>, !cuda.local<2xi32>) -> ()
    ```
  }];
  let arguments = (ins StrAttr:$callee, StrAttr:$header, Variadic<Cuda_Any>:$inputs, UnitAttr:$early);
  let results = (outs Optional<Cuda_Any>:$result);
  let assemblyFormat = "$callee `from` $header `` `(` $inputs `)` attr-dict `:` functional-type($inputs, $result)";
  let hasVerifier = 1;
}

def Cuda_CommentOp : CudaOp<"comment"> {
  let summary = "A comment line.";
  let arguments = (ins StrAttr:$text);
  let assemblyFormat = "$text attr-dict";
}

#endif // INLAY_DIALECTS_CUDA_OPS
