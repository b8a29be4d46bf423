/* See ellc_pool.h. Needs GCC's atomic builtins (GCC, Clang) and POSIX threads or Windows. */
#include "ellc_pool.h"

/* If several packages in one program contain this file, the linker keeps one copy. */
#if defined(__ELF__) || defined(__APPLE__)
#define SHARED_DEFINITION __attribute__((weak))
#else
#define SHARED_DEFINITION
#endif

/* ---- system threads ------------------------------------------------------------------------- */

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

typedef SRWLOCK system_lock;
typedef CONDITION_VARIABLE system_condition;
typedef HANDLE system_thread;
#define THREAD_RESULT DWORD WINAPI
#define THREAD_DONE 0

static int lock_init(system_lock *lock) { InitializeSRWLock(lock); return 0; }
static void lock_take(system_lock *lock) { AcquireSRWLockExclusive(lock); }
static void lock_give(system_lock *lock) { ReleaseSRWLockExclusive(lock); }
static void lock_destroy(system_lock *lock) { (void)lock; }
static int condition_init(system_condition *c) { InitializeConditionVariable(c); return 0; }
static void condition_wait(system_condition *c, system_lock *lock)
{
    SleepConditionVariableSRW(c, lock, INFINITE, 0);
}
static void condition_wake_all(system_condition *c) { WakeAllConditionVariable(c); }
static void condition_destroy(system_condition *c) { (void)c; }
static int thread_start(system_thread *thread, DWORD(WINAPI *main)(void *), void *argument)
{
    *thread = CreateThread(0, 0, main, argument, 0, 0);
    return *thread == 0;
}
static void thread_join(system_thread thread)
{
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}
static void let_others_run(void) { SwitchToThread(); }
#else
#include <pthread.h>

typedef pthread_mutex_t system_lock;
typedef pthread_t system_thread;
#define THREAD_RESULT void *
#define THREAD_DONE 0

static int lock_init(system_lock *lock) { return pthread_mutex_init(lock, 0); }
static void lock_take(system_lock *lock) { pthread_mutex_lock(lock); }
static void lock_give(system_lock *lock) { pthread_mutex_unlock(lock); }
static void lock_destroy(system_lock *lock) { pthread_mutex_destroy(lock); }
static int thread_start(system_thread *thread, void *(*main)(void *), void *argument)
{
    return pthread_create(thread, 0, main, argument);
}
static void thread_join(system_thread thread) { pthread_join(thread, 0); }

#ifndef __linux__
#include <sched.h>

typedef pthread_cond_t system_condition;

static void let_others_run(void) { sched_yield(); }

static int condition_init(system_condition *c) { return pthread_cond_init(c, 0); }
static void condition_wait(system_condition *c, system_lock *lock) { pthread_cond_wait(c, lock); }
static void condition_wake_all(system_condition *c) { pthread_cond_broadcast(c); }
static void condition_destroy(system_condition *c) { pthread_cond_destroy(c); }
#endif
#endif

/* Where threads sleep until a word changes: in the kernel's queue for the address of the word
 * (Linux), or on a condition variable. */
#ifdef __linux__
#include <sys/syscall.h>

long syscall(long number, ...); /* unistd.h declares this only for GNU dialects of C */
enum { WAIT_PRIVATE = 128, WAKE_PRIVATE = 129 }; /* FUTEX_WAIT and FUTEX_WAKE within a process */

/* After a fork the child has none of the threads, and must not wait until they end. */
static uint32_t this_process(void) { return (uint32_t)syscall(SYS_getpid); }

static void let_others_run(void) { syscall(SYS_sched_yield); }

typedef char sleeping_place;
static int place_init(sleeping_place *place) { *place = 0; return 0; }
static void place_destroy(sleeping_place *place) { (void)place; }
static void sleep_while(sleeping_place *place, uint32_t *value, uint32_t old)
{
    (void)place;
    syscall(SYS_futex, value, WAIT_PRIVATE, old, (void *)0); /* returns at once if `*value != old` */
}
static void wake_all(sleeping_place *place, uint32_t *value)
{
    (void)place;
    syscall(SYS_futex, value, WAKE_PRIVATE, 0x7FFFFFFF);
}
#else
static uint32_t this_process(void) { return 0; }

typedef struct {
    system_lock lock;
    system_condition changed;
} sleeping_place;
static int place_init(sleeping_place *place)
{
    if (lock_init(&place->lock))
        return 1;
    if (!condition_init(&place->changed))
        return 0;
    lock_destroy(&place->lock);
    return 1;
}
static void place_destroy(sleeping_place *place)
{
    condition_destroy(&place->changed);
    lock_destroy(&place->lock);
}
static void sleep_while(sleeping_place *place, uint32_t *value, uint32_t old)
{
    lock_take(&place->lock);
    while (__atomic_load_n(value, __ATOMIC_SEQ_CST) == old)
        condition_wait(&place->changed, &place->lock);
    lock_give(&place->lock);
}
/* Taking the lock waits until every thread that has seen the old value really sleeps. */
static void wake_all(sleeping_place *place, uint32_t *value)
{
    (void)value;
    lock_take(&place->lock);
    condition_wake_all(&place->changed);
    lock_give(&place->lock);
}
#endif

/* Tell the core that this is a waiting loop. */
static void pause_hint(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __asm__ volatile("pause");
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
    __asm__ volatile("yield");
#elif defined(__riscv)
    __asm__ volatile(".4byte 0x0100000f"); /* `pause`, which cores without it run as a fence of nothing */
#endif
}

/* ---- words that threads wait on ------------------------------------------------------------- */

/* A waiting thread first reads the word PAUSES times, then lets other threads of its core run YIELDS times, then
 * sleeps. To sleep and to be woken takes longer than most steps: on a virtual machine up to 50 microseconds.
 *
 * The pauses take some 2 microseconds. A thread that only paused, for as long as the rest of a step takes, would
 * use up its share of a core on which another process computes, and the system would then suspend it in the
 * middle of a chunk, for which all others must wait. A thread that lets the other process run at once is suspended
 * while it has no chunk, and the other threads compute its share. Where no other process wants the core, a yield
 * takes 0.3 microseconds. tests/benchmarks/threads.py measures both; the numbers for ARM are estimates. */
#if defined(__x86_64__) || defined(__i386__)
enum { PAUSES = 100, YIELDS = 400 };
#else
enum { PAUSES = 400, YIELDS = 200 };
#endif

#define OWN_LINE __attribute__((aligned(ELLC_POOL_ALIGN)))

typedef struct {
    uint32_t value;
    uint32_t sleepers;
    sleeping_place place;
} wait_word;

static uint32_t word_read(wait_word *word) { return __atomic_load_n(&word->value, __ATOMIC_SEQ_CST); }

/* Wake the threads that sleep on a word after the word has been changed.
 *
 * No wake-up is lost, because four accesses have one total order: the waker changes the value, then reads
 * `sleepers`; the sleeper increments `sleepers`, then reads the value. If the waker does not see the sleeper,
 * the sleeper incremented `sleepers` later, and therefore reads the new value and does not sleep. If the
 * waker sees the sleeper, `wake_all` wakes it, unless it has read the new value.
 *
 * Every change is a read-modify-write, not a store, because of a fault of QEMU (7.2, on x86): it lets an ARM
 * load-acquire overtake an earlier store-release (up to 4,858 of 300,000 times in programs that do nothing
 * else), after which a pool waits for ever. A load never overtakes a read-modify-write there. A fence would
 * do as well, but GCC's thread sanitizer does not support fences. */
static void word_wake(wait_word *word)
{
    if (__atomic_load_n(&word->sleepers, __ATOMIC_SEQ_CST))
        wake_all(&word->place, &word->value);
}

static void word_write(wait_word *word, uint32_t value)
{
    (void)__atomic_exchange_n(&word->value, value, __ATOMIC_SEQ_CST);
    word_wake(word);
}

/* Wait until the value of the word is no longer `old`. Return the new value. */
static uint32_t word_wait(wait_word *word, uint32_t old)
{
    uint32_t now = word_read(word);
    int turn;
    for (turn = 0; now == old && turn < PAUSES + YIELDS; turn++) {
        if (turn < PAUSES)
            pause_hint();
        else
            let_others_run();
        now = word_read(word);
    }
    if (now != old)
        return now;
    __atomic_add_fetch(&word->sleepers, 1, __ATOMIC_SEQ_CST);
    while ((now = word_read(word)) == old)
        sleep_while(&word->place, &word->value, old);
    __atomic_sub_fetch(&word->sleepers, 1, __ATOMIC_SEQ_CST);
    return now;
}

static int word_init(wait_word *word)
{
    word->value = 0;
    word->sleepers = 0;
    return place_init(&word->place);
}

static void word_destroy(wait_word *word) { place_destroy(&word->place); }

/* ---- the pool ------------------------------------------------------------------------------- */

enum {
    /* With fewer chunks, a suspended thread delays a larger part of a step. With more, calls take longer. */
    CHUNKS_PER_THREAD = 4,
    COUNT_BITS = 6,
    COUNT_MASK = (1 << COUNT_BITS) - 1,
    STOP = COUNT_MASK, /* a number of chunks that tells workers to end */
    MOST_CHUNKS = STOP - 1,
    ONE_BY_A_WORKER = 1 << COUNT_BITS,
    ONE_STEP = 1 << (2 * COUNT_BITS)
};

/* A step, divided into chunks of `share` units. The first `rest` chunks have one unit more. */
typedef struct {
    ellc_step_fn run;
    const void *frame;
    uint32_t extent, grain, units, chunks, share, rest;
} work;

/* What all threads write has a cache line of its own, and what they read together has the same one: between
 * distant cores of a large machine each transfer of a line takes 0.2 microseconds. */
struct ellc_pool {
    /* The lowest bits have the number of chunks that no thread has taken, the next ones the number of those that
     * workers have taken, the highest ones the number of the step. A thread takes a chunk by changing the word. It
     * may then read `now`, because the step does not end before the chunk is finished. */
    wait_word claims OWN_LINE;
    work now;
    uint32_t users; /* the number of threads that may take chunks of this run */
    wait_word finished OWN_LINE; /* the number of chunks that workers have finished, in all steps */
    uint32_t next_worker OWN_LINE;
    uint32_t process;
    system_lock turn; /* held during a run */
    int32_t threads;
    system_thread workers[ELLC_POOL_MAX_THREADS - 1];
};

typedef char pool_fits[sizeof(struct ellc_pool) <= ELLC_POOL_BYTES ? 1 : -1];

/* The quotient n / d, for n < 2^31 and 1 <= d < 2^31. It is computed by shifts, because ARMv6 has no
 * instruction for division, and this file must not need a library. */
static uint32_t divide(uint32_t n, uint32_t d, uint32_t *rest)
{
    uint32_t quotient = 0, part = 0;
    int bit;
    for (bit = 30; bit >= 0; bit--) {
        part = part << 1 | (n >> bit & 1);
        if (part >= d) {
            part -= d;
            quotient |= (uint32_t)1 << bit;
        }
    }
    *rest = part;
    return quotient;
}

static uint32_t units_of(const ellc_step *step)
{
    uint32_t rest, units;
    if (step->extent <= 0)
        return 0;
    if (step->grain <= 1)
        return (uint32_t)step->extent;
    if (step->grain >= step->extent)
        return 1;
    units = divide((uint32_t)step->extent, (uint32_t)step->grain, &rest);
    return units + (rest != 0);
}

/* Compute chunk `index` of a step. */
static void run_chunk(const work *now, uint32_t index)
{
    uint32_t begin = index * now->share + (index < now->rest ? index : now->rest);
    uint32_t end = begin + now->share + (index < now->rest);
    begin *= now->grain;
    end = end == now->units ? now->extent : end * now->grain;
    now->run(now->frame, (int32_t)begin, (int32_t)end);
}

static int tells_to_end(uint32_t claims) { return (claims & COUNT_MASK) == STOP; }

/* Take a chunk: change `pool->claims`, whose value is `*claims` when it was last read, by `change`. If that fails,
 * return 0, and the new value in `*claims`. */
static int takes(struct ellc_pool *pool, uint32_t *claims, uint32_t change)
{
    return __atomic_compare_exchange_n(
        &pool->claims.value, claims, *claims + change, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* On a worker, take and compute chunks until none are left. `claims` is the value of `pool->claims` when it was
 * last read. Return its latest value. A worker that comes too late for a chunk may find that the pool has ended.
 *
 * Workers take chunks from the end of a step, the calling thread takes them from the beginning. So, of two threads,
 * each computes the same part of every step, whose operands are then in the cache of its core. */
static uint32_t work_on(struct ellc_pool *pool, uint32_t claims)
{
    uint32_t finished = 0;
    while ((claims & COUNT_MASK) && !tells_to_end(claims)) {
        if (takes(pool, &claims, ONE_BY_A_WORKER - 1)) {
            run_chunk(&pool->now, pool->now.chunks - 1 - (claims >> COUNT_BITS & COUNT_MASK));
            finished++;
            claims = word_read(&pool->claims);
        }
    }
    if (finished) {
        (void)__atomic_add_fetch(&pool->finished.value, finished, __ATOMIC_SEQ_CST);
        word_wake(&pool->finished);
    }
    return claims;
}

static THREAD_RESULT worker_main(void *argument)
{
    struct ellc_pool *pool = argument;
    uint32_t thread = __atomic_add_fetch(&pool->next_worker, 1, __ATOMIC_RELAXED);
    uint32_t claims = 0;
    while (!tells_to_end(claims)) {
        claims = word_wait(&pool->claims, claims);
        if (thread < __atomic_load_n(&pool->users, __ATOMIC_RELAXED))
            claims = work_on(pool, claims);
    }
    return THREAD_DONE;
}

/* Run a step on this thread and on every worker that wakes up in time. This thread waits only for chunks that
 * workers have taken. */
static void run_together(
    struct ellc_pool *pool, const ellc_step *step, const void *frame, uint32_t units, uint32_t threads)
{
    uint32_t claims, finished, end, own = 0, chunks = CHUNKS_PER_THREAD * threads;
    work *now = &pool->now;
    chunks = chunks < MOST_CHUNKS ? chunks : MOST_CHUNKS;
    chunks = chunks < units ? chunks : units;
    now->run = step->run;
    now->frame = frame;
    now->extent = (uint32_t)step->extent;
    now->grain = step->grain <= 1 ? 1 : (uint32_t)step->grain;
    now->units = units;
    now->chunks = chunks;
    now->share = divide(units, chunks, &now->rest);
    finished = word_read(&pool->finished); /* no worker has a chunk, so nobody changes it */
    claims = word_read(&pool->claims) / ONE_STEP * ONE_STEP + ONE_STEP + chunks;
    word_write(&pool->claims, claims);
    while (claims & COUNT_MASK) {
        if (takes(pool, &claims, (uint32_t)-1)) {
            run_chunk(now, own++);
            claims = word_read(&pool->claims);
        }
    }
    end = finished + chunks - own;
    while (finished != end)
        finished = word_wait(&pool->finished, finished);
}

static void stop_workers(struct ellc_pool *pool, int count)
{
    int i;
    word_write(&pool->claims, word_read(&pool->claims) | STOP);
    for (i = 0; i < count; i++)
        thread_join(pool->workers[i]);
}

SHARED_DEFINITION size_t ellc_pool_bytes(void) { return sizeof(struct ellc_pool); }

SHARED_DEFINITION int ellc_pool_threads(const ellc_pool *pool) { return pool ? pool->threads : 1; }

SHARED_DEFINITION int ellc_pool_init(ellc_pool *pool, size_t bytes, int threads)
{
    int i;
    if (!pool || bytes < sizeof *pool || (uintptr_t)pool % ELLC_POOL_ALIGN)
        return ELLC_POOL_EMEMORY;
    if (threads < 1 || threads > ELLC_POOL_MAX_THREADS)
        return ELLC_POOL_ETHREADS;
    pool->next_worker = 0;
    pool->users = 0;
    pool->process = this_process();
    pool->threads = threads;
    if (word_init(&pool->claims))
        return ELLC_POOL_ESYSTEM;
    if (word_init(&pool->finished))
        goto no_finished;
    if (lock_init(&pool->turn))
        goto no_turn;
    for (i = 0; i < threads - 1; i++)
        if (thread_start(&pool->workers[i], worker_main, pool))
            goto no_worker;
    return ELLC_POOL_OK;

no_worker:
    stop_workers(pool, i);
    lock_destroy(&pool->turn);
no_turn:
    word_destroy(&pool->finished);
no_finished:
    word_destroy(&pool->claims);
    return ELLC_POOL_ESYSTEM;
}

SHARED_DEFINITION void ellc_pool_run(
    ellc_pool *pool, const ellc_step *steps, int32_t n_steps, const void *frame, int threads)
{
    int most = ellc_pool_threads(pool);
    uint32_t count = (uint32_t)(threads < 1 || threads > most ? most : threads);
    int32_t i;
    if (count > 1) {
        lock_take(&pool->turn);
        __atomic_store_n(&pool->users, count, __ATOMIC_RELAXED);
    }
    for (i = 0; i < n_steps; i++) {
        uint32_t units = units_of(&steps[i]);
        if (count > 1 && units > 1)
            run_together(pool, &steps[i], frame, units, count);
        else if (units)
            steps[i].run(frame, 0, steps[i].extent);
    }
    if (count > 1)
        lock_give(&pool->turn);
}

SHARED_DEFINITION void ellc_pool_destroy(ellc_pool *pool)
{
    if (!pool || pool->process != this_process())
        return;
    stop_workers(pool, pool->threads - 1);
    lock_destroy(&pool->turn);
    word_destroy(&pool->finished);
    word_destroy(&pool->claims);
}
