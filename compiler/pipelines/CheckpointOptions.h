//===- CheckpointOptions.h - how a request reads its checkpoint ------------===//

#ifndef INLAY_COMPILER_PIPELINES_CHECKPOINTOPTIONS_H
#define INLAY_COMPILER_PIPELINES_CHECKPOINTOPTIONS_H

#include "compiler/pipelines/CompileModel.h"
#include "frontends/hf/Checkpoint.h"

namespace inlay {

/// The types, the quantizer and the limits that `request` asks for.
hf::CheckpointOptions checkpointOptionsOf(const CompileRequest &request);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_CHECKPOINTOPTIONS_H
