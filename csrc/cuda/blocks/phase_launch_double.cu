#include "cuda/blocks/phase_launch.cuh"

namespace pn::cuda {

PN_INSTANTIATE_PHASES(double);

}  // namespace pn::cuda
