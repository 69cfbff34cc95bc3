// Ranks that are processes compute the same bits as ranks that are threads, and a process that fails ends all requests.
// This process runs rank 0. It starts the others from its own program: they run the disabled test at the end of the
// file.
#include "test/e2e/engine_divisions.h"
#include "test/e2e/engine_testing.h"
#include "test/e2e/faulty_device.h"

#include "gmock/gmock.h"

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <spawn.h>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

namespace inlay {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr int kFailed = 7; // exit code of a rank whose engine has failed

// The processes of all ranks but rank 0.
class Processes {
public:
  // `fault`: what rank 1 does in its eighth step, see RunARank.
  Processes(const Division &division, EngineOptions options, const std::string &fault = "") {
    static int engines = 0;
    options.process = {0, division.ranks, "inlay-test-" + std::to_string(getpid()) + "-" + std::to_string(++engines)};
    for (int32_t rank = 1; rank < division.ranks; ++rank)
      Start(division, options, rank, rank == 1 ? fault : "");
    engine = Load(options, nullptr, division.bundle);
  }
  ~Processes() {
    engine.reset();
    for (pid_t id : ids)
      if (id > 0) {
        kill(id, SIGKILL);
        waitpid(id, nullptr, 0);
      }
  }
  Processes(const Processes &) = delete;
  Processes &operator=(const Processes &) = delete;

  // Waits for the end of a process and returns its wait status, or -1 if it does not end.
  int Wait(size_t index) {
    for (int i = 0; i < 4000; ++i, std::this_thread::sleep_for(5ms))
      if (int status = 0; waitpid(ids[index], &status, WNOHANG) == ids[index]) {
        ids[index] = 0;
        return status;
      }
    return -1;
  }

  std::vector<pid_t> ids; // of rank 1, 2, ...
  std::unique_ptr<Engine> engine;

private:
  void Start(const Division &division, const EngineOptions &options, int32_t rank, const std::string &fault) {
    std::vector<std::string> environment = {
        std::string("INLAY_RANK_BUNDLE=") + division.bundle,
        "INLAY_RANK=" + std::to_string(rank),
        "INLAY_RANKS=" + std::to_string(division.ranks),
        "INLAY_RANK_RENDEZVOUS=" + options.process.rendezvous,
        "INLAY_RANK_FAULT=" + fault,
        "INLAY_RANK_TIMEOUT=" + std::to_string(options.distributed_timeout),
        "INLAY_RANK_KV_BYTES=" + std::to_string(options.kv_cache_bytes),
        "INLAY_RANK_SWAP=" + std::to_string(options.preemption_mode == "swap" ? options.swap_space_bytes : 0),
        "INLAY_RANK_MAX_NUM_SEQS=" + std::to_string(options.max_num_seqs)};
    for (char **variable = environ; *variable; ++variable)
      environment.emplace_back(*variable);
    std::vector<char *> pointers;
    for (std::string &variable : environment)
      pointers.push_back(variable.data());
    pointers.push_back(nullptr);
    std::vector<std::string> words = {"/proc/self/exe", "--gtest_filter=ChildProcess.DISABLED_RunARank",
                                      "--gtest_also_run_disabled_tests", "--gtest_brief=1"};
    // The shards of a test are for the parent.
    std::erase_if(pointers, [](const char *text) {
      return text && (std::string_view(text).starts_with("GTEST_") || std::string_view(text).starts_with("TEST_"));
    });
    std::vector<char *> arguments;
    for (std::string &word : words)
      arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_t id = 0;
    ASSERT_EQ(posix_spawn(&id, "/proc/self/exe", nullptr, nullptr, arguments.data(), pointers.data()), 0);
    ids.push_back(id);
  }
};

void ExpectOrderlyEnd(Processes &processes) {
  ExpectNoPagesLost(*processes.engine);
  processes.engine.reset();
  for (size_t i = 0; i < processes.ids.size(); ++i)
    EXPECT_EQ(processes.Wait(i), 0) << "rank " << i + 1;
}

class EngineProcesses : public ::testing::TestWithParam<Division> {
protected:
  static std::unique_ptr<Engine> Threads(const EngineOptions &options = {}) {
    return Load(options, nullptr, GetParam().bundle);
  }
};

// Tokens and logits, with everything that rank 0 sends: edits of logits, masks, penalties, token ids.
TEST_P(EngineProcesses, GiveTheBitsOfThreads) {
  Processes processes(GetParam(), {});
  std::unique_ptr<Engine> threads = Threads();
  SamplingParams edited = Sampled(16);
  edited.repetition_penalty = 1.2f;
  edited.logit_bias = {{32, 4.0f}, {100, -10.0f}};
  edited.bad_words = {"self", "    return"};
  edited.min_tokens = 4;
  SamplingParams guided = Sampled(24);
  guided.ignore_eos = false;
  guided.guided.regex = "[a-z]{3,8}( = [0-9]{2,6}){1,3}";
  for (const SamplingParams &sampling : {Greedy(24), Sampled(24), edited, guided})
    ExpectEqual(AllAtOnce(*processes.engine, sampling), AllAtOnce(*threads, sampling));
  EXPECT_EQ(processes.engine->Stats().ranks, GetParam().ranks);
  EXPECT_THAT(processes.engine->Stats().distributed, HasSubstr("processes of ranks in shared memory"));
  ExpectOrderlyEnd(processes);
}

// Pages that are copied, swapped and shared.
TEST_P(EngineProcesses, CopyAndSwapTheirPages) {
  std::vector<Answer> expected = AllAtOnce(*Threads(), Greedy(40));
  EngineOptions options = FewPages(14, GetParam().bundle);
  options.preemption_mode = "swap";
  options.swap_space_bytes = uint64_t{64} << 20;
  Processes processes(GetParam(), options);
  ExpectEqual(AllAtOnce(*processes.engine, Greedy(40)), expected);
  EXPECT_GT(processes.engine->Stats().swapped_in_pages, 0);
  SamplingParams several = Sampled(12);
  several.n = 3;
  auto tokens_of = [&](Engine &engine) {
    std::vector<std::vector<int32_t>> tokens(3);
    std::unique_ptr<RequestHandle> request = Submit(engine, kPrompts[4], several);
    while (std::optional<Piece> piece = request->Next())
      tokens[static_cast<size_t>(piece->index)].push_back(piece->token_id);
    return tokens;
  };
  EXPECT_EQ(tokens_of(*processes.engine), tokens_of(*Threads()));
  ExpectOrderlyEnd(processes);
}

std::string NameOf(const ::testing::TestParamInfo<Division> &info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Processes, EngineProcesses, ::testing::Values(kTwoRanks, kTwoStages, kBoth), NameOf);

// Steps in flight: a step takes tokens that the one before it samples on the device of each rank.
TEST(EngineProcesses, PlanAhead) {
  EngineOptions ahead;
  ahead.async_scheduling = true;
  Processes processes(kTwoRanks, ahead);
  ExpectEqual(AllAtOnce(*processes.engine, Sampled(16)), AllAtOnce(*Load({}, nullptr, kTwoRanks.bundle), Sampled(16)));
  ExpectOrderlyEnd(processes);
}

// The draft model runs in the process of rank 0.
TEST(EngineProcesses, DraftTokensChangeNothing) {
  std::vector<Answer> expected = AllAtOnce(*Load({}, nullptr, kTwoRanks.bundle), Greedy(30));
  EngineOptions options;
  options.num_speculative_tokens = 3;
  options.speculative_model = INLAY_TEST_BUNDLE;
  Processes processes(kTwoRanks, options);
  ExpectEqual(AllAtOnce(*processes.engine, Greedy(30)), expected);
  EXPECT_GT(processes.engine->Stats().accepted_draft_tokens, 0);
  ExpectOrderlyEnd(processes);
}

// --- Failures ----------------------------------------------------------------

class ProcessFailures : public ::testing::TestWithParam<Division> {
protected:
  static constexpr std::chrono::seconds kTimeout{2};

  // Runs requests until the fault of rank 1, or `act` on its process, ends them all with one status. Returns it.
  static absl::Status EndAll(const std::string &fault, const std::function<void(pid_t)> &act,
                             const std::function<void(Processes &)> &check) {
    EngineOptions options;
    options.distributed_timeout = std::chrono::duration<double>(kTimeout).count();
    Processes processes(GetParam(), options, fault);
    std::vector<std::unique_ptr<RequestHandle>> handles;
    for (const std::string &prompt : kPrompts)
      handles.push_back(Submit(*processes.engine, prompt, Greedy(400)));
    EXPECT_TRUE(handles[0]->Next());
    auto begin = std::chrono::steady_clock::now();
    if (act)
      act(processes.ids[0]);
    absl::Status first;
    for (auto &handle : handles) {
      while (handle->Next()) {
      }
      EXPECT_EQ(handle->finish_reason(), FinishReason::kError);
      if (first.ok())
        first = handle->status();
      EXPECT_EQ(handle->status(), first);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 2 * kTimeout);
    EXPECT_EQ(processes.engine->Stats().health, first);
    EXPECT_EQ(first.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(first.message()), HasSubstr("the engine cannot continue; restart the process"));
    // The ranks that have not failed end, too.
    for (size_t i = 1; i < processes.ids.size(); ++i)
      EXPECT_EQ(WEXITSTATUS(processes.Wait(i)), kFailed) << "rank " << i + 1;
    check(processes);
    processes.engine.reset();
    std::ifstream maps("/proc/self/maps");
    EXPECT_THAT(std::string(std::istreambuf_iterator<char>(maps), {}), Not(HasSubstr("inlay ranks")));
    return first;
  }
};

void ExpectFailedExit(Processes &processes) { EXPECT_EQ(WEXITSTATUS(processes.Wait(0)), kFailed); }

TEST_P(ProcessFailures, AnErrorEndsAllRequests) {
  EXPECT_THAT(std::string(EndAll("error", nullptr, ExpectFailedExit).message()),
              HasSubstr("rank 1: injected: a kernel failed"));
}

TEST_P(ProcessFailures, AnExceptionEndsAllRequests) {
  EXPECT_THAT(std::string(EndAll("throw", nullptr, ExpectFailedExit).message()),
              HasSubstr("rank 1: has thrown an exception: out of luck"));
}

TEST_P(ProcessFailures, AnExitEndsAllRequests) {
  EXPECT_THAT(std::string(EndAll("exit", nullptr, [](Processes &) {}).message()),
              AllOf(HasSubstr("the process of rank 1 (id "), HasSubstr("): it has ended; the engine cannot continue")));
}

TEST_P(ProcessFailures, AKilledProcessEndsAllRequests) {
  absl::Status status = EndAll("", [](pid_t id) { kill(id, SIGKILL); }, [](Processes &) {});
  EXPECT_THAT(std::string(status.message()), HasSubstr(": it has ended; the engine cannot continue"));
}

TEST_P(ProcessFailures, AStoppedProcessEndsAllRequests) {
  absl::Status status = EndAll(
      "", [](pid_t id) { kill(id, SIGSTOP); },
      [](Processes &processes) {
        // It finds that the engine has failed when it goes on.
        kill(processes.ids[0], SIGCONT);
        ExpectFailedExit(processes);
      });
  // Who finds it first depends on where the process was stopped.
  EXPECT_THAT(std::string(status.message()), HasSubstr(" 2 s (--distributed-timeout)"));
}

INSTANTIATE_TEST_SUITE_P(Processes, ProcessFailures, ::testing::Values(kTwoRanks, kBoth), NameOf);

TEST(EngineProcesses, OptionsMustBeEqual) {
  EngineOptions options;
  options.target = "cpu";
  options.process = {0, 3, "inlay-test-unused"};
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_RANKS_BUNDLE, options).status().message()),
              HasSubstr("3 processes run " INLAY_TEST_RANKS_BUNDLE ", but it was compiled for 2 ranks"));
  options.process = {1, 1, ""};
  EXPECT_THAT(std::string(Engine::RunRank(INLAY_TEST_RANKS_BUNDLE, options).message()),
              HasSubstr("the process runs rank 1 of 1, expected one of several ranks"));
  options.process = {0, 2, ""};
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_RANKS_BUNDLE, options).status().message()),
              HasSubstr("--rendezvous is '', expected a name of 1 to 107 characters"));
  // What differs on rank 1, or cannot be done on any rank.
  struct Case {
    std::function<void(EngineOptions &rank0, EngineOptions &rank1)> set;
    const char *expected, *bundle = INLAY_TEST_RANKS_BUNDLE;
  };
  for (const Case &wrong : {
           Case{[](EngineOptions &, EngineOptions &rank1) { rank1.max_num_seqs = 2; },
                "; give all processes the same options"},
           Case{[](EngineOptions &, EngineOptions &) {}, "; give all processes the same bundle and version",
                INLAY_TEST_STAGES_BUNDLE},
           Case{[](EngineOptions &, EngineOptions &rank1) { rank1.distributed_backend = "nccl"; },
                "--distributed-backend is nccl on rank 1, but auto on rank 0; give all processes the same options"},
           Case{[](EngineOptions &, EngineOptions &rank1) { rank1.distributed_timeout = 2.5; },
                "--distributed-timeout is 2.5 s on rank 1, but 10 s on rank 0; give all processes the same options"},
           Case{[](EngineOptions &, EngineOptions &rank1) { rank1.nccl = "/opt/nccl"; },
                "--nccl is '/opt/nccl' on rank 1, but '' on rank 0; give all processes the same options"},
           Case{[](EngineOptions &rank0, EngineOptions &) { rank0.deterministic = true; },
                "--deterministic is not set on rank 1, but set on rank 0; give all processes the same options"},
           Case{[](EngineOptions &rank0, EngineOptions &rank1) {
                  rank0.distributed_backend = rank1.distributed_backend = "nccl";
                },
                "--distributed-backend nccl is for GPUs, but " INLAY_TEST_RANKS_BUNDLE " runs on the target cpu"},
           Case{[](EngineOptions &, EngineOptions &rank1) { rank1.target = "sm_90a"; },
                "rank 1: " INLAY_TEST_RANKS_BUNDLE ": has no target 'sm_90a', only cpu"},
       }) {
    options.process = {0, 2, "inlay-test-options-" + std::to_string(getpid())};
    EngineOptions rank0 = options, rank1 = options;
    rank1.process.rank = 1;
    wrong.set(rank0, rank1);
    absl::Status of_rank1;
    std::thread other([&] { of_rank1 = Engine::RunRank(wrong.bundle, rank1); });
    absl::Status of_rank0 = Engine::Load(INLAY_TEST_RANKS_BUNDLE, rank0).status();
    other.join();
    EXPECT_THAT(std::string(of_rank0.message()), HasSubstr(wrong.expected));
    EXPECT_THAT(std::string(of_rank1.message()), HasSubstr(wrong.expected));
  }
}

// --- Child processes -----------------------------------------------------------

std::string Variable(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

// Not a test: the process of a rank. It ends without the report of the test.
TEST(ChildProcess, DISABLED_RunARank) {
  if (Variable("INLAY_RANK_BUNDLE").empty())
    GTEST_SKIP() << "is started by the other tests";
  const std::string fault = Variable("INLAY_RANK_FAULT");
  Faults faults;
  faults.run = [&](int64_t step, const StepSizes &) {
    if (fault.empty() || step < 8)
      return false;
    if (fault == "throw")
      throw std::runtime_error("out of luck");
    if (fault == "exit")
      std::_Exit(3);
    return true;
  };
  EngineOptions options;
  options.target = "cpu";
  options.threads = 2;
  options.process = {std::stoi(Variable("INLAY_RANK")), std::stoi(Variable("INLAY_RANKS")),
                     Variable("INLAY_RANK_RENDEZVOUS")};
  options.distributed_timeout = std::stod(Variable("INLAY_RANK_TIMEOUT"));
  options.kv_cache_bytes = std::stoull(Variable("INLAY_RANK_KV_BYTES"));
  options.max_num_seqs = std::stoi(Variable("INLAY_RANK_MAX_NUM_SEQS"));
  options.swap_space_bytes = std::stoull(Variable("INLAY_RANK_SWAP"));
  if (options.swap_space_bytes > 0)
    options.preemption_mode = "swap";
  absl::Status status = RunRank(Variable("INLAY_RANK_BUNDLE"), options,
                                [&faults](std::unique_ptr<Device> real) -> std::unique_ptr<Device> {
                                  return std::make_unique<FaultyDevice>(std::move(real), faults);
                                });
  if (!status.ok())
    std::fprintf(stderr, "rank %d: %s\n", options.process.rank, std::string(status.message()).c_str());
  std::_Exit(status.ok() ? 0 : kFailed);
}

} // namespace
} // namespace inlay
