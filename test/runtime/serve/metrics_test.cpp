#include "runtime/serve/metrics.h"

#include "gtest/gtest.h"

using namespace inlay;

namespace {

TEST(HistogramTest, BoundsAreInclusive) {
  Histogram histogram = MakeHistogram({1, 10});
  for (double value : {0.5, 1.0, 1.5, 10.0, 11.0})
    Observe(histogram, value);
  Observe(histogram, 2, 3);
  EXPECT_EQ(histogram.counts, (std::vector<int64_t>{2, 5, 1}));
  EXPECT_EQ(histogram.count, 8);
  EXPECT_DOUBLE_EQ(histogram.sum, 30);
}

TEST(MetricsTest, BucketsAreCumulativeAndNamesAreEscaped) {
  serve::Metrics metrics("a\"b\\c\nd");
  metrics.ObserveRequest(1);
  metrics.ObserveRequest(3);
  metrics.ObserveRequest(100);
  metrics.CountAnswer("/health", 200);
  std::string text = metrics.Text({});
  const std::string labels = R"(engine="0",model_name="a\"b\\c\nd")";
  for (const std::string &line :
       {"inlay:request_params_n_bucket{le=\"1\"," + labels + "} 1\n",
        "inlay:request_params_n_bucket{le=\"5\"," + labels + "} 2\n",
        "inlay:request_params_n_bucket{le=\"+Inf\"," + labels + "} 3\n",
        "inlay:request_params_n_sum{" + labels + "} 104\n", "inlay:request_params_n_count{" + labels + "} 3\n",
        std::string("inlay:http_requests_total{handler=\"/health\",status=\"200\"} 1\n")})
    EXPECT_NE(text.find(line), std::string::npos) << line;
}

} // namespace
