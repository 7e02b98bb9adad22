// Memory that is reused between calls: fresh memory would cost a page fault per page.
#include <pthread.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdlib>

#include "kernel.h"

namespace rnn_topologies {
namespace {

constexpr long LARGE_PAGE = 2 << 20;
constexpr long CACHE_SIZE = 4;  // blocks that are kept for later calls

struct Block {
  float *memory;
  long floats;
  bool in_use;
};

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
Block blocks[CACHE_SIZE] = {};

// After a fork, the child lacks the threads that would release blocks or the lock.
void reset_after_fork() {
  lock = PTHREAD_MUTEX_INITIALIZER;
  for (Block &block : blocks) block.in_use = false;
}

float *allocate(long floats) {
  static const bool registered = pthread_atfork(nullptr, nullptr, reset_after_fork) == 0;
  (void)registered;
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

float *acquire(long floats) {
  pthread_mutex_lock(&lock);
  Block *best = nullptr;  // the smallest sufficient block, or else a free one to replace
  for (Block &block : blocks)
    if (!block.in_use && block.floats >= floats && (!best || block.floats < best->floats))
      best = &block;
  if (!best)
    for (Block &block : blocks)
      if (!block.in_use && (!best || block.floats < best->floats)) best = &block;
  float *memory = nullptr;
  if (best && best->floats >= floats) {
    memory = best->memory;
    best->in_use = true;
  } else if (best) {
    free(best->memory);
    memory = allocate(floats);
    *best = {memory, memory ? floats : 0, memory != nullptr};
  } else {
    memory = allocate(floats);  // all blocks are in use: this one is not kept
  }
  pthread_mutex_unlock(&lock);
  return memory;
}

void release(float *memory) {
  if (!memory) return;
  pthread_mutex_lock(&lock);
  Block *cached = nullptr;
  for (Block &block : blocks)
    if (block.memory == memory) cached = &block;
  if (cached)
    cached->in_use = false;
  else
    free(memory);
  pthread_mutex_unlock(&lock);
}

}  // namespace rnn_topologies
