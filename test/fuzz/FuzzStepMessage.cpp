// Arbitrary messages of steps between the processes of ranks: each is a valid step or refused. An input that begins
// with `p` is a list of changes to a valid message: position (2 bytes) and value of a byte. Others are messages.
#include "runtime/sample/logits.h"
#include "test/runtime/step_message_testing.h"

#include <cstdint>

static std::string ValidMessage() {
  inlay::MessageSide sender;
  inlay::MessageStep sent(sender);
  return inlay::EncodeStep(*sent.command);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::string valid = ValidMessage();
  if (size == 0)
    return 0;
  std::string message(reinterpret_cast<const char *>(data), size);
  if (data[0] == 'p') {
    message = valid;
    for (size_t i = 1; i + 2 < size; i += 3)
      message[(size_t{data[i]} << 8 | data[i + 1]) % message.size()] = static_cast<char>(data[i + 2]);
  }
  inlay::MessageSide receiver;
  auto step = inlay::DecodeStep(message, receiver.limits);
  if (!step.ok())
    return 0;
  std::vector<float> logits(40);
  for (const inlay::EditedRow &row : (*step)->command.edits)
    inlay::EditLogits(*row.sequence, row.length, logits);
  return 0;
}
