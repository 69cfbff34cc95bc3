// Quantized checkpoints that contradict themselves: each is one line with the tensor, what was found and what was
// expected.

#include "frontends/hf/CheckModel.h"
#include "test/frontends/hf/CheckpointTesting.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

namespace inlay::hf {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A fixture whose model.safetensors and config.json are changed before it is opened.
class QuantizedCheckpointTest : public DirectoryTest {
protected:
  void Load(const std::string &format) {
    Copy(fs::path("test/fixtures/quantized") / format);
    std::stringstream text;
    text << std::ifstream(directory_ / "model.safetensors", std::ios::binary).rdbuf();
    const std::string bytes = text.str();
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof(length));
    header_ = json::parse(bytes.substr(sizeof(length), length));
    data_ = bytes.substr(sizeof(length) + length);
    config_ = json::parse(std::ifstream(directory_ / "config.json"));
  }

  // The first byte of a tensor.
  char *Bytes(const std::string &tensor) { return data_.data() + header_[tensor]["data_offsets"][0].get<size_t>(); }

  std::vector<std::string> Open() {
    std::string header = header_.dump();
    const uint64_t length = header.size();
    std::ofstream file(directory_ / "model.safetensors", std::ios::binary);
    file.write(reinterpret_cast<const char *>(&length), sizeof(length)) << header << data_;
    file.close();
    std::ofstream(directory_ / "config.json") << config_.dump();
    return OpenDirectory();
  }

  json header_, config_;
  std::string data_;
};

const std::string kDown = "model.layers.0.mlp.down_proj"; // [128, 192]

TEST_F(QuantizedCheckpointTest, GroupsOfColumnsAreRead) {
  const std::string index = kDown + ".g_idx";
  Load("gptq");
  int32_t groups[] = {0, 3};
  std::memcpy(Bytes(index) + 5 * sizeof(int32_t), &groups[1], sizeof(int32_t));
  EXPECT_THAT(Open(), ElementsAre("safetensors: " + index +
                                  ": found group 3 of column 5, expected a group from 0 to 2; "
                                  "copy the checkpoint from its repository again"));
  groups[1] = 2;
  std::memcpy(Bytes(index) + 5 * sizeof(int32_t), &groups[1], sizeof(int32_t));
  EXPECT_THAT(Open(), ElementsAre("safetensors: " + index +
                                  ": found 63 columns of group 0, expected 64; copy the checkpoint from its repository "
                                  "again"));
  header_[index]["shape"] = {96};
  header_[index]["dtype"] = "I64";
  EXPECT_THAT(Open(), ElementsAre("safetensors: " + index +
                                  ": found dtype I64 of 768 bytes, expected dtype I32; copy "
                                  "the checkpoint from its repository again"));
}

// Modules that read the same value share an order where their groups are equal.
TEST_F(QuantizedCheckpointTest, ColumnsOutOfOrderAreSorted) {
  const std::string layer = "model.layers.1.";
  Load("gptq-desc-act");
  auto orders = [&] {
    Open();
    absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint(directory_.string(), {});
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    std::map<std::string, std::string> found;
    for (const auto &[module, columns] : checkpoint->config.sorted_columns) {
      EXPECT_EQ(columns.groups, module + ".g_idx");
      if (module.starts_with(layer))
        found[module.substr(layer.size())] = columns.order.substr(layer.size());
    }
    return found;
  };
  std::map<std::string, std::string> expected;
  for (const char *module : {"q", "k", "v"})
    expected[std::string("self_attn.") + module + "_proj"] = "self_attn.q_proj.g_idx";
  for (const char *module : {"gate", "up"})
    expected[std::string("mlp.") + module + "_proj"] = "mlp.gate_proj.g_idx";
  for (const char *module : {"self_attn.o_proj", "mlp.down_proj"})
    expected[module] = std::string(module) + ".g_idx";
  EXPECT_EQ(orders(), expected);
  // Two columns of other groups change places.
  auto *groups = reinterpret_cast<int32_t *>(Bytes(layer + "self_attn.k_proj.g_idx"));
  std::swap(groups[0], *std::find_if(groups, groups + 128, [&](int32_t group) { return group != groups[0]; }));
  expected["self_attn.k_proj"] = "self_attn.k_proj.g_idx";
  expected["self_attn.v_proj"] = "self_attn.v_proj.g_idx";
  EXPECT_EQ(orders(), expected);
}

// compressed-tensors fills the tensor with -1 until columns are sorted.
TEST_F(QuantizedCheckpointTest, ColumnsThatWereNeverSortedAreInOrder) {
  const std::string index = kDown + ".weight_g_idx";
  Load("ct-actorder");
  std::memset(Bytes(index), 0xff, 192 * sizeof(int32_t));
  EXPECT_THAT(Open(), IsEmpty());
  int32_t group = 0;
  std::memcpy(Bytes(index), &group, sizeof(group));
  EXPECT_THAT(Open(), ElementsAre("safetensors: " + index +
                                  ": found group -1 of column 1, expected a group from 0 to 5; copy the checkpoint "
                                  "from its repository again"));
}

TEST_F(QuantizedCheckpointTest, GroupsOfColumnsMayBeAbsentWithoutAnOrder) {
  Load("ct-w4a16");
  config_["quantization_config"]["config_groups"]["group_0"]["weights"]["actorder"] = "weight";
  EXPECT_THAT(Open(), IsEmpty());
  config_["quantization_config"]["config_groups"]["group_0"]["weights"]["actorder"] = "group";
  EXPECT_THAT(Open(), ::testing::Contains("safetensors: " + kDown +
                                          ".weight_g_idx: found no such tensor, expected "
                                          "shape [192]; copy the checkpoint from its "
                                          "repository again"));
}

TEST_F(QuantizedCheckpointTest, GroupsOfSortedColumnsAreRequired) {
  Load("gptq");
  header_[kDown + ".other"] = header_[kDown + ".g_idx"];
  header_.erase(kDown + ".g_idx");
  EXPECT_THAT(Open(), ElementsAre(HasSubstr(kDown + ".other: found a tensor that the model does not use")));
  config_["quantization_config"]["desc_act"] = true;
  EXPECT_THAT(Open(), ::testing::Contains("safetensors: " + kDown +
                                          ".g_idx: found no such tensor, expected shape [192]; copy the checkpoint "
                                          "from its repository again"));
}

TEST_F(QuantizedCheckpointTest, ShapesAndTypesAreThoseOfTheFormat) {
  Load("awq");
  header_[kDown + ".qweight"]["shape"] = {96, 32};
  header_[kDown + ".qzeros"]["dtype"] = "F32";
  EXPECT_THAT(Open(),
              ElementsAre("model.safetensors: " + kDown +
                              ".qweight: found shape [96, 32], expected shape [192, 16]; "
                              "config.json and the weights are not of the same model",
                          "model.safetensors: " + kDown +
                              ".qzeros: found dtype F32, expected I32; quantization_config and the weights do not "
                              "belong together"));
  Load("ct-w4a16");
  std::memset(Bytes(kDown + ".weight_shape"), 1, 16);
  EXPECT_THAT(Open(), ElementsAre(HasSubstr(kDown + ".weight_shape: found [72340172838076673, 72340172838076673], "
                                                    "expected [rows, 192]")));
}

TEST_F(QuantizedCheckpointTest, MissingScalesAreNamed) {
  Load("fp8-block");
  header_[kDown + ".weight_scale"] = header_[kDown + ".weight_scale_inv"];
  header_.erase(kDown + ".weight_scale_inv");
  EXPECT_THAT(Open(), ElementsAre("safetensors: " + kDown +
                                      ".weight_scale_inv: found no such tensor, expected shape [1, 2]; config.json "
                                      "and the weights are not of the same model",
                                  "model.safetensors: " + kDown +
                                      ".weight_scale: found a tensor that the model does not use, expected only "
                                      "tensors of the model; it is left out"));
}

TEST_F(QuantizedCheckpointTest, ScalesOfActivationsArePositive) {
  const std::string scale = kDown + ".input_scale";
  constexpr std::string_view kFix = "use --activation-quantization none or dynamic, or copy the checkpoint again";
  const std::pair<float, const char *> values[] = {{0.0f, "0"}, {-0.5f, "-0.5"}, {NAN, "nan"}};
  for (const auto &[value, found] : values) {
    Load("fp8-tensor");
    std::memcpy(Bytes(scale), &value, sizeof(value));
    EXPECT_THAT(Open(), ElementsAre(std::string("safetensors: ")
                                        .append(scale)
                                        .append(": found ")
                                        .append(found)
                                        .append(", expected a finite number above 0; ")
                                        .append(kFix)));
    CheckpointOptions floats;
    floats.activations = ActivationQuantization::kNone;
    EXPECT_THAT(OpenDirectory(floats), IsEmpty());
  }
  Load("fp8-tensor");
  header_[scale]["dtype"] = "F16";
  header_[scale]["shape"] = {2};
  EXPECT_THAT(Open(), ::testing::Contains(HasSubstr(scale + ": found dtype F16, expected one of BF16, F32; ")));
  Load("fp8-tensor");
  header_[kDown + ".other"] = header_[scale];
  header_.erase(scale);
  EXPECT_THAT(Open(), ::testing::Contains("safetensors: " + scale +
                                          ": found no such tensor, expected shape [1]; use --activation-quantization "
                                          "none or dynamic if the checkpoint has no scales of activations"));
}

TEST_F(QuantizedCheckpointTest, GroupsDivideTheColumns) {
  Load("gptq");
  config_["quantization_config"]["group_size"] = 80;
  EXPECT_THAT(Open(), ::testing::Contains("config.json: quantization_config: found " + kDown +
                                          " of 192 columns, which groups of 80 do not divide, expected sizes that the "
                                          "format can store; use a checkpoint in another format, or the unquantized "
                                          "one"));
}

TEST_F(QuantizedCheckpointTest, StatesOfBitsandbytesAreRead) {
  Load("bnb-nf4");
  const std::string state = kDown + ".weight.quant_state.bitsandbytes__nf4";
  const size_t begin = header_[state]["data_offsets"][0].get<size_t>();
  data_.replace(data_.find("\"blocksize\": 64", begin), 15, "\"blocksize\": 32");
  EXPECT_THAT(Open(), ElementsAre("safetensors: " + state +
                                  ".blocksize: found 32, expected 64; save the model again "
                                  "with blocks of this size"));
  Load("bnb-nf4");
  std::memset(Bytes(kDown + ".weight.quant_map"), 0, 4);
  EXPECT_THAT(Open(), ElementsAre("safetensors: " + kDown +
                                  ".weight.quant_map: found other values, expected the "
                                  "quantiles of nf4; save the model again with quant_type "
                                  "nf4"));
  Load("bnb-nf4-nested");
  const size_t nested = header_[state]["data_offsets"][0].get<size_t>();
  data_.replace(data_.find("\"nested_blocksize\": 256", nested), 23, "\"nested_blocksize\": 128");
  EXPECT_THAT(Open(), ElementsAre("safetensors: " + state +
                                  ".nested_blocksize: found 128, expected 256; save the model again with a current "
                                  "bitsandbytes"));
  Load("bnb-nf4-nested");
  header_[kDown + ".weight.nested_quant_map"]["shape"] = {128, 2};
  EXPECT_THAT(Open(),
              ElementsAre(HasSubstr(kDown + ".weight.nested_quant_map: found shape [128, 2], expected shape [256]")));
  Load("bnb-nf4-nested");
  config_["quantization_config"]["bnb_4bit_use_double_quant"] = false;
  EXPECT_THAT(Open(), ::testing::Contains(HasSubstr(state + ".nested_offset: found ")));
  Load("bnb-int8");
  *Bytes(kDown + ".weight_format") = 1;
  EXPECT_THAT(Open(), ElementsAre("safetensors: " + kDown +
                                  ".weight_format: found [1], expected 0: rows; save the "
                                  "model again"));
}

TEST_F(QuantizedCheckpointTest, TheReportSaysHowMatricesAreStored) {
  const Report report = CheckModel("test/fixtures/quantized/ct-w4a16-asym", {}, /*json=*/true);
  EXPECT_TRUE(report.supported);
  const json quantization = json::parse(report.text)["model"]["quantization"];
  EXPECT_EQ(quantization["method"], "compressed-tensors");
  EXPECT_EQ(quantization["matrices"]["int4, groups of 32 columns, zero points"],
            json({"mlp.down_proj x 2", "mlp.gate_proj x 2", "mlp.up_proj x 2", "self_attn.k_proj x 2",
                  "self_attn.o_proj x 2", "self_attn.q_proj x 2", "self_attn.v_proj x 2"}));
}

} // namespace
} // namespace inlay::hf
