#include "runtime/bundle/writer.h"

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/hash.h"
#include "runtime/bundle/plan_facts.h"
#include "runtime/bundle/stages.h"
#include "runtime/bundle/weight_files.h"
#include "runtime/support/version.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

namespace inlay {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// Removes a directory that was not renamed.
class TemporaryDirectory {
public:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty())
      fs::remove_all(path_, ignored);
  }
  void Release() { path_.clear(); }

private:
  std::string path_;
};

// JSON as text; bytes that are no UTF-8 become U+FFFD instead of an exception.
std::string Dump(const json &value, int indent = -1) {
  return value.dump(indent, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

void SyncDirectory(const std::string &path) {
  int file = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file >= 0) {
    fsync(file);
    close(file);
  }
}

absl::Status WriteFile(const std::string &path, std::string_view contents) {
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  FileWriter writer(path);
  writer.Write(contents);
  return writer.Close();
}

// Puts all of `from` into `to`; objects and elements of arrays are joined.
void Merge(const json &from, json &to) {
  if (from.is_object() && (to.is_object() || to.is_null())) {
    for (const auto &[key, value] : from.items())
      Merge(value, to[key]);
  } else if (from.is_array() && (to.is_array() || to.is_null())) {
    for (size_t i = 0; i < from.size(); ++i)
      Merge(from[i], to[i]);
    if (from.empty())
      to = from;
  } else {
    to = from;
  }
}

// Finds tensors for recipes. Of those that are quantized, it has a record until codes and scales are packed.
class QuantizingReader {
public:
  QuantizingReader(const CheckpointReader &checkpoint, std::function<void(const QuantizedTensor &)> report)
      : checkpoint_(checkpoint), report_(std::move(report)) {}

  // A tensor that a source of `weight` is, or that is read with one; all sources of a name quantize it alike.
  absl::StatusOr<SourceTensor> Find(const plan::Weight &weight, std::string_view name) {
    absl::StatusOr<SourceTensor> tensor = checkpoint_.Find(name);
    const auto &sources = *weight.recipe()->sources();
    const auto source = std::find_if(sources.begin(), sources.end(),
                                     [&](const auto *one) { return one->tensor()->string_view() == name; });
    const plan::RecipeStep *step = source == sources.end() ? nullptr : StepOf(**source);
    if (!tensor.ok() || !step || tensor->shape.size() != 2)
      return tensor;
    const bool is_transposed = source->steps()->Get(0)->op() == plan::RecipeOp_Transpose;
    auto rows = static_cast<uint64_t>(tensor->shape[is_transposed ? 1 : 0]);
    auto columns = static_cast<uint64_t>(tensor->shape[is_transposed ? 0 : 1]);
    std::unique_ptr<QuantizationRecord> &record = records_[std::string(name)];
    if (!record && columns % step->block() == 0)
      record = std::make_unique<QuantizationRecord>(rows, columns / step->block());
    tensor->record = record.get();
    return tensor;
  }

  // Reports the tensors of a weight of scales that are done, and forgets their records.
  void Finish(const plan::Weight &weight) {
    if (!weight.recipe()->sources())
      return;
    for (const plan::Source *source : *weight.recipe()->sources()) {
      const plan::RecipeStep *step = StepOf(*source);
      auto it = records_.find(source->tensor()->str());
      if (!step || step->op() != plan::RecipeOp_QuantizeScales || it == records_.end() || !it->second->IsComplete())
        continue;
      if (report_)
        report_(
            {it->first, it->second->groups() * step->block(), it->second->squared_error(), it->second->squared_norm()});
      records_.erase(it);
    }
  }

private:
  static const plan::RecipeStep *StepOf(const plan::Source &source) {
    if (source.steps())
      for (const plan::RecipeStep *step : *source.steps())
        if (step->op() == plan::RecipeOp_Quantize || step->op() == plan::RecipeOp_QuantizeScales)
          return step;
    return nullptr;
  }

  const CheckpointReader &checkpoint_;
  std::function<void(const QuantizedTensor &)> report_;
  std::map<std::string, std::unique_ptr<QuantizationRecord>> records_;
};

// Packs the weights of a rank; returns the hashes of the file's chunks.
absl::StatusOr<json> PackWeights(const plan::Target &target, const RankPlace &place, QuantizingReader &reader,
                                 const std::string &path, uint64_t &done, uint64_t total, ThreadPool &pool,
                                 const std::function<void(uint64_t, uint64_t)> &progress) {
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  FileWriter writer(path);
  std::vector<std::byte> buffer;
  if (target.weights())
    for (const plan::Weight *weight : *target.weights()) {
      if (weight->stage() != place.stage)
        continue;
      buffer.resize(weight->bytes());
      if (absl::Status status = Materialize(
              *weight, [&](std::string_view name) { return reader.Find(*weight, name); }, buffer, pool, place.of_stage);
          !status.ok())
        return status;
      reader.Finish(*weight);
      writer.PadTo(weight->offset());
      writer.Write(buffer);
      done += weight->bytes();
      if (progress)
        progress(done, total);
    }
  if (absl::Status status = writer.Close(); !status.ok())
    return status;
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok())
    return file.status();
  std::span<const std::byte> bytes = file->bytes();
  std::vector<std::string> hashes((bytes.size() + kWeightChunkBytes - 1) / kWeightChunkBytes);
  pool.Run(static_cast<int64_t>(hashes.size()), [&](int64_t i) {
    uint64_t at = static_cast<uint64_t>(i) * kWeightChunkBytes;
    hashes[static_cast<size_t>(i)] = HashBytes(bytes.subspan(at, std::min(kWeightChunkBytes, bytes.size() - at)));
  });
  return hashes;
}

} // namespace

absl::StatusOr<std::string> DescribeSources(const std::vector<std::string> &files) {
  json sources = json::array();
  for (const std::string &path : files) {
    struct stat info{};
    absl::StatusOr<MappedFile> file = MappedFile::Open(path);
    if (!file.ok())
      return file.status();
    if (stat(path.c_str(), &info) != 0)
      return absl::NotFoundError(fmt::format("{}: {}", path, std::strerror(errno)));
    std::span<const std::byte> bytes = file->bytes();
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), std::min<size_t>(8, bytes.size()));
    header = std::min<uint64_t>(header, bytes.size() < 8 ? 0 : bytes.size() - 8);
    sources.push_back({{"path", fs::path(path).filename().string()},
                       {"bytes", bytes.size()},
                       {"changed", fmt::format("{}.{:09}", info.st_mtim.tv_sec, info.st_mtim.tv_nsec)},
                       {"header_xxh3", HashBytes(bytes.first(bytes.size() < 8 ? 0 : 8 + header))}});
  }
  return Dump(sources);
}

absl::Status WriteBundle(const BundleContents &contents, const std::string &path, bool overwrite,
                         const std::function<void(uint64_t, uint64_t)> &progress) {
  std::error_code error;
  fs::path target_path = fs::absolute(path, error).lexically_normal();
  if (!target_path.has_filename())
    target_path = target_path.parent_path();
  bool exists = fs::exists(target_path, error);
  if (exists && !overwrite)
    return absl::AlreadyExistsError(fmt::format("{}: exists; choose another output or add --overwrite", path));
  if (exists && !fs::exists(target_path / "manifest.json", error) && !fs::is_empty(target_path, error))
    return absl::AlreadyExistsError(fmt::format("{}: exists and is not a bundle; choose another output", path));
  fs::create_directories(target_path.parent_path(), error);
  std::string temporary = fmt::format("{}.tmp-{}", target_path.string(), getpid());
  fs::remove_all(temporary, error);
  if (!fs::create_directory(temporary, error))
    return absl::PermissionDeniedError(fmt::format("{}: cannot be created: {}", temporary, error.message()));
  TemporaryDirectory cleanup(temporary);

  json manifest = json::parse(contents.manifest_extra, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object())
    return absl::InternalError("the extra part of the manifest is not a JSON object");
  const plan::Plan &plan = *plan::GetPlan(contents.plan.data());
  if (absl::Status status = VerifyPlan(plan); !status.ok())
    return absl::InternalError(status.message());
  manifest["format_version"] = kBundleFormatVersion;
  manifest["compiler_version"] = std::string(Version());
  Merge(json::parse(PlanFacts(plan)), manifest);
  auto add = [&](const std::string &name, std::string_view bytes) {
    manifest["files"][name] = {{"bytes", bytes.size()}, {"xxh3", HashBytes(std::as_bytes(std::span(bytes)))}};
    return WriteFile(temporary + "/" + name, bytes);
  };
  if (absl::Status status = add("plan.fb", contents.plan); !status.ok())
    return status;
  for (const auto &[name, bytes] : contents.files)
    if (absl::Status status = add(name, bytes); !status.ok())
      return status;

  manifest["weights"] = {{"mode", contents.weights_mode}};
  if (contents.weights_mode != "dummy") {
    absl::StatusOr<CheckpointReader> checkpoint = CheckpointReader::Open(contents.checkpoint);
    if (!checkpoint.ok())
      return checkpoint.status();
    if (contents.weights_mode == "link") {
      absl::StatusOr<std::string> sources = DescribeSources(checkpoint->files());
      if (!sources.ok())
        return sources.status();
      json directory = fs::absolute(contents.checkpoint, error).lexically_normal().string();
      if (json::parse(Dump(directory)) != directory)
        return absl::InvalidArgumentError(fmt::format(
            "{}: the path is not UTF-8, so the manifest cannot store it; rename it or compile with --weights=pack",
            contents.checkpoint));
      manifest["weights"]["directory"] = std::move(directory);
      manifest["weights"]["sources"] = json::parse(*sources);
    } else {
      manifest["weights"]["chunk_bytes"] = kWeightChunkBytes;
      ThreadPool pool;
      uint64_t total = 0, done = 0;
      for (const plan::Target *target : *plan.targets())
        if (target->weights())
          for (const plan::Weight *weight : *target->weights())
            total += weight->bytes() * RanksOfStage(plan);
      for (const plan::Target *target : *plan.targets()) {
        // All targets quantize alike. Ranks quantize parts of a tensor, which are reported together.
        QuantizingReader reader(*checkpoint, target == plan.targets()->Get(0) ? contents.on_quantized : nullptr);
        for (uint32_t index = 0; index < plan.ranks(); ++index) {
          std::string name = PackedName(target->name()->string_view(), {index, plan.ranks()});
          absl::StatusOr<json> chunks =
              PackWeights(*target, PlaceOfRank(plan, index), reader, fmt::format("{}/weights/{}.bin", temporary, name),
                          done, total, pool, progress);
          if (!chunks.ok())
            return chunks.status();
          manifest["weights"]["chunks"][name] = *std::move(chunks);
        }
      }
    }
  }
  // Last, so that a directory with a manifest is complete.
  if (absl::Status status = WriteFile(temporary + "/manifest.json", Dump(manifest, 2) + "\n"); !status.ok())
    return status;
  for (const fs::directory_entry &entry : fs::recursive_directory_iterator(temporary, error))
    if (entry.is_directory(error))
      SyncDirectory(entry.path().string());
  SyncDirectory(temporary);
  // A bundle that is replaced keeps its name until the new one is whole, and gets it back if that cannot take it.
  error.clear();
  std::string replaced = fmt::format("{}.old-{}", target_path.string(), getpid());
  if (exists)
    fs::rename(target_path, replaced, error);
  if (!error)
    fs::rename(temporary, target_path, error);
  if (error) {
    std::error_code ignored;
    if (exists && !fs::exists(target_path, ignored))
      fs::rename(replaced, target_path, ignored);
    return absl::PermissionDeniedError(
        fmt::format("{}: cannot be renamed from {}: {}", path, temporary, error.message()));
  }
  cleanup.Release();
  if (exists)
    fs::remove_all(replaced, error);
  SyncDirectory(target_path.parent_path().string());
  return absl::OkStatus();
}

} // namespace inlay
