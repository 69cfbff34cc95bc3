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
  uint16_t port = 8000;                   // 0: any free port
  std::string certificate_file, key_file; // PEM; empty: no TLS
  int threads = 0;                        // I/O threads; 0: chosen by the number of cores
};

class HttpServer {
public:
  // Binds the port. `service` must outlive the server.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Listen(Service &service, const ServerOptions &options);
  virtual ~HttpServer() = default;
  virtual uint16_t port() const = 0;
  // Serves until SIGTERM or SIGINT. Then new connections are refused, idle ones are closed, and running requests may
  // continue for Limits::shutdown_time. A second signal aborts them at once.
  virtual void Run() = 0;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_HTTP_SERVER_H_
