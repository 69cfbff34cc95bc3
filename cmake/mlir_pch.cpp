// The source file of the precompiled header mlir_pch.h.
