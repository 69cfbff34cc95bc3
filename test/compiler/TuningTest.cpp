//===- TuningTest.cpp - compile-model --tune with a device of a test -------===//

#include "codegen/emit/Nvrtc.h"
#include "compiler/pipelines/CompileModel.h"
#include "compiler/pipelines/Registration.h"
#include "fmt/format.h"
#include "mlir/Parser/Parser.h"
#include "runtime/support/version.h"
#include "test/runtime/fake_device.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <filesystem>
#include <fstream>
#include <set>

using namespace mlir;
using namespace inlay;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

namespace {

/// Programs of a model of four layers: five linear layers in decode steps, five in others.
constexpr const char *kModel = "examples/stdlib_model/model";

class TuningTest : public testing::Test {
protected:
  void SetUp() override {
    llvm::Expected<std::unique_ptr<Nvrtc>> nvrtc = Nvrtc::load("");
    if (!nvrtc)
      GTEST_SKIP() << "no NVRTC: " << llvm::toString(nvrtc.takeError());
    root = fs::path(testing::TempDir()) /
           ("inlay-" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(root);
    fs::create_directories(root);
    request.modelDirectory = kModel;
    request.targets = {"sm_90a"};
    request.dtype = "bfloat16";
    request.weights = WeightsMode::Dummy;
    request.maxNumSeqs = 1;
    request.maxNumBatchedTokens = 64;
    request.emit = EmitStage::Tile; // the schedules that follow from the file, without compiling them
    request.tuning = (root / "tuning.json").string();
    request.progress = [&](const std::string &line) { lines += line + "\n"; };
    request.tune.emplace();
    request.tune->candidates = 2;
    request.tune->openDevice = [&]() -> absl::StatusOr<std::unique_ptr<Device>> {
      return std::make_unique<FakeDevice>(gpu);
    };
    request.tune->timer.now = [&] { return gpu.seconds; };
    // Alternatives are far apart in decode steps, and nearly equal in others.
    gpu.microseconds = [](std::string_view kernel) {
      return kernel.ends_with("_0") ? 20 : kernel.starts_with("decode") ? 10 : 19.9;
    };
  }
  void TearDown() override { fs::remove_all(root); }

  TuningFile file() {
    absl::StatusOr<TuningFile> read = TuningFile::read(request.tuning);
    EXPECT_TRUE(read.ok()) << read.status();
    return read.ok() ? *read : TuningFile{};
  }

  fs::path root;
  FakeGpu gpu;
  CompileRequest request;
  std::string lines, out;
};

/// An interrupted run keeps what was measured; the next one measures the rest; a third one has nothing left to do.
TEST_F(TuningTest, KeepsTheFastestAndCompilesWithIt) {
  request.tune->stop = [&] { return gpu.runs.size() > 60; };
  absl::Status status = compileModel(request, out);
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("and are in " + request.tuning));
  size_t measured = file().entries.size();
  EXPECT_GT(measured, 0);

  request.tune->stop = nullptr;
  request.explain = true;
  lines.clear();
  status = compileModel(request, out);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(lines, HasSubstr(fmt::format("; {} programs are in {} already", measured, request.tuning)));
  EXPECT_THAT(out, HasSubstr("predicted  measured    before"));
  EXPECT_THAT(out, HasSubstr("schedule measured on Fake GPU: "));
  EXPECT_EQ(out.find("has no entry for matvec"), std::string::npos);
  TuningFile tuned = file();
  EXPECT_GT(tuned.entries.size(), measured);
  EXPECT_EQ(tuned.chip, "Fake GPU");
  for (const auto &[key, entry] : tuned.entries) {
    EXPECT_EQ(entry.compiler, Revision());
    EXPECT_EQ(entry.date.size(), std::string("2026-11-29").size());
  }

  size_t runs = gpu.runs.size();
  ASSERT_TRUE(compileModel(request, out).ok());
  EXPECT_EQ(gpu.runs.size(), runs);
  EXPECT_EQ(file().toText(), tuned.toText());
}

/// Codes that are unpacked, codes that are multiplied by codes, and what a rank has of the matrices.
TEST_F(TuningTest, MeasuresCodesOfOneRank) {
  request.quantization = "fp8";
  request.parallel.tensor = 2;
  request.maxNumSeqs = 16;
  absl::Status status = compileModel(request, out);
  ASSERT_TRUE(status.ok()) << status;
  std::set<std::string> found;
  TuningFile tuned = file();
  for (const auto &[key, entry] : tuned.entries)
    if (key.dtype != "bf16")
      found.insert(fmt::format("{} of {}", key.family, key.dtype));
  EXPECT_THAT(found, ElementsAre("matvec of f8e4m3", "swap_ab of f8e4m3", "swap_ab of f8e4m3 x f8e4m3"));
}

TEST_F(TuningTest, NoGpuIsAnErrorThatSaysSo) {
  request.tune->openDevice = []() -> absl::StatusOr<std::unique_ptr<Device>> {
    return absl::UnavailableError("no NVIDIA driver");
  };
  EXPECT_EQ(
      compileModel(request, out),
      absl::UnavailableError("--tune measures kernels on a GPU for sm_90a, but it cannot be used: no NVIDIA driver"));
}

TEST_F(TuningTest, AFileOfAnotherChipIsRefused) {
  std::ofstream(request.tuning) << R"({"format":3,"target":"sm_90a","chip":"NVIDIA H200","entries":[],"libraries":[]})";
  EXPECT_THAT(std::string(compileModel(request, out).message()),
              HasSubstr("was measured on 'NVIDIA H200' for sm_90a, but this machine measures on 'Fake GPU' for sm_90a; "
                        "name another file with --tuning-file"));
}

TEST_F(TuningTest, AFileThatCannotBeWrittenIsFoundBeforeAnythingIsMeasured) {
  request.tuning = (root / "missing" / "tuning.json").string();
  EXPECT_THAT(std::string(compileModel(request, out).message()), HasSubstr("missing/tuning.json"));
  EXPECT_TRUE(gpu.runs.empty());
}

/// A program that cannot be compiled does not keep the others from it, and its error is no diagnostic.
TEST_F(TuningTest, AlternativesThatFailAreToldApart) {
  DialectRegistry registry;
  registerAllDialects(registry);
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  std::string program = R"(
tile.program @NAME(%x: !tile.view<?x256xbf16, activation, tokens>,
                   %w: !tile.view<128x256xbf16, weight> {tile.packing = "atom_8x64"},
                   %y: !tile.view<?x128xf32, output, tokens>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1, s0 ceildiv 16)>
    schedule #tile.swap_ab<tile_rows = 16, tile_columns = 64, tile_k = 64, consumers = 1, split = 1, slots = 1,
                           stages = STAGES, shared_bytes = 232448> {
  %m = tile.program_id 1
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %rows = arith.constant 16 : index
  %row = arith.muli %m, %rows : index
  %n = tile.program_id 0
  %c128 = arith.constant 128 : index
  %col = arith.muli %n, %c128 : index
  %zero = arith.constant dense<0.0> : tensor<16x128xf32>
  %acc = scf.for %k = %c0 to %c256 step %c64 iter_args(%a = %zero) -> (tensor<16x128xf32>) {
    %xt = tile.load %x[%row, %k] : !tile.view<?x256xbf16, activation, tokens> -> tensor<16x64xbf16>
    %wt = tile.load %w[%col, %k] : !tile.view<128x256xbf16, weight> -> tensor<128x64xbf16>
    %d = tile.dot %xt, %wt, %a transpose_rhs : tensor<16x64xbf16>, tensor<128x64xbf16>, tensor<16x128xf32>
    scf.yield %d : tensor<16x128xf32>
  }
  tile.store %acc, %y[%row, %col] : tensor<16x128xf32>, !tile.view<?x128xf32, output, tokens>
})";
  auto with = [&](const std::string &name, const std::string &stages) {
    std::string text = program;
    text.replace(text.find("NAME"), 4, name);
    return text.replace(text.find("STAGES"), 6, stages);
  };
  // 16 stages of two consumers have 18 KB each, of a block's 227.
  std::string large = with("large", "16");
  large.replace(large.find("consumers = 1"), 13, "consumers = 2");
  large.replace(large.find("tile_columns = 64"), 17, "tile_columns = 128");
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(large + with("small", "4"), &context);
  ASSERT_TRUE(module);
  size_t diagnostics = 0;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    ++diagnostics;
    return success();
  });
  FailureOr<std::vector<CudaAlternative>> alternatives = compileCudaAlternatives(*module, {});
  ASSERT_TRUE(succeeded(alternatives));
  ASSERT_EQ(alternatives->size(), 2);
  EXPECT_THAT((*alternatives)[0].refusal, HasSubstr("shared memory"));
  EXPECT_EQ((*alternatives)[1].refusal, "");
  EXPECT_FALSE((*alternatives)[1].kernel.cubin.empty());
  EXPECT_EQ(diagnostics, 0);
}

} // namespace
