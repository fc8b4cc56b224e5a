// Executes x86-64 instructions on given register states; see README.md.
#define _GNU_SOURCE
#include "runner.h"

#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { BATCH = 1024, WATCHDOG_S = 10, JUMP_SIZE = 14 };
static const uint8_t INT3 = 0xcc;

// Legacy area and header of XSAVE (SDM vol. 1, 13.4 "XSAVE Area"), and AVX at its standard offset.
struct xsave {
    uint16_t fcw, fsw;
    uint8_t ftw, reserved;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    unsigned __int128 st[8], xmm[16];
    uint8_t unused[96];
    uint64_t xstate_bv, xcomp_bv, header[6];
    unsigned __int128 ymm_high[16];
};
_Static_assert(sizeof(struct xsave) == 832, "xsave");

void enter(void);
void enter_32(void);
void finish(void);
void leave(void);
extern struct state state_in, state_out;
extern struct xsave xsave_in, xsave_out;
extern uint64_t entry, runner_fs;
extern uint32_t with_vectors, entry_32;

static volatile bool running;
static struct result *volatile current;
static const struct test_case *volatile current_case;

static void die(const char *what)
{
    fprintf(stderr, "runner: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void take_vectors(struct state *s, const struct xsave *x)
{
    s->mxcsr = x->mxcsr;
    s->fcw = x->fcw;
    s->fsw = x->fsw;
    s->ftw = x->ftw;
    for (int i = 0; i < 8; i++)
        s->st[i] = x->st[i] << 48 >> 48; // 80 bits
    memcpy(s->xmm, x->xmm, sizeof s->xmm);
    memcpy(s->ymm_high, x->ymm_high, sizeof s->ymm_high);
}

static uint64_t fs_base(void)
{
    uint64_t base;
    __asm__ volatile("rdfsbase %0" : "=r"(base));
    return base;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    // Thread-local variables are where the runner's FS says, not the case's.
    uint64_t fs = fs_base(), gs;
    __asm__ volatile("wrfsbase %0" : : "r"(runner_fs));
    __asm__ volatile("rdgsbase %0" : "=r"(gs));
    const ucontext_t *uc = context;
    const greg_t *g = uc->uc_mcontext.gregs;
    (void)info;
    uint64_t pc = g[REG_RIP], error = g[REG_ERR];
    bool own = pc >= (uint64_t)enter && pc < (uint64_t)leave + 256;
    if (!running || own) {
        if (number == SIGALRM) {
            alarm(1);
            return;
        }
        fprintf(stderr, "runner: signal %d at %#lx, outside of a case\n", number, pc);
        _exit(1);
    }
    struct result *r = current;
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    r->vector = number == SIGALRM ? 512 : g[REG_TRAPNO];
    r->error = error;
    r->address = r->vector == 14 ? g[REG_CR2] : 0;
    r->pc = pc;
    for (int i = 0; i < 16; i++)
        r->state.gpr[i] = g[order[i]];
    r->state.rflags = g[REG_EFL];
    r->state.fs_base = fs;
    r->state.gs_base = gs;
    if (with_vectors)
        take_vectors(&r->state, (const struct xsave *)uc->uc_mcontext.fpregs);
    const struct test_case *c = current_case;
    if (c->flags & FLAG_32) {
        for (int i = 0; i < 16; i++)
            r->state.gpr[i] &= 0xffffffff;
        // Its end is INT3, too.
        if (r->vector == 3 && !(c->flags & FLAG_ISOLATED) && pc == c->pc + c->code_size + 1) {
            r->vector = NO_VECTOR;
            r->pc = pc - 1;
        }
    }
    running = false;
    // Without a return from the signal: that would cost another system call.
    __asm__ volatile("jmp leave");
    __builtin_unreachable();
}

static void *map(uint64_t address, size_t size, int protection)
{
    void *p = mmap((void *)address, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != (void *)address)
        die("cannot map memory at its fixed address");
    return p;
}

static void set_up(void)
{
    // HWCAP2_FSGSBASE: the kernel lets programs set the bases.
    if (!(getauxval(AT_HWCAP2) & 2)) {
        fprintf(stderr, "runner: this kernel or processor has no FSGSBASE\n");
        _exit(1);
    }
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_AVX) || !(c & bit_OSXSAVE)) {
        fprintf(stderr, "runner: this processor has no AVX\n");
        _exit(1);
    }
    runner_fs = fs_base();
    map(DATA, DATA_SIZE, PROT_READ | PROT_WRITE);
    const int rwx = PROT_READ | PROT_WRITE | PROT_EXEC;
    memset(map(CODE, CODE_SIZE, rwx), INT3, CODE_SIZE);
    memset(map(ISOLATED, ISOLATED_SIZE, rwx), INT3, ISOLATED_SIZE);
    xsave_in.xstate_bv = 7;
    // 32-bit code needs segments for its data; Linux gives 64-bit programs none.
    __asm__ volatile("movl %0, %%ds; movl %0, %%es" : : "r"(0x2b));

    // The case's RSP may be anything.
    size_t size = 1 << 17;
    stack_t stack = {.ss_sp = malloc(size), .ss_size = size};
    if (!stack.ss_sp || sigaltstack(&stack, 0))
        die("sigaltstack");
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    static const int signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGTRAP, SIGFPE, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], &action, 0))
            die("sigaction");
}

static void check(const struct test_case *c)
{
    uint64_t start = c->flags & FLAG_ISOLATED ? ISOLATED : CODE;
    uint64_t size = c->flags & FLAG_ISOLATED ? ISOLATED_SIZE : CODE_SIZE;
    errno = EINVAL;
    if (c->window_offset > DATA_SIZE - WINDOW_SIZE)
        die("window_offset");
    if (!c->code_size || c->code_size > CODE_MAX)
        die("code_size");
    if (c->pc < start || c->pc - start > size - CODE_MAX - JUMP_SIZE)
        die("pc");
}

// Writes the code if it is not there; gives whether it was written.
static void place(const struct test_case *c)
{
    uint8_t *at = (uint8_t *)c->pc;
    bool isolated = c->flags & FLAG_ISOLATED;
    if (memcmp(at, c->code, c->code_size))
        memcpy(at, c->code, c->code_size);
    at += c->code_size;
    if (isolated)
        return;
    if (c->flags & FLAG_32) {
        *at = INT3;
        return;
    }
    // JMP to the address that follows it.
    uint8_t jump[JUMP_SIZE] = {0xff, 0x25};
    uint64_t target = (uint64_t)finish;
    memcpy(jump + 6, &target, 8);
    if (memcmp(at, jump, JUMP_SIZE))
        memcpy(at, jump, JUMP_SIZE);
}

static bool is_zero(const uint8_t *p, size_t size) { return !size || (!p[0] && !memcmp(p, p + 1, size - 1)); }

// Checksum (FNV-1a of 64-bit words) of DATA, in which the window is zero by now.
static uint64_t checksum(void)
{
    uint64_t sum = 0xcbf29ce484222325;
    for (const uint64_t *p = (const uint64_t *)DATA; p < (const uint64_t *)(DATA + DATA_SIZE); p++)
        sum = (sum ^ *p) * 0x100000001b3;
    return sum ? sum : 1;
}

static void run(const struct test_case *c, struct result *r)
{
    uint8_t *window = (uint8_t *)DATA + c->window_offset;
    memcpy(window, c->window, WINDOW_SIZE);
    place(c);
    state_in = c->state;
    state_out = c->state;
    with_vectors = c->flags & FLAG_VECTORS;
    if (with_vectors) {
        xsave_in.fcw = c->state.fcw;
        xsave_in.fsw = c->state.fsw;
        xsave_in.ftw = c->state.ftw;
        xsave_in.mxcsr = c->state.mxcsr;
        memcpy(xsave_in.st, c->state.st, sizeof xsave_in.st);
        memcpy(xsave_in.xmm, c->state.xmm, sizeof xsave_in.xmm);
        memcpy(xsave_in.ymm_high, c->state.ymm_high, sizeof xsave_in.ymm_high);
    }
    entry = c->flags & FLAG_32 ? (uint64_t)enter_32 : c->pc;
    entry_32 = c->pc;
    current = r;
    current_case = c;
    r->state = c->state;
    running = true;
    enter();
    if (running) {
        running = false;
        r->vector = NO_VECTOR;
        r->error = 0;
        r->address = 0;
        r->pc = c->pc + c->code_size;
        r->state = state_out;
        if (with_vectors)
            take_vectors(&r->state, &xsave_out);
    }
    if (c->flags & FLAG_ISOLATED)
        memset((void *)c->pc, INT3, c->code_size);
    memcpy(r->window, window, WINDOW_SIZE);
    memset(window, 0, WINDOW_SIZE);
    r->outside = 0;
    if (!is_zero((const uint8_t *)DATA, DATA_SIZE)) {
        r->outside = checksum();
        memset((void *)DATA, 0, DATA_SIZE);
    }
}

static void write_all(const void *data, size_t size)
{
    for (const char *p = data; size;) {
        ssize_t n = write(1, p, size);
        if (n < 0 && errno != EINTR)
            die("cannot write results");
        if (n > 0)
            p += n, size -= n;
    }
}

int main(void)
{
    static struct test_case cases[BATCH];
    static struct result results[BATCH];
    size_t have = 0;
    set_up();
    for (;;) {
        ssize_t n = read(0, (char *)cases + have, sizeof cases - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            die("cannot read cases");
        if (n == 0)
            break;
        have += n;
        size_t count = have / sizeof *cases;
        if (!count)
            continue;
        alarm(WATCHDOG_S);
        for (size_t i = 0; i < count; i++) {
            check(&cases[i]);
            run(&cases[i], &results[i]);
        }
        alarm(0);
        write_all(results, count * sizeof *results);
        have -= count * sizeof *cases;
        memmove(cases, cases + count, have);
    }
    if (have) {
        fprintf(stderr, "runner: input ends inside a case\n");
        return 1;
    }
    return 0;
}
