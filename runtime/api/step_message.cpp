#include "runtime/api/step_message.h"

#include "fmt/format.h"
#include "runtime/distributed/message.h"

#include <algorithm>

namespace inlay {
namespace {

absl::Status Invalid(std::string_view what) {
  return absl::InternalError(fmt::format("it has sent a step that is not valid: {}", what));
}

bool IsIn(int64_t value, int64_t end) { return value >= 0 && value < end; }

// --- Edits of logits ----------------------------------------------------------

// Only what EditLogits() reads: of the tokens, the last generated ones that bad words can begin with.
void PutEdit(MessageWriter &writer, const EditedRow &row) {
  const Sequence &sequence = *row.sequence;
  const LogitEdits &edits = sequence.edits;
  size_t most = 0;
  for (const std::vector<int32_t> &word : edits.bad_words)
    most = std::max(most, word.size());
  auto generated = std::span(sequence.tokens).subspan(static_cast<size_t>(sequence.prompt_size));
  writer.Put(static_cast<uint64_t>(row.row));
  writer.Put(row.length - sequence.prompt_size);
  writer.PutList(generated.last(std::min(generated.size(), most)));
  writer.Put(static_cast<uint64_t>(edits.logit_bias.size()));
  for (const auto &[id, bias] : edits.logit_bias) {
    writer.Put(id);
    writer.Put(bias);
  }
  writer.PutList(std::span(edits.allowed_token_ids));
  writer.Put(static_cast<uint64_t>(edits.bad_words.size()));
  for (const std::vector<int32_t> &word : edits.bad_words)
    writer.PutList(std::span(word));
  writer.Put(edits.min_tokens);
  writer.PutList(std::span(edits.end_ids));
  writer.Put(static_cast<uint8_t>(edits.mask != nullptr));
  if (edits.mask)
    writer.PutList(std::span<const uint32_t>(edits.mask->words));
}

absl::Status TakeEdit(MessageReader &reader, ReceivedStep &step, int32_t vocabulary) {
  const auto row = reader.Take<uint64_t>();
  Sequence &sequence = step.edited.emplace_back();
  LogitEdits &edits = sequence.edits;
  const auto generated = reader.Take<int32_t>();
  sequence.tokens = reader.TakeList<int32_t>();
  for (uint64_t left = reader.Take<uint64_t>(); reader.ok() && left > 0; --left) {
    const auto id = reader.Take<int32_t>();
    edits.logit_bias[id] = reader.Take<float>();
  }
  edits.allowed_token_ids = reader.TakeList<int32_t>();
  for (uint64_t left = reader.Take<uint64_t>(); reader.ok() && left > 0; --left)
    edits.bad_words.push_back(reader.TakeList<int32_t>());
  edits.min_tokens = reader.Take<int32_t>();
  edits.end_ids = reader.TakeList<int32_t>();
  if (reader.TakeFlag()) {
    edits.mask = std::make_shared<TokenMask>();
    edits.mask->words = reader.TakeList<uint32_t>();
    edits.mask->is_ready = true;
    if (edits.mask->words.size() > (static_cast<size_t>(vocabulary) + 31) / 32)
      return Invalid("a token mask is too long");
  }
  if (!reader.ok())
    return Invalid("it ends early");
  auto is_token = [&](int32_t id) { return IsIn(id, vocabulary); };
  bool is_valid = row < step.command.tokens && std::ranges::all_of(edits.allowed_token_ids, is_token) &&
                  std::ranges::all_of(edits.end_ids, is_token);
  for (const auto &[id, bias] : edits.logit_bias)
    is_valid = is_valid && is_token(id);
  for (const std::vector<int32_t> &word : edits.bad_words)
    is_valid = is_valid && !word.empty() && is_token(word.back());
  if (!is_valid)
    return Invalid("an edit of logits is out of range");
  step.command.edits.push_back({static_cast<size_t>(row), &sequence, generated});
  return absl::OkStatus();
}

// --- Metadata -------------------------------------------------------------------

absl::Status TakeMetadata(MessageReader &reader, const StepLimits &limits, const StepSizes &sizes,
                          StepMetadata &metadata) {
  const MetadataLayout &layout = *limits.layout;
  const std::vector<CopyRows> used = reader.TakeList<CopyRows>();
  uint64_t bytes = 0;
  for (const CopyRows &rows : used) {
    // Each factor is bounded first, so that the products cannot overflow.
    const bool is_valid = rows.rows >= 1 && rows.rows <= layout.bytes && rows.bytes <= rows.pitch &&
                          rows.pitch <= layout.bytes && rows.offset <= layout.bytes && rows.offset % 4 == 0 &&
                          rows.pitch % 4 == 0 && rows.bytes % 4 == 0 && layout.bytes < (uint64_t{1} << 31) &&
                          rows.offset + (rows.rows - 1) * rows.pitch + rows.bytes <= layout.bytes;
    if (!is_valid || bytes > layout.bytes)
      return Invalid("rows of metadata are out of range");
    bytes += rows.rows * rows.bytes;
  }
  std::vector<std::byte> values = reader.TakeList<std::byte>();
  std::array<std::vector<int32_t>, 3> penalties;
  for (std::vector<int32_t> &array : penalties)
    array = reader.TakeList<int32_t>();
  if (!reader.ok() || values.size() != bytes)
    return Invalid("its metadata ends early");
  const auto count = static_cast<size_t>(sizes[plan::Extent_PenaltyEntries]);
  const bool is_valid =
      std::ranges::all_of(penalties, [&](const auto &array) { return array.size() == count; }) &&
      std::ranges::all_of(penalties[0], [&](int32_t row) { return IsIn(row, sizes[plan::Extent_LogitRows]); }) &&
      std::ranges::all_of(penalties[1], [&](int32_t id) { return IsIn(id, limits.bounds.vocab_size); });
  if (!is_valid)
    return Invalid("its penalties are out of range");
  metadata.Set(used, values, std::move(penalties));
  return CheckStep(layout, metadata.block(), sizes, limits.bounds);
}

absl::Status CheckSizes(const StepCommand &step, const StepLimits &limits) {
  const StepCapacity &capacity = limits.layout->capacity;
  const StepLimits::Entry &entry = limits.entries[step.entry];
  const int64_t most[] = {std::min(capacity.tokens, entry.tokens),
                          std::min(capacity.sequences, entry.sequences),
                          capacity.tokens,
                          std::min(capacity.sequences, entry.sequences),
                          capacity.penalty_entries,
                          int64_t{limits.bounds.total_pages} * limits.rows_per_page};
  static_assert(std::size(most) == std::tuple_size_v<StepSizes>);
  for (size_t i = 0; i < std::size(most); ++i)
    if (!IsIn(step.sizes[i], most[i] + 1))
      return Invalid(fmt::format("{} is {}, expected at most {}", plan::EnumNameExtent(static_cast<plan::Extent>(i)),
                                 step.sizes[i], most[i]));
  if (step.tokens > static_cast<size_t>(step.sizes[plan::Extent_LogitRows]))
    return Invalid("it samples more tokens than it has rows of logits");
  return absl::OkStatus();
}

absl::Status CheckCopies(const StepCommand &step, const StepLimits &limits) {
  auto are_in = [](std::span<const PageCopy> copies, int32_t from_end, int32_t to_end) {
    return std::ranges::all_of(
        copies, [&](const PageCopy &copy) { return IsIn(copy.from, from_end) && IsIn(copy.to, to_end); });
  };
  const int32_t pages = limits.bounds.total_pages;
  if (!are_in(step.plan.swap_out, pages, limits.host_pages) || !are_in(step.plan.swap_in, limits.host_pages, pages) ||
      !are_in(step.plan.copies, pages, pages))
    return Invalid("a copy of a page is out of range");
  for (const PendingToken &pending : step.pending)
    if (!IsIn(pending.row, step.sizes[plan::Extent_Tokens]) || !IsIn(pending.token, limits.layout->capacity.sequences))
      return Invalid("a token of the step before is out of range");
  return absl::OkStatus();
}

} // namespace

std::string EncodeStep(const StepCommand &step) {
  MessageWriter writer;
  writer.Put(step.number);
  writer.Put(static_cast<uint64_t>(step.entry));
  writer.Put(static_cast<uint64_t>(step.slot));
  writer.Put(step.sizes);
  writer.Put(static_cast<uint64_t>(step.tokens));
  for (bool flag : {step.is_graph, step.checks_metadata, step.needs_logits, step.logits != nullptr})
    writer.Put(static_cast<uint8_t>(flag));
  writer.PutList(std::span(step.plan.swap_out));
  writer.PutList(std::span(step.plan.swap_in));
  writer.PutList(std::span(step.plan.copies));
  writer.PutList(std::span(step.pending));
  writer.PutList(step.metadata.used());
  uint64_t bytes = 0;
  for (const CopyRows &rows : step.metadata.used())
    bytes += rows.rows * rows.bytes;
  writer.Put(bytes);
  for (const CopyRows &rows : step.metadata.used())
    for (uint64_t row = 0; row < rows.rows; ++row)
      writer.PutBytes(static_cast<const std::byte *>(step.metadata.block()) + rows.offset + row * rows.pitch,
                      rows.bytes);
  for (const std::vector<int32_t> &array : step.metadata.penalties())
    writer.PutList(std::span(array));
  writer.Put(static_cast<uint64_t>(step.edits.size()));
  for (const EditedRow &row : step.edits)
    PutEdit(writer, row);
  return writer.Take();
}

absl::StatusOr<std::unique_ptr<ReceivedStep>> DecodeStep(std::string_view message, const StepLimits &limits) {
  MessageReader reader(message);
  const auto number = reader.Take<int64_t>();
  const auto entry = reader.Take<uint64_t>(), slot = reader.Take<uint64_t>();
  if (!reader.ok() || entry >= limits.entries.size() || slot >= limits.metadata.size())
    return Invalid("its entry point or its slot is out of range");
  StepMetadata &metadata = *limits.metadata[slot];
  auto step = std::make_unique<ReceivedStep>(
      StepCommand{.plan = {}, .metadata = metadata, .sizes = {}, .number = number, .entry = entry, .slot = slot});
  StepCommand &command = step->command;
  command.sizes = reader.Take<StepSizes>();
  command.tokens = reader.Take<uint64_t>();
  command.is_graph = reader.TakeFlag();
  command.checks_metadata = reader.TakeFlag();
  command.needs_logits = reader.TakeFlag();
  const bool wants_logits = reader.TakeFlag();
  command.plan.swap_out = reader.TakeList<PageCopy>();
  command.plan.swap_in = reader.TakeList<PageCopy>();
  command.plan.copies = reader.TakeList<PageCopy>();
  command.pending = reader.TakeList<PendingToken>();
  if (!reader.ok())
    return Invalid("it ends early");
  if (absl::Status status = CheckSizes(command, limits); !status.ok())
    return status;
  if (absl::Status status = CheckCopies(command, limits); !status.ok())
    return status;
  if (absl::Status status = TakeMetadata(reader, limits, command.sizes, metadata); !status.ok())
    return status;
  for (uint64_t left = reader.Take<uint64_t>(); reader.ok() && left > 0; --left)
    if (absl::Status status = TakeEdit(reader, *step, limits.bounds.vocab_size); !status.ok())
      return status;
  if (!reader.at_end())
    return Invalid("it is too short or too long");
  const bool needs_logits = wants_logits || !command.edits.empty() || command.sizes[plan::Extent_PenaltyEntries] > 0;
  if (needs_logits && !command.needs_logits)
    return Invalid("it returns or changes logits and does not gather them");
  if (wants_logits) {
    step->logits.resize(command.tokens * static_cast<size_t>(limits.bounds.vocab_size));
    command.logits = &step->logits;
  }
  return step;
}

std::string EncodeResult(int64_t step, std::span<const int32_t> tokens, std::span<const float> logits) {
  MessageWriter writer;
  writer.Put(step);
  writer.PutList(tokens);
  writer.PutList(logits);
  return writer.Take();
}

absl::StatusOr<RankResult> DecodeResult(std::string_view message) {
  MessageReader reader(message);
  RankResult result;
  result.step = reader.Take<int64_t>();
  result.tokens = reader.TakeList<int32_t>();
  result.logits = reader.TakeList<float>();
  if (!reader.at_end())
    return absl::InternalError("it has sent a result that is too short or too long");
  return result;
}

} // namespace inlay
