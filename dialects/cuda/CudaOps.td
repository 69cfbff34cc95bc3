//===- CudaOps.td - the cuda dialect: CUDA C++ syntax ----------------------===//
//
// One op is one construct of the printed text. Scalars are computed by `arith`
// and `math` on integers, floats and `index`; control is `scf.for`, `scf.if` and
// `scf.while`. The ops here are what those lack: kernels, memory, registers that
// are arrays, the thread's coordinates, barriers, and calls of the small
// functions in codegen/device.
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
    char`, bf16 `bfloat16` and f16 `float16` (device/base.h), `vector<4xi32>`
    `uint4`, `vector<2xi32>` `uint2`, `vector<4xf32>` `float4`, `vector<2xf32>`
    `float2`. An `scf.for` with the attribute `cuda.unroll` is printed under
    `#pragma unroll` (unit attribute) or `#pragma unroll N` (integer). An operation
    whose location is a name passes it on to the variable that it defines.
  }];
  let cppNamespace = "::inlay::cuda";
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

def Cuda_Space : I32EnumAttr<"Space", "where memory lies", [
    I32EnumAttrCase<"Global", 0, "global">,
    I32EnumAttrCase<"Readonly", 1, "readonly">, // global, never written while the kernel or its predecessor runs
    I32EnumAttrCase<"Shared", 2, "shared">,
    I32EnumAttrCase<"Local", 3, "local">]> {    // registers, when every index is known after unrolling
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

/// Who may write memory while a kernel that reads it is about to start. The first three may be read before
/// `cuda.depend`: their writers have ended before the step's first launch.
def Cuda_Provenance : I32EnumAttr<"Provenance", "who writes the memory behind a pointer or an access", [
    I32EnumAttrCase<"Weight", 0, "weight">,         // nobody on the device
    I32EnumAttrCase<"Meta", 1, "meta">,             // copies before the step's first launch
    I32EnumAttrCase<"OlderKv", 2, "older_kv">,      // rows of the cache that steps before wrote; said of an access
    I32EnumAttrCase<"Kv", 3, "kv">,                 // the same, and a launch of this step for the newest rows
    I32EnumAttrCase<"Activation", 4, "activation">, // a launch of this step before this one
    I32EnumAttrCase<"State", 5, "state">,           // read and written in place
    I32EnumAttrCase<"Output", 6, "output">]> {      // this launch; those before may still read what lay there
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
    One to three dimensions. Each is a constant, or so many times the quotient, rounded up, of a size of the
    step (by number, as `cuda.size` names it) and a divisor:

    ```mlir
    #cuda.grid<264, 2 * (size 0 ceildiv 64)>
    ```
  }];
  let parameters = (ins ArrayRefParameter<"::inlay::cuda::Count">:$dims);
  let hasCustomAssemblyFormat = 1;
}

def Cuda_TensorMapAttr : CudaAttr<"TensorMap", "tensor_map"> {
  let summary = "A CUtensorMap that a launch passes, of the memory behind a pointer argument.";
  let description = [{
    The number of the argument and the element type, then what cuTensorMapEncodeTiled takes. `dims` (elements),
    `strides` (bytes, of all dimensions but the first) and `box` (elements) are innermost first; `swizzle` and
    `l2_promotion` are bytes, 0 (or left out) for none. With `* size N` the last dimension is multiplied by the most
    that the entry point takes of that size of the step.

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
  let summary = "A C++ type that only calls look into: `!cuda.opaque<\"CUtensorMap\">`.";
  let description = [{
    As a kernel parameter it is passed by value: a CUtensorMap as `const
    __grid_constant__`, everything else as it is.
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
    The printed parameters are the arguments in order; an argument's attribute
    `cuda.name` names it, `cuda.provenance` says who writes what it points at. `threads` is the block's size, `min_blocks` the blocks
    that must fit an SM, `cluster` the blocks of a cluster along x, `shared_bytes`
    the dynamic shared memory (before cuda-allocate-shared: what a schedule grants
    it, 0 for as much as its buffers need), `origin` the model's ops.

    What a launch must know stands here too: `grid`; `tensor_maps`, one for each CUtensorMap among the arguments, in
    order; `dependent_launch` if the kernel waits for the launches before it by `cuda.depend`, so that it may start
    while they run.

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
                       UnitAttr:$dependent_launch,
                       OptionalAttr<DictArrayAttr>:$arg_attrs, OptionalAttr<DictArrayAttr>:$res_attrs);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::ArrayRef<::mlir::Type> getArgumentTypes() { return getFunctionType().getInputs(); }
    ::mlir::ArrayRef<::mlir::Type> getResultTypes() { return getFunctionType().getResults(); }
    ::mlir::Region *getCallableRegion() { return &getBody(); }
    /// None where `tensor_maps` is left out.
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
  let summary = "`threadIdx.x`, `blockIdx.y` and their like.";
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
  let summary = "A buffer in dynamic shared memory whose place cuda-allocate-shared chooses.";
  let description = [{
    A buffer without `overlay` is in use from the kernel's start to its end. Of buffers
    with different overlays only one is in use at a time (a barrier stands between),
    so that they may share their place; those of one overlay are disjoint.

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
  let summary = "A part of the dynamic shared memory, as a typed pointer at a byte offset.";
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
    The index counts elements of the pointer. A vector may cover several of them
    (8 bf16 as `vector<4xi32>`) and its address is a multiple of its size.
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
  let summary = "`&variable[i]`: a pointer to the rest of an array, for a call.";
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
  let summary = "`griddepcontrol.wait`: what the launches before this one wrote can be read from here.";
  let assemblyFormat = "attr-dict";
}

def Cuda_LaunchDependentsOp : CudaOp<"launch_dependents"> {
  let summary = "`griddepcontrol.launch_dependents`: the next launch may start.";
  let assemblyFormat = "attr-dict";
}

def Cuda_CallOp : CudaOp<"call"> {
  let summary = "Calls a function of a device header.";
  let description = [{
    `callee` is the text before the parenthesis, template arguments included;
    `header` the file under codegen/device that declares it. Variables that are
    passed are taken by reference, pointers as they are.

    ```mlir
    cuda.call "mma_m16n8k16<bfloat16>" from "mma.h" (%acc, %a, %b)
      : (!cuda.local<4xf32>, !cuda.local<4xi32>, !cuda.local<2xi32>) -> ()
    ```
  }];
  let arguments = (ins StrAttr:$callee, StrAttr:$header, Variadic<Cuda_Any>:$inputs);
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
