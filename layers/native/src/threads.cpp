// A thread pool whose idle threads sleep instead of spinning.
#include <pthread.h>
#if defined(__linux__)
#include <sched.h>
#endif
#include <unistd.h>

#include "kernel.h"

namespace rnn_topologies {
namespace {

struct Job {
  void (*part)(void *, long);
  void *context;
  long parts, next, finished, helpers;  // guarded by `lock`
  Job *next_job;
};

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t job_added = PTHREAD_COND_INITIALIZER;
pthread_cond_t job_finished = PTHREAD_COND_INITIALIZER;
Job *jobs = nullptr;  // linked list of jobs that may have parts left to start
long workers = 0;

// Runs parts of a job until none is left. The caller holds the lock, before and after.
void run_parts(Job *job) {
  while (job->next < job->parts) {
    const long part = job->next++;
    pthread_mutex_unlock(&lock);
    job->part(job->context, part);
    pthread_mutex_lock(&lock);
    if (++job->finished == job->parts) pthread_cond_broadcast(&job_finished);
  }
}

Job *find_job() {
  for (Job *job = jobs; job; job = job->next_job)
    if (job->next < job->parts && job->helpers > 0) return job;
  return nullptr;
}

void *wait_for_work(void *) {
  pthread_mutex_lock(&lock);
  for (;;) {
    if (Job *job = find_job()) {
      job->helpers--;
      run_parts(job);
    } else {
      pthread_cond_wait(&job_added, &lock);
    }
  }
  return nullptr;
}

// After a fork, the child has none of its parent's threads, and locks stay as they were.
void reset_after_fork() {
  lock = PTHREAD_MUTEX_INITIALIZER;
  job_added = PTHREAD_COND_INITIALIZER;
  job_finished = PTHREAD_COND_INITIALIZER;
  jobs = nullptr;
  workers = 0;
}

void start_workers(long wanted) {
  static bool registered = false;
  if (!registered) registered = pthread_atfork(nullptr, nullptr, reset_after_fork) == 0;
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  for (pthread_t thread; workers < wanted; workers++)
    if (pthread_create(&thread, &detached, wait_for_work, nullptr)) break;  // run with fewer
  pthread_attr_destroy(&detached);
}

}  // namespace

long cores() {
#if defined(__linux__)
  cpu_set_t allowed;
  if (!sched_getaffinity(0, sizeof allowed, &allowed)) return CPU_COUNT(&allowed);
#endif
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? online : 1;
}

void parallel(long parts, long threads, void (*part)(void *, long), void *context) {
  if (threads > parts) threads = parts;
  if (threads <= 1) {
    for (long i = 0; i < parts; i++) part(context, i);
    return;
  }
  Job job = {part, context, parts, 0, 0, threads - 1, nullptr};
  pthread_mutex_lock(&lock);
  start_workers(threads - 1);
  job.next_job = jobs;
  jobs = &job;
  pthread_cond_broadcast(&job_added);
  run_parts(&job);
  for (Job **link = &jobs; *link; link = &(*link)->next_job)
    if (*link == &job) {
      *link = job.next_job;
      break;
    }
  while (job.finished < parts) pthread_cond_wait(&job_finished, &lock);
  pthread_mutex_unlock(&lock);
}

}  // namespace rnn_topologies
