// The calls of cuBLASLt: a library that implements its documented behaviour (fake_cublaslt.cpp) must compute the
// product of the plan.
#include "runtime/device/cublaslt.h"

#include <bit>
#include <cstdlib>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace inlay {
namespace {

using ::testing::HasSubstr;

uint16_t Bf16(int value) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16); }

// Small integers, so that sums are exact.
int Number(size_t i) { return static_cast<int>(i * 7 % 5) - 2; }

struct Matrix {
  explicit Matrix(size_t size) : elements(size) {
    for (size_t i = 0; i < size; ++i)
      elements[i] = Bf16(Number(i));
  }
  std::vector<uint16_t> elements;
};

// The output is columns [2, 5) of rows of 6, the input is columns [4, 12) of rows of 12, and the weight is 3 x 8.
constexpr int kRows = 3, kColumns = 3, kK = 8;

class CublasLtTest : public ::testing::Test {
protected:
  const plan::Kernel &Kernel(bool adds) {
    plan::Columns input{0, 12, 4, plan::DataType_BF16}, weight{1, 8, 0, plan::DataType_BF16},
        output{2, 6, 2, plan::DataType_BF16}, residual{3, 3, 0, plan::DataType_BF16};
    auto product = plan::CreateLibraryProductDirect(builder_, "cublaslt", plan::Extent_Tokens, kColumns, kK, &input,
                                                    &weight, &output, adds ? &residual : nullptr);
    builder_.Finish(plan::CreateKernelDirect(builder_, "k", nullptr, plan::KernelBody_LibraryProduct, product.Union()));
    return *flatbuffers::GetRoot<plan::Kernel>(builder_.GetBufferPointer());
  }

  // Returns the output after a launch with `rows` rows. The product was prepared for at most kRows.
  std::vector<uint16_t> Run(bool adds, int rows) {
    auto library = CublasLt::Open(INLAY_FAKE_CUBLASLT);
    EXPECT_TRUE(library.ok()) << library.status();
    auto product = (*library)->Prepare(Kernel(adds), kRows);
    EXPECT_TRUE(product.ok()) << product.status();
    Matrix output(size_t{kRows} * 6);
    void *arguments[] = {input_.elements.data(), weight_.elements.data(), output.elements.data(),
                         residual_.elements.data()};
    absl::Status status = (*product)->Launch(arguments, rows, nullptr);
    EXPECT_TRUE(status.ok()) << status;
    return output.elements;
  }

  std::vector<uint16_t> Expected(bool adds, int rows) const {
    Matrix output(size_t{kRows} * 6);
    for (size_t row = 0; row < static_cast<size_t>(rows); ++row)
      for (size_t column = 0; column < kColumns; ++column) {
        int sum = adds ? Number(row * 3 + column) : 0;
        for (size_t k = 0; k < kK; ++k)
          sum += Number(row * 12 + 4 + k) * Number(column * kK + k);
        output.elements[row * 6 + 2 + column] = Bf16(sum);
      }
    return output.elements;
  }

  flatbuffers::FlatBufferBuilder builder_;
  Matrix input_{size_t{kRows} * 12}, weight_{size_t{kColumns} * kK}, residual_{size_t{kRows} * 3};
};

TEST_F(CublasLtTest, WritesTheProductAndNothingElse) { EXPECT_EQ(Run(false, kRows), Expected(false, kRows)); }

TEST_F(CublasLtTest, AddsTheResidual) { EXPECT_EQ(Run(true, kRows), Expected(true, kRows)); }

TEST_F(CublasLtTest, ComputesTheRowsOfTheStep) { EXPECT_EQ(Run(true, 2), Expected(true, 2)); }

TEST_F(CublasLtTest, SaysWhatBringsALibraryThatIsNotThere) {
  std::string error(CublasLt::Open("/nowhere/libcublasLt.so.13").status().message());
  EXPECT_THAT(error, HasSubstr("/nowhere/libcublasLt.so.13"));
  EXPECT_THAT(error, HasSubstr("--cublaslt"));
  EXPECT_THAT(error, HasSubstr("--library never"));
}

TEST_F(CublasLtTest, SaysThatThereIsNoAlgorithm) {
  setenv("FAKE_CUBLASLT", "none", 1);
  auto library = CublasLt::Open(INLAY_FAKE_CUBLASLT);
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_THAT(std::string((*library)->Prepare(Kernel(true), kRows).status().message()),
              HasSubstr("no algorithm for the product 'k': 3 rows x 3 columns over 8"));
  unsetenv("FAKE_CUBLASLT");
}

} // namespace
} // namespace inlay
