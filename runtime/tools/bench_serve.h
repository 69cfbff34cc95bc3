// The subcommands `bench-model serve` and `bench-model throughput`, with the command line from their name on.
#ifndef INLAY_RUNTIME_TOOLS_BENCH_SERVE_H_
#define INLAY_RUNTIME_TOOLS_BENCH_SERVE_H_

namespace inlay::tools {

int ServeBenchMain(int argc, char **argv);
int ThroughputMain(int argc, char **argv);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_BENCH_SERVE_H_
