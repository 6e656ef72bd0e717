#include "cpu/block_kernel.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/buffer.hpp"
#include "cpu/levels/table.hpp"
#include "cpu/residual.hpp"

namespace pn::cpu {
namespace {

// Blocks of a shared network are joined to this many teams, each with a gradient of its own; a fixed number, so that
// sums don't depend on the number of threads.
constexpr std::int64_t kSharedTeams = 8;

// A tile of rows goes through all blocks before the next one: its activations stay in cache between forward and
// backward, and nothing grows with the batch. Within a tile, a task is a team of blocks: one block of a block-diagonal
// network, whose gradient it alone writes, or a share of the blocks of a weight-shared one.
template <class T>
class BlockKernel final : public Kernel<T> {
 public:
  BlockKernel(const NetworkShape& shape, Isa isa, ThreadPool& pool)
      : shape_(shape), layout_(parameter_layout(shape)), functions_(table<T>(isa).block), pool_(pool),
        teams_(shape.shared ? std::min(kSharedTeams, shape.blocks()) : shape.blocks()), x_(shape.inputs * kTileRows),
        h1_(shape.blocks() * shape.width * kTileRows), h2_(shape.hidden_layers == 2 ? h1_.size() : 0),
        units_(static_cast<std::size_t>(shape.blocks() * shape.width * shape.hidden_layers)),
        out_(shape.blocks() * kTileRows), residual_(kTileRows),
        scratch_(pool.threads() * functions_.scratch(shape.width)),
        team_gradient_(shape.shared ? teams_ * layout_.size : 0) {
    const bool two = shape.hidden_layers == 2;
    const std::int64_t tile = shape.width * kTileRows;
    for (std::int64_t i = 0; i < shape.blocks(); ++i) {
      std::int32_t* units = units_.data() + i * shape.width * shape.hidden_layers;
      activations_.push_back({h1_.data() + i * tile,
                              two ? h2_.data() + i * tile : nullptr,
                              {units, 0},
                              {two ? units + shape.width : nullptr, 0}});
    }
  }

  std::string_view name() const override { return "direct"; }

  double loss_and_gradient(const T* parameters, const Rows<T>& rows, T* gradient) override {
    std::memset(gradient, 0, static_cast<std::size_t>(layout_.size) * sizeof(T));
    if (shape_.shared) {
      std::memset(team_gradient_.data(), 0, static_cast<std::size_t>(team_gradient_.size()) * sizeof(T));
    }
    double sum = 0.0;
    for (std::int64_t first = 0; first < rows.count; first += kTileRows) {
      const Rows<T> tile = rows.slice(first, std::min<std::int64_t>(kTileRows, rows.count - first));
      forward_tile(parameters, tile);
      sum += residual_in_place(tile, rows.count, residual_.data());
      std::fill(residual_.data() + tile.count, residual_.data() + kTileRows, T(0));
      pool_.run(teams_, [&](std::int64_t team, int thread) { backward_team(parameters, team, thread, gradient); });
    }
    if (shape_.shared) join_teams(gradient);
    return sum / static_cast<double>(rows.count);
  }

  void forward(const T* parameters, const Rows<T>& rows, T* prediction, Activity* activity) override {
    for (std::int64_t first = 0; first < rows.count; first += kTileRows) {
      const Rows<T> tile = rows.slice(first, std::min<std::int64_t>(kTileRows, rows.count - first));
      forward_tile(parameters, tile);
      for (std::int64_t b = 0; b < tile.count; ++b) {
        prediction[first + b] = residual_[b] * (T(1) / static_cast<T>(shape_.inputs));
      }
      if (activity != nullptr) note_activity(*activity);
    }
  }

 private:
  // Leaves the undivided output of the tile's rows in residual_ and the activations in h1_ and h2_.
  void forward_tile(const T* parameters, const Rows<T>& tile) {
    gather(tile);
    pool_.run(teams_, [&](std::int64_t team, int) {
      for_blocks(team, [&](std::int64_t i) {
        functions_.forward(weights(parameters, i), block_x(i), activations(i), out_.data() + i * kTileRows);
      });
    });
    for (int r = 0; r < kTileRows; ++r) residual_[r] = T(0);
    for (std::int64_t i = 0; i < shape_.blocks(); ++i) {
      for (int r = 0; r < kTileRows; ++r) residual_[r] += out_[i * kTileRows + r];
    }
  }

  // x_: (inputs, kTileRows); rows that are missing repeat the last.
  void gather(const Rows<T>& tile) {
    for (std::int64_t r = 0; r < kTileRows; ++r) {
      const T* row = tile.x + tile.row(std::min(r, tile.count - 1)) * shape_.inputs;
      for (std::int64_t i = 0; i < shape_.inputs; ++i) x_[i * kTileRows + r] = row[i];
    }
  }

  void backward_team(const T* parameters, std::int64_t team, int thread, T* gradient) {
    T* target = shape_.shared ? team_gradient_.data() + team * layout_.size : gradient;
    T* scratch = scratch_.data() + thread * functions_.scratch(shape_.width);
    for_blocks(team, [&](std::int64_t i) {
      const BlockGradient<T> g{at(target, layout_.w1, i), at(target, layout_.b1, i), at(target, layout_.w2, i),
                               at(target, layout_.b2, i), at(target, layout_.output, i)};
      functions_.backward(weights(parameters, i), block_x(i), residual_.data(), activations(i), scratch, g);
    });
  }

  void join_teams(T* gradient) const {
    for (std::int64_t team = 0; team < teams_; ++team) {
      const T* part = team_gradient_.data() + team * layout_.size;
      for (std::int64_t p = 0; p < layout_.size; ++p) gradient[p] += part[p];
    }
  }

  void note_activity(Activity& activity) {
    for (std::int64_t i = 0; i < shape_.blocks(); ++i) {
      const std::int64_t unit = shape_.shared ? 0 : i * shape_.width;
      functions_.activity(activations(i).h1, shape_.width, activity.positive(0) + unit, activity.nonpositive(0) + unit);
      if (shape_.hidden_layers == 1) continue;
      functions_.activity(activations(i).h2, shape_.width, activity.positive(1) + unit, activity.nonpositive(1) + unit);
    }
  }

  template <class Body>
  void for_blocks(std::int64_t team, Body body) const {
    const std::int64_t end = (team + 1) * shape_.blocks() / teams_;
    for (std::int64_t i = team * shape_.blocks() / teams_; i < end; ++i) body(i);
  }

  // The part of a tensor that belongs to block i.
  template <class P>
  P* at(P* flat, const Tensor& tensor, std::int64_t i) const {
    return flat + tensor.offset + (shape_.shared ? 0 : i * tensor.rows * tensor.columns);
  }
  BlockWeights<T> weights(const T* p, std::int64_t i) const {
    return {shape_.block_in,         shape_.width,
            shape_.hidden_layers,    static_cast<std::int32_t>(shape_.activation),
            at(p, layout_.w1, i),    at(p, layout_.b1, i),
            at(p, layout_.w2, i),    at(p, layout_.b2, i),
            at(p, layout_.output, i)};
  }
  T* block_x(std::int64_t i) { return x_.data() + i * shape_.block_in * kTileRows; }
  BlockActivations<T>& activations(std::int64_t i) { return activations_[static_cast<std::size_t>(i)]; }

  NetworkShape shape_;
  ParameterLayout layout_;
  const BlockTileFunctions<T>& functions_;
  ThreadPool& pool_;
  std::int64_t teams_;
  Buffer<T> x_;                                   // (inputs, kTileRows)
  Buffer<T> h1_, h2_;                             // (blocks, width, kTileRows)
  std::vector<std::int32_t> units_;               // (blocks, hidden layers, width) lists of active units
  std::vector<BlockActivations<T>> activations_;  // views of these, (blocks,)
  Buffer<T> out_;                                 // (blocks, kTileRows)
  Buffer<T> residual_;                            // (kTileRows,)
  Buffer<T> scratch_;                             // a part per thread
  Buffer<T> team_gradient_;                       // (teams, layout.size), weight-shared networks only
};

}  // namespace

template <class T>
std::unique_ptr<Kernel<T>> make_block_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool) {
  return std::make_unique<BlockKernel<T>>(shape, isa, pool);
}

template std::unique_ptr<Kernel<float>> make_block_kernel(const NetworkShape&, Isa, ThreadPool&);
template std::unique_ptr<Kernel<double>> make_block_kernel(const NetworkShape&, Isa, ThreadPool&);

}  // namespace pn::cpu
