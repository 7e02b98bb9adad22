// Runs one call: chooses the instruction set, splits the work and allocates memory.
#include "kernel.h"

#include <atomic>
#include <cstring>

#include "interface.h"

namespace rnn_topologies {
namespace {

const InstructionSet *best() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return &avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2;
#endif
  return &portable;
}

std::atomic<const InstructionSet *> chosen{best()};

constexpr double MIN_OPERATIONS = 4e5;  // per thread: fewer take less time than waking it
constexpr long MIN_ROWS = 8;            // per slice: with fewer, weights are read too often
constexpr long BLOCK_FLOATS = 1 << 16;  // pre-activations of a block of steps: 1/4 of a cache
constexpr long GROUP_FLOATS = 1 << 17;  // weight gradients that a thread computes at once

Work divide(const Layer &layer, const Gradients *gradients) {
  Work work = {};
  work.layer = &layer;
  work.gradients = gradients;
  work.units_padded = padded(layer.units);
  const double operations = 2.0 * layer.batch * layer.time * gates(layer.cell) * layer.units *
                            (layer.features + layer.units);
  long threads = layer.threads > 0 ? layer.threads : cores();
  if (operations / MIN_OPERATIONS < threads) threads = long(operations / MIN_OPERATIONS);
  if (threads > layer.batch) threads = layer.batch;
  // Two slices per thread, unless they would have too few rows: cores differ in speed, and the
  // faster ones then take more slices.
  work.slices = threads <= 1 ? 1 : layer.batch >= 2 * threads * MIN_ROWS ? 2 * threads : threads;
  const long rows = (layer.batch + work.slices - 1) / work.slices;
  const long row_floats = (gradients ? slots(layer.cell) : gates(layer.cell)) * work.units_padded;
  const long steps = BLOCK_FLOATS / (rows * row_floats > 0 ? rows * row_floats : 1);
  work.block = steps < 1 ? 1 : steps > layer.time ? layer.time : steps;
  work.slice_floats = rows * 4 * work.units_padded + work.block * rows * row_floats;
  if (gradients) work.slice_floats += work.block * rows * padded(layer.features);
  work.slice_floats = padded(work.slice_floats);
  return work;
}

struct Call {
  const Work *work;
  const InstructionSet *set;
  bool backward;
};

}  // namespace

bool run(const Layer &layer, const Gradients *gradients) {
  if (!gradients) {
    prefer_large_pages(layer.y, layer.batch * layer.time * layer.units * long(sizeof(float)));
    if (layer.reserve)
      prefer_large_pages(layer.reserve,
                         reserve_size(layer.cell, layer.batch, layer.time, layer.units) *
                             long(sizeof(float)));
  }
  Work work = divide(layer, gradients);
  const long threads = layer.threads > 0 ? layer.threads : cores();
  const long width = work.units_padded, gates_width = gates(layer.cell) * width;
  const bool backward = gradients != nullptr;
  const long kernel_floats = (backward ? padded(layer.features) : layer.features) * gates_width;
  const long recurrent_floats = (backward ? width : layer.units) * gates_width;
  const long delta_floats = backward ? layer.batch * layer.time * slots(layer.cell) * width : 0;
  if (backward) {
    const long pairs = (slots(layer.cell) * width / PANEL + 1) / 2;
    const long pair_floats = (layer.features + layer.units + 1) * 2 * PANEL;
    long group_pairs = GROUP_FLOATS / pair_floats;
    if (group_pairs < 1) group_pairs = 1;
    long groups = (pairs + group_pairs - 1) / group_pairs;
    if (groups < work.slices) groups = work.slices;
    // The same number of groups for every thread.
    if (groups > work.slices && groups % work.slices)
      groups += work.slices - groups % work.slices;
    work.groups = groups < pairs ? groups : pairs;
    work.group_floats = ((pairs + work.groups - 1) / work.groups) * pair_floats;
  }
  const long bias_floats = (gates(layer.cell) + 1) * width;
  float *memory = acquire(kernel_floats + recurrent_floats + delta_floats + bias_floats +
                          work.slices * work.slice_floats + work.groups * work.group_floats);
  if (!memory) return false;
  work.kernel_panels = memory;
  work.recurrent_panels = work.kernel_panels + kernel_floats;
  work.biases = work.recurrent_panels + recurrent_floats;
  work.scratch = work.biases + bias_floats;
  work.sums = work.scratch + work.slices * work.slice_floats;
  work.deltas = work.sums + work.groups * work.group_floats;
  const bool is_large = work.slices > 1 || kernel_floats + recurrent_floats > (1 << 18);
  const long pack_threads = is_large ? threads : 1;
  Call call = {&work, chosen, backward};
  parallel(
      2, pack_threads,
      [](void *context, long part) {
        const Call &call = *static_cast<Call *>(context);
        call.set->pack(*call.work, call.backward, part);
      },
      &call);
  parallel(
      work.slices, threads,
      [](void *context, long slice) {
        const Call &call = *static_cast<Call *>(context);
        (call.backward ? call.set->backward : call.set->forward)(*call.work, slice);
      },
      &call);
  if (backward)
    parallel(
        work.groups, pack_threads,
        [](void *context, long group) {
          const Call &call = *static_cast<Call *>(context);
          call.set->weight_gradients(*call.work, group);
        },
        &call);
  release(memory);
  return true;
}

}  // namespace rnn_topologies

using namespace rnn_topologies;

int rnn_topologies_choose(const char *name) {
  const InstructionSet *set = best();
  if (name && std::strcmp(name, "portable") == 0) set = &portable;
#if defined(__x86_64__)
  else if (name && std::strcmp(name, "avx2") == 0 && set != &portable) set = &avx2;
#endif
  else if (name && std::strcmp(name, set->name) != 0) return 1;
  chosen = set;
  return 0;
}

const char *rnn_topologies_instruction_set(void) { return chosen.load()->name; }
