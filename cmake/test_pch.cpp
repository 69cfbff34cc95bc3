// The source file of the precompiled header test_pch.h.
