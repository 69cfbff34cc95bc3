// The source file of the precompiled header pch.h.
