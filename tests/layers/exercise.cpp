// Runs the kernel on arrays without slack, under a sanitizer.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "interface.h"

struct Array {
  std::unique_ptr<char[]> memory;
  RnnArray array = {};
  int64_t elements = 1;

  Array(std::vector<int64_t> sizes, bool bytes = false) {
    array.rank = int64_t(sizes.size());
    for (size_t axis = 0; axis < sizes.size(); axis++) {
      array.sizes[axis] = sizes[axis];
      elements *= sizes[axis];
    }
    memory.reset(new char[elements * (bytes ? 1 : sizeof(float))]);
    array.data = memory.get();
    for (int64_t i = 0; i < elements; i++) {
      if (bytes)
        memory[i] = rand() % 3 > 0;
      else
        reinterpret_cast<float *>(memory.get())[i] = rand() / float(RAND_MAX) - 0.5f;
    }
  }

  const float *begin() const { return reinterpret_cast<const float *>(memory.get()); }
};

int fail(const char *what) {
  std::fprintf(stderr, "%s\n", what);
  return 1;
}

int main() {
  const int64_t sizes[][4] = {{1, 1, 1, 1}, {3, 4, 5, 7}, {2, 20, 16, 16}, {19, 3, 33, 40},
                              {70, 5, 9, 50}};
  int calls = 0;
  for (const char *set : {"avx512", "avx2", "portable"}) {
    if (rnn_topologies_choose(set)) continue;
    for (const auto &size : sizes)
      for (int64_t cell = 0; cell < 4; cell++)
        for (int64_t options = 0; options < 16; options++) {
          const int64_t batch = size[0], time = size[1], features = size[2], units = size[3];
          const int64_t gates = cell == 0 ? 1 : cell == 1 ? 4 : 3, width = gates * units;
          const bool masked = options & 2, biased = options & 4, sequences = options & 8;
          const int64_t settings[] = {cell, options & 1, 4};
          const int64_t reserve = rnn_topologies_reserve(cell, batch, time, units);
          const int64_t states = cell == 1 ? batch : 0;
          std::vector<int64_t> bias = {0};
          if (biased) bias = cell == 2 ? std::vector<int64_t>{2, width} : std::vector{width};
          Array x({batch, time, features}), mask({masked ? batch : 0, time}, true);
          Array h0({batch, units}), c0({states, units}), kernel({features, width});
          Array recurrent({units, width}), b(bias), y({batch, time, units}), h({batch, units});
          Array c({states, units}), kept({reserve}), dy({sequences ? batch : 0, time, units});
          Array dx({batch, time, features}), dh0({batch, units}), dc0({states, units});
          Array dkernel({features, width}), drecurrent({units, width}), db(bias);
          const RnnArray inputs[] = {x.array, mask.array, h0.array, c0.array, kernel.array,
                                     recurrent.array, b.array, y.array, kept.array, dy.array,
                                     h.array, c.array};
          const RnnArray outputs[] = {y.array, h.array, c.array, kept.array};
          const RnnArray gradients[] = {dx.array, dh0.array, dc0.array, dkernel.array,
                                        drecurrent.array, db.array};
          if (const char *error = rnn_topologies_forward(settings, inputs, outputs))
            return fail(error);
          if (const char *error = rnn_topologies_backward(settings, inputs, gradients))
            return fail(error);
          for (const Array *array : {&y, &h, &dx, &dh0, &dkernel, &drecurrent, &db})
            for (int64_t i = 0; i < array->elements; i++)
              if (!std::isfinite(array->begin()[i])) return fail("not a number");
          calls++;
        }
  }
  std::printf("ran %d\n", calls);
  return 0;
}
