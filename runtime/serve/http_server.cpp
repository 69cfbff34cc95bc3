#include "runtime/serve/http_server.h"

#include "fmt/format.h"
#include "runtime/serve/connection.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/strand.hpp>

#include <algorithm>
#include <csignal>
#include <list>
#include <mutex>
#include <optional>
#include <thread>

namespace inlay::serve {
namespace {

using net::ip::tcp;

constexpr std::string_view kTooMany =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    "Content-Length: 152\r\n\r\n"
    R"({"error":{"message":"too many connections (--max-connections); try again later","type":"service_unavailable_error","param":null,"code":"overloaded"}})";

class HttpServerImpl : public HttpServer {
public:
  HttpServerImpl(Service &service, const ServerOptions &options)
      : service_(service), threads_(options.threads), io_(), acceptor_(net::make_strand(io_)),
        signals_(acceptor_.get_executor()), end_(acceptor_.get_executor()) {
    if (threads_ <= 0)
      threads_ = std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 8, 2, 8);
  }

  absl::Status Open(const ServerOptions &options) {
    if (options.certificate_file.empty() != options.key_file.empty())
      return absl::InvalidArgumentError(
          "--ssl-certfile and --ssl-keyfile must be given together; add the missing one or remove the other");
    if (!options.certificate_file.empty())
      if (absl::Status status = LoadCertificate(options); !status.ok())
        return status;
    error_code error;
    net::ip::address address = net::ip::make_address(options.host == "localhost" ? "127.0.0.1" : options.host, error);
    if (error)
      return absl::InvalidArgumentError(
          fmt::format("--host is '{}', expected an IP address such as 127.0.0.1, 0.0.0.0 or ::1", options.host));
    tcp::endpoint endpoint(address, options.port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error)
      acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error)
      acceptor_.bind(endpoint, error);
    if (!error)
      acceptor_.listen(net::socket_base::max_listen_connections, error);
    if (error)
      return absl::InvalidArgumentError(fmt::format("cannot listen on {}:{}: {}; choose another --host or --port",
                                                    options.host, options.port, error.message()));
    return absl::OkStatus();
  }

  uint16_t port() const override { return acceptor_.local_endpoint().port(); }

  void Run() override {
    std::signal(SIGPIPE, SIG_IGN);
    signals_.add(SIGTERM);
    signals_.add(SIGINT);
    WaitForSignal();
    net::co_spawn(acceptor_.get_executor(), Accept(), net::detached);
    std::vector<std::thread> others;
    for (int i = 1; i < threads_; ++i)
      others.emplace_back([this] { io_.run(); });
    io_.run();
    for (std::thread &thread : others)
      thread.join();
  }

private:
  absl::Status LoadCertificate(const ServerOptions &options) {
    tls_.emplace(net::ssl::context::tls_server);
    error_code error;
    tls_->set_options(net::ssl::context::default_workarounds | net::ssl::context::no_sslv2 |
                      net::ssl::context::no_sslv3 | net::ssl::context::no_tlsv1 | net::ssl::context::no_tlsv1_1);
    tls_->use_certificate_chain_file(options.certificate_file, error);
    if (error)
      return absl::InvalidArgumentError(fmt::format("--ssl-certfile: {} cannot be read as PEM certificates: {}",
                                                    options.certificate_file, error.message()));
    tls_->use_private_key_file(options.key_file, net::ssl::context::pem, error);
    if (error)
      return absl::InvalidArgumentError(fmt::format("--ssl-keyfile: {} cannot be read as the certificate's PEM key: {}",
                                                    options.key_file, error.message()));
    return absl::OkStatus();
  }

  net::awaitable<void> Accept() {
    while (acceptor_.is_open()) {
      error_code error;
      tcp::socket socket =
          co_await acceptor_.async_accept(net::make_strand(io_), net::redirect_error(net::use_awaitable, error));
      if (!acceptor_.is_open())
        co_return;
      if (error) {
        // The process is out of file descriptors, or the client has already disconnected.
        net::steady_timer pause(acceptor_.get_executor(), std::chrono::milliseconds(50));
        co_await pause.async_wait(net::redirect_error(net::use_awaitable, error));
      } else if (tls_) {
        Begin<TlsStream>(TlsStream(std::move(socket), *tls_));
      } else {
        Begin<PlainStream>(std::move(socket));
      }
    }
  }

  template <class Stream> void Begin(Stream stream) {
    std::list<std::weak_ptr<ConnectionBase>>::iterator place;
    auto executor = stream.get_executor();
    std::shared_ptr<Connection<Stream>> connection;
    {
      std::lock_guard lock(mutex_);
      if (connections_.size() < static_cast<size_t>(service_.limits().connections)) {
        connection = std::make_shared<Connection<Stream>>(std::move(stream), service_);
        place = connections_.insert(connections_.end(), connection);
      }
    }
    if (!connection)
      return TurnAway(stream);
    net::co_spawn(
        executor, [connection] { return connection->Run(); },
        [this, place](std::exception_ptr) {
          std::lock_guard lock(mutex_);
          connections_.erase(place);
          if (draining_ && connections_.empty())
            net::post(acceptor_.get_executor(), [this] { Stop(); });
        });
  }

  template <class Stream> void TurnAway(Stream &stream) {
    service_.metrics().CountRefusedConnection();
    if constexpr (std::is_same_v<Stream, PlainStream>) {
      error_code ignored;
      stream.non_blocking(true, ignored);
      stream.write_some(net::buffer(kTooMany), ignored);
      stream.shutdown(tcp::socket::shutdown_send, ignored);
    }
  }

  void WaitForSignal() {
    signals_.async_wait([this](error_code error, int) {
      if (error)
        return;
      if (draining_)
        return AbortAll();
      WaitForSignal();
      Drain();
    });
  }

  void Drain() {
    service_.Drain();
    error_code ignored;
    acceptor_.close(ignored);
    end_.expires_after(service_.limits().shutdown_time);
    end_.async_wait([this](error_code error) {
      if (!error)
        AbortAll();
    });
    std::lock_guard lock(mutex_);
    draining_ = true;
    for (auto &weak : connections_)
      if (std::shared_ptr<ConnectionBase> connection = weak.lock())
        connection->Drain();
    if (connections_.empty())
      Stop();
  }

  void AbortAll() {
    std::lock_guard lock(mutex_);
    for (auto &weak : connections_)
      if (std::shared_ptr<ConnectionBase> connection = weak.lock())
        connection->Abort();
  }

  // Cancels the last two pending operations, so that io_context::run() returns and Run() ends.
  void Stop() {
    signals_.cancel();
    end_.cancel();
  }

  Service &service_;
  int threads_;
  std::optional<net::ssl::context> tls_;
  net::io_context io_;
  tcp::acceptor acceptor_;
  net::signal_set signals_;
  net::steady_timer end_;
  std::mutex mutex_; // guards connections_
  std::list<std::weak_ptr<ConnectionBase>> connections_;
  std::atomic<bool> draining_{false};
};

} // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Listen(Service &service, const ServerOptions &options) {
  auto server = std::make_unique<HttpServerImpl>(service, options);
  if (absl::Status status = server->Open(options); !status.ok())
    return status;
  return std::unique_ptr<HttpServer>(std::move(server));
}

} // namespace inlay::serve
