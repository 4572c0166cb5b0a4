// Debian and Ubuntu link oneDNN with an OpenMP runtime. Its team is reached through the entry points that compilers
// themselves call, which both GNU's and LLVM's runtime have. They are looked up when the program runs, so that neither
// compiler support for OpenMP nor a oneDNN built with it is needed.
#define _GNU_SOURCE
#include "Team.h"

#include <dlfcn.h>
#include <stdatomic.h>

#include "COneDNN.h"

typedef void (*region_function)(void (*)(void *), void *, unsigned, unsigned);
typedef int (*count_function)(void);
typedef void (*limit_function)(int);

typedef struct {
    int (*body)(void *, int, int64_t);
    void *context;
    int64_t count;
    count_function thread_number;
    _Atomic int64_t next;
    _Atomic int failure;
} team_work;

static void *runtime(const char *name) { return dlsym(RTLD_DEFAULT, name); }

// Takes one index after the other until none is left.
static void member(void *context) {
    team_work *work = context;
    const int thread = work->thread_number ? work->thread_number() : 0;
    for (;;) {
        const int64_t index = atomic_fetch_add(&work->next, 1);
        if (index >= work->count) return;
        const int status = work->body(work->context, thread, index);
        if (status != 0) atomic_store(&work->failure, status);
    }
}

int team_limit(int threads) {
    const count_function maximum = (count_function)runtime("omp_get_max_threads");
    const limit_function limit = (limit_function)runtime("omp_set_num_threads");
    if (!maximum || !limit) return 0;
    const int before = maximum();
    limit(threads);
    return before;
}

int cdnn_thread_count(void) {
    const count_function maximum = (count_function)runtime("omp_get_max_threads");
    return maximum ? maximum() : 1;
}

int cdnn_parallel(int64_t count, int (*body)(void *context, int thread, int64_t index), void *context) {
    const region_function region = (region_function)runtime("GOMP_parallel");
    team_work work = {body, context, count, (count_function)runtime("omp_get_thread_num"), 0, 0};
    if (count > 1 && region && work.thread_number) {
        region(member, &work, 0, 0);
    } else {
        work.thread_number = 0;
        member(&work);
    }
    return atomic_load(&work.failure);
}
