// Limits for clients: sizes, times and counts. Each error names the limit and its option.
#ifndef INLAY_RUNTIME_SERVE_LIMITS_H_
#define INLAY_RUNTIME_SERVE_LIMITS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace inlay::serve {

struct Limits {
  // Limits of a connection.
  uint32_t header_bytes = 16u << 10;
  uint64_t body_bytes = 4u << 20;
  std::chrono::seconds header_time{10}; // from the connection (or the first byte after an answer) to the whole header
  std::chrono::seconds body_time{30};   // from the header to the whole body
  std::chrono::seconds keep_alive_time{75}; // maximum idle time between two requests
  std::chrono::seconds write_time{30};      // for one part of an answer; slower clients are disconnected
  int connections = 1024;

  // Limits of the queues and of running requests.
  int waiting = 1024;                     // sequences that wait, beyond the running ones
  int preparing = 1024;                   // requests that wait for parsing and tokenization
  uint64_t preparing_bytes = 256u << 20;  // total size of their bodies
  std::chrono::seconds request_time{0};   // for a whole answer; 0: no limit
  std::chrono::seconds shutdown_time{30}; // for running requests after SIGTERM

  // Limits of a request body.
  int json_depth = 64;
  int sequences = 128; // number of prompts times n
  int messages = 4096; // messages of a chat
  int stops = 16;
  int stop_token_ids = 1024;
  int tools = 128;
  int logprobs = 20;
  int bias_entries = 1024;
  int bad_words = 1024;
  int choices = 100'000; // structured_outputs.choice
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_LIMITS_H_
