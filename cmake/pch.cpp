// Has the precompiled header pch.h.
