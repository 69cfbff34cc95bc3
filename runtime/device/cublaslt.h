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

// One matrix product of the plan, ready to be launched. The result of a row does not depend on the other rows: the same
// algorithm, without split K, is used for any number of rows.
class CublasLtProduct {
public:
  virtual ~CublasLtProduct() = default;
  // `arguments` are those of the launch. Enqueues the product of the first `rows` rows.
  virtual absl::Status Launch(std::span<void *const> arguments, int32_t rows, cuda_driver::Stream stream) = 0;
};

class CublasLt {
public:
  virtual ~CublasLt() = default;

  // `path` is libcublasLt.so or its directory; empty: the usual directories of CUDA's libraries are searched. A GPU's
  // context must be current. Errors name the flag that gives the path, and the flag to compile a bundle that does not
  // need the library.
  static absl::StatusOr<std::unique_ptr<CublasLt>> Open(const std::string &path);

  // Prepares the product of a kernel for steps of at most `max_rows` rows. It must not outlive this object.
  virtual absl::StatusOr<std::unique_ptr<CublasLtProduct>> Prepare(const plan::Kernel &kernel, uint32_t max_rows) = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUBLASLT_H_
