#include "runtime/tools/bench_client.h"

#include "fmt/format.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <chrono>

namespace inlay::tools {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using net::ip::tcp;
using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr uint64_t kMaxAnswer = uint64_t{1} << 30;

double Seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

http::request<http::string_body> MakeRequest(const ServerAddress &address, http::verb verb, const std::string &path) {
  http::request<http::string_body> request(verb, path, 11);
  request.set(http::field::host, address.host);
  request.set(http::field::content_type, "application/json");
  request.set(http::field::connection, "close");
  if (!address.api_key.empty())
    request.set(http::field::authorization, "Bearer " + address.api_key);
  return request;
}

// Parses server-sent events from a growing stream.
class EventReader {
public:
  EventReader(RequestTimes &times, Clock::time_point sent) : times_(times), sent_(sent), last_(sent) {}

  void Read(std::string &body) {
    size_t end = 0;
    while ((end = body.find("\n\n")) != std::string::npos) {
      Take(std::string_view(body).substr(0, end));
      body.erase(0, end + 2);
    }
  }
  bool done() const { return done_; }

private:
  void Take(std::string_view event) {
    if (!event.starts_with("data: "))
      return;
    event.remove_prefix(6);
    Clock::time_point now = Clock::now();
    if (event == "[DONE]") {
      done_ = true;
      return;
    }
    ordered_json data = ordered_json::parse(event, nullptr, /*allow_exceptions=*/false);
    if (!data.is_object())
      times_.error = "an event of the stream is not a JSON object";
    else if (data.contains("error"))
      times_.error = data["error"].is_object() ? data["error"].value("message", "error") : "error";
    else
      TakeData(data, now);
  }
  void TakeData(const ordered_json &data, Clock::time_point now) {
    if (auto usage = data.find("usage"); usage != data.end() && usage->is_object()) {
      times_.input_len = usage->value("prompt_tokens", times_.input_len);
      times_.output_len = usage->value("completion_tokens", times_.output_len);
    }
    auto choices = data.find("choices");
    if (choices == data.end() || !choices->is_array() || choices->empty())
      return;
    const ordered_json &choice = choices->front();
    const ordered_json &holder = choice.contains("delta") ? choice["delta"] : choice;
    const char *field = choice.contains("delta") ? "content" : "text";
    if (auto text = holder.find(field); text != holder.end() && text->is_string())
      times_.text += text->get<std::string>();
    if (times_.ttft == 0)
      times_.ttft = Seconds(sent_, now);
    else
      times_.itl.push_back(Seconds(last_, now));
    last_ = now;
    times_.latency = Seconds(sent_, now);
  }

  RequestTimes &times_;
  Clock::time_point sent_, last_;
  bool done_ = false;
};

std::string MessageOf(const std::string &body, unsigned status) {
  ordered_json parsed = ordered_json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_object() && parsed.contains("error") && parsed["error"].is_object())
    return fmt::format("{}: {}", status, parsed["error"].value("message", ""));
  return fmt::format("{}: {}", status, body.substr(0, 200));
}

class Load {
public:
  Load(const ServerAddress &address, const std::vector<Job> &jobs, const std::vector<double> &arrivals)
      : address_(address), jobs_(jobs), arrivals_(arrivals) {}

  std::vector<RequestTimes> Run(int64_t max_concurrency, double &duration) {
    size_t workers =
        max_concurrency > 0 ? std::min<size_t>(static_cast<size_t>(max_concurrency), jobs_.size()) : jobs_.size();
    begin_ = Clock::now();
    for (size_t i = 0; i < workers; ++i)
      net::co_spawn(io_, Work(), net::detached);
    io_.run();
    duration = Seconds(begin_, Clock::now());
    return std::move(results_);
  }

private:
  net::awaitable<void> Work() {
    while (next_ < jobs_.size()) {
      size_t job = next_++;
      net::steady_timer timer(
          io_, begin_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(arrivals_[job])));
      error_code ignored;
      co_await timer.async_wait(net::redirect_error(net::use_awaitable, ignored));
      co_await Do(jobs_[job]);
    }
  }

  net::awaitable<void> Do(const Job &job) {
    if (job.turns.empty()) {
      results_.push_back(co_await Ask(BodyOf(job.prompt, job.output_len[0])));
      co_return;
    }
    std::string history;
    ordered_json messages = ordered_json::array();
    for (size_t turn = 0; turn < job.turns.size(); ++turn) {
      history += job.turns[turn];
      messages.push_back({{"role", "user"}, {"content", job.turns[turn]}});
      RequestTimes times =
          co_await Ask(BodyOf(address_.is_chat() ? messages : ordered_json(history), job.output_len[turn]));
      bool failed = !times.error.empty();
      history += times.text;
      messages.push_back({{"role", "assistant"}, {"content", times.text}});
      results_.push_back(std::move(times));
      if (failed)
        co_return;
    }
  }

  std::string BodyOf(const ordered_json &prompt, int64_t output_len) const {
    ordered_json body = {{"model", address_.model},  {address_.is_chat() ? "messages" : "prompt", prompt},
                         {"max_tokens", output_len}, {"temperature", address_.temperature},
                         {"stream", true},           {"stream_options", {{"include_usage", true}}}};
    if (address_.ignore_eos)
      body["ignore_eos"] = true;
    return body.dump(-1, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace);
  }

  net::awaitable<RequestTimes> Ask(std::string body) {
    RequestTimes times;
    Clock::time_point sent = Clock::now();
    times.start = Seconds(begin_, sent);
    error_code error;
    tcp::resolver resolver(io_);
    tcp::socket socket(io_);
    auto places =
        co_await resolver.async_resolve(address_.host, address_.port, net::redirect_error(net::use_awaitable, error));
    if (!error)
      co_await net::async_connect(socket, places, net::redirect_error(net::use_awaitable, error));
    http::request<http::string_body> request = MakeRequest(address_, http::verb::post, address_.endpoint);
    request.body() = std::move(body);
    request.prepare_payload();
    if (!error)
      socket.set_option(tcp::no_delay(true), error);
    if (!error)
      co_await http::async_write(socket, request, net::redirect_error(net::use_awaitable, error));
    boost::beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(kMaxAnswer);
    EventReader reader(times, sent);
    while (!error && !parser.is_done()) {
      co_await http::async_read_some(socket, buffer, parser, net::redirect_error(net::use_awaitable, error));
      if (!error && parser.is_header_done() && parser.get().result() == http::status::ok)
        reader.Read(parser.get().body());
    }
    if (error)
      times.error = error.message();
    else if (parser.get().result() != http::status::ok)
      times.error = MessageOf(parser.get().body(), parser.get().result_int());
    else if (times.error.empty() && !reader.done())
      times.error = "the stream ended without [DONE]";
    co_return times;
  }

  const ServerAddress &address_;
  const std::vector<Job> &jobs_;
  const std::vector<double> &arrivals_;
  net::io_context io_{1};
  Clock::time_point begin_;
  size_t next_ = 0;
  std::vector<RequestTimes> results_;
};

} // namespace

absl::Status ReadBaseUrl(const std::string &url, ServerAddress &address) {
  constexpr std::string_view kScheme = "http://";
  std::string_view rest = url;
  if (!rest.starts_with(kScheme))
    return absl::InvalidArgumentError(
        fmt::format("--base-url is '{}'; expected http://HOST:PORT (TLS is not supported)", url));
  rest.remove_prefix(kScheme.size());
  if (rest.ends_with('/'))
    rest.remove_suffix(1);
  size_t colon = rest.rfind(':');
  if (rest.empty() || rest.find('/') != std::string_view::npos)
    return absl::InvalidArgumentError(
        fmt::format("--base-url is '{}'; expected http://HOST:PORT; give the path with --endpoint", url));
  address.host = std::string(rest.substr(0, colon));
  address.port = colon == std::string_view::npos ? "80" : std::string(rest.substr(colon + 1));
  return absl::OkStatus();
}

absl::StatusOr<std::string> FindModel(const ServerAddress &address) {
  net::io_context io;
  error_code error;
  tcp::resolver resolver(io);
  tcp::socket socket(io);
  auto places = resolver.resolve(address.host, address.port, error);
  if (!error)
    net::connect(socket, places, error);
  if (error)
    return absl::InvalidArgumentError(
        fmt::format("http://{}:{}: {}; start a server, for example with serve-model BUNDLE, or give "
                    "--host and --port",
                    address.host, address.port, error.message()));
  http::write(socket, MakeRequest(address, http::verb::get, "/v1/models"), error);
  boost::beast::flat_buffer buffer;
  http::response<http::string_body> response;
  if (!error)
    http::read(socket, buffer, response, error);
  ordered_json body = ordered_json::parse(response.body(), nullptr, /*allow_exceptions=*/false);
  if (error || response.result() != http::status::ok || !body.is_object() || !body.contains("data") ||
      !body["data"].is_array() || body["data"].empty() || !body["data"][0].is_object())
    return absl::InvalidArgumentError(
        fmt::format("http://{}:{}/v1/models lists no model ({}); give --model", address.host, address.port,
                    error ? error.message() : MessageOf(response.body(), response.result_int())));
  return body["data"][0].value("id", "");
}

std::vector<RequestTimes> RunLoad(const ServerAddress &address, const std::vector<Job> &jobs,
                                  const std::vector<double> &arrivals, int64_t max_concurrency, double &duration) {
  return Load(address, jobs, arrivals).Run(max_concurrency, duration);
}

} // namespace inlay::tools
