// Memory between calls: asking the operating system anew would cost a page fault per page.
#include <pthread.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdlib>

#include "kernel.h"

namespace rnn_topologies {
namespace {

constexpr long LARGE_PAGE = 2 << 20;
constexpr long KEPT = 4;  // pieces that wait for the next call

struct Piece {
  float *memory;
  long floats;
  bool lent;
};

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
Piece pieces[KEPT] = {};

// In a child process nobody is left who could give back what was lent, or the lock.
void begin_anew() {
  lock = PTHREAD_MUTEX_INITIALIZER;
  for (Piece &piece : pieces) piece.lent = false;
}

float *allocate(long floats) {
  static const bool told = pthread_atfork(nullptr, nullptr, begin_anew) == 0;
  (void)told;
  void *memory = nullptr;
  const long bytes = floats * long(sizeof(float));
  if (posix_memalign(&memory, bytes >= LARGE_PAGE ? LARGE_PAGE : 64, bytes)) return nullptr;
  prefer_large_pages(memory, bytes);
  return static_cast<float *>(memory);
}

}  // namespace

void prefer_large_pages(const void *memory, long bytes) {
#if defined(__linux__)
  const uintptr_t start = (uintptr_t(memory) + LARGE_PAGE - 1) & -uintptr_t(LARGE_PAGE);
  const uintptr_t end = (uintptr_t(memory) + bytes) & -uintptr_t(LARGE_PAGE);
  if (end > start) madvise(reinterpret_cast<void *>(start), end - start, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}

float *borrow(long floats) {
  pthread_mutex_lock(&lock);
  Piece *best = nullptr;  // the smallest that will do, else a free one to be replaced
  for (Piece &piece : pieces)
    if (!piece.lent && piece.floats >= floats && (!best || piece.floats < best->floats))
      best = &piece;
  if (!best)
    for (Piece &piece : pieces)
      if (!piece.lent && (!best || piece.floats < best->floats)) best = &piece;
  float *memory = nullptr;
  if (best && best->floats >= floats) {
    memory = best->memory;
    best->lent = true;
  } else if (best) {
    free(best->memory);
    memory = allocate(floats);
    *best = {memory, memory ? floats : 0, memory != nullptr};
  } else {
    memory = allocate(floats);  // all pieces are lent: this one is not kept
  }
  pthread_mutex_unlock(&lock);
  return memory;
}

void give_back(float *memory) {
  if (!memory) return;
  pthread_mutex_lock(&lock);
  Piece *found = nullptr;
  for (Piece &piece : pieces)
    if (piece.memory == memory) found = &piece;
  if (found)
    found->lent = false;
  else
    free(memory);
  pthread_mutex_unlock(&lock);
}

}  // namespace rnn_topologies
