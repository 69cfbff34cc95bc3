"""What ranks have before a step of check_collectives.py, and what each must have after it.

All ranks must have the same bits: sums in float32 in the order of the ranks, rounded once.
"""

from typing import NamedTuple

from check_codes import PIECE
from check_kernels import from_bf16, np, pack_atoms, to_bf16
from check_quantized import e4m3
from collective_cases import LINEAR_COLUMNS, PRODUCT_ROWS
from peers import POISON


def without_poison(words, type):
    """What a rank sends of the bits `words`."""
    return np.where(words == (POISON if type == "f32" else 0x8000), 0, words).astype(words.dtype)


def to_floats(case, bits):
    return bits.view(np.float32) if case.type == "f32" else from_bf16(bits)


def to_bits(case, floats):
    return np.ascontiguousarray(floats, np.float32).view(np.uint32) if case.type == "f32" else to_bf16(floats)


def reference(case, xs):
    """The bits of the result, of the bits of all ranks."""
    xs = [without_poison(x, case.type) for x in xs]
    if case.gathered:
        return np.concatenate(xs, axis=1)[:, :case.gathered]
    floats = [to_floats(case, x) for x in xs]
    with np.errstate(all="ignore"):
        total = floats[0].copy()
        for x in floats[1:]:
            total = total + x
    return without_poison(to_bits(case, total), case.type)


class Others(NamedTuple):
    """The bits that all ranks have of the residual, of the weight of a norm, and of that of a linear layer."""
    residual: "np.ndarray"
    weight: "np.ndarray"
    product: "np.ndarray"


def results_of(case, xs, others):
    """What each rank must have: the bits of its results; sums of squares, scales and products as numbers; what the nearest codes
    stand for in float64."""
    total = reference(case, xs)
    if not case.epilogue:
        return [total]
    with np.errstate(all="ignore"):
        y = to_floats(case, others.residual) + to_floats(case, total)
        if case.epilogue == "residual":
            return [to_bits(case, y)]
        if case.epilogue == "product":
            y = to_floats(case, to_bits(case, y))
            scaled = from_bf16(to_bf16(y * (to_floats(case, others.weight) + np.float32(1))))
            rms = np.sqrt((y.astype(np.float64)**2).mean(axis=1, keepdims=True) + 1e-5)
            return [to_bits(case, y), (scaled.astype(np.float64) @ from_bf16(others.product).T / rms).astype(np.float32)]
        if case.epilogue == "codes":
            y = to_floats(case, to_bits(case, y))
            wide = y.astype(np.float64)
            normed = wide / np.sqrt((wide**2).mean(axis=1, keepdims=True) + 1e-5) * (to_floats(case, others.weight) + np.float32(1))
            scales = np.maximum(np.abs(normed).max(axis=1, keepdims=True) / 448, 1 / (448 * 512))
            return [to_bits(case, y), normed / scales, scales.astype(np.float32)]
        squares = (y.astype(np.float64)**2).reshape(len(y), -1, case.norm_part()).sum(axis=2).astype(np.float32)
        return [to_bits(case, y), to_bits(case, y * (to_floats(case, others.weight) + np.float32(1))), squares]


def bits_like(case, wanted):
    """An array in which a kernel leaves a result."""
    if wanted.dtype == np.float64:
        return np.zeros(wanted.shape, np.uint8)
    return np.zeros(wanted.shape, np.uint16 if case.epilogue == "product" else wanted.dtype)


def count_wrong_codes(found, wanted):
    """Codes that are not the nearest of `wanted`, whose columns are in the order of 8-bit products."""
    codes = np.empty_like(found)
    codes.reshape(len(found), -1, 16)[:, :, PIECE] = found.reshape(len(found), -1, 16)
    step = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(wanted), 2.0 ** -6))) - 3)
    return int((~(np.abs(e4m3(codes) - wanted) <= step / 2 + 1e-5 * np.abs(wanted))).sum())


def count_wrong(found, wanted):
    """Elements that are not equal in their bits, or sums, scales and products that are not close."""
    if wanted.dtype == np.float64:
        return count_wrong_codes(found, wanted)
    if wanted.dtype != found.dtype and found.dtype == np.uint16:
        return int((~np.isclose(from_bf16(found), wanted, rtol=1e-2, atol=1e-3 * np.abs(wanted).max())).sum())
    if wanted.dtype == np.float32:
        return int((~np.isclose(found.view(np.float32), wanted, rtol=1e-5, atol=0)).sum())
    return int((found != wanted).sum())


def random_bits(rng, case, rows):
    """Numbers of different sizes, zeros of both signs, pairs of -0.0 and the float with their bits."""
    most = {"norm": 4, "codes": 1, "product": 1}.get(case.epilogue, 20)  # whose squares are numbers
    x = (rng.standard_normal((rows, case.columns)) * 10.0 ** rng.integers(-most, most, (rows, case.columns))).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = 0.0
    x[rng.random(x.shape) < 0.2] *= -0.0
    bits = x.view(np.uint32).copy() if case.type == "f32" else to_bf16(x)
    if case.type == "f32":
        bits[rng.random(x.shape) < 0.1] = POISON
    return bits


def random_others(rng, case, rows):
    if not case.epilogue:
        return None
    return Others(random_bits(rng, case, rows), random_bits(rng, case, 1)[0],
                  to_bf16((rng.standard_normal((PRODUCT_ROWS, case.columns)) * 0.06).astype(np.float32)))


def random_linear(rng, case, rows):
    """The weight of a linear layer, as its kernel takes it, and rows. Some products are so small that they are stored as
    0.0 and -0.0."""
    x = rng.standard_normal((rows, LINEAR_COLUMNS)).astype(np.float32)
    weight = (rng.standard_normal((case.columns, LINEAR_COLUMNS)) * 0.06).astype(np.float32)
    x[::2] *= 1e-20
    weight[rng.random(case.columns) < 0.3] *= 1e-21
    return to_bf16(weight) if case.family == "generic" else pack_atoms(to_bf16(weight)), to_bf16(x)


class Step(NamedTuple):
    """The rows of each rank, what is added to their sum, and what computes the rows, if a linear layer does."""
    xs: list
    others: Others | None
    linears: list | None


def random_step(rng, case, rows):
    return Step([random_bits(rng, case, rows) for _ in range(case.ranks)], random_others(rng, case, rows),
                [random_linear(rng, case, rows) for _ in range(case.ranks)] if case.family else None)
