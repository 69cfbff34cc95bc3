// The subcommands `bench-model serve` and `bench-model throughput`. argv[0] is the name of the subcommand.
#ifndef INLAY_RUNTIME_TOOLS_BENCH_SERVE_H_
#define INLAY_RUNTIME_TOOLS_BENCH_SERVE_H_

namespace inlay::tools {

int ServeBenchMain(int argc, char **argv);
int ThroughputMain(int argc, char **argv);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_BENCH_SERVE_H_
