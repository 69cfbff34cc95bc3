#include "runtime/bundle/bundle.h"

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "runtime/bundle/checkpoint.h"
#include "runtime/bundle/writer.h"
#include "runtime/support/version.h"
#include "xxhash.h"

#include <filesystem>

namespace inlay {

using nlohmann::json;
namespace fs = std::filesystem;

struct Bundle::Checkpoint {
  MappedCheckpoint tensors;
};

Bundle::Bundle() = default;
Bundle::~Bundle() = default;

std::string HashBytes(std::span<const std::byte> bytes) {
  XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

namespace {

// The files that devices load kernels from.
std::vector<std::string> KernelFiles(const plan::Target &target) {
  std::string directory = "kernels/" + target.name()->str() + "/";
  if (target.name()->string_view() == "cpu")
    return {directory + "kernels.so"};
  std::vector<std::string> files;
  if (target.kernels())
    for (const plan::Kernel *kernel : *target.kernels())
      files.push_back(directory + kernel->name()->str() + ".cubin");
  return files;
}

} // namespace

absl::StatusOr<std::unique_ptr<Bundle>> Bundle::Open(const std::string &path) {
  std::unique_ptr<Bundle> bundle(new Bundle);
  bundle->path_ = path;
  std::string manifest_path = path + "/manifest.json";
  std::error_code error;
  if (!fs::is_directory(path, error))
    return absl::NotFoundError(fmt::format("{}: is not a directory; expected a bundle that compile-model wrote", path));
  absl::StatusOr<std::string> text = ReadFile(manifest_path, uint64_t{64} << 20);
  if (!text.ok())
    return absl::NotFoundError(
        fmt::format("{}: holds no readable manifest.json; expected a bundle that compile-model wrote", path));
  bundle->manifest_ = *std::move(text);
  json manifest = json::parse(bundle->manifest_, nullptr, /*allow_exceptions=*/false);
  auto damaged = [&](std::string_view key) {
    return absl::DataLossError(
        fmt::format("{}: '{}' is missing or of the wrong type; compile the model again", manifest_path, key));
  };
  if (!manifest.is_object())
    return absl::DataLossError(fmt::format("{}: is not a JSON object; compile the model again", manifest_path));
  if (!manifest.contains("format_version") || !manifest["format_version"].is_number_unsigned())
    return damaged("format_version");
  uint64_t version = manifest["format_version"];
  if (version != kBundleFormatVersion)
    return absl::FailedPreconditionError(fmt::format(
        "{}: has format {}, this runtime ({}) reads format {}; {}", manifest_path, version, Version(),
        kBundleFormatVersion,
        version > kBundleFormatVersion ? "update the runtime" : "compile the model again with this version"));
  if (!manifest.contains("files") || !manifest["files"].is_object())
    return damaged("files");
  for (const auto &[name, facts] : manifest["files"].items()) {
    if (!facts.is_object() || !facts.contains("xxh3") || !facts["xxh3"].is_string() ||
        name.find("..") != std::string::npos || name.starts_with("/"))
      return damaged("files");
    absl::StatusOr<MappedFile> file = MappedFile::Open(path + "/" + name);
    if (!file.ok())
      return file.status();
    if (HashBytes(file->bytes()) != facts["xxh3"].get<std::string>())
      return absl::DataLossError(fmt::format(
          "{}/{}: its contents do not match the hash in manifest.json; the file was changed or damaged, compile the "
          "model again",
          path, name));
  }
  if (!manifest["files"].contains("plan.fb"))
    return damaged("files");
  absl::StatusOr<std::string> plan = ReadFile(path + "/plan.fb");
  if (!plan.ok())
    return plan.status();
  bundle->plan_bytes_ = *std::move(plan);
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t *>(bundle->plan_bytes_.data()),
                                 bundle->plan_bytes_.size(), /*max_depth=*/16, /*max_tables=*/100'000'000);
  if (!plan::VerifyPlanBuffer(verifier))
    return absl::DataLossError(fmt::format("{}/plan.fb: is no valid plan; compile the model again", path));
  bundle->plan_ = plan::GetPlan(bundle->plan_bytes_.data());
  if (bundle->plan_->format_version() != version)
    return absl::DataLossError(fmt::format("{}: manifest.json has format {}, plan.fb {}; compile the model again", path,
                                           version, bundle->plan_->format_version()));
  if (absl::Status status = VerifyPlan(*bundle->plan_); !status.ok())
    return absl::Status(status.code(), fmt::format("{}/{}", path, std::string(status.message())));
  // What people read must be what is executed.
  if (!manifest.contains("targets") || !manifest["targets"].is_array() ||
      manifest["targets"].size() != bundle->plan_->targets()->size())
    return damaged("targets");
  for (size_t i = 0; i < manifest["targets"].size(); ++i)
    if (manifest["targets"][i] != bundle->plan_->targets()->Get(static_cast<uint32_t>(i))->name()->str())
      return damaged("targets");
  // Without a hash, a file would be run that nobody checked.
  for (const plan::Target *target : *bundle->plan_->targets())
    for (const std::string &name : KernelFiles(*target))
      if (!manifest["files"].contains(name))
        return absl::DataLossError(
            fmt::format("{}: 'files' has no hash of '{}', which target '{}' runs; compile the model again",
                        manifest_path, name, target->name()->string_view()));
  if (!manifest.contains("weights") || !manifest["weights"].is_object() || !manifest["weights"].contains("mode") ||
      !manifest["weights"]["mode"].is_string())
    return damaged("weights.mode");
  bundle->weights_mode_ = manifest["weights"]["mode"];
  if (absl::Status status = bundle->OpenWeights(); !status.ok())
    return status;
  return bundle;
}

absl::Status Bundle::OpenWeights() {
  json weights = json::parse(manifest_)["weights"];
  std::string manifest_path = path_ + "/manifest.json";
  if (weights_mode_ == "dummy")
    return absl::OkStatus();
  if (weights_mode_ == "pack") {
    for (const plan::Target *target : *plan_->targets()) {
      std::string name = target->name()->str(), file_name = "weights/" + name + ".bin";
      Packed packed;
      absl::StatusOr<MappedFile> file = MappedFile::Open(path_ + "/" + file_name);
      if (!file.ok())
        return file.status();
      packed.file = *std::move(file);
      json chunks =
          weights.contains("chunks") && weights["chunks"].is_object() ? weights["chunks"].value(name, json()) : json();
      if (!chunks.is_array())
        return absl::DataLossError(
            fmt::format("{}: 'weights.chunks.{}' is missing; compile the model again", manifest_path, name));
      for (const json &hash : chunks)
        packed.chunk_hashes.push_back(hash.is_string() ? hash.get<std::string>() : "");
      uint64_t size = packed.file.bytes().size();
      if (packed.chunk_hashes.size() != (size + kWeightChunkBytes - 1) / kWeightChunkBytes)
        return absl::DataLossError(fmt::format("{}/{}: has {} bytes, manifest.json has hashes of {} chunks; the file "
                                               "was cut or damaged, compile the model again",
                                               path_, file_name, size, packed.chunk_hashes.size()));
      packed.checked.resize(packed.chunk_hashes.size());
      if (target->weights())
        for (const plan::Weight *weight : *target->weights())
          if (weight->offset() + weight->bytes() > size)
            return absl::DataLossError(fmt::format("{}/{}: ends before weight '{}'; compile the model again", path_,
                                                   file_name, weight->name()->string_view()));
      packed_.emplace(name, std::move(packed));
    }
    return absl::OkStatus();
  }
  if (weights_mode_ != "link")
    return absl::DataLossError(
        fmt::format("{}: 'weights.mode' is '{}', expected pack, link or dummy", manifest_path, weights_mode_));
  if (!weights.contains("directory") || !weights["directory"].is_string())
    return absl::DataLossError(
        fmt::format("{}: 'weights.directory' is missing or no string; compile the model again", manifest_path));
  std::string directory = weights["directory"];
  absl::StatusOr<MappedCheckpoint> tensors = MappedCheckpoint::Open(directory);
  if (!tensors.ok())
    return absl::Status(tensors.status().code(),
                        fmt::format("{} (the bundle links the weights of '{}'; compile with --weights=pack to carry "
                                    "them along)",
                                    std::string(tensors.status().message()), directory));
  absl::StatusOr<std::string> facts = DescribeSources(tensors->files());
  if (!facts.ok())
    return facts.status();
  if (json::parse(*facts) != weights.value("sources", json()))
    return absl::FailedPreconditionError(
        fmt::format("{}: the checkpoint changed since the bundle was compiled (size, time or header); compile it again",
                    directory));
  checkpoint_ = std::make_unique<Checkpoint>(Checkpoint{*std::move(tensors)});
  return absl::OkStatus();
}

const plan::Target *Bundle::target(std::string_view name) const {
  for (const plan::Target *target : *plan_->targets())
    if (target->name()->string_view() == name)
      return target;
  return nullptr;
}

std::string Bundle::TargetNames() const {
  std::string names;
  for (const plan::Target *target : *plan_->targets())
    names += (names.empty() ? "" : ", ") + target->name()->str();
  return names;
}

absl::Status Bundle::LoadWeight(const plan::Target &target, uint32_t index, std::span<std::byte> out,
                                ThreadPool &pool) const {
  const plan::Weight &weight = *target.weights()->Get(index);
  if (weights_mode_ == "dummy")
    return FillRandom(weight, index + 1, out, pool);
  if (checkpoint_)
    return CarryOut(weight, [&](std::string_view name) { return checkpoint_->tensors.Find(name); }, out, pool);
  const Packed &packed = packed_.at(target.name()->str());
  std::span<const std::byte> all = packed.file.bytes();
  // Hash the chunks that the weight touches, and ahead as many as there are threads; then copy it.
  uint64_t first = weight.offset() / kWeightChunkBytes,
           last =
               std::max((weight.offset() + weight.bytes() - 1) / kWeightChunkBytes,
                        std::min<uint64_t>(first + static_cast<uint64_t>(pool.threads()), packed.checked.size()) - 1);
  std::vector<char> wrong(last - first + 1);
  pool.Run(static_cast<int64_t>(last - first + 1), [&](int64_t i) {
    uint64_t chunk = first + static_cast<uint64_t>(i), at = chunk * kWeightChunkBytes;
    if (!packed.checked[chunk])
      wrong[static_cast<size_t>(i)] =
          HashBytes(all.subspan(at, std::min(kWeightChunkBytes, all.size() - at))) != packed.chunk_hashes[chunk];
  });
  for (size_t i = 0; i < wrong.size(); ++i) {
    if (wrong[i])
      return absl::DataLossError(fmt::format("{}/weights/{}.bin: chunk {} does not match its hash in manifest.json; "
                                             "the file was changed or damaged, compile the model again",
                                             path_, target.name()->string_view(), first + i));
    packed.checked[first + i] = true;
  }
  constexpr uint64_t kCopyBytes = uint64_t{4} << 20;
  pool.Run(static_cast<int64_t>((weight.bytes() + kCopyBytes - 1) / kCopyBytes), [&](int64_t i) {
    uint64_t at = static_cast<uint64_t>(i) * kCopyBytes;
    std::memcpy(out.data() + at, all.data() + weight.offset() + at, std::min(kCopyBytes, weight.bytes() - at));
  });
  return absl::OkStatus();
}

} // namespace inlay
