#include "cuda/blocks/local_launch.cuh"

namespace pn::cuda {

PN_INSTANTIATE_LOCAL(double);

}  // namespace pn::cuda
