#include "runtime/device/cuda_kernels.h"

#include "fmt/format.h"
#include "runtime/bundle/collective.h"
#include "runtime/device/cuda_shared_fit.h"
#include "runtime/support/files.h"

#include <algorithm>
#include <filesystem>

namespace inlay {

using namespace cuda_driver;

absl::Status CudaKernels::LoadKernels(const Bundle &bundle, const plan::Target &target) {
  api_.ContextSetCurrent(context_);
  if (rank_.gpus)
    table_ = rank_.gpus->table(rank_.index);
  std::string directory = bundle.path() + "/kernels/" + target.name()->str() + "/";
  for (const plan::Kernel *kernel : *target.kernels()) {
    std::string name = kernel->name()->str();
    if (kernel->body_type() == plan::KernelBody_LibraryProduct) {
      if (absl::Status status = PrepareProduct(*kernel, target); !status.ok())
        return status;
      continue;
    }
    const plan::Collective *collective = kernel->body_as_Collective();
    if (collective && !rank_.gpus)
      return absl::InternalError(
          fmt::format("kernel '{}' combines values of ranks, but the device is for one rank", name));
    const bool exchanges = collective && rank_.gpus->IsKernel(*collective);
    if (collective && !exchanges && !collective->epilogue()) {
      functions_.push_back({nullptr, kernel, nullptr, nullptr, collective, exchanges});
      continue;
    }
    if (collective && !exchanges)
      name = EpilogueName(*kernel);
    // The cubin is for this chip. If there is none, the driver compiles the PTX.
    std::string path = directory + name + ".cubin";
    if (!std::filesystem::exists(path))
      path = directory + name + ".ptx";
    absl::StatusOr<std::string> code = ReadFile(path);
    if (!code.ok())
      return code.status();
    Module module = nullptr;
    if (absl::Status status = Check(api_.ModuleLoadData(&module, code->c_str()), "loading " + path); !status.ok())
      return absl::FailedPreconditionError(
          fmt::format("{}; compile the model again, and with --target for this chip", std::string(status.message())));
    modules_.push_back(module);
    Function function = nullptr;
    if (absl::Status status = Check(api_.ModuleGetFunction(&function, module, name.c_str()), "finding " + name);
        !status.ok())
      return status;
    const plan::Code &body = !collective ? *kernel->body_as_Code()
                             : exchanges ? *collective->code()
                                         : *collective->epilogue();
    if (absl::Status status = CheckParameters(function, *kernel, body, bundle.plan().step_sizes()->size(),
                                              exchanges || body.peers(), path);
        !status.ok())
      return status;
    if (absl::Status status =
            Check(api_.FunctionSetAttribute(function, kMaxDynamicSharedBytes, static_cast<int>(body.shared_bytes())),
                  fmt::format("setting the shared memory of {} to {} bytes", name, body.shared_bytes()));
        !status.ok())
      return status;
    // Use as much of the L1 cache as possible as shared memory, so that blocks of two kernels can be resident.
    api_.FunctionSetAttribute(function, kPreferredCarveout, 100);
    if (body.cluster() && body.cluster()->size() > 0 && body.cluster()->Get(0) > 8)
      api_.FunctionSetAttribute(function, kNonPortableClusterAllowed, 1);
    functions_.push_back({function, kernel, &body, nullptr, collective, exchanges});
  }
  return rank_.gpus ? CheckShared(target) : absl::OkStatus();
}

absl::Status CudaKernels::PrepareProduct(const plan::Kernel &kernel, const plan::Target &target) {
  if (!cublaslt_) {
    absl::StatusOr<std::unique_ptr<CublasLt>> opened = CublasLt::Open(cublaslt_path_);
    if (!opened.ok())
      return opened.status();
    cublaslt_ = *std::move(opened);
  }
  uint32_t max_rows = 1;
  for (const plan::Entry *entry : *target.entries())
    if (entry->launches())
      for (const plan::Launch *launch : *entry->launches())
        if (target.kernels()->Get(launch->kernel()) == &kernel)
          max_rows = std::max(max_rows, kernel.body_as_LibraryProduct()->rows() == plan::Extent_Tokens
                                            ? entry->max_tokens()
                                            : entry->max_sequences());
  absl::StatusOr<std::unique_ptr<CublasLtProduct>> product = cublaslt_->Prepare(kernel, max_rows);
  if (!product.ok())
    return product.status();
  functions_.push_back({nullptr, &kernel, nullptr, *std::move(product), nullptr, /*exchanges=*/false});
  return absl::OkStatus();
}

absl::Status CudaKernels::CheckParameters(Function function, const plan::Kernel &kernel, const plan::Code &code,
                                          size_t step_sizes, bool takes_peers, const std::string &path) const {
  if (!api_.FunctionGetParameter)
    return absl::OkStatus();
  std::vector<size_t> expected(kernel.views() ? kernel.views()->size() : 0, sizeof(void *));
  expected.insert(expected.end(), code.tensor_maps(), sizeof(TensorMap));
  expected.push_back(step_sizes * sizeof(int32_t));
  if (takes_peers)
    expected.push_back(sizeof table_);
  std::vector<size_t> found;
  size_t offset = 0, bytes = 0;
  while (found.size() <= expected.size() && api_.FunctionGetParameter(function, found.size(), &offset, &bytes) == 0)
    found.push_back(bytes);
  if (found == expected)
    return absl::OkStatus();
  return absl::DataLossError(
      fmt::format("{}: found parameters of {} bytes, expected {} as in plan.fb; compile the model again", path,
                  fmt::join(found, ", "), fmt::join(expected, ", ")));
}

absl::Status CudaKernels::CheckShared(const plan::Target &target) const {
  const CudaRanks &ranks = *rank_.gpus;
  const uint32_t stage = ranks.first_of_stage(rank_.index) / ranks.ranks_of_stage();
  return CheckSharedFit(target, stage,
                        {.ranks = ranks.RanksThatMeet(rank_.index),
                         .ordinal = ranks.gpu(rank_.index).ordinal,
                         .blocks_at_once = [&](uint32_t kernel) { return BlocksAtOnce(functions_[kernel]); }});
}

absl::StatusOr<uint64_t> CudaKernels::BlocksAtOnce(const LoadedKernel &kernel) const {
  int threads = 1, of_multiprocessor = 0, multiprocessors = 0;
  for (uint32_t i = 0; kernel.code->block() && i < kernel.code->block()->size(); ++i)
    threads *= static_cast<int>(kernel.code->block()->Get(i));
  for (Result result :
       {api_.MaxActiveBlocks(&of_multiprocessor, kernel.function, threads, kernel.code->shared_bytes()),
        api_.DeviceGetAttribute(&multiprocessors, kMultiprocessorCount, rank_.gpus->gpu(rank_.index).device)})
    if (absl::Status status = Check(result, "asking how many blocks of " + kernel.kernel->name()->str() + " run");
        !status.ok())
      return status;
  return static_cast<uint64_t>(of_multiprocessor) * static_cast<uint64_t>(multiprocessors);
}

void CudaKernels::UnloadKernels() {
  functions_.clear();
  cublaslt_.reset();
  for (Module module : modules_)
    api_.ModuleUnload(module);
  modules_.clear();
}

} // namespace inlay
