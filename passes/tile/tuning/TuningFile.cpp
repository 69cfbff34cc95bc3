//===- TuningFile.cpp - measured schedules of linear layers ------------------===//

#include "passes/tile/tuning/TuningFile.h"

#include "fmt/format.h"
#include "formats/json/json_shape.h"
#include "formats/json/repeated_names.h"
#include "runtime/support/files.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

using namespace inlay;
using Json = nlohmann::json;

static constexpr uint64_t kMostBytes = 16 << 20;
static constexpr int kMostDepth = 8;
/// Of any integer in the file: sizes of models and of shared memory stay far below.
static constexpr int64_t kMostInteger = int64_t{1} << 31;
static constexpr size_t kMostNameBytes = 64;

static const char *const kTopKeys[] = {"format", "target", "chip", "entries", "libraries"};
static const char *const kEntryKeys[] = {"family",   "rows",   "columns",      "k",       "dtype", "prologue",
                                         "epilogue", "config", "microseconds", "compiler"};
static const char *const kLibraryKeys[] = {
    "library", "rows", "columns", "k", "dtype", "epilogue", "microseconds", "generated_microseconds", "compiler"};
static const char *const kLibraries[] = {"cublaslt"};
static const char *const kLibraryEpilogues[] = {"store", "residual"};
static const char *const kFamilies[] = {"matvec", "swap_ab", "gemm"};
static const char *const kTypes[] = {"bf16", "f16", "f8e4m3", "i8", "u8", "u4"};
static const char *const kPrologues[] = {"none", "norm"};
static const char *const kEpilogues[] = {"store", "residual", "gated", "rope"};

std::string TuningKey::toString() const {
  return fmt::format("{} {} x {} x {} {}, {}, {}", family, rows, columns, k, dtype, prologue, epilogue);
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
  template <size_t n> void requireKeys(const Json &object, const std::string &where, const char *const (&known)[n]) {
    for (const auto &[key, value] : object.items())
      if (std::find(std::begin(known), std::end(known), key) == std::end(known))
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
  double microseconds(const Json &value, const std::string &where) {
    double number = value.is_number() ? value.get<double>() : 0;
    if (!std::isfinite(number) || number <= 0)
      fail(where, describe(value), "a number above 0");
    return number;
  }
  void readEntry(const Json &value, const std::string &where);
  void readLibrary(const Json &value, const std::string &where);

  TuningFile &file;
  absl::Status status;
};
} // namespace

void Reader::readEntry(const Json &value, const std::string &where) {
  if (!value.is_object())
    return fail(where, describe(value), "an object");
  requireKeys(value, where + ".", kEntryKeys);
  if (!status.ok())
    return;
  TuningKey key;
  key.family = oneOf(value["family"], where + ".family", kFamilies);
  key.rows = integer(value["rows"], where + ".rows", 1);
  key.columns = integer(value["columns"], where + ".columns", 1);
  key.k = integer(value["k"], where + ".k", 1);
  key.dtype = oneOf(value["dtype"], where + ".dtype", kTypes);
  key.prologue = oneOf(value["prologue"], where + ".prologue", kPrologues);
  key.epilogue = oneOf(value["epilogue"], where + ".epilogue", kEpilogues);

  TuningEntry entry;
  if (!value["config"].is_object())
    return fail(where + ".config", describe(value["config"]), "an object of integers");
  for (const auto &[name, number] : value["config"].items()) {
    if (name.empty() || name.size() > kMostNameBytes ||
        !std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; }))
      return fail(where + ".config", "an object with " + describe(Json(name)), "names of small letters and _");
    entry.config[name] = integer(number, fmt::format("{}.config.{}", where, name), 0);
  }
  entry.microseconds = microseconds(value["microseconds"], where + ".microseconds");
  entry.compiler = text(value["compiler"], where + ".compiler");
  if (status.ok() && !file.entries.try_emplace(key, std::move(entry)).second)
    fail(where, "a second entry for " + key.toString(), "one");
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
    requireKeys(json, "", kTopKeys);
  if (!status.ok())
    return status;
  if (int64_t format = integer(json["format"], "format", 0); status.ok() && format != TuningFile::kFormat)
    fail("format", fmt::format("{}", format), fmt::format("{}, the one of this compiler", TuningFile::kFormat));
  file.target = this->text(json["target"], "target");
  file.chip = this->text(json["chip"], "chip");
  for (const char *list : {"entries", "libraries"})
    if (!json[list].is_array())
      fail(list, describe(json[list]), "an array");
  for (size_t i = 0; status.ok() && i < json["entries"].size(); ++i)
    readEntry(json["entries"][i], fmt::format("entries[{}]", i));
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

std::string TuningFile::toText() const {
  std::string text = fmt::format("{{\n  \"format\": {},\n  \"target\": {},\n  \"chip\": {},\n  \"entries\": [", kFormat,
                                 Json(target).dump(), Json(chip).dump());
  const char *separator = "";
  for (const auto &[key, entry] : entries) {
    nlohmann::ordered_json line{{"family", key.family},
                                {"rows", key.rows},
                                {"columns", key.columns},
                                {"k", key.k},
                                {"dtype", key.dtype},
                                {"prologue", key.prologue},
                                {"epilogue", key.epilogue},
                                {"config", entry.config},
                                {"microseconds", entry.microseconds},
                                {"compiler", entry.compiler}};
    text += fmt::format("{}\n    {}", separator, line.dump());
    separator = ",";
  }
  text += "\n  ],\n  \"libraries\": [";
  separator = "";
  for (const auto &[key, measured] : libraries)
    for (const auto &[rows, entry] : measured) {
      nlohmann::ordered_json line{{"library", kLibraries[0]},
                                  {"rows", rows},
                                  {"columns", key.columns},
                                  {"k", key.k},
                                  {"dtype", key.dtype},
                                  {"epilogue", key.epilogue},
                                  {"microseconds", entry.microseconds},
                                  {"generated_microseconds", entry.generatedMicroseconds},
                                  {"compiler", entry.compiler}};
      text += fmt::format("{}\n    {}", separator, line.dump());
      separator = ",";
    }
  return text + "\n  ]\n}\n";
}
