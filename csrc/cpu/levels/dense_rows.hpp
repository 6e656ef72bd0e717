// What surrounds the matrix products of a dense network: bias, activation, mask and loss, on a panel of a (rows,
// columns) matrix whose rows are `stride` apart.
#pragma once

#include <cstdint>

namespace pn::cpu {

template <class T>
struct Panel {
  T* data;
  std::int64_t rows, columns, stride;
};

// The product column_r row_c; none where row is null.
template <class T>
struct OuterProduct {
  const T *column, *row;
};

template <class T>
struct DenseRowFunctions {
  // z becomes h = act(z + bias); bias: (columns,).
  void (*activate)(std::int32_t activation, const Panel<T>& z, const T* bias);
  // The same; dot: (rows,) = h w with w: (columns,).
  void (*activate_dot)(std::int32_t activation, const Panel<T>& z, const T* bias, const T* w, T* dot);
  // h becomes dz = residual w act'(z); dw: (columns,) = sum_r residual h; db: (columns,) = sum_r dz.
  void (*output_backward)(std::int32_t activation, const Panel<T>& h, const T* residual, const T* w, T* dw, T* db);
  // dh becomes dz = (dh + more) act'(z), h with the same stride; db: (columns,) = sum_r dz.
  void (*hidden_backward)(std::int32_t activation, const Panel<T>& dh, const T* h, const OuterProduct<T>& more, T* db);
  // Sets positive[u] where an entry of column u is > 0, nonpositive[u] where one is not; both (columns,).
  void (*activity)(const Panel<T>& h, std::uint8_t* positive, std::uint8_t* nonpositive);
};

}  // namespace pn::cpu
