#include "cuda/blocks/phase_launch.cuh"

namespace pn::cuda {

PN_INSTANTIATE_PHASES(float);

}  // namespace pn::cuda
