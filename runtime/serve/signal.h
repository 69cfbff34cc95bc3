// Lets coroutines of a connection wait for a wake-up from another thread, with a deadline.
#ifndef INLAY_RUNTIME_SERVE_SIGNAL_H_
#define INLAY_RUNTIME_SERVE_SIGNAL_H_

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace inlay::serve {

namespace net = boost::asio;
using boost::system::error_code;

// Lets other threads wake a coroutine. All functions except Notify must be called on the connection's strand.
class Signal : public std::enable_shared_from_this<Signal> {
public:
  explicit Signal(net::any_io_executor executor) : timer_(executor) {}

  // May be called from any thread.
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
  // Waits until the signal is set or `time` has passed. Returns whether it was set, and resets it.
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

// Calls an action after a timeout unless Clear() is called first. Must be used on the connection's strand.
class Deadline {
public:
  explicit Deadline(net::any_io_executor executor) : timer_(executor) {}

  // `owner` keeps the object that contains the deadline alive until the action was called or cancelled.
  void Set(std::chrono::steady_clock::duration time, std::shared_ptr<void> owner, std::function<void()> action) {
    is_over_ = false;
    timer_.expires_after(time);
    timer_.async_wait([this, owner = std::move(owner), action = std::move(action), epoch = ++epoch_](error_code error) {
      if (error || epoch != epoch_)
        return;
      is_over_ = true;
      action();
    });
  }
  void Clear() {
    ++epoch_;
    timer_.cancel();
  }
  // Whether the last timeout has expired.
  bool is_over() const { return is_over_; }

private:
  net::steady_timer timer_;
  uint64_t epoch_ = 0;
  bool is_over_ = false;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_SIGNAL_H_
