/* See ellc_pool.h. Needs GCC's atomic builtins (GCC, Clang) and POSIX threads or Windows. */
#include "ellc_pool.h"

/* Two packages in one program each bring this file: the linker keeps one. */
#if defined(__ELF__) || defined(__APPLE__)
#define SHARED_DEFINITION __attribute__((weak))
#else
#define SHARED_DEFINITION
#endif

/* ---- threads of the system ------------------------------------------------------------------ */

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
#else
#include <pthread.h>

typedef pthread_mutex_t system_lock;
typedef pthread_cond_t system_condition;
typedef pthread_t system_thread;
#define THREAD_RESULT void *
#define THREAD_DONE 0

static int lock_init(system_lock *lock) { return pthread_mutex_init(lock, 0); }
static void lock_take(system_lock *lock) { pthread_mutex_lock(lock); }
static void lock_give(system_lock *lock) { pthread_mutex_unlock(lock); }
static void lock_destroy(system_lock *lock) { pthread_mutex_destroy(lock); }
static int condition_init(system_condition *c) { return pthread_cond_init(c, 0); }
static void condition_wait(system_condition *c, system_lock *lock) { pthread_cond_wait(c, lock); }
static void condition_wake_all(system_condition *c) { pthread_cond_broadcast(c); }
static void condition_destroy(system_condition *c) { pthread_cond_destroy(c); }
static int thread_start(system_thread *thread, void *(*main)(void *), void *argument)
{
    return pthread_create(thread, 0, main, argument);
}
static void thread_join(system_thread thread) { pthread_join(thread, 0); }
#endif

/* Tells the core that this is a waiting loop. */
static void pause_hint(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __asm__ volatile("pause");
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
    __asm__ volatile("yield");
#endif
}

/* ---- words that threads wait on ------------------------------------------------------------- */

enum {
    /* Waiting loop before a thread sleeps: some ten microseconds, about what waking it costs. */
    SPIN_TURNS = 2000,
    STOP = 0xFF, /* thread count in a ticket that means: end */
    COUNT_BITS = 8
};

/* Words that different threads write get a cache line each. */
#define OWN_LINE __attribute__((aligned(ELLC_POOL_ALIGN)))

typedef struct {
    uint32_t value;
    uint32_t sleepers;
    system_lock lock;
    system_condition changed;
} OWN_LINE wait_word;

static uint32_t word_read(wait_word *word) { return __atomic_load_n(&word->value, __ATOMIC_SEQ_CST); }

/* Change the word and wake who sleeps on it. Why no wake-up is lost: all four accesses (here: write
 * value, read sleepers; in word_wait: count itself, read value) are in one total order. If this read
 * does not see a sleeper, the sleeper counted itself later and its read sees the new value. If it does
 * see one, taking the lock waits until the sleeper really waits, or has seen the new value.
 * The value is exchanged rather than stored because of QEMU (7.2, on x86): it lets an ARM load-acquire
 * pass a store-release before it (up to 4,858 of 300,000 times in programs that do only this), and a
 * pool then waits for ever. A read-modify-write is never passed there. A fence would do as well, but
 * GCC's thread sanitizer refuses fences. */
static void word_write(wait_word *word, uint32_t value)
{
    (void)__atomic_exchange_n(&word->value, value, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&word->sleepers, __ATOMIC_SEQ_CST)) {
        lock_take(&word->lock);
        condition_wake_all(&word->changed);
        lock_give(&word->lock);
    }
}

/* Wait until the word is no longer `old`, and return what it is. */
static uint32_t word_wait(wait_word *word, uint32_t old)
{
    uint32_t now = word_read(word);
    int turn;
    for (turn = 0; now == old && turn < SPIN_TURNS; turn++) {
        pause_hint();
        now = word_read(word);
    }
    if (now != old)
        return now;
    lock_take(&word->lock);
    __atomic_add_fetch(&word->sleepers, 1, __ATOMIC_SEQ_CST);
    while ((now = word_read(word)) == old)
        condition_wait(&word->changed, &word->lock);
    __atomic_sub_fetch(&word->sleepers, 1, __ATOMIC_SEQ_CST);
    lock_give(&word->lock);
    return now;
}

static int word_init(wait_word *word)
{
    word->value = 0;
    word->sleepers = 0;
    if (lock_init(&word->lock))
        return 1;
    if (condition_init(&word->changed)) {
        lock_destroy(&word->lock);
        return 1;
    }
    return 0;
}

static void word_destroy(wait_word *word)
{
    condition_destroy(&word->changed);
    lock_destroy(&word->lock);
}

/* ---- the pool ------------------------------------------------------------------------------- */

struct ellc_pool {
    /* Start signal: number of the run in the upper bits, its thread count in the lower. A worker that
     * has no part in a run reads nothing but this word, so the next run may already be written. */
    wait_word ticket;
    wait_word barrier; /* number of barriers passed */
    uint32_t arrived OWN_LINE;
    uint32_t next_worker;
    system_lock turn; /* held by the instance that runs */
    const ellc_step *steps;
    const void *frame;
    int32_t n_steps;
    int32_t threads;
    system_thread workers[ELLC_POOL_MAX_THREADS - 1];
};

typedef char pool_fits[sizeof(struct ellc_pool) <= ELLC_POOL_BYTES ? 1 : -1];

/* Division by shifting: ARMv6 has no instruction for it, and nothing here may need a library. The
 * quotient is at most `n`; called with n < 2^31 and 1 <= d <= ELLC_POOL_MAX_THREADS or a grain. */
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
    units = divide((uint32_t)step->extent, (uint32_t)step->grain, &rest);
    return units + (rest != 0);
}

/* Thread `thread` of `threads` gets a run of whole grains; sizes differ by one grain at most. */
static void run_share(const ellc_step *step, const void *frame, uint32_t thread, uint32_t threads)
{
    uint32_t rest, units = units_of(step);
    uint32_t grain = step->grain <= 1 ? 1 : (uint32_t)step->grain;
    uint32_t share = divide(units, threads, &rest);
    uint32_t begin = thread * share + (thread < rest ? thread : rest);
    uint32_t end = begin + share + (thread < rest);
    if (begin == end)
        return;
    begin *= grain;
    end = end == units ? (uint32_t)step->extent : end * grain;
    step->run(frame, (int32_t)begin, (int32_t)end);
}

static void pass_barrier(struct ellc_pool *pool, uint32_t threads)
{
    uint32_t passed = word_read(&pool->barrier);
    if (__atomic_add_fetch(&pool->arrived, 1, __ATOMIC_SEQ_CST) == threads) {
        __atomic_store_n(&pool->arrived, 0, __ATOMIC_RELAXED); /* published by the next line */
        word_write(&pool->barrier, passed + 1);
    } else {
        word_wait(&pool->barrier, passed);
    }
}

/* One thread's way through a run: its share of every step, and a barrier after it. Between two steps
 * that both have work for the first thread only, nobody has to wait. */
static void walk(struct ellc_pool *pool, uint32_t thread, uint32_t threads)
{
    const ellc_step *steps = pool->steps;
    const void *frame = pool->frame;
    int32_t i, n_steps = pool->n_steps;
    for (i = 0; i < n_steps; i++) {
        int alone = i + 1 < n_steps && units_of(&steps[i]) <= 1 && units_of(&steps[i + 1]) <= 1;
        run_share(&steps[i], frame, thread, threads);
        if (!alone)
            pass_barrier(pool, threads);
    }
}

static THREAD_RESULT worker_main(void *argument)
{
    struct ellc_pool *pool = argument;
    uint32_t thread = __atomic_add_fetch(&pool->next_worker, 1, __ATOMIC_RELAXED);
    uint32_t ticket = 0;
    for (;;) {
        uint32_t count;
        ticket = word_wait(&pool->ticket, ticket);
        count = ticket & ((1u << COUNT_BITS) - 1);
        if (count == STOP)
            return THREAD_DONE;
        if (thread < count)
            walk(pool, thread, count);
    }
}

static void stop_workers(struct ellc_pool *pool, int count)
{
    int i;
    word_write(&pool->ticket, STOP);
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
    pool->arrived = pool->next_worker = 0;
    pool->steps = 0;
    pool->frame = 0;
    pool->n_steps = 0;
    pool->threads = threads;
    if (word_init(&pool->ticket))
        return ELLC_POOL_ESYSTEM;
    if (word_init(&pool->barrier))
        goto no_barrier;
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
    word_destroy(&pool->barrier);
no_barrier:
    word_destroy(&pool->ticket);
    return ELLC_POOL_ESYSTEM;
}

SHARED_DEFINITION void ellc_pool_run(
    ellc_pool *pool, const ellc_step *steps, int32_t n_steps, const void *frame, int threads)
{
    int most = ellc_pool_threads(pool);
    uint32_t count = (uint32_t)(threads < 1 || threads > most ? most : threads);
    if (n_steps <= 0)
        return;
    if (count == 1) {
        int32_t i;
        for (i = 0; i < n_steps; i++)
            run_share(&steps[i], frame, 0, 1);
        return;
    }
    lock_take(&pool->turn);
    pool->steps = steps;
    pool->frame = frame;
    pool->n_steps = n_steps;
    word_write(&pool->ticket, ((word_read(&pool->ticket) >> COUNT_BITS) + 1) << COUNT_BITS | count);
    walk(pool, 0, count);
    lock_give(&pool->turn);
}

SHARED_DEFINITION void ellc_pool_destroy(ellc_pool *pool)
{
    if (!pool)
        return;
    stop_workers(pool, pool->threads - 1);
    lock_destroy(&pool->turn);
    word_destroy(&pool->barrier);
    word_destroy(&pool->ticket);
}
