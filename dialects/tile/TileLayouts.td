//===- TileLayouts.td - encodings of tiles: where their elements lie -------===//
//
// tile-assign-layouts gives each tile's type one of these. The mathematics of layouts
// stands in LinearLayout.h.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_TILE_LAYOUTS
#define INLAY_DIALECTS_TILE_LAYOUTS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/TensorEncoding.td"

class TileEncodingAttr<string cppName, string name>
    : AttrDef<TileDialect, cppName, [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let mnemonic = name;
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Tile_LayoutAttr : TileEncodingAttr<"Layout", "layout"> {
  let summary = "Where the elements of a tile lie in registers.";
  let description = [{
    A linear layout: for each bit of the numbers of register, lane, warp and block of a cluster, the element's
    coordinates that the bit adds (by XOR). `[0, 0]` adds nothing: the element is held once more. Each element of the
    tile must be held. The extent may be larger than the tile; what lies past its end is anything.

    A constant, an index or a broadcast with a layout is computed where it is used, and a load of memory that the
    program does not write is made where it is used first.

    ```mlir
    // The accumulator of mma.m16n8k16: register 1 is the next column, register 2 is 8 rows further.
    tensor<16x8xf32, #tile.layout<register = [[0, 1], [8, 0]], lane = [[0, 2], [0, 4], [1, 0], [2, 0], [4, 0]]>>
    ```
  }];
  let parameters = (ins "int64_t":$rank, ArrayRefParameter<"int64_t">:$registers, ArrayRefParameter<"int64_t">:$lanes,
                        ArrayRefParameter<"int64_t">:$warps, ArrayRefParameter<"int64_t">:$blocks);
  let extraClassDeclaration = [{
    /// The encoding of tiles of `rank` dimensions. The layout has five bits of a lane.
    static LayoutAttr of(::mlir::MLIRContext *context, int64_t rank, const LinearLayout &layout);
    LinearLayout getLayout() const;
  }];
}

def Tile_SharedAttr : TileEncodingAttr<"Shared", "shared"> {
  let summary = "Where the elements of a tile lie in shared memory.";
  let description = [{
    A linear layout from the offset, in elements, to the coordinates. With `pitch`, rows lie so many elements apart,
    and not the extent of the columns, so that rows lie in different banks.

    ```mlir
    // 8 rows of 64 elements of 16 bits under the 128-byte swizzle: a row changes the chunk of 8 columns.
    tensor<8x64xbf16, #tile.shared<offset = [[0, 1], [0, 2], [0, 4], [0, 8], [0, 16], [0, 32], [1, 8], [2, 16], [4, 32]]>>
    // Rows of 64 elements with a gap of 4.
    tensor<2x64xf32, #tile.shared<offset = [[0, 1], [0, 2], [0, 4], [0, 8], [0, 16], [0, 32], [1, 0]], pitch = 68>>
    ```
  }];
  let parameters = (ins "int64_t":$rank, ArrayRefParameter<"int64_t">:$offsets, "int64_t":$pitch);
  let extraClassDeclaration = [{
    /// The encoding of tiles of `rank` dimensions; `pitch` 0: none.
    static SharedAttr of(::mlir::MLIRContext *context, int64_t rank, const LinearLayout &layout, int64_t pitch = 0);
    LinearLayout getLayout() const;
    /// The elements of memory that a tile of `rows` rows takes.
    int64_t elements(int64_t rows) const;
  }];
}

#endif // INLAY_DIALECTS_TILE_LAYOUTS
