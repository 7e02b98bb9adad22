// The kernel compiled for any machine.
#include "kernel.h"
#define LANES 4
#define TILE_ROWS 6

namespace rnn_topologies {
namespace {
// The order matters: each header uses the one before.
#include "vector.h"

#include "product.h"

#include "passes.h"
}  // namespace

extern const InstructionSet portable = {"portable", pack, forward, backward, weight_gradients};
}  // namespace rnn_topologies
