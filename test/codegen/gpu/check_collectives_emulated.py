"""check_collectives.py on the CPU: results, buffers and tables after each step, and ranks that fail.

Each rank is a thread with a copy of the kernel's library, so that ranks have no variables in common but the exchange memory."""

import ctypes
import json
import pathlib
import shutil
import tempfile
import threading

import emulation
from check_kernels import emulated_maps, np, pack_atoms
from collective_cases import PRODUCT_ROWS, SMALL
from collective_references import Step, count_wrong, random_step, reference, results_of
from peers import LAST_ROUND, POISON, ROUNDS, PeerTable


def aligned(bytes, fill):
    raw = np.zeros(bytes + 512, np.uint8)
    start = -raw.ctypes.data % 256
    result = raw[start:start + bytes]
    result[:] = fill
    return result


class EmulatedRanks:
    """A thread and a copy of the kernel's library for each rank, with exchange memory that all of them write."""

    def __init__(self, compiler, folder, case, scratch):
        names = ["step_exchange"] + (["step_exchange_epilogue"] if case.epilogue else []) + (["step_linear"] if case.family else [])
        self.case, self.specs = case, {name: json.loads((folder / f"{name}.json").read_text()) for name in names}
        sources = {name: (folder / f"{name}.cu").read_text() for name in names}
        library = emulation.compile_kernels(compiler, sources, scratch / folder.name, optimization="-O1")
        self.libraries = []
        for rank in range(case.ranks):
            copy = scratch / f"{folder.name}.rank{rank}.so"
            shutil.copyfile(library, copy)
            self.libraries.append(ctypes.CDLL(str(copy)))
        # Another kernel of the step has a larger buffer.
        self.round_bytes = -(-case.exchange_words() * 16 // 256) * 256 + 512
        self.exchange = [aligned(ROUNDS * self.round_bytes, 0) for _ in range(case.ranks)]
        self.tables = []
        for rank in range(case.ranks):
            self.exchange[rank].view(np.uint32)[:] = POISON
            table = PeerTable(round_bytes=self.round_bytes, rank=rank, timeout_ns=60 * 10**9)
            table.exchange[:case.ranks] = [memory.ctypes.data for memory in self.exchange]
            self.tables.append(table)

    def buffers(self, x, others, in_place):
        """The arguments of the kernel and its results. Results have a row more than the step, filled with 7."""
        rows, case = len(x), self.case

        def filled(columns, like, contents=None):
            y = aligned((rows + 1) * columns * like.itemsize, 7).view(like.dtype).reshape(rows + 1, -1)
            if contents is not None:
                y[:rows] = contents
            return y

        def copied(bits):
            result = aligned(bits.nbytes, 0).view(bits.dtype).reshape(bits.shape)
            result[...] = bits
            return result

        if not case.epilogue:
            y = filled(case.result_columns(), x, x if in_place else None)
            return [y if in_place else copied(x), y], [y]
        if case.epilogue == "product":
            results = [filled(case.columns, x), filled(PRODUCT_ROWS, x)]
            return [copied(x), copied(pack_atoms(others.product)), copied(others.weight), copied(others.residual), *results], results
        results = [filled(case.columns, x, others.residual)]
        if case.epilogue == "residual":
            return [copied(x), *results], results
        if case.epilogue == "codes":
            results += [filled(case.columns, np.zeros(1, np.uint8)), filled(1, np.zeros(1, np.uint32))]
        else:
            results += [filled(case.columns, x), filled(case.columns // case.norm_part(), np.zeros(1, np.uint32))]
        return [copied(x), results[0], copied(others.weight), *results[1:]], results

    def residual_of(self, arguments):
        """The residual, which earlier launches write."""
        return {"": [], "product": arguments[3:4]}.get(self.case.epilogue, arguments[1:2])

    def launch(self, rank, name, arguments, rows, late, peers=None):
        spec = self.specs[name]
        sizes = [rows, 1, 1, 1, 0, 0]
        grid = [multiplier * -(-(sizes[size] if size < len(sizes) else 1) // divisor) for size, divisor, multiplier in spec["grid"]]
        emulation.run(self.libraries[rank], name, [a.ctypes.data for a in arguments], sizes, grid, spec["block"], spec["cluster"],
                      spec["shared_bytes"], emulated_maps(spec, arguments, sizes), [emulation.LateWrite(a.ctypes.data, a.nbytes) for a in late], peers)

    def multiply(self, rank, linear, y, pushes=True):
        """y = the product of the linear layer, which `pushes` it to the other ranks."""
        table, arguments = self.tables[rank], []
        for given in linear:
            arguments.append(aligned(given.nbytes, 0).view(given.dtype).reshape(given.shape))
            arguments[-1][...] = given
        self.launch(rank, "step_linear", [*arguments, y], len(y), [np.frombuffer(table, np.uint8), arguments[1]],
                    ctypes.addressof(table) if pushes else 0)

    def run(self, xs, others=None, in_place=False, absent=(), linears=None):
        """One step, without the ranks `absent`: the results of each rank. `linears`: what computes `xs`."""
        return self.run_steps([Step(xs, others, linears)], in_place, absent)[0]

    def run_steps(self, steps, in_place=False, absent=()):
        """Steps that follow each other on each rank, which waits for the others in its kernels only."""
        buffers = [[self.buffers(x, step.others, in_place) for x in step.xs] for step in steps]

        def run_rank(rank):
            table = self.tables[rank]
            for (xs, _, linears), of_ranks in zip(steps, buffers):
                arguments = of_ranks[rank][0]
                if linears:
                    self.multiply(rank, linears[rank], arguments[0])
                    xs[rank][...] = arguments[0]
                # Earlier launches write the rows, the residual, and the table at its end.
                late = [np.frombuffer(table, np.uint8), arguments[0][:len(xs[rank])], *self.residual_of(arguments)]
                if self.case.is_early():
                    # Only the launch that pushes may run, which writes neither the table nor the residual. The rows that it stores are
                    # not read: they are NaNs. What the kernel stores before it waits is lost.
                    arguments[0].view(np.uint8)[...] = 0xff
                    late = [arguments[0], *of_ranks[rank][1][1:]]
                self.launch(rank, "step_exchange", arguments, len(xs[rank]), late, ctypes.addressof(table))

        threads = [threading.Thread(target=run_rank, args=(rank,)) for rank in range(self.case.ranks) if rank not in absent]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [[results for _, results in of_ranks] for of_ranks in buffers]

    def run_epilogue(self, total, others):
        """The results of the epilogue, where a communicator has computed the sum."""
        arguments, results = self.buffers(total, others, in_place=False)
        self.launch(0, "step_exchange_epilogue", arguments, len(total), [arguments[0], *self.residual_of(arguments)])
        return results

    def is_clear(self, round):
        """Whether all buffers but that of `round` hold nothing but the poison, on all ranks."""
        buffers = [memory.view(np.uint32).reshape(ROUNDS, -1) for memory in self.exchange]
        return all((buffer[(round + i) % ROUNDS] == POISON).all() for buffer in buffers for i in (1, 2))


def check_emulated(compiler, folder):
    with tempfile.TemporaryDirectory() as scratch:
        for name, case in SMALL.items():
            rng, ranks = np.random.default_rng(3), EmulatedRanks(compiler, folder / name, case, pathlib.Path(scratch))
            rounds = 0  # of the exchange
            # Steps of one row repeat until the first buffer is used again.
            sizes = [1, case.rows, 2, case.rows // 2, 1, case.rows, case.rows - 1, 3] if case.rows > 1 else [1] * (ROUNDS + 1)
            for step, rows in enumerate(max(1, min(rows, case.rows)) for rows in sizes):
                xs, others, linears = random_step(rng, case, rows)
                in_place = step % 2 == 1 and not case.gathered and not case.epilogue
                results = ranks.run(xs, others, in_place, linears=linears)
                wanted = results_of(case, xs, others)
                rounds += case.rounds(rows)
                guards = sum(int((y[rows].view(np.uint8) != 7).sum()) for of_rank in results for y in of_rank)
                yield (f"{name}, step {step}: {rows} rows{' in place' if in_place else ''}",
                       guards + sum(count_wrong(y[:rows], w) for of_rank in results for y, w in zip(of_rank, wanted)))
                if case.epilogue:
                    alone = ranks.run_epilogue(reference(case, xs), others)
                    yield (f"{name}, step {step}: all ranks and the epilogue have the same bits",
                           sum(int((y != z).sum()) for of_rank in results for y, z in zip(of_rank, alone)))
                yield f"{name}, step {step}: buffers of other rounds", int(not ranks.is_clear(rounds - 1))
                yield (f"{name}, step {step}: tables",
                       sum((t.round, t.arrived, t.failed) != (rounds, 0, 0) or 16 * t.previous_words > ranks.round_bytes for t in ranks.tables))
            if case.family:
                yield f"{name}: elements of a linear layer that are -0.0", int(not (xs[0] == 0x8000).any())
                y, before = ranks.buffers(xs[0], others, in_place=False)[0][0], ranks.exchange[1].copy()
                ranks.multiply(0, linears[0], y, pushes=False)
                ranks.tables[0].failed = 1
                ranks.multiply(0, linears[0], y)
                ranks.tables[0].failed = 0
                yield (f"{name}: rows without peers and after a failure",
                       int((y != xs[0]).sum()) + int((ranks.exchange[1] != before).sum()))
            if case.family or case.rounds(case.rows) > 1:
                steps = [random_step(rng, case, int(rng.integers(1, case.rows + 1))) for _ in range(10)]
                found, rounds = ranks.run_steps(steps), rounds + sum(case.rounds(len(step.xs[0])) for step in steps)
                yield (f"{name}: {len(steps)} steps that follow each other",
                       sum(count_wrong(y[:len(w)], w) for step, of_step in zip(steps, found) for of_rank in of_step
                           for y, w in zip(of_rank, results_of(case, step.xs, step.others))))
                yield f"{name}: buffers after these steps", int(not ranks.is_clear(rounds - 1))
            # Numbers of rounds start again at 0, after a round of another kernel that filled its buffer.
            number, wrong = LAST_ROUND - 6 + rounds % ROUNDS, 0
            for table, memory in zip(ranks.tables, ranks.exchange):
                memory.view(np.uint32).reshape(ROUNDS, -1)[(number - 1) % ROUNDS] = 7
                table.round, table.previous_words = number, ranks.round_bytes // 16
            while LAST_ROUND - 6 <= number or number < ROUNDS:
                xs, others, linears = random_step(rng, case, case.rows)
                results = ranks.run(xs, others, linears=linears)
                number = (number + case.rounds(case.rows)) % LAST_ROUND
                wrong += sum(count_wrong(y[:len(w)], w) for of_rank in results for y, w in zip(of_rank, results_of(case, xs, others)))
                wrong += not ranks.is_clear(number - 1) or any(table.round != number for table in ranks.tables)
            yield f"{name}: numbers of rounds start again", wrong
            rounds = number
            # The last rank does not come.
            last = case.ranks - 1
            for table in ranks.tables:
                table.timeout_ns = 20 * 10**6
            ranks.run(xs, others, absent=[last], linears=linears)
            yield (f"{name}: a rank that does not come",
                   sum((t.failed, t.failed_round) != (last + 1, rounds) for t in ranks.tables if t.rank != last))
            ranks.tables[last].failed = 1
            before, results = ranks.buffers(xs[0], others, in_place=False)[1], ranks.run(xs, others, linears=linears)
            yield (f"{name}: rounds after a failure write nothing",
                   sum(int((y != b).sum()) for of_rank in results for y, b in zip(of_rank, before)))
