"""What codegen/device/peers.h declares, for tests that are the host of its kernels."""

import ctypes

POISON, ROUNDS = 0x80008000, 3
LAST_ROUND = 2**32 - 1


class PeerTable(ctypes.Structure):
    _fields_ = [("round", ctypes.c_uint32), ("arrived", ctypes.c_uint32), ("previous_words", ctypes.c_uint32), ("failed", ctypes.c_uint32),
                ("failed_round", ctypes.c_uint32), ("rank", ctypes.c_uint32), ("exchange", ctypes.c_uint64 * 8),
                ("round_bytes", ctypes.c_uint64), ("timeout_ns", ctypes.c_uint64)]
