/* The benchmark's programs in one: `bench NAME N` runs one workload N times its unit of work.
 * It prints `bench NAME begin`, then `bench NAME end CHECKSUM NANOSECONDS` (its own CPU time with that of its children), or
 * `bench NAME failed: WHY`. Who measures from outside takes the time at these lines. */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *name;
    void (*run)(unsigned long n);
} workloads[] = {
    { "coremix", coremix },
    { "calls", calls },
    { "indirect", indirect },
    { "qsort", sorting },
    { "interp", interp },
    { "sha256", sha256 },
    { "aes", aes },
    { "aes-insn", aes_insn },
    { "nbody", nbody },
    { "whetstone", whetstone },
    { "mandelbrot", mandelbrot },
    { "fft", fft },
    { "matmul-double", matmul_double },
    { "matmul-float", matmul_float },
    { "filter", filter },
    { "strings", strings },
    { "hash", hash },
    { "stream", stream },
    { "copies", copies },
    { "chase", chase },
    { "syscalls", syscalls },
    { "pipes", pipes },
    { "faults", faults },
    { "mmap", mappings },
    { "fork", forks },
    { "exec", execs },
    { "signals", signals },
    { "disk", disk },
#if defined __aarch64__ || defined __x86_64__
    { "jit", jit },
#endif
};

static const char *name = "?";
static uint64_t started_ns;

static uint64_t cpu_ns(void)
{
    struct timespec own;
    struct rusage children;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return own.tv_sec * 1000000000ull + own.tv_nsec
        + (children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1000000000ull
        + (children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1000ull;
}

void begin(void)
{
    printf("bench %s begin\n", name);
    fflush(stdout);
    tcdrain(STDOUT_FILENO); /* so that a slow console is not part of the work */
    started_ns = cpu_ns();
}

void end(uint64_t checksum)
{
    uint64_t used_ns = cpu_ns() - started_ns;
    printf("bench %s end %" PRIx64 " %" PRIu64 "\n", name, checksum, used_ns);
    fflush(stdout);
    tcdrain(STDOUT_FILENO);
}

void fail(const char *what)
{
    printf("bench %s failed: %s: %s\n", name, what, strerror(errno));
    exit(1);
}

void *allocate(size_t bytes)
{
    void *memory = calloc(1, bytes);
    if (!memory)
        fail("calloc");
    return memory;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "nothing"))
        return 0;
    if (argc != 3) {
        fprintf(stderr, "usage: bench NAME N\n");
        return 2;
    }
    name = argv[1];
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
        if (!strcmp(workloads[i].name, name)) {
            workloads[i].run(strtoul(argv[2], NULL, 10));
            return 0;
        }
    errno = ENOENT;
    fail("no such workload");
}
