#include "runtime/bundle/verify_kernel.h"

#include "runtime/bundle/collective.h"
#include "runtime/bundle/elements.h"
#include "runtime/bundle/plan_errors.h"
#include "runtime/bundle/verify_launch.h"

#include <cctype>

namespace inlay {
namespace {

// What a library is told about one of its operands must lie in a row of the kernel's view, and its rows be the step's.
absl::Status VerifyColumns(const plan::Columns *columns, const char *what, uint32_t count, bool is_weight,
                           const plan::Kernel &kernel) {
  std::string_view name = kernel.name()->string_view();
  uint32_t views = kernel.views() ? kernel.views()->size() : 0;
  if (!columns || columns->argument() >= views || !IsFloat(columns->type()))
    return BadPlan("the {} of '{}' is not an argument of floats", what, name);
  const plan::View &view = *kernel.views()->Get(columns->argument());
  const plan::LibraryProduct &product = *kernel.body_as_LibraryProduct();
  uint64_t row = uint64_t{columns->pitch()} * ElementSize(columns->type());
  bool fits = is_weight ? IsCountOf(view.rows(), plan::Extent_One, 1, 1) && view.row_bytes() == product.columns() * row
                        : IsCountOf(view.rows(), product.rows(), 1, 1) && view.row_bytes() == row;
  if (!fits || uint64_t{columns->column()} + count > columns->pitch())
    return BadPlan("the {} of '{}' is {} columns from {} on of rows of {}, its argument has other rows", what, name,
                   count, columns->column(), columns->pitch());
  return absl::OkStatus();
}

absl::Status VerifyLibrary(const plan::Kernel &kernel) {
  const plan::LibraryProduct &product = *kernel.body_as_LibraryProduct();
  std::string_view name = kernel.name()->string_view();
  if (!product.library() || product.library()->string_view() != "cublaslt")
    return UnsupportedPlan("'{}' is a product of the library '{}'", name,
                           product.library() ? product.library()->string_view() : "");
  if ((product.rows() != plan::Extent_Tokens && product.rows() != plan::Extent_LogitRows) || product.columns() == 0 ||
      product.k() == 0 || product.columns() > kMaxCount || product.k() > kMaxCount)
    return BadPlan("'{}' is a product with invalid sizes", name);
  struct {
    const plan::Columns *columns;
    const char *what;
    uint32_t count;
    bool is_weight;
  } operands[] = {{product.input(), "input", product.k(), false},
                  {product.weight(), "weight", product.k(), true},
                  {product.output(), "output", product.columns(), false},
                  {product.residual() ? product.residual() : product.output(), "residual", product.columns(), false}};
  for (const auto &[columns, what, count, is_weight] : operands)
    if (absl::Status status = VerifyColumns(columns, what, count, is_weight, kernel); !status.ok())
      return status;
  if (product.input()->type() != product.weight()->type() || ElementSize(product.weight()->type()) != 2 ||
      (product.residual() && product.residual()->type() != product.output()->type()))
    return BadPlan("'{}' is a product of types that cublaslt does not multiply", name);
  return absl::OkStatus();
}

// A kernel for a collective needs memory that the ranks exchange rows through.
absl::Status VerifyCollectiveCode(const plan::Kernel &kernel, std::string_view target, uint32_t ranks) {
  const plan::Collective &collective = *kernel.body_as_Collective();
  std::string_view name = kernel.name()->string_view();
  if (collective.epilogue() && (!collective.code() || collective.op() != plan::CollectiveOp_AllReduce))
    return BadPlan("'{}' has an epilogue, which only the code of AllReduce has", name);
  if (collective.early() && !collective.epilogue())
    return BadPlan("'{}' receives rows early without an epilogue, expected a sum that other ops follow", name);
  if (!collective.code())
    return collective.exchange_bytes() == 0
               ? absl::OkStatus()
               : BadPlan("'{}' exchanges {} bytes without code", name, collective.exchange_bytes());
  const plan::Code &code = *collective.code();
  if (target == "cpu")
    return BadPlan("'{}' is a collective operation with code, which the target cpu does not run", name);
  if (ranks > kMaxExchangeRanks)
    return BadPlan("'{}' has code for {} ranks, expected at most {}", name, ranks, kMaxExchangeRanks);
  auto is_plain = [](const plan::Code &one) {
    return one.tensor_maps() == 0 && (!one.cluster() || one.cluster()->size() == 0);
  };
  if (!is_plain(code) || (collective.epilogue() && !is_plain(*collective.epilogue())))
    return BadPlan("'{}' is a collective operation with tensor maps or clusters", name);
  if (collective.exchange_bytes() == 0 || collective.exchange_bytes() > kMaxBytes)
    return BadPlan("'{}' exchanges {} bytes, expected 1 to {}", name, collective.exchange_bytes(), kMaxBytes);
  if (collective.op() == plan::CollectiveOp_AllGather &&
      collective.exchange_bytes() % GatheredRowBytes(collective, ranks) != 0)
    return BadPlan("'{}' exchanges {} bytes a round, expected a multiple of the {} of a row of {} ranks", name,
                   collective.exchange_bytes(), GatheredRowBytes(collective, ranks), ranks);
  return absl::OkStatus();
}

// What ranks exchange must be the rows that the kernel's views say.
absl::Status VerifyCollective(const plan::Kernel &kernel, std::string_view target, uint32_t ranks) {
  const plan::Collective &collective = *kernel.body_as_Collective();
  std::string_view name = kernel.name()->string_view();
  if (ranks == 1)
    return BadPlan("'{}' is a collective operation in a plan for one rank", name);
  const bool reduces = collective.op() == plan::CollectiveOp_AllReduce;
  if (!reduces && collective.op() != plan::CollectiveOp_AllGather)
    return UnsupportedPlan("'{}' is the collective operation {}", name,
                           NameOrNumber(collective.op(), plan::EnumNameCollectiveOp(collective.op())));
  const uint64_t size = ElementSize(collective.type()), result = ResultColumns(collective, ranks);
  if ((reduces && !IsFloat(collective.type())) || size == 0)
    return BadPlan("'{}' combines elements {}", name,
                   NameOrNumber(collective.type(), plan::EnumNameDataType(collective.type())));
  if ((collective.rows() != plan::Extent_Tokens && collective.rows() != plan::Extent_LogitRows) ||
      collective.columns() == 0 || collective.columns() > kMaxCount || result > uint64_t{collective.columns()} * ranks)
    return BadPlan("'{}' makes {} columns of {} on each of {} ranks", name, result, collective.columns(), ranks);
  const uint64_t row_bytes[] = {collective.columns() * size, result * size};
  // What an epilogue reads and writes besides is up to its code.
  const uint32_t exchanged = collective.epilogue() ? 1 : 2, views = kernel.views() ? kernel.views()->size() : 0;
  bool fits = collective.epilogue() ? views >= 2 : views == 2;
  for (uint32_t i = 0; i < exchanged && fits; ++i) {
    const plan::View &view = *kernel.views()->Get(i);
    fits = IsCountOf(view.rows(), collective.rows(), 1, 1) && view.row_bytes() == row_bytes[i];
  }
  if (!fits)
    return BadPlan("'{}' has other arguments than rows of {} and {} bytes", name, row_bytes[0], row_bytes[1]);
  return VerifyCollectiveCode(kernel, target, ranks);
}

// A kernel may push rows to the memory of other GPUs.
absl::Status VerifyCode(const plan::Kernel &kernel, std::string_view target, uint32_t ranks) {
  if (kernel.body_as_Code()->peers() && (target == "cpu" || ranks < 2 || ranks > kMaxExchangeRanks))
    return BadPlan("'{}' pushes rows of {} ranks for the target {}, expected 2 to {} ranks of a GPU",
                   kernel.name()->string_view(), ranks, target, kMaxExchangeRanks);
  return absl::OkStatus();
}

absl::Status VerifyBody(const plan::Kernel &kernel, std::string_view target, uint32_t ranks) {
  std::string_view name = kernel.name()->string_view();
  if (kernel.body_type() == plan::KernelBody_NONE || !kernel.body())
    return BadPlan("kernel '{}' has no body", name);
  switch (kernel.body_type()) {
  case plan::KernelBody_Code:
    return VerifyCode(kernel, target, ranks);
  case plan::KernelBody_LibraryProduct:
    if (target == "cpu")
      return BadPlan("'{}' uses a library, which the target cpu does not support", name);
    return VerifyLibrary(kernel);
  case plan::KernelBody_Collective:
    return VerifyCollective(kernel, target, ranks);
  default:
    return UnsupportedPlan("kernel '{}' is a {}", name,
                           NameOrNumber(kernel.body_type(), plan::EnumNameKernelBody(kernel.body_type())));
  }
}

} // namespace

absl::Status VerifyFileName(std::string_view name, std::string_view what) {
  for (char c : name)
    if (!isalnum(static_cast<unsigned char>(c)) && c != '_')
      return BadPlan("the name of a {} has the byte {:#04x}, expected letters, digits and '_'", what,
                     static_cast<unsigned char>(c));
  return absl::OkStatus();
}

absl::Status VerifyKernel(const plan::Kernel &kernel, std::string_view target, uint32_t ranks) {
  if (!kernel.name() || kernel.name()->size() == 0)
    return BadPlan("a kernel has no name");
  if (absl::Status status = VerifyFileName(kernel.name()->string_view(), "kernel"); !status.ok())
    return status;
  // The verifier of FlatBuffers looks at where a vector begins, not at what its elements need.
  if (kernel.views() && reinterpret_cast<uintptr_t>(kernel.views()->Data()) % alignof(plan::View) != 0)
    return BadPlan("kernel '{}' has arguments that are not aligned to {} bytes", kernel.name()->string_view(),
                   alignof(plan::View));
  if (kernel.views())
    for (const plan::View *view : *kernel.views())
      if (!IsCount(view->rows()) || view->row_bytes() > kMaxBytes)
        return BadPlan("kernel '{}' has an argument of {} * ceil(extent {} / {}) rows of {} bytes",
                       kernel.name()->string_view(), view->rows().multiplier(), static_cast<int>(view->rows().extent()),
                       view->rows().divisor(), view->row_bytes());
  return VerifyBody(kernel, target, ranks);
}

} // namespace inlay
