// The gradient of one block from the moments of its places (kernels.md, section 2, step 4).
#pragma once

#include "cpu/levels/piecewise_linear.hpp"
#include "cpu/levels/widening.inl"

namespace pn::cpu {
namespace {

// With the prefix sums G_m over places < m, moments over the places where both unit j of layer 1 and unit k of layer 2
// are active are
//   D_kj = sum over k's ranges [a, b) of G_min(max(e_j, a), b) - G_a      if j falls at its edge e_j (or is on, off),
//   D_k,end - D_kj                                                        if it rises there.
// From these (P1, P0)_kj:  M_kj = w1_j P1 + b1_j P0,  dW2_kj = w3_k M_kj,  dw3_k = sum_j W2_kj M_kj + b2_k P0_k,
// db2_k = w3_k P0_k,  dw1_j = sum_k w3_k W2_kj P1_kj,  db1_j likewise with P0.
template <class T>
class GradientOfBlock {
 public:
  GradientOfBlock(const BlockWeights<T>& block, const Pieces& pieces, double* moment, double* scratch,
                  const BlockGradient<T>& gradient)
      : block_(block),
        pieces_(pieces),
        sum_(moment),
        gradient_(gradient),
        width_(block.width),
        padded_(padded_units(block.width)) {
    for (double** array : {&edge_, &rises_, &sum1_, &sum0_, &w1_, &b1_, &prefix1_, &prefix0_, &on_w_, &dw1_, &db1_,
                           &full1_, &full0_, &full_m_}) {
      *array = scratch;
      scratch += padded_;
    }
  }
  static constexpr int kRows = 14;  // of scratch

  void run() {
    sum_places();
    prepare_units();
    if (block_.hidden_layers == 1) {
      one_layer();
      return;
    }
    for (std::int64_t k = 0; k < width_; ++k) row(k);
    for (std::int64_t j = 0; j < padded_; j += kDoubles) {
      const Vec<double> on = load(on_w_ + j);
      narrow_up_to(gradient_.w1 + j, load(dw1_ + j) + on * load(full1_ + j), width_ - j);
      narrow_up_to(gradient_.b1 + j, load(db1_ + j) + on * load(full0_ + j), width_ - j);
    }
  }

 private:
  struct Both {
    Vec<double> first, zeroth;
  };

  // sum_: (places + 1, 2) becomes the prefix sums.
  void sum_places() {
    double sum1 = 0.0, sum0 = 0.0;
    for (std::int64_t m = 0; m < places(pieces_); ++m) {
      const double m1 = sum_[2 * m], m0 = sum_[2 * m + 1];
      sum_[2 * m] = sum1;
      sum_[2 * m + 1] = sum0;
      sum1 += m1;
      sum0 += m0;
    }
    sum_[2 * places(pieces_)] = total1_ = sum1;
    sum_[2 * places(pieces_) + 1] = total0_ = sum0;
  }

  void prepare_units() {
    for (std::int64_t j = 0; j < width_; ++j) {
      const std::int64_t edge = pieces_.edge[j];
      edge_[j] = static_cast<double>(edge);
      rises_[j] = static_cast<double>(pieces_.rises[j]);
      sum1_[j] = sum_[2 * edge];
      sum0_[j] = sum_[2 * edge + 1];
    }
    for (std::int64_t j = width_; j < padded_; ++j) edge_[j] = rises_[j] = sum1_[j] = sum0_[j] = 0.0;
    for (std::int64_t j = 0; j < padded_; j += kDoubles) {
      const Vec<double> w1 = widen_up_to(block_.w1 + j, width_ - j), b1 = widen_up_to(block_.b1 + j, width_ - j);
      const Both full = moments_of(j, load(sum1_ + j), load(sum0_ + j), total1_, total0_);
      store(w1_ + j, w1);
      store(b1_ + j, b1);
      store(full1_ + j, full.first);
      store(full0_ + j, full.zeroth);
      store(full_m_ + j, w1 * full.first + b1 * full.zeroth);
      for (double* sum : {on_w_, dw1_, db1_}) store(sum + j, Vec<double>{});
    }
  }

  // Of units j ..: the prefix's moments where they fall, the rest's where they rise.
  Both moments_of(std::int64_t j, Vec<double> prefix1, Vec<double> prefix0, double all1, double all0) const {
    const auto rises = load(rises_ + j) > 0.0;
    return {rises ? all1 - prefix1 : prefix1, rises ? all0 - prefix0 : prefix0};
  }

  // f = sum_j w2_j relu(w1_j x + b1_j).
  void one_layer() {
    for (std::int64_t j = 0; j < padded_; j += kDoubles) {
      const Vec<double> w = widen_up_to(block_.w3 + j, width_ - j);
      narrow_up_to(gradient_.w3 + j, load(full_m_ + j), width_ - j);
      narrow_up_to(gradient_.w1 + j, w * load(full1_ + j), width_ - j);
      narrow_up_to(gradient_.b1 + j, w * load(full0_ + j), width_ - j);
    }
  }

  void row(std::int64_t k) {
    const std::int32_t first = pieces_.first_range[k];
    if (first < 0) {
      zero_row(gradient_.w2 + k * width_);
      gradient_.b2[k] = gradient_.w3[k] = T(0);
      return;
    }
    const OnRange& range = pieces_.range[first];
    if (range.first == 0 && range.end == places(pieces_)) {
      row_on(k);
    } else {
      row_mixed(k);
    }
  }

  void zero_row(T* row) const {
    std::int64_t j = 0;
    for (; j + kLanes<T> <= width_; j += kLanes<T>) store(row + j, Vec<T>{});
    store_some(row + j, Vec<T>{}, width_ - j);
  }

  // A unit that is active on all places: P_kj is the same for all of these.
  void row_on(std::int64_t k) {
    const auto w3 = static_cast<double>(block_.w3[k]);
    Vec<double> dot{};
    for (std::int64_t j = 0; j < padded_; j += kDoubles) {
      const Vec<double> m = load(full_m_ + j);
      const Vec<double> w2 = widen_up_to(block_.w2 + k * width_ + j, width_ - j);
      dot += w2 * m;
      store(on_w_ + j, load(on_w_ + j) + w2 * w3);
      narrow_up_to(gradient_.w2 + k * width_ + j, m * w3, width_ - j);
    }
    finish_row(k, lane_sum<double>(dot), total0_);
  }

  void row_mixed(std::int64_t k) {
    double all1 = 0.0, all0 = 0.0;
    for (std::int64_t j = 0; j < padded_; ++j) prefix1_[j] = prefix0_[j] = 0.0;
    for (std::int32_t r = pieces_.first_range[k]; r >= 0; r = pieces_.range[r].next)
      add_range(pieces_.range[r], all1, all0);
    const auto w3 = static_cast<double>(block_.w3[k]);
    Vec<double> dot{};
    for (std::int64_t j = 0; j < padded_; j += kDoubles) {
      const Both p = moments_of(j, load(prefix1_ + j), load(prefix0_ + j), all1, all0);
      const Vec<double> m = load(w1_ + j) * p.first + load(b1_ + j) * p.zeroth;
      const Vec<double> w2 = widen_up_to(block_.w2 + k * width_ + j, width_ - j);
      dot += w2 * m;
      const Vec<double> w32 = w2 * w3;
      store(dw1_ + j, load(dw1_ + j) + w32 * p.first);
      store(db1_ + j, load(db1_ + j) + w32 * p.zeroth);
      narrow_up_to(gradient_.w2 + k * width_ + j, m * w3, width_ - j);
    }
    finish_row(k, lane_sum<double>(dot), all0);
  }

  void add_range(const OnRange& range, double& all1, double& all0) {
    const double a1 = sum_[2 * range.first], a0 = sum_[2 * range.first + 1];
    const double whole1 = sum_[2 * range.end] - a1, whole0 = sum_[2 * range.end + 1] - a0;
    const auto a = static_cast<double>(range.first), b = static_cast<double>(range.end);
    for (std::int64_t j = 0; j < padded_; j += kDoubles) {
      const Vec<double> edge = load(edge_ + j), zero{};
      const auto begun = edge > a, passed = edge >= b;
      const Vec<double> part1 = passed ? zero + whole1 : load(sum1_ + j) - a1;
      const Vec<double> part0 = passed ? zero + whole0 : load(sum0_ + j) - a0;
      store(prefix1_ + j, load(prefix1_ + j) + (begun ? part1 : zero));
      store(prefix0_ + j, load(prefix0_ + j) + (begun ? part0 : zero));
    }
    all1 += whole1;
    all0 += whole0;
  }

  void finish_row(std::int64_t k, double dot, double all0) {
    gradient_.w3[k] = static_cast<T>(dot + static_cast<double>(block_.b2[k]) * all0);
    gradient_.b2[k] = static_cast<T>(static_cast<double>(block_.w3[k]) * all0);
  }

  const BlockWeights<T>& block_;
  const Pieces& pieces_;
  double* sum_;  // (places + 1, 2)
  const BlockGradient<T>& gradient_;
  const std::int64_t width_, padded_;
  double total1_ = 0.0, total0_ = 0.0;
  // Of units of layer 1, (padded,) each: edges, prefix sums there, weights, prefix sums of a unit of layer 2, and
  // gradients.
  double *edge_, *rises_, *sum1_, *sum0_, *w1_, *b1_, *prefix1_, *prefix0_, *on_w_, *dw1_, *db1_;
  double *full1_, *full0_, *full_m_;  // P1, P0 and M of a unit of layer 2 that is active everywhere
};

template <class T>
void block_gradient(const BlockWeights<T>& block, const Pieces& pieces, double* moment, double* scratch,
                    const BlockGradient<T>& gradient) {
  GradientOfBlock<T>(block, pieces, moment, scratch, gradient).run();
}

}  // namespace
}  // namespace pn::cpu
