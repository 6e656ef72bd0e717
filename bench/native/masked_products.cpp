// The mixed units' two backward products by masks and by the BLAS, in turns; bench/masked_products.py runs it.
//   masked_products WIDTH ROWS ROUNDS THREADS BLAS COUNT...
// For each COUNT of mixed units a line: COUNT, and a median of seconds for masks, BLAS and the largest difference of
// their results by the largest entry. Half of the masks' entries are on.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "cpu/blas.hpp"
#include "cpu/dense_products.hpp"
#include "cpu/masked_products.hpp"

namespace {

using pn::cpu::blas::Transpose;
using Vector = std::vector<float>;

// From -1 to 1.
Vector draws(std::uint32_t member, std::int64_t count) {
  Vector values(static_cast<std::size_t>(count));
  pn::uniform({1, pn::Purpose::data, member, 0}, 0, count, values.data());
  for (float& value : values) value = 2.0f * value - 1.0f;
  return values;
}

struct Problem {
  Problem(std::int64_t width_, std::int64_t rows_, std::int64_t count_)
      : width(width_), rows(rows_), count(count_), h1(draws(1, rows * width)), h2(draws(2, rows * count)),
        w2(draws(3, count * width)), w3(draws(4, count)), residual(draws(5, rows)),
        dz2(static_cast<std::size_t>(rows * count)), dw(static_cast<std::size_t>(count * width)),
        dh(static_cast<std::size_t>(rows * width)) {
    for (std::int64_t b = 0; b < rows; ++b) {
      for (std::int64_t k = 0; k < count; ++k) {
        const auto at = static_cast<std::size_t>(b * count + k);
        const float all = residual[static_cast<std::size_t>(b)] * w3[static_cast<std::size_t>(k)];
        dz2[at] = h2[at] > 0.0f ? all : 0.0f;
      }
    }
  }

  void by_masks(pn::cpu::ThreadPool& pool, pn::cpu::MaskedProducts<float>& products) {
    products.take_masks(h2.data(), rows, count);
    products.weight_gradient(residual.data(), h1.data(), dw.data());
    for_panels(pool, [&](std::int64_t row, std::int64_t n, std::int64_t column, std::int64_t columns) {
      products.hidden_panel(row, n, columns, width, w2.data() + column, w3.data(), dh.data() + row * width + column);
    });
  }
  void by_blas(pn::cpu::ThreadPool& pool) {
    pn::cpu::weight_gradient(pool, rows, dz2.data(), count, h1.data(), width, dw.data());
    for_panels(pool, [&](std::int64_t row, std::int64_t n, std::int64_t column, std::int64_t columns) {
      pn::cpu::blas::multiply(Transpose::no, Transpose::no, n, columns, count, dz2.data() + row * count, count,
                              w2.data() + column, width, dh.data() + row * width + column, width);
    });
  }
  // Masks leave the factors w3_k and r_b to those who take the results.
  void scale() {
    for (std::int64_t k = 0; k < count; ++k)
      for (std::int64_t j = 0; j < width; ++j)
        dw[static_cast<std::size_t>(k * width + j)] *= w3[static_cast<std::size_t>(k)];
    for (std::int64_t b = 0; b < rows; ++b)
      for (std::int64_t j = 0; j < width; ++j)
        dh[static_cast<std::size_t>(b * width + j)] *= residual[static_cast<std::size_t>(b)];
  }

  template <class Body>
  void for_panels(pn::cpu::ThreadPool& pool, Body body) const {
    const pn::cpu::Tiling r = pn::cpu::row_tiling(rows), c = pn::cpu::column_tiling(width);
    pn::cpu::for_tiles(pool, r, c,
                       [&](std::int64_t i, std::int64_t j) { body(r.first(i), r.count(i), c.first(j), c.count(j)); });
  }

  std::int64_t width, rows, count;
  Vector h1, h2, w2, w3, residual, dz2, dw, dh;
};

double difference(const Vector& a, const Vector& b) {
  double worst = 0.0, largest = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return worst / largest;
}

template <class Work>
double seconds(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 7) {
    std::cerr << "usage: masked_products WIDTH ROWS ROUNDS THREADS BLAS COUNT...\n";
    return 2;
  }
  const std::int64_t width = std::atoll(argv[1]), rows = std::atoll(argv[2]), rounds = std::atoll(argv[3]);
  pn::cpu::ThreadPool pool(std::atoi(argv[4]));
  pn::cpu::blas::load(argv[5]);
  pn::cpu::MaskedProducts<float> products(width, pn::cpu::active_level(), pool, rows);
  for (int i = 6; i < argc; ++i) {
    Problem problem(width, rows, std::atoll(argv[i]));
    problem.by_masks(pool, products);
    problem.scale();
    const Vector dw = problem.dw, dh = problem.dh;
    problem.by_blas(pool);
    const double off = std::max(difference(dw, problem.dw), difference(dh, problem.dh));
    std::vector<double> masks, blas;
    for (std::int64_t round = 0; round < rounds; ++round) {
      masks.push_back(seconds([&] { problem.by_masks(pool, products); }));
      blas.push_back(seconds([&] { problem.by_blas(pool); }));
    }
    std::cout << problem.count << " " << median(masks) << " " << median(blas) << " " << off << "\n" << std::flush;
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
