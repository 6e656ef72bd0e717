// What the programs of this folder share: the protocol's networks, penalties, and parameters from a file.
#pragma once

#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/network.hpp"
#include "core/penalty.hpp"

constexpr std::int64_t kBatch = 800, kWidthPerInput = 50;

inline pn::NetworkShape shape_of(const std::string& network, std::int64_t d) {
  const bool global = network == "GN";
  return {d, global ? d : 1, global ? d * kWidthPerInput : kWidthPerInput, network == "LN", 2, pn::Activation::relu};
}

// Of "none", or "KIND:STRENGTH".
inline pn::Penalty penalty_of(const std::string& text) {
  const std::size_t colon = text.find(':');
  return pn::make_penalty(text.substr(0, colon), colon == std::string::npos ? 0.0 : std::stod(text.substr(colon + 1)));
}

// The file holds float32 numbers, flat.
inline std::vector<float> read_parameters(const char* path, std::int64_t size) {
  std::vector<float> parameters(static_cast<std::size_t>(size));
  std::ifstream file(path, std::ios::binary);
  if (!file.read(reinterpret_cast<char*>(parameters.data()), size * 4)) {
    throw std::runtime_error(std::string(path) + " must hold " + std::to_string(size) + " float32 numbers");
  }
  return parameters;
}
