// The precompiled header of GoogleTest programs.
#include "cmake/pch.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
