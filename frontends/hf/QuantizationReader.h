// The parts in which a quantization configuration is read, one function a format. Only Quantization*.cpp include this.

#ifndef INLAY_FRONTENDS_HF_QUANTIZATION_READER_H
#define INLAY_FRONTENDS_HF_QUANTIZATION_READER_H

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "frontends/hf/Quantization.h"

namespace inlay::hf {

// Groups are whole vectors of the kernels.
inline constexpr int64_t kGroupUnit = 16;

// What to do about a form that is not supported.
inline constexpr std::string_view kOtherFormat = "use a checkpoint in another format, or the unquantized one";

class QuantizationReader {
public:
  QuantizationReader(ConfigReader &keys, Problems &problems, std::string_view file)
      : keys_(keys), problems_(problems), file_(file) {}

  Quantization ReadConfig();
  Quantization ReadModelOptFile();

private:
  // QuantizationReader.cpp
  void ReadFp8();
  void ReadFbgemmFp8();
  void ReadAwq();
  void ReadGptq();
  void ReadGptqDynamic();
  void ReadBitsAndBytes();
  void ReadCacheScheme(ConfigReader &keys);
  // QuantizationGroups.cpp
  void ReadCompressedTensors();
  void ReadGroup(const std::string &name, const nlohmann::json &group, std::string_view format);
  std::optional<Scheme> ReadWeights(ConfigReader &weights, std::string_view format);
  // `prefix` is that of the group's keys.
  void ReadActivations(const nlohmann::json *activations, const std::string &prefix, Scheme &scheme);
  static std::optional<Scheme> ReadMxfp4(ConfigReader &weights);
  bool ReadGroupSize(ConfigReader &weights, Scheme &scheme);
  void ReadModelOpt(ConfigReader &keys, std::string_view ignore_key);

  void AddRule(Scheme scheme) { result_.rules_.push_back({{}, scheme}); }
  // Reads keys that say nothing about the values of the weights.
  void Skip(std::initializer_list<std::string_view> names) {
    for (std::string_view name : names)
      keys_.Find(name);
  }
  // Refuses a value that is none of `expected`; nothing where the key is absent.
  static void Expect(ConfigReader &keys, std::string_view key, const nlohmann::json &expected, std::string_view fix);
  static void RefuseUnread(ConfigReader &keys, std::string_view format);

  ConfigReader &keys_;
  Problems &problems_;
  std::string_view file_;
  Quantization result_;
};

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_QUANTIZATION_READER_H
