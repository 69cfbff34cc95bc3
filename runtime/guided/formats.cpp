#include "runtime/guided/formats.h"

#include <map>

namespace inlay::guided {
namespace {

// RFC 3339, with the number of days in each month.
const std::string kDate = "([1-9]\\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|"
                          "02-(0[1-9]|1\\d|2[0-8]))|([1-9]\\d(0[48]|[2468][048]|[13579][26])|"
                          "([2468][048]|[13579][26])00)-02-29)";
const std::string kTime = "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)";
// ISO 8601, RFC 3339 appendix A.
const std::string kDuration = "P(\\d{1,9}W|(\\d{1,9}Y(\\d{1,9}M(\\d{1,9}D)?)?|\\d{1,9}M(\\d{1,9}D)?|\\d{1,9}D)"
                              "(T(\\d{1,9}H(\\d{1,9}M(\\d{1,9}S)?)?|\\d{1,9}M(\\d{1,9}S)?|\\d{1,9}S))?|"
                              "T(\\d{1,9}H(\\d{1,9}M(\\d{1,9}S)?)?|\\d{1,9}M(\\d{1,9}S)?|\\d{1,9}S))";
const std::string kByte = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const std::string kIpv4 = kByte + "\\." + kByte + "\\." + kByte + "\\." + kByte;
const std::string kGroup = "[0-9a-fA-F]{1,4}";
// RFC 4291 without a zone and without an IPv4 tail.
const std::string kIpv6 = "((" + kGroup + ":){7}" + kGroup + "|(" + kGroup + ":){1,7}:|(" + kGroup +
                          ":){1,6}:" + kGroup + "|(" + kGroup + ":){1,5}(:" + kGroup + "){1,2}|(" + kGroup +
                          ":){1,4}(:" + kGroup + "){1,3}|(" + kGroup + ":){1,3}(:" + kGroup + "){1,4}|(" + kGroup +
                          ":){1,2}(:" + kGroup + "){1,5}|" + kGroup + ":(:" + kGroup + "){1,6}|:((:" + kGroup +
                          "){1,7}|:))";
const std::string kLabel = "[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?";
const std::string kTopLabel = "[A-Za-z]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?";
const std::string kHost = "(" + kLabel + "\\.){0,4}" + kTopLabel;
const std::string kEmail = "[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,32}){0,3}@" + kLabel + "(\\." + kLabel + "){1,3}";
// RFC 3986: percent-encoded or plain characters of a path.
const std::string kPathCharacter = "([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})";
const std::string kPathEnd = "(\\?(" + kPathCharacter + "|[/?])*)?(#(" + kPathCharacter + "|[/?])*)?";
const std::string kPath = "(/" + kPathCharacter + "*)*";
const std::string kUri = "([A-Za-z][A-Za-z0-9+.-]{0,15}://(" + kHost + "|" + kIpv4 + ")(:[1-9]\\d{0,3})?" + kPath +
                         "|(urn|mailto|tel|data):" + kPathCharacter + "+)" + kPathEnd;
const std::string kReference = "(" + kUri + "|/?([A-Za-z0-9._~-]+(/" + kPathCharacter + "*)*)?" + kPathEnd + ")";
const std::string kUuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const std::string kPointer = "(/([^~/\\x00-\\x1f\"\\\\]|~[01])*)*";
// Alternatives of characters, classes and escapes, each with an optional quantifier.
const std::string kRegex =
    "\\^?(([A-Za-z0-9_ :;,/@#%&=!<>~-]|\\\\[dDwWsS.*+?]|\\[[A-Za-z0-9_]{1,16}\\]|\\.)[*+?]?|\\|)*\\$?";

// Used with minLength or maxLength: names without a length limit, because counting two lengths at once needs many
// states.
const std::string kAnyLabel = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?";
const std::string kAnyEmail = "[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@" + kAnyLabel + "(\\." + kAnyLabel + ")+";
const std::string kAnyUri = "([A-Za-z][A-Za-z0-9+.-]*://" + kAnyLabel + "(\\." + kAnyLabel + ")*" + kPath +
                            "|(urn|mailto|tel|data):" + kPathCharacter + "+)" + kPathEnd;

const std::map<std::string, std::string> kUncounted = {
    {"email", kAnyEmail}, {"idn-email", kAnyEmail},   {"uri", kAnyUri},
    {"iri", kAnyUri},     {"uri-reference", kAnyUri}, {"iri-reference", kAnyUri},
};

const std::map<std::string, std::string> kFormats = {
    {"date", kDate},
    {"time", kTime},
    {"date-time", kDate + "T" + kTime},
    {"duration", kDuration},
    {"uuid", kUuid},
    {"ipv4", kIpv4},
    {"ipv6", kIpv6},
    {"hostname", kHost},
    {"idn-hostname", kHost},
    {"email", kEmail},
    {"idn-email", kEmail},
    {"uri", kUri},
    {"iri", kUri},
    {"uri-reference", kReference},
    {"iri-reference", kReference},
    {"uri-template", "(" + kPathCharacter + "|/|\\{[A-Za-z_][A-Za-z0-9_]{0,31}\\})*"},
    {"json-pointer", kPointer},
    {"relative-json-pointer", "(0|[1-9]\\d{0,3})(#|" + kPointer + ")"},
    {"regex", kRegex},
    // Older names of these formats.
    {"ip-address", kIpv4},
    {"host-name", kHost},
};

} // namespace

const std::string *RegexOfFormat(const std::string &name, bool has_length) {
  if (auto uncounted = kUncounted.find(name); has_length && uncounted != kUncounted.end())
    return &uncounted->second;
  auto found = kFormats.find(name);
  return found == kFormats.end() ? nullptr : &found->second;
}

} // namespace inlay::guided
