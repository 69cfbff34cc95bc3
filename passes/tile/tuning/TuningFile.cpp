//===- TuningFile.cpp - measured schedules of kernels ------------------------===//

#include "passes/tile/tuning/TuningFile.h"

#include "fmt/format.h"
#include "formats/json/json_shape.h"
#include "formats/json/repeated_names.h"
#include "runtime/support/files.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>

using namespace inlay;
using Json = nlohmann::json;

static constexpr uint64_t kMostBytes = 16 << 20;
static constexpr int kMostDepth = 8;
/// Of any integer in the file: sizes of models and of shared memory stay far below.
static constexpr int64_t kMostInteger = int64_t{1} << 31;
static constexpr size_t kMostNameBytes = 64;

static const char *const kTopKeys[] = {"format", "target", "chip", "entries", "libraries"};
static const char *const kNewTopKeys[] = {"attention"};
static const char *const kEntryKeys[] = {"family",   "rows",   "columns",      "k",       "dtype", "prologue",
                                         "epilogue", "config", "microseconds", "compiler"};
/// What format 2 lacks.
static const char *const kNewEntryKeys[] = {"date"};
static const char *const kAttentionKeys[] = {"family", "heads",  "kv_heads",     "head_dim", "page_size", "sequences",
                                             "dtype",  "config", "microseconds", "compiler", "date"};
static const char *const kLibraryKeys[] = {
    "library", "rows", "columns", "k", "dtype", "epilogue", "microseconds", "generated_microseconds", "compiler"};
static const char *const kLibraries[] = {"cublaslt"};
static const char *const kLibraryEpilogues[] = {"store", "residual"};
static const char *const kAttentionFamilies[] = {"decode_attention", "prefill_attention"};
static const char *const kFamilies[] = {"matvec", "swap_ab", "gemm"};
static const char *const kTypes[] = {"bf16", "f16", "f8e4m3", "i8", "u8", "u4"};
static const char *const kPrologues[] = {"none", "norm"};
static const char *const kEpilogues[] = {"store", "residual", "gated", "rope"};

std::string TuningKey::toString() const {
  return fmt::format("{} {} x {} x {} {}, {}, {}", family, rows, columns, k, dtype, prologue, epilogue);
}

std::string AttentionKey::toString() const {
  return fmt::format("{} {}, {} x {} heads of {} {}, pages of {}", family,
                     sequences ? fmt::format("{} sequences", sequences) : "prompts", kvHeads, heads, headDim, dtype,
                     pageSize);
}

/// A value as an error shows it: one line, not long.
static std::string describe(const Json &value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  return text.size() <= kMostNameBytes ? text : text.substr(0, kMostNameBytes) + "...";
}

namespace {
/// Reads one file; the first problem stays.
class Reader {
public:
  explicit Reader(TuningFile &file) : file(file) {}
  absl::Status run(std::string_view text);

private:
  void fail(const std::string &key, const std::string &found, const std::string &expected) {
    if (status.ok())
      status = absl::InvalidArgumentError(
          fmt::format("{}: {} is {}, expected {}; correct it, or remove the file", file.path, key, found, expected));
  }
  template <size_t n>
  void requireKeys(const Json &object, const std::string &where, const char *const (&known)[n],
                   std::span<const char *const> optional = {}) {
    for (const auto &[key, value] : object.items())
      if (std::find(std::begin(known), std::end(known), key) == std::end(known) &&
          std::find(optional.begin(), optional.end(), key) == optional.end())
        return fail(where + describe(Json(key)), "unknown", fmt::format("one of {}", fmt::join(known, ", ")));
    for (const char *key : known)
      if (!object.contains(key))
        return fail(where + key, "missing", "a value");
  }
  int64_t integer(const Json &value, const std::string &where, int64_t least) {
    bool isInRange = value.is_number_unsigned() ? value.get<uint64_t>() <= static_cast<uint64_t>(kMostInteger)
                                                : value.is_number_integer() && value.get<int64_t>() <= kMostInteger;
    if (!isInRange || value.get<int64_t>() < least) {
      fail(where, describe(value), fmt::format("an integer from {} to {}", least, kMostInteger));
      return least;
    }
    return value.get<int64_t>();
  }
  std::string text(const Json &value, const std::string &where) {
    if (!value.is_string() || value.get_ref<const std::string &>().size() > kMostNameBytes ||
        !std::all_of(value.get_ref<const std::string &>().begin(), value.get_ref<const std::string &>().end(),
                     [](char c) { return c >= ' ' && c <= '~'; })) {
      fail(where, describe(value), fmt::format("a string of at most {} printable ASCII characters", kMostNameBytes));
      return "";
    }
    return value.get<std::string>();
  }
  template <size_t n> std::string oneOf(const Json &value, const std::string &where, const char *const (&known)[n]) {
    if (!value.is_string() ||
        std::find(std::begin(known), std::end(known), value.get<std::string>()) == std::end(known)) {
      fail(where, describe(value), fmt::format("one of {}", fmt::join(known, ", ")));
      return "";
    }
    return value.get<std::string>();
  }
  /// What a linear layer multiplies by: numbers, "C of N with zeros" for codes with scales of N columns and zero
  /// points, or "C x C".
  std::string weights(const Json &value, const std::string &where) {
    constexpr std::string_view zeros = " with zeros";
    std::string text = value.is_string() ? value.get<std::string>() : "";
    std::string codes = text.ends_with(zeros) ? text.substr(0, text.size() - zeros.size()) : text;
    for (const char *type : kTypes) {
      std::string prefix = fmt::format("{} of ", type);
      bool hasGroups = codes.starts_with(prefix) && codes.size() > prefix.size() &&
                       codes.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
      if (codes == type || hasGroups || text == fmt::format("{0} x {0}", type))
        return text;
    }
    fail(where, describe(value),
         fmt::format("one of {}, or codes as in 'u4 of 128 with zeros' or 'i8 x i8'", fmt::join(kTypes, ", ")));
    return "";
  }
  double microseconds(const Json &value, const std::string &where) {
    double number = value.is_number() ? value.get<double>() : 0;
    if (!std::isfinite(number) || number <= 0)
      fail(where, describe(value), "a number above 0");
    return number;
  }
  void readEntry(const Json &value, const std::string &where);
  void readAttention(const Json &value, const std::string &where);
  TuningEntry readMeasured(const Json &value, const std::string &where);
  void readLibrary(const Json &value, const std::string &where);

  TuningFile &file;
  absl::Status status;
};
} // namespace

void Reader::readEntry(const Json &value, const std::string &where) {
  if (!value.is_object())
    return fail(where, describe(value), "an object");
  requireKeys(value, where + ".", kEntryKeys, kNewEntryKeys);
  if (!status.ok())
    return;
  TuningKey key;
  key.family = oneOf(value["family"], where + ".family", kFamilies);
  key.rows = integer(value["rows"], where + ".rows", 1);
  key.columns = integer(value["columns"], where + ".columns", 1);
  key.k = integer(value["k"], where + ".k", 1);
  key.dtype = weights(value["dtype"], where + ".dtype");
  key.prologue = oneOf(value["prologue"], where + ".prologue", kPrologues);
  key.epilogue = oneOf(value["epilogue"], where + ".epilogue", kEpilogues);

  TuningEntry entry = readMeasured(value, where);
  if (status.ok() && !file.entries.try_emplace(key, std::move(entry)).second)
    fail(where, "a second entry for " + key.toString(), "one");
}

void Reader::readAttention(const Json &value, const std::string &where) {
  if (!value.is_object())
    return fail(where, describe(value), "an object");
  requireKeys(value, where + ".", kAttentionKeys);
  if (!status.ok())
    return;
  AttentionKey key;
  key.family = oneOf(value["family"], where + ".family", kAttentionFamilies);
  key.heads = integer(value["heads"], where + ".heads", 1);
  key.kvHeads = integer(value["kv_heads"], where + ".kv_heads", 1);
  key.headDim = integer(value["head_dim"], where + ".head_dim", 1);
  key.pageSize = integer(value["page_size"], where + ".page_size", 1);
  key.sequences = integer(value["sequences"], where + ".sequences", 0);
  key.dtype = oneOf(value["dtype"], where + ".dtype", kTypes);
  TuningEntry entry = readMeasured(value, where);
  if (status.ok() && !file.attention.try_emplace(key, std::move(entry)).second)
    fail(where, "a second entry for " + key.toString(), "one");
}

TuningEntry Reader::readMeasured(const Json &value, const std::string &where) {
  TuningEntry entry;
  if (!value["config"].is_object()) {
    fail(where + ".config", describe(value["config"]), "an object of integers");
    return entry;
  }
  for (const auto &[name, number] : value["config"].items()) {
    if (name.empty() || name.size() > kMostNameBytes ||
        !std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; })) {
      fail(where + ".config", "an object with " + describe(Json(name)), "names of small letters and _");
      return entry;
    }
    entry.config[name] = integer(number, fmt::format("{}.config.{}", where, name), 0);
  }
  entry.microseconds = microseconds(value["microseconds"], where + ".microseconds");
  entry.compiler = text(value["compiler"], where + ".compiler");
  if (auto date = value.find("date"); date != value.end())
    entry.date = text(*date, where + ".date");
  return entry;
}

void Reader::readLibrary(const Json &value, const std::string &where) {
  if (!value.is_object())
    return fail(where, describe(value), "an object");
  requireKeys(value, where + ".", kLibraryKeys);
  if (!status.ok())
    return;
  oneOf(value["library"], where + ".library", kLibraries);
  LibraryKey key;
  key.columns = integer(value["columns"], where + ".columns", 1);
  key.k = integer(value["k"], where + ".k", 1);
  key.dtype = oneOf(value["dtype"], where + ".dtype", kTypes);
  key.epilogue = oneOf(value["epilogue"], where + ".epilogue", kLibraryEpilogues);
  LibraryEntry entry;
  entry.rows = integer(value["rows"], where + ".rows", 1);
  entry.microseconds = microseconds(value["microseconds"], where + ".microseconds");
  entry.generatedMicroseconds = microseconds(value["generated_microseconds"], where + ".generated_microseconds");
  entry.compiler = text(value["compiler"], where + ".compiler");
  if (status.ok() && !file.libraries[key].try_emplace(entry.rows, std::move(entry)).second)
    fail(where,
         fmt::format("a second entry for {} rows of {} x {} {}, {}", entry.rows, key.columns, key.k, key.dtype,
                     key.epilogue),
         "one");
}

absl::Status Reader::run(std::string_view text) {
  if (text.size() > kMostBytes)
    return absl::InvalidArgumentError(
        fmt::format("{}: has {} bytes, expected at most {}; remove entries", file.path, text.size(), kMostBytes));
  if (int depth = ShapeOfJson(text).depth; depth > kMostDepth)
    return absl::InvalidArgumentError(
        fmt::format("{}: nests {} deep, expected at most {}; is it a tuning file?", file.path, depth, kMostDepth));
  RepeatedNames names;
  Json json = Json::parse(text, std::ref(names), /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object())
    fail("the text", json.is_discarded() ? "no JSON" : describe(json), "a JSON object");
  else if (names.first())
    fail(describe(Json(*names.first())), "twice in one object", "each key once");
  else
    requireKeys(json, "", kTopKeys, kNewTopKeys);
  if (!status.ok())
    return status;
  if (int64_t format = integer(json["format"], "format", 0);
      status.ok() && (format < TuningFile::kOldestFormat || format > TuningFile::kFormat))
    fail("format", fmt::format("{}", format),
         fmt::format("{} or {}, those of this compiler", TuningFile::kOldestFormat, TuningFile::kFormat));
  file.target = this->text(json["target"], "target");
  file.chip = this->text(json["chip"], "chip");
  for (const char *list : {"entries", "attention", "libraries"})
    if (json.contains(list) && !json[list].is_array())
      fail(list, describe(json[list]), "an array");
  for (size_t i = 0; status.ok() && i < json["entries"].size(); ++i)
    readEntry(json["entries"][i], fmt::format("entries[{}]", i));
  if (auto attention = json.find("attention"); attention != json.end())
    for (size_t i = 0; status.ok() && i < attention->size(); ++i)
      readAttention((*attention)[i], fmt::format("attention[{}]", i));
  for (size_t i = 0; status.ok() && i < json["libraries"].size(); ++i)
    readLibrary(json["libraries"][i], fmt::format("libraries[{}]", i));
  return status;
}

absl::StatusOr<TuningFile> TuningFile::parse(std::string_view text, std::string path) {
  TuningFile file;
  file.path = std::move(path);
  if (absl::Status status = Reader(file).run(text); !status.ok())
    return status;
  return file;
}

absl::StatusOr<TuningFile> TuningFile::read(const std::string &path) {
  absl::StatusOr<std::string> text = ReadFile(path, kMostBytes);
  if (!text.ok())
    return text.status();
  return parse(*text, path);
}

absl::StatusOr<TuningFile> TuningFile::open(const std::string &name, std::string_view target) {
  if (name.empty())
    return TuningFile{};
  absl::StatusOr<TuningFile> file = name == kBuiltinTuning ? builtin() : read(name);
  if (file.ok() && file->target != target)
    return absl::InvalidArgumentError(fmt::format(
        "{}: target is '{}', expected '{}'; name a file that was measured for it", file->path, file->target, target));
  return file;
}

absl::Status TuningFile::write() const {
  std::string temporary = path + ".partial";
  FileWriter writer(temporary);
  writer.Write(toText());
  if (absl::Status status = writer.Close(); !status.ok())
    return status;
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  return error ? absl::InternalError(fmt::format("{}: cannot be replaced: {}", path, error.message()))
               : absl::OkStatus();
}

/// `lines` as the elements of the array `name`.
static std::string listText(const char *name, const std::vector<nlohmann::ordered_json> &lines) {
  std::string text = fmt::format("  \"{}\": [", name);
  const char *separator = "";
  for (const nlohmann::ordered_json &line : lines) {
    text += fmt::format("{}\n    {}", separator, line.dump());
    separator = ",";
  }
  return text + "\n  ]";
}

/// Adds what was measured to the key in `line`.
static nlohmann::ordered_json withMeasured(nlohmann::ordered_json line, const TuningEntry &entry) {
  line["config"] = entry.config;
  line["microseconds"] = entry.microseconds;
  line["compiler"] = entry.compiler;
  if (!entry.date.empty())
    line["date"] = entry.date;
  return line;
}

std::string TuningFile::toText() const {
  std::vector<nlohmann::ordered_json> linear, ofAttention, ofLibraries;
  for (const auto &[key, entry] : entries)
    linear.push_back(withMeasured({{"family", key.family},
                                   {"rows", key.rows},
                                   {"columns", key.columns},
                                   {"k", key.k},
                                   {"dtype", key.dtype},
                                   {"prologue", key.prologue},
                                   {"epilogue", key.epilogue}},
                                  entry));
  for (const auto &[key, entry] : attention)
    ofAttention.push_back(withMeasured({{"family", key.family},
                                        {"heads", key.heads},
                                        {"kv_heads", key.kvHeads},
                                        {"head_dim", key.headDim},
                                        {"page_size", key.pageSize},
                                        {"sequences", key.sequences},
                                        {"dtype", key.dtype}},
                                       entry));
  for (const auto &[key, measured] : libraries)
    for (const auto &[rows, entry] : measured)
      ofLibraries.push_back({{"library", kLibraries[0]},
                             {"rows", rows},
                             {"columns", key.columns},
                             {"k", key.k},
                             {"dtype", key.dtype},
                             {"epilogue", key.epilogue},
                             {"microseconds", entry.microseconds},
                             {"generated_microseconds", entry.generatedMicroseconds},
                             {"compiler", entry.compiler}});
  return fmt::format("{{\n  \"format\": {},\n  \"target\": {},\n  \"chip\": {},\n{},\n{},\n{}\n}}\n", kFormat,
                     Json(target).dump(), Json(chip).dump(), listText("entries", linear),
                     listText("attention", ofAttention), listText("libraries", ofLibraries));
}
