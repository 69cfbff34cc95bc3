// The object that carries the precompiled header of everything that uses MLIR.
