// Vectors of LANES floats and the activation functions on them. Included once per instruction
// set, inside an anonymous namespace. Nothing here may come from a C++ header: the linker would
// share its inline functions between instruction sets.

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

inline Vector load(const float *from) { return *(const Unaligned *)from; }
inline void store(float *to, Vector x) { *(Unaligned *)to = x; }
inline Vector broadcast(float x) { return x - Vector{}; }

// Loads the first `count` floats and pads with zeros.
inline Vector load_some(const float *from, long count) {
  if (count >= LANES) return load(from);
  float lanes[LANES] = {};
  for (long i = 0; i < count; i++) lanes[i] = from[i];
  return load(lanes);
}

inline void store_some(float *to, Vector x, long count) {
  if (count >= LANES) return store(to, x);
  for (long i = 0; i < count; i++) to[i] = x[i];
}

// Returns e^x for x clipped to +-87, within 2 units in the last place. With x = n ln 2 + r: a
// polynomial for e^r (coefficients: S. L. Moshier, Cephes, expf), and n added to the exponent.
inline Vector exponential(Vector x) {
  x = x > 87.0f ? broadcast(87.0f) : x;  // for NaN, both comparisons are false
  x = x < -87.0f ? broadcast(-87.0f) : x;
  const Vector shift = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  Vector n = (x * 1.44269504088896341f + shift) - shift;
  Vector r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Vector p = broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  Integers power = (__builtin_convertvector(n, Integers) + 127) << 23;
  return p * (Vector)power;
}

inline Vector sigmoid(Vector x) { return 1.0f / (1.0f + exponential(-x)); }

// Near zero, (e^2x - 1) / (e^2x + 1) loses precision: there, a polynomial (Cephes, tanhf).
inline Vector hyperbolic_tangent(Vector x) {
  Vector squared = x * x;
  Vector p = broadcast(-5.70498872745e-3f);
  p = p * squared + 2.06390887954e-2f;
  p = p * squared + -5.37397155531e-2f;
  p = p * squared + 1.33314422036e-1f;
  p = p * squared + -3.33332819422e-1f;
  p = p * squared * x + x;
  Vector quotient = 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f);
  return squared < 0.390625f ? p : quotient;
}
