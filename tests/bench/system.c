/* What an operating system does: system calls, processes, pages, signals, disks. */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- syscalls: n thousand of the shortest ones ---- */

void syscalls(unsigned long n)
{
    uint64_t count = 0;
    long parent = getppid();
    begin();
    for (unsigned long i = 0; i < 1000 * n; i++)
        count += syscall(SYS_getppid) == parent;
    end(count);
}

/* ---- pipes: two processes hand a number to and fro, n hundred times ---- */

static void wait_for(pid_t child)
{
    int status;
    if (waitpid(child, &status, 0) != child || status != 0)
        fail("a child did not end well");
}

void pipes(unsigned long n)
{
    int there[2], back[2];
    if (pipe(there) || pipe(back))
        fail("pipe");
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    uint64_t number = 0;
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &number, sizeof number) == sizeof number) {
            number = mix(number, 1);
            if (write(back[1], &number, sizeof number) != sizeof number)
                _exit(1);
        }
        _exit(0);
    }
    begin();
    for (unsigned long i = 0; i < 100 * n; i++)
        if (write(there[1], &number, sizeof number) != sizeof number
            || read(back[0], &number, sizeof number) != sizeof number)
            fail("pipe");
    close(there[1]);
    wait_for(child);
    end(number);
}

/* ---- faults: 16 MiB of fresh pages, each touched once, n times ---- */

void faults(unsigned long n)
{
    const size_t size = 16 << 20, page = sysconf(_SC_PAGESIZE);
    uint64_t sum = 0;
    begin();
    for (unsigned long round = 0; round < n; round++) {
        unsigned char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            fail("mmap");
        madvise(memory, size, MADV_NOHUGEPAGE);
        for (size_t at = 0; at < size; at += page)
            memory[at] += at / page + round;
        for (size_t at = 0; at < size; at += 16 * page)
            sum = mix(sum, memory[at]);
        munmap(memory, size);
    }
    end(sum);
}

/* ---- mmap: n hundred mappings of 64 KiB that are protected, written once and unmapped ---- */

void mappings(unsigned long n)
{
    const size_t size = 64 << 10;
    uint64_t sum = 0;
    begin();
    for (unsigned long i = 0; i < 100 * n; i++) {
        unsigned char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            fail("mmap");
        memory[i % size] = i;
        if (mprotect(memory, size, PROT_READ))
            fail("mprotect");
        sum += memory[i % size];
        munmap(memory, size);
    }
    end(sum);
}

/* ---- fork: n children that end at once ---- */

void forks(unsigned long n)
{
    /* A process of some size: 2 MiB of its own pages. */
    const size_t size = 2 << 20;
    char *memory = allocate(size);
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = 1;
    begin();
    for (unsigned long i = 0; i < n; i++) {
        pid_t child = fork();
        if (child < 0)
            fail("fork");
        if (child == 0) {
            memory[i * 4096 % size]++;
            _exit(memory[i * 4096 % size] == 2 ? 0 : 1);
        }
        wait_for(child);
    }
    end(n);
}

/* ---- exec: n children that execute this program, which then does nothing ---- */

void execs(unsigned long n)
{
    begin();
    for (unsigned long i = 0; i < n; i++) {
        pid_t child = fork();
        if (child < 0)
            fail("fork");
        if (child == 0) {
            execl("/proc/self/exe", "bench", "nothing", (char *)NULL);
            _exit(1);
        }
        wait_for(child);
    }
    end(n);
}

/* ---- signals: n hundred caught signals that the process sends itself ---- */

static volatile uint64_t caught;

static void handler(int number)
{
    caught += number;
}

void signals(unsigned long n)
{
    struct sigaction action = { .sa_handler = handler };
    if (sigaction(SIGUSR1, &action, NULL))
        fail("sigaction");
    pid_t own = getpid();
    begin();
    for (unsigned long i = 0; i < 100 * n; i++)
        kill(own, SIGUSR1);
    end(caught);
}

/* ---- disk: the disk /dev/vda is read past the page cache, n rounds of 16 MiB in order and 256 blocks at random ---- */

void disk(unsigned long n)
{
    const size_t chunk = 64 << 10, size = 64 << 20;
    unsigned char *buffer;
    int file = open("/dev/vda", O_RDONLY | O_DIRECT);
    if (file < 0)
        fail("cannot open /dev/vda");
    if (posix_memalign((void **)&buffer, 4096, chunk))
        fail("posix_memalign");
    uint64_t seed = 37, sum = 0;
    begin();
    for (unsigned long round = 0; round < n; round++) {
        size_t from = (round & 3) * (size / 4);
        for (size_t at = 0; at < size / 4; at += chunk) {
            if (pread(file, buffer, chunk, from + at) != (ssize_t)chunk)
                fail("pread");
            sum = mix(sum, buffer[0] | buffer[chunk - 1] << 8);
        }
        for (int i = 0; i < 256; i++) {
            if (pread(file, buffer, 4096, next_random(&seed) % (size / 4096) * 4096) != 4096)
                fail("pread");
            sum = mix(sum, buffer[17]);
        }
    }
    end(sum);
}
