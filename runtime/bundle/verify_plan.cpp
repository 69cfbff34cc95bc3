#include "runtime/bundle/bundle.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/step_capacity.h"
#include "runtime/bundle/verify_launch.h"

namespace inlay {
namespace {

// Weights lie side by side, each at a multiple of this.
constexpr uint64_t kWeightAlignment = 256;

absl::Status VerifyWeight(const plan::Weight &weight) {
  if (!weight.name() || !weight.recipe())
    return BadPlan("a weight has no name or no recipe");
  const plan::Recipe &recipe = *weight.recipe();
  std::string_view name = weight.name()->string_view();
  if (weight.type() < plan::DataType_MIN || weight.type() > plan::DataType_MAX ||
      recipe.row_order() > plan::RowOrder_MAX || recipe.packing() > plan::Packing_MAX || recipe.row_order() < 0 ||
      recipe.packing() < 0)
    return BadPlan("weight '{}' has a type, row order or packing that does not exist", name);
  if (weight.type() > plan::DataType_F16)
    return BadPlan("weight '{}' has elements that are not floats", name);
  absl::StatusOr<uint64_t> bytes = WeightBytes(weight);
  if (!bytes.ok())
    return bytes.status();
  if (*bytes == 0 || *bytes > kMaxBytes || *bytes != weight.bytes())
    return BadPlan("weight '{}' has {} bytes, but its shape needs {}", name, weight.bytes(), *bytes);
  if (weight.offset() > kMaxBytes || weight.offset() % kWeightAlignment != 0)
    return BadPlan("weight '{}' is at offset {}, expected a multiple of {}", name, weight.offset(), kWeightAlignment);
  bool is_table = recipe.inv_freq() && recipe.inv_freq()->size() > 0;
  if (is_table && (!FitsRopeTable(recipe) || weight.type() != plan::DataType_F32))
    return BadPlan("rope table '{}' has {} columns for {} frequencies", name, recipe.columns(),
                   recipe.inv_freq()->size());
  if (!is_table && (!recipe.sources() || recipe.sources()->size() == 0))
    return BadPlan("weight '{}' has no sources", name);
  if (!is_table)
    for (const plan::Source *source : *recipe.sources())
      if (absl::Status status = VerifySourceSteps(*source, name); !status.ok())
        return status;
  if (recipe.packing() == plan::Packing_Atom8x64 && ElementSize(weight.type()) != 2)
    return BadPlan("weight '{}' is packed, but its elements do not have 16 bits", name);
  if (recipe.row_order() == plan::RowOrder_HalfPairs &&
      (recipe.head_dim() == 0 || recipe.head_dim() % 2 != 0 || recipe.rows() % recipe.head_dim() != 0))
    return BadPlan("weight '{}' has {} rows for heads of {}", name, recipe.rows(), recipe.head_dim());
  if (recipe.row_order() == plan::RowOrder_Alternate && recipe.rows() % 2 != 0)
    return BadPlan("weight '{}' alternates an odd number of rows", name);
  return absl::OkStatus();
}

bool Is(const plan::Count &count, plan::Extent extent, uint32_t divisor, uint32_t multiplier) {
  return count.extent() == extent && count.divisor() == divisor && count.multiplier() == multiplier;
}

// A packing launch takes rows of sources and its own weight, nothing else.
absl::Status VerifyPack(const plan::Weight &weight, uint32_t index, const plan::Target &target) {
  const plan::Launch &launch = *weight.pack();
  std::string_view name = weight.name()->string_view();
  if (launch.kernel() >= target.kernels()->size() || !launch.grid() || launch.grid()->size() != 2 ||
      launch.tensor_maps())
    return BadPlan("the launch that packs weight '{}' has no kernel or no grid", name);
  if (!launch.arguments() || launch.arguments()->size() != 2 ||
      launch.arguments()->Get(0)->kind() != plan::BufferKind_Source ||
      launch.arguments()->Get(1)->kind() != plan::BufferKind_Weight || launch.arguments()->Get(1)->index() != index)
    return BadPlan("the launch that packs weight '{}' does not take sources and that weight", name);
  // One block for 8 rows, and for the columns what divides them.
  const plan::Count &columns = *launch.grid()->Get(1);
  if (!Is(*launch.grid()->Get(0), plan::Extent_Tokens, 8, 1) || columns.extent() != plan::Extent_One ||
      columns.divisor() != 1 || !IsCount(columns))
    return BadPlan("the launch that packs weight '{}' has a grid of other than 8 rows", name);
  if (weight.recipe()->packing() != plan::Packing_Atom8x64 || weight.source_type() < 0 ||
      weight.source_type() > plan::DataType_F16)
    return BadPlan("weight '{}' is packed by a launch, but is not packed or has sources that are not floats", name);
  // The loader gives it whole rows of the sources, and room for rows of atoms.
  const auto *views = target.kernels()->Get(launch.kernel())->views();
  uint64_t source_row = weight.recipe()->columns() * ElementSize(weight.source_type());
  uint64_t packed_row = (weight.recipe()->columns() + 63) / 64 * 64 * ElementSize(weight.type());
  if (!views || views->size() != 2 || !Is(views->Get(0)->rows(), plan::Extent_Tokens, 1, 1) ||
      views->Get(0)->row_bytes() > source_row || !Is(views->Get(1)->rows(), plan::Extent_Tokens, 8, 8) ||
      views->Get(1)->row_bytes() > packed_row)
    return BadPlan("the kernel that packs weight '{}' expects other rows than its {} and {} bytes", name, source_row,
                   packed_row);
  return absl::OkStatus();
}

// What a library is told about one of its operands must lie in a row of the kernel's view, and its rows be the step's.
absl::Status VerifyColumns(const plan::Columns *columns, const char *what, uint32_t count, bool is_weight,
                           const plan::Kernel &kernel) {
  std::string_view name = kernel.name()->string_view();
  uint32_t views = kernel.views() ? kernel.views()->size() : 0;
  if (!columns || columns->argument() >= views || columns->type() < 0 || columns->type() > plan::DataType_F16)
    return BadPlan("the {} of '{}' is not an argument of floats", what, name);
  const plan::View &view = *kernel.views()->Get(columns->argument());
  const plan::LibraryProduct &product = *kernel.library();
  uint64_t row = uint64_t{columns->pitch()} * ElementSize(columns->type());
  bool fits = is_weight ? Is(view.rows(), plan::Extent_One, 1, 1) && view.row_bytes() == product.columns() * row
                        : Is(view.rows(), product.rows(), 1, 1) && view.row_bytes() == row;
  if (!fits || uint64_t{columns->column()} + count > columns->pitch())
    return BadPlan("the {} of '{}' is {} columns from {} on of rows of {}, its argument has other rows", what, name,
                   count, columns->column(), columns->pitch());
  return absl::OkStatus();
}

absl::Status VerifyLibrary(const plan::Kernel &kernel) {
  const plan::LibraryProduct &product = *kernel.library();
  std::string_view name = kernel.name()->string_view();
  if (!product.library() || product.library()->string_view() != "cublaslt")
    return BadPlan("'{}' is for another library than cublaslt", name);
  if ((product.rows() != plan::Extent_Tokens && product.rows() != plan::Extent_LogitRows) || product.columns() == 0 ||
      product.k() == 0 || product.columns() > kMaxCount || product.k() > kMaxCount || kernel.tensor_maps() != 0)
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

absl::Status VerifyTarget(const plan::Target &target, const plan::Model &model) {
  if (!target.name() || !target.kernels() || !target.entries() || target.entries()->size() == 0)
    return BadPlan("a target has no name, kernels or entries");
  for (const plan::Kernel *kernel : *target.kernels()) {
    if (!kernel->name() || kernel->name()->size() == 0)
      return BadPlan("a kernel has no name");
    // Names become file names.
    for (char c : kernel->name()->string_view())
      if (!isalnum(static_cast<unsigned char>(c)) && c != '_')
        return BadPlan("a kernel's name holds '{}'", c);
    // The verifier of FlatBuffers looks at where a vector begins, not at what its elements need.
    if (kernel->views() && reinterpret_cast<uintptr_t>(kernel->views()->Data()) % alignof(plan::View) != 0)
      return BadPlan("kernel '{}' has arguments that are not aligned to {} bytes", kernel->name()->string_view(),
                     alignof(plan::View));
    if (kernel->views())
      for (const plan::View *view : *kernel->views())
        if (!IsCount(view->rows()) || view->row_bytes() > kMaxBytes)
          return BadPlan("kernel '{}' has an argument of {} * ceil(extent {} / {}) rows of {} bytes",
                         kernel->name()->string_view(), view->rows().multiplier(),
                         static_cast<int>(view->rows().extent()), view->rows().divisor(), view->row_bytes());
    if (kernel->library() && target.name()->string_view() == "cpu")
      return BadPlan("'{}' uses a library, which the target cpu does not support", kernel->name()->string_view());
    if (kernel->library())
      if (absl::Status status = VerifyLibrary(*kernel); !status.ok())
        return status;
  }
  uint64_t weights_end = 0;
  if (target.weights())
    for (const plan::Weight *weight : *target.weights()) {
      if (absl::Status status = VerifyWeight(*weight); !status.ok())
        return status;
      if (weight->offset() != (weights_end + kWeightAlignment - 1) / kWeightAlignment * kWeightAlignment)
        return BadPlan("weight '{}' is at offset {}, but the previous one ends at {}", weight->name()->string_view(),
                       weight->offset(), weights_end);
      weights_end = weight->offset() + weight->bytes();
      if (weights_end > kMaxBytes)
        return BadPlan("the weights have {} bytes", weights_end);
    }
  for (uint32_t i = 0; target.weights() && i < target.weights()->size(); ++i)
    if (target.weights()->Get(i)->pack())
      if (absl::Status status = VerifyPack(*target.weights()->Get(i), i, target); !status.ok())
        return status;
  for (const plan::Entry *entry : *target.entries()) {
    if (!entry->name() || entry->max_tokens() == 0 || entry->max_sequences() == 0 || entry->query_tile_rows() == 0 ||
        entry->max_tokens() > kMaxCount || entry->max_sequences() > entry->max_tokens() ||
        entry->workspace_bytes() > kMaxBytes)
      return BadPlan("an entry has invalid sizes: {} tokens, {} sequences, {} workspace bytes", entry->max_tokens(),
                     entry->max_sequences(), entry->workspace_bytes());
    StepCapacity capacity = CapacityOf(model);
    if (entry->max_tokens() > static_cast<uint32_t>(capacity.tokens) ||
        entry->max_sequences() > static_cast<uint32_t>(capacity.sequences))
      return BadPlan("entry '{}' takes {} tokens of {} sequences, but the model takes {} of {}",
                     entry->name()->string_view(), entry->max_tokens(), entry->max_sequences(), capacity.tokens,
                     capacity.sequences);
    for (const auto *launches : {entry->launches(), entry->penalties(), entry->sampling()})
      if (launches)
        for (const plan::Launch *launch : *launches)
          if (absl::Status status = VerifyLaunch(*launch, *entry, target, model); !status.ok())
            return status;
  }
  return absl::OkStatus();
}

} // namespace

absl::Status VerifyPlan(const plan::Plan &plan) {
  const plan::Model *model = plan.model();
  if (!model || !plan.targets() || plan.targets()->size() == 0)
    return BadPlan("has no model or no targets");
  if (model->vocab_size() == 0 || model->layers() == 0 || model->kv_heads() == 0 || model->head_dim() == 0 ||
      model->page_size() == 0 || model->max_model_len() == 0 || model->max_num_seqs() == 0 ||
      model->max_num_batched_tokens() == 0 || model->layers() > kMaxCount || model->kv_heads() > kMaxCount ||
      model->head_dim() > kMaxCount || model->page_size() > kMaxCount || model->max_model_len() > kMaxCount * 16u ||
      model->max_num_seqs() > kMaxCount || model->max_num_batched_tokens() > kMaxCount || model->kv_type() < 0 ||
      model->kv_type() > plan::DataType_F16)
    return BadPlan("has a model with invalid sizes");
  for (const plan::Target *target : *plan.targets())
    if (absl::Status status = VerifyTarget(*target, *model); !status.ok())
      return status;
  return absl::OkStatus();
}

} // namespace inlay
