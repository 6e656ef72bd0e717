#include "core/initialization.hpp"

#include <algorithm>
#include <cmath>

#include "core/random.hpp"

namespace pn {
namespace {

template <class T>
void draw(const NetworkShape& shape, std::uint64_t seed, std::int64_t field, T* parameters) {
  const ParameterLayout layout = parameter_layout(shape);
  std::uint32_t member = 0;
  for (const Tensor& tensor : layout.tensors()) {
    if (tensor.rows == 0) continue;  // absent with one hidden layer
    const std::int64_t count = layout.groups * tensor.rows * tensor.columns;
    T* const first = parameters + tensor.offset;
    if (tensor.weight) {
      const double fans = static_cast<double>(tensor.rows + tensor.columns);
      const T limit = static_cast<T>(std::sqrt(6.0 / (static_cast<double>(field) * fans)));
      uniform({seed, Purpose::initialization, member, 0}, 0, count, first);
      std::transform(first, first + count, first, [limit](T u) { return limit * (T(2) * u - T(1)); });
    } else {
      std::fill_n(first, count, T(0));
    }
    ++member;
  }
}

}  // namespace

void draw_initial(const NetworkShape& shape, std::uint64_t seed, std::int64_t field, float* parameters) {
  draw(shape, seed, field, parameters);
}

void draw_initial(const NetworkShape& shape, std::uint64_t seed, std::int64_t field, double* parameters) {
  draw(shape, seed, field, parameters);
}

}  // namespace pn
