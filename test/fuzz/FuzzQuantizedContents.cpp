// Arbitrary bytes as the small tensors of a quantized checkpoint: groups of columns, shapes, states of bitsandbytes.
// Checking gives problems, never a crash.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "frontends/hf/Checkpoint.h"
#include "frontends/hf/QuantizedContents.h"
#include "frontends/hf/Tensors.h"

namespace {

using namespace inlay;
using namespace inlay::hf;

constexpr const char *kFormats[] = {"gptq", "ct-w4a16", "bnb-nf4", "bnb-int8", "ct-actorder"};
struct Small {
  const char *suffix, *dtype;
};
constexpr Small kTensors[] = {
    {".g_idx", "I32"},        {".weight_g_idx", "I32"},     {".weight_shape", "I64"},
    {".weight_format", "U8"}, {".weight.quant_map", "F32"}, {".weight.quant_state.bitsandbytes__nf4", "U8"}};

ModelConfig ReadConfig(const char *format) {
  std::stringstream text;
  text << std::ifstream(std::string(INLAY_QUANTIZED_FIXTURES) + "/" + format + "/config.json").rdbuf();
  Problems problems;
  auto config = ParseConfig(text.str(), "config.json", ModelOptions(), problems);
  if (!config)
    __builtin_trap();
  return *config;
}

} // namespace

// The first byte chooses the format, the second the tensor. The rest is its contents.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2)
    return 0;
  static const std::vector<ModelConfig> configs = [] {
    std::vector<ModelConfig> read;
    for (const char *format : kFormats)
      read.push_back(ReadConfig(format));
    return read;
  }();
  static const int file = memfd_create("contents", 0);
  const size_t bytes = size - 2;
  if (ftruncate(file, static_cast<off_t>(bytes)) != 0 || pwrite(file, data + 2, bytes, 0) < 0)
    return 0;
  Checkpoint checkpoint;
  checkpoint.config = configs[data[0] % configs.size()];
  checkpoint.weights.files = {"/proc/self/fd/" + std::to_string(file)};
  const Small &small = kTensors[data[1] % std::size(kTensors)];
  for (const WeightSpec &weight : RequiredWeights(checkpoint.config))
    if (weight.quantized) {
      const std::string name = weight.quantized->module + small.suffix;
      const auto count = static_cast<int64_t>(bytes / SafetensorsElementSize(small.dtype));
      checkpoint.weights.tensors[name] = {name, small.dtype, {count}, 0, bytes, 0};
      break;
    }
  Problems problems;
  CheckQuantizedContents(checkpoint, problems);
  for (const Problem &problem : problems.items())
    if (problem.ToString().find('\n') != std::string::npos)
      __builtin_trap();
  return 0;
}
