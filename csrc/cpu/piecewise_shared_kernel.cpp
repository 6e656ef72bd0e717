#include "cpu/piecewise_shared_kernel.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "cpu/levels/table.hpp"
#include "cpu/piecewise_data.hpp"
#include "cpu/piecewise_storage.hpp"
#include "cpu/residual.hpp"
#include "cpu/tiling.hpp"

namespace pn::cpu {
namespace {

constexpr std::int64_t kChunkPoints = 8192;  // of a task: much more work than folding its cells
constexpr std::int64_t kMostChunks = 64;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Rows go through look-up, residual and moments a block at a time. A chunk of rows has moments of its own, which are
// added in the order of the chunks.
template <class T>
class SharedKernel final : public Kernel<T> {
 public:
  SharedKernel(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch)
      : shape_(shape), layout_(parameter_layout(shape)), functions_(table<T>(isa).piecewise), pool_(pool),
        ranges_(shape), block_rows_(std::max<std::int64_t>(1, kBlockPoints / shape.inputs)), build_(shape),
        pieces_(PieceStore::for_any(shape)), order_(shape.width),
        moment_capacity_(2 * pieces_.view().breakpoint_capacity + 2),
        moment_(2 * (moment_capacity_ + extra_moments(batch))), count_(moment_capacity_),
        gradient_scratch_(functions_.gradient_rows * padded_units(shape.width)) {
    std::iota(order_.data(), order_.data() + order_.size(), 0);
    pieces_.view().order = order_.data();
    for (int t = 0; t < pool.threads(); ++t) threads_.emplace_back(shape, block_rows_, moment_capacity_);
  }

  std::string_view name() const override { return "piecewise_linear"; }
  void attach(const T* x, std::int64_t rows) override { ranges_.attach(x, rows); }

  double loss_and_gradient(const T* parameters, const Rows<T>& rows, T* gradient) override {
    if (!build(parameters, rows)) {
      std::fill_n(gradient, layout_.size, std::numeric_limits<T>::quiet_NaN());
      return kNan;
    }
    const std::int64_t stride = places(pieces_.view()) + 1;
    const Tiling chunks = chunks_of(rows.count, stride);
    std::fill_n(moment_.data(), 2 * stride * chunks.parts, 0.0);
    pool_.run(chunks.parts, [&](std::int64_t chunk, int thread) {
      const Rows<T> part = rows.slice(chunks.first(chunk), chunks.count(chunk));
      chunk_loss_[chunk] = add_chunk(part, rows.count, thread, moment_.data() + 2 * stride * chunk);
    });
    double loss = 0.0;
    for (std::int64_t chunk = 0; chunk < chunks.parts; ++chunk) {
      loss += chunk_loss_[chunk];
      const double* part = moment_.data() + 2 * stride * chunk;
      for (std::int64_t m = 0; chunk > 0 && m < 2 * stride; ++m) moment_[m] += part[m];
    }
    const BlockGradient<T> g{gradient + layout_.w1.offset, gradient + layout_.b1.offset, gradient + layout_.w2.offset,
                             gradient + layout_.b2.offset, gradient + layout_.output.offset};
    functions_.gradient(weights(parameters), pieces_.view(), moment_.data(), gradient_scratch_.data(), g);
    return loss / static_cast<double>(rows.count);
  }

  void forward(const T* parameters, const Rows<T>& rows, T* prediction, Activity* activity) override {
    if (!build(parameters, rows)) {
      std::fill_n(prediction, rows.count, std::numeric_limits<T>::quiet_NaN());
      return;
    }
    if (activity != nullptr) clear_hits();
    const Tiling chunks = Tiling::of(rows.count, std::max<std::int64_t>(1, kChunkPoints / shape_.inputs));
    pool_.run(chunks.parts, [&](std::int64_t chunk, int thread) {
      predict_chunk(rows.slice(chunks.first(chunk), chunks.count(chunk)), thread, activity != nullptr,
                    prediction + chunks.first(chunk));
    });
    if (activity != nullptr) join_hits(*activity);
  }

 private:
  struct Thread {
    Thread(const NetworkShape& shape, std::int64_t rows, std::int64_t places)
        : points(rows * shape.inputs), x(rows * shape.inputs + kVectorSlack), output(rows), place_hit(places) {}
    CellStore cells;
    PointStore points;
    Buffer<T> x;            // (block rows, inputs)
    Buffer<double> output;  // (block rows,)
    Buffer<std::uint8_t> place_hit;
  };

  std::int64_t extra_moments(std::int64_t batch) const {
    const std::int64_t chunks = std::min(kMostChunks, batch * shape_.inputs / kChunkPoints + 1);
    return chunks * (16 * shape_.width + 64);
  }

  // As many chunks as the points suggest and there is room for: neither depends on the number of threads.
  Tiling chunks_of(std::int64_t rows, std::int64_t stride) const {
    const std::int64_t wanted = (rows * shape_.inputs + kChunkPoints - 1) / kChunkPoints;
    const std::int64_t room = moment_.size() / (2 * stride);
    return {rows, std::max<std::int64_t>(1, std::min({wanted, room, kMostChunks, rows}))};
  }

  BlockWeights<T> weights(const T* p) const {
    return {1,
            shape_.width,
            shape_.hidden_layers,
            static_cast<std::int32_t>(shape_.activation),
            p + layout_.w1.offset,
            p + layout_.b1.offset,
            p + layout_.w2.offset,
            p + layout_.b2.offset,
            p + layout_.output.offset};
  }

  // False where a parameter is not finite.
  bool build(const T* parameters, const Rows<T>& rows) {
    const piecewise::Range range = *ranges_.of(rows);
    Pieces& pieces = pieces_.view();
    functions_.build(weights(parameters), range, build_.view(), pieces);
    if (!pieces.finite) return false;
    cells_ = cells_for(rows.count * shape_.inputs);
    grid_ = make_grid<T>(range, cells_);
    functions_.fill_cells(grid_, pieces, threads_.front().cells.view(cells_));
    return true;
  }

  // The thread's own moments and hits beside the one look-up table.
  CellTable cell_table(Thread& thread) {
    CellTable all = threads_.front().cells.view(cells_);
    const CellTable own = thread.cells.view(cells_);
    all.moment = own.moment;
    all.hit = own.hit;
    return all;
  }

  // Looks up a block of rows; their sums are in thread.output.
  void evaluate(const Rows<T>& rows, const CellTable& cells, Thread& thread) {
    const std::int64_t inputs = shape_.inputs;
    for (std::int64_t b = 0; b < rows.count; ++b)
      std::copy_n(rows.x + rows.row(b) * inputs, inputs, thread.x.data() + b * inputs);
    functions_.find(grid_, pieces_.view(), cells, thread.x.data(), rows.count * inputs, thread.points.view());
    functions_.sum_rows(pieces_.view(), cells, thread.points.view(), rows.count, inputs, thread.output.data());
  }

  template <class Body>
  void for_blocks(const Rows<T>& rows, Body body) const {
    for (std::int64_t first = 0; first < rows.count; first += block_rows_) {
      body(rows.slice(first, std::min(block_rows_, rows.count - first)), first);
    }
  }

  double add_chunk(const Rows<T>& rows, std::int64_t batch, int number, double* moment) {
    Thread& thread = threads_[static_cast<std::size_t>(number)];
    const CellTable cells = cell_table(thread);
    double loss = 0.0;
    for_blocks(rows, [&](const Rows<T>& block, std::int64_t) {
      evaluate(block, cells, thread);
      loss += residual_in_place(block, batch, thread.output.data());
      functions_.add_moments(cells, thread.points.view(), block.count, shape_.inputs, thread.output.data(), moment);
    });
    functions_.fold(pieces_.view(), cells, moment);
    return loss;
  }

  void predict_chunk(const Rows<T>& rows, int number, bool mark, T* prediction) {
    Thread& thread = threads_[static_cast<std::size_t>(number)];
    const CellTable cells = cell_table(thread);
    const double inverse_inputs = 1.0 / static_cast<double>(shape_.inputs);
    for_blocks(rows, [&](const Rows<T>& block, std::int64_t first) {
      evaluate(block, cells, thread);
      if (mark) functions_.mark(cells, thread.points.view(), thread.place_hit.data());
      for (std::int64_t b = 0; b < block.count; ++b)
        prediction[first + b] = static_cast<T>(thread.output[b] * inverse_inputs);
    });
  }

  void clear_hits() {
    for (Thread& thread : threads_) {
      std::fill_n(thread.cells.view(cells_).hit, cells_, std::uint8_t{0});
      std::fill_n(thread.place_hit.data(), places(pieces_.view()), std::uint8_t{0});
    }
  }

  void join_hits(Activity& activity) {
    Thread& all = threads_.front();
    std::uint8_t* cell_hit = all.cells.view(cells_).hit;
    for (Thread& thread : threads_) {
      const std::uint8_t* hit = thread.cells.view(cells_).hit;
      for (std::int64_t c = 0; c < cells_; ++c) cell_hit[c] |= hit[c];
      for (std::int64_t m = 0; m < places(pieces_.view()); ++m) all.place_hit[m] |= thread.place_hit[m];
    }
    note_activity(shape_, pieces_.view(), cell_hit, all.place_hit.data(), count_.data(), 0, activity);
  }

  NetworkShape shape_;
  ParameterLayout layout_;
  const PiecewiseLinearFunctions<T>& functions_;
  ThreadPool& pool_;
  DataRanges<T> ranges_;
  std::int64_t block_rows_;
  BuildStore<T> build_;
  PieceStore pieces_;
  Buffer<std::int32_t> order_;  // (width,)
  std::int64_t moment_capacity_;
  Buffer<double> moment_;       // (chunks, places + 1, 2)
  Buffer<std::int32_t> count_;  // (places + 1,)
  Buffer<double> gradient_scratch_;
  std::vector<Thread> threads_;
  double chunk_loss_[kMostChunks] = {};
  std::int64_t cells_ = 0;
  piecewise::Grid<T> grid_{};
};

}  // namespace

template <class T>
std::unique_ptr<Kernel<T>> make_piecewise_shared_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool,
                                                        std::int64_t batch) {
  return std::make_unique<SharedKernel<T>>(shape, isa, pool, batch);
}

template std::unique_ptr<Kernel<float>> make_piecewise_shared_kernel(const NetworkShape&, Isa, ThreadPool&,
                                                                     std::int64_t);
template std::unique_ptr<Kernel<double>> make_piecewise_shared_kernel(const NetworkShape&, Isa, ThreadPool&,
                                                                      std::int64_t);

}  // namespace pn::cpu
