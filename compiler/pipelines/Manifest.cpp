//===- Manifest.cpp - what a manifest says of the model and its kernels ----===//

#include "compiler/pipelines/Manifest.h"

#include "compiler/pipelines/Traffic.h"
#include "dialects/tile/Collective.h"

using namespace mlir;
using namespace inlay;

llvm::json::Object inlay::describeModel(const hf::ModelConfig &config, const StepLimits &limits) {
  llvm::json::Array eos(config.eos);
  return llvm::json::Object{{"architecture", std::string(config.family->architecture)},
                            {"vocab_size", config.vocab_size},
                            {"hidden_size", config.hidden_size},
                            {"layers", static_cast<int64_t>(config.layers.size())},
                            {"heads", config.heads},
                            {"kv_heads", config.kv_heads},
                            {"head_dim", config.head_dim},
                            {"dtype", std::string(hf::DTypeName(config.dtype))},
                            {"eos_token_ids", std::move(eos)},
                            {"max_model_len", limits.maxModelLen},
                            {"max_prompt_len", config.max_prompt_len},
                            {"max_num_seqs", limits.maxNumSeqs},
                            {"max_num_batched_tokens", limits.maxNumBatchedTokens},
                            {"block_size", limits.pageSize}};
}

llvm::json::Object inlay::describeSampling(const hf::GenerationConfig &generation) {
  llvm::json::Object sampling;
  auto add = [&](StringRef name, const auto &value) {
    if (value)
      sampling[name] = *value;
  };
  add("temperature", generation.temperature);
  add("top_k", generation.top_k);
  add("top_p", generation.top_p);
  add("min_p", generation.min_p);
  add("repetition_penalty", generation.repetition_penalty);
  add("max_tokens", generation.max_new_tokens);
  return sampling;
}

llvm::json::Object inlay::describeKernel(const CudaKernel &kernel) {
  cuda::KernelOp op = kernel.op;
  return llvm::json::Object{{"name", op.getSymName().str()},
                            {"threads", static_cast<int64_t>(op.getThreads())},
                            {"cluster", static_cast<int64_t>(op.getCluster())},
                            {"shared_bytes", static_cast<int64_t>(op.getSharedBytes())},
                            {"registers", kernel.registers},
                            {"spill_bytes", kernel.spillBytes},
                            {"nvrtc_ms", kernel.nvrtcMilliseconds}};
}

llvm::json::Object inlay::describeProgram(tile::ProgramOp program, llvm::json::Object entry) {
  entry["name"] = program.getSymName().str();
  entry["traffic"] = describeTraffic(program);
  auto rows = tile::ExchangedRows::of(program);
  if (!rows)
    return entry;
  entry["collective"] = tile::stringifyCollectiveKind(rows->kind).str();
  if (rows->bytes)
    entry["exchange_bytes"] = rows->bytes;
  return entry;
}
