//===- CheckpointTensors.h - tensors of checkpoints for the evaluator ------===//

#ifndef INLAY_TEST_DIALECTS_LLM_CHECKPOINTTENSORS_H
#define INLAY_TEST_DIALECTS_LLM_CHECKPOINTTENSORS_H

#include "formats/safetensors/safetensors.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/Support/Error.h"
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace inlay {

/// The elements of a tensor of a safetensors file.
inline llvm::Expected<std::vector<double>> readTensor(const SafetensorsIndex &index, llvm::StringRef name) {
  auto it = index.tensors.find(name.str());
  if (it == index.tensors.end())
    return llvm::createStringError("the checkpoint has no such tensor");
  const TensorInfo &info = it->second;
  static const std::map<std::string, const llvm::fltSemantics *> types = {{"F32", &llvm::APFloat::IEEEsingle()},
                                                                          {"BF16", &llvm::APFloat::BFloat()},
                                                                          {"F16", &llvm::APFloat::IEEEhalf()},
                                                                          {"F8_E4M3", &llvm::APFloat::Float8E4M3FN()}};
  static const std::map<std::string, bool> integers = {{"I32", true}, {"I8", true}, {"U8", false}}; // signed or not
  std::string bytes(info.bytes, '\0');
  std::ifstream file(index.files[info.file], std::ios::binary);
  file.seekg(info.offset);
  if ((!types.contains(info.dtype) && !integers.contains(info.dtype)) || !file.read(bytes.data(), bytes.size()))
    return llvm::createStringError("the file ends early or has an unknown type");
  size_t size = SafetensorsElementSize(info.dtype);
  std::vector<double> elements;
  for (size_t at = 0; at < bytes.size(); at += size) {
    uint64_t bits = 0;
    std::memcpy(&bits, &bytes[at], size);
    llvm::APInt element(8 * size, bits);
    if (auto integer = integers.find(info.dtype); integer != integers.end())
      elements.push_back(integer->second ? static_cast<double>(element.getSExtValue())
                                         : static_cast<double>(element.getZExtValue()));
    else
      elements.push_back(llvm::APFloat(*types.at(info.dtype), element).convertToDouble());
  }
  return elements;
}

} // namespace inlay

#endif // INLAY_TEST_DIALECTS_LLM_CHECKPOINTTENSORS_H
