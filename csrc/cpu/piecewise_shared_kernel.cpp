#include "cpu/piecewise_shared_kernel.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
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
        ranges_(shape), block_rows_(rows_of_block(shape.inputs)), build_(shape, most_breakpoints(shape)),
        pieces_(shape, most_breakpoints(shape)), order_(shape.width),
        places_capacity_(places_capacity(most_breakpoints(shape))),
        usual_places_(places_capacity(usual_breakpoints(shape))), lines_(places_capacity_), sums_(places_capacity_),
        moment_(2 * (places_capacity_ + 1 + extra_moments(batch))), count_(places_capacity_ + 1),
        gradient_scratch_(functions_.gradient_rows * padded_units(shape.width)) {
    std::iota(order_.data(), order_.data() + order_.size(), 0);
    for (int t = 0; t < pool.threads(); ++t) {
      threads_.emplace_back(block_rows_ * shape.inputs, block_rows_, usual_places_);
    }
    pieces_.view().order = order_.data();
  }

  std::string_view name() const override { return "piecewise_linear"; }
  void attach(const T* x, std::int64_t rows) override { ranges_.attach(x, rows); }

  double loss_and_gradient(const T* parameters, const Rows<T>& rows, T* gradient) override {
    if (!build(parameters, rows)) {
      std::fill_n(gradient, layout_.size, std::numeric_limits<T>::quiet_NaN());
      return kNan;
    }
    const std::int64_t stride = places(pieces_.view()) + 1;
    const Tiling chunks = chunks_of(rows.count, moment_.size() / (2 * stride));
    pool_.run(chunks.parts, [&](std::int64_t chunk, int thread) {
      chunk_loss_[chunk] =
          add_chunk(part(rows, chunks, chunk), rows.count, thread, moment_.data() + 2 * stride * chunk);
    });
    double loss = 0.0;
    for (std::int64_t chunk = 0; chunk < chunks.parts; ++chunk) {
      loss += chunk_loss_[chunk];
      const double* more = moment_.data() + 2 * stride * chunk;
      for (std::int64_t m = 0; chunk > 0 && m < 2 * stride; ++m) moment_[m] += more[m];
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
    const Tiling chunks = chunks_of(rows.count, std::numeric_limits<std::int64_t>::max());
    pool_.run(chunks.parts, [&](std::int64_t chunk, int thread) {
      predict_chunk(part(rows, chunks, chunk), thread, activity != nullptr,
                    prediction + chunks.first(chunk) * block_rows_);
    });
    if (activity != nullptr) join_hits(*activity);
  }

 private:
  struct Thread {
    Thread(std::int64_t points, std::int64_t rows, std::int64_t places)
        : sums(places), offset(points), listed(points + kPointRows), x(points), output(rows) {}
    Points points() { return {offset.data(), listed.data()}; }
    SumStore sums;
    Buffer<std::uint32_t> offset, listed;
    Buffer<T> x;            // (inputs, rows of the panel)
    Buffer<double> output;  // (rows,)
  };

  std::int64_t extra_moments(std::int64_t batch) const {
    const std::int64_t chunks = std::min(kMostChunks, batch * shape_.inputs / kChunkPoints + 1);
    return chunks * (16 * shape_.width + 64);
  }

  // Of the blocks of rows. As many chunks as the points suggest, and at most `room`: nothing here depends on the number
  // of threads.
  Tiling chunks_of(std::int64_t rows, std::int64_t room) const {
    const std::int64_t blocks = (rows + block_rows_ - 1) / block_rows_;
    const std::int64_t wanted = (rows * shape_.inputs + kChunkPoints - 1) / kChunkPoints;
    return {blocks, std::max<std::int64_t>(1, std::min({wanted, room, kMostChunks, blocks}))};
  }
  Rows<T> part(const Rows<T>& rows, const Tiling& chunks, std::int64_t chunk) const {
    const std::int64_t first = chunks.first(chunk) * block_rows_;
    return rows.slice(first, std::min(chunks.count(chunk) * block_rows_, rows.count - first));
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
    cells_ = cells_for(rows.count * shape_.inputs);
    const SlotTable table = slot_table(cells_, lines_, sums_);
    pieces.line = table.line + 2 * first_place(cells_);
    functions_.build(weights(parameters), range, build_.view(), pieces);
    if (!pieces.finite) return false;
    grid_ = piecewise::make_grid<T>(range, cells_);
    functions_.fill_cells(grid_, pieces, table);
    return true;
  }

  // Whether there are no more places than a thread's own moments and hits hold.
  bool own_sums() { return places(pieces_.view()) <= usual_places_; }

  // The one look-up table with a thread's own moments and hits, or with those for any number of places, which are one
  // thread's at a time: the lock is taken.
  SlotTable slots_of(Thread& thread, std::unique_lock<std::mutex>& alone) {
    if (own_sums()) return slot_table(cells_, lines_, thread.sums);
    alone = std::unique_lock(sums_in_use_);
    return slot_table(cells_, lines_, sums_);
  }

  // A power of two.
  static std::int64_t rows_of_block(std::int64_t inputs) {
    std::int64_t rows = kPointRows;
    while (2 * rows * inputs <= kBlockPoints) rows *= 2;
    return rows;
  }

  // Looks up a block of rows; their sums are in thread.output. What rows are missing repeat the last one.
  PointPanel<T> evaluate(const Rows<T>& rows, const SlotTable& slots, Thread& thread) {
    std::int64_t panel_rows = kPointRows;
    while (panel_rows < rows.count) panel_rows *= 2;
    T* x = thread.x.data();
    functions_.turn_rows(row_block(rows), x, panel_rows);
    const std::int64_t turned = (rows.count + kPointRows - 1) / kPointRows * kPointRows;
    for (std::int64_t i = 0; turned < panel_rows && i < shape_.inputs; ++i) {
      std::fill(x + i * panel_rows + turned, x + (i + 1) * panel_rows, x[i * panel_rows]);
    }
    const PointPanel<T> panel{x, shape_.inputs, panel_rows};
    std::fill_n(thread.output.data(), panel_rows, 0.0);
    functions_.find(grid_, pieces_.view(), slots, x, panel_rows * shape_.inputs, thread.points());
    functions_.add_values(slots, thread.points(), panel, thread.output.data());
    return panel;
  }

  template <class Body>
  void for_blocks(const Rows<T>& rows, Body body) const {
    const auto block = [&](std::int64_t first) { return rows.slice(first, std::min(block_rows_, rows.count - first)); };
    functions_.fetch_rows(row_block(block(0)));
    for (std::int64_t first = 0; first < rows.count; first += block_rows_) {
      if (first + block_rows_ < rows.count) functions_.fetch_rows(row_block(block(first + block_rows_)));
      body(block(first), first);
    }
  }

  double add_chunk(const Rows<T>& rows, std::int64_t batch, int number, double* moment) {
    Thread& thread = threads_[static_cast<std::size_t>(number)];
    std::unique_lock<std::mutex> alone;
    const SlotTable slots = slots_of(thread, alone);
    double* output = thread.output.data();
    double loss = 0.0;
    for_blocks(rows, [&](const Rows<T>& block, std::int64_t) {
      const PointPanel<T> panel = evaluate(block, slots, thread);
      loss += residual_in_place(block, batch, output);
      std::fill(output + block.count, output + panel.rows, 0.0);
      functions_.add_moments(slots, thread.points(), panel, output);
    });
    functions_.fold(pieces_.view(), slots, moment);
    return loss;
  }

  void predict_chunk(const Rows<T>& rows, int number, bool mark, T* prediction) {
    Thread& thread = threads_[static_cast<std::size_t>(number)];
    std::unique_lock<std::mutex> alone;
    const SlotTable slots = slots_of(thread, alone);
    const double inverse_inputs = 1.0 / static_cast<double>(shape_.inputs);
    for_blocks(rows, [&](const Rows<T>& block, std::int64_t first) {
      const PointPanel<T> panel = evaluate(block, slots, thread);
      if (mark) functions_.mark(slots, thread.points(), panel.rows * panel.inputs);
      for (std::int64_t b = 0; b < block.count; ++b) {
        prediction[first + b] = static_cast<T>(thread.output[b] * inverse_inputs);
      }
    });
  }

  std::int64_t slots_in_use() { return first_place(cells_) + places(pieces_.view()); }

  void clear_hits() {
    std::fill_n(sums_.hit(), slots_in_use(), std::uint8_t{0});
    for (Thread& thread : threads_) {
      if (own_sums()) std::fill_n(thread.sums.hit(), slots_in_use(), std::uint8_t{0});
    }
  }

  void join_hits(Activity& activity) {
    const SlotTable all = slot_table(cells_, lines_, sums_);
    for (Thread& thread : threads_) {
      if (!own_sums()) break;
      const std::uint8_t* hit = thread.sums.hit();
      for (std::int64_t slot = 0; slot < slots_in_use(); ++slot) all.hit[slot] |= hit[slot];
    }
    note_activity(shape_, pieces_.view(), all, count_.data(), 0, activity);
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
  std::int64_t places_capacity_, usual_places_;
  LineStore lines_;
  SumStore sums_;  // of any number of places
  std::mutex sums_in_use_;
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
