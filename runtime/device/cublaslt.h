// Matrix products of the plan that cuBLASLt computes. The library is loaded when a bundle needs it. cublaslt.cpp
// declares the few functions it uses, so building needs no CUDA header.
#ifndef INLAY_RUNTIME_DEVICE_CUBLASLT_H_
#define INLAY_RUNTIME_DEVICE_CUBLASLT_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/device/cuda_driver.h"

#include <memory>
#include <span>
#include <string>

namespace inlay {

// One product of the plan, ready to be launched. A row's result does not depend on the rows beside it: one algorithm,
// without parts of k that meet elsewhere, serves steps of any rows.
class CublasLtProduct {
public:
  virtual ~CublasLtProduct() = default;
  // `arguments` are those of the launch. Enqueues the product of the first `rows` rows.
  virtual absl::Status Launch(std::span<void *const> arguments, int32_t rows, cuda_driver::Stream stream) = 0;
};

class CublasLt {
public:
  virtual ~CublasLt() = default;

  // `path`: libcublasLt.so or a folder that holds it; empty: where CUDA's libraries are usually found. A GPU's context
  // must be current. An error names the flags that bring the library or do without it.
  static absl::StatusOr<std::unique_ptr<CublasLt>> Open(const std::string &path);

  // For steps of at most `max_rows`. The product must not outlive this.
  virtual absl::StatusOr<std::unique_ptr<CublasLtProduct>> Prepare(const plan::Kernel &kernel, uint32_t max_rows) = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUBLASLT_H_
