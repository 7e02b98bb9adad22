// The C interface: checks the shapes of all arrays, then runs the kernel.
#include "interface.h"

#include <cstring>

#include "kernel.h"

namespace rnn_topologies {
namespace {

constexpr int64_t MAX_ELEMENTS = int64_t(1) << 40;  // so that index arithmetic cannot overflow

int64_t count(const RnnArray &array) {
  int64_t elements = 1;
  for (int64_t axis = 0; axis < array.rank; axis++) elements *= array.sizes[axis];
  return elements;
}

bool has_shape(const RnnArray &array, int64_t first, int64_t second = -1, int64_t third = -1) {
  const int64_t expected[] = {first, second, third};
  const int64_t rank = third >= 0 ? 3 : second >= 0 ? 2 : 1;
  if (array.rank != rank) return false;
  for (int64_t axis = 0; axis < rank; axis++)
    if (array.sizes[axis] != expected[axis]) return false;
  return true;
}

float *floats(const RnnArray &array) {
  return count(array) ? static_cast<float *>(array.data) : nullptr;
}

// Checks the first seven inputs and fills in `layer`; returns null or an error message.
const char *read_layer(const int64_t settings[3], const RnnArray inputs[7], Layer *layer) {
  const RnnArray &x = inputs[0], &mask = inputs[1], &h0 = inputs[2], &c0 = inputs[3];
  const RnnArray &kernel = inputs[4], &recurrent = inputs[5], &bias = inputs[6];
  if (settings[0] < SIMPLE_RNN || settings[0] > GRU_RESET_BEFORE) return "unknown cell";
  if (settings[2] < 0) return "threads must not be negative";
  if (x.rank != 3) return "x must be (batch, time, features)";
  if (h0.rank != 2) return "h0 must be (batch, units)";
  layer->cell = int32_t(settings[0]);
  layer->reverse = settings[1] != 0;
  layer->threads = int32_t(settings[2] < 4096 ? settings[2] : 4096);
  layer->batch = x.sizes[0], layer->time = x.sizes[1], layer->features = x.sizes[2];
  layer->units = h0.sizes[1];
  if (layer->units < 1 || layer->features < 1) return "units and features must be positive";
  const int64_t width = gates(layer->cell) * layer->units;
  const double elements = double(layer->batch) * layer->time *
                              (8.0 * padded(layer->units) + padded(layer->features)) +
                          double(padded(layer->features) + padded(layer->units)) * 5 * width;
  if (elements > double(MAX_ELEMENTS)) return "the arrays are too large";
  if (!has_shape(h0, layer->batch, layer->units)) return "h0 must be (batch, units)";
  if (layer->cell == LSTM && !has_shape(c0, layer->batch, layer->units))
    return "c0 must be (batch, units)";
  if (!has_shape(kernel, layer->features, width)) return "kernel must be (features, gates * units)";
  if (!has_shape(recurrent, layer->units, width))
    return "recurrent kernel must be (units, gates * units)";
  if (count(bias) && !(layer->cell == GRU ? has_shape(bias, 2, width) : has_shape(bias, width)))
    return "bias must be (gates * units), or (2, gates * units) for a GRU with reset_after";
  if (count(mask) && !has_shape(mask, layer->batch, layer->time))
    return "mask must be (batch, time)";
  layer->x = floats(x);
  layer->mask = count(mask) ? static_cast<const uint8_t *>(mask.data) : nullptr;
  layer->h0 = floats(h0);
  layer->c0 = floats(c0);
  layer->kernel = floats(kernel);
  layer->recurrent = floats(recurrent);
  layer->bias = floats(bias);
  return nullptr;
}

const char *check_optional_state(const RnnArray &array, int64_t batch, int64_t units) {
  if (!count(array) || has_shape(array, batch, units)) return nullptr;
  return "the gradients of states must be (batch, units)";
}

void copy_or_zero(float *to, const float *from, int64_t elements) {
  if (!to) return;
  if (from)
    std::memcpy(to, from, sizeof(float) * elements);
  else
    std::memset(to, 0, sizeof(float) * elements);
}

}  // namespace
}  // namespace rnn_topologies

using namespace rnn_topologies;

const char *rnn_topologies_forward(const int64_t settings[3], const RnnArray inputs[7],
                                   const RnnArray outputs[4]) {
  Layer layer = {};
  if (const char *error = read_layer(settings, inputs, &layer)) return error;
  const bool lstm = layer.cell == LSTM;
  const int64_t reserve = rnn_topologies_reserve(layer.cell, layer.batch, layer.time, layer.units);
  if (!has_shape(outputs[0], layer.batch, layer.time, layer.units))
    return "y must be (batch, time, units)";
  if (!has_shape(outputs[1], layer.batch, layer.units)) return "h must be (batch, units)";
  if (lstm && !has_shape(outputs[2], layer.batch, layer.units)) return "c must be (batch, units)";
  if (count(outputs[3]) && !has_shape(outputs[3], reserve)) return "reserve has the wrong size";
  layer.y = floats(outputs[0]);
  layer.h = floats(outputs[1]);
  layer.c = floats(outputs[2]);
  layer.reserve = floats(outputs[3]);
  if (layer.batch * layer.time == 0) {
    copy_or_zero(layer.h, layer.h0, layer.batch * layer.units);
    if (lstm) copy_or_zero(layer.c, layer.c0, layer.batch * layer.units);
    return nullptr;
  }
  return run(layer, nullptr) ? nullptr : "out of memory";
}

const char *rnn_topologies_backward(const int64_t settings[3], const RnnArray inputs[12],
                                    const RnnArray outputs[6]) {
  Layer layer = {};
  if (const char *error = read_layer(settings, inputs, &layer)) return error;
  const bool lstm = layer.cell == LSTM;
  const RnnArray &y = inputs[7], &reserve = inputs[8], &dy = inputs[9];
  const int64_t kept = rnn_topologies_reserve(layer.cell, layer.batch, layer.time, layer.units);
  if (!has_shape(y, layer.batch, layer.time, layer.units)) return "y must be (batch, time, units)";
  if (count(reserve) != kept) return "reserve has the wrong size";
  if (count(dy) && !has_shape(dy, layer.batch, layer.time, layer.units))
    return "the gradient of y must be (batch, time, units)";
  if (const char *error = check_optional_state(inputs[10], layer.batch, layer.units)) return error;
  if (const char *error = check_optional_state(inputs[11], layer.batch, layer.units)) return error;
  for (int i = 0; i < 6; i++) {
    const RnnArray &input = inputs[i ? i + 1 : 0];  // the mask, inputs[1], has no gradient
    const bool needed = i == 2 ? lstm : i == 5 ? layer.bias != nullptr : true;
    if (needed && count(outputs[i]) != count(input)) return "a gradient has the wrong size";
  }
  layer.y = floats(y);
  layer.reserve = floats(reserve);
  const Gradients gradients = {floats(dy),         floats(inputs[10]), floats(inputs[11]),
                               floats(outputs[0]), floats(outputs[1]), floats(outputs[2]),
                               floats(outputs[3]), floats(outputs[4]),
                               layer.bias ? floats(outputs[5]) : nullptr};
  if (layer.batch * layer.time == 0) {
    copy_or_zero(gradients.dh0, gradients.dh, layer.batch * layer.units);
    if (lstm) copy_or_zero(gradients.dc0, gradients.dc, layer.batch * layer.units);
    for (int i = 3; i < 6; i++) copy_or_zero(floats(outputs[i]), nullptr, count(outputs[i]));
    return nullptr;
  }
  return run(layer, &gradients) ? nullptr : "out of memory";
}

int64_t rnn_topologies_reserve(int64_t cell, int64_t batch, int64_t time, int64_t units) {
  return reserve_size(cell, batch, time, units);
}
