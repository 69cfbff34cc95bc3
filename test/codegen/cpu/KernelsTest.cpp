//===- KernelsTest.cpp - tests the results of compiled programs ------------===//
//
// Compares each program of test/codegen/programs with the same arithmetic in double
// precision, on random inputs. The last tile is not full.
//
//===----------------------------------------------------------------------===//

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Pass/PassManager.h"
#include "passes/tile/Passes.h"
#include "test/codegen/cpu/KernelTesting.h"

#include <cmath>

namespace {
using namespace inlay;
using namespace inlay::testing;

/// |actual - expected| <= tolerance (1 + |expected|) for each element.
void expectNear(const std::vector<uint16_t> &actual, const std::vector<double> &expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i)
    ASSERT_NEAR(toFloat(actual[i]), expected[i], tolerance * (1 + std::fabs(expected[i]))) << "element " << i;
}

/// Results in bf16 may differ by half a unit in the last place, plus a little for the order of sums.
constexpr double kBf16Tolerance = 1.0 / 128;
constexpr int kTokens = 19; // two tiles of 16, the second not full
constexpr int kGuardRows = 16;
constexpr uint16_t kGuard = 0x4242;

TEST(Kernels, EmbeddingCopiesRowsAndGivesZerosForNoToken) {
  Library library(Library::program("embedding"));
  Kernel kernel = library.kernel("embedding");
  ASSERT_TRUE(kernel);
  std::vector<int32_t> ids = {7, 999, -1, 1000};
  std::vector<uint16_t> table = Random(1).bf16(1000 * 256), y(4 * 256, kGuard);
  launch(kernel, 4, 1, {4}, ids, table, y);
  for (int j = 0; j < 256; ++j) {
    EXPECT_EQ(y[j], table[7 * 256 + j]);
    EXPECT_EQ(y[256 + j], table[999 * 256 + j]);
    EXPECT_EQ(y[512 + j], 0);
    EXPECT_EQ(y[768 + j], 0);
  }
}

TEST(Kernels, ArgmaxIsTheFirstLargest) {
  Library library(Library::program("argmax"));
  Kernel kernel = library.kernel("argmax");
  ASSERT_TRUE(kernel);
  std::vector<float> logits = Random(2).f32(3 * 1000);
  logits[5] = logits[999] = 50;
  logits[1000 + 999] = 50;
  for (int j = 0; j < 1000; ++j)
    logits[2000 + j] = -1e4f - j;
  logits.insert(logits.end(), 1000, 100.0f); // a row past the end of the step
  std::vector<int32_t> tokens(3, -1);
  launch(kernel, 3, 1, {.logitRows = 3}, logits, tokens);
  EXPECT_EQ(tokens, (std::vector<int32_t>{5, 999, 0}));
}

/// sum of x[i, k] w[n, k]
double dot(const double *x, const uint16_t *w, int k) {
  double sum = 0;
  for (int i = 0; i < k; ++i)
    sum += x[i] * toFloat(w[i]);
  return sum;
}

TEST(Kernels, ResidualAddsInPlaceAndKeepsRowsPastTheEnd) {
  Library library(Library::program("residual"));
  Kernel kernel = library.kernel("residual");
  ASSERT_TRUE(kernel);
  Random random(3);
  auto x = random.bf16(kTokens * 512), w = random.bf16(256 * 512, 0.05f), b = random.bf16(256);
  auto r = random.bf16(kTokens * 256);
  std::vector<double> expected;
  for (int i = 0; i < kTokens; ++i) {
    std::vector<double> row(512);
    for (int k = 0; k < 512; ++k)
      row[k] = toFloat(x[i * 512 + k]);
    for (int n = 0; n < 256; ++n)
      expected.push_back(dot(row.data(), &w[n * 512], 512) + toFloat(b[n]) + toFloat(r[i * 256 + n]));
  }
  r.insert(r.end(), kGuardRows * 256, kGuard);
  launch(kernel, 16, 2, {kTokens}, x, w, b, r);
  for (int i = kTokens * 256; i < (kTokens + kGuardRows) * 256; ++i)
    ASSERT_EQ(r[i], kGuard);
  r.resize(kTokens * 256);
  expectNear(r, expected, kBf16Tolerance);
}

/// The rows of x multiplied by the weight of the norm, and 1 / rms of each row.
struct Normalized {
  Normalized(const uint16_t *x, const std::vector<uint16_t> &g) {
    double squares = 0;
    for (size_t k = 0; k < g.size(); ++k) {
      squares += double(toFloat(x[k])) * toFloat(x[k]);
      row.push_back(rounded(double(toFloat(x[k])) * toFloat(g[k])));
    }
    scale = 1 / std::sqrt(squares / g.size() + 1e-5);
  }
  std::vector<double> row;
  double scale;
};

TEST(Kernels, SwigluOfANorm) {
  Library library(Library::program("swiglu"));
  Kernel kernel = library.kernel("swiglu");
  ASSERT_TRUE(kernel);
  Random random(4);
  auto x = random.bf16(kTokens * 256), g = random.bf16(256), w = random.bf16(1024 * 256, 0.1f);
  std::vector<uint16_t> y((kTokens + kGuardRows) * 512, kGuard);
  std::vector<double> expected;
  for (int i = 0; i < kTokens; ++i) {
    Normalized norm(&x[i * 256], g);
    for (int n = 0; n < 512; ++n) {
      double gate = norm.scale * dot(norm.row.data(), &w[2 * n * 256], 256);
      double up = norm.scale * dot(norm.row.data(), &w[(2 * n + 1) * 256], 256);
      expected.push_back(gate / (1 + std::exp(-gate)) * up);
    }
  }
  launch(kernel, 64, 2, {kTokens}, x, g, w, y);
  for (int i = kTokens * 512; i < (kTokens + kGuardRows) * 512; ++i)
    ASSERT_EQ(y[i], kGuard);
  y.resize(kTokens * 512);
  expectNear(y, expected, kBf16Tolerance);

  // A row alone gives bitwise the same result as in the batch.
  for (int i = 0; i < kTokens; ++i) {
    std::vector<uint16_t> row(x.begin() + i * 256, x.begin() + (i + 1) * 256), alone(512);
    launch(kernel, 64, 1, {1}, row, g, w, alone);
    ASSERT_EQ(alone, std::vector<uint16_t>(y.begin() + i * 512, y.begin() + (i + 1) * 512)) << "row " << i;
  }
}

TEST(Kernels, QkvIsRotatedAndAppended) {
  Library library(Library::program("qkv_rope"));
  Kernel kernel = library.kernel("qkv_rope");
  ASSERT_TRUE(kernel);
  Random random(5);
  constexpr int kKvRows = 32 * 2 * 16; // pages, heads, slots
  auto x = random.bf16(kTokens * 256), g = random.bf16(256), w = random.bf16(256 * 256, 0.1f);
  auto rope = random.f32(128 * 32);
  std::vector<int32_t> positions, sequences, pages(2 * 8);
  for (int i = 0; i < kTokens; ++i) {
    positions.push_back(i == 4 ? -1 : 5 * i); // row 4 is padding
    sequences.push_back(i % 2);
  }
  for (int i = 0; i < 16; ++i)
    pages[i] = 31 - i;
  std::vector<uint16_t> q(kTokens * 128, kGuard), keys(kKvRows * 32, kGuard), values(kKvRows * 32, kGuard);
  launch(kernel, 16, 2, {.tokens = kTokens, .sequences = 2, .kvRows = kKvRows}, x, g, w, rope, positions, sequences,
         pages, q, keys, values);
  size_t written = 0;
  for (int i = 0; i < kTokens; ++i) {
    Normalized norm(&x[i * 256], g);
    int position = positions[i];
    for (int head = 0; head < 8; ++head) {
      std::vector<double> expected(32);
      for (int d = 0; d < 16; ++d) {
        double lo = norm.scale * dot(norm.row.data(), &w[(head * 32 + 2 * d) * 256], 256);
        double hi = norm.scale * dot(norm.row.data(), &w[(head * 32 + 2 * d + 1) * 256], 256);
        double cos = position < 0 ? 0 : rope[position * 32 + d], sin = position < 0 ? 0 : rope[position * 32 + 16 + d];
        expected[d] = head < 6 ? lo * cos - hi * sin : lo;
        expected[d + 16] = head < 6 ? hi * cos + lo * sin : hi;
      }
      const uint16_t *actual = &q[i * 128 + head * 32];
      if (head >= 4) {
        if (position < 0)
          continue;
        int page = pages[sequences[i] * 8 + position / 16];
        int row = (page * 2 + head % 2) * 16 + position % 16;
        actual = head < 6 ? &keys[row * 32] : &values[row * 32];
        written += 32;
      }
      expectNear(std::vector<uint16_t>(actual, actual + 32), expected, kBf16Tolerance);
    }
  }
  // Nothing is appended for padding.
  size_t untouched = llvm::count(keys, kGuard) + llvm::count(values, kGuard);
  EXPECT_EQ(untouched, keys.size() + values.size() - written);
}

/// Runs the kernel of attention.mlir and compares its results.
void expectAttention(const Library &library) {
  Kernel kernel = library.kernel("attention");
  ASSERT_TRUE(kernel);
  Random random(6);
  constexpr int kRows = 7, kKvRows = 32 * 2 * 16;
  auto q = random.bf16(kRows * 128), keys = random.bf16(kKvRows * 32), values = random.bf16(kKvRows * 32);
  // Rows 0 to 4 are sequence 1 at positions 96 and up, rows 5 and 6 are sequence 0 at 0 and 1. The last tile is
  // padding.
  std::vector<int32_t> tileSequences = {1, 1, 0, -1}, tileRows = {0, 4, 5, 0}, tileEnds = {4, 5, 7, 0};
  std::vector<int32_t> positions = {96, 97, 98, 99, 100, 0, 1}, pages(2 * 8);
  for (int i = 0; i < 16; ++i)
    pages[i] = (i * 7) % 32;
  std::vector<uint16_t> o(kRows * 128, kGuard);
  launch(kernel, 2, 4, {.tokens = kRows, .sequences = 2, .queryTiles = 4, .kvRows = kKvRows}, q, tileSequences,
         tileRows, tileEnds, positions, pages, keys, values, o);
  std::vector<double> expected;
  for (int i = 0; i < kRows; ++i)
    for (int head = 0; head < 4; ++head) {
      auto rowOf = [&](int position) {
        return ((pages[(i < 5 ? 1 : 0) * 8 + position / 16] * 2 + head / 2) * 16 + position % 16) * 32;
      };
      double sum = 0;
      std::vector<double> result(32);
      for (int p = 0; p <= positions[i]; ++p) {
        double score = 0;
        for (int d = 0; d < 32; ++d)
          score += double(toFloat(q[(i * 4 + head) * 32 + d])) * toFloat(keys[rowOf(p) + d]);
        double weight = std::exp(score / std::sqrt(32.0));
        sum += weight;
        for (int d = 0; d < 32; ++d)
          result[d] += weight * toFloat(values[rowOf(p) + d]);
      }
      for (double element : result)
        expected.push_back(element / sum);
    }
  // The attention weights are rounded to bf16 before they are multiplied with the values.
  expectNear(o, expected, 2 * kBf16Tolerance);
}

TEST(Kernels, AttentionIsCausalOverPages) { expectAttention(Library(Library::program("attention"))); }

/// The program of each schedule computes the same: in other tiles, with padding, and with keys that several blocks
/// share.
TEST(Kernels, AttentionComputesTheSameInEachSchedule) {
  for (const char *schedule :
       {"generic<cluster = 3, query_rows = 4, tile_rows = 16, tile_keys = 64>",
        "decode_attention<query_rows = 4, tile_rows = 16, tile_keys = 16, warps = 8, stages = 2, slots = 1, cluster = "
        "4>",
        "decode_attention<query_rows = 4, tile_rows = 8, tile_keys = 16, warps = 4, stages = 3, slots = 2, cluster = "
        "1>",
        "prefill_attention<query_rows = 32, tile_rows = 64, tile_keys = 128, consumers = 1, stages = 2, "
        "producer_registers = 24, consumer_registers = 240>"}) {
    SCOPED_TRACE(schedule);
    mlir::DialectRegistry registry;
    registerAllDialects(registry);
    mlir::MLIRContext context(registry);
    auto module = mlir::parseSourceString<mlir::ModuleOp>(Library::program("attention"), &context);
    ASSERT_TRUE(module);
    tile::ProgramOp program = *module->getOps<tile::ProgramOp>().begin();
    program.setScheduleAttr(
        llvm::cast<tile::Schedule>(mlir::parseAttribute(std::string("#tile.") + schedule, &context)));
    mlir::PassManager passes(&context);
    passes.addPass(createApplySchedulePass());
    passes.addNestedPass<tile::ProgramOp>(createUnrollClusterPass());
    ASSERT_TRUE(mlir::succeeded(passes.run(*module)));
    expectAttention(Library(*module));
  }
}

/// 10 rows of 40 columns by 20 rows of 40, in tiles of 4 x 16 x 32: rows, columns and K all end inside a tile.
TEST(Kernels, DotEndsInsideTiles) {
  Library library(R"(
    !x = !tile.view<?x40xf32, activation, tokens>
    !w = !tile.view<20x40xf32, weight>
    !y = !tile.view<?x20xf32, output, tokens>
    tile.program @f(%x: !x, %w: !w, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (2, s0 ceildiv 4)> {
      %n = tile.program_id 0
      %m = tile.program_id 1
      %c0 = arith.constant 0 : index
      %c4 = arith.constant 4 : index
      %c16 = arith.constant 16 : index
      %c32 = arith.constant 32 : index
      %c40 = arith.constant 40 : index
      %row = arith.muli %m, %c4 : index
      %col = arith.muli %n, %c16 : index
      %zero = arith.constant dense<0.0> : tensor<4x16xf32>
      %acc = scf.for %k = %c0 to %c40 step %c32 iter_args(%a = %zero) -> (tensor<4x16xf32>) {
        %xt = tile.load %x[%row, %k] : !x -> tensor<4x32xf32>
        %wt = tile.load %w[%col, %k] : !w -> tensor<16x32xf32>
        %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<4x32xf32>, tensor<16x32xf32>, tensor<4x16xf32>
        scf.yield %d : tensor<4x16xf32>
      }
      tile.store %acc, %y[%row, %col] : tensor<4x16xf32>, !y
    })");
  Kernel kernel = library.kernel("f");
  ASSERT_TRUE(kernel);
  Random random(7);
  auto x = random.f32(10 * 40), w = random.f32(20 * 40);
  std::vector<float> y(10 * 20), all(10 * 20);
  launch(kernel, 2, 3, {10}, x, w, all);
  for (int i = 0; i < 10; ++i)
    for (int n = 0; n < 20; ++n) {
      double sum = 0;
      for (int k = 0; k < 40; ++k)
        sum += double(x[i * 40 + k]) * w[n * 40 + k];
      ASSERT_NEAR(all[i * 20 + n], sum, 1e-4) << i << ", " << n;
    }
  // With fewer rows, these are bitwise the same, and the others are not written.
  for (int rows = 1; rows < 10; ++rows) {
    std::fill(y.begin(), y.end(), 7.0f);
    launch(kernel, 2, (rows + 3) / 4, {rows}, x, w, y);
    for (int i = 0; i < 200; ++i)
      ASSERT_EQ(y[i], i < rows * 20 ? all[i] : 7.0f) << rows << " rows, element " << i;
  }
}

/// A loop that swaps two tiles, and a while loop that doubles a tile until it is large enough.
TEST(Kernels, LoopsCarryTiles) {
  Library library(R"(
    !y = !tile.view<3x8xf32, output>
    tile.program @f(%y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c2 = arith.constant 2 : index
      %c3 = arith.constant 3 : index
      %one = arith.constant dense<1.0> : tensor<1x8xf32>
      %two = arith.constant dense<2.0> : tensor<1x8xf32>
      %a, %b = scf.for %i = %c0 to %c3 step %c1 iter_args(%p = %one, %q = %two) -> (tensor<1x8xf32>, tensor<1x8xf32>) {
        %sum = arith.addf %p, %q : tensor<1x8xf32>
        scf.yield %q, %sum : tensor<1x8xf32>, tensor<1x8xf32>
      }
      %limit = arith.constant 100.0 : f32
      %w = scf.while (%t = %one) : (tensor<1x8xf32>) -> tensor<1x8xf32> {
        %first = tensor.extract %t[%c0, %c0] : tensor<1x8xf32>
        %goes_on = arith.cmpf olt, %first, %limit : f32
        scf.condition(%goes_on) %t : tensor<1x8xf32>
      } do {
      ^bb0(%t: tensor<1x8xf32>):
        %d = arith.addf %t, %t : tensor<1x8xf32>
        scf.yield %d : tensor<1x8xf32>
      }
      tile.store %a, %y[%c0, %c0] : tensor<1x8xf32>, !y
      tile.store %b, %y[%c1, %c0] : tensor<1x8xf32>, !y
      tile.store %w, %y[%c2, %c0] : tensor<1x8xf32>, !y
    })");
  Kernel kernel = library.kernel("f");
  ASSERT_TRUE(kernel);
  std::vector<float> y(24);
  launch(kernel, 1, 1, {}, y);
  EXPECT_EQ(y[7], 5);
  EXPECT_EQ(y[8], 8);
  EXPECT_EQ(y[16], 128);
}

/// Each function on a row of 4096 values.
TEST(Kernels, FunctionsOfMathAreAccurate) {
  auto run = [](const std::string &function, const std::vector<float> &inputs) {
    Library library(R"(
      !x = !tile.view<1x4096xf32, activation>
      !y = !tile.view<1x4096xf32, output>
      tile.program @f(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
        %c0 = arith.constant 0 : index
        %t = tile.load %x[%c0, %c0] : !x -> tensor<1x4096xf32>
        %r = math.)" +
                    function + R"( %t : tensor<1x4096xf32>
        tile.store %r, %y[%c0, %c0] : tensor<1x4096xf32>, !y
      })");
    std::vector<float> x = inputs, y(4096);
    if (Kernel kernel = library.kernel("f"))
      launch(kernel, 1, 1, {}, x, y);
    else
      ADD_FAILURE() << function;
    return y;
  };
  std::vector<float> wide(4096), positive(4096);
  for (int i = 0; i < 4096; ++i) {
    wide[i] = (i - 2048) / 24.0f;
    positive[i] = std::exp2((i - 2048) / 20.0f);
  }
  struct Case {
    const char *name;
    double (*reference)(double);
    const std::vector<float> &inputs;
    double tolerance; // relative
  };
  for (const Case &c :
       {Case{"exp", std::exp, wide, 4e-7}, Case{"exp2", std::exp2, wide, 4e-7}, Case{"tanh", std::tanh, wide, 2e-6},
        Case{"erf", std::erf, wide, 2e-6}, Case{"log", std::log, positive, 1e-6},
        Case{"rsqrt", [](double x) { return 1 / std::sqrt(x); }, positive, 4e-7}}) {
    std::vector<float> actual = run(c.name, c.inputs);
    for (int i = 0; i < 4096; ++i) {
      double expected = c.reference(c.inputs[i]);
      ASSERT_NEAR(actual[i], expected, c.tolerance * std::fabs(expected) + 1e-37) << c.name << " of " << c.inputs[i];
    }
  }
  std::vector<float> edges(4096, -INFINITY);
  edges[1] = INFINITY, edges[2] = 200, edges[3] = -200, edges[4] = NAN;
  for (const char *name : {"exp", "exp2"}) {
    std::vector<float> actual = run(name, edges);
    EXPECT_EQ(actual[0], 0) << name;
    EXPECT_EQ(actual[1], INFINITY) << name;
    EXPECT_EQ(actual[2], INFINITY) << name;
    EXPECT_EQ(actual[3], 0) << name;
    EXPECT_TRUE(std::isnan(actual[4])) << name;
  }
}
} // namespace
