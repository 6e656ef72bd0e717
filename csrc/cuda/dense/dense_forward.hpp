// The forward pass of a dense network besides its products: a batch's rows, activations, output and loss.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/network.hpp"
#include "cuda/dense/tiles.hpp"

namespace pn::cuda {

template <class T>
PN_TEAM T activated(Activation activation, T z) {
  switch (activation) {
    case Activation::relu: return z <= T(0) ? T(0) : z;  // NaN stays NaN
    case Activation::tanh: return std::tanh(z);
    case Activation::sigmoid: return T(1) / (T(1) + std::exp(-z));
  }
  return z;
}

// In terms of the activation's value h; relu'(0) = 0.
template <class T>
PN_TEAM T activation_slope(Activation activation, T h) {
  switch (activation) {
    case Activation::relu: return static_cast<T>(h > T(0));
    case Activation::tanh: return T(1) - h * h;
    case Activation::sigmoid: return h * (T(1) - h);
  }
  return T(1);
}

// Where a training step stands in its epoch; the step's last kernel moves it on.
struct Cursor {
  std::int64_t step = 0;   // of the epoch
  std::int64_t first = 0;  // row of the epoch's order
};

struct AdvanceCursor {
  Cursor* cursor;
  std::int64_t rows;

  static std::int64_t blocks() { return 1; }
  static constexpr int threads() { return 32; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t) const {
    team.one([&] {
      ++cursor->step;
      cursor->first += rows;
    });
  }
};

// x: (n, inputs) and y: (n,) get the rows order[cursor->first ...] of the data.
template <class T>
struct GatherRows {
  const T *data_x, *data_y;
  const std::uint32_t* order;
  const Cursor* cursor;
  std::int64_t inputs;
  T *x, *y;

  PN_TEAM void at(std::int64_t i) const {
    const std::int64_t row = i / inputs, column = i % inputs;
    const std::int64_t from = static_cast<std::int64_t>(order[cursor->first + row]);
    x[i] = data_x[from * inputs + column];
    if (column == 0) y[row] = data_y[from];
  }
};

// h: (n, width) holds W h_below and becomes act(W h_below + b).
template <class T>
struct ActivateRows {
  T* h;
  const T* bias;
  std::int64_t width;
  Activation activation;

  PN_TEAM void at(std::int64_t i) const { h[i] = activated(activation, h[i] + bias[i % width]); }
};

// output: (n,) = h w, undivided; a block per row.
template <class T>
struct OutputDot {
  const T* h;  // (n, width)
  const T* w;  // (width,)
  std::int64_t rows, width;
  T* output;

  std::int64_t blocks() const { return rows; }
  static constexpr int threads() { return 128; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t row) const {
    const double sum = sum_of(team, width, [&](std::int64_t k) {
      return static_cast<double>(h[row * width + k]) * static_cast<double>(w[k]);
    });
    team.one([&] { output[row] = static_cast<T>(sum); });
  }
};

// output: (n,) undivided becomes the residual r_b = 2 (f_b - y_b) / (n inputs), the derivative of the batch's mean
// squared error by the undivided output; or, with keep, stays. *loss += sum_b (f_b - y_b)^2 / rows_of_mean.
template <class T>
struct SquaredError {
  T* output;
  const T* y;
  std::int64_t rows, inputs, rows_of_mean;
  bool keep;
  double* loss;

  static std::int64_t blocks() { return 1; }
  static constexpr int threads() { return 1024; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t) const {
    const T factor = static_cast<T>(2.0 / (static_cast<double>(rows) * static_cast<double>(inputs)));
    const double sum = sum_of(team, rows, [&](std::int64_t b) {
      // Divided, not multiplied by an inverse, whose rounding would be the same in every row.
      const T error = output[b] / static_cast<T>(inputs) - y[b];
      if (!keep) output[b] = factor * error;
      return static_cast<double>(error) * static_cast<double>(error);
    });
    team.one([&] { *loss += sum / static_cast<double>(rows_of_mean); });
  }
};

// prediction: (n,) = output / inputs
template <class T>
struct DivideOutput {
  const T* output;
  std::int64_t inputs;
  T* prediction;

  PN_TEAM void at(std::int64_t i) const { prediction[i] = output[i] / static_cast<T>(inputs); }
};

// How often each unit is active; a Column of SumColumns.
template <class T>
struct CountActive {
  static constexpr int kSums = 1;
  const T* h;
  std::int64_t width;

  PN_TEAM void add(std::int64_t row, std::int64_t k, double (&sums)[kSums]) const {
    sums[0] += static_cast<double>(h[row * width + k] > T(0));
  }
};

}  // namespace pn::cuda
