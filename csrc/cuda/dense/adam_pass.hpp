// An optimiser step over all parameters of any network, and the penalties beside it, as launches.
#pragma once

#include <cstdint>

#include "core/penalty_gradient.hpp"
#include "cuda/dense/adam_kernels.hpp"
#include "cuda/dense/carver.hpp"
#include "cuda/dense/penalty_kernels.hpp"

namespace pn::cuda {

template <class T>
PenaltyFactors<T> penalty_factors(const NetworkShape& shape, const Penalty& penalty) {
  PenaltyFactors<T> factors;
  if (penalty.kind == PenaltyKind::l1) factors.l1 = static_cast<T>(penalty.strength);
  if (penalty.kind == PenaltyKind::l2) factors.twice_l2 = static_cast<T>(2 * penalty.strength);
  if (penalty.kind == PenaltyKind::path_norm) {
    factors.path = static_cast<T>(penalty.strength * path_norm_factor(shape));
  }
  return factors;
}

// Memory of the path norm: its vectors, and e and q in parts.
struct PathMemory {
  PathNormVectors vectors;
  PathParts parts;

  static PathMemory of(const UnitShape& shape, Carver& carver) {
    PathMemory memory;
    PathNormVectors& v = memory.vectors;
    for (double** vector : {&v.c, &v.e, &v.q, &v.old_c, &v.old_w3}) *vector = carver.take<double>(shape.units());
    if (shape.two_layers) {
      const PathTiles tiles = PathTiles::of(shape.width);
      memory.parts.e = carver.take<double>(shape.groups * tiles.down * shape.width);
      memory.parts.q = carver.take<double>(shape.groups * tiles.across * shape.width);
    }
    return memory;
  }
};

template <class T>
struct AdamArrays {
  Tensors<T> p, m, v;
};

template <class T, class Launcher>
class AdamPass {
 public:
  // memory: of this shape under a path norm, else empty. rest: for dense networks without a penalty.
  AdamPass(const NetworkShape& shape, const Penalty& penalty, const PathMemory& memory, const RestingRows& rest = {})
      : shape_(UnitShape::of(shape)), with_path_(penalty.kind == PenaltyKind::path_norm),
        factors_(penalty_factors<T>(shape, penalty)), memory_(memory), rest_(rest) {}

  // Reads the parameters for the path norm's vectors. To be called before the first step and whenever somebody else has
  // changed the parameters.
  void prepare(Launcher& launcher, const Tensors<const T>& p) const {
    if (!with_path_) return;
    launcher.launch(PathUnits<T>{shape_, p, memory_.vectors});
    if (!shape_.two_layers) return;
    // Without moments the pass changes nothing.
    PathHidden<T> pass = path_hidden(p.w3);
    pass.p = const_cast<T*>(p.w2);
    launcher.launch(pass);
    join(launcher);
  }

  // gradient: of the loss alone; its w2 is not used, but hidden is.
  void step(Launcher& launcher, const AdamArrays<T>& arrays, const Tensors<const T>& gradient,
            const HiddenGradient<T>& hidden, const StepScalars<T>& scalars) const {
    if (shape_.two_layers && !with_path_) {
      // Before w3 changes, which may be a factor of this gradient.
      launcher.launch(AdamHidden<T>{shape_, arrays.p.w2, arrays.m.w2, arrays.v.w2, hidden, scalars, factors_, rest_});
    }
    launcher.launch(
        AdamUnits<T>{shape_, arrays.p, arrays.m, arrays.v, gradient, scalars, factors_, memory_.vectors, with_path_});
    if (!shape_.two_layers || !with_path_) return;
    PathHidden<T> pass = path_hidden(arrays.p.w3);
    pass.p = arrays.p.w2;
    pass.m = arrays.m.w2;
    pass.v = arrays.v.w2;
    pass.gradient = hidden;
    pass.scalars = scalars;
    launcher.launch(pass);
    join(launcher);
  }

  // After the last step of an epoch: gives rows at rest the moments that they have by now.
  void settle(Launcher& launcher, const AdamArrays<T>& arrays, const Cursor* cursor) const {
    if (rest_.since == nullptr) return;
    launcher.launch(SettleRows<T>{shape_.width, arrays.m.w2, arrays.v.w2, rest_, cursor});
  }

 private:
  PathHidden<T> path_hidden(const T* w3) const {
    return {shape_, nullptr, nullptr, nullptr, {}, {}, factors_.path, w3, memory_.vectors, memory_.parts};
  }
  void join(Launcher& launcher) const {
    launcher.launch(JoinPath{shape_, memory_.parts, memory_.vectors.e, memory_.vectors.q});
  }

  UnitShape shape_;
  bool with_path_;
  PenaltyFactors<T> factors_;
  PathMemory memory_;
  RestingRows rest_;
};

// Memory of add_penalty and add_path_norm.
struct PenaltyMemory {
  PathMemory path;
  double* partial = nullptr;  // of sums of weights

  template <class T>
  static PenaltyMemory of(const NetworkShape& shape, PenaltyKind kind, Carver& carver) {
    PenaltyMemory memory;
    if (kind == PenaltyKind::path_norm) memory.path = PathMemory::of(UnitShape::of(shape), carver);
    if (kind == PenaltyKind::l1 || kind == PenaltyKind::l2) {
      memory.partial = carver.take<double>(parts_of(parameter_layout(shape).size, SumWeights<T>::kEach) + 2);
    }
    return memory;
  }
};

// *value += factor times the sum over all paths of products of absolute weights.
template <class T, class Launcher>
void add_path_norm(Launcher& launcher, const NetworkShape& shape, const PathMemory& memory, const Tensors<const T>& p,
                   double factor, double* value) {
  AdamPass<T, Launcher>(shape, {PenaltyKind::path_norm, 0.0}, memory).prepare(launcher, p);
  launcher.launch(AddPathNorm<T>{p.w3, memory.vectors.q, shape.units(), factor, value});
}

// *value += the penalty; gradient += its gradient.
template <class T, class Launcher>
void add_penalty(Launcher& launcher, const NetworkShape& shape, const Penalty& penalty, const PenaltyMemory& memory,
                 const Tensors<const T>& p, const Tensors<T>& gradient, double* value) {
  if (penalty.kind == PenaltyKind::none) return;
  struct Weights {
    const T* w;
    T* gradient;
    std::int64_t count;
    typename AddPathGradient<T>::Of of;
  };
  using Of = typename AddPathGradient<T>::Of;
  const UnitShape units = UnitShape::of(shape);
  const Weights all[] = {{p.w1, gradient.w1, units.units() * units.block_in, Of::w1},
                         {p.w2, gradient.w2, units.two_layers ? units.units() * units.width : 0, Of::w2},
                         {p.w3, gradient.w3, units.units(), Of::w3}};
  const bool path = penalty.kind == PenaltyKind::path_norm;
  const double path_factor = penalty.strength * path_norm_factor(shape);
  if (path) add_path_norm(launcher, shape, memory.path, p, path_factor, value);
  for (const Weights& t : all) {
    if (t.count == 0) continue;
    if (path) {
      launcher.launch(Elements<AddPathGradient<T>>{
          {t.of, units, t.w, p.w3, path_factor, memory.path.vectors, t.gradient}, t.count});
      continue;
    }
    const SumWeights<T> sums{t.w, t.count, penalty.kind == PenaltyKind::l2, memory.partial};
    launcher.launch(sums);
    launcher.launch(AddTotal{memory.partial, sums.blocks(), penalty.strength, value});
    launcher.launch(Elements<AddPlainGradient<T>>{{t.w, penalty_factors<T>(shape, penalty), t.gradient}, t.count});
  }
}

}  // namespace pn::cuda
