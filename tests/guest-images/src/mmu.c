// Stage 1 translation at EL1: 4 KiB granule, 39-bit addresses from TTBR0_EL1. Arm ARM D8.2 and D8.3 (table walks and descriptors).
#include "guest.h"

static u64 level1[512] __attribute__((aligned(4096)));
static u64 level2_ram[512] __attribute__((aligned(4096)));
static u64 level2_window[512] __attribute__((aligned(4096)));
static u64 level3_window[512] __attribute__((aligned(4096)));

void mmu_on(void)
{
    const u64 table = 3, block = 1, access_flag = 1 << 10, never_execute = 3ull << 53;
    level1[0] = 0 | never_execute | access_flag | block; // 0 to 1 GiB: devices
    level1[1] = (u64)level2_ram | table;
    for (u64 i = 0; i < 512; i++)
        level2_ram[i] = (0x40000000ull + (i << 21)) | access_flag | 3 << 8 | 1 << 2 | block;
    level1[2] = (u64)level2_window | table; // WINDOW
    level2_window[0] = (u64)level3_window | table;

    write_sysreg(mair_el1, 0xff00);
    // IPS 36 bits, EPD1, inner shareable, write-back, T0SZ 25.
    write_sysreg(tcr_el1, 1ull << 32 | 1 << 23 | 3 << 12 | 1 << 10 | 1 << 8 | 25);
    write_sysreg(ttbr0_el1, level1);
    dsb();
    isb();
    __asm__ volatile("tlbi vmalle1\n dsb sy\n isb" ::: "memory");
    write_sysreg(sctlr_el1, read_sysreg(sctlr_el1) | 1 << 12 | 1 << 2 | 1);
    isb();
}

void mmu_map(u32 window_page, u64 descriptor)
{
    level3_window[window_page] = descriptor;
    u64 page = (WINDOW >> 12) + window_page;
    __asm__ volatile("dsb sy\n tlbi vaae1, %0\n dsb sy\n isb" ::"r"(page) : "memory");
}

void sync_code(const void *start, u64 len)
{
    u64 ctr = read_sysreg(ctr_el0);
    u64 dline = 4ull << (ctr >> 16 & 0xf), iline = 4ull << (ctr & 0xf);
    u64 end = (u64)start + len;
    for (u64 a = (u64)start & ~(dline - 1); a < end; a += dline)
        __asm__ volatile("dc cvau, %0" ::"r"(a) : "memory");
    __asm__ volatile("dsb ish" ::: "memory");
    for (u64 a = (u64)start & ~(iline - 1); a < end; a += iline)
        __asm__ volatile("ic ivau, %0" ::"r"(a) : "memory");
    __asm__ volatile("dsb ish\n isb" ::: "memory");
}
