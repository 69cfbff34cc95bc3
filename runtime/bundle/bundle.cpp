#include "runtime/bundle/bundle.h"

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "runtime/bundle/collective.h"
#include "runtime/bundle/hash.h"
#include "runtime/bundle/plan_facts.h"
#include "runtime/bundle/stages.h"
#include "runtime/bundle/weight_files.h"
#include "runtime/bundle/weight_loader.h"
#include "runtime/bundle/writer.h"
#include "runtime/support/version.h"

#include <filesystem>

namespace inlay {

using nlohmann::json;
namespace fs = std::filesystem;

struct Bundle::Manifest {
  std::string path;
  json root;

  absl::Status Damaged(std::string_view key) const {
    return absl::DataLossError(
        fmt::format("{}: '{}' is missing or of the wrong type; compile the model again", path, key));
  }
  // The member of that name, or null.
  static const json *Find(const json &object, const char *key) {
    auto it = object.is_object() ? object.find(key) : object.end();
    return it == object.end() ? nullptr : &*it;
  }
  const json *Find(const char *key) const { return Find(root, key); }
  const json &weights() const { return root["weights"]; } // an object, once Open() has seen it
};

Bundle::Bundle() : weight_files_(std::make_unique<WeightFiles>()) {}
Bundle::~Bundle() = default;

namespace {

// The files that devices load kernels from.
std::vector<std::string> KernelFiles(const plan::Target &target) {
  std::string directory = "kernels/" + target.name()->str() + "/";
  if (target.name()->string_view() == "cpu")
    return {directory + "kernels.so"};
  std::vector<std::string> files;
  if (target.kernels())
    for (const plan::Kernel *kernel : *target.kernels())
      for (const auto &[name, code] : CodesOf(*kernel))
        files.push_back(directory + name + ".cubin");
  return files;
}

// Where `found` says something else than `expected`, in words; what it says beyond that does not matter.
std::string Difference(const json &expected, const json &found, const std::string &key) {
  if (expected.type() != found.type() && !(expected.is_number() && found.is_number()))
    return fmt::format("'{}' is missing or of the wrong type", key);
  if (expected.is_object()) {
    for (const auto &[name, value] : expected.items()) {
      auto it = found.find(name);
      std::string path = key.empty() ? name : fmt::format("{}.{}", key, name);
      if (std::string text = Difference(value, it == found.end() ? json() : *it, path); !text.empty())
        return text;
    }
    return "";
  }
  if (expected.is_array()) {
    if (expected.size() != found.size())
      return fmt::format("'{}' has {} elements, plan.fb has {}", key, found.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i)
      if (std::string text = Difference(expected[i], found[i], fmt::format("{}[{}]", key, i)); !text.empty())
        return text;
    return "";
  }
  return expected == found ? ""
                           : fmt::format("'{}' is {}, plan.fb has {}", key,
                                         found.dump(-1, ' ', false, json::error_handler_t::replace), expected.dump());
}

} // namespace

absl::StatusOr<std::unique_ptr<Bundle>> Bundle::Open(const std::string &path, const std::string &weights_source) {
  std::unique_ptr<Bundle> bundle(new Bundle);
  bundle->path_ = path;
  Manifest manifest{path + "/manifest.json", {}};
  std::error_code error;
  if (!fs::is_directory(path, error))
    return absl::NotFoundError(fmt::format("{}: is not a directory; expected a bundle written by compile-model", path));
  absl::StatusOr<std::string> text = ReadFile(manifest.path, uint64_t{64} << 20);
  if (!text.ok())
    return absl::NotFoundError(
        fmt::format("{}: has no readable manifest.json; expected a bundle written by compile-model", path));
  bundle->manifest_ = *std::move(text);
  manifest.root = json::parse(bundle->manifest_, nullptr, /*allow_exceptions=*/false);
  if (!manifest.root.is_object())
    return absl::DataLossError(fmt::format("{}: is not a JSON object; compile the model again", manifest.path));
  const json *version = manifest.Find("format_version");
  if (!version || !version->is_number_unsigned())
    return manifest.Damaged("format_version");
  if (*version != kBundleFormatVersion)
    return absl::FailedPreconditionError(fmt::format(
        "{}: has format {}, this runtime ({}) reads format {}; {}", manifest.path, version->get<uint64_t>(), Version(),
        kBundleFormatVersion,
        *version > kBundleFormatVersion ? "update the runtime" : "compile the model again with this version"));
  if (absl::Status status = bundle->CheckFiles(manifest); !status.ok())
    return status;
  if (absl::Status status = bundle->OpenPlan(manifest); !status.ok())
    return status;
  if (absl::Status status = bundle->OpenWeights(manifest, weights_source); !status.ok())
    return status;
  return bundle;
}

// Compares each file that the manifest lists with its hash.
absl::Status Bundle::CheckFiles(const Manifest &manifest) const {
  const json *files = manifest.Find("files");
  if (!files || !files->is_object())
    return manifest.Damaged("files");
  for (const auto &[name, facts] : files->items()) {
    const json *hash = Manifest::Find(facts, "xxh3");
    if (!hash || !hash->is_string() || name.find("..") != std::string::npos || name.starts_with("/"))
      return manifest.Damaged("files");
    absl::StatusOr<MappedFile> file = MappedFile::Open(path_ + "/" + name);
    if (!file.ok())
      return file.status();
    if (HashBytes(file->bytes()) != hash->get<std::string>())
      return absl::DataLossError(fmt::format(
          "{}/{}: its contents do not match the hash in manifest.json; the file was changed or damaged, compile the "
          "model again",
          path_, name));
  }
  if (!files->contains("plan.fb"))
    return manifest.Damaged("files");
  return absl::OkStatus();
}

absl::Status Bundle::OpenPlan(const Manifest &manifest) {
  absl::StatusOr<std::string> bytes = ReadFile(path_ + "/plan.fb");
  if (!bytes.ok())
    return bytes.status();
  plan_bytes_ = *std::move(bytes);
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t *>(plan_bytes_.data()), plan_bytes_.size(),
                                 /*max_depth=*/16, /*max_tables=*/100'000'000);
  if (!plan::VerifyPlanBuffer(verifier))
    return absl::DataLossError(fmt::format("{}/plan.fb: is not a valid plan; compile the model again", path_));
  plan_ = plan::GetPlan(plan_bytes_.data());
  if (plan_->format_version() != kBundleFormatVersion)
    return absl::DataLossError(fmt::format("{}: manifest.json has format {}, plan.fb {}; compile the model again",
                                           path_, kBundleFormatVersion, plan_->format_version()));
  if (absl::Status status = VerifyPlan(*plan_); !status.ok())
    return absl::Status(status.code(), fmt::format("{}/{}", path_, std::string(status.message())));
  // What people read must be what is executed.
  std::string difference = Difference(json::parse(PlanFacts(*plan_)), manifest.root, "");
  if (!difference.empty())
    return absl::DataLossError(fmt::format("{}: {}; compile the model again", manifest.path, difference));
  // Without a hash, a file would be run that nobody checked.
  for (const plan::Target *target : *plan_->targets())
    for (const std::string &name : KernelFiles(*target))
      if (!manifest.root["files"].contains(name))
        return absl::DataLossError(
            fmt::format("{}: 'files' has no hash of '{}', which target '{}' runs; compile the model again",
                        manifest.path, name, target->name()->string_view()));
  return absl::OkStatus();
}

absl::Status Bundle::OpenWeights(const Manifest &manifest, const std::string &weights_source) {
  const json *weights = manifest.Find("weights");
  const json *mode = weights ? Manifest::Find(*weights, "mode") : nullptr;
  if (!mode || !mode->is_string())
    return manifest.Damaged("weights.mode");
  weights_mode_ = *mode;
  if (weights_mode_ == "link")
    return OpenLinked(manifest, weights_source);
  if (!weights_source.empty() && (weights_mode_ == "dummy" || weights_mode_ == "pack"))
    return absl::InvalidArgumentError(
        fmt::format("{}: --weights-source is only for bundles compiled with --weights=link, but this one has weights "
                    "mode '{}'; remove --weights-source",
                    path_, weights_mode_));
  if (weights_mode_ == "dummy")
    return absl::OkStatus();
  if (weights_mode_ == "pack")
    return OpenPacked(manifest);
  return absl::DataLossError(
      fmt::format("{}: 'weights.mode' is '{}', expected pack, link or dummy", manifest.path, weights_mode_));
}

absl::Status Bundle::OpenPacked(const Manifest &manifest) {
  // The first bundles have no chunk_bytes.
  uint64_t chunk_bytes = uint64_t{64} << 20;
  if (const json *given = Manifest::Find(manifest.weights(), "chunk_bytes")) {
    constexpr uint64_t kUnit = uint64_t{1} << 20;
    if (!given->is_number_unsigned() || *given == 0u || *given > 1024 * kUnit || given->get<uint64_t>() % kUnit != 0)
      return manifest.Damaged("weights.chunk_bytes");
    chunk_bytes = *given;
  }
  const json *all_chunks = Manifest::Find(manifest.weights(), "chunks");
  for (const plan::Target *target : *plan_->targets())
    for (uint32_t rank = 0; rank < plan_->ranks(); ++rank) {
      std::string name = PackedName(target->name()->string_view(), {rank, plan_->ranks()});
      std::string file_name = "weights/" + name + ".bin";
      absl::StatusOr<RandomAccessFile> file = RandomAccessFile::Open(path_ + "/" + file_name);
      if (!file.ok())
        return file.status();
      const json *chunks = all_chunks ? Manifest::Find(*all_chunks, name.c_str()) : nullptr;
      if (!chunks || !chunks->is_array())
        return absl::DataLossError(
            fmt::format("{}: 'weights.chunks.{}' is missing; compile the model again", manifest.path, name));
      WeightFiles::Packed packed{*std::move(file), chunk_bytes, {}};
      for (const json &hash : *chunks)
        packed.chunk_hashes.push_back(hash.is_string() ? hash.get<std::string>() : "");
      uint64_t size = packed.file.size(), expected = WeightsBytes(*target, PlaceOfRank(*plan_, rank).stage);
      if (size != expected || packed.chunk_hashes.size() != (size + chunk_bytes - 1) / chunk_bytes)
        return absl::DataLossError(
            fmt::format("{}/{}: has {} bytes, expected {} and a hash of each chunk in "
                        "manifest.json, which has {}; the file was truncated or damaged, compile the model again",
                        path_, file_name, size, expected, packed.chunk_hashes.size()));
      weight_files_->packed.emplace(name, std::move(packed));
    }
  return absl::OkStatus();
}

absl::Status Bundle::OpenLinked(const Manifest &manifest, const std::string &weights_source) {
  const json *recorded = Manifest::Find(manifest.weights(), "directory");
  if (!recorded || !recorded->is_string())
    return absl::DataLossError(
        fmt::format("{}: 'weights.directory' is missing or not a string; compile the model again", manifest.path));
  const json *sources = Manifest::Find(manifest.weights(), "sources");
  if (!sources || !sources->is_array())
    return absl::DataLossError(
        fmt::format("{}: 'weights.sources' is missing or not an array; compile the model again", manifest.path));
  bool moved = !weights_source.empty();
  std::string directory = moved ? weights_source : recorded->get<std::string>();
  absl::StatusOr<CheckpointReader> checkpoint = CheckpointReader::Open(directory);
  if (!checkpoint.ok())
    return absl::Status(
        checkpoint.status().code(),
        fmt::format("{} (the bundle links the weights in '{}'; give a copy of that checkpoint with --weights-source, "
                    "or compile with --weights=pack to store the weights in the bundle)",
                    std::string(checkpoint.status().message()), recorded->get<std::string>()));
  absl::StatusOr<std::string> facts = DescribeSources(checkpoint->files());
  if (!facts.ok())
    return facts.status();
  json found = json::parse(*facts), expected = *sources;
  if (moved)
    for (json *files : {&found, &expected})
      for (json &file : *files)
        if (file.is_object())
          file.erase("changed");
  if (found != expected)
    return absl::FailedPreconditionError(
        moved
            ? fmt::format("{}: is not the checkpoint that {} was compiled from (name, size or header of a file "
                          "differ); give a copy of '{}', or compile the model again",
                          directory, path_, recorded->get<std::string>())
            : fmt::format(
                  "{}: the checkpoint changed since the bundle was compiled (size, time or header); compile the model "
                  "again, or give an unchanged copy with --weights-source (file times of a copy are not compared)",
                  directory));
  weight_files_->checkpoint = *std::move(checkpoint);
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

} // namespace inlay
