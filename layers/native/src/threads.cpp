// Threads that wait in the kernel of the operating system until there is work.
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
  long parts, next, ended, helpers;  // guarded by `lock`
  Job *after;
};

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t work_came = PTHREAD_COND_INITIALIZER;
pthread_cond_t job_ended = PTHREAD_COND_INITIALIZER;
Job *jobs = nullptr;  // of which parts are left and helpers wanted
long workers = 0;

// Takes parts of a job until none is left. Called and left with the lock held.
void help(Job *job) {
  while (job->next < job->parts) {
    const long part = job->next++;
    pthread_mutex_unlock(&lock);
    job->part(job->context, part);
    pthread_mutex_lock(&lock);
    if (++job->ended == job->parts) pthread_cond_broadcast(&job_ended);
  }
}

Job *find() {
  for (Job *job = jobs; job; job = job->after)
    if (job->next < job->parts && job->helpers > 0) return job;
  return nullptr;
}

void *wait_for_work(void *) {
  pthread_mutex_lock(&lock);
  for (;;) {
    if (Job *job = find()) {
      job->helpers--;
      help(job);
    } else {
      pthread_cond_wait(&work_came, &lock);
    }
  }
  return nullptr;
}

// A child process has none of its parent's threads, and what they held is as it was.
void begin_anew() {
  lock = PTHREAD_MUTEX_INITIALIZER;
  work_came = PTHREAD_COND_INITIALIZER;
  job_ended = PTHREAD_COND_INITIALIZER;
  jobs = nullptr;
  workers = 0;
}

void hire(long wanted) {
  static bool told = false;
  if (!told) told = pthread_atfork(nullptr, nullptr, begin_anew) == 0;
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  for (pthread_t thread; workers < wanted; workers++)
    if (pthread_create(&thread, &detached, wait_for_work, nullptr)) break;  // fewer will do
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
  hire(threads - 1);
  job.after = jobs;
  jobs = &job;
  pthread_cond_broadcast(&work_came);
  help(&job);
  for (Job **link = &jobs; *link; link = &(*link)->after)
    if (*link == &job) {
      *link = job.after;
      break;
    }
  while (job.ended < parts) pthread_cond_wait(&job_ended, &lock);
  pthread_mutex_unlock(&lock);
}

}  // namespace rnn_topologies
