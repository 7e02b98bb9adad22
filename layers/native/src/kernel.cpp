// One call: memory and threads are found, and an instruction set.
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

constexpr double WORTH_A_THREAD = 4e5;  // operations that take longer than to wake one
constexpr long THIN = 8;                // rows: below, the weights are read too often
constexpr long BLOCK_FLOATS = 1 << 16;  // of the sums of a block of steps: a quarter of a cache
constexpr long GROUP_FLOATS = 1 << 17;  // of the weights' gradients that a thread forms at once

Work divide(const Layer &layer, const Gradients *gradients) {
  Work work = {};
  work.layer = &layer;
  work.gradients = gradients;
  work.units_padded = padded(layer.units);
  const double operations = 2.0 * layer.batch * layer.time * gates(layer.cell) * layer.units *
                            (layer.features + layer.units);
  long threads = layer.threads > 0 ? layer.threads : cores();
  if (operations / WORTH_A_THREAD < threads) threads = long(operations / WORTH_A_THREAD);
  if (threads > layer.batch) threads = layer.batch;
  // Two slices for each thread, where that does not make them thin: cores are not equally fast,
  // and the faster takes more.
  work.slices = threads <= 1 ? 1 : layer.batch >= 2 * threads * THIN ? 2 * threads : threads;
  const long rows = (layer.batch + work.slices - 1) / work.slices;
  const long sums = (gradients ? slots(layer.cell) : gates(layer.cell)) * work.units_padded;
  const long steps = BLOCK_FLOATS / (rows * sums > 0 ? rows * sums : 1);
  work.block = steps < 1 ? 1 : steps > layer.time ? layer.time : steps;
  work.slice_floats = rows * 4 * work.units_padded + work.block * rows * sums;
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
  const long width = work.units_padded, all = gates(layer.cell) * width;
  const bool backward = gradients != nullptr;
  const long of_kernel = backward ? padded(layer.features) * all : layer.features * all;
  const long of_recurrent = backward ? width * all : layer.units * all;
  const long of_deltas = backward ? layer.batch * layer.time * slots(layer.cell) * width : 0;
  if (backward) {
    const long pairs = (slots(layer.cell) * width / PANEL + 1) / 2;
    const long of_pair = (layer.features + layer.units + 1) * 2 * PANEL;
    long most = GROUP_FLOATS / of_pair;
    if (most < 1) most = 1;
    long groups = (pairs + most - 1) / most;
    if (groups < work.slices) groups = work.slices;
    // As many for every thread.
    if (groups > work.slices && groups % work.slices)
      groups += work.slices - groups % work.slices;
    work.groups = groups < pairs ? groups : pairs;
    work.group_floats = ((pairs + work.groups - 1) / work.groups) * of_pair;
  }
  const long of_biases = (gates(layer.cell) + 1) * width;
  float *memory = borrow(of_kernel + of_recurrent + of_deltas + of_biases +
                         work.slices * work.slice_floats + work.groups * work.group_floats);
  if (!memory) return false;
  work.kernel_panels = memory;
  work.recurrent_panels = work.kernel_panels + of_kernel;
  work.biases = work.recurrent_panels + of_recurrent;
  work.scratch = work.biases + of_biases;
  work.sums = work.scratch + work.slices * work.slice_floats;
  work.deltas = work.sums + work.groups * work.group_floats;
  const bool worth_it = work.slices > 1 || of_kernel + of_recurrent > (1 << 18);
  const long some = worth_it ? threads : 1;
  Call call = {&work, chosen, backward};
  parallel(
      2, some,
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
        work.groups, some,
        [](void *context, long group) {
          const Call &call = *static_cast<Call *>(context);
          call.set->weights(*call.work, group);
        },
        &call);
  give_back(memory);
  return true;
}

}  // namespace rnn_topologies

using namespace rnn_topologies;

int rnn_topologies_choose(const char *name) {
  const InstructionSet *mine = best();
  if (name && std::strcmp(name, "portable") == 0) mine = &portable;
#if defined(__x86_64__)
  else if (name && std::strcmp(name, "avx2") == 0 && mine != &portable) mine = &avx2;
#endif
  else if (name && std::strcmp(name, mine->name) != 0) return 1;
  chosen = mine;
  return 0;
}

const char *rnn_topologies_instruction_set(void) { return chosen.load()->name; }
