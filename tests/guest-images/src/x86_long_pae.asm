; PAE paging in 32-bit protected mode.
; PAE, with these bits of CR4 and CR0 (paging and protection aside), no-execute pages allowed.
%macro PAE_ON 2
        mov ecx, 0xc0000080
        mov eax, 0x800
        xor edx, edx
        wrmsr
        mov eax, 0x20 | (%1)
        mov cr4, eax
        mov eax, 0x80000011 | (%2)
        mov cr0, eax
        xor eax, eax
        xor ecx, ecx
%endmacro
; At level 0, with the low and the high half of the table's entry.
%macro PAE 3
        T0 %1
        mov dword [PT], PAGE | (%2)
        mov dword [PT + 4], %3
        PAE_ON 0, 0
%endmacro
%macro PAE3 3
        T0 %1
        mov dword [PT], PAGE | (%2)
        mov dword [PT + 4], %3
        PAE_ON 0, 0
        mov edi, %%code
        mov dword [start], %%code
        jmp to_user
%%code:
%endmacro
        SAY "pae"
        mov al, 10
        call putc

; Read, write, read-modify-write and execution for each combination of the bits write, user and no-execute (bits 0 to 2) of the
; directory's entry (a line) and the table's (a column). CR0 and CR4, level and EFLAGS.AC are the rows of a table.
        mov dword [l], 0
.level: mov dword [i], 0
.line:  HEX [l], 1
        mov al, ' '
        call putc
        HEX [i], 1
        mov al, ':'
        call putc
        mov dword [j], 0
.column:
        mov dword [k], 0
.access:
        mov dword [terse], 1
        call setup
        mov dword [next], .next
        mov eax, [i]
        lea ecx, [eax * 2 + PT + 1]
        and ecx, PT | 7
        mov [PD + 16], ecx
        shl eax, 29
        and eax, 0x80000000
        mov [PD + 20], eax
        mov eax, [j]
        lea ecx, [eax * 2 + PAGE + 1]
        and ecx, PAGE | 7
        mov [PT], ecx
        shl eax, 29
        and eax, 0x80000000
        mov [PT + 4], eax
        mov esp, STACK0
        mov ebx, [l]
        shl ebx, 4
        ; With SMEP and SMAP the program itself is on pages of level 0.
        test dword [.modes + ebx], 0x300000
        jz .user_pages
        mov dword [DIR_PD], DIR_PT | 3
.user_pages:
        PAE_ON 0, 0
        mov eax, [.modes + ebx]
        or eax, 0x20
        mov cr4, eax
        mov eax, [.modes + ebx + 4]
        mov cr0, eax
        push dword [.modes + ebx + 8]
        popfd
        mov edx, [k]
        mov edi, [.accesses + edx * 4]
        xor eax, eax
        cmp dword [.modes + ebx + 12], 0
        jne to_user
        jmp edi
.modes: dd 0, 0x80000011, 2, 0
        dd 0, 0x80010011, 2, 0
        dd 0, 0x80010011, 2, 1
        dd 0x100000, 0x80010011, 2, 0
        dd 0x200000, 0x80010011, 2, 0
        dd 0x300000, 0x80000011, 0x40002, 0
.accesses: dd .read, .write, .modify, .execute
.read:  mov eax, [VA32 + 8]
        int 0x30
.write: mov [VA32 + 8], eax
        int 0x30
.modify:
        lock or dword [VA32 + 8], eax
        int 0x30
.execute:
        mov eax, VA32
        jmp eax
.next:  inc dword [k]
        cmp dword [k], 4
        jb .access
        mov al, '|'
        call putc
        inc dword [j]
        cmp dword [j], 8
        jb .column
        mov al, 10
        call putc
        inc dword [i]
        cmp dword [i], 8
        jb .line
        inc dword [l]
        cmp dword [l], 6
        jb .level
        mov dword [terse], 0

        PAE "pae: read", 7, 0
        mov eax, [VA32]
        mov eax, [PT]
        END
        PAE "pae: write", 7, 0
        mov [VA32 + 8], eax
        mov eax, [PT]
        END
        PAE "pae: directory", 7, 0
        mov eax, [VA32]
        mov eax, [PD + 16]
        END
        PAE "pae: pointers have no accessed bit", 7, 0
        mov eax, [VA32]
        mov eax, [PAE_DIR + 8]
        END
        PAE "pae: not present", 0, 0
        mov eax, [VA32]
        END
        PAE3 "pae: not present, write at level 3", 0, 0
        mov [VA32 + 0x1000], eax
        END
        PAE3 "pae: fetch of what is not present", 0, 0
        mov eax, VA32
        jmp eax
        END
        PAE3 "pae: fetch of no-execute", 7, 0x80000000
        mov eax, VA32
        jmp eax
        END
        PAE3 "pae: fetch of level 0's", 3, 0
        mov eax, VA32
        jmp eax
        END
        T0 "pae: fetch of what is not present, without no-execute"
        mov eax, 0x20
        mov cr4, eax
        mov eax, 0x80000011
        mov cr0, eax
        mov eax, VA32
        jmp eax
        END
        T0 "pae: no-execute is reserved"
        mov dword [PT], PAGE | 7
        mov dword [PT + 4], 0x80000000
        mov eax, 0x20
        mov cr4, eax
        mov eax, 0x80000011
        mov cr0, eax
        mov eax, [VA32]
        END
        PAE "pae: a reserved bit", 7, 0x100
        mov eax, [VA32]
        END
        PAE3 "pae: a reserved bit, write at level 3", 7, 0x80000
        mov [VA32], eax
        END
        PAE "pae: reserved bits of what is not present", 6, 0x100
        mov eax, [VA32]
        END
        PAE "pae: a large page", 0, 0
        mov dword [PD + 16], 0x87
        mov dword [VA32 + DATA], 0x1234
        mov ecx, [DATA]
        mov eax, [PD + 16]
        shl eax, 16
        mov ax, cx
        END
        PAE "pae: a large page with reserved bits", 0, 0
        mov dword [PD + 16], 0x2087
        mov eax, [VA32]
        END
        PAE "pae: a large page, read-only", 0, 0
        mov dword [PD + 16], 0x85
        mov eax, 0x80010011
        mov cr0, eax
        mov [VA32 + DATA], eax
        END
        PAE "pae: a large page, no-execute", 0, 0
        mov dword [PD + 16], 0x87
        mov dword [PD + 20], 0x80000000
        mov eax, VA32 + PAGE
        jmp eax
        END
        PAE "pae: the PAT bit of a large page", 0, 0
        mov dword [PD + 16], 0x1087
        mov eax, [VA32 + PAGE]
        END
        T0 "pae: no pointer"
        mov dword [PAE_DIR + 8], 0
        PAE_ON 0, 0
        mov eax, [VA32]
        END
        T0 "pae: paging with a reserved bit in a pointer"
        mov dword [PAE_DIR + 16], DIR_PD | 0x21
        PAE_ON 0, 0
        END
        PAE "pae: cr3 with a reserved bit in a pointer", 7, 0
        mov dword [PAE_DIR + 20], 0x100
        mov dword [PAE_DIR + 16], DIR_PD | 1
        mov eax, PAE_DIR
        mov cr3, eax
        END
        PAE3 "pae: across pages", 7, 0
        mov eax, 0x55555555
        mov [VA32 + 0xffe], eax
        END
        PAE "pae: smep, fetch at level 0", 5, 0
        mov dword [DIR_PD], DIR_PT | 3
        mov eax, 0x100020
        mov cr4, eax
        mov eax, VA32
        jmp eax
        END
        PAE "pae: smap, read at level 0", 5, 0
        mov dword [DIR_PD], DIR_PT | 3
        mov eax, 0x200020
        mov cr4, eax
        mov eax, [VA32]
        END
        PAE "pae: smap, stac, clac", 7, 0
        mov dword [DIR_PD], DIR_PT | 3
        mov eax, 0x200020
        mov cr4, eax
        stac
        mov eax, [VA32]
        mov [VA32 + 8], eax
        clac
        mov [VA32 + 16], eax
        END
        PAE "pae: smap with EFLAGS.AC", 7, 0
        mov dword [DIR_PD], DIR_PT | 3
        mov eax, 0x200020
        mov cr4, eax
        stac
        mov eax, [VA32]
        END
        PAE3 "stac at level 3", 7, 0
        stac
        END
%ifndef QEMU
        T0 "cr4: a bit that is reserved"
        mov eax, 0x80000000
        mov cr4, eax
        END
        T0 "cr4: PCIDs outside of long mode"
        mov eax, 0x20020
        mov cr4, eax
        END
        T0 "cr0: paging without protection"
        mov eax, 0x80000010
        mov cr0, eax
        END
%endif
        T0 "cr0: long mode without PAE"
        mov ecx, 0xc0000080
        mov eax, 0x100
        xor edx, edx
        wrmsr
        mov eax, 0x80000011
        mov cr0, eax
        END

; SYSENTER and SYSEXIT.
%macro SYSENTER_TO 1
        mov ecx, 0x174
        xor edx, edx
        mov eax, %1
        wrmsr
        mov ecx, 0x175
        mov eax, 0x5800
        wrmsr
        mov ecx, 0x176
        mov eax, gate_target
        wrmsr
%endmacro
        T0 "sysenter"
        SYSENTER_TO CODE0
        mov dword [start], gate_target
        push dword DATA3
        push dword USER
        push dword 0x3202
        push dword CODE3
        push dword .sysenter
        iretd
.sysenter:
        sysenter
        END
        T0 "sysenter without a selector"
        SYSENTER_TO 0
        sysenter
        END
        T0 "sysexit"
        SYSENTER_TO CODE0
        mov edx, .sysexit
        mov ecx, USER - 16
        sysexit
.sysexit:
        nop
        END
        T0 "sysexit without a selector"
        SYSENTER_TO 3
        sysexit
        END
        T3 "sysexit at level 3"
        sysexit
        END
        T0 "syscall without EFER.SCE"
        syscall
        END
        T3 "swapgs outside of long mode"
        db 0x0f, 0x01, 0xf8
        END
