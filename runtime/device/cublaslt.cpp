#include "runtime/device/cublaslt.h"

#include "fmt/format.h"
#include "runtime/bundle/recipe.h"
#include "runtime/device/cuda_libraries.h"
#include "runtime/device/symbols.h"

#include <array>

namespace inlay {
namespace {

// Declarations of cublasLt.h 13.0. They have not changed since 11.0.
using Result = int; // 0: success
using Handle = struct HandleTag *;
using Operation = struct OperationTag *;
using Layout = struct LayoutTag *;
using Preference = struct PreferenceTag *;

struct Algorithm {
  uint64_t opaque[8];
};

struct Heuristic {
  Algorithm algorithm;
  size_t workspace_bytes;
  Result state;
  float waves;
  int reserved[4];
};

constexpr int kCompute32F = 68;                                 // cublasComputeType_t
constexpr int kReal32F = 0, kReal16F = 2, kReal16BF = 14;       // cudaDataType_t
constexpr int kTransposed = 1;                                  // cublasOperation_t
constexpr int kOfFirst = 3;                                     // CUBLASLT_MATMUL_DESC_TRANSA
constexpr int kLayoutColumns = 3;                               // CUBLASLT_MATRIX_LAYOUT_COLS
constexpr int kMaxWorkspaceBytes = 1, kReductionSchemeMask = 3; // cublasLtMatmulPreferenceAttributes_t
constexpr std::array<int, 4> kMinAlignment = {5, 6, 7, 8};      // of the same enum: alignment of A, B, C and D

struct Api {
  Result (*create)(Handle *);
  Result (*destroy)(Handle);
  const char *(*status_string)(Result);
  Result (*operation_create)(Operation *, int compute_type, int scale_type);
  Result (*operation_destroy)(Operation);
  Result (*operation_set)(Operation, int attribute, const void *value, size_t bytes);
  Result (*layout_create)(Layout *, int type, uint64_t rows, uint64_t columns, int64_t leading_dimension);
  Result (*layout_destroy)(Layout);
  Result (*layout_set)(Layout, int attribute, const void *value, size_t bytes);
  Result (*preference_create)(Preference *);
  Result (*preference_destroy)(Preference);
  Result (*preference_set)(Preference, int attribute, const void *value, size_t bytes);
  Result (*heuristic)(Handle, Operation, Layout a, Layout b, Layout c, Layout d, Preference, int wanted, Heuristic *,
                      int *found);
  Result (*matmul)(Handle, Operation, const void *alpha, const void *a, Layout, const void *b, Layout, const void *beta,
                   const void *c, Layout, void *d, Layout, const Algorithm *, void *workspace, size_t workspace_bytes,
                   cuda_driver::Stream);
};

int TypeOf(const plan::Columns &columns) {
  return columns.type() == plan::DataType_BF16 ? kReal16BF : columns.type() == plan::DataType_F16 ? kReal16F : kReal32F;
}

// A product in terms of the library. Its matrices are column-major, so a row of the plan's row-major matrices is a
// column for the library: D = C + A^T B, where A is the weight, B the input, C the residual and D the output.
class Product : public CublasLtProduct {
public:
  Product(const Api &api, Handle handle, const plan::Kernel &kernel) : api_(api), handle_(handle), kernel_(kernel) {}

  ~Product() override {
    for (Layout layout : {weight_, input_, residual_, output_})
      if (layout)
        api_.layout_destroy(layout);
    if (operation_)
      api_.operation_destroy(operation_);
  }

  absl::Status Prepare(uint32_t max_rows) {
    const plan::LibraryProduct &product = *kernel_.body_as_LibraryProduct();
    const plan::Columns &residual = product.residual() ? *product.residual() : *product.output();
    bool made = api_.operation_create(&operation_, kCompute32F, kReal32F) == 0 &&
                api_.operation_set(operation_, kOfFirst, &kTransposed, sizeof kTransposed) == 0 &&
                Make(weight_, *product.weight(), product.k(), product.columns()) &&
                Make(input_, *product.input(), product.k(), max_rows) &&
                Make(residual_, residual, product.columns(), max_rows) &&
                Make(output_, *product.output(), product.columns(), max_rows);
    if (!made)
      return absl::InternalError(
          fmt::format("cublaslt: creating the descriptors of the product '{}' failed", kernel_.name()->string_view()));
    return Choose(max_rows);
  }

  absl::Status Launch(std::span<void *const> arguments, int32_t rows, cuda_driver::Stream stream) override {
    const plan::LibraryProduct &product = *kernel_.body_as_LibraryProduct();
    const plan::Columns &residual = product.residual() ? *product.residual() : *product.output();
    auto count = static_cast<uint64_t>(rows);
    for (Layout layout : {input_, residual_, output_})
      api_.layout_set(layout, kLayoutColumns, &count, sizeof count);
    const float alpha = 1, beta = product.residual() ? 1 : 0;
    Result result = api_.matmul(handle_, operation_, &alpha, At(arguments, *product.weight()), weight_,
                                At(arguments, *product.input()), input_, &beta, At(arguments, residual), residual_,
                                At(arguments, *product.output()), output_, &algorithm_, nullptr, 0, stream);
    if (result != 0)
      return absl::InternalError(fmt::format("cublaslt: {} (error {}) while launching {} for {} rows",
                                             api_.status_string(result), result, kernel_.name()->string_view(), rows));
    return absl::OkStatus();
  }

private:
  static std::byte *At(std::span<void *const> arguments, const plan::Columns &columns) {
    return static_cast<std::byte *>(arguments[columns.argument()]) +
           uint64_t{columns.column()} * ElementSize(columns.type());
  }

  bool Make(Layout &layout, const plan::Columns &columns, uint64_t rows, uint64_t count) const {
    return api_.layout_create(&layout, TypeOf(columns), rows, count, columns.pitch()) == 0;
  }

  // The largest power of two, at most 16 bytes, that divides the operand's offset and the pitch of its rows.
  static uint32_t AlignmentOf(const plan::Columns &columns) {
    uint64_t size = ElementSize(columns.type());
    uint64_t bits = uint64_t{16} | columns.column() * size | columns.pitch() * size;
    return static_cast<uint32_t>(bits & (~bits + 1));
  }

  absl::Status Choose(uint32_t max_rows) {
    const plan::LibraryProduct &product = *kernel_.body_as_LibraryProduct();
    const plan::Columns &residual = product.residual() ? *product.residual() : *product.output();
    Preference preference = nullptr;
    uint64_t workspace = 0;
    uint32_t schemes = 0; // no split K: the order in which the partial sums are added could depend on the rows
    bool made = api_.preference_create(&preference) == 0 &&
                api_.preference_set(preference, kMaxWorkspaceBytes, &workspace, sizeof workspace) == 0 &&
                api_.preference_set(preference, kReductionSchemeMask, &schemes, sizeof schemes) == 0;
    const plan::Columns *operands[] = {product.weight(), product.input(), &residual, product.output()};
    for (size_t i = 0; i < kMinAlignment.size() && made; ++i) {
      uint32_t alignment = AlignmentOf(*operands[i]);
      made = api_.preference_set(preference, kMinAlignment[i], &alignment, sizeof alignment) == 0;
    }
    Heuristic best{};
    int found = 0;
    Result result =
        made ? api_.heuristic(handle_, operation_, weight_, input_, residual_, output_, preference, 1, &best, &found)
             : -1;
    if (preference)
      api_.preference_destroy(preference);
    if (result != 0 || found < 1 || best.state != 0)
      return absl::UnimplementedError(
          fmt::format("cublaslt has no algorithm for the product '{}': {} rows x {} columns over {}; compile the model "
                      "again with --library never",
                      kernel_.name()->string_view(), max_rows, product.columns(), product.k()));
    algorithm_ = best.algorithm;
    return absl::OkStatus();
  }

  const Api &api_;
  Handle handle_;
  const plan::Kernel &kernel_;
  Operation operation_ = nullptr;
  Layout weight_ = nullptr, input_ = nullptr, residual_ = nullptr, output_ = nullptr;
  Algorithm algorithm_{};
};

class Library : public CublasLt {
public:
  ~Library() override {
    if (handle_)
      api_.destroy(handle_);
  }

  absl::Status Load(const std::string &path) {
    static const CudaLibrary kLibrary = {"libcublasLt.so", {}, {"nvidia/cublas/lib"}};
    Api loaded{};
    absl::StatusOr<std::string> file = LoadCudaLibrary(kLibrary, path, [&](void *handle, const std::string &name) {
      Symbols find{handle, {}};
      find(loaded.create, "cublasLtCreate");
      find(loaded.destroy, "cublasLtDestroy");
      find(loaded.status_string, "cublasLtGetStatusString");
      find(loaded.operation_create, "cublasLtMatmulDescCreate");
      find(loaded.operation_destroy, "cublasLtMatmulDescDestroy");
      find(loaded.operation_set, "cublasLtMatmulDescSetAttribute");
      find(loaded.layout_create, "cublasLtMatrixLayoutCreate");
      find(loaded.layout_destroy, "cublasLtMatrixLayoutDestroy");
      find(loaded.layout_set, "cublasLtMatrixLayoutSetAttribute");
      find(loaded.preference_create, "cublasLtMatmulPreferenceCreate");
      find(loaded.preference_destroy, "cublasLtMatmulPreferenceDestroy");
      find(loaded.preference_set, "cublasLtMatmulPreferenceSetAttribute");
      find(loaded.heuristic, "cublasLtMatmulAlgoGetHeuristic");
      find(loaded.matmul, "cublasLtMatmul");
      return find.missing.empty() ? std::string() : fmt::format("{} has no {}", name, find.missing);
    });
    if (!file.ok())
      return absl::UnavailableError(fmt::format(
          "the bundle uses cuBLASLt, but libcublasLt.so was not loaded ({}); give its path with --cublaslt, "
          "install the CUDA toolkit or the wheel nvidia-cublas, or compile the model again with --library "
          "never",
          std::string(file.status().message())));
    if (Result result = loaded.create(&handle_); result != 0)
      return absl::UnavailableError(
          fmt::format("{} cannot start: {} (error {}); install a version that matches the driver, or compile the model "
                      "again with --library never",
                      *file, loaded.status_string(result), result));
    api_ = loaded;
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<CublasLtProduct>> Prepare(const plan::Kernel &kernel, uint32_t max_rows) override {
    auto product = std::make_unique<Product>(api_, handle_, kernel);
    if (absl::Status status = product->Prepare(max_rows); !status.ok())
      return status;
    return std::unique_ptr<CublasLtProduct>(std::move(product));
  }

private:
  Api api_{};
  Handle handle_ = nullptr;
};

} // namespace

absl::StatusOr<std::unique_ptr<CublasLt>> CublasLt::Open(const std::string &path) {
  auto library = std::make_unique<Library>();
  if (absl::Status status = library->Load(path); !status.ok())
    return status;
  return std::unique_ptr<CublasLt>(std::move(library));
}

} // namespace inlay
