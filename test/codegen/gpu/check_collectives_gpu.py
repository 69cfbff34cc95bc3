"""check_collectives.py on GPUs of one host: results, many rounds with random delays, and times.

Each rank is a GPU with a host thread, as in the runtime. Launches are captured into a graph and may start before the launch
before them has ended."""

import ctypes
import json
import pathlib
import subprocess
import tempfile
import threading

from check_kernels import encode_map, map_of, np, pack_atoms
from collective_cases import LARGE, SMALL
from collective_references import bits_like, count_wrong, random_bits, random_linear, random_others, results_of
from peers import POISON, ROUNDS, PeerTable

NODES, REPLAYS = 100, 1000  # rounds of the test with delays
TIMED, REPEATS = 60, 20

# Compares a result, overwrites it, and keeps the stream busy for a while, so that the ranks drift apart.
CHECK = r"""
extern "C" __global__ void check(unsigned *y, const unsigned *wanted, long long words, unsigned *wrong, long long delay) {
  asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");
  long long begin, now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
  for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < words; i += gridDim.x * blockDim.x) {
    if (y[i] != wanted[i])
      atomicAdd(wrong, 1u);
    y[i] = 0xffffffffu;
  }
  do
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  while (now - begin < delay);
}
"""


class LaunchAttribute(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int), ("pad", ctypes.c_int), ("value", ctypes.c_int * 16)]


class LaunchConfig(ctypes.Structure):
    _fields_ = [("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("shared_bytes", ctypes.c_uint), ("stream", ctypes.c_void_p),
                ("attributes", ctypes.POINTER(LaunchAttribute)), ("attribute_count", ctypes.c_uint)]


DEPENDENT = LaunchAttribute(6, 0, (1,))  # CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION


def cluster_of(blocks):
    return LaunchAttribute(4, 0, (blocks, 1, 1))  # CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION


class Driver:
    """libcuda; calls fail with an exception."""

    def __init__(self):
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self("cuInit", 0)

    def __call__(self, name, *arguments):
        self.check(getattr(self.cuda, name)(*arguments), name)

    def check(self, status, name="the driver"):
        if status != 0:
            text = ctypes.c_char_p()
            self.cuda.cuGetErrorName(status, ctypes.byref(text))
            raise RuntimeError(f"{name}: {text.value.decode() if text.value else status}")

    def made(self, name, type, *arguments):
        """What a call returns through its first argument."""
        value = type()
        self(name, ctypes.byref(value), *arguments)
        return value


class Rank:
    """A GPU with a stream, exchange memory and a table."""

    def __init__(self, driver, device, check_image):
        self.driver, self.device = driver, device
        self.context = driver.made("cuDevicePrimaryCtxRetain", ctypes.c_void_p, driver.made("cuDeviceGet", ctypes.c_int, device))
        self.use()
        self.stream = driver.made("cuStreamCreate", ctypes.c_void_p, 1)
        self.functions = {}
        self.check = self.load(check_image, "check")
        self.wrong = self.upload(np.zeros(4, np.uint32))

    def use(self):
        self.driver("cuCtxSetCurrent", self.context)

    def load(self, image, name):
        module = self.driver.made("cuModuleLoadData", ctypes.c_void_p, image)
        return self.driver.made("cuModuleGetFunction", ctypes.c_void_p, module, name.encode())

    def kernel(self, folder, name):
        """A kernel of a case, and its description."""
        if (folder, name) not in self.functions:
            spec = json.loads((folder / f"{name}.json").read_text())
            function = self.load((folder / f"{name}.cubin").read_bytes(), name)
            self.driver("cuFuncSetAttribute", function, 8, spec["shared_bytes"])  # MAX_DYNAMIC_SHARED_SIZE_BYTES
            self.functions[folder, name] = function, spec
        return self.functions[folder, name]

    def allocate(self, bytes):
        return self.driver.made("cuMemAlloc_v2", ctypes.c_uint64, ctypes.c_size_t(bytes))

    def upload(self, array):
        pointer = self.allocate(array.nbytes)
        self.driver("cuMemcpyHtoD_v2", pointer, array.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(array.nbytes))
        return pointer

    def download(self, pointer, like):
        result = np.empty_like(like)
        self.driver("cuMemcpyDtoH_v2", result.ctypes.data_as(ctypes.c_void_p), pointer, ctypes.c_size_t(result.nbytes))
        return result

    def launch(self, function, grid, block, arguments, shared_bytes=0, cluster=1):
        attributes = [DEPENDENT] + ([cluster_of(cluster)] if cluster > 1 else [])
        config = LaunchConfig(tuple([*grid, 1, 1][:3]), (block, 1, 1), shared_bytes, self.stream,
                              (LaunchAttribute * len(attributes))(*attributes), len(attributes))
        pointers = (ctypes.c_void_p * len(arguments))(*[ctypes.cast(ctypes.pointer(a), ctypes.c_void_p) for a in arguments])
        self.driver("cuLaunchKernelEx", ctypes.byref(config), function, pointers, None)

    def run(self, folder, name, pointers, rows, table):
        function, spec = self.kernel(folder, name)
        sizes = [rows, 1, 1, 1, 0, 0]
        grid = [multiplier * -(-[*sizes, 1][size] // divisor) for size, divisor, multiplier in spec["grid"]]
        maps = [encode_map(self.driver.cuda, self.driver.check, pointers[described[0]], *map_of(described, sizes)) for described in spec["maps"]]
        self.launch(function, grid, spec["block"], [*pointers, *maps, (ctypes.c_int * 6)(*sizes), table], spec["shared_bytes"], spec["cluster"])

    def capture(self, enqueue):
        self.driver("cuStreamBeginCapture_v2", self.stream, 1)
        enqueue()
        graph = ctypes.c_void_p()
        self.driver("cuStreamEndCapture", self.stream, ctypes.byref(graph))
        return self.driver.made("cuGraphInstantiateWithFlags", ctypes.c_void_p, graph, ctypes.c_uint64(0))


class Ranks:
    def __init__(self, driver, count, cases, check_image):
        """`cases` are those that run in any order with the same tables."""
        self.driver = driver
        self.round_bytes = -(-max(case.exchange_words() for case in cases) * 16 // 256) * 256
        self.ranks = [Rank(driver, device, check_image) for device in range(count)]
        for rank in self.ranks:
            rank.use()
            for other in self.ranks:
                if other is not rank:
                    status = driver.cuda.cuCtxEnablePeerAccess(other.context, 0)
                    if status not in (0, 704):  # it is enabled
                        raise RuntimeError(f"GPU {rank.device} cannot access the memory of GPU {other.device}: error {status}")
            rank.memory = rank.allocate(ROUNDS * self.round_bytes)
            driver("cuMemsetD32_v2", rank.memory, ctypes.c_uint32(POISON), ctypes.c_size_t(ROUNDS * self.round_bytes // 4))
        for i, rank in enumerate(self.ranks):
            rank.use()
            table = PeerTable(round_bytes=self.round_bytes, rank=i, timeout_ns=5 * 10**9)
            table.exchange[:count] = [other.memory.value for other in self.ranks]
            rank.table = rank.upload(np.frombuffer(bytes(table), np.uint8))
            driver("cuCtxSynchronize")

    def together(self, run):
        """Calls run(rank number, rank) in a thread of each rank, and waits for the GPUs. Returns the results."""
        results, errors = [None] * len(self.ranks), []

        def of_rank(i):
            try:
                self.ranks[i].use()
                results[i] = run(i, self.ranks[i])
                self.driver("cuCtxSynchronize")
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=of_rank, args=(i,)) for i in range(len(self.ranks))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return results

    def failures(self):
        """Ranks whose table says that another rank did not deliver."""
        def failed(_, rank):
            return PeerTable.from_buffer_copy(rank.download(rank.table, np.zeros(ctypes.sizeof(PeerTable), np.uint8))).failed
        return sum(f != 0 for f in self.together(failed))


class Step:
    """A case with rows of all ranks: their arguments and results on the GPUs, and what the results must be."""

    def __init__(self, ranks, folder, case, rows, rng):
        xs, others = [random_bits(rng, case, rows) for _ in ranks.ranks], random_others(rng, case, rows)
        linears = [random_linear(rng, case, rows) for _ in ranks.ranks]
        self.linears = None

        def multiply(i, rank):
            """The rows that a linear layer computes, without pushing them."""
            weight, x = (rank.upload(array) for array in linears[i])
            y = rank.upload(np.full_like(xs[i], 0xFFFF))
            rank.run(folder, "step_linear", [weight, x, y], rows, ctypes.c_uint64(0))
            rank.driver("cuCtxSynchronize")
            return [weight, x], rank.download(y, xs[i])

        if case.family:
            self.linears, xs = zip(*ranks.together(multiply))
        self.folder, self.rows, self.wanted = folder, rows, results_of(case, xs, others)
        self.like = [bits_like(case, wanted) for wanted in self.wanted]
        words = np.zeros(-(-self.wanted[0].nbytes // 4) * 4, np.uint8)
        words[:self.wanted[0].nbytes] = self.wanted[0].reshape(-1).view(np.uint8)
        self.words = self.wanted[0].nbytes // 4  # that the GPU compares

        def place(i, rank):
            rank.kernel(folder, "step_exchange")  # no module may be loaded while launches are captured
            results = [rank.upload(np.full(-(-like.nbytes // 4) * 4, 0xFF, np.uint8)) for like in self.like]
            if case.epilogue == "product":
                given = [rank.upload(array) for array in (xs[i], pack_atoms(others.product), others.weight, others.residual)]
                return [*given, *results], results, [], rank.upload(words)
            residual = [rank.upload(others.residual)] if others else []
            weight = [rank.upload(others.weight)] if case.epilogue in ("norm", "codes") else []
            return [rank.upload(xs[i]), results[0], *weight, *results[1:]], results, residual, rank.upload(words)
        self.places = ranks.together(place)

    def enqueue(self, i, rank):
        """The kernel, with a copy of the residual that it adds to."""
        arguments, results, residual, _ = self.places[i]
        if residual:
            rank.driver("cuMemcpyDtoDAsync_v2", results[0], residual[0], ctypes.c_size_t(self.wanted[0].nbytes), rank.stream)
        self.enqueue_alone(i, rank)

    def enqueue_alone(self, i, rank):
        arguments = self.places[i][0]
        if self.linears:
            rank.run(self.folder, "step_linear", [*self.linears[i], arguments[0]], self.rows, rank.table)
        rank.run(self.folder, "step_exchange", arguments, self.rows, rank.table)

    def enqueue_check(self, i, rank, delay):
        _, results, _, wanted = self.places[i]
        rank.launch(rank.check, [min(64, -(-self.words // 256))], 256,
                    [results[0], wanted, ctypes.c_int64(self.words), rank.wrong, ctypes.c_int64(delay)])

    def download(self, i, rank):
        return [rank.download(result, like) for result, like in zip(self.places[i][1], self.like)]


def check_results(ranks, folder, cases, rng):
    for name, case in cases.items():
        for rows in sorted({1, case.rows // 2 or 1, case.rows}):
            step = Step(ranks, folder / name, case, rows, rng)
            ranks.together(step.enqueue)
            found = ranks.together(step.download)
            yield f"{name}: {rows} rows", sum(count_wrong(y, w) for of_rank in found for y, w in zip(of_rank, step.wanted))
            yield f"{name}: {rows} rows, equal bits", sum(not np.array_equal(y, z, equal_nan=True) for of_rank in found for y, z in zip(of_rank, found[0]))


def check_rounds(ranks, folder, cases, rng):
    """Rounds of different kernels and sizes; each rank waits after each of them for a time of its own."""
    steps = [Step(ranks, folder / name, case, int(rng.integers(1, case.rows + 1)), rng) for name, case in cases.items() for _ in range(3)]
    order = rng.integers(0, len(steps), NODES)

    def run(i, rank):
        own = np.random.default_rng(100 + i)
        delays = own.integers(0, 20_000, NODES) * own.integers(0, 2, NODES)
        def enqueue():
            for node in range(NODES):
                steps[order[node]].enqueue(i, rank)
                steps[order[node]].enqueue_check(i, rank, int(delays[node]))
        graph = rank.capture(enqueue)
        for _ in range(REPLAYS):
            rank.driver("cuGraphLaunch", graph, rank.stream)

    ranks.together(run)
    wrong = ranks.together(lambda _, rank: int(rank.download(rank.wrong, np.zeros(4, np.uint32))[0]))
    yield f"{len(ranks.ranks)} ranks: {NODES * REPLAYS} rounds with delays", sum(wrong)
    yield f"{len(ranks.ranks)} ranks: rounds in which a rank did not deliver", ranks.failures()


def time_of(ranks, folder, name, case, rng):
    """Microseconds of a call, of the slowest rank, the least of all repetitions."""
    step = Step(ranks, folder / name, case, case.rows, rng)

    def run(i, rank):
        graph = rank.capture(lambda: [step.enqueue_alone(i, rank) for _ in range(TIMED)])
        begin, end = (rank.driver.made("cuEventCreate", ctypes.c_void_p, 0) for _ in range(2))
        times = []
        for _ in range(REPEATS):
            rank.driver("cuEventRecord", begin, rank.stream)
            for _ in range(5):
                rank.driver("cuGraphLaunch", graph, rank.stream)
            rank.driver("cuEventRecord", end, rank.stream)
            rank.driver("cuEventSynchronize", end)
            times.append(rank.driver.made("cuEventElapsedTime", ctypes.c_float, begin, end).value * 1000 / (5 * TIMED))
        return min(times)

    return max(ranks.together(run))


def check_gpu(folder, count=None):
    driver = Driver()
    devices = driver.made("cuDeviceGetCount", ctypes.c_int).value
    counts = [count] if count else [n for n in (2, 4) if n <= devices]
    if not counts or max(counts) > devices:
        raise SystemExit(f"check_collectives.py: found {devices} GPUs, expected at least {max(counts) if counts else 2}")
    with tempfile.TemporaryDirectory() as scratch:
        source = pathlib.Path(scratch) / "check.cu"
        source.write_text(CHECK)
        subprocess.run(["nvcc", "-arch=sm_90a", "-cubin", source, "-o", source.with_suffix(".cubin")], check=True)
        image = source.with_suffix(".cubin").read_bytes()
    for ranks_of_test in counts:
        rng = np.random.default_rng(7)
        small = {name: case for name, case in SMALL.items() if case.ranks == ranks_of_test}
        large = {name: case for name, case in LARGE.items() if case.ranks == ranks_of_test}
        ranks = Ranks(driver, ranks_of_test, [*small.values(), *large.values()], image)
        yield from check_results(ranks, folder, small | large, rng)
        few = {name: case for name, case in large.items() if case.rows <= 64}
        # Rows of whole words of 4 bytes, which the kernel that checks them compares.
        yield from check_rounds(ranks, folder, {n: c for n, c in small.items() if c.result_columns() * (2 if c.type == "bf16" else 4) % 4 == 0} | few, rng)
        for name, case in large.items():
            print(f"time {ranks_of_test} ranks, {name}: {time_of(ranks, folder, name, case, rng):.2f} us a call", flush=True)
        yield f"{ranks_of_test} ranks: ranks that did not deliver", ranks.failures()
