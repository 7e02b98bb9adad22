// The forward and backward passes through time. Included once per instruction set.
//
// Each thread runs a slice of the batch through all time steps, so that no step waits for another
// thread. The weight gradients are computed after the last step, each thread some columns.
// Internally, units are padded to a multiple of PANEL; the padding stays zero.

inline long first_row(const Work &work, long slice) {
  return work.layer->batch * slice / work.slices;
}

// Returns the index of a time step in x, for step t in reading order.
inline long step_index(const Layer &layer, long row, long t) {
  return row * layer.time + (layer.reverse ? layer.time - 1 - t : t);
}

inline bool valid(const Layer &layer, long row, long t) {
  return !layer.mask || layer.mask[step_index(layer, row, t)];
}

inline bool any_valid(const Layer &layer, long first, long rows, long t) {
  for (long i = 0; i < rows; i++)
    if (valid(layer, first + i, t)) return true;
  return rows > 0 && !layer.mask;
}

inline void copy_in(float *to, const float *from, long units, long width) {
  for (long u = 0; u < units; u++) to[u] = from ? from[u] : 0;
  for (long u = units; u < width; u++) to[u] = 0;
}

inline void copy_out(float *to, const float *from, long units) {
  __builtin_memcpy(to, from, sizeof(float) * units);
}

// Returns the slot of a gate's gradient in the product with x. The slots of a GRU are h~ z r h~:
// the first three are for the product with x, the last three for the product with h.
inline long x_slot(int cell, long gate) {
  return cell == GRU ? (gate + 1) % 3 : gate;
}

void pack(const Work &work, int backward, long part) {
  const Layer &layer = *work.layer;
  const long units = layer.units, width = work.units_padded, count = gates(layer.cell);
  const long rows = part ? units : layer.features;
  const float *matrix = part ? layer.recurrent : layer.kernel;
  float *panels = part ? work.recurrent_panels : work.kernel_panels;
  for (long gate = 0; gate < count; gate++) {
    const long first = gate * units, columns = count * units;
    if (!backward) {
      pack_columns(matrix, rows, columns, first, units, panels + gate * width * rows);
    } else if (part && layer.cell == GRU_RESET_BEFORE) {
      // Two matrices: one for the gradients of z and r, one for those of h~.
      float *to = gate < 2 ? panels : panels + padded(rows) * 2 * width;
      pack_transposed(matrix, rows, columns, first, units, to, gate < 2 ? 2 * width : width,
                      gate < 2 ? gate * width : 0);
    } else {
      // The slots of a GRU for h, z r h~, are in the order of the gates.
      const long slot = part ? gate : x_slot(layer.cell, gate);
      pack_transposed(matrix, rows, columns, first, units, panels, count * width, slot * width);
    }
  }
  if (backward || part) return;
  float *bias = work.biases;
  copy_in(bias, nullptr, 0, (count + 1) * width);
  if (!layer.bias) return;
  for (long gate = 0; gate < count; gate++) {
    float *to = bias + gate * width;
    copy_in(to, layer.bias + gate * units, units, width);
    if (layer.cell != GRU) continue;
    const float *second = layer.bias + (count + gate) * units;
    if (gate == 2)
      copy_in(bias + count * width, second, units, width);
    else
      for (long u = 0; u < units; u++) to[u] += second[u];
  }
}

// Runs one step of one row and updates h and c. z holds the pre-activations of the gates, q for a
// GRU h R_h + b. Writes the gates to `keep` unless it is null.
template <int CELL>
inline void forward_step(float *z, const float *q, float *h, float *c, float *keep, long width) {
  for (long u = 0; u < width; u += LANES) {
    if (CELL == SIMPLE_RNN) {
      store(h + u, hyperbolic_tangent(load(z + u)));
    } else if (CELL == LSTM) {
      const Vector input = sigmoid(load(z + u)), forget = sigmoid(load(z + width + u));
      const Vector candidate = hyperbolic_tangent(load(z + 2 * width + u));
      const Vector output = sigmoid(load(z + 3 * width + u));
      const Vector cell = forget * load(c + u) + input * candidate;
      store(c + u, cell);
      store(h + u, output * hyperbolic_tangent(cell));
      if (keep) {
        store(keep + u, input);
        store(keep + width + u, forget);
        store(keep + 2 * width + u, candidate);
        store(keep + 3 * width + u, output);
        store(keep + 4 * width + u, cell);
      }
    } else {
      // With the reset before the product, z already holds the activations of z and r.
      const bool before = CELL == GRU_RESET_BEFORE;
      const Vector update = before ? load(z + u) : sigmoid(load(z + u));
      const Vector reset = before ? load(z + width + u) : sigmoid(load(z + width + u));
      const Vector recurrent = load(q + u);
      Vector sum = load(z + 2 * width + u);
      if (!before) sum = sum + reset * recurrent;
      const Vector candidate = hyperbolic_tangent(sum), old = load(h + u);
      store(h + u, update * (old - candidate) + candidate);
      if (keep) {
        store(keep + u, update);
        store(keep + width + u, reset);
        store(keep + 2 * width + u, candidate);
        store(keep + 3 * width + u, recurrent);
      }
    }
  }
}

template <int CELL>
inline void forward_pass(const Work &work, long slice) {
  const Layer &layer = *work.layer;
  const long first = first_row(work, slice), rows = first_row(work, slice + 1) - first;
  const long units = layer.units, features = layer.features, time = layer.time;
  const long width = work.units_padded, count = gates(CELL), z_width = count * width;
  const long kept_floats = kept_blocks(CELL) * width;
  float *h = work.scratch + slice * work.slice_floats;
  float *c = h + rows * width, *q = c + rows * width, *block = q + rows * width;
  for (long i = 0; i < rows; i++) {
    copy_in(h + i * width, layer.h0 + (first + i) * units, units, width);
    if (CELL == LSTM) copy_in(c + i * width, layer.c0 + (first + i) * units, units, width);
  }
  for (long t = 0; t < time; t++) {
    const long step_in_block = t % work.block;
    if (step_in_block == 0) {
      const long steps = time - t < work.block ? time - t : work.block;
      product(rows, layer.x + step_index(layer, first, t) * features, time * features,
              work.kernel_panels, features, z_width / PANEL, block, z_width, FROM_BIAS, work.biases,
              steps, layer.reverse ? -features : features, rows * z_width);
    }
    float *z = block + step_in_block * rows * z_width;
    const bool active = any_valid(layer, first, rows, t);
    if (active && (CELL == LSTM || CELL == SIMPLE_RNN)) {
      product(rows, h, width, work.recurrent_panels, units, z_width / PANEL, z, z_width, FROM_C);
    } else if (active) {
      const float *candidate_panels = work.recurrent_panels + 2 * width * units;
      product(rows, h, width, work.recurrent_panels, units, 2 * width / PANEL, z, z_width, FROM_C);
      if (CELL == GRU) {
        product(rows, h, width, candidate_panels, units, width / PANEL, q, width, FROM_BIAS,
                work.biases + z_width);
      } else {
        for (long i = 0; i < rows; i++)
          for (long u = 0; u < width; u += LANES) {
            float *sum = z + i * z_width + u;
            const Vector reset = sigmoid(load(sum + width));
            store(sum, sigmoid(load(sum)));
            store(sum + width, reset);
            store(q + i * width + u, reset * load(h + i * width + u));
          }
        product(rows, q, width, candidate_panels, units, width / PANEL, z + 2 * width, z_width,
                FROM_C);
      }
    }
    for (long i = 0; i < rows; i++) {
      const long step = (first + i) * time + t;
      if (valid(layer, first + i, t))
        forward_step<CELL>(z + i * z_width, q + i * width, h + i * width, c + i * width,
                           layer.reserve ? layer.reserve + step * kept_floats : nullptr, width);
      else if (layer.reserve && (CELL == LSTM || CELL == GRU_RESET_BEFORE))
        // A padded step, too, needs what is read later: the next step reads c of an LSTM, the
        // weight gradients r h of a GRU.
        copy_in(layer.reserve + step * kept_floats + (kept_blocks(CELL) - 1) * width,
                CELL == LSTM ? c + i * width : nullptr, width, width);
      copy_out(layer.y + step * units, h + i * width, units);
    }
  }
  for (long i = 0; i < rows; i++) {
    copy_out(layer.h + (first + i) * units, h + i * width, units);
    if (CELL == LSTM) copy_out(layer.c + (first + i) * units, c + i * width, units);
  }
}

// Runs one step of one row backwards: from the gradients dh and dc after the step, computes those
// of the pre-activations, in their slots. dh and dc become the part that bypasses the products.
template <int CELL>
inline void backward_step(const float *keep, const float *h_before, const float *c_before,
                          const float *h_after, float *dh, float *dc, float *slot, long width,
                          long units) {
  for (long u = 0; u < width; u += LANES) {
    const Vector dh_after = load(dh + u);
    if (CELL == SIMPLE_RNN) {
      const Vector h = load_some(h_after + u, units - u);
      store(slot + u, dh_after * (1.0f - h * h));
      store(dh + u, Vector{});
    } else if (CELL == LSTM) {
      const Vector input = load(keep + u), forget = load(keep + width + u);
      const Vector candidate = load(keep + 2 * width + u), output = load(keep + 3 * width + u);
      const Vector squashed = hyperbolic_tangent(load(keep + 4 * width + u));
      const Vector d_cell = load(dc + u) + dh_after * output * (1.0f - squashed * squashed);
      store(slot + u, d_cell * candidate * input * (1.0f - input));
      store(slot + width + u, d_cell * load(c_before + u) * forget * (1.0f - forget));
      store(slot + 2 * width + u, d_cell * input * (1.0f - candidate * candidate));
      store(slot + 3 * width + u, dh_after * squashed * output * (1.0f - output));
      store(dc + u, d_cell * forget);
      store(dh + u, Vector{});
    } else {
      const Vector update = load(keep + u), reset = load(keep + width + u);
      const Vector candidate = load(keep + 2 * width + u);
      const Vector old = load_some(h_before + u, units - u);
      const Vector d_candidate = dh_after * (1.0f - update) * (1.0f - candidate * candidate);
      const Vector d_update = dh_after * (old - candidate) * update * (1.0f - update);
      if (CELL == GRU) {
        const Vector recurrent = load(keep + 3 * width + u);
        store(slot + u, d_candidate);
        store(slot + width + u, d_update);
        store(slot + 2 * width + u, d_candidate * recurrent * reset * (1.0f - reset));
        store(slot + 3 * width + u, d_candidate * reset);
      } else {
        store(slot + u, d_update);  // the gradient of the reset gate needs a product first
        store(slot + 2 * width + u, d_candidate);
      }
      store(dh + u, dh_after * update);
    }
  }
}

template <int CELL>
inline void backward_pass(const Work &work, long slice) {
  const Layer &layer = *work.layer;
  const Gradients &gradients = *work.gradients;
  const long first = first_row(work, slice), rows = first_row(work, slice + 1) - first;
  const long units = layer.units, features = layer.features, time = layer.time;
  const long width = work.units_padded, slots_width = slots(CELL) * width;
  const long kept_floats = kept_blocks(CELL) * width, features_padded = padded(features);
  const long h_slots = CELL == GRU ? width : 0;  // where the slots of the product with h start
  float *dh = work.scratch + slice * work.slice_floats;
  float *dc = dh + rows * width, *c0 = dc + rows * width, *d_reset_h = c0 + rows * width;
  float *block = d_reset_h + rows * width, *dx = block + work.block * rows * slots_width;
  for (long i = 0; i < rows; i++) {
    const long row = (first + i) * units;
    copy_in(dh + i * width, gradients.dh ? gradients.dh + row : nullptr, units, width);
    copy_in(dc + i * width, gradients.dc ? gradients.dc + row : nullptr, units, width);
    if (CELL == LSTM) copy_in(c0 + i * width, layer.c0 + row, units, width);
  }
  for (long t = time - 1; t >= 0; t--) {
    float *slot = block + t % work.block * rows * slots_width;
    const bool active = any_valid(layer, first, rows, t);
    for (long i = 0; i < rows; i++) {
      const long step = (first + i) * time + t;
      float *dh_row = dh + i * width, *to = slot + i * slots_width;
      if (gradients.dy)
        for (long u = 0; u < units; u++) dh_row[u] += gradients.dy[step * units + u];
      const float *keep = layer.reserve + step * kept_floats;
      const float *h_after = layer.y + step * units;
      const float *h_before = t ? h_after - units : layer.h0 + (first + i) * units;
      const float *c_before = t ? keep - kept_floats + 4 * width : c0 + i * width;
      if (valid(layer, first + i, t))
        backward_step<CELL>(keep, h_before, c_before, h_after, dh_row, dc + i * width, to, width,
                            units);
      else
        __builtin_memset(to, 0, sizeof(float) * slots_width);
    }
    if (active && CELL == GRU_RESET_BEFORE) {
      product(rows, slot + 2 * width, slots_width,
              work.recurrent_panels + padded(units) * 2 * width, width, width / PANEL, d_reset_h,
              width, FROM_ZERO);
      for (long i = 0; i < rows; i++) {
        const long step = (first + i) * time + t;
        if (!valid(layer, first + i, t)) {
          continue;  // its slots are zero, and so is d_reset_h
        }
        const float *h_before =
            t ? layer.y + (step - 1) * units : layer.h0 + (first + i) * units;
        for (long u = 0; u < width; u += LANES) {
          const Vector reset = load(layer.reserve + step * kept_floats + width + u);
          const Vector d_product = load(d_reset_h + i * width + u);
          const Vector old = load_some(h_before + u, units - u);
          store(slot + i * slots_width + width + u, d_product * old * reset * (1.0f - reset));
          store(dh + i * width + u, load(dh + i * width + u) + d_product * reset);
        }
      }
      product(rows, slot, slots_width, work.recurrent_panels, 2 * width, width / PANEL, dh, width,
              FROM_C);
    } else if (active) {
      product(rows, slot + h_slots, slots_width, work.recurrent_panels, gates(CELL) * width,
              width / PANEL, dh, width, FROM_C);
    }
    for (long i = 0; i < rows; i++) {
      const float *from = slot + i * slots_width;
      float *to = work.deltas + ((first + i) * time + t) * PANEL;
      for (long u = 0; u < slots_width; u += PANEL, to += layer.batch * time * PANEL)
        for (long lane = 0; lane < PANEL; lane += LANES)
          store(to + lane, load(from + u + lane));
    }
    if (t % work.block == 0) {
      const long steps = time - t < work.block ? time - t : work.block;
      product(rows, block, slots_width, work.kernel_panels, gates(CELL) * width,
              features_padded / PANEL, dx, features_padded, FROM_ZERO, nullptr, steps,
              rows * slots_width, rows * features_padded);
      for (long s = 0; s < steps; s++)
        for (long i = 0; i < rows; i++)
          copy_out(gradients.dx + step_index(layer, first + i, t + s) * features,
                   dx + (s * rows + i) * features_padded, features);
    }
  }
  for (long i = 0; i < rows; i++) {
    copy_out(gradients.dh0 + (first + i) * units, dh + i * width, units);
    if (CELL == LSTM) copy_out(gradients.dc0 + (first + i) * units, dc + i * width, units);
  }
}

// sums (rows, 2 * PANEL) += a^T deltas over steps [0, depth), for one or two panels of deltas.
// Element a[k, row] is at a[k * stride + row].
inline void add_products(const float *a, long stride, long rows, const float *deltas,
                         long panel_stride, long panels, long depth, float *sums) {
  for (long column = 0; column < panels * PANEL;) {
    const long vectors = panels * PANEL - column >= 2 * LANES ? 2 : 1;
    columns<true>(vectors, rows, a, stride, deltas + column / PANEL * panel_stride + column % PANEL,
                  panel_stride, depth, sums + column, 2 * PANEL, FROM_C, nullptr);
    column += vectors * LANES;
  }
}

// Computes the weight gradients of one group of panels: x^T deltas, h^T deltas and sum of deltas.
void weight_gradients(const Work &work, long group) {
  const Layer &layer = *work.layer;
  const Gradients &gradients = *work.gradients;
  const long units = layer.units, features = layer.features, time = layer.time;
  const long width = work.units_padded, count = gates(layer.cell);
  const long panels = slots(layer.cell) * width / PANEL;
  const long pairs = (panels + 1) / 2, steps = layer.batch * time;
  const long first = pairs * group / work.groups, last = pairs * (group + 1) / work.groups;
  const long rows = features + units + 1, panel_stride = steps * PANEL;
  const long chunk = 128;  // steps whose data fit into the L1 cache
  float *sums = work.sums + group * work.group_floats;
  for (long i = 0; i < (last - first) * rows * 2 * PANEL; i++) sums[i] = 0;
  for (long row = 0; row < layer.batch; row++)
    for (long t = 0; t < time; t += chunk) {
      const long depth = time - t < chunk ? time - t : chunk;
      const long x_stride = layer.reverse ? -features : features;
      const float *x = layer.x + step_index(layer, row, t) * features;
      for (long pair = first; pair < last; pair++) {
        float *x_sums = sums + (pair - first) * rows * 2 * PANEL;
        float *h_sums = x_sums + features * 2 * PANEL;
        float *bias_sums = h_sums + units * 2 * PANEL;
        // A panel belongs to a single gate: width is a multiple of PANEL.
        for (long panel = 2 * pair; panel < 2 * pair + 2 && panel < panels;) {
          const long slot = panel * PANEL / width;
          const bool both = panel == 2 * pair && panel + 1 < panels &&
                            (panel + 1) * PANEL / width == slot;
          const long n = both ? 2 : 1, column = panel % 2 * PANEL;
          const float *deltas = work.deltas + panel * panel_stride + (row * time + t) * PANEL;
          const bool has_x_product = layer.cell != GRU || slot < 3;
          const bool has_h_product = layer.cell != GRU || slot > 0;
          if (has_x_product)
            add_products(x, x_stride, features, deltas, panel_stride, n, depth, x_sums + column);
          if (has_h_product && layer.cell == GRU_RESET_BEFORE && slot == 2) {
            const long stride = kept_blocks(layer.cell) * width;
            add_products(layer.reserve + (row * time + t) * stride + 3 * width, stride, units,
                         deltas, panel_stride, n, depth, h_sums + column);
          } else if (has_h_product) {
            const long skip = t == 0;  // before the first step, h is the initial state
            if (skip)
              add_products(layer.h0 + row * units, 0, units, deltas, panel_stride, n, 1,
                           h_sums + column);
            if (depth > skip)
              add_products(layer.y + (row * time + t + skip - 1) * units, units, units,
                           deltas + skip * PANEL, panel_stride, n, depth - skip, h_sums + column);
          }
          for (long p = 0; p < n; p++)
            for (long k = 0; k < depth; k++)
              for (long lane = 0; lane < PANEL; lane += LANES) {
                float *sum = bias_sums + column + p * PANEL + lane;
                store(sum, load(sum) + load(deltas + p * panel_stride + k * PANEL + lane));
              }
          panel += n;
        }
      }
    }
  for (long panel = 2 * first; panel < 2 * last && panel < panels; panel++) {
    const long slot = panel * PANEL / width, unit = panel * PANEL % width;
    const long used = units - unit < PANEL ? units - unit : PANEL;
    const float *from = sums + (panel / 2 - first) * rows * 2 * PANEL + panel % 2 * PANEL;
    const long x_gate = layer.cell != GRU ? slot : slot == 3 ? -1 : (slot + 2) % 3;
    const long h_gate = layer.cell != GRU ? slot : slot - 1;
    for (long k = 0; k < features && x_gate >= 0; k++)
      copy_out(gradients.dkernel + (k * count + x_gate) * units + unit, from + k * 2 * PANEL,
               used);
    for (long k = 0; k < units && h_gate >= 0; k++)
      copy_out(gradients.drecurrent + (k * count + h_gate) * units + unit,
               from + (features + k) * 2 * PANEL, used);
    if (!gradients.dbias) continue;
    const float *bias = from + (features + units) * 2 * PANEL;
    if (x_gate >= 0) copy_out(gradients.dbias + x_gate * units + unit, bias, used);
    if (layer.cell == GRU && h_gate >= 0)
      copy_out(gradients.dbias + (count + h_gate) * units + unit, bias, used);
  }
}

void forward(const Work &work, long slice) {
  switch (work.layer->cell) {
    case SIMPLE_RNN: return forward_pass<SIMPLE_RNN>(work, slice);
    case LSTM: return forward_pass<LSTM>(work, slice);
    case GRU: return forward_pass<GRU>(work, slice);
    default: return forward_pass<GRU_RESET_BEFORE>(work, slice);
  }
}

void backward(const Work &work, long slice) {
  switch (work.layer->cell) {
    case SIMPLE_RNN: return backward_pass<SIMPLE_RNN>(work, slice);
    case LSTM: return backward_pass<LSTM>(work, slice);
    case GRU: return backward_pass<GRU>(work, slice);
    default: return backward_pass<GRU_RESET_BEFORE>(work, slice);
  }
}
