// Where cuBLASLt comes from. Free of CUDA's own headers.
#pragma once

#include <string>

namespace pn::cuda::cublas {

// path: of libcublasLt. Throws std::runtime_error where it can not be loaded or lacks a function. Another call changes
// nothing once one has succeeded.
void load(const std::string& path);
bool loaded();

}  // namespace pn::cuda::cublas
