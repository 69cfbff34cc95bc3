// The blocks of a launch, counted over all dimensions of its grid.
#pragma once

__device__ __forceinline__ unsigned block_number() {
  return blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
}
__device__ __forceinline__ unsigned block_count() { return gridDim.x * gridDim.y * gridDim.z; }
