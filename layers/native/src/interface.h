// The C interface of the library: a forward and a backward function on arrays, and settings.
#pragma once
#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {

struct RnnArray {
  void *data;
  int64_t rank;     // at most 3
  int64_t sizes[3];
};

// kernel.h documents the arrays. An array without elements means that there is none. `settings`
// are the cell (0 simple RNN, 1 LSTM, 2 GRU, 3 GRU with the reset gate before the product),
// whether to read the last step first, and the maximum number of threads (0: one per core).
// Both functions check every shape and return null or an error message.

// inputs: x, mask (bytes), h0, c0, kernel, recurrent kernel, bias
// outputs: y, h, c, reserve (with rnn_topologies_reserve elements, or none)
const char *rnn_topologies_forward(const int64_t settings[3], const RnnArray inputs[7],
                                   const RnnArray outputs[4]);

// inputs: the seven of forward, y, reserve, and the gradients of y, h and c
// outputs: the gradients of x, h0, c0, kernel, recurrent kernel, bias
const char *rnn_topologies_backward(const int64_t settings[3], const RnnArray inputs[12],
                                    const RnnArray outputs[6]);

// Returns the size of `reserve`, what the forward pass keeps for the backward pass, in floats.
int64_t rnn_topologies_reserve(int64_t cell, int64_t batch, int64_t time, int64_t units);

// Selects an instruction set by name, or the best one if null. Returns 0, or 1 if this machine
// does not support it.
int rnn_topologies_choose(const char *name);
const char *rnn_topologies_instruction_set(void);

// Forward and backward as targets of XLA's foreign function interface.
void *rnn_topologies_xla_forward(void *frame);
void *rnn_topologies_xla_backward(void *frame);

}
#pragma GCC visibility pop
