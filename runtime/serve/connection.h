// One connection: request after request, each answered in its turn. A template over plain and TLS streams.
#ifndef INLAY_RUNTIME_SERVE_CONNECTION_H_
#define INLAY_RUNTIME_SERVE_CONNECTION_H_

#include "fmt/format.h"
#include "runtime/serve/service.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <atomic>
#include <memory>
#include <string>

namespace inlay::serve {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using PlainStream = net::ip::tcp::socket;
using TlsStream = net::ssl::stream<net::ip::tcp::socket>;

// What the server does to all connections.
class ConnectionBase {
public:
  virtual ~ConnectionBase() = default;
  virtual void Drain() = 0; // close when nothing is being answered
  virtual void Abort() = 0; // close now
};

// Lets other threads wake a coroutine. All but Notify belongs to the connection's strand.
class Signal : public std::enable_shared_from_this<Signal> {
public:
  explicit Signal(net::any_io_executor executor) : timer_(executor) {}

  // From any thread.
  void Notify() {
    if (!posted_.exchange(true))
      net::post(timer_.get_executor(), [self = shared_from_this()] {
        self->posted_ = false;
        self->Set();
      });
  }
  void Set() {
    is_set_ = true;
    timer_.cancel();
  }
  // Until it is set or the time is over; false if it was not set.
  net::awaitable<bool> Wait(std::chrono::steady_clock::duration time) {
    if (!is_set_) {
      error_code ignored;
      timer_.expires_after(time);
      co_await timer_.async_wait(net::redirect_error(net::use_awaitable, ignored));
    }
    co_return std::exchange(is_set_, false);
  }

private:
  net::steady_timer timer_;
  bool is_set_ = false;
  std::atomic<bool> posted_{false};
};

template <class Stream>
class Connection : public ConnectionBase, public std::enable_shared_from_this<Connection<Stream>> {
public:
  Connection(Stream stream, Service &service)
      : stream_(std::move(stream)), service_(service), limits_(service.limits()), deadline_(stream_.get_executor()),
        signal_(std::make_shared<Signal>(stream_.get_executor())) {
    service_.metrics().CountConnection(1);
  }
  ~Connection() override { service_.metrics().CountConnection(-1); }

  net::awaitable<void> Run() {
    if (co_await Handshake())
      while (co_await AnswerOne() && co_await WaitForNext()) {
      }
    error_code ignored;
    socket().close(ignored);
  }
  void Drain() override {
    net::post(stream_.get_executor(), [self = this->shared_from_this()] {
      self->draining_ = true;
      self->signal_->Set();
    });
  }
  void Abort() override {
    net::post(stream_.get_executor(), [self = this->shared_from_this()] {
      error_code ignored;
      self->ended_ = true;
      self->socket().close(ignored);
      self->signal_->Set();
    });
  }

private:
  static constexpr bool kIsTls = std::is_same_v<Stream, TlsStream>;
  using Parser = http::request_parser<http::string_body>;

  net::ip::tcp::socket &socket() {
    if constexpr (kIsTls)
      return stream_.next_layer();
    else
      return stream_;
  }

  // What reads or writes after `time` is broken off with operation_aborted.
  void SetDeadline(std::chrono::steady_clock::duration time) {
    timed_out_ = false;
    deadline_.expires_after(time);
    deadline_.async_wait([self = this->shared_from_this(), epoch = ++deadline_epoch_](error_code error) {
      if (error || epoch != self->deadline_epoch_)
        return;
      self->timed_out_ = true;
      self->socket().cancel(error);
    });
  }
  void ClearDeadline() {
    ++deadline_epoch_;
    deadline_.cancel();
  }

  net::awaitable<bool> Handshake() {
    error_code error;
    socket().set_option(net::ip::tcp::no_delay(true), error);
    if constexpr (kIsTls) {
      SetDeadline(limits_.header_time);
      co_await stream_.async_handshake(net::ssl::stream_base::server, net::redirect_error(net::use_awaitable, error));
      ClearDeadline();
      co_return !error;
    }
    co_return true;
  }

  // Reads a request and answers it. False if the connection is not to be used again.
  net::awaitable<bool> AnswerOne() {
    is_head_ = false;
    Parser parser;
    parser.header_limit(limits_.header_bytes);
    parser.body_limit(limits_.body_bytes);
    error_code error;
    SetDeadline(limits_.header_time);
    co_await http::async_read_header(stream_, buffer_, parser, net::redirect_error(net::use_awaitable, error));
    ClearDeadline();
    if (error)
      co_return co_await RefuseUnreadable(error, parser);
    HttpRequest request = HeadOf(parser);
    is_head_ = request.method == "HEAD";
    version_ = parser.get().version();
    keep_alive_ = parser.keep_alive() && !draining_;
    if (parser.get().version() == 11 && parser.get().find(http::field::host) == parser.get().end())
      co_return co_await Refuse(ToAnswer({.message = "the header has no Host"}), request);
    if (std::optional<Answer> refusal = service_.Refusal(request))
      co_return co_await (parser.is_done() ? Send(*std::move(refusal), request) : Refuse(*std::move(refusal), request));
    if (!parser.is_done()) {
      SetDeadline(limits_.body_time);
      if (parser.get()[http::field::expect] == "100-continue")
        co_await net::async_write(stream_, net::buffer(kContinue), net::redirect_error(net::use_awaitable, error));
      if (!error)
        co_await http::async_read(stream_, buffer_, parser, net::redirect_error(net::use_awaitable, error));
      ClearDeadline();
      if (error)
        co_return co_await RefuseUnreadable(error, parser);
    }
    request.body = std::move(parser.get().body());
    Reply reply = service_.Handle(request, [signal = signal_] { signal->Notify(); });
    if (!reply.pending)
      co_return co_await Send(std::move(reply.answer), request);
    StartWatching();
    bool reusable = co_await SendPending(*reply.pending, request);
    // Ends the sequences before the next request comes.
    reply.pending.reset();
    co_return reusable;
  }

  static HttpRequest HeadOf(const Parser &parser) {
    const auto &head = parser.get();
    HttpRequest request;
    request.method = std::string(head.method_string());
    request.path = std::string(head.target().substr(0, head.target().find('?')));
    request.content_type = std::string(head[http::field::content_type]);
    request.authorization = std::string(head[http::field::authorization]);
    for (char &c : request.content_type)
      c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return request;
  }

  net::awaitable<bool> RefuseUnreadable(error_code error, const Parser &parser) {
    ApiError refusal{.status = 400, .code = "invalid_http"};
    if (timed_out_)
      refusal = {.status = 408, .message = "the request did not come in time; send it at once", .code = "timeout"};
    else if (error == http::error::header_limit)
      refusal = {.status = 431,
                 .message = fmt::format("the header is larger than {} bytes", limits_.header_bytes),
                 .code = "header_too_large"};
    else if (error == http::error::body_limit)
      refusal = {.status = 413,
                 .message = fmt::format("the body is larger than {} bytes (--max-body-bytes)", limits_.body_bytes),
                 .code = "body_too_large"};
    else if (error == http::error::end_of_stream ||
             error.category() != http::make_error_code(http::error::bad_method).category())
      co_return false; // the client went away
    else
      refusal.message = fmt::format("the request is not valid HTTP: {}", error.message());
    co_return co_await Refuse(ToAnswer(refusal), HeadOf(parser));
  }

  // Answers a request that was not read to its end, and closes. What still comes is read for a moment: a socket that is
  // closed with unread bytes would take the answer back.
  net::awaitable<bool> Refuse(Answer answer, const HttpRequest &request) {
    keep_alive_ = false;
    co_await Send(std::move(answer), request);
    error_code error;
    SetDeadline(std::chrono::seconds(1));
    if constexpr (!kIsTls)
      socket().shutdown(net::ip::tcp::socket::shutdown_send, error);
    for (uint64_t dropped = 0; !error && dropped < kLingerBytes;) {
      buffer_.clear();
      dropped +=
          co_await stream_.async_read_some(buffer_.prepare(4096), net::redirect_error(net::use_awaitable, error));
    }
    ClearDeadline();
    co_return false;
  }

  template <class Body> void SetHead(http::response<Body> &response, const Answer &answer) const {
    response.set(http::field::server, "inlay");
    response.set(http::field::content_type, answer.content_type);
    for (const auto &[name, value] : answer.headers)
      response.set(name, value);
    response.keep_alive(keep_alive_);
  }

  void Count(const HttpRequest &request, int status) const {
    service_.metrics().CountAnswer(Service::IsKnownPath(request.path) ? request.path : "other", status);
  }

  net::awaitable<bool> Send(Answer answer, const HttpRequest &request) {
    Count(request, answer.status);
    error_code error;
    SetDeadline(limits_.write_time);
    if (is_head_) {
      http::response<http::empty_body> response(static_cast<http::status>(answer.status), version_);
      SetHead(response, answer);
      response.content_length(answer.body.size());
      co_await http::async_write(stream_, response, net::redirect_error(net::use_awaitable, error));
    } else {
      http::response<http::string_body> response(static_cast<http::status>(answer.status), version_);
      SetHead(response, answer);
      response.body() = std::move(answer.body);
      response.prepare_payload();
      co_await http::async_write(stream_, response, net::redirect_error(net::use_awaitable, error));
    }
    ClearDeadline();
    co_return !error && keep_alive_ && !ended_;
  }

  // While an answer is made nobody reads, so a client that goes away would not be noticed. One read waits for that;
  // what it finds instead is the beginning of the next request.
  void StartWatching() {
    if (watching_ || buffer_.size() > 0)
      return;
    watching_ = true;
    net::co_spawn(stream_.get_executor(), [self = this->shared_from_this()] { return self->Watch(); }, net::detached);
  }
  net::awaitable<void> Watch() {
    error_code error;
    size_t size =
        co_await stream_.async_read_some(buffer_.prepare(4096), net::redirect_error(net::use_awaitable, error));
    // A write that took too long breaks off this read too.
    buffer_.commit(size);
    ended_ |= static_cast<bool>(error);
    watching_ = false;
    signal_->Set();
  }

  net::awaitable<bool> SendPending(PendingReply &reply, const HttpRequest &request) {
    bool has_head = false;
    while (!ended_) {
      PendingReply::Part part = reply.Take();
      if (part.answer)
        co_return co_await Send(*std::move(part.answer), request);
      if (!part.data.empty()) {
        if (!std::exchange(has_head, true) && !co_await SendStreamHead(request))
          co_return false;
        if (!co_await SendStreamPart(std::move(part.data), part.done))
          co_return false;
      }
      if (part.done)
        co_return keep_alive_ && !ended_;
      if (part.data.empty())
        co_await signal_->Wait(std::chrono::seconds(1));
    }
    Count(request, kClientClosed);
    co_return false;
  }

  net::awaitable<bool> SendStreamHead(const HttpRequest &request) {
    Count(request, 200);
    bool is_chunked = version_ == 11;
    keep_alive_ &= is_chunked; // the end of the connection is the end of the stream
    http::response<http::empty_body> response(http::status::ok, version_);
    SetHead(response, {.content_type = "text/event-stream; charset=utf-8", .headers = {{"Cache-Control", "no-cache"}}});
    if (is_chunked)
      response.chunked(true);
    http::response_serializer<http::empty_body> serializer(response);
    error_code error;
    SetDeadline(limits_.write_time);
    co_await http::async_write_header(stream_, serializer, net::redirect_error(net::use_awaitable, error));
    ClearDeadline();
    co_return !error;
  }

  net::awaitable<bool> SendStreamPart(std::string data, bool is_last) {
    if (version_ == 11)
      data = fmt::format("{:x}\r\n{}\r\n{}", data.size(), data, is_last ? "0\r\n\r\n" : "");
    error_code error;
    SetDeadline(limits_.write_time);
    co_await net::async_write(stream_, net::buffer(data), net::redirect_error(net::use_awaitable, error));
    ClearDeadline();
    co_return !error;
  }

  // Until the next request begins.
  net::awaitable<bool> WaitForNext() {
    StartWatching();
    auto end = std::chrono::steady_clock::now() + limits_.keep_alive_time;
    while (watching_ && !draining_ && std::chrono::steady_clock::now() < end)
      co_await signal_->Wait(end - std::chrono::steady_clock::now());
    co_return !watching_ && !ended_;
  }

  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  static constexpr uint64_t kLingerBytes = 16u << 20;
  static constexpr int kClientClosed = 499;

  Stream stream_;
  Service &service_;
  const Limits &limits_;
  boost::beast::flat_buffer buffer_;
  net::steady_timer deadline_;
  uint64_t deadline_epoch_ = 0;
  std::shared_ptr<Signal> signal_;
  unsigned version_ = 11;
  bool timed_out_ = false, is_head_ = false, keep_alive_ = true;
  bool watching_ = false, ended_ = false, draining_ = false;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_CONNECTION_H_
