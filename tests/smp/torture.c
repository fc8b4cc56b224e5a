// Torture of a machine with several processors, inside a guest. `torture TEST SECONDS` prints one line, `ok TEST: ...` or
// `FAIL TEST: ...`; without arguments, the names of the tests. AArch64 and x86-64.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, PAGE = 4096 };
typedef uint64_t u64;
typedef unsigned __int128 u128;

static double end_time;
static const char *test_name;
static volatile int failed;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int over(void) { return failed || now() >= end_time; }

static void fail(const char *format, ...)
{
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&once);
    if (!failed) {
        va_list args;
        va_start(args, format);
        printf("FAIL %s: ", test_name);
        vprintf(format, args);
        printf("\n");
        fflush(stdout);
        va_end(args);
    }
    failed = 1;
    pthread_mutex_unlock(&once);
}

// Runs `f(0)` to `f(n - 1)` at once.
static void together(int n, void *(*f)(void *))
{
    pthread_t threads[16];
    for (long i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, f, (void *)i))
            abort();
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

// Spins for others a while, then gives the processor away.
static void relax(unsigned *spins)
{
#if defined(__x86_64__)
    __asm__ volatile("pause");
#else
    __asm__ volatile("yield");
#endif
    if (++*spins % 64 == 0)
        sched_yield();
}

// A barrier that does not sleep.
struct meeting {
    int arrived, phase;
};
static void meet_at(struct meeting *m, int n)
{
    int mine = __atomic_load_n(&m->phase, __ATOMIC_ACQUIRE);
    unsigned spins = 0;
    if (__atomic_add_fetch(&m->arrived, 1, __ATOMIC_ACQ_REL) == n) {
        __atomic_store_n(&m->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&m->phase, mine + 1, __ATOMIC_RELEASE);
    } else {
        while (__atomic_load_n(&m->phase, __ATOMIC_ACQUIRE) == mine)
            relax(&spins);
    }
}
static struct meeting everybody, players;
static void meet(int n) { meet_at(&everybody, n); }

// --- Atomic operations of all widths -------------------------------------------------------------------------------

static char *area; // two pages
enum { TIMES = 5000 };
static int misalignment;

#define COUNT(type)                                                                                                    \
    static void *count_##type(void *arg)                                                                               \
    {                                                                                                                  \
        type *p = (type *)(area + misalignment);                                                                       \
        u64 mine = (u64)arg;                                                                                           \
        meet(THREADS);                                                                                                 \
        for (int i = 0; i < TIMES; i++) {                                                                              \
            switch ((i + mine) % 3) {                                                                                  \
            case 0: __atomic_fetch_add(p, 1, __ATOMIC_SEQ_CST); break;                                                 \
            case 1: __atomic_sub_fetch(p, (type)-1, __ATOMIC_ACQ_REL); break;                                          \
            default: {                                                                                                 \
                type old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                       \
                while (!__atomic_compare_exchange_n(p, &old, old + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))          \
                    ;                                                                                                  \
            }                                                                                                          \
            }                                                                                                          \
        }                                                                                                              \
        return NULL;                                                                                                   \
    }                                                                                                                  \
    /* Each thread owns some bits and toggles them by AND, OR and XOR; they are as it left them. */                    \
    static void *bits_##type(void *arg)                                                                                \
    {                                                                                                                  \
        type *p = (type *)(area + misalignment), mine = (type)3 << (2 * (u64)arg);                                     \
        meet(THREADS);                                                                                                 \
        for (int i = 0; i < TIMES; i++) {                                                                              \
            type a = __atomic_fetch_or(p, mine, __ATOMIC_SEQ_CST) & mine;                                              \
            type b = __atomic_fetch_xor(p, mine, __ATOMIC_SEQ_CST) & mine;                                             \
            type c = __atomic_fetch_and(p, ~mine, __ATOMIC_SEQ_CST) & mine;                                            \
            if (a != 0 || b != mine || c != 0)                                                                         \
                fail(#type " at %d: lost bits %d %d %d", misalignment, (int)a, (int)b, (int)c);                        \
        }                                                                                                              \
        return NULL;                                                                                                   \
    }                                                                                                                  \
    /* Values that are exchanged are neither lost nor doubled. */                                                      \
    static u64 taken_##type[THREADS];                                                                                  \
    static void *swap_##type(void *arg)                                                                                \
    {                                                                                                                  \
        type *p = (type *)(area + misalignment), held = (type)((u64)arg + 1);                                          \
        meet(THREADS);                                                                                                 \
        for (int i = 0; i < TIMES; i++)                                                                                \
            held = __atomic_exchange_n(p, held, __ATOMIC_ACQ_REL);                                                     \
        taken_##type[(u64)arg] = held;                                                                                 \
        return NULL;                                                                                                   \
    }                                                                                                                  \
    static void all_##type(void)                                                                                       \
    {                                                                                                                  \
        type *p = (type *)(area + misalignment), sum = 0;                                                              \
        memset(area + misalignment - 8, 0, 32);                                                                        \
        together(THREADS, count_##type);                                                                               \
        if (*p != (type)(THREADS * TIMES))                                                                             \
            fail(#type " at %d: %lld", misalignment, (long long)*p);                                                   \
        *p = 0;                                                                                                        \
        together(THREADS, bits_##type);                                                                                \
        if (*p)                                                                                                        \
            fail(#type " at %d: bits %lld left", misalignment, (long long)*p);                                         \
        together(THREADS, swap_##type);                                                                                \
        for (int i = 0; i < THREADS; i++)                                                                              \
            sum += taken_##type[i];                                                                                    \
        if ((type)(sum + *p) != THREADS * (THREADS + 1) / 2)                                                           \
            fail(#type " at %d: exchanged values add up to %lld", misalignment, (long long)(sum + *p));                \
        for (int i = -8; i < 24; i++)                                                                                  \
            if ((i < 0 || i >= (int)sizeof(type)) && area[misalignment + i])                                           \
                fail(#type " at %d: byte %d was written", misalignment, i);                                            \
    }
COUNT(uint8_t)
COUNT(uint16_t)
COUNT(uint32_t)
COUNT(uint64_t)

static u128 load_16(u128 *p);
static int cas_16(u128 *p, u128 *expected, u128 new)
{
#if defined(__x86_64__)
    u64 low = *expected, high = *expected >> 64;
    char equal;
    __asm__ volatile("lock cmpxchg16b %1" : "=@ccz"(equal), "+m"(*p), "+a"(low), "+d"(high)
                     : "b"((u64)new), "c"((u64)(new >> 64)) : "memory");
    *expected = (u128)high << 64 | low;
    return equal;
#else
    u64 low, high, status;
    __asm__ volatile("ldaxp %0, %1, [%2]" : "=&r"(low), "=&r"(high) : "r"(p) : "memory");
    u128 found = (u128)high << 64 | low;
    if (found != *expected) {
        *expected = found;
        // What was read may be of two stores unless the pair is stored back.
        __asm__ volatile("stlxp %w0, %1, %2, [%3]" : "=&r"(status) : "r"(low), "r"(high), "r"(p) : "memory");
        return 0;
    }
    __asm__ volatile("stlxp %w0, %1, %2, [%3]" : "=&r"(status) : "r"((u64)new), "r"((u64)(new >> 64)), "r"(p) : "memory");
    return (uint32_t)status == 0;
#endif
}
static u128 load_16(u128 *p)
{
    u128 v = 0;
#if defined(__x86_64__)
    cas_16(p, &v, v);
#else
    for (u64 low, high, status;;) {
        __asm__ volatile("ldaxp %0, %1, [%3]\n stlxp %w2, %0, %1, [%3]" : "=&r"(low), "=&r"(high), "=&r"(status) : "r"(p) : "memory");
        v = (u128)high << 64 | low;
        if ((uint32_t)status == 0)
            break;
    }
#endif
    return v;
}

static void *count_16(void *arg)
{
    (void)arg;
    u128 *p = (u128 *)area;
    meet(THREADS);
    for (int i = 0; i < TIMES; i++) {
        u128 old = load_16(p), new;
        do {
            if ((u64)(old >> 64) != ~(u64)old)
                fail("16 bytes: %llx and %llx are of two stores", (long long)(old >> 64), (long long)old);
            u64 next = (u64)old + 1;
            new = (u128)~next << 64 | next;
        } while (!failed && !cas_16(p, &old, new));
    }
    return NULL;
}

#if defined(__x86_64__)
// One adds to the upper bytes of a number over the end of a line (or page), another stores its lower ones.
static void *split(void *arg)
{
    char *p = area + misalignment;
    meet(2);
    for (int i = 0; i < TIMES; i++) {
        if (arg) {
            __asm__ volatile("lock addq %1, %0" : "+m"(*(u64 *)p) : "r"(1ull << 24) : "memory");
        } else {
            *(volatile uint8_t *)p = i;
            __asm__ volatile("" ::: "memory");
            for (int n = 0; n < 20; n++)
                if (*(volatile uint8_t *)p != (uint8_t)i)
                    fail("a store beside a split lock at %d was lost", misalignment);
        }
    }
    return NULL;
}
#endif

static u64 atomics(void)
{
    u64 rounds = 0;
    // Those after the first three are only of x86: in a line, over its end, over the end of a page.
    static const int places[] = {64, 72, 2048, 65, 67, 125, 4089, 4093, 4095};
#if defined(__x86_64__)
    const int count = 9;
#else
    const int count = 3;
#endif
    for (; !over(); rounds++) {
        for (int i = 0; i < count && !over(); i++) {
            misalignment = places[i];
            all_uint8_t();
            all_uint16_t();
            all_uint32_t();
            all_uint64_t();
#if defined(__x86_64__)
            if (i >= 5) {
                memset(area, 0, 2 * PAGE);
                together(2, split);
                if (*(uint32_t *)(area + misalignment + 3) != TIMES)
                    fail("split lock at %d: %u", misalignment, *(uint32_t *)(area + misalignment + 3));
            }
#endif
            memset(area, 0, 2 * PAGE);
        }
        *(u128 *)area = (u128)~0ull << 64;
        together(THREADS, count_16);
        if (!failed && (u64) * (u128 *)area != THREADS * TIMES)
            fail("16 bytes: %llu", (unsigned long long)*(u128 *)area);
    }
    return rounds;
}

// --- Locks ---------------------------------------------------------------------------------------------------------

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t semaphore;
static u64 guarded, turn, written[2], queue_in, queue_out, queue[16];
static int futex_word;

static void *by_mutex(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3000; i++) {
        pthread_mutex_lock(&mutex);
        guarded++;
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}
static void *by_turns(void *arg)
{
    for (int i = 0; i < 300; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % THREADS != (u64)arg)
            pthread_cond_wait(&cond, &mutex);
        turn++;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}
static u64 per_thread[THREADS];
static void *by_barrier(void *arg)
{
    for (u64 i = 1; i <= 200; i++) {
        per_thread[(u64)arg] = i;
        pthread_barrier_wait(&barrier);
        for (int n = 0; n < THREADS; n++)
            if (per_thread[n] != i)
                fail("barrier: thread %d is at %llu, not %llu", n, (long long)per_thread[n], (long long)i);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}
static void *by_rwlock(void *arg)
{
    for (int i = 0; i < 1000; i++) {
        if (arg) {
            pthread_rwlock_rdlock(&rwlock);
            if (written[0] != written[1])
                fail("rwlock: a reader saw half a change");
        } else {
            pthread_rwlock_wrlock(&rwlock);
            written[0]++;
            written[1]++;
        }
        pthread_rwlock_unlock(&rwlock);
    }
    return NULL;
}
static void *by_semaphore(void *arg)
{
    for (int i = 0; i < 1000; i++)
        if ((u64)arg % 2) {
            pthread_mutex_lock(&mutex);
            queue[queue_in++ % 16] = 1;
            pthread_mutex_unlock(&mutex);
            sem_post(&semaphore);
        } else {
            sem_wait(&semaphore);
            pthread_mutex_lock(&mutex);
            if (queue_out == queue_in)
                fail("semaphore: passed with nothing in the queue");
            queue_out++;
            pthread_mutex_unlock(&mutex);
        }
    return NULL;
}
// A lock of our own: 0 free, 1 taken, 2 somebody sleeps.
static void *by_futex(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        int state = 0;
        if (!__atomic_compare_exchange_n(&futex_word, &state, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            while (__atomic_exchange_n(&futex_word, 2, __ATOMIC_ACQUIRE))
                syscall(SYS_futex, &futex_word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
        }
        guarded++;
        if (__atomic_exchange_n(&futex_word, 0, __ATOMIC_RELEASE) == 2)
            syscall(SYS_futex, &futex_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    return NULL;
}

static u64 locks(void)
{
    u64 rounds = 0;
    pthread_barrier_init(&barrier, NULL, THREADS);
    sem_init(&semaphore, 0, 0);
    for (; !over(); rounds++) {
        guarded = 0;
        together(THREADS, by_mutex);
        if (guarded != THREADS * 3000)
            fail("mutex: %llu", (long long)guarded);
        turn = 0;
        together(THREADS, by_turns);
        together(THREADS, by_barrier);
        together(THREADS, by_rwlock);
        together(THREADS, by_semaphore);
        if (queue_in != queue_out)
            fail("semaphore: %llu in, %llu out", (long long)queue_in, (long long)queue_out);
        guarded = 0;
        together(THREADS, by_futex);
        if (guarded != THREADS * 2000)
            fail("futex: %llu", (long long)guarded);
    }
    return rounds;
}

// --- Changes of mappings -------------------------------------------------------------------------------------------

static char *shared;
static __thread sigjmp_buf on_fault;
static u64 generation;
static int stop;

static void fault(int number) { siglongjmp(on_fault, number); }

// Increments the first page whenever it may, and sees the second only go forward.
static void *poke(void *arg)
{
    u64 seen = 0;
    volatile u64 *count = (u64 *)shared + (u64)arg, *page = (u64 *)(shared + PAGE);
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        if (sigsetjmp(on_fault, 1) == 0) {
            for (int i = 0; i < 100; i++) {
                *count = *count + 1;
                u64 value = *page;
                if (value && value < seen)
                    fail("mmap: a page of generation %llu after one of %llu", (long long)value, (long long)seen);
                if (value)
                    seen = value;
            }
        } else {
            // The first page is not writable, or the second is not there.
            if (sigsetjmp(on_fault, 1) == 0) {
                u64 value = *page;
                if (value && value < seen)
                    fail("mmap: a page of generation %llu after one of %llu", (long long)value, (long long)seen);
                if (value)
                    seen = value;
            }
            sched_yield();
        }
    }
    return NULL;
}

static void *remap(void *arg)
{
    (void)arg;
    while (!over()) {
        if (mprotect(shared, PAGE, PROT_READ))
            fail("mprotect");
        u64 before[THREADS];
        memcpy(before, shared, sizeof before);
        for (int i = 0; i < 20; i++) {
            sched_yield();
            if (memcmp(before, shared, sizeof before))
                fail("mprotect: a store came through afterwards");
        }
        mprotect(shared, PAGE, PROT_READ | PROT_WRITE);
        generation++;
        if (generation % 3 == 0)
            munmap(shared + PAGE, PAGE);
        char *fresh = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *(u64 *)fresh = generation;
        // The hole may be where the new page came to lie by itself.
        if (fresh != shared + PAGE && mremap(fresh, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, shared + PAGE) == MAP_FAILED)
            fail("mremap");
        if (generation % 5 == 0)
            madvise(shared + PAGE, PAGE, MADV_DONTNEED);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void *mappings_thread(void *arg) { return (u64)arg == THREADS - 1 ? remap(arg) : poke(arg); }

static u64 mappings(void)
{
    struct sigaction action = {.sa_handler = fault, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    shared = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    together(THREADS, mappings_thread);
    return generation;
}

// --- Code that one thread writes and others execute ----------------------------------------------------------------

static uint32_t *code;
static u64 published, acknowledged[THREADS];

static void write_function(uint32_t *at, uint32_t value)
{
#if defined(__x86_64__)
    uint8_t bytes[6] = {0xb8, value, value >> 8, value >> 16, value >> 24, 0xc3};
    memcpy(at, bytes, sizeof bytes);
#else
    at[0] = 0x52800000 | (value & 0xffff) << 5;       // movz w0, #low
    at[1] = 0x72a00000 | (value >> 16 & 0xffff) << 5; // movk w0, #high, lsl #16
    at[2] = 0xd65f03c0;                               // ret
#endif
    __builtin___clear_cache((char *)at, (char *)(at + 4));
}

static uint32_t call(uint32_t *at)
{
#if defined(__x86_64__)
    unsigned a = 0, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d)::"memory");
#else
    __asm__ volatile("isb" ::: "memory");
#endif
    return ((uint32_t(*)(void))at)();
}

static void *jit_thread(void *arg)
{
    u64 me = (u64)arg;
    unsigned spins = 0;
    for (u64 g = 1; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); g++) {
        // The place moves through the page and over its end; data beside the code changes as well.
        uint32_t *at = code + g * 8 % (2 * PAGE / 4 - 8);
        if (me == 0) {
            write_function(at, g * 2654435761u);
            at[6]++;
            __atomic_store_n(&published, g, __ATOMIC_RELEASE);
        } else {
            while (__atomic_load_n(&published, __ATOMIC_ACQUIRE) < g)
                if (__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
                    return NULL;
                else
                    relax(&spins);
        }
        for (int i = 0; i < 3; i++) {
            uint32_t value = call(at);
            if (value != (uint32_t)(g * 2654435761u))
                fail("jit: generation %llu gave %x", (long long)g, value);
        }
        __atomic_store_n(&acknowledged[me], g, __ATOMIC_RELEASE);
        if (me == 0) {
            for (int i = 1; i < THREADS; i++)
                while (__atomic_load_n(&acknowledged[i], __ATOMIC_ACQUIRE) < g && !over())
                    relax(&spins);
            if (over())
                __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
        }
    }
    return NULL;
}

static u64 jit(void)
{
    code = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    together(THREADS, jit_thread);
    return published;
}

// --- Processes -----------------------------------------------------------------------------------------------------

static u64 forks_done;
static void *fork_thread(void *arg)
{
    enum { WORDS = 16 * PAGE / 8 };
    u64 *data = mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    u64 me = (u64)arg;
    for (u64 round = 1; !over(); round++) {
        for (int i = 0; i < WORDS; i += 64)
            data[i] = me << 56 | round << 16 | i;
        int pipe_fds[2];
        if (pipe(pipe_fds)) {
            fail("pipe");
            break;
        }
        pid_t child = fork();
        if (child == 0) {
            u64 sum = 0;
            for (int i = 0; i < WORDS; i += 64) {
                if (data[i] != (me << 56 | round << 16 | i))
                    _exit(2);
                data[i] = ~data[i];
                sum += data[i];
            }
            if (write(pipe_fds[1], &sum, sizeof sum) != sizeof sum)
                _exit(3);
            _exit(40 + me);
        }
        if (child < 0) {
            fail("fork");
            break;
        }
        u64 sum = 0, expected = 0;
        int status = 0;
        if (read(pipe_fds[0], &sum, sizeof sum) != sizeof sum)
            fail("fork: the child wrote nothing");
        waitpid(child, &status, 0);
        for (int i = 0; i < WORDS; i += 64) {
            if (data[i] != (me << 56 | round << 16 | i))
                fail("fork: the parent's memory changed");
            expected += ~data[i];
        }
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 40 + (int)me || sum != expected)
            fail("fork: status %x, sum %llx, not %llx", status, (long long)sum, (long long)expected);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        __atomic_fetch_add(&forks_done, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}
static u64 processes(void)
{
    together(THREADS, fork_thread);
    return forks_done;
}

// --- Signals -------------------------------------------------------------------------------------------------------

static u64 sent, received;
static pthread_t targets[THREADS];
static void on_signal(int number)
{
    (void)number;
    __atomic_fetch_add(&received, 1, __ATOMIC_RELAXED);
}
static void *signal_thread(void *arg)
{
    u64 me = (u64)arg;
    targets[me] = pthread_self();
    meet(THREADS);
    double x = 1;
    for (u64 i = 0; !over(); i++) {
        // Floating point and integers survive the handlers.
        u64 check = i * 3;
        x = x * 1.0000001 + 0.5;
        double y = x;
        int error = pthread_kill(targets[(me + 1 + i % (THREADS - 1)) % THREADS], SIGRTMIN);
        if (!error)
            __atomic_fetch_add(&sent, 1, __ATOMIC_RELAXED);
        else if (error != EAGAIN)
            fail("pthread_kill: %d", error);
        if (y != x || check != i * 3)
            fail("signals: a handler changed registers");
        if (x > 1e6)
            x = 1;
    }
    meet(THREADS);
    // What is queued for this thread comes before it returns from a system call.
    getpid();
    sched_yield();
    meet(THREADS);
    return NULL;
}
static u64 signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGRTMIN, &action, NULL);
    together(THREADS, signal_thread);
    if (sent != received)
        fail("%llu signals sent, %llu received", (long long)sent, (long long)received);
    return sent;
}

// --- Memory order --------------------------------------------------------------------------------------------------

enum { SLOTS = 2048 };
static struct { int x, pad1[15], y, pad2[15]; } slots[SLOTS];
static int results[4][2][SLOTS];
static int litmus;
static u64 weak;

#define LOAD(p, order) __atomic_load_n(&(p), __ATOMIC_##order)
#define STORE(p, v, order) __atomic_store_n(&(p), v, __ATOMIC_##order)
#define FENCE() __atomic_thread_fence(__ATOMIC_SEQ_CST)

enum { SB_FENCE, SB_SEQ, LB, MP, MP_FENCE, IRIW, COHERENCE, MP_REREAD, SB_PLAIN, SB_RMW, LITMUS };
static const char *const litmus_names[] = {"store buffering with fences", "store buffering, release and acquire",
    "load buffering", "message passing, release and acquire", "message passing with fences", "IRIW with acquire",
    "coherence of reads", "message passing, read again", "store buffering", "store buffering with exchange"};

static void *litmus_thread(void *arg)
{
    u64 me = (u64)arg;
    int *a = results[me][0], *b = results[me][1], old;
    for (int round = 0; round < 8; round++) {
        meet(THREADS);
        for (int i = (int)me; i < SLOTS; i += THREADS)
            slots[i].x = slots[i].y = 0;
        meet(THREADS);
        // Two threads, or four for IRIW; the others rest.
        int playing = litmus == IRIW ? 4 : 2;
        for (int i = 0; i < SLOTS && (int)me < playing; i++) {
            // So that they are at the same slot at the same time.
            if (i % 8 == 0)
                meet_at(&players, playing);
            int *x = &slots[i].x, *y = &slots[i].y;
            switch (litmus * 4 + (int)me) {
            case SB_FENCE * 4 + 0: STORE(*x, 1, RELAXED); FENCE(); a[i] = LOAD(*y, RELAXED); break;
            case SB_FENCE * 4 + 1: STORE(*y, 1, RELAXED); FENCE(); a[i] = LOAD(*x, RELAXED); break;
            case SB_SEQ * 4 + 0: STORE(*x, 1, SEQ_CST); a[i] = LOAD(*y, SEQ_CST); break;
            case SB_SEQ * 4 + 1: STORE(*y, 1, SEQ_CST); a[i] = LOAD(*x, SEQ_CST); break;
            case SB_PLAIN * 4 + 0: STORE(*x, 1, RELAXED); a[i] = LOAD(*y, RELAXED); break;
            case SB_PLAIN * 4 + 1: STORE(*y, 1, RELAXED); a[i] = LOAD(*x, RELAXED); break;
            case SB_RMW * 4 + 0: __atomic_exchange_n(x, 1, __ATOMIC_SEQ_CST); a[i] = LOAD(*y, SEQ_CST); break;
            case SB_RMW * 4 + 1: __atomic_exchange_n(y, 1, __ATOMIC_SEQ_CST); a[i] = LOAD(*x, SEQ_CST); break;
            case LB * 4 + 0: a[i] = LOAD(*x, ACQUIRE); STORE(*y, 1, RELEASE); break;
            case LB * 4 + 1: a[i] = LOAD(*y, ACQUIRE); STORE(*x, 1, RELEASE); break;
            case MP * 4 + 0: STORE(*x, 1, RELAXED); STORE(*y, 1, RELEASE); break;
            case MP * 4 + 1: a[i] = LOAD(*y, ACQUIRE); b[i] = LOAD(*x, RELAXED); break;
            case MP_FENCE * 4 + 0: STORE(*x, 1, RELAXED); FENCE(); STORE(*y, 1, RELAXED); break;
            case MP_FENCE * 4 + 1: a[i] = LOAD(*y, RELAXED); FENCE(); b[i] = LOAD(*x, RELAXED); break;
            case MP_REREAD * 4 + 0: STORE(*x, 1, RELAXED); STORE(*y, 1, RELEASE); break;
            case MP_REREAD * 4 + 1: old = *(volatile int *)x; a[i] = LOAD(*y, ACQUIRE); b[i] = LOAD(*x, RELAXED);
                if (old && !b[i]) b[i] = -1;
                break;
            case IRIW * 4 + 0: STORE(*x, 1, RELEASE); break;
            case IRIW * 4 + 1: STORE(*y, 1, RELEASE); break;
            case IRIW * 4 + 2: a[i] = LOAD(*x, ACQUIRE); b[i] = LOAD(*y, ACQUIRE); break;
            case IRIW * 4 + 3: a[i] = LOAD(*y, ACQUIRE); b[i] = LOAD(*x, ACQUIRE); break;
            case COHERENCE * 4 + 0: STORE(*x, 1, RELAXED); STORE(*x, 2, RELAXED); break;
            case COHERENCE * 4 + 1: a[i] = LOAD(*x, RELAXED); b[i] = LOAD(*x, RELAXED); break;
            }
        }
        meet(THREADS);
        if (me)
            continue;
        for (int i = 0; i < SLOTS; i++) {
            int a0 = results[0][0][i], a1 = results[1][0][i], b1 = results[1][1][i], forbidden = 0;
            int a2 = results[2][0][i], b2 = results[2][1][i], a3 = results[3][0][i], b3 = results[3][1][i];
            switch (litmus) {
            case SB_FENCE: case SB_SEQ: case SB_RMW: forbidden = !a0 && !a1; break;
            case SB_PLAIN: weak += !a0 && !a1; break;
            case LB: forbidden = a0 && a1; break;
            case MP: case MP_FENCE: case MP_REREAD: forbidden = a1 && b1 != 1; break;
            case IRIW: forbidden = a2 && !b2 && a3 && !b3; break;
            case COHERENCE: forbidden = a1 > b1; break;
            }
            if (forbidden)
                fail("%s: %d%d %d%d %d%d", litmus_names[litmus], a0, a1, b1, a2, b2, a3);
        }
    }
    return NULL;
}

static u64 order(void)
{
    u64 rounds = 0;
    for (; !over(); rounds++) {
        litmus = rounds % LITMUS;
        together(THREADS, litmus_thread);
    }
    printf("# store buffering without fences: %llu reorderings seen\n", (unsigned long long)weak);
    return rounds;
}

// -------------------------------------------------------------------------------------------------------------------

static const struct { const char *name; u64 (*run)(void); } tests[] = {
    {"atomics", atomics}, {"locks", locks}, {"mappings", mappings}, {"jit", jit}, {"processes", processes},
    {"signals", signals}, {"order", order},
};

int main(int argc, char **argv)
{
    area = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (argc < 3) {
            printf("%s\n", tests[i].name);
        } else if (strcmp(argv[1], tests[i].name) == 0) {
            test_name = tests[i].name;
            end_time = now() + atof(argv[2]);
            u64 rounds = tests[i].run();
            if (!failed && rounds)
                printf("ok %s: %llu\n", test_name, (unsigned long long)rounds);
            else if (!failed)
                printf("FAIL %s: not one round\n", test_name);
            return failed;
        }
    }
    return argc >= 3;
}
