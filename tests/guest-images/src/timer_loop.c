// A timer interrupt must reach a hot loop that never leaves its translated block.
#include "guest.h"

enum { INTERRUPTS = 50 };
void spin_add(void), spin_branch(void), spin_memory(void), spin_done(void);

static u32 interrupts;
static bool outside_loop;
static u64 loop_start, loop_end;

static void tick(struct frame *f, u32 intid)
{
    if (intid != VIRTUAL_TIMER_INTID)
        return;
    outside_loop |= f->elr < loop_start || f->elr >= loop_end;
    if (++interrupts < INTERRUPTS) {
        timer_arm(now() + read_sysreg(cntfrq_el0) / 1000);
    } else {
        timer_disarm();
        f->elr = (u64)spin_done;
    }
}

// Returns what the loop left in x0.
static u64 spin(void (*loop)(void), u64 instructions)
{
    interrupts = 0;
    outside_loop = false;
    loop_start = (u64)loop;
    loop_end = (u64)loop + 4 * instructions;
    u64 deadline = now() + read_sysreg(cntfrq_el0) / 1000;
    register u64 x0 __asm__("x0") = 0;
    register u64 x1 __asm__("x1") = (u64)loop;
    __asm__ volatile("msr cntv_cval_el0, %2\n"
                     "msr cntv_ctl_el0, %3\n"
                     "sub sp, sp, #16\n"
                     "mov x2, sp\n"
                     "str xzr, [x2]\n"
                     "adr x30, 1f\n"
                     "isb\n"
                     "br x1\n" // the loop unmasks interrupts itself, so that one is never taken outside it
                     "1: add sp, sp, #16\n"
                     : "+r"(x0), "+r"(x1)
                     : "r"(deadline), "r"(1ull)
                     : "x2", "x3", "x30", "memory", "cc");
    irq_disable();
    return x0;
}

// Each loop begins with the instruction after `msr daifclr`; spin_done returns to spin().
__asm__(".macro loop name\n"
        ".global \\name\n"
        "\\name: msr daifclr, #2\n"
        "1:\n"
        ".endm\n"
        "loop spin_add\n add x0, x0, #1\n b 1b\n"
        "loop spin_branch\n b 1b\n"
        "loop spin_memory\n ldr x3, [x2]\n add x3, x3, #1\n str x3, [x2]\n add x0, x0, #1\n cbnz x3, 1b\n b 1b\n"
        ".global spin_done\n"
        "spin_done: ret\n");

static void all_loops(const char *add, const char *branch, const char *memory)
{
    check(spin(spin_add, 3) > 0 && interrupts == INTERRUPTS && !outside_loop, add);
    check(spin(spin_branch, 2) == 0 && interrupts == INTERRUPTS && !outside_loop, branch);
    check(spin(spin_memory, 7) > 0 && interrupts == INTERRUPTS && !outside_loop, memory);
}

void guest_main(const void *fdt)
{
    (void)fdt;
    uart_init();
    gic_init();
    gic_enable(VIRTUAL_TIMER_INTID);
    irq_handler = tick;
    all_loops("add_and_branch, MMU off", "branch_to_self, MMU off", "load_and_store, MMU off");
    mmu_on();
    all_loops("add_and_branch, MMU on", "branch_to_self, MMU on", "load_and_store, MMU on");
    summary("timer_loop");
}
