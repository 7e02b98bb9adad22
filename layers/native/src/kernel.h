// What the parts of the kernel share: one recurrent layer over one batch.
//
// All arrays are float32, row-major and dense. Shapes, with G gates (simple RNN 1, LSTM 4 in
// the order i f c o, GRU 3 in the order z r h), are those of the Keras weights:
//
//   x (batch, time, features)   mask (batch, time), nonzero at valid steps, or null
//   kernel (features, G units)  recurrent (units, G units)
//   bias (G units), of a GRU that resets after the product (2, G units), or null
//   h0, c0, h, c (batch, units): the states before and after
//   y (batch, time, units): h after every step, in the order in which steps are read
//
// A padded step leaves h and c as they are, so that y holds the last valid h there.
#pragma once
#include <cstdint>

namespace rnn_topologies {

enum Cell : int32_t { SIMPLE_RNN = 0, LSTM = 1, GRU = 2, GRU_RESET_BEFORE = 3 };

constexpr long PANEL = 16;  // columns of a matrix that lie together, for every instruction set

inline long padded(long size) { return (size + PANEL - 1) / PANEL * PANEL; }

struct Layer {
  int32_t cell, reverse;  // reverse: the last step is read first
  int32_t threads;        // at most so many; 0: one for each core
  int32_t reserved;
  int64_t batch, time, features, units;
  const float *x;
  const uint8_t *mask;
  const float *h0, *c0, *kernel, *recurrent, *bias;
  float *y, *h, *c;
  float *reserve;  // what the backward pass needs of every step, or null
};

struct Gradients {
  const float *dy, *dh, *dc;  // of y and of the last states; null where there are none
  float *dx, *dh0, *dc0, *dkernel, *drecurrent, *dbias;
};

inline long gates(int cell) { return cell == SIMPLE_RNN ? 1 : cell == LSTM ? 4 : 3; }

// Blocks of `units` numbers that the forward pass keeps of every step:
// LSTM i f c~ o c, GRU z r h~ and h R_h + b or, with the reset before, r h.
inline long kept(int cell) { return cell == SIMPLE_RNN ? 0 : cell == LSTM ? 5 : 4; }

// Blocks of gradients of every step: those of the gates; a GRU has h~ twice, once for the
// product with x and once for that with h.
inline long slots(int cell) { return cell == GRU ? 4 : gates(cell); }

// The work of one call, cut into parts that threads take.
struct Work {
  const Layer *layer;
  const Gradients *gradients;
  long units_padded;     // a multiple of PANEL
  long slices;           // parts of the batch, each read from the first step to the last
  float *kernel_panels;  // forward: kernel; backward: its transpose, both in panels
  float *recurrent_panels;
  float *biases;    // added to the product with x, then, of a GRU, to that with h
  float *scratch;   // forward and backward: `slice_floats` for every slice
  long slice_floats;
  long block;       // steps whose product with x is formed at once
  float *deltas;    // backward: gradients of the gates, [panel][batch][time][PANEL]
  float *sums;      // backward: `group_floats` for every group of panels
  long groups, group_floats;
};

// What an instruction set provides. All functions run one part of the work.
struct InstructionSet {
  const char *name;
  void (*pack)(const Work &, int backward, long part);  // parts: two
  void (*forward)(const Work &, long slice);
  void (*backward)(const Work &, long slice);
  void (*weights)(const Work &, long group);
};

extern const InstructionSet portable;
#if defined(__x86_64__)
extern const InstructionSet avx2, avx512;
#endif

// Calls part(context, i) for i = 0 ... parts - 1 on at most `threads` threads, and returns when
// all have ended.
void parallel(long parts, long threads, void (*part)(void *, long), void *context);
long cores();

// Memory that is kept for the next call; null if there is none.
float *borrow(long floats);
void give_back(float *memory);
// Asks for large pages: fresh memory is then handed out in a hundredth of the time.
void prefer_large_pages(const void *memory, long bytes);

// Runs a layer forward or, with gradients, backward; false if there is no memory.
bool run(const Layer &, const Gradients *);

// Floats that the forward pass keeps for the backward pass.
inline int64_t reserve_size(int64_t cell, int64_t batch, int64_t time, int64_t units) {
  return batch * time * kept(int(cell)) * padded(units);
}

}  // namespace rnn_topologies
