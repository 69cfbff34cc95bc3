#include "formats/safetensors/safetensors.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <utility>

namespace inlay {
namespace {

namespace fs = std::filesystem;
using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::string_view kFetchAgain = "copy the file from the model's repository again";
constexpr uint64_t kLengthBytes = 8;
constexpr size_t kMaxRank = 16;
constexpr size_t kMaxIndexBytes = 64 << 20;

// "FILE: KEY: found FOUND, expected EXPECTED; copy the file ..." on one line.
absl::Status Malformed(std::string_view file, std::string_view key, std::string_view found, std::string_view expected) {
  std::string line = fmt::format("{}: {}{}found {}, expected {}; {}", file, key, key.empty() ? "" : ": ", found,
                                 expected, kFetchAgain);
  for (char &c : line)
    if (static_cast<unsigned char>(c) < ' ')
      c = '?';
  return absl::InvalidArgumentError(line);
}

// Parses an object of bounded depth into `parser`.
absl::StatusOr<object> ParseObject(simdjson::dom::parser &parser, std::string_view json, std::string_view file,
                                   std::string_view what) {
  constexpr size_t kMaxDepth = 16;
  object root;
  simdjson::error_code error = parser.allocate(json.size(), kMaxDepth);
  if (!error)
    error = parser.parse(simdjson::padded_string(json)).get(root);
  if (error)
    return Malformed(file, what, fmt::format("invalid JSON ({})", simdjson::error_message(error)), "an object");
  return root;
}

std::optional<uint64_t> CheckedProduct(uint64_t a, uint64_t b) {
  uint64_t product;
  if (__builtin_mul_overflow(a, b, &product) || product > INT64_MAX)
    return std::nullopt;
  return product;
}

// Parses one entry of the header. Offsets stay relative to the data section.
absl::StatusOr<TensorInfo> ParseTensor(std::string_view name, object fields, uint64_t data_bytes,
                                       std::string_view file) {
  TensorInfo tensor;
  tensor.name = name;
  std::set<std::string_view> seen;
  std::vector<uint64_t> offsets;
  for (auto [key, value] : fields) {
    if (!seen.insert(key).second)
      return Malformed(file, name, fmt::format("{} twice", key), "each field once");
    if (key == "dtype") {
      std::string_view dtype;
      if (value.get(dtype))
        return Malformed(file, name, "a dtype that is not a string", "a name such as BF16");
      tensor.dtype = dtype;
    } else if (key == "shape" || key == "data_offsets") {
      array numbers;
      if (value.get(numbers))
        return Malformed(file, name, fmt::format("{} that is not a list", key), "a list");
      for (element number : numbers) {
        uint64_t n;
        if (number.get(n) || n > INT64_MAX)
          return Malformed(file, name, fmt::format("{} with {}", key, simdjson::minify(number)),
                           "integers from 0 to 2^63-1");
        if (key == "shape")
          tensor.shape.push_back(static_cast<int64_t>(n));
        else
          offsets.push_back(n);
      }
    }
  }
  for (std::string_view key : {"dtype", "shape", "data_offsets"})
    if (!seen.contains(key))
      return Malformed(file, name, fmt::format("no {}", key), "dtype, shape and data_offsets");
  if (tensor.shape.size() > kMaxRank)
    return Malformed(file, name, fmt::format("{} dimensions", tensor.shape.size()),
                     fmt::format("at most {}", kMaxRank));
  size_t element_size = SafetensorsElementSize(tensor.dtype);
  if (element_size == 0)
    return Malformed(file, name, fmt::format("dtype {}", tensor.dtype), "a dtype of the format");
  if (offsets.size() != 2)
    return Malformed(file, name, fmt::format("{} data_offsets", offsets.size()), "2");
  if (offsets[0] > offsets[1] || offsets[1] > data_bytes)
    return Malformed(file, name, fmt::format("data_offsets [{}, {}]", offsets[0], offsets[1]),
                     fmt::format("a range within the file's {} bytes of data", data_bytes));
  std::optional<uint64_t> bytes = element_size;
  for (int64_t size : tensor.shape)
    if (bytes)
      bytes = CheckedProduct(*bytes, static_cast<uint64_t>(size));
  if (!bytes)
    return Malformed(file, name, "a shape whose size overflows", "at most 2^63-1 bytes");
  if (*bytes != offsets[1] - offsets[0])
    return Malformed(file, name, fmt::format("{} bytes of data", offsets[1] - offsets[0]),
                     fmt::format("{} for {} of shape [{}]", *bytes, tensor.dtype, fmt::join(tensor.shape, ", ")));
  tensor.offset = offsets[0];
  tensor.bytes = *bytes;
  return tensor;
}

absl::StatusOr<std::string> ReadFile(const fs::path &path, size_t max_bytes) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in || in.tellg() < 0)
    return absl::NotFoundError(fmt::format("{}: cannot be read", path.string()));
  auto bytes = static_cast<uint64_t>(in.tellg());
  if (bytes > max_bytes)
    return Malformed(path.string(), "", fmt::format("{} bytes", bytes), fmt::format("at most {}", max_bytes));
  std::string text(bytes, '\0');
  in.seekg(0);
  in.read(text.data(), static_cast<std::streamsize>(bytes));
  if (!in)
    return absl::DataLossError(fmt::format("{}: cannot be read", path.string()));
  return text;
}

// The shard of each tensor that an index lists, sorted by tensor name. A shard must be a plain file name, so that an
// index cannot refer to files outside of its directory. Symlinks are followed.
absl::StatusOr<std::map<std::string, std::string>> ReadWeightMap(const fs::path &path) {
  const std::string file = path.filename().string();
  absl::StatusOr<std::string> text = ReadFile(path, kMaxIndexBytes);
  if (!text.ok())
    return text.status();
  simdjson::dom::parser parser;
  absl::StatusOr<object> root = ParseObject(parser, *text, file, "");
  if (!root.ok())
    return root.status();
  object entries;
  if ((*root)["weight_map"].get(entries))
    return Malformed(file, "weight_map", "no such object", "the file of each tensor");
  std::map<std::string, std::string> shards;
  for (auto [name, value] : entries) {
    std::string_view shard;
    if (value.get(shard))
      return Malformed(file, name, "a shard that is not a string", "a file name");
    if (shard.empty() || shard == "." || shard == ".." || shard.find_first_of("/\\") != std::string_view::npos ||
        shard.find('\0') != std::string_view::npos)
      return Malformed(file, name, fmt::format("shard \"{}\"", shard),
                       "the name of a file in the directory of the index");
    if (!shards.emplace(name, shard).second)
      return Malformed(file, name, "the tensor twice", "each tensor once");
  }
  return shards;
}

} // namespace

size_t SafetensorsElementSize(std::string_view dtype) {
  static constexpr std::pair<std::string_view, size_t> kSizes[] = {
      {"BOOL", 1}, {"U8", 1},   {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"F8_E8M0", 1}, {"I16", 2}, {"U16", 2},
      {"F16", 2},  {"BF16", 2}, {"I32", 4}, {"U32", 4},     {"F32", 4},     {"F64", 8},     {"I64", 8}, {"U64", 8}};
  for (const auto &[name, size] : kSizes)
    if (name == dtype)
      return size;
  return 0;
}

absl::StatusOr<std::vector<TensorInfo>> ParseSafetensorsHeader(std::string_view json, uint64_t data_start,
                                                               uint64_t data_bytes, std::string_view file) {
  simdjson::dom::parser parser;
  absl::StatusOr<object> root = ParseObject(parser, json, file, "header");
  if (!root.ok())
    return root.status();
  std::vector<TensorInfo> tensors;
  std::set<std::string_view> names;
  for (auto [name, value] : *root) {
    if (!names.insert(name).second)
      return Malformed(file, name, "the name twice", "each tensor once");
    if (name == "__metadata__")
      continue;
    object fields;
    if (value.get(fields))
      return Malformed(file, name, "no object", "dtype, shape and data_offsets");
    absl::StatusOr<TensorInfo> tensor = ParseTensor(name, fields, data_bytes, file);
    if (!tensor.ok())
      return tensor.status();
    tensors.push_back(*std::move(tensor));
  }
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo &a, const TensorInfo &b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  uint64_t end = 0;
  for (TensorInfo &tensor : tensors) {
    if (tensor.offset != end)
      return Malformed(file, tensor.name, fmt::format("data at byte {}", tensor.offset),
                       fmt::format("{}, where the previous tensor ends", end));
    end += tensor.bytes;
    tensor.offset += data_start;
  }
  if (end != data_bytes)
    return Malformed(file, "", fmt::format("{} bytes of data", data_bytes),
                     fmt::format("{}, the sum of the tensors", end));
  return tensors;
}

absl::StatusOr<std::vector<TensorInfo>> ReadSafetensorsHeader(const std::string &path) {
  const std::string file = fs::path(path).filename().string();
  std::error_code error;
  uint64_t file_bytes = fs::is_regular_file(path, error) ? fs::file_size(path, error) : 0;
  std::ifstream in(path, std::ios::binary);
  if (error || !in || !fs::is_regular_file(path, error))
    return absl::NotFoundError(
        fmt::format("{}: found no such file, expected a safetensors file; {}", file, kFetchAgain));
  if (file_bytes < kLengthBytes)
    return Malformed(file, "", fmt::format("{} bytes", file_bytes), "at least 8, the length of the header");
  unsigned char length_bytes[kLengthBytes];
  in.read(reinterpret_cast<char *>(length_bytes), kLengthBytes);
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i)
    length |= static_cast<uint64_t>(length_bytes[i]) << (8 * i);
  const uint64_t most = std::min(kMaxSafetensorsHeader, file_bytes - kLengthBytes);
  if (length > most)
    return Malformed(file, "header", fmt::format("{} bytes", length), fmt::format("at most {}", most));
  std::string json(length, '\0');
  in.read(json.data(), static_cast<std::streamsize>(length));
  if (!in)
    return absl::DataLossError(fmt::format("{}: cannot be read", file));
  return ParseSafetensorsHeader(json, kLengthBytes + length, file_bytes - kLengthBytes - length, file);
}

absl::StatusOr<SafetensorsIndex> OpenSafetensors(const std::string &directory) {
  const fs::path root(directory);
  const fs::path index_path = root / "model.safetensors.index.json";
  std::error_code error;
  SafetensorsIndex index;
  std::map<std::string, std::string> shard_of;
  std::set<std::string> shards;
  if (fs::exists(index_path, error)) {
    auto read = ReadWeightMap(index_path);
    if (!read.ok())
      return read.status();
    shard_of = *std::move(read);
    for (const auto &[name, shard] : shard_of)
      shards.insert(shard);
  } else if (fs::exists(root / "model.safetensors", error)) {
    shards.insert("model.safetensors");
  } else {
    return absl::NotFoundError(fmt::format(
        "{}: found neither model.safetensors nor model.safetensors.index.json, expected one of them", directory));
  }
  for (const std::string &shard : shards) {
    index.files.push_back((root / shard).string());
    auto tensors = ReadSafetensorsHeader(index.files.back());
    if (!tensors.ok())
      return tensors.status();
    for (TensorInfo &tensor : *tensors) {
      tensor.file = index.files.size() - 1;
      if (!shard_of.empty()) {
        auto it = shard_of.find(tensor.name);
        if (it == shard_of.end() || it->second != shard)
          continue; // The index assigns the tensor to another shard.
      }
      std::string name = tensor.name;
      index.tensors.emplace(std::move(name), std::move(tensor));
    }
  }
  for (const auto &[name, shard] : shard_of)
    if (!index.tensors.contains(name))
      return Malformed(shard, name, "no such tensor", "the tensor that the index names");
  return index;
}

} // namespace inlay
