// WFI loses no wake-up: the event may come long before, just before, during or after the decision to sleep.
#include "guest.h"

enum { ROUNDS = 10000, ALREADY_PENDING = 1000, UNMASKED = 1000 };

static volatile u32 interrupts;
static u64 ticks_per_10us;
static volatile u32 period_left;

static void tick(struct frame *f, u32 intid)
{
    (void)f;
    if (intid != VIRTUAL_TIMER_INTID)
        return;
    interrupts++;
    if (period_left && --period_left)
        timer_arm(now() + ticks_per_10us);
    else
        timer_disarm();
}

static u32 random(void)
{
    static u32 state = 0x2545f491;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

void guest_main(const void *fdt)
{
    (void)fdt;
    uart_init();
    gic_init();
    gic_enable(VIRTUAL_TIMER_INTID);
    irq_handler = tick;
    ticks_per_10us = read_sysreg(cntfrq_el0) / 100000;

    // Interrupts masked: WFI wakes for a masked interrupt, which is then taken.
    u32 too_early = 0, lost = 0;
    for (u32 i = 0; i < ROUNDS; i++) {
        u32 before = interrupts;
        u64 deadline = now() + random() % (3 * ticks_per_10us);
        timer_arm(deadline);
        for (volatile u32 spin = random() % 64; spin; spin--)
            ;
        // A spurious wake-up is allowed (Arm ARM D1.7 "Wait for Interrupt"): look at the timer, not at the return.
        do
            wfi();
        while (!(read_sysreg(cntv_ctl_el0) & 4));
        too_early += now() < deadline;
        irq_enable();
        irq_disable();
        lost += interrupts != before + 1;
    }
    check(lost == 0, "every deadline gave one interrupt");
    check(too_early == 0, "no interrupt before its deadline");

    // Pending for certain when WFI executes.
    lost = 0;
    for (u32 i = 0; i < ALREADY_PENDING; i++) {
        u32 before = interrupts;
        timer_arm(now());
        while (!(read_sysreg(cntv_ctl_el0) & 4))
            ;
        wfi();
        irq_enable();
        irq_disable();
        lost += interrupts != before + 1;
    }
    check(lost == 0, "interrupt pending before WFI");

    // Interrupts unmasked: taken at the WFI; the handler arms the next one.
    u32 before = interrupts;
    period_left = UNMASKED;
    timer_arm(now() + ticks_per_10us);
    for (;;) {
        irq_disable();
        if (interrupts - before == UNMASKED)
            break;
        wfi();
        irq_enable();
    }
    check(interrupts - before == UNMASKED, "periodic interrupts");

    // The same with WFI as the very instruction that is interrupted. A tick every 200 us: what falls between the test and the WFI costs
    // one period, never more, because the handler always arms the next.
    before = interrupts;
    period_left = UNMASKED / 10;
    timer_arm(now() + 20 * ticks_per_10us);
    irq_enable();
    for (u32 i = 1; i < UNMASKED / 10; i++) {
        u32 seen = interrupts;
        while (interrupts == seen && period_left > 1)
            wfi();
    }
    while (period_left)
        ;
    irq_disable();
    check(period_left == 0 && interrupts - before == UNMASKED / 10, "interrupt taken at WFI");
    summary("wfi");
}
