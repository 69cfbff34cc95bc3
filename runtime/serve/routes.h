// The paths of the server. The table of handlers is in service.cpp.
#ifndef INLAY_RUNTIME_SERVE_ROUTES_H_
#define INLAY_RUNTIME_SERVE_ROUTES_H_

#include "runtime/serve/http_message.h"

#include <string_view>

namespace inlay::serve {

class Service;

constexpr std::string_view kModelPrefix = "/v1/models/"; // followed by the name of a model

struct Routes {
  struct Route {
    std::string_view method, path;
    Reply (*handle)(Service &service, const HttpRequest &request, Wake &wake);

    bool needs_key() const { return path != "/health" && path != "/ready"; }
    // Whether a thread of the service's work queue handles the request, because parsing its body takes time. Otherwise
    // an I/O thread handles it.
    bool is_slow() const { return method == "POST"; }
  };
  // The route of `path`. Null if there is none.
  static const Route *Find(std::string_view path);
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_ROUTES_H_
