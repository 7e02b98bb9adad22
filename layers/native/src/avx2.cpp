// The kernel compiled for AVX2.
#include "kernel.h"
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define LANES 8
#define TILE_ROWS 6

namespace rnn_topologies {
namespace {
// The order matters: each header uses the one before.
#include "vector.h"

#include "product.h"

#include "passes.h"
}  // namespace

extern const InstructionSet avx2 = {"avx2", pack, forward, backward, weight_gradients};
}  // namespace rnn_topologies
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
