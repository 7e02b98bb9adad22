// Declarations shared by all parts of the kernel, which runs one recurrent layer on one batch.
//
// All arrays are float32, row-major and dense. The weights have the shapes and the gate order of
// Keras, with G gates (simple RNN 1, LSTM 4: i f c o, GRU 3: z r h):
//
//   x (batch, time, features)
//   mask (batch, time): nonzero at valid steps; or null
//   kernel (features, G * units), recurrent (units, G * units)
//   bias (G * units), or (2, G * units) for a GRU that resets after the product; or null
//   h0, c0 (batch, units): initial states
//   h, c (batch, units): final states
//   y (batch, time, units): h after every step, in the order in which the steps are read
//
// A padded step leaves h and c unchanged, so that y repeats the last valid h there.
#pragma once
#include <cstdint>

namespace rnn_topologies {

enum Cell : int32_t { SIMPLE_RNN = 0, LSTM = 1, GRU = 2, GRU_RESET_BEFORE = 3 };

constexpr long PANEL = 16;  // columns stored together, the same for every instruction set

inline long padded(long size) { return (size + PANEL - 1) / PANEL * PANEL; }

struct Layer {
  int32_t cell, reverse;  // reverse: read the last step first
  int32_t threads;        // maximum number; 0: one per core
  int32_t reserved;
  int64_t batch, time, features, units;
  const float *x;
  const uint8_t *mask;
  const float *h0, *c0, *kernel, *recurrent, *bias;
  float *y, *h, *c;
  float *reserve;  // what every step keeps for the backward pass, or null
};

struct Gradients {
  const float *dy, *dh, *dc;  // of y and of the final states; null if there are none
  float *dx, *dh0, *dc0, *dkernel, *drecurrent, *dbias;
};

inline long gates(int cell) { return cell == SIMPLE_RNN ? 1 : cell == LSTM ? 4 : 3; }

// Number of blocks of `units` floats that the forward pass keeps per step:
// LSTM i f c~ o c; GRU z r h~ and h R_h + b or, with the reset before the product, r h.
inline long kept_blocks(int cell) { return cell == SIMPLE_RNN ? 0 : cell == LSTM ? 5 : 4; }

// Number of blocks ("slots") of gradients per step, one per gate. A GRU has h~ twice: once for
// the product with x and once for the product with h.
inline long slots(int cell) { return cell == GRU ? 4 : gates(cell); }

// The work of one call, split into parts for the threads.
struct Work {
  const Layer *layer;
  const Gradients *gradients;
  long units_padded;     // a multiple of PANEL
  long slices;           // parts of the batch; a thread runs all time steps of a slice
  float *kernel_panels;  // the kernel (forward) or its transpose (backward), in panels
  float *recurrent_panels;
  float *biases;    // of the product with x, then (GRU only) of the product with h
  float *scratch;   // `slice_floats` per slice
  long slice_floats;
  long block;       // steps whose product with x is computed at once
  float *deltas;    // backward: gradients of the gates, [panel][batch][time][PANEL]
  float *sums;      // backward: `group_floats` per group of panels
  long groups, group_floats;
};

// The functions of one instruction set. Each runs one part of the work.
struct InstructionSet {
  const char *name;
  void (*pack)(const Work &, int backward, long part);  // part 0: kernel, 1: recurrent
  void (*forward)(const Work &, long slice);
  void (*backward)(const Work &, long slice);
  void (*weight_gradients)(const Work &, long group);
};

extern const InstructionSet portable;
#if defined(__x86_64__)
extern const InstructionSet avx2, avx512;
#endif

// Calls part(context, i) for i = 0 ... parts - 1 on at most `threads` threads, and returns when
// all calls have returned.
void parallel(long parts, long threads, void (*part)(void *, long), void *context);
// Returns the number of cores that this process may use.
long cores();

// Memory that is reused by later calls. Returns null if there is none left.
float *acquire(long floats);
void release(float *memory);
// Requests large pages, with which the operating system hands out memory 100 times faster.
void prefer_large_pages(const void *memory, long bytes);

// Runs the forward or, with gradients, the backward pass; returns false if memory runs out.
bool run(const Layer &, const Gradients *);

// Number of floats that the forward pass keeps for the backward pass.
inline int64_t reserve_size(int64_t cell, int64_t batch, int64_t time, int64_t units) {
  return batch * time * kept_blocks(int(cell)) * padded(units);
}

}  // namespace rnn_topologies
