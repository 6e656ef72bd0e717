// Screening (cpu/certificates.hpp): the byte products of every level against plain integers, quantized copies against
// what they stand for, and certificates against exact pre-activations.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "check.hpp"
#include "cpu/certificates.hpp"
#include "cpu/levels/table.hpp"
#include "vectors.hpp"

namespace {

using namespace pn;
using namespace pn::cpu;
using pn::test::draws;

constexpr std::int64_t kWidths[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 50, 63, 64, 65, 100, 130};

std::int64_t stride_of(std::int64_t width) { return (width + kScreenStride - 1) / kScreenStride * kScreenStride; }

// Whole numbers in [-limit, limit].
std::vector<std::int8_t> bytes(std::uint64_t seed, std::int64_t count, double limit) {
  std::vector<std::int8_t> values;
  for (const double draw : draws<double>(seed, count, limit))
    values.push_back(static_cast<std::int8_t>(std::round(draw)));
  return values;
}

// The screens of a level: with AVX512-VNNI and without, where the processor has it; null alone where it has none.
std::vector<const ScreenFunctions*> screens(Isa isa) {
  std::vector<const ScreenFunctions*> found;
  for (const bool vnni : {false, has_vnni()}) {
    const ScreenFunctions* screen = screen_functions(isa, vnni);
    if (std::find(found.begin(), found.end(), screen) == found.end()) found.push_back(screen);
  }
  return found;
}

// largest: the largest sums there are.
void check_extremes(const ScreenFunctions& screen, std::int64_t rows, std::int64_t units, std::int64_t stride,
                    bool largest) {
  std::vector<std::uint8_t> h(static_cast<std::size_t>(rows * stride), kUnitLevels);
  if (!largest) {
    const auto values = bytes(1, rows * stride, kUnitLevels);
    std::transform(values.begin(), values.end(), h.begin(),
                   [](int v) { return static_cast<std::uint8_t>(std::abs(v)); });
  }
  auto w = bytes(2, 2 * units * stride, kWeightLevels);
  for (std::int64_t i = 0; largest && i < 2 * units * stride; ++i)  // whole rows of one sign
    w[static_cast<std::size_t>(i)] = static_cast<std::int8_t>(i / stride % 4 < 2 ? kWeightLevels : -kWeightLevels);
  std::vector<std::int32_t> unit;
  for (std::int64_t i = 0; i < units; ++i) unit.push_back(static_cast<std::int32_t>(2 * units - 1 - 2 * i));
  std::vector<std::int32_t> most(static_cast<std::size_t>(units + 1), 12345), least(most);
  screen.extremes(h.data(), rows, w.data(), unit.data(), units, stride, most.data(), least.data());
  for (std::size_t i = 0; i < unit.size(); ++i) {
    std::int64_t top = std::numeric_limits<std::int64_t>::min(), bottom = std::numeric_limits<std::int64_t>::max();
    for (std::int64_t r = 0; r < rows; ++r) {
      std::int64_t sum = 0;
      for (std::int64_t j = 0; j < stride; ++j)
        sum += static_cast<std::int64_t>(h[static_cast<std::size_t>(r * stride + j)]) *
               w[static_cast<std::size_t>(unit[i] * stride + j)];
      top = std::max(top, sum);
      bottom = std::min(bottom, sum);
    }
    CHECK_EQ(most[i], top);
    CHECK_EQ(least[i], bottom);
  }
  CHECK(most.back() == 12345 && least.back() == 12345);
}

void test_extremes() {
  for (const Isa isa : supported_levels()) {
    for (const ScreenFunctions* screen : screens(isa)) {
      CHECK_EQ(screen == nullptr, isa == Isa::scalar);
      if (screen == nullptr) continue;
      for (const std::int64_t rows : {1, 2, 3, 4, 5, 7, 8, 33}) {
        for (const std::int64_t units : {1, 2, 3, 4, 5, 9}) {
          for (const bool largest : {false, true}) check_extremes(*screen, rows, units, 192, largest);
        }
      }
      check_extremes(*screen, 3, 3, 64, true);
      check_extremes(*screen, 5, 2, kMostScreenWidth, true);
    }
  }
}

template <class T>
void check_length(T got, double square) {
  CHECK(std::abs(static_cast<double>(got) - std::sqrt(square)) <=
        64 * static_cast<double>(std::numeric_limits<T>::epsilon()) * (std::sqrt(square) + 1.0));
}

template <class T>
void test_quantized_units(const ActiveRowFunctions<T>& functions, std::int64_t width) {
  constexpr std::int64_t rows = 3;
  const std::int64_t stride = stride_of(width);
  std::vector<T> h = draws<T>(3, rows * width, 1.4), inverse(static_cast<std::size_t>(width), T(kUnitLevels));
  for (T& value : h) value = std::max(value, T(0));  // some go beyond the range
  std::vector<std::uint8_t> q(static_cast<std::size_t>(rows * stride), 99);
  std::vector<T> norm(rows), rounding(rows);
  functions.quantize_units({h.data(), rows, width, width}, inverse.data(), stride, q.data(), norm.data(),
                           rounding.data());
  for (std::int64_t r = 0; r < rows; ++r) {
    double norm2 = 0.0, rounding2 = 0.0;
    for (std::int64_t j = 0; j < stride; ++j) {
      const int level = q[static_cast<std::size_t>(r * stride + j)];
      const double value =
          j < width ? static_cast<double>(h[static_cast<std::size_t>(r * width + j)]) * kUnitLevels : 0.0;
      CHECK(level <= kUnitLevels && std::abs(std::min<double>(value, kUnitLevels) - level) <= 0.5001);
      norm2 += level * level;
      rounding2 += (value - level) * (value - level);
    }
    check_length(norm[static_cast<std::size_t>(r)], norm2);
    check_length(rounding[static_cast<std::size_t>(r)], rounding2);
  }
}

template <class T>
void test_quantized_weights(const ActiveRowFunctions<T>& functions, std::int64_t width) {
  const std::int64_t stride = stride_of(width);
  const auto count = static_cast<std::size_t>(width);
  std::vector<T> w = draws<T>(4, width, 3.0), scale(count);
  for (std::size_t j = 0; j < count; ++j) scale[j] = T(0.5) + T(j % 5);
  std::vector<std::int8_t> q(static_cast<std::size_t>(stride), 99);
  const RowBound<T> bound = functions.bound_row(width, w.data(), scale.data(), stride, q.data());
  double most = 0.0, positive = 0.0, magnitude = 0.0, norm2 = 0.0, rounding2 = 0.0;
  for (std::size_t j = 0; j < q.size(); ++j) {
    const double v = j < count ? static_cast<double>(w[j]) * static_cast<double>(scale[j]) : 0.0;
    const double rest = v - static_cast<double>(bound.unit) * q[j];
    CHECK(std::abs(q[j]) <= kWeightLevels && std::abs(rest) <= 0.5001 * static_cast<double>(bound.unit));
    most = std::max(most, std::abs(v));
    positive += std::max(v, 0.0);
    magnitude += std::abs(v);
    norm2 += v * v;
    rounding2 += rest * rest;
  }
  CHECK(std::abs(static_cast<double>(bound.unit) * kWeightLevels - most) <= 1e-6 * most);
  CHECK(std::abs(static_cast<double>(bound.positive) - positive) <= 1e-5 * magnitude);
  CHECK(std::abs(static_cast<double>(bound.magnitude) - magnitude) <= 1e-5 * magnitude);
  check_length(bound.norm, norm2);
  check_length(bound.rounding, rounding2);
  w[count / 2] = std::numeric_limits<T>::quiet_NaN();
  CHECK(std::isnan(functions.bound_row(width, w.data(), scale.data(), stride, q.data()).magnitude));
}

// Biases put the units at many distances from 0, on either side. What is certified must be so in exact arithmetic, and
// most of those that are far must be certified where there is a screen.
template <class T>
void test_certificates(Isa isa, const ScreenFunctions* screen, std::int64_t width, double scale,
                       std::vector<UnitClass>& found) {
  constexpr std::int64_t batch = 40;
  ThreadPool pool(2);
  Certificates<T> certificates(width, isa, pool, batch, screen);
  const auto w2 = draws<T>(5, width * width, scale), w3 = draws<T>(6, width, 1.0);
  auto h1 = draws<T>(7, batch * width, 1.0);
  for (T& value : h1) value = std::max(value, T(0));
  std::vector<double> least(static_cast<std::size_t>(width), INFINITY),
      most(static_cast<std::size_t>(width), -INFINITY);
  for (std::int64_t k = 0; k < width; ++k) {
    for (std::int64_t b = 0; b < batch; ++b) {
      double z = 0.0;
      for (std::int64_t j = 0; j < width; ++j)
        z += static_cast<double>(w2[static_cast<std::size_t>(k * width + j)]) *
             static_cast<double>(h1[static_cast<std::size_t>(b * width + j)]);
      least[static_cast<std::size_t>(k)] = std::min(least[static_cast<std::size_t>(k)], z);
      most[static_cast<std::size_t>(k)] = std::max(most[static_cast<std::size_t>(k)], z);
    }
  }
  for (const double margin : {-1.0, -1e-3, 0.0, 1e-7, 1e-5, 1e-3, 0.01, 0.1, 1.0, 10.0}) {
    std::vector<T> b2(static_cast<std::size_t>(width));
    std::vector<UnitClass> units(b2.size());
    for (std::size_t k = 0; k < b2.size(); ++k) {
      const double distance = margin * scale * std::sqrt(static_cast<double>(width));
      b2[k] = static_cast<T>(k % 2 == 0 ? -most[k] - distance : -least[k] + distance);
      units[k] = k % 2 == 0 ? UnitClass::dead : UnitClass::on;
    }
    certificates.certify({w2.data(), b2.data(), w3.data()}, h1.data(), batch, units.data());
    for (std::size_t k = 0; k < b2.size(); ++k) {
      const double bias = static_cast<double>(b2[k]);
      CHECK(units[k] != UnitClass::dead || bias + most[k] <= 0.0);
      CHECK(units[k] != UnitClass::on || bias + least[k] > 0.0);
      if (margin >= 1.0 && screen != nullptr) CHECK(units[k] != UnitClass::mixed);
      found.push_back(units[k]);
    }
  }
}

template <class T>
void test_level(Isa isa, std::vector<UnitClass>& found) {
  for (const std::int64_t width : kWidths) {
    test_quantized_units(table<T>(isa).active, width);
    test_quantized_weights(table<T>(isa).active, width);
    for (const ScreenFunctions* screen : screens(isa)) {
      for (const double scale : {1e-6, 1.0, 1e4}) test_certificates<T>(isa, screen, width, scale, found);
    }
  }
}

}  // namespace

int main() {
  test_extremes();
  for (const Isa isa : supported_levels()) {
    std::vector<UnitClass> found;
    test_level<float>(isa, found);
    test_level<double>(isa, found);
    CHECK(std::count(found.begin(), found.end(), UnitClass::mixed) > 0);  // or no certificate was ever in doubt
  }
  return pn::test::report();
}
