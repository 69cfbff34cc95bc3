// Loads the kernels of a target: cubins or PTX of the bundle, and products that cuBLASLt computes.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_KERNELS_H_
#define INLAY_RUNTIME_DEVICE_CUDA_KERNELS_H_

#include "runtime/device/cublaslt.h"
#include "runtime/device/cuda_memory.h"

#include <memory>
#include <string>
#include <vector>

namespace inlay {

// The part of CudaDevice that has kernels and launches none.
class CudaKernels : public CudaMemory {
public:
  absl::Status LoadKernels(const Bundle &bundle, const plan::Target &target) override;

protected:
  struct LoadedKernel {
    cuda_driver::Function function; // null: `product` or NCCL alone computes it
    const plan::Kernel *kernel;
    const plan::Code *code;
    std::unique_ptr<CublasLtProduct> product;
    const plan::Collective *collective; // null: it computes what one rank has
    bool exchanges;                     // with peers; otherwise NCCL runs a collective, before `function`

    bool UsesNccl() const { return collective && !exchanges; }
    bool TakesPeers() const { return exchanges || code->peers(); }
  };

  CudaKernels(const cuda_driver::Api &api, const DeviceRank &rank, std::string cublaslt)
      : CudaMemory(api, rank), cublaslt_path_(std::move(cublaslt)) {}

  // The kernel of a launch.
  const LoadedKernel &KernelOf(const plan::Launch &launch) const { return functions_[launch.kernel()]; }
  // PeerTable of the rank; 0: no kernel exchanges with peers.
  const cuda_driver::Pointer &table() const { return table_; }
  // Nothing may be launched afterwards.
  void UnloadKernels();

private:
  absl::Status PrepareProduct(const plan::Kernel &kernel, const plan::Target &target);
  // Checks that the kernel's parameters have the sizes that the plan gives. Otherwise a launch would read beyond them.
  absl::Status CheckParameters(cuda_driver::Function function, const plan::Kernel &kernel, const plan::Code &code,
                               size_t step_sizes, bool takes_peers, const std::string &path) const;

  // Checks that the kernels of ranks that share this GPU end.
  absl::Status CheckShared(const plan::Target &target) const;
  absl::StatusOr<uint64_t> BlocksAtOnce(const LoadedKernel &kernel) const;

  cuda_driver::Pointer table_ = 0;
  const std::string cublaslt_path_;
  std::unique_ptr<CublasLt> cublaslt_; // if a kernel is a product of cuBLASLt
  std::vector<cuda_driver::Module> modules_;
  std::vector<LoadedKernel> functions_; // in the order of the plan
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_KERNELS_H_
