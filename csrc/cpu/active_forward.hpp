// Forward half of the active-unit kernel (active_kernel.hpp): certificates, evaluation of the units without one, and
// the output.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/buffer.hpp"
#include "cpu/certificates.hpp"
#include "cpu/kernel.hpp"
#include "cpu/linear_units.hpp"
#include "cpu/packed_units.hpp"

namespace pn::cpu {

// What a forward pass found the units of layer 2 to be on its batch.
template <class T>
struct BatchClasses {
  std::vector<UnitClass> units;  // (width,)
  UnitSelection<T> evaluated;    // those that were not certified, or all
  UnitList certified_on;         // not among the evaluated ones
  UnitList evaluated_on;         // among them
};

template <class T>
class ActiveForward {
 public:
  // batch: the most rows of a pass. The pool outlives this; BLAS must be loaded.
  ActiveForward(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch);

  // Nothing is known of the parameters any more.
  void forget();

  // Row k of W2 has changed. Any thread may call it, each row on one thread.
  void row_changed(std::int64_t k, const T* row);

  // certify: whether what is known is about these parameters.
  void run(const T* parameters, const Rows<T>& rows, bool certify);

  // Of the last pass, of n rows.
  const BatchClasses<T>& classes() const { return classes_; }
  const T* x() const { return x_.data(); }      // (n, inputs)
  T* h1() { return h1_.data(); }                // (n, width)
  T* h2() { return h2_.data(); }                // (n, evaluated)
  T* output() { return output_.data(); }        // (n,) undivided
  LinearUnits<T>& linear() { return linear_; }  // of the certified units
  PackedUnits<T>& packed() { return packed_; }  // of the evaluated ones

 private:
  void first_layer(std::int64_t n);
  void choose_evaluated();
  void evaluate(std::int64_t n);
  void sum_output(std::int64_t n);
  void classify(std::int64_t n);

  std::int64_t inputs_, width_, batch_;
  ParameterLayout layout_;
  const Table<T>& table_;
  ThreadPool& pool_;
  Certificates<T> certificates_;
  const T* parameters_ = nullptr;  // of the pass under way
  BatchClasses<T> classes_;        // its units are the guess for the next batch
  PackedUnits<T> packed_;
  LinearUnits<T> linear_;
  Buffer<T> x_, h1_, h2_;
  Buffer<T> dots_;              // (column tiles, batch)
  Buffer<double> linear_dots_;  // (batch,)
  Buffer<T> output_;
  Buffer<T> active_rows_;  // (row tiles, evaluated) on how many rows of the tile each unit is active
};

}  // namespace pn::cpu
