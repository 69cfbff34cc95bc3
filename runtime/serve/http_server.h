// HTTP over sockets: accepts connections, reads requests within limits and sends the responses of a service.
#ifndef INLAY_RUNTIME_SERVE_HTTP_SERVER_H_
#define INLAY_RUNTIME_SERVE_HTTP_SERVER_H_

#include "absl/status/statusor.h"
#include "runtime/serve/service.h"

#include <cstdint>
#include <memory>
#include <string>

namespace inlay::serve {

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;                   // 0: any free one
  std::string certificate_file, key_file; // PEM; empty: no TLS
  int threads = 0;                        // that read, parse and answer; 0: by the number of cores
};

class HttpServer {
public:
  // Binds the port. `service` must outlive the server.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Listen(Service &service, const ServerOptions &options);
  virtual ~HttpServer() = default;
  virtual uint16_t port() const = 0;
  // Serves until SIGTERM or SIGINT. Then nobody is accepted any more, idle connections are closed, and running requests
  // have Limits::shutdown_time to end; a second signal ends them at once.
  virtual void Run() = 0;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_HTTP_SERVER_H_
