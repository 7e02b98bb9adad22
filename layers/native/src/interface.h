// What the library shows to others: two functions on arrays, and what steers them.
#pragma once
#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {

struct RnnArray {
  void *data;
  int64_t rank;     // at most 3
  int64_t sizes[3];
};

// Of both functions: what the arrays hold is told in kernel.h; an array of no numbers stands for
// one that is not there. `settings` are
//   cell (0 simple RNN, 1 LSTM, 2 GRU, 3 GRU with the reset before the product),
//   whether the last step is read first, and the number of threads (0: one for each core).
// Every shape is checked. They return null, or what is wrong.

// inputs: x, mask (bytes), h0, c0, kernel, recurrent kernel, bias
// outputs: y, h, c, reserve (of rnn_topologies_reserve numbers, or none)
const char *rnn_topologies_forward(const int64_t settings[3], const RnnArray inputs[7],
                                   const RnnArray outputs[4]);

// inputs: the seven of forward, y, reserve, and the gradients of y, h and c
// outputs: the gradients of x, h0, c0, kernel, recurrent kernel, bias
const char *rnn_topologies_backward(const int64_t settings[3], const RnnArray inputs[12],
                                    const RnnArray outputs[6]);

// Numbers that the backward pass needs of the forward pass.
int64_t rnn_topologies_reserve(int64_t cell, int64_t batch, int64_t time, int64_t units);

// Chooses an instruction set by its name, or null the best; returns 0, or 1 if this machine has
// none such.
int rnn_topologies_choose(const char *name);
const char *rnn_topologies_instruction_set(void);

// The same two functions as targets of XLA's foreign function interface.
void *rnn_topologies_xla_forward(void *frame);
void *rnn_topologies_xla_backward(void *frame);

}
#pragma GCC visibility pop
