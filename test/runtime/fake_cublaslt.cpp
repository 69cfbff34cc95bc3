// A libcublasLt.so for tests on machines without a GPU. It computes products of column-major bfloat16 matrices in host
// memory, as cublasLt.h defines them. The result is bfloat16 or float. With FAKE_CUBLASLT=none it finds no algorithm
// for any product.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

using Result = int;
constexpr Result kOk = 0, kInvalidValue = 7, kNotSupported = 15;
constexpr int kFloat32 = 0, kBFloat16 = 14;

struct Operation {
  int transposes_a = 0;
};
struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t leading_dimension;
};
struct Heuristic {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  Result state;
  float waves;
  int reserved[4];
};

float ToFloat(uint16_t bits) {
  uint32_t wide = uint32_t{bits} << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

// Rounds to nearest, ties to even.
uint16_t FromFloat(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

size_t At(const Layout &layout, uint64_t row, uint64_t column) {
  return static_cast<size_t>(column) * static_cast<size_t>(layout.leading_dimension) + row;
}

float Load(const void *matrix, const Layout &layout, uint64_t row, uint64_t column) {
  size_t at = At(layout, row, column);
  return layout.type == kFloat32 ? static_cast<const float *>(matrix)[at]
                                 : ToFloat(static_cast<const uint16_t *>(matrix)[at]);
}

void Store(float value, void *matrix, const Layout &layout, uint64_t row, uint64_t column) {
  size_t at = At(layout, row, column);
  if (layout.type == kFloat32)
    static_cast<float *>(matrix)[at] = value;
  else
    static_cast<uint16_t *>(matrix)[at] = FromFloat(value);
}

} // namespace

// The names are those of cuBLASLt.
// NOLINTBEGIN(readability-identifier-naming)
extern "C" {

Result cublasLtCreate(void **handle) {
  *handle = std::malloc(1);
  return kOk;
}
Result cublasLtDestroy(void *handle) {
  std::free(handle);
  return kOk;
}
const char *cublasLtGetStatusString(Result result) {
  return result == kNotSupported ? "not supported" : "invalid value";
}
Result cublasLtMatmulDescCreate(Operation **operation, int, int) {
  *operation = new Operation;
  return kOk;
}
Result cublasLtMatmulDescDestroy(Operation *operation) {
  delete operation;
  return kOk;
}
Result cublasLtMatmulDescSetAttribute(Operation *operation, int attribute, const void *value, size_t bytes) {
  if (attribute != 3 || bytes != sizeof operation->transposes_a)
    return kInvalidValue;
  std::memcpy(&operation->transposes_a, value, bytes);
  return kOk;
}
Result cublasLtMatrixLayoutCreate(Layout **layout, int type, uint64_t rows, uint64_t columns,
                                  int64_t leading_dimension) {
  *layout = new Layout{type, rows, columns, leading_dimension};
  return kOk;
}
Result cublasLtMatrixLayoutDestroy(Layout *layout) {
  delete layout;
  return kOk;
}
Result cublasLtMatrixLayoutSetAttribute(Layout *layout, int attribute, const void *value, size_t bytes) {
  if (attribute != 3 || bytes != sizeof layout->columns)
    return kInvalidValue;
  std::memcpy(&layout->columns, value, bytes);
  return kOk;
}
Result cublasLtMatmulPreferenceCreate(void **preference) { return cublasLtCreate(preference); }
Result cublasLtMatmulPreferenceDestroy(void *preference) { return cublasLtDestroy(preference); }
Result cublasLtMatmulPreferenceSetAttribute(void *, int, const void *, size_t) { return kOk; }
Result cublasLtMatmulAlgoGetHeuristic(void *, Operation *, Layout *, Layout *, Layout *, Layout *, void *, int,
                                      Heuristic *found, int *count) {
  const char *fault = std::getenv("FAKE_CUBLASLT");
  *count = fault && std::string_view(fault) == "none" ? 0 : 1;
  found->state = kOk;
  return *count == 1 ? kOk : kNotSupported;
}
Result cublasLtMatmul(void *, Operation *operation, const float *alpha, const void *a, Layout *a_layout, const void *b,
                      Layout *b_layout, const float *beta, const void *c, Layout *c_layout, void *d, Layout *d_layout,
                      const void *, void *, size_t, void *) {
  if (a_layout->type != kBFloat16 || b_layout->type != kBFloat16 || c_layout->type != d_layout->type ||
      (d_layout->type != kBFloat16 && d_layout->type != kFloat32))
    return kNotSupported;
  if (operation->transposes_a != 1 || a_layout->rows != b_layout->rows || a_layout->columns != d_layout->rows ||
      b_layout->columns != d_layout->columns || c_layout->columns != d_layout->columns)
    return kInvalidValue;
  for (uint64_t column = 0; column < d_layout->columns; ++column)
    for (uint64_t row = 0; row < d_layout->rows; ++row) {
      float sum = 0;
      for (uint64_t k = 0; k < a_layout->rows; ++k)
        sum += Load(a, *a_layout, k, row) * Load(b, *b_layout, k, column);
      float added = *beta == 0 ? 0 : *beta * Load(c, *c_layout, row, column);
      Store(*alpha * sum + added, d, *d_layout, row, column);
    }
  return kOk;
}
}
// NOLINTEND(readability-identifier-naming)
