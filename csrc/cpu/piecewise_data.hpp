// What the piecewise-linear kernels know of data and of units' activity, apart from any arithmetic.
#pragma once

#include <cstdint>
#include <vector>

#include "core/network.hpp"
#include "core/piecewise_linear.hpp"
#include "cpu/kernel.hpp"
#include "cpu/levels/piecewise_linear.hpp"

namespace pn::cpu {

// The range of each group's inputs. Those of attached data are found once.
template <class T>
class DataRanges {
 public:
  explicit DataRanges(const NetworkShape& shape)
      : shape_(shape), lowest_(static_cast<std::size_t>(shape.groups())), highest_(lowest_.size()),
        other_(lowest_.size()) {}

  // Data that begin at one address count as one, as long as the longest of them: a split may be a part of another.
  void attach(const T* x, std::int64_t rows);
  const piecewise::Range* of(const Rows<T>& rows);  // (groups,); valid until the next call

 private:
  struct Attached {
    const T* x;
    std::int64_t rows;
    std::vector<piecewise::Range> ranges;
  };
  void find(const Rows<T>& rows, std::vector<piecewise::Range>& ranges);

  NetworkShape shape_;
  std::vector<T> lowest_, highest_;  // (groups,)
  std::vector<piecewise::Range> other_;
  std::vector<Attached> attached_;
};

template <class T>
RowBlock<T> row_block(const Rows<T>& rows) {
  return {rows.x, rows.y, rows.index, rows.first, rows.count, rows.inputs};
}

// Cells of a table that looks up this many points: finer ones cost more to fill and fold, coarser ones split more
// points.
std::int64_t cells_for(std::int64_t points);

// Adds to the activity of a block, whose first unit of each layer is `unit`, from which slots held points. count:
// (places + 1,) is scratch.
void note_activity(const NetworkShape& shape, const Pieces& pieces, const SlotTable& table, std::int32_t* count,
                   std::int64_t unit, Activity& activity);

}  // namespace pn::cpu
