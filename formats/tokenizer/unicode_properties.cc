#include "formats/tokenizer/unicode_properties.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string>

namespace inlay::tokenizer {
namespace {

constexpr uint32_t kCodePoints = 0x110000;
constexpr uint32_t kBlock = 256;

enum Category : uint8_t {
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,
  kPi,
  kPf,
  kPo,
  kSm,
  kSc,
  kSk,
  kSo,
  kZs,
  kZl,
  kZp,
  kCc,
  kCf,
  kCo,
  kCn,
  kCategories
};

// The order of the bits in unicode_tables.inc.
enum Flag : uint16_t {
  kAlphabetic = 1 << 0,
  kLowercase = 1 << 1,
  kUppercase = 1 << 2,
  kEmoji = 1 << 3,
  kEmojiPresentation = 1 << 4,
  kExtendedPictographic = 1 << 5,
  kNumeric = 1 << 6,
  kPunctuation = 1 << 7,
  kWord = 1 << 8,
  kUnknownToNormalizers = 1 << 9,
};

// The properties of the code points from `first` up to the next row.
struct Row {
  uint32_t first;
  uint8_t category;
  uint8_t script; // index in kScripts plus 1; 0: none
  uint16_t flags;
};
constexpr Row kRows[] = {
#define INLAY_ROW(first, category, script, flags) {first, category, script, flags},
#include "formats/tokenizer/unicode_tables.inc"
#undef INLAY_ROW
};

// Every `step`-th code point from `first` to `last` has a lower case at the distance `difference`.
struct LowerRun {
  uint32_t first, last, step;
  int32_t difference;
};
constexpr LowerRun kLowerRuns[] = {
#define INLAY_LOWER(first, last, step, difference) {first, last, step, difference},
#include "formats/tokenizer/unicode_tables.inc"
#undef INLAY_LOWER
};

// Names in the form that is compared: lower case, without underscores.
struct Script {
  std::string_view name, alias;
};
constexpr Script kScripts[] = {
#define INLAY_SCRIPT(name, alias) {name, alias},
#include "formats/tokenizer/unicode_tables.inc"
#undef INLAY_SCRIPT
};

// The index of the row with each block's first code point.
constexpr auto kBlocks = [] {
  std::array<uint16_t, kCodePoints / kBlock + 1> rows{};
  size_t row = 0;
  for (uint32_t block = 0; block < rows.size(); ++block) {
    while (row + 1 < std::size(kRows) && kRows[row + 1].first <= block * kBlock)
      ++row;
    rows[block] = static_cast<uint16_t>(row);
  }
  return rows;
}();
static_assert(std::size(kRows) < 0xFFFF && kRows[0].first == 0);

const Row &Find(uint32_t code_point) {
  uint32_t block = std::min(code_point, kCodePoints - 1) / kBlock;
  const Row *begin = kRows + kBlocks[block], *end = kRows + kBlocks[block + 1] + 1;
  return *(std::upper_bound(begin, end, code_point, [](uint32_t c, const Row &row) { return c < row.first; }) - 1);
}

template <class Predicate> CodePointSet Collect(const Predicate &contains) {
  CodePointSet set;
  for (size_t i = 0; i < std::size(kRows); ++i) {
    if (!contains(kRows[i]))
      continue;
    uint32_t last = (i + 1 < std::size(kRows) ? kRows[i + 1].first : kCodePoints) - 1;
    if (!set.empty() && set.back().last + 1 == kRows[i].first)
      set.back().last = last;
    else
      set.push_back({kRows[i].first, last});
  }
  return set;
}

constexpr uint32_t Bits(std::initializer_list<Category> categories) {
  uint32_t bits = 0;
  for (Category category : categories)
    bits |= 1u << category;
  return bits;
}
constexpr uint32_t kLetters = Bits({kLu, kLl, kLt, kLm, kLo}), kMarks = Bits({kMn, kMc, kMe}),
                   kNumbers = Bits({kNd, kNl, kNo}), kPunctuations = Bits({kPc, kPd, kPs, kPe, kPi, kPf, kPo}),
                   kSymbols = Bits({kSm, kSc, kSk, kSo}), kSeparators = Bits({kZs, kZl, kZp}),
                   kOthers = Bits({kCc, kCf, kCo, kCn}), kAll = (1u << kCategories) - 1;

// A property is the union of the code points in `categories` and those with one of `flags`.
struct Property {
  std::string_view name, alias;
  uint32_t categories;
  uint16_t flags = 0;
};
constexpr Property kProperties[] = {
    {"l", "letter", kLetters},
    {"lc", "casedletter", Bits({kLu, kLl, kLt})},
    {"lu", "uppercaseletter", Bits({kLu})},
    {"ll", "lowercaseletter", Bits({kLl})},
    {"lt", "titlecaseletter", Bits({kLt})},
    {"lm", "modifierletter", Bits({kLm})},
    {"lo", "otherletter", Bits({kLo})},
    {"m", "mark", kMarks},
    {"mn", "nonspacingmark", Bits({kMn})},
    {"mc", "spacingmark", Bits({kMc})},
    {"me", "enclosingmark", Bits({kMe})},
    {"n", "number", kNumbers},
    {"nd", "decimalnumber", Bits({kNd})},
    {"nl", "letternumber", Bits({kNl})},
    {"no", "othernumber", Bits({kNo})},
    {"p", "punctuation", kPunctuations},
    {"pc", "connectorpunctuation", Bits({kPc})},
    {"pd", "dashpunctuation", Bits({kPd})},
    {"ps", "openpunctuation", Bits({kPs})},
    {"pe", "closepunctuation", Bits({kPe})},
    {"pi", "initialpunctuation", Bits({kPi})},
    {"pf", "finalpunctuation", Bits({kPf})},
    {"po", "otherpunctuation", Bits({kPo})},
    {"s", "symbol", kSymbols},
    {"sm", "mathsymbol", Bits({kSm})},
    {"sc", "currencysymbol", Bits({kSc})},
    {"sk", "modifiersymbol", Bits({kSk})},
    {"so", "othersymbol", Bits({kSo})},
    {"z", "separator", kSeparators},
    {"zs", "spaceseparator", Bits({kZs})},
    {"zl", "lineseparator", Bits({kZl})},
    {"zp", "paragraphseparator", Bits({kZp})},
    {"c", "other", kOthers},
    {"cc", "control", Bits({kCc})},
    {"cf", "format", Bits({kCf})},
    {"co", "privateuse", Bits({kCo})},
    {"cn", "unassigned", Bits({kCn})},
    {"any", "any", kAll},
    {"assigned", "assigned", kAll & ~Bits({kCn})},
    {"alphabetic", "alpha", 0, kAlphabetic},
    {"lowercase", "lower", 0, kLowercase},
    {"uppercase", "upper", 0, kUppercase},
    {"alnum", "alnum", Bits({kNd}), kAlphabetic},
    {"digit", "digit", Bits({kNd})},
    {"punct", "punct", kPunctuations},
    {"cntrl", "cntrl", Bits({kCc})},
    {"graph", "graph", kAll & ~(kSeparators | Bits({kCc, kCn}))},
    {"print", "print", kAll & ~Bits({kCc, kCn, kZl, kZp})},
    {"emoji", "emoji", 0, kEmoji},
    {"emojipresentation", "epres", 0, kEmojiPresentation},
    {"extendedpictographic", "extpict", 0, kExtendedPictographic},
};
// White_Space has not changed since Unicode 6.3.
constexpr CodePointRange kWhiteSpace[] = {{0x9, 0xD},       {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                                          {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                          {0x205F, 0x205F}, {0x3000, 0x3000}};
constexpr CodePointRange kHexDigits[] = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};

constexpr uint32_t kWordCategories = kMarks | Bits({kNd, kPc});

CodePointSet Collect(uint32_t categories, uint16_t flags) {
  return Collect([&](const Row &row) { return (categories >> row.category & 1) != 0 || (row.flags & flags) != 0; });
}

} // namespace

bool IsNumeric(uint32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : (Find(c).flags & kNumeric) != 0; }
bool IsPunctuation(uint32_t c) { return (Find(c).flags & kPunctuation) != 0; }
bool IsWordCharacter(uint32_t c) { return (Find(c).flags & kWord) != 0; }
bool IsUnknownToNormalizers(uint32_t c) { return c >= 0x80 && (Find(c).flags & kUnknownToNormalizers) != 0; }

uint32_t LowerCase(uint32_t c) {
  if (c < 0x80)
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
  const LowerRun *run = std::upper_bound(std::begin(kLowerRuns), std::end(kLowerRuns), c,
                                         [](uint32_t at, const LowerRun &other) { return at < other.first; });
  if (run == std::begin(kLowerRuns))
    return c;
  --run;
  return c <= run->last && (c - run->first) % run->step == 0 ? c + static_cast<uint32_t>(run->difference) : c;
}

std::optional<CodePointSet> FindProperty(std::string_view name, bool posix) {
  std::string plain;
  for (char c : name)
    if (c != ' ' && c != '-' && c != '_')
      plain += static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  if (plain == "word")
    return WordCharacters(WordPlace::kInBrackets);
  if (plain == "space" || plain == "whitespace")
    return CodePointSet(std::begin(kWhiteSpace), std::end(kWhiteSpace));
  if (plain == "xdigit")
    return CodePointSet(std::begin(kHexDigits), std::end(kHexDigits));
  if (plain == "ascii")
    return CodePointSet{{0, 0x7F}};
  if (plain == "blank") {
    CodePointSet blanks = Collect(Bits({kZs}), 0);
    blanks.insert(blanks.begin(), {'\t', '\t'});
    return blanks;
  }
  if (plain == "punct" && posix)
    return Collect(kPunctuations | kSymbols, 0);
  for (const Property &property : kProperties)
    if (property.name == plain || property.alias == plain)
      return Collect(property.categories, property.flags);
  for (size_t i = 0; i < std::size(kScripts); ++i)
    if (kScripts[i].name == plain || kScripts[i].alias == plain)
      return Collect([&](const Row &row) { return row.script == i + 1; });
  return std::nullopt;
}

CodePointSet WordCharacters(WordPlace place) {
  return Collect([&](const Row &row) {
    bool word = (kWordCategories >> row.category & 1) != 0 || (row.flags & kAlphabetic) != 0;
    return word || (place == WordPlace::kOutside && row.category == kNo && row.first < 0x100);
  });
}

} // namespace inlay::tokenizer
