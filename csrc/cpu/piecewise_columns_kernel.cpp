#include "cpu/piecewise_columns_kernel.hpp"

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <vector>

#include "cpu/levels/table.hpp"
#include "cpu/piecewise_data.hpp"
#include "cpu/piecewise_storage.hpp"
#include "cpu/residual.hpp"
#include "cpu/tiling.hpp"

namespace pn::cpu {
namespace {

// Inputs are joined to this many teams, each with an output of its own; a fixed number, so that sums don't depend on
// the number of threads.
constexpr std::int64_t kTeams = 8;
constexpr std::int64_t kMostSlabRows = 4096;    // of a forward pass: it copies the data, a slab at a time
constexpr std::int64_t kParallelPoints = 4096;  // fewer are not worth waking other threads
constexpr std::int64_t kTurnRows = kPointRows;  // turned over at a time
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A batch is turned over, so that an input's points are contiguous. Then every input's pieces are built and evaluated;
// with the residuals, which need all inputs, every input's moments and gradient follow.
template <class T>
class ColumnsKernel final : public Kernel<T> {
 public:
  ColumnsKernel(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch)
      : shape_(shape), layout_(parameter_layout(shape)), functions_(table<T>(isa).piecewise), pool_(pool),
        ranges_(shape), capacity_(std::max<std::int64_t>(batch, 1)), stride_(padded_stride(capacity_)),
        teams_(Tiling{shape.inputs, std::min(kTeams, shape.inputs)}), x_(shape.inputs * stride_),
        output_(teams_.parts * stride_), order_(shape.inputs * shape.width),
        any_(shape, most_breakpoints(shape), stride_, functions_.gradient_rows),
        any_pieces_(shape, most_breakpoints(shape)) {
    for (std::int64_t i = 0; i < shape.inputs; ++i) blocks_.emplace_back(shape, stride_);
    for (std::int64_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<std::int32_t>(i % shape.width);
    for (int t = 0; t < pool.threads(); ++t) {
      threads_.emplace_back(shape, usual_breakpoints(shape), stride_, functions_.gradient_rows);
    }
  }

  std::string_view name() const override { return "piecewise_linear"; }
  void attach(const T* x, std::int64_t rows) override { ranges_.attach(x, rows); }

  double loss_and_gradient(const T* parameters, const Rows<T>& rows, T* gradient) override {
    range_ = ranges_.of(rows);
    cells_ = cells_for(rows.count);
    if (!evaluate(parameters, rows, nullptr)) {
      std::fill_n(gradient, layout_.size, std::numeric_limits<T>::quiet_NaN());
      return kNan;
    }
    const double loss = residual_in_place(rows, rows.count, output_.data()) / static_cast<double>(rows.count);
    std::fill(output_.data() + rows.count, output_.data() + padded_rows(rows.count), 0.0);
    run(shape_.inputs, rows.count, [&](std::int64_t input, int thread) {
      add_gradient(parameters, input, padded_rows(rows.count), threads_[static_cast<std::size_t>(thread)], gradient);
    });
    return loss;
  }

  void forward(const T* parameters, const Rows<T>& rows, T* prediction, Activity* activity) override {
    range_ = ranges_.of(rows);
    const std::int64_t slab = std::min(capacity_, kMostSlabRows);
    cells_ = cells_for(std::min(slab, rows.count));
    for (std::int64_t first = 0; first < rows.count; first += slab) {
      const Rows<T> part = rows.slice(first, std::min(slab, rows.count - first));
      const bool finite = evaluate(parameters, part, activity);
      const double factor = finite ? 1.0 / static_cast<double>(shape_.inputs) : kNan;
      for (std::int64_t b = 0; b < part.count; ++b) prediction[first + b] = static_cast<T>(output_[b] * factor);
    }
  }

 private:
  struct Block {
    Block(const NetworkShape& shape, std::int64_t rows) : pieces(shape, usual_breakpoints(shape)), offset(rows) {}
    PieceStore pieces;
    Buffer<std::uint32_t> offset;  // of the batch's points
    bool fits = true;
  };
  struct Scratch {
    Scratch(const NetworkShape& shape, std::int64_t breakpoints, std::int64_t rows, std::int64_t gradient_rows)
        : build(shape, breakpoints), lines(places_capacity(breakpoints)), sums(places_capacity(breakpoints)),
          listed(rows + kPointRows), moment(2 * (places_capacity(breakpoints) + 1)),
          gradient(gradient_rows * padded_units(shape.width)), count(places_capacity(breakpoints) + 1) {}
    SlotTable slots(std::int64_t cells) { return slot_table(cells, lines, sums); }
    BuildStore<T> build;
    LineStore lines;
    SumStore sums;
    Buffer<std::uint32_t> listed;
    Buffer<double> moment, gradient;
    Buffer<std::int32_t> count;
  };

  static std::int64_t padded_rows(std::int64_t rows) { return (rows + kPointRows - 1) / kPointRows * kPointRows; }
  // An odd number of cache lines, so that the inputs of a row don't compete for the same ones.
  static std::int64_t padded_stride(std::int64_t rows) { return (padded_rows(rows) / kPointRows | 1) * kPointRows; }

  template <class Task>
  void run(std::int64_t tasks, std::int64_t rows, Task task) {
    if (rows * shape_.inputs < kParallelPoints) {
      for (std::int64_t i = 0; i < tasks; ++i) task(i, 0);
    } else {
      pool_.run(tasks, task);
    }
  }

  BlockWeights<T> weights(const T* p, std::int64_t input) const {
    return {1,
            shape_.width,
            shape_.hidden_layers,
            static_cast<std::int32_t>(shape_.activation),
            at(p, layout_.w1, input),
            at(p, layout_.b1, input),
            at(p, layout_.w2, input),
            at(p, layout_.b2, input),
            at(p, layout_.output, input)};
  }
  template <class P>
  static P* at(P* flat, const Tensor& tensor, std::int64_t input) {
    return flat + tensor.offset + input * tensor.rows * tensor.columns;
  }

  // x_: (inputs, stride).
  void turn_over(const Rows<T>& rows) {
    const auto tile = [&](std::int64_t first) {
      return row_block(rows.slice(first, std::min(kTurnRows, rows.count - first)));
    };
    functions_.fetch_rows(tile(0));
    for (std::int64_t first = 0; first < rows.count; first += kTurnRows) {
      if (first + kTurnRows < rows.count) functions_.fetch_rows(tile(first + kTurnRows));
      functions_.turn_rows(tile(first), x_.data() + first, stride_);
    }
  }

  // The undivided output is left in output_: (rows,). False where a parameter is not finite.
  bool evaluate(const T* parameters, const Rows<T>& rows, Activity* activity) {
    turn_over(rows);
    const std::int64_t padded = padded_rows(rows.count);
    std::atomic<bool> finite{true};
    run(teams_.parts, rows.count, [&](std::int64_t team, int thread) {
      double* output = output_.data() + team * stride_;
      std::fill_n(output, padded, 0.0);
      for (std::int64_t i = teams_.first(team); i < teams_.first(team + 1); ++i) {
        if (!add_block(parameters, i, padded, threads_[static_cast<std::size_t>(thread)], output, activity))
          finite = false;
      }
    });
    functions_.join_outputs(output_.data(), teams_.parts, stride_, rows.count);
    return finite;
  }

  // False: the capacity of the store or of the scratch did not suffice.
  bool build(const T* parameters, std::int64_t input, PieceStore& store, Scratch& scratch) {
    Pieces& pieces = store.view();
    pieces.order = order_.data() + input * shape_.width;
    pieces.line = scratch.lines.line() + 2 * first_place(cells_);
    return functions_.build(weights(parameters, input), range_[input], scratch.build.view(), pieces);
  }

  // Into the store and the scratch that hold any pieces, which one thread at a time uses.
  void build_any(const T* parameters, std::int64_t input) {
    build(parameters, input, any_pieces_, any_);
    functions_.fill_cells(piecewise::make_grid<T>(range_[input], cells_), any_pieces_.view(), any_.slots(cells_));
  }

  bool add_block(const T* parameters, std::int64_t input, std::int64_t rows, Scratch& scratch, double* output,
                 Activity* activity) {
    Block& block = blocks_[static_cast<std::size_t>(input)];
    block.fits = build(parameters, input, block.pieces, scratch);
    if (block.fits) {
      if (!block.pieces.view().finite) return false;
      functions_.fill_cells(piecewise::make_grid<T>(range_[input], cells_), block.pieces.view(), scratch.slots(cells_));
      add_values(input, rows, block.pieces.view(), scratch, output, activity);
    } else {
      const std::lock_guard alone(any_in_use_);
      build_any(parameters, input);
      add_values(input, rows, any_pieces_.view(), any_, output, activity);
    }
    return true;
  }

  void add_values(std::int64_t input, std::int64_t rows, const Pieces& pieces, Scratch& scratch, double* output,
                  Activity* activity) {
    const SlotTable slots = scratch.slots(cells_);
    const Points points{blocks_[static_cast<std::size_t>(input)].offset.data(), scratch.listed.data()};
    const T* x = x_.data() + input * stride_;
    functions_.find(piecewise::make_grid<T>(range_[input], cells_), pieces, slots, x, rows, points);
    functions_.add_values(slots, points, {x, 1, rows}, output);
    if (activity == nullptr) return;
    std::fill_n(slots.hit, first_place(cells_) + places(pieces), std::uint8_t{0});
    functions_.mark(slots, points, rows);
    note_activity(shape_, pieces, slots, scratch.count.data(), input * shape_.width, *activity);
  }

  // After add_block on the same rows.
  void add_gradient(const T* parameters, std::int64_t input, std::int64_t rows, Scratch& scratch, T* gradient) {
    Block& block = blocks_[static_cast<std::size_t>(input)];
    if (block.fits) {
      add_moments(parameters, input, rows, block.pieces.view(), scratch, gradient);
    } else {
      const std::lock_guard alone(any_in_use_);
      build_any(parameters, input);
      add_moments(parameters, input, rows, any_pieces_.view(), any_, gradient);
    }
  }

  void add_moments(const T* parameters, std::int64_t input, std::int64_t rows, const Pieces& pieces, Scratch& scratch,
                   T* gradient) {
    const SlotTable slots = scratch.slots(cells_);
    functions_.add_moments(slots, {blocks_[static_cast<std::size_t>(input)].offset.data(), nullptr},
                           {x_.data() + input * stride_, 1, rows}, output_.data());
    functions_.fold(pieces, slots, scratch.moment.data());
    const BlockGradient<T> g{at(gradient, layout_.w1, input), at(gradient, layout_.b1, input),
                             at(gradient, layout_.w2, input), at(gradient, layout_.b2, input),
                             at(gradient, layout_.output, input)};
    functions_.gradient(weights(parameters, input), pieces, scratch.moment.data(), scratch.gradient.data(), g);
  }

  NetworkShape shape_;
  ParameterLayout layout_;
  const PiecewiseLinearFunctions<T>& functions_;
  ThreadPool& pool_;
  DataRanges<T> ranges_;
  std::int64_t capacity_, stride_;  // rows of a batch
  Tiling teams_;
  Buffer<T> x_;                 // (inputs, stride)
  Buffer<double> output_;       // (teams, stride)
  Buffer<std::int32_t> order_;  // (inputs, width)
  std::vector<Block> blocks_;
  std::vector<Scratch> threads_;
  // For blocks that don't fit in their own stores and a thread's scratch.
  Scratch any_;
  PieceStore any_pieces_;
  std::mutex any_in_use_;
  const piecewise::Range* range_ = nullptr;  // (inputs,)
  std::int64_t cells_ = 0;
};

}  // namespace

template <class T>
std::unique_ptr<Kernel<T>> make_piecewise_columns_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool,
                                                         std::int64_t batch) {
  return std::make_unique<ColumnsKernel<T>>(shape, isa, pool, batch);
}

template std::unique_ptr<Kernel<float>> make_piecewise_columns_kernel(const NetworkShape&, Isa, ThreadPool&,
                                                                      std::int64_t);
template std::unique_ptr<Kernel<double>> make_piecewise_columns_kernel(const NetworkShape&, Isa, ThreadPool&,
                                                                       std::int64_t);

}  // namespace pn::cpu
