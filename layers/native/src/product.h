// Matrix products c = a b, where b is stored in panels of PANEL columns, [panel][depth][PANEL].
// Included once per instruction set. The terms of every element are added in order of depth,
// regardless of the tile size: the results do not depend on how the rows are split.

enum Start { FROM_ZERO, FROM_C, FROM_BIAS };

// c (ROWS, VECTORS * LANES) = start + a b. Element a[i, k] is at a[i * stride + k], or at
// a[k * stride + i] if TRANSPOSED.
template <int ROWS, int VECTORS, bool TRANSPOSED>
inline void tile(const float *a, long stride, const float *b, long panel_stride, long depth,
                 float *c, long c_stride, Start start, const float *bias) {
  Vector sums[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++)
      sums[i][v] = start == FROM_C      ? load(c + i * c_stride + v * LANES)
                   : start == FROM_BIAS ? load(bias + v * LANES)
                                        : Vector{};
  for (long k = 0; k < depth; k++) {
    Vector row[VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++)
      row[v] = load(b + k * PANEL + v * LANES / PANEL * panel_stride + v * LANES % PANEL);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
      const float factor = TRANSPOSED ? a[k * stride + i] : a[i * stride + k];
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++) sums[i][v] += factor * row[v];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) store(c + i * c_stride + v * LANES, sums[i][v]);
}

template <int ROWS, int VECTORS, bool TRANSPOSED>
struct Tiles {
  static void run(long rows, const float *a, long stride, const float *b, long panel_stride,
                  long depth, float *c, long c_stride, Start start, const float *bias) {
    if (rows == ROWS)
      tile<ROWS, VECTORS, TRANSPOSED>(a, stride, b, panel_stride, depth, c, c_stride, start,
                                      bias);
    else
      Tiles<ROWS - 1, VECTORS, TRANSPOSED>::run(rows, a, stride, b, panel_stride, depth, c,
                                                c_stride, start, bias);
  }
};

template <int VECTORS, bool TRANSPOSED>
struct Tiles<0, VECTORS, TRANSPOSED> {
  static void run(long, const float *, long, const float *, long, long, float *, long, Start,
                  const float *) {}
};

// Computes all rows of one or two vectors of columns, in tiles of nearly equal height.
template <bool TRANSPOSED>
inline void columns(long vectors, long rows, const float *a, long stride, const float *b,
                    long panel_stride, long depth, float *c, long c_stride, Start start,
                    const float *bias) {
  const long tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
  for (long n = 0, row = 0; n < tiles; n++) {
    const long end = rows * (n + 1) / tiles;
    const float *from = TRANSPOSED ? a + row : a + row * stride;
    float *to = c + row * c_stride;
    if (vectors == 2)
      Tiles<TILE_ROWS, 2, TRANSPOSED>::run(end - row, from, stride, b, panel_stride, depth, to,
                                           c_stride, start, bias);
    else
      Tiles<TILE_ROWS, 1, TRANSPOSED>::run(end - row, from, stride, b, panel_stride, depth, to,
                                           c_stride, start, bias);
    row = end;
  }
}

// c (rows, panels * PANEL) = start + a b, for `steps` pairs of a and c that share b.
inline void product(long rows, const float *a, long stride, const float *b, long depth,
                    long panels, float *c, long c_stride, Start start,
                    const float *bias = nullptr, long steps = 1, long a_step = 0,
                    long c_step = 0) {
  if (rows == 1) {  // treat the steps as rows
    rows = steps, stride = a_step, c_stride = c_step;
    steps = 1;
  }
  const long width = panels * PANEL;
  for (long column = 0; column < width;) {
    const long vectors = width - column >= 2 * LANES ? 2 : 1;
    const float *from = b + column / PANEL * depth * PANEL + column % PANEL;
    for (long step = 0; step < steps; step++)
      columns<false>(vectors, rows, a + step * a_step, stride, from, depth * PANEL, depth,
                     c + step * c_step + column, c_stride, start,
                     bias ? bias + column : nullptr);
    column += vectors * LANES;
  }
}

// Packs columns [first, first + count) of a matrix (depth, width) into panels, zero-padded.
inline void pack_columns(const float *matrix, long depth, long width, long first, long count,
                         float *panels) {
  for (long column = 0; column < count; column += PANEL) {
    const long used = count - column < PANEL ? count - column : PANEL;
    for (long k = 0; k < depth; k++, panels += PANEL) {
      const float *row = matrix + k * width + first + column;
      for (long i = 0; i < used; i++) panels[i] = row[i];
      for (long i = used; i < PANEL; i++) panels[i] = 0;
    }
  }
}

// Packs the transpose of columns [first, first + count) of a matrix (rows, width): its rows
// become the columns of the panels, at depth [offset, offset + padded(count)).
inline void pack_transposed(const float *matrix, long rows, long width, long first, long count,
                            float *panels, long depth, long offset) {
  for (long row = 0; row < padded(rows); row++) {
    float *to = panels + row / PANEL * depth * PANEL + offset * PANEL + row % PANEL;
    const float *from = matrix + row * width + first;
    for (long k = 0; k < padded(count); k++)
      to[k * PANEL] = row < rows && k < count ? from[k] : 0;
  }
}
