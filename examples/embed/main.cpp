// Generates a continuation of each prompt on the command line. All prompts run in one batch.
//   embed BUNDLE PROMPT...

#include "runtime/api/inlay.h"

#include <iostream>
#include <memory>
#include <string>
#include <vector>

static int fail(const absl::Status &status) {
  std::cerr << "embed: " << std::string(status.message()) << "\n";
  return 1;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    std::cerr << "usage: embed BUNDLE PROMPT...\n";
    return 1;
  }
  auto engine = inlay::Engine::Load(argv[1], {});
  if (!engine.ok())
    return fail(engine.status());

  inlay::SamplingParams sampling = (*engine)->default_sampling();
  sampling.max_tokens = 64;
  sampling.seed = 1;

  // Submit does not wait. The engine runs all requests together.
  std::vector<std::unique_ptr<inlay::RequestHandle>> requests;
  for (int i = 2; i < argc; ++i) {
    auto request = (*engine)->Submit({.prompt = argv[i], .sampling = sampling});
    if (!request.ok())
      return fail(request.status());
    requests.push_back(*std::move(request));
  }

  for (size_t i = 0; i < requests.size(); ++i) {
    std::cout << "--- " << argv[i + 2];
    while (auto piece = requests[i]->Next())
      std::cout << piece->text << std::flush;
    std::cout << "\n";
    if (!requests[i]->status().ok())
      return fail(requests[i]->status());
  }
  return 0;
}
