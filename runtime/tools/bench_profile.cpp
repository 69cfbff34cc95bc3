#include "runtime/tools/bench_profile.h"

#include "fmt/format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <set>

namespace inlay::tools {
namespace {

using nlohmann::ordered_json;

// Maximum launches in a step that are not in the plan. With more, the records are not those of a step.
constexpr size_t kMaxForeign = 16;

double Amount(const std::map<std::string, double> &amounts, const StepShape &shape, double window) {
  double visible = window > 0 ? std::min(window, shape.context) : shape.context, total = 0;
  // Row i of a prompt attends to the i positions before it (a triangle); with a window, to the last `window` of them.
  double rows = shape.sequences > 0 ? shape.tokens / shape.sequences : 0;
  double pairs =
      shape.is_prompt ? shape.sequences * (rows * visible - visible * (visible - 1) / 2) : shape.tokens * visible;
  for (const auto &[unit, amount] : amounts) {
    double times = unit == "fixed"        ? 1
                   : unit == "tokens"     ? shape.tokens
                   : unit == "sequences"  ? shape.sequences
                   : unit == "logit_rows" ? shape.logit_rows
                   : unit == "context"    ? shape.sequences * (shape.is_prompt ? shape.context : visible)
                   : unit == "pairs"      ? pairs
                                          : 0;
    total += amount * times;
  }
  return total;
}

// "layers.3.mlp" as "layers.*.mlp", so that a kernel's launches in all layers have one origin.
std::string WithoutNumbers(const std::string &origin) {
  std::string text;
  for (size_t i = 0; i < origin.size(); ++i) {
    bool is_digit = std::isdigit(static_cast<unsigned char>(origin[i])) != 0;
    if (is_digit && i > 0 && origin[i - 1] == '.') {
      while (i < origin.size() && std::isdigit(static_cast<unsigned char>(origin[i])))
        ++i;
      bool is_whole = i == origin.size() || origin[i] == '.';
      text += is_whole ? "*" : origin.substr(origin.rfind('.', i) + 1, i - origin.rfind('.', i) - 1);
      if (i == origin.size())
        break;
    }
    text += origin[i];
  }
  return text;
}

double Rate(double amount, double us) { return us > 0 ? amount / us * 1e6 : 0; }

} // namespace

std::map<std::string, KernelTraffic> TrafficOf(const nlohmann::json &manifest, const std::string &target) {
  std::map<std::string, KernelTraffic> result;
  auto amounts = [](const nlohmann::json &traffic, const char *key) {
    std::map<std::string, double> values;
    if (traffic.contains(key) && traffic[key].is_object())
      for (const auto &[unit, amount] : traffic[key].items())
        if (amount.is_number())
          values[unit] = amount.get<double>();
    return values;
  };
  if (!manifest.is_object() || !manifest.contains("kernels") || !manifest["kernels"].is_object() ||
      !manifest["kernels"].contains(target) || !manifest["kernels"][target].is_array())
    return result;
  for (const nlohmann::json &kernel : manifest["kernels"][target]) {
    if (!kernel.is_object() || !kernel.contains("name") || !kernel["name"].is_string() || !kernel.contains("traffic") ||
        !kernel["traffic"].is_object())
      continue;
    const nlohmann::json &traffic = kernel["traffic"];
    KernelTraffic &entry = result[kernel["name"].get<std::string>()];
    entry = {amounts(traffic, "reads"), amounts(traffic, "writes"), amounts(traffic, "flops"), 0};
    if (traffic.contains("window") && traffic["window"].is_number())
      entry.window = traffic["window"].get<double>();
  }
  return result;
}

double BytesOf(const KernelTraffic &traffic, const StepShape &shape) {
  return Amount(traffic.reads, shape, traffic.window) + Amount(traffic.writes, shape, traffic.window);
}

double FlopsOf(const KernelTraffic &traffic, const StepShape &shape) {
  return Amount(traffic.flops, shape, traffic.window);
}

absl::StatusOr<std::vector<KernelRecord>> RecordsOfRank(std::vector<KernelRecord> records, uint32_t rank,
                                                        uint32_t ranks, std::span<const int32_t> gpus) {
  std::set<uint32_t> devices;
  for (const KernelRecord &record : records)
    devices.insert(record.device);
  if (devices.empty())
    return records;
  if (devices.size() != ranks || rank >= ranks)
    return absl::FailedPreconditionError(fmt::format(
        "--profile-rank {}: kernels of {} devices were traced, expected those of {} ranks, each on a device "
        "of its own",
        rank, devices.size(), ranks));
  const uint32_t wanted = gpus.empty() ? *std::next(devices.begin(), rank) : static_cast<uint32_t>(gpus[rank]);
  std::erase_if(records, [&](const KernelRecord &record) { return record.device != wanted; });
  return records;
}

std::vector<KernelRecord> NameByPlan(std::vector<KernelRecord> records, std::span<const PlannedLaunch> planned) {
  if (std::none_of(planned.begin(), planned.end(), [](const PlannedLaunch &launch) { return launch.is_library; }))
    return records;
  std::map<std::string, std::vector<size_t>> places;
  for (size_t i = 0; i < planned.size(); ++i)
    if (!planned[i].is_library)
      places[planned[i].kernel].push_back(i);
  size_t next = 0; // index in the plan after the previous record
  for (KernelRecord &record : records) {
    auto known = places.find(record.name);
    if (known != places.end()) {
      // Takes the nearest launch, because neighbours may start in the reverse order.
      auto distance = [&](size_t place) { return place < next ? next - place : place - next; };
      next = 1 + *std::min_element(known->second.begin(), known->second.end(),
                                   [&](size_t a, size_t b) { return distance(a) < distance(b); });
    } else if (next < planned.size() && planned[next].is_library) {
      record.name = planned[next++].kernel;
    }
  }
  return records;
}

std::vector<StepRange> FindSteps(std::span<const KernelRecord> records, std::span<const PlannedLaunch> planned) {
  std::vector<StepRange> steps;
  if (planned.empty())
    return steps;
  const std::string &start = planned.front().kernel;
  std::map<std::string, size_t> wanted;
  for (const PlannedLaunch &launch : planned)
    ++wanted[launch.kernel];
  for (size_t first = 0; first < records.size(); ++first) {
    if (records[first].name != start)
      continue;
    // Compares counts, not the order: overlapping kernels may have the same start or, due to the clock's resolution,
    // the reverse order.
    std::map<std::string, size_t> found;
    size_t matched = 0, foreign = 0, complete = 0, at = first;
    for (; at < records.size() && foreign <= kMaxForeign; ++at) {
      if (matched == planned.size() && records[at].name == start)
        break;
      auto known = wanted.find(records[at].name);
      if (known == wanted.end() || ++found[records[at].name] > known->second)
        ++foreign;
      else if (++matched == planned.size())
        complete = at + 1;
    }
    if (matched < planned.size())
      continue;
    // Kernels of the runtime after the last planned launch belong to the step too, if another step follows.
    bool follows = at < records.size() && foreign <= kMaxForeign;
    steps.push_back({first, follows ? at : complete});
    first = steps.back().end - 1;
  }
  return steps;
}

StepProfile Summarize(std::span<const KernelRecord> records, std::span<const StepRange> steps,
                      std::span<const PlannedLaunch> planned, const std::map<std::string, KernelTraffic> &traffic,
                      const StepShape &shape) {
  StepProfile profile;
  profile.steps = static_cast<int>(steps.size());
  if (steps.empty())
    return profile;
  std::map<std::string, std::string> origins;
  struct Amounts {
    double launches = 0, bytes = 0, flops = 0;
  };
  std::map<std::string, Amounts> amounts; // of the planned launches of a kernel
  for (const PlannedLaunch &launch : planned) {
    if (auto known = traffic.find(launch.kernel); known != traffic.end()) {
      StepShape part = shape;
      part.tokens *= launch.rows;
      Amounts &sum = amounts[launch.kernel];
      sum.launches += 1;
      sum.bytes += BytesOf(known->second, part);
      sum.flops += FlopsOf(known->second, part);
    }
    std::string &origin = origins[launch.kernel], one = WithoutNumbers(launch.origin);
    if (("; " + origin + "; ").find("; " + one + "; ") == std::string::npos)
      origin += (origin.empty() ? "" : "; ") + one;
  }
  std::map<std::string, size_t> places;
  double count = profile.steps, between = 0;
  int neighbours = 0;
  uint64_t last_end = 0;
  for (size_t s = 0; s < steps.size(); ++s) {
    uint64_t ended = records[steps[s].first].start_ns; // the latest end so far
    if (s > 0 && steps[s - 1].end == steps[s].first) {
      between += (static_cast<double>(ended) - static_cast<double>(last_end)) / 1e3;
      ++neighbours;
      // With consecutive graphs, the first kernel of a step may overlap the last kernel of the previous step.
      ended = std::max(ended, last_end);
    }
    for (size_t i = steps[s].first; i < steps[s].end; ++i) {
      const KernelRecord &record = records[i];
      auto [place, is_new] = places.try_emplace(record.name, profile.rows.size());
      if (is_new) {
        auto origin = origins.find(record.name);
        profile.rows.push_back({record.name, origin == origins.end() ? "of the runtime" : origin->second});
      }
      KernelRow &row = profile.rows[place->second];
      uint64_t from = std::max(record.start_ns, ended), until = std::max(record.end_ns, ended);
      row.launches += 1 / count;
      row.us += static_cast<double>(until - std::min(from, until)) / 1e3 / count;
      if (record.start_ns > ended)
        row.gap_us += static_cast<double>(record.start_ns - ended) / 1e3 / count;
      else if (i > steps[s].first)
        row.overlap_us += static_cast<double>(std::min(ended, record.end_ns) - record.start_ns) / 1e3 / count;
      ended = until;
    }
    last_end = ended;
  }
  for (KernelRow &row : profile.rows) {
    if (auto known = amounts.find(row.kernel); known != amounts.end()) {
      row.bytes = known->second.bytes / known->second.launches * row.launches;
      row.flops = known->second.flops / known->second.launches * row.launches;
    }
    profile.kernels_us += row.us;
    profile.gaps_us += row.gap_us;
    profile.bytes += row.bytes;
  }
  // Negative if the first kernel of the next step starts before this step ends.
  profile.between_us = neighbours > 0 ? std::max(0.0, between / neighbours) : 0;
  return profile;
}

std::string ProfileTable(const StepProfile &profile, double read, double untraced_ms) {
  size_t width = 6;
  for (const KernelRow &row : profile.rows)
    width = std::max(width, row.kernel.size());
  bool has_flops = std::any_of(profile.rows.begin(), profile.rows.end(),
                               [&](const KernelRow &row) { return Rate(row.flops, row.us) > 100e12; });
  auto line = [&](const std::string &name, const std::string &launches, const std::string &us, const std::string &share,
                  const std::string &each, const std::string &gap, const std::string &overlap, const std::string &bytes,
                  const std::string &speed, const std::string &of_read, const std::string &flops,
                  const std::string &origin) {
    std::string text = fmt::format("{:<{}}  {:>8}  {:>9}  {:>5}  {:>9}  {:>7}  {:>7}  {:>9}  {:>6}  {:>6}", name, width,
                                   launches, us, share, each, gap, overlap, bytes, speed, of_read);
    if (has_flops)
      text += fmt::format("  {:>7}", flops);
    text += "  " + origin;
    return text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
  };
  double step_us = profile.step_us();
  auto share = [&](double us) { return step_us > 0 ? fmt::format("{:.1f}", us / step_us * 100) : std::string(); };
  auto megabytes = [](double bytes) { return bytes > 0 ? fmt::format("{:.3f}", bytes / 1e6) : std::string(); };
  bool is_gpu = read >= 1e12;
  auto speed = [&](double bytes, double us) {
    return bytes > 0 ? fmt::format("{:.3f}", Rate(bytes, us) / (is_gpu ? 1e12 : 1e9)) : std::string();
  };
  auto of_read = [&](double bytes, double us) {
    return bytes > 0 && read > 0 ? fmt::format("{:.1f}", Rate(bytes, us) / read * 100) : std::string();
  };
  std::string text = line("kernel", "launches", "us", "%", "us/launch", "gap", "overlap", "MB",
                          is_gpu ? "TB/s" : "GB/s", "% read", "TFLOP/s", "origin");
  for (const KernelRow &row : profile.rows)
    text += line(row.kernel, fmt::format("{:g}", row.launches), fmt::format("{:.2f}", row.us), share(row.us),
                 fmt::format("{:.2f}", row.us / row.launches), fmt::format("{:.2f}", row.gap_us / row.launches),
                 fmt::format("{:.2f}", row.overlap_us / row.launches), megabytes(row.bytes), speed(row.bytes, row.us),
                 of_read(row.bytes, row.us), row.flops > 0 ? fmt::format("{:.1f}", Rate(row.flops, row.us) / 1e12) : "",
                 row.origin);
  auto sum = [&](const char *name, double us, double bytes, const std::string &note) {
    text += line(name, "", fmt::format("{:.2f}", us), share(us), "", "", "", megabytes(bytes), speed(bytes, us),
                 of_read(bytes, us), "", note);
  };
  sum("kernels", profile.kernels_us, profile.bytes, "");
  sum("gaps", profile.gaps_us, 0, "nothing runs inside a step");
  sum("between", profile.between_us, 0, "from a step's last kernel to the next one's first");
  sum("step", step_us, profile.bytes, fmt::format("mean of {} traced", profile.steps));
  if (untraced_ms > 0)
    text += line("untraced", "", fmt::format("{:.2f}", untraced_ms * 1e3), "", "", "", "", megabytes(profile.bytes),
                 speed(profile.bytes, untraced_ms * 1e3), of_read(profile.bytes, untraced_ms * 1e3), "",
                 "median step without the trace");
  return text;
}

ordered_json ProfileJson(const StepProfile &profile, double read, double untraced_ms) {
  ordered_json rows = ordered_json::array();
  for (const KernelRow &row : profile.rows)
    rows.push_back({{"kernel", row.kernel},
                    {"origin", row.origin},
                    {"launches", row.launches},
                    {"us", row.us},
                    {"gap_us", row.gap_us},
                    {"overlap_us", row.overlap_us},
                    {"bytes", row.bytes},
                    {"flops", row.flops},
                    {"bytes_per_s", Rate(row.bytes, row.us)},
                    {"share_of_read", read > 0 ? Rate(row.bytes, row.us) / read : 0}});
  return {{"kernels", rows},
          {"steps", profile.steps},
          {"kernels_us", profile.kernels_us},
          {"gaps_us", profile.gaps_us},
          {"between_us", profile.between_us},
          {"step_us", profile.step_us()},
          {"bytes", profile.bytes},
          {"untraced_step_us", untraced_ms * 1e3},
          {"share_of_read", read > 0 && untraced_ms > 0 ? Rate(profile.bytes, untraced_ms * 1e3) / read : 0}};
}

ordered_json ChromeTrace(std::span<const KernelRecord> records, std::span<const StepRange> steps,
                         std::span<const PlannedLaunch> planned, const std::string &device) {
  ordered_json events = ordered_json::array();
  auto named = [&](const char *what, int thread, const std::string &name) {
    events.push_back({{"name", what}, {"ph", "M"}, {"pid", 0}, {"tid", thread}, {"args", {{"name", name}}}});
  };
  named("process_name", 0, device);
  std::vector<uint64_t> lanes; // when each track is free
  uint64_t origin = steps.empty() ? 0 : records[steps.front().first].start_ns;
  for (size_t s = 0; s < steps.size(); ++s) {
    std::map<std::string, std::vector<const std::string *>> origins; // remaining origins, last one first
    for (auto launch = planned.rbegin(); launch != planned.rend(); ++launch)
      origins[launch->kernel].push_back(&launch->origin);
    uint64_t end = 0;
    for (size_t i = steps[s].first; i < steps[s].end; ++i) {
      const KernelRecord &record = records[i];
      size_t lane = 0;
      while (lane < lanes.size() && lanes[lane] > record.start_ns)
        ++lane;
      if (lane == lanes.size()) {
        lanes.push_back(0);
        named("thread_name", static_cast<int>(lane) + 1, lane == 0 ? "kernels" : "kernels that overlap");
      }
      lanes[lane] = record.end_ns;
      end = std::max(end, record.end_ns);
      ordered_json arguments = {{"grid", record.grid}, {"block", record.block}};
      if (auto known = origins.find(record.name); known != origins.end() && !known->second.empty()) {
        arguments["origin"] = *known->second.back();
        known->second.pop_back();
      }
      events.push_back({{"name", record.name},
                        {"cat", "kernel"},
                        {"ph", "X"},
                        {"ts", static_cast<double>(record.start_ns - origin) / 1e3},
                        {"dur", static_cast<double>(record.end_ns - record.start_ns) / 1e3},
                        {"pid", 0},
                        {"tid", lane + 1},
                        {"args", arguments}});
    }
    uint64_t start = records[steps[s].first].start_ns;
    events.push_back({{"name", fmt::format("step {}", s)},
                      {"cat", "step"},
                      {"ph", "X"},
                      {"ts", static_cast<double>(start - origin) / 1e3},
                      {"dur", static_cast<double>(end - start) / 1e3},
                      {"pid", 0},
                      {"tid", 0}});
  }
  named("thread_name", 0, "steps");
  return {{"displayTimeUnit", "ns"}, {"traceEvents", events}};
}

} // namespace inlay::tools
