// Self-modifying code. Only what the architecture guarantees is demanded (Arm ARM B2.2.5 "Concurrent modification and execution of
// instructions", B2.7.4 "Cache maintenance"): with maintenance the new instruction; without it the old or the new one.
#include "guest.h"

typedef u64 code(u64 x0, u64 x1);
// selfmod_code.S
extern u32 patch_own_block[], patched_here[], patch_own_block_lazily[], patched_lazily[];
extern u32 count_beside_code[], branch_or_nop[], branch_or_nop_site[], across_pages[], across_pages_site[];
extern volatile u64 counter_beside_code;

static u32 mov_x0(u32 value) { return 0xd2800000 | value << 5; } // MOVZ X0, #value
static const u32 RET = 0xd65f03c0, NOP = 0xd503201f, B_PLUS_8 = 0x14000002;

static u32 page[1024] __attribute__((aligned(4096)));
static u64 call(const u32 *entry, u64 x0, u64 x1) { return ((code *)(void *)entry)(x0, x1); }

static void other_block(void)
{
    bool ok = true;
    for (u32 i = 0; i < 20000; i++) {
        u32 *f = page + i % 4 * 2;
        f[0] = mov_x0(i & 0xffff);
        f[1] = RET;
        sync_code(f, 8);
        ok &= call(f, 0, 0) == (i & 0xffff);
    }
    check(ok, "other block, with maintenance");
}

static void own_block(void)
{
    bool ok = true;
    for (u32 i = 0; i < 20000; i++)
        ok &= call(patch_own_block, mov_x0(i & 0xffff), (u64)patched_here) == (i & 0xffff);
    check(ok, "own block, with maintenance");
}

static void own_block_without_maintenance(void)
{
    bool ok = true;
    u64 old = call(patched_lazily, 0, 0);
    for (u32 i = 0; i < 20000; i++) {
        u64 new = i & 0xffff;
        u64 seen = call(patch_own_block_lazily, mov_x0(new), (u64)patched_lazily);
        ok &= seen == old || seen == new;
        sync_code(patched_lazily, 4);
        ok &= call(patched_lazily, 0, 0) == new;
        old = new;
    }
    check(ok, "own block, old or new without maintenance, new after it");
}

static void other_block_without_maintenance(void)
{
    bool ok = true;
    for (u32 i = 0; i < 20000; i++) {
        bool taken = i & 1;
        *(volatile u32 *)branch_or_nop_site = taken ? B_PLUS_8 : NOP;
        u64 seen = call(branch_or_nop, 0, 0);
        ok &= seen == 0 || seen == 1;
        sync_code(branch_or_nop_site, 4);
        ok &= call(branch_or_nop, 0, 0) == !taken;
    }
    check(ok, "B and NOP patched, old or new without maintenance, new after it");
}

static void data_beside_code(void)
{
    counter_beside_code = 0;
    bool ok = true;
    for (u64 i = 1; i <= 200000; i++)
        ok &= call(count_beside_code, i, 0) == 3 * i;
    check(ok && counter_beside_code == 200000, "data written on a page of code");
}

static void block_across_pages(void)
{
    bool ok = ((u64)across_pages_site & 4095) == 0 && ((u64)across_pages >> 12) + 1 == (u64)across_pages_site >> 12;
    for (u32 i = 0; i < 20000; i++) {
        *(volatile u32 *)across_pages_site = mov_x0(i & 0xffff);
        sync_code(across_pages_site, 4);
        ok &= call(across_pages, 0, 0) == (i & 0xffff);
    }
    check(ok, "second page of a block that crosses pages");
}

static void through_an_alias(void)
{
    mmu_map(0, (u64)page | PAGE_NORMAL);
    u32 *alias = (u32 *)WINDOW;
    bool ok = true;
    for (u32 i = 0; i < 20000; i++) {
        // Even rounds write by the alias and execute by the identity map, odd rounds the other way round.
        u32 *write = i & 1 ? page : alias, *execute = i & 1 ? alias : page;
        write[8] = mov_x0(i & 0xffff);
        write[9] = RET;
        sync_code(write + 8, 8);
        sync_code(execute + 8, 8);
        ok &= call(execute + 8, 0, 0) == (i & 0xffff);
    }
    check(ok, "written and executed at different addresses");
}

static void remapped(void)
{
    static u32 other[1024] __attribute__((aligned(4096)));
    page[16] = mov_x0(1);
    other[16] = mov_x0(2);
    page[17] = other[17] = RET;
    sync_code(page + 16, 8);
    sync_code(other + 16, 8);
    bool ok = true;
    for (u32 i = 0; i < 2000; i++) {
        mmu_map(1, (u64)(i & 1 ? other : page) | PAGE_NORMAL);
        // The virtual address keeps its instructions' names; a VIPT instruction cache needs them dropped.
        sync_code((void *)(WINDOW + 4096 + 64), 8);
        ok &= call((u32 *)(WINDOW + 4096 + 64), 0, 0) == (i & 1) + 1;
    }
    check(ok, "another page mapped under the same address");
}

static void all_but_aliases(void)
{
    other_block();
    own_block();
    own_block_without_maintenance();
    other_block_without_maintenance();
    data_beside_code();
    block_across_pages();
}

void guest_main(const void *fdt)
{
    (void)fdt;
    uart_init();
    print("MMU off\n");
    all_but_aliases();
    mmu_on();
    print("MMU on\n");
    all_but_aliases();
    through_an_alias();
    remapped();
    summary("selfmod");
}
