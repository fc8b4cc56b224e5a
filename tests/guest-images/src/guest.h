// What every guest image shares: console, power, exceptions, interrupts and the virtual timer of the Arm `virt` board.
#pragma once
#pragma GCC visibility push(hidden)
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

#define read_sysreg(name) ({ u64 v_; __asm__ volatile("mrs %0, " #name : "=r"(v_)::"memory"); v_; })
#define write_sysreg(name, value) __asm__ volatile("msr " #name ", %0" ::"r"((u64)(value)) : "memory")
#define isb() __asm__ volatile("isb" ::: "memory")
#define dsb() __asm__ volatile("dsb sy" ::: "memory")
#define wfi() __asm__ volatile("dsb sy\n wfi" ::: "memory")
#define irq_enable() __asm__ volatile("msr daifclr, #2\n isb" ::: "memory")
#define irq_disable() __asm__ volatile("msr daifset, #2\n isb" ::: "memory")

enum { UART_INTID = 33, VIRTUAL_TIMER_INTID = 27 };

// Registers at the moment of an exception; what a handler leaves in it is restored. Known to start.S.
struct frame {
    u64 x[31];
    u64 sp, elr, spsr, esr, far;
};

// The image's own code; gets the address of the device tree. Powers off when it returns.
void guest_main(const void *fdt);

// Called on SP_EL1. A synchronous exception without a handler, or any other exception, prints itself and powers off.
extern void (*sync_handler)(struct frame *);
extern void (*irq_handler)(struct frame *, u32 intid);

void power_off(void) __attribute__((noreturn));
void reset(void) __attribute__((noreturn));

void uart_init(void);
void putchar(char c);
// The next received byte, or -1.
int uart_receive(void);
void uart_enable_receive_interrupt(void);
// %s %c %d %u %x (32 bit), %ld %lu %lx (64 bit), with 0-padded widths as in %08x.
void print(const char *format, ...);

// GICv2, or GICv3 where ID_AA64PFR0_EL1 says that the CPU has its system registers.
void gic_init(void);
void gic_enable(u32 intid);

// The virtual timer: fires when CNTVCT_EL0 reaches `cval`.
void timer_arm(u64 cval);
void timer_disarm(void);
u64 now(void);

// Base and length of the first memory node. False if there is no usable device tree.
bool fdt_memory(const void *fdt, u64 *base, u64 *len);

bool streq(const char *a, const char *b);
// One line `PASS name` or `FAIL name`, counted.
void check(bool ok, const char *name);
// The last line: `PASS` alone if every check passed.
void summary(const char *image);

// mmu.c: identity map of the first 2 GiB and a window of 4 KiB pages at WINDOW.
#define WINDOW 0x80000000ull
enum {
    PAGE_NORMAL = 1 << 2 | 3 << 8 | 1 << 10 | 3, // MAIR attribute 1, inner shareable, access flag, page
    PAGE_DEVICE = 0 << 2 | 1 << 10 | 3,          // MAIR attribute 0: Device-nGnRnE
    PAGE_READ_ONLY = 1 << 7,
    PAGE_ACCESS_FLAG = 1 << 10,
};
#define PAGE_PXN (1ull << 53)
void mmu_on(void);
void mmu_map(u32 window_page, u64 descriptor);

// Makes instructions written at [start, start + len) visible to instruction fetch (Arm ARM B2.7 "Caches and memory hierarchy").
void sync_code(const void *start, u64 len);
