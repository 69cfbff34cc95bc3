#include "runtime/distributed/stage_link.h"

#include "runtime/distributed/communicator.h"

namespace inlay {
namespace {

class CpuStageLink : public StageLink {
public:
  explicit CpuStageLink(std::unique_ptr<Communicator> pipeline) : pipeline_(std::move(pipeline)) {}

  absl::Status Receive(std::span<const StageRows> rows) override {
    for (const StageRows &part : rows)
      if (absl::Status status = pipeline_->Receive(part.at, part.bytes, pipeline_->rank() - 1); !status.ok())
        return status;
    return absl::OkStatus();
  }

  absl::Status Send(std::span<const StageRows> rows) override {
    for (const StageRows &part : rows)
      if (absl::Status status = pipeline_->Send(part.at, part.bytes, pipeline_->rank() + 1); !status.ok())
        return status;
    return absl::OkStatus();
  }

private:
  const std::unique_ptr<Communicator> pipeline_;
};

} // namespace

std::unique_ptr<StageLink> MakeCpuStageLink(std::unique_ptr<Communicator> pipeline) {
  return std::make_unique<CpuStageLink>(std::move(pipeline));
}

} // namespace inlay
