// Where the other processors start: x0 is the number that CPU_ON was given. The MMU is turned on as the first one has it.
    .text
    .global secondary_entry
secondary_entry:
    msr     daifset, #0xf
    mov     x19, x0
    adrp    x1, secondary_stacks
    add     x1, x1, :lo12:secondary_stacks
    add     x2, x19, #1
    add     x1, x1, x2, lsl #12
    mov     sp, x1
    bl      mmu_on
    mov     x0, x19
    bl      secondary
1:  wfi
    b       1b

    .global psci_call
psci_call:
    hvc     #0
    ret
