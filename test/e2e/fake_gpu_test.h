// Tests with the fake driver, which environment variables describe.
#ifndef INLAY_TEST_E2E_FAKE_GPU_TEST_H_
#define INLAY_TEST_E2E_FAKE_GPU_TEST_H_

#include <cstdlib>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace inlay {

// The variables stay until the members of the test, which may have devices, are gone.
class FakeGpuTest : public ::testing::Test {
protected:
  explicit FakeGpuTest(const char *gpus) { Set("FAKE_GPUS", gpus); }
  ~FakeGpuTest() override {
    for (const std::string &name : set_)
      unsetenv(name.c_str());
    // The runtime sets these.
    for (const char *name : {"NCCL_P2P_DISABLE", "CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_MODULE_LOADING"})
      unsetenv(name);
  }

  void Set(const char *name, const char *value) {
    setenv(name, value, 1);
    set_.push_back(name);
  }

private:
  std::vector<std::string> set_;
};

} // namespace inlay

#endif // INLAY_TEST_E2E_FAKE_GPU_TEST_H_
