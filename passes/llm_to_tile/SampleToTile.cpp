//===- SampleToTile.cpp - from logits to tokens ----------------------------===//
//
// A block, or on a GPU a cluster of them, is one row of logits. The filters are thresholds on the scaled logits
// z = (x - max) / temperature, found by bisection: top-k is the largest threshold that
// keeps at least k, top-p the largest that keeps a mass of at least p of what top-k
// kept, min-p is log(p) itself. No sort, no memory. Among what is kept, the largest of
// x / temperature + Gumbel noise is a sample of the softmax (Gumbel, 1954; Maddison et al., 2014).
// This score of a token does not depend on the other tokens: so several ranks, each with a
// part of the row, find the same token by comparing the best one of each.
//
//===----------------------------------------------------------------------===//

#include "passes/llm_to_tile/ProgramBuilder.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;
using tile::Provenance;
using tile::Reduction;

namespace {

/// The tokens that a row of logits has.
struct Part {
  int64_t columns;
  Value first, count; // the id of the first column, and how many columns are tokens, of i32; null: 0, and all
};

/// Loops over the vocabulary of one row, each block of the cluster over its share of whole tiles. What is carried is a
/// tile, combined over the block once at the end: within the loop no thread waits for another.
class VocabularyScan {
public:
  VocabularyScan(ProgramBuilder &b, Value logits, Value row, const Part &part)
      : b(b), logits(logits), row(row), part(part),
        step(std::min<int64_t>(b.getStep().isCpu() ? 64 : 4096, llvm::PowerOf2Ceil(part.columns))) {
    begin = b.index(0);
    end = b.index(part.columns);
    if (b.getStep().isCpu())
      return;
    rank = tile::ClusterRankOp::create(b, b.getIndexType());
    Value tilesAtOnce = arith::MulIOp::create(b, tile::ClusterSizeOp::create(b, b.getIndexType()), b.index(step));
    Value share = arith::MulIOp::create(b, arith::CeilDivSIOp::create(b, end, tilesAtOnce), b.index(step));
    begin = arith::MulIOp::create(b, rank, share);
    end = arith::MinSIOp::create(b, end, arith::AddIOp::create(b, begin, share));
  }

  /// Calls `body` with a tile of logits, their ids and which of them exist.
  SmallVector<Value> operator()(ValueRange init,
                                function_ref<SmallVector<Value>(Value x, Value ids, Value exists, ValueRange)> body) {
    return b.loop(begin, end, step, init, [&](Value at, ValueRange carried) {
      Value x = b.load(logits, ValueRange{row, at}, {1, step});
      Value columns = b.add(b.broadcast(b.iota(step), 0, 1), b.splat(b.toI32(at), {1, step}));
      Value ids = part.first ? b.add(columns, b.splat(part.first, {1, step})) : columns;
      Value count = part.count ? b.splat(part.count, {1, step}) : b.like(columns, part.columns);
      return body(x, ids, b.less(columns, count), carried);
    });
  }

  /// Combines what the blocks of the cluster found.
  Value combine(Reduction kind, Value value) {
    return rank ? tile::ClusterReduceOp::create(b, kind, value).getResult() : value;
  }

  /// Calls `write` in one of the blocks that share the row.
  void once(function_ref<void()> write) {
    if (!rank)
      return write();
    b.ifThen(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, rank, b.index(0)), write);
  }
  Value one(double value) { return b.full(b.tileType({1}, b.getF32Type()), value); }
  Value wide(Value vector) { return b.broadcast(vector, 1, step); }
  Value fill(Type type, double value) { return b.full(b.tileType({1, step}, type), value); }

private:
  ProgramBuilder &b;
  Value logits, row;
  Part part;
  int64_t step;
  Value rank, begin, end; // `rank`: the block's, where blocks share a row
};

} // namespace

static constexpr double lowest = -3.0e38;

/// The first largest of `score` over the vocabulary, as a tile<1xi32>.
static Value largest(ProgramBuilder &b, VocabularyScan &scan, function_ref<Value(Value x, Value ids)> score,
                     Value *maximum = nullptr) {
  SmallVector<Value> init{scan.fill(b.getF32Type(), lowest), scan.fill(b.getI32Type(), 0)};
  SmallVector<Value> best = scan(init, [&](Value x, Value ids, Value exists, ValueRange carried) {
    Value s = b.select(exists, score(x, ids), b.like(x, lowest));
    Value isBetter = b.less(carried[0], s);
    return SmallVector<Value>{b.select(isBetter, s, carried[0]), b.select(isBetter, ids, carried[1])};
  });
  Value top = scan.combine(Reduction::Max, b.reduce(Reduction::Max, best[0], 1));
  if (maximum)
    *maximum = top;
  Value none = b.like(best[1], std::numeric_limits<int32_t>::max());
  Value first = b.select(b.less(best[0], scan.wide(top)), none, best[1]);
  return scan.combine(Reduction::Min, b.reduce(Reduction::Min, first, 1));
}

/// The largest threshold in [low, 0] for which `measure` (of the kept logits) is still at least `wanted`.
static Value bisect(ProgramBuilder &b, VocabularyScan &scan, Value low, Value wanted,
                    function_ref<Value(Value threshold)> measure) {
  constexpr int64_t rounds = 32;
  SmallVector<Value> bounds = b.loop(b.index(0), b.index(rounds), 1, {low, scan.one(0.0)}, [&](Value, ValueRange c) {
    Value middle = b.mul(b.add(c[0], c[1]), scan.one(0.5));
    Value isEnough = b.lessEqual(wanted, measure(middle));
    return SmallVector<Value>{b.select(isEnough, middle, c[0]), b.select(isEnough, c[1], middle)};
  });
  return bounds[0];
}

/// Uniform numbers in (0, 1) from a key and a counter: two rounds of a 32-bit integer hash with full avalanche
/// (xorshift-multiply as in MurmurHash3's finaliser, Appleby, 2011). Of 23 bits, so that the middle between two of them
/// is exact in f32: with 24 the largest rounds to 1, whose noise is infinite and lets any token win.
static Value uniform(ProgramBuilder &b, Value key, Value counter) {
  auto mix = [&](Value h) {
    auto shiftXor = [&](Value x, int64_t bits) {
      return Value(arith::XOrIOp::create(b, x, arith::ShRUIOp::create(b, x, b.like(x, bits))));
    };
    h = b.mul(shiftXor(h, 16), b.like(h, static_cast<int32_t>(0x85ebca6b)));
    h = b.mul(shiftXor(h, 13), b.like(h, static_cast<int32_t>(0xc2b2ae35)));
    return shiftXor(h, 16);
  };
  Value golden = b.like(counter, static_cast<int32_t>(0x9e3779b9));
  Value h = mix(b.add(mix(b.add(counter, golden)), key));
  Value bits = b.toF32(arith::ShRUIOp::create(b, h, b.like(h, 9)));
  return b.mul(b.add(bits, b.like(bits, 0.5)), b.like(bits, 1.0 / 8388608.0));
}

/// A sampling parameter of each row of logits.
static Value parameter(ProgramBuilder &b, StringRef name, Type type) {
  return b.metadata(name, type, tile::Extent::LogitRows);
}
static Value readParameter(ProgramBuilder &b, StringRef name, Type type, Value row) {
  return b.load(parameter(b, name, type), ValueRange{row}, {1});
}

namespace {

/// The score of tokens at a temperature: logit / temperature + Gumbel noise.
class NoisyScore {
public:
  NoisyScore(ProgramBuilder &b, VocabularyScan &scan, Value row, Value inverseTemperature)
      : b(b), scan(scan), inverse(inverseTemperature) {
    Type i32 = b.getI32Type();
    Value seed = readParameter(b, "Seeds", i32, row);
    Value rowIndex = readParameter(b, "LogitRowIndices", i32, row);
    Value position = b.gather(b.metadata("Positions", i32, tile::Extent::Tokens), rowIndex);
    key = b.add(b.mul(seed, b.like(seed, 0x01000193)), position);
  }

  Value operator()(Value x, Value ids) {
    auto minusLog = [&](Value u) { return Value(arith::NegFOp::create(b, math::LogOp::create(b, u))); };
    Value gumbel = minusLog(minusLog(uniform(b, scan.wide(key), ids)));
    return b.add(b.mul(x, scan.wide(inverse)), gumbel);
  }

private:
  ProgramBuilder &b;
  VocabularyScan &scan;
  Value inverse, key;
};

} // namespace

/// Completes a program that has one row of logits for each block or cluster.
static tile::ProgramOp finishSample(ProgramBuilder &b) {
  tile::ProgramOp program = b.finish({ProgramBuilder::count(b.getContext(), tile::Extent::LogitRows)});
  if (!b.getStep().isCpu())
    program.setScheduleAttr(tile::FamilyAttr::get(b.getContext(), tile::Family::Sample));
  return program;
}

LogicalResult inlay::convertSample(GroupOp group, SampleOp op, ProgramBuilder &b, tile::ProgramOp &result) {
  int64_t vocabulary = cast<RankedTensorType>(op.getLogits().getType()).getDimSize(1);
  Type i32 = b.getI32Type(), f32 = b.getF32Type();
  Value logits = b.activation(op.getLogits(), Provenance::Activation);
  Value tokens = b.activation(group.getResult(0), Provenance::Output);
  Value row = tile::ProgramIdOp::create(b, b.getIndexType(), 0);
  auto read = [&](StringRef name, Type type) { return readParameter(b, name, type, row); };
  VocabularyScan scan(b, logits, row, {vocabulary, {}, {}});
  auto store = [&](Value token) { scan.once([&] { b.store(token, tokens, {row}); }); };

  Value top;
  Value greedy = largest(b, scan, [](Value x, Value) { return x; }, &top);
  Value temperature = tile::ReadOp::create(b, f32, parameter(b, "Temperature", f32), ValueRange{row});
  b.ifThen(
      b.less(b.full(f32, 0.0), temperature),
      [&] {
        Value inverse = b.div(scan.one(1.0), b.splat(temperature, {1}));
        auto scaled = [&](Value x) { return b.mul(b.sub(x, scan.wide(top)), scan.wide(inverse)); };
        // exp(-88) is the smallest normal float: nothing below counts.
        Value floor = scan.one(-88.0);
        auto measure = [&](Value threshold, bool mass) {
          Value sum = scan({scan.fill(f32, 0.0)}, [&](Value x, Value, Value exists, ValueRange carried) {
            Value z = scaled(x);
            Value kept = b.logicalAnd(exists, b.lessEqual(scan.wide(threshold), z));
            Value weight = mass ? Value(math::ExpOp::create(b, z)) : b.like(z, 1.0);
            return SmallVector<Value>{b.add(carried[0], b.select(kept, weight, b.like(z, 0.0)))};
          })[0];
          return scan.combine(Reduction::Add, b.reduce(Reduction::Add, sum, 1));
        };
        Value k = read("TopK", i32), p = read("TopP", f32), minP = read("MinP", f32);
        auto isOn = [&](Value condition) {
          // A condition of one element, as a scalar.
          return Value(tensor::ExtractOp::create(b, condition, ValueRange{b.index(0)}));
        };
        auto filtered = [&](Value condition, Value otherwise, function_ref<Value()> body) {
          auto choice = scf::IfOp::create(b, TypeRange{otherwise.getType()}, isOn(condition), true);
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(choice.thenBlock());
          scf::YieldOp::create(b, body());
          b.setInsertionPointToStart(choice.elseBlock());
          scf::YieldOp::create(b, otherwise);
          return choice.getResult(0);
        };
        Value unlimited = scan.one(lowest);
        Value byK = filtered(b.less(b.like(k, 0), k), unlimited, [&] {
          return bisect(b, scan, floor, b.toF32(k), [&](Value t) { return measure(t, false); });
        });
        Value byP = filtered(b.less(p, scan.one(1.0)), byK, [&] {
          Value wanted = b.mul(p, measure(byK, true));
          return bisect(b, scan, b.maximum(byK, floor), wanted, [&](Value t) { return measure(t, true); });
        });
        Value byMin = b.select(b.less(scan.one(0.0), minP), math::LogOp::create(b, b.maximum(minP, scan.one(1.0e-38))),
                               unlimited);
        Value threshold = b.maximum(byP, byMin);
        NoisyScore score(b, scan, row, inverse);
        Value sampled = largest(b, scan, [&](Value x, Value ids) {
          Value isKept = b.lessEqual(scan.wide(threshold), scaled(x));
          return b.select(isKept, score(x, ids), b.like(x, lowest));
        });
        store(sampled);
      },
      [&] { store(greedy); });
  result = finishSample(b);
  return success();
}

LogicalResult inlay::convertSampleCandidate(GroupOp group, SampleCandidateOp op, ProgramBuilder &b,
                                            tile::ProgramOp &result) {
  int64_t columns = cast<RankedTensorType>(op.getLogits().getType()).getDimSize(1);
  Type i32 = b.getI32Type(), f32 = b.getF32Type();
  Value logits = b.activation(op.getLogits(), Provenance::Activation);
  Value candidates = b.activation(group.getResult(0), Provenance::Output);
  Value ranks =
      b.view({1}, i32, Provenance::Meta, std::nullopt, tile::MemoryAttr::get(b.getContext(), tile::MemoryKind::Rank));
  Value row = tile::ProgramIdOp::create(b, b.getIndexType(), 0);
  Value rank = tile::ReadOp::create(b, i32, ranks, ValueRange{b.index(0)});
  Value first = b.mul(rank, b.i32(static_cast<int32_t>(columns)));
  Value count = b.sub(b.i32(static_cast<int32_t>(op.getVocabulary())), first);
  VocabularyScan scan(b, logits, row, {columns, first, b.minimum(count, b.i32(static_cast<int32_t>(columns)))});
  auto best = [&](function_ref<Value(Value x, Value ids)> score) {
    Value top;
    Value token = largest(b, scan, score, &top);
    scan.once([&] {
      for (auto [column, value] : llvm::enumerate(std::array{top, b.toF32(token)}))
        b.store(b.broadcast(value, 1, 1), candidates, {row, b.index(static_cast<int64_t>(column))});
    });
  };
  Value temperature = tile::ReadOp::create(b, f32, parameter(b, "Temperature", f32), ValueRange{row});
  b.ifThen(
      b.less(b.full(f32, 0.0), temperature),
      [&] { best(NoisyScore(b, scan, row, b.div(scan.one(1.0), b.splat(temperature, {1})))); },
      [&] { best([](Value x, Value) { return x; }); });
  result = finishSample(b);
  return success();
}

LogicalResult inlay::convertSampleMerge(GroupOp group, SampleMergeOp op, ProgramBuilder &b, tile::ProgramOp &result) {
  int64_t columns = cast<RankedTensorType>(op.getCandidates().getType()).getDimSize(1);
  Value candidates = b.activation(op.getCandidates(), Provenance::Activation);
  Value tokens = b.activation(group.getResult(0), Provenance::Output);
  Value row = tile::ProgramIdOp::create(b, b.getIndexType(), 0);
  auto load = [&](int64_t column) { return b.load(candidates, {row, b.index(column)}, {1, 1}); };
  Value score = load(0), token = load(1);
  // Later ranks have later tokens: of equal scores the first one stays.
  for (int64_t column = 2; column < columns; column += 2) {
    Value other = load(column);
    Value isBetter = b.less(score, other);
    token = b.select(isBetter, load(column + 1), token);
    score = b.select(isBetter, other, score);
  }
  Value id = arith::FPToSIOp::create(b, b.tileType({1}, b.getI32Type()), b.reduce(Reduction::Max, token, 1));
  b.store(id, tokens, {row});
  result = b.finish({ProgramBuilder::count(b.getContext(), tile::Extent::LogitRows)});
  return success();
}

tile::ProgramOp inlay::buildPenalties(Value logitsValue, ProgramBuilder &b) {
  constexpr int64_t entries = 64;
  int64_t vocabulary = cast<RankedTensorType>(logitsValue.getType()).getDimSize(1);
  Type i32 = b.getI32Type(), f32 = b.getF32Type();
  Value at = arith::MulIOp::create(b, tile::ProgramIdOp::create(b, b.getIndexType(), 0), b.index(entries));
  auto read = [&](StringRef name) {
    return b.load(b.metadata(name, i32, tile::Extent::PenaltyEntries), ValueRange{at}, {entries});
  };
  Value row = read("PenaltyRows"), token = read("PenaltyTokens"), count = read("PenaltyCounts");
  auto ofRow = [&](StringRef name) { return b.gather(b.metadata(name, f32, tile::Extent::LogitRows), row); };
  Value repetition = ofRow("RepetitionPenalty"), presence = ofRow("PresencePenalty"),
        frequency = ofRow("FrequencyPenalty");
  Value logits = b.view({ShapedType::kDynamic}, f32, Provenance::State, std::nullopt,
                        tile::MemoryAttr::get(b.getContext(), tile::MemoryKind::Logits),
                        /*packing=*/"", ProgramBuilder::count(b.getContext(), tile::Extent::LogitRows, 1, vocabulary));
  Value id = b.add(b.iota(entries), b.splat(b.toI32(at), {entries}));
  Value size = b.toI32(tile::ExtentOp::create(b, b.getIndexType(), tile::Extent::PenaltyEntries));
  Value exists = b.less(id, b.splat(size, {entries}));
  Value index = b.select(exists, b.add(b.mul(row, b.like(row, vocabulary)), token), b.like(row, -1));
  Value x = b.gather(logits, index);
  // Keskar et al., 2019: positive logits are divided, negative ones multiplied.
  x = b.select(b.less(b.like(x, 0.0), x), b.div(x, repetition), b.mul(x, repetition));
  Value generated = b.less(b.like(count, 0), count);
  Value cost = b.add(presence, b.mul(frequency, b.toF32(count)));
  x = b.select(generated, b.sub(x, cost), x);
  b.scatter(x, logits, index);
  return b.finish({ProgramBuilder::count(b.getContext(), tile::Extent::PenaltyEntries, entries)});
}
