#include "cpu/piecewise_data.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace pn::cpu {
template <class T>
void DataRanges<T>::find(const Rows<T>& rows, std::vector<piecewise::Range>& ranges) {
  std::fill(lowest_.begin(), lowest_.end(), std::numeric_limits<T>::infinity());
  std::fill(highest_.begin(), highest_.end(), -std::numeric_limits<T>::infinity());
  constexpr T most = std::numeric_limits<T>::max();
  for (std::int64_t b = 0; b < rows.count; ++b) {
    const T* row = rows.x + rows.row(b) * rows.inputs;
    for (std::int64_t i = 0; i < rows.inputs; ++i) {
      const auto group = static_cast<std::size_t>(shape_.shared ? 0 : i);
      if (!(std::abs(row[i]) <= most)) continue;
      lowest_[group] = std::min(lowest_[group], row[i]);
      highest_[group] = std::max(highest_[group], row[i]);
    }
  }
  for (std::size_t g = 0; g < ranges.size(); ++g) {
    ranges[g] = piecewise::range_around(static_cast<double>(lowest_[g]), static_cast<double>(highest_[g]));
  }
}

template <class T>
void DataRanges<T>::attach(const T* x, std::int64_t rows) {
  auto known = std::find_if(attached_.begin(), attached_.end(), [x](const Attached& a) { return a.x == x; });
  if (known == attached_.end()) known = attached_.insert(known, {x, 0, std::vector<piecewise::Range>(lowest_.size())});
  known->rows = std::max(known->rows, rows);
  find({x, nullptr, nullptr, known->rows, shape_.inputs}, known->ranges);
}

template <class T>
const piecewise::Range* DataRanges<T>::of(const Rows<T>& rows) {
  for (const Attached& a : attached_) {
    if (a.x == rows.x) return a.ranges.data();
  }
  find(rows, other_);
  return other_.data();
}

template class DataRanges<float>;
template class DataRanges<double>;

std::int64_t cells_for(std::int64_t points) {
  if (points >= 2048) return 1024;
  return points >= 512 ? 512 : 128;
}

void note_activity(const NetworkShape& shape, const Pieces& pieces, const SlotTable& table, std::int32_t* count,
                   std::int64_t unit, Activity& activity) {
  const std::uint8_t *cell_hit = table.hit, *place_hit = table.hit + first_place(table.cells);
  const std::int64_t all = places(pieces);
  std::int32_t cell = 0, sum = 0;
  for (std::int64_t m = 0; m < all; ++m) {
    bool hit = place_hit[m] != 0;
    for (; cell < pieces.cell[m / 2]; ++cell) hit = hit || cell_hit[cell] != 0;
    if (m % 2 == 1) cell = std::max(cell, pieces.cell[m / 2] + 1);
    count[m] = sum;
    sum += hit;
  }
  count[all] = sum;
  const auto note = [&](int layer, std::int64_t u, std::int32_t active) {
    activity.positive(layer)[u] |= static_cast<std::uint8_t>(active > 0);
    activity.nonpositive(layer)[u] |= static_cast<std::uint8_t>(active < sum);
  };
  for (std::int64_t j = 0; j < shape.width; ++j) {
    const std::int32_t before = count[pieces.edge[j]];
    note(0, unit + j, pieces.rises[j] != 0 ? sum - before : before);
  }
  if (shape.hidden_layers == 1) return;
  for (std::int64_t k = 0; k < shape.width; ++k) {
    std::int32_t active = 0;
    for (std::int32_t r = pieces.first_range[k]; r >= 0; r = pieces.range[r].next) {
      active += count[pieces.range[r].end] - count[pieces.range[r].first];
    }
    note(1, unit + k, active);
  }
}

}  // namespace pn::cpu
