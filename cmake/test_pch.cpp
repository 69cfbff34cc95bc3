// Has the precompiled header test_pch.h.
