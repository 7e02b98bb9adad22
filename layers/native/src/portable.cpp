// The passes for any machine.
#include "kernel.h"
#define LANES 4
#define TILE_ROWS 6

namespace rnn_topologies {
namespace {
#include "vector.h"
// vector.h comes first, then
#include "product.h"
// and then
#include "passes.h"
}  // namespace

extern const InstructionSet portable = {"portable", pack, forward, backward, weights};
}  // namespace rnn_topologies
