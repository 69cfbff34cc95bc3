#include "runtime/tools/bench_load.h"

#include "fmt/format.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

namespace inlay::tools {
namespace {

using nlohmann::ordered_json;

class Draw {
public:
  explicit Draw(const Dataset &dataset) : dataset_(dataset), random_(dataset.seed) {}

  int64_t Length(int64_t length) {
    auto low = static_cast<int64_t>(std::floor(static_cast<double>(length) * (1 - dataset_.range_ratio)));
    auto high = static_cast<int64_t>(std::ceil(static_cast<double>(length) * (1 + dataset_.range_ratio)));
    return std::uniform_int_distribution<int64_t>(std::max<int64_t>(low, 1), std::max<int64_t>(high, 1))(random_);
  }
  std::vector<int32_t> Ids(int64_t count) {
    std::uniform_int_distribution<int32_t> id(0, dataset_.vocab_size - 1);
    std::vector<int32_t> ids(static_cast<size_t>(count));
    for (int32_t &one : ids)
      one = id(random_);
    return ids;
  }
  // Returns common words of about one token each.
  std::string Words(int64_t count) {
    static constexpr const char *kWords[] = {"time", "year", "people", "way",   "day",   "man",   "thing", "world",
                                             "life", "hand", "part",   "child", "eye",   "woman", "place", "work",
                                             "week", "case", "point",  "home",  "water", "room",  "area",  "money"};
    std::uniform_int_distribution<size_t> word(0, std::size(kWords) - 1);
    std::string text;
    for (int64_t i = 0; i < count; ++i)
      (text += ' ') += kWords[word(random_)];
    return text;
  }

private:
  const Dataset &dataset_;
  std::mt19937_64 random_;
};

double Mean(const std::vector<double> &values) {
  return values.empty() ? 0 : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double Deviation(const std::vector<double> &values) {
  double mean = Mean(values), sum = 0;
  for (double value : values)
    sum += (value - mean) * (value - mean);
  return values.empty() ? 0 : std::sqrt(sum / static_cast<double>(values.size()));
}

// "p99", "p99.9".
std::string NameOf(double percentile) { return fmt::format("p{}", percentile); }

double TimePerOutputToken(const RequestTimes &request) {
  return request.output_len > 1 ? (request.latency - request.ttft) / static_cast<double>(request.output_len - 1) : 0;
}

bool IsGood(const RequestTimes &request, const std::map<std::string, double> &limits) {
  std::map<std::string, double> times = {
      {"ttft", request.ttft}, {"tpot", TimePerOutputToken(request)}, {"e2el", request.latency}};
  return std::all_of(limits.begin(), limits.end(),
                     [&](const auto &limit) { return times[limit.first] * 1e3 <= limit.second; });
}

} // namespace

std::vector<Job> MakeJobs(const Dataset &dataset) {
  Draw draw(dataset);
  std::vector<Job> jobs;
  if (dataset.name == "multi_turn") {
    int64_t conversations = (dataset.num_prompts + dataset.turns - 1) / dataset.turns;
    for (int64_t i = 0; i < conversations; ++i) {
      Job &job = jobs.emplace_back();
      for (int64_t turn = 0; turn < dataset.turns; ++turn) {
        job.turns.push_back(draw.Words(draw.Length(dataset.input_len)));
        job.output_len.push_back(draw.Length(dataset.output_len));
      }
    }
    return jobs;
  }
  std::vector<std::vector<int32_t>> prefixes;
  for (int64_t i = 0; i < std::max<int64_t>(dataset.num_prefixes, 1); ++i)
    prefixes.push_back(draw.Ids(dataset.prefix_len));
  for (int64_t i = 0; i < dataset.num_prompts; ++i) {
    Job &job = jobs.emplace_back();
    job.prompt = prefixes[static_cast<size_t>(i) % prefixes.size()];
    std::vector<int32_t> own = draw.Ids(draw.Length(dataset.input_len));
    job.prompt.insert(job.prompt.end(), own.begin(), own.end());
    job.output_len.push_back(draw.Length(dataset.output_len));
  }
  return jobs;
}

std::vector<double> MakeArrivals(size_t jobs, double request_rate, double burstiness, uint64_t seed) {
  std::vector<double> arrivals(jobs, 0.0);
  if (std::isinf(request_rate))
    return arrivals;
  std::mt19937_64 random(seed + 1);
  // A gamma distribution has the mean shape * scale, so the mean gap is 1 / request_rate for any burstiness.
  std::gamma_distribution<double> gap(burstiness, 1 / (request_rate * burstiness));
  for (size_t i = 1; i < jobs; ++i)
    arrivals[i] = arrivals[i - 1] + gap(random);
  return arrivals;
}

absl::StatusOr<std::map<std::string, double>> ParseGoodput(const std::vector<std::string> &limits) {
  std::map<std::string, double> parsed;
  for (const std::string &limit : limits) {
    size_t colon = limit.find(':');
    std::string name = limit.substr(0, colon);
    double value = -1;
    if (colon != std::string::npos)
      std::from_chars(limit.data() + colon + 1, limit.data() + limit.size(), value);
    if ((name != "ttft" && name != "tpot" && name != "e2el") || !(value >= 0))
      return absl::InvalidArgumentError(
          fmt::format("--goodput: found '{}'; expected ttft:MS, tpot:MS or e2el:MS, for example ttft:500", limit));
    parsed[name] = value;
  }
  return parsed;
}

double Percentile(std::vector<double> values, double p) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  double place = p / 100 * static_cast<double>(values.size() - 1);
  auto below = static_cast<size_t>(place);
  size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (place - static_cast<double>(below));
}

ordered_json Summarize(const std::vector<RequestTimes> &requests, double duration, const Setting &setting,
                       const std::map<std::string, double> &goodput, const std::vector<double> &percentiles) {
  std::vector<double> ttft, tpot, itl, e2el;
  int64_t completed = 0, good = 0, input = 0, output = 0;
  std::map<std::string, int64_t> errors;
  for (const RequestTimes &request : requests) {
    if (!request.error.empty()) {
      ++errors[request.error];
      continue;
    }
    ++completed;
    good += IsGood(request, goodput);
    input += request.input_len;
    output += request.output_len;
    ttft.push_back(request.ttft);
    if (request.output_len > 1)
      tpot.push_back(TimePerOutputToken(request));
    itl.insert(itl.end(), request.itl.begin(), request.itl.end());
    e2el.push_back(request.latency);
  }
  auto rate = [&](int64_t count) { return duration > 0 ? static_cast<double>(count) / duration : 0; };
  ordered_json result = {
      {"num_prompts", requests.size()},
      {"request_rate", std::isinf(setting.request_rate) ? ordered_json("inf") : ordered_json(setting.request_rate)},
      {"burstiness", setting.burstiness},
      {"max_concurrency", setting.max_concurrency > 0 ? ordered_json(setting.max_concurrency) : ordered_json()},
      {"duration", duration},
      {"completed", completed},
      {"failed", static_cast<int64_t>(requests.size()) - completed},
      {"total_input_tokens", input},
      {"total_output_tokens", output},
      {"request_throughput", rate(completed)},
      {"request_goodput", goodput.empty() ? ordered_json() : ordered_json(rate(good))},
      {"output_throughput", rate(output)},
      {"total_token_throughput", rate(input + output)}};
  const std::pair<const char *, const std::vector<double> *> metrics[] = {
      {"ttft", &ttft}, {"tpot", &tpot}, {"itl", &itl}, {"e2el", &e2el}};
  for (const auto &[name, values] : metrics) {
    result[fmt::format("mean_{}_ms", name)] = Mean(*values) * 1e3;
    result[fmt::format("median_{}_ms", name)] = Percentile(*values, 50) * 1e3;
    result[fmt::format("std_{}_ms", name)] = Deviation(*values) * 1e3;
    for (double p : percentiles)
      result[fmt::format("{}_{}_ms", NameOf(p), name)] = Percentile(*values, p) * 1e3;
  }
  if (!errors.empty())
    result["errors"] = errors;
  return result;
}

ordered_json Details(const std::vector<RequestTimes> &requests) {
  ordered_json details;
  for (const RequestTimes &request : requests) {
    details["input_lens"].push_back(request.input_len);
    details["output_lens"].push_back(request.output_len);
    details["ttfts"].push_back(request.ttft);
    details["itls"].push_back(ordered_json(request.itl));
    details["start_times"].push_back(request.start);
    details["generated_texts"].push_back(request.text);
    details["errors"].push_back(request.error);
  }
  return details;
}

std::string ToTable(const ordered_json &result, const std::vector<double> &percentiles) {
  std::string out = fmt::format("{:=^50}\n", " Serving Benchmark Result ");
  auto line = [&](const char *name, const char *key) {
    const ordered_json &value = result[key];
    if (value.is_null())
      return;
    std::string text = value.is_number_float() ? fmt::format("{:.2f}", value.get<double>())
                       : value.is_string()     ? value.get<std::string>()
                                               : value.dump();
    out += fmt::format("{:<40} {:<10}\n", name, text);
  };
  line("Successful requests:", "completed");
  line("Failed requests:", "failed");
  line("Maximum request concurrency:", "max_concurrency");
  line("Request rate configured (RPS):", "request_rate");
  line("Benchmark duration (s):", "duration");
  line("Total input tokens:", "total_input_tokens");
  line("Total generated tokens:", "total_output_tokens");
  line("Request throughput (req/s):", "request_throughput");
  line("Request goodput (req/s):", "request_goodput");
  line("Output token throughput (tok/s):", "output_throughput");
  line("Total token throughput (tok/s):", "total_token_throughput");
  constexpr const char *kMetrics[][3] = {{"ttft", "TTFT", "Time to First Token"},
                                         {"tpot", "TPOT", "Time per Output Token (excl. 1st token)"},
                                         {"itl", "ITL", "Inter-token Latency"},
                                         {"e2el", "E2EL", "End-to-end Latency"}};
  for (const auto &[key, name, title] : kMetrics) {
    out += fmt::format("{:-^50}\n", title);
    std::vector<std::pair<std::string, std::string>> rows = {{"Mean", "mean"}, {"Median", "median"}};
    for (double p : percentiles)
      rows.emplace_back(fmt::format("P{}", p), NameOf(p));
    for (const auto &[label, prefix] : rows)
      line(fmt::format("{} {} (ms):", label, name).c_str(), fmt::format("{}_{}_ms", prefix, key).c_str());
  }
  return out + std::string(50, '=') + "\n";
}

} // namespace inlay::tools
